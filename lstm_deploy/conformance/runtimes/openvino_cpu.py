"""OpenVINO on the CPU, in float32: its own choice may be bfloat16, two digits less than a comparison needs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .packages import version_of


def version() -> str:
    """Of the package."""
    return version_of("openvino")


def open_model(path: Path, outputs: list[str]) -> Callable[[dict[str, Any]], list[Any]]:
    """A function from inputs to ``outputs``."""
    import openvino

    core = openvino.Core()
    model = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(inputs: dict[str, Any]) -> list[Any]:
        found = model(inputs)
        return [found[name].copy() for name in outputs]

    return run
