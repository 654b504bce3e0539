"""onnxruntime on the CPU."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...providers import import_onnxruntime


def version() -> str:
    """Of the package."""
    return import_onnxruntime().__version__


def open_model(path: Path, outputs: list[str]) -> Callable[[dict[str, Any]], list[Any]]:
    """A function from inputs to ``outputs``."""
    session = import_onnxruntime().InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(outputs, inputs)
