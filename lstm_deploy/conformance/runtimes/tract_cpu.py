"""tract, which takes a symbolic sequence but no symbolic batch: one model for each number of rows."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from .packages import version_of


def version() -> str:
    """Of the package."""
    return version_of("tract")


def open_model(path: Path, outputs: list[str]) -> Callable[[dict[str, Any]], list[Any]]:
    """A function from inputs to ``outputs``."""
    import tract

    def names_of(model: Any) -> list[str]:
        return [model.input_name(i) for i in range(model.input_count())]

    @cache
    def for_rows(facts: tuple[tuple[str, str], ...]) -> tuple[Any, list[str], list[str]]:
        model = tract.onnx().load(path)
        names = names_of(model)
        for i, name in enumerate(names):
            model.set_input_fact(i, dict(facts)[name])
        given = [model.output_name(i) for i in range(model.output_count())]
        return model.into_model().into_runnable(), names, given

    def run(inputs: dict[str, Any]) -> list[Any]:
        runnable, names, given = for_rows(tuple((name, _fact(array)) for name, array in inputs.items()))
        found = dict(zip(given, runnable.run([inputs[name] for name in names]), strict=True))
        return [found[name].to_numpy() for name in outputs]

    return run


def _fact(array: Any) -> str:
    """Shape and type as tract writes them; the second axis is symbolic."""
    sizes = [str(size) for size in array.shape]
    if len(sizes) > 1 and array.dtype.kind == "i":
        sizes[1] = "S"
    return ",".join([*sizes, {"i": "i32", "f": "f32"}[array.dtype.kind]])
