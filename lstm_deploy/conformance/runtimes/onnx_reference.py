"""onnx's reference evaluator: slow, and no oracle, since it ignores ``sequence_lens`` (as of onnx 1.23)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .packages import version_of


def version() -> str:
    """Of the package."""
    return version_of("onnx")


def open_model(path: Path, outputs: list[str]) -> Callable[[dict[str, Any]], list[Any]]:
    """A function from inputs to ``outputs``."""
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(str(path))
    return lambda inputs: evaluator.run(outputs, inputs)
