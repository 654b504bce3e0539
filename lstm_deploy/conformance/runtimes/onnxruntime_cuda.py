"""onnxruntime on CUDA, or an error."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...errors import MissingDependencyError
from ...providers import import_onnxruntime, open_session


def version() -> str:
    """Of the package.

    Raises:
        MissingDependencyError: it is a build without CUDA.
    """
    runtime = import_onnxruntime()
    if "CUDAExecutionProvider" not in runtime.get_available_providers():
        raise MissingDependencyError(
            "onnxruntime is a build without CUDA; run `pip uninstall -y onnxruntime onnxruntime-gpu && pip install "
            "'lstm-deploy[gpu]'`"
        )
    return runtime.__version__


def open_model(path: Path, outputs: list[str]) -> Callable[[dict[str, Any]], list[Any]]:
    """A function from inputs to ``outputs``."""
    session = open_session(path, "cuda").session
    return lambda inputs: session.run(outputs, inputs)
