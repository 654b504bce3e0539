"""Which execution provider a session runs on, and why; and how many threads there are to use.

``cpu`` is the CPU. ``cuda`` is CUDA or an error, never a silent CPU run: onnxruntime falls back
without a word, so what the session really got is compared after it is made. ``auto`` is CUDA
where it loads, else the CPU, and says which and why.
"""

import contextlib
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args

from .errors import MissingDependencyError, NotOnnxError, ProviderError

Provider = Literal["cpu", "cuda", "auto"]
_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_SILENT = 4  # onnxruntime's FATAL level
_ERRORS = 3
_CURE = (
    "install the CUDA build with `pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'lstm-deploy[gpu]'` "
    "and check the driver with `nvidia-smi`, or use --provider cpu"
)
_stderr_lock = threading.Lock()


@dataclass(frozen=True)
class OpenedSession:
    """An onnxruntime session, the provider it really runs on, and why that one."""

    session: Any
    provider: Literal["cpu", "cuda"]
    reason: str


def import_onnxruntime() -> ModuleType:
    """The onnxruntime module.

    Raises:
        MissingDependencyError: neither onnxruntime nor onnxruntime-gpu is installed, or it is broken.
    """
    try:
        import onnxruntime
    except ImportError as e:
        fact = (
            "is not installed" if isinstance(e, ModuleNotFoundError) and e.name == "onnxruntime" else f"is broken ({e})"
        )
        raise MissingDependencyError(
            f"onnxruntime {fact}; run `pip install 'lstm-deploy[cpu]'`, or 'lstm-deploy[gpu]' for CUDA"
        ) from e
    if not hasattr(onnxruntime, "InferenceSession"):  # what uninstalling one of two distributions leaves behind
        raise MissingDependencyError(
            "onnxruntime is half-removed (its folder is there, its contents are not); run "
            "`pip uninstall -y onnxruntime onnxruntime-gpu`, then `pip install 'lstm-deploy[cpu]'` or '...[gpu]'"
        )
    return onnxruntime


def open_session(path: Path, provider: Provider) -> OpenedSession:
    """A session for the ONNX file at ``path`` on the provider asked for. A run takes one thread.

    Raises:
        ProviderError: ``provider`` is unknown, or is ``cuda`` and CUDA does not load.
        NotOnnxError: onnxruntime refuses the file.
        MissingDependencyError: no onnxruntime.
    """
    if provider not in get_args(Provider):
        raise ProviderError(f"provider {provider!r} is not known; expected one of {', '.join(get_args(Provider))}")
    runtime = import_onnxruntime()
    if provider == "cpu":
        return OpenedSession(_create(runtime, path, [_CPU]), "cpu", "asked for")
    session, problem = _try_cuda(runtime, path)
    if not problem:
        return OpenedSession(session, "cuda", "asked for" if provider == "cuda" else "CUDA loads")
    if provider == "cuda":
        raise ProviderError(f"CUDA is not available: {problem}; {_CURE}")
    return OpenedSession(_create(runtime, path, [_CPU]), "cpu", f"CUDA is not available: {problem}")


def available_cores() -> int:
    """Cores that this process may use: CPU affinity, and the cgroup's quota where there is one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):  # no cgroup v2 here, or no quota ("max")
        return cores


def _try_cuda(runtime: ModuleType, path: Path) -> tuple[Any, str]:
    """A session on CUDA and "", or None and why there is none."""
    if _CUDA not in runtime.get_available_providers():
        return None, f"the installed onnxruntime {runtime.__version__} is a build without CUDA"
    with _captured_stderr() as log:
        if hasattr(runtime, "preload_dlls"):
            with contextlib.redirect_stdout(sys.stderr):
                runtime.preload_dlls()
        try:
            session = _create(runtime, path, [_CUDA, _CPU], log_level=_ERRORS)
        except NotOnnxError as e:
            _create(runtime, path, [_CPU])  # raises if it is the file's fault
            return None, _one_line(str(e.__cause__))
    if session.get_providers()[0] == _CUDA:
        return session, ""
    return None, _cause(log) or f"the session runs on {session.get_providers()[0]}"


def _create(runtime: ModuleType, path: Path, providers: list[str], log_level: int = _SILENT) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1  # explicit: the default ignores affinity and spins
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # one pool with one lock, which threads with small runs fight for
    options.enable_mem_pattern = False  # patterns are kept per shape, and every batch has its own
    options.log_severity_level = log_level
    try:
        # Without enable_fallback=0 a failure is retried, and told on standard output.
        return runtime.InferenceSession(str(path), options, providers=providers, enable_fallback=0)
    except Exception as e:  # onnxruntime has a dozen classes for this, with no base of their own
        raise NotOnnxError(
            f"{path}: onnxruntime {runtime.__version__} refuses the model: {_one_line(str(e))}; export the model again"
        ) from e


@contextlib.contextmanager
def _captured_stderr() -> Iterator[list[str]]:
    """Lines that native code writes to file descriptor 2 meanwhile (onnxruntime names causes only there)."""
    lines: list[str] = []
    with _stderr_lock, tempfile.TemporaryFile() as kept:
        sys.stderr.flush()
        saved = os.dup(2)
        try:
            os.dup2(kept.fileno(), 2)
            yield lines
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
            kept.seek(0)
            lines += kept.read().decode("utf-8", "replace").splitlines()


def _cause(log: list[str]) -> str:
    """The line of onnxruntime's log that names the library or call that failed."""
    telling = (
        "cannot open shared object",
        "no CUDA-capable device",
        "driver version",
        "CUDA failure",
        "Failed to load",
    )
    for sign in telling:
        for line in log:
            if sign in line:
                return _one_line(line.split("with error:")[-1] if "with error:" in line else line)
    return ""


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]
