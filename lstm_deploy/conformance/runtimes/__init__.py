"""The runtimes that a file can be tried in: how each is found and started."""

import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from . import javascript


@dataclass(frozen=True)
class Runtime:
    """One runtime.

    Attributes:
        name: what ``--runtime`` and the matrix call it.
        claim: the name in a file's metadata that covers it; "" for one that no file claims.
        find: its version, given a folder of npm packages or None; raises MissingDependencyError where it is absent.
        command: what starts it, given that folder, a folder of batches and the number of the first batch.
    """

    name: str
    claim: str
    find: Callable[[Path | None], str]
    command: Callable[[Path | None, Path, int], list[str]]


_PYTHON: Mapping[str, tuple[str, str]] = {
    # name -> module, claim
    "onnxruntime": ("onnxruntime_cpu", "onnxruntime"),
    "onnxruntime-cuda": ("onnxruntime_cuda", ""),
    "openvino": ("openvino_cpu", "openvino"),
    "tract": ("tract_cpu", "tract"),
    "onnx-reference": ("onnx_reference", ""),
}
_JAVASCRIPT: Mapping[str, tuple[str, str, str]] = {
    # name -> npm package, where it runs, claim
    "onnxruntime-node": ("onnxruntime-node", "node", "onnxruntime-node"),
    "onnxruntime-web-node": ("onnxruntime-web", "node", "onnxruntime-web"),
    "chromium-wasm": ("onnxruntime-web", "wasm", "onnxruntime-web"),
    "chromium-wasm-threads": ("onnxruntime-web", "wasm-threads", "onnxruntime-web"),
    "chromium-webgpu": ("onnxruntime-web", "webgpu", ""),
}


def python_runtime(name: str) -> Any:
    """The module for a runtime of Python: ``version()`` and ``open_model(path, outputs)``."""
    return importlib.import_module(f".{_PYTHON[name][0]}", __name__)


def _python(name: str, claim: str) -> Runtime:
    def command(_: Path | None, folder: Path, start: int) -> list[str]:
        # -P: a file of the current folder must not stand for a runtime.
        return [sys.executable, "-P", "-m", "lstm_deploy.conformance.worker", name, str(folder), str(start)]

    return Runtime(name, claim, lambda _: python_runtime(name).version(), command)


def _javascript(name: str, package: str, place: str, claim: str) -> Runtime:
    return Runtime(name, claim, partial(javascript.find, package, place), partial(javascript.command, package, place))


def covered_by(name: str) -> list[str]:
    """The runtimes of that name: one, or those that a claim of that name covers; empty for an unknown name."""
    return [name] if name in RUNTIMES else [r.name for r in RUNTIMES.values() if r.claim == name]


RUNTIMES: Mapping[str, Runtime] = {
    **{name: _python(name, claim) for name, (_, claim) in _PYTHON.items()},
    **{name: _javascript(name, *how) for name, how in _JAVASCRIPT.items()},
}
