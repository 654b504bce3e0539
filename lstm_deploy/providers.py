"""Which execution provider a session runs on, and why; and how many threads there are to use.

The rule:

1. ``cpu`` is the CPU.
2. ``cuda`` is CUDA or an error, never a silent CPU run. onnxruntime falls back without a word, for a whole session
   and for single operators: after a session is made, its providers are compared with what was asked for, and
   every recurrent operator must have been given to CUDA.
3. ``auto`` is CUDA where it loads, for calls of so many tokens that it wins (`lstm_deploy.crossover`), else the CPU;
   it says which and why.
4. Nothing else. The operators of a file are proved on these two; a file that claims OpenVINO or another runtime
   (docs/runtimes.md) is run by that runtime itself.
"""

import contextlib
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args

from .errors import MissingDependencyError, NotOnnxError, OutOfMemoryError, ProviderError
from .lifetimes import lock_across_forks, native_calls
from .memory import ran_out

Provider = Literal["cpu", "cuda", "auto"]
Arena = Literal["next_power_of_two", "same_as_requested"]
Placement = Mapping[str, Mapping[str, int]]
"""Execution provider -> operator -> how many of its nodes run there."""
RECURRENT = frozenset({"LSTM", "GRU", "RNN"})
_HEAVY = RECURRENT | {"Scan", "MatMulInteger"}
"""Operators that must run where a session was asked to: the recurrence itself, and what it is written with for int8
and for a CRF's best path."""
_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_SILENT = 4  # onnxruntime's FATAL level
_ERRORS = 3
_NO_BUILD = "a build without CUDA"
_MORE = "give the process more (`ulimit -v`, a container's limit)"
_REINSTALL = "run `pip uninstall -y onnxruntime onnxruntime-gpu`, then `pip install 'lstm-deploy[gpu]'`"
_CURES = (
    # what a cause says -> its cure
    (_NO_BUILD, _REINSTALL),
    ("memory", "free some of the GPU's memory (`nvidia-smi` shows who has it), or raise --memory-limit"),
    ("forked", 'start processes with multiprocessing.get_context("spawn"), or load the model in them alone'),
    ("MatMulInteger", "an int8 file is for the CPU: use --provider cpu, or export with --precision fp32 or fp16"),
    ("no CUDA-capable device", "see with `nvidia-smi` whether a GPU is there and visible to this process"),
    ("invalid device ordinal", "pass a device that is there: CUDA counts those of CUDA_VISIBLE_DEVICES from 0"),
    ("driver", "install or update NVIDIA's driver and see that `nvidia-smi` runs"),
    ("libcuda.so", "install NVIDIA's driver and see that `nvidia-smi` runs"),
    ("cannot open shared object", "run `pip install 'lstm-deploy[gpu]'`, which brings the CUDA and cuDNN libraries"),
    ("run on the CPU", "export the model again, or update onnxruntime-gpu"),
)
_stderr_lock = lock_across_forks()
_cuda_process: int | None = None
"""The process that first tried CUDA: it does not work in one that is forked from it."""


@dataclass(frozen=True)
class CudaOptions:
    """How a session on CUDA is made. What is not given is onnxruntime's own default, but for TF32.

    Attributes:
        devices: numbers of the GPUs, as CUDA counts them (those of ``CUDA_VISIBLE_DEVICES``, from 0; without it the
            fastest first, unless ``CUDA_DEVICE_ORDER=PCI_BUS_ID``); work is shared over several.
        memory_limit: bytes that onnxruntime's arena may take on each; None is no limit. cuDNN and the CUDA context
            take some beside it.
        arena: how the arena grows.
        tf32: round the factors of products to 10 bits (TF32). Faster on large models; scores then differ from
            PyTorch's by about 1e-3 and the tags are no longer proved equal.
    """

    devices: tuple[int, ...] = (0,)
    memory_limit: int | None = None
    arena: Arena = "next_power_of_two"
    tf32: bool = False

    def __post_init__(self) -> None:
        if not self.devices or min(self.devices) < 0 or len(set(self.devices)) != len(self.devices):
            raise ValueError(f"devices are {self.devices}; expected one or more different numbers from 0")
        if self.memory_limit is not None and self.memory_limit < 1:
            raise ValueError(f"memory_limit is {self.memory_limit} bytes; expected at least 1")
        if self.arena not in get_args(Arena):
            raise ValueError(f"arena is {self.arena!r}; expected one of {', '.join(get_args(Arena))}")

    def on(self, device: int) -> dict[str, str]:
        """onnxruntime's options for the provider on one device."""
        arena = {"next_power_of_two": "kNextPowerOfTwo", "same_as_requested": "kSameAsRequested"}[self.arena]
        options = {"device_id": str(device), "use_tf32": str(int(self.tf32)), "arena_extend_strategy": arena}
        return options if self.memory_limit is None else options | {"gpu_mem_limit": str(self.memory_limit)}


@dataclass(frozen=True)
class OpenedSession:
    """An onnxruntime session, the provider it really runs on, and why that one.

    Attributes:
        placement: of a session on CUDA: which operators run where.
    """

    session: Any
    provider: Literal["cpu", "cuda"]
    reason: str
    placement: Placement = field(default_factory=dict)


@dataclass(frozen=True)
class _Model:
    """A file, and its bytes where they have been read."""

    path: Path
    data: bytes | None


def check_provider(provider: str) -> None:
    """Raises unless it is one of `Provider`.

    Raises:
        ProviderError: it is another.
    """
    known = get_args(Provider)
    if provider not in known:
        openvino = " (a file that claims OpenVINO is run by OpenVINO itself: see docs/runtimes.md)"
        hint = openvino if str(provider).lower().startswith("openvino") else ""
        raise ProviderError(f"provider {provider!r} is not known; expected one of {', '.join(known)}{hint}")


def import_onnxruntime() -> ModuleType:
    """The onnxruntime module, which tells nobody what it runs unless the environment has ORT_DISABLE_TELEMETRY=0.

    Raises:
        MissingDependencyError: neither onnxruntime nor onnxruntime-gpu is installed, or it is broken.
        OutOfMemoryError: it does not fit into memory.
    """
    # From 1.29 on its first import begins a database in the home folder and a thread that is reported to send names and
    # hashes of models to Microsoft; only the environment keeps it from beginning.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as e:
        if ran_out(e):
            raise OutOfMemoryError(f"onnxruntime does not fit into memory ({_one_line(str(e))}); {_MORE}") from e
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


def open_session(
    path: Path, provider: Provider, cuda: CudaOptions | None = None, data: bytes | None = None
) -> OpenedSession:
    """A session for the ONNX file at ``path`` on the provider asked for. A run takes one thread.

    Args:
        cuda: how, on CUDA; the session runs on the first of its devices.
        data: the file's bytes, where they have been read and checked: the file may be another one by now.

    Raises:
        ProviderError: ``provider`` is unknown, or is ``cuda`` and CUDA does not load or does not get the recurrence.
        NotOnnxError: onnxruntime refuses the file.
        OutOfMemoryError: it does not fit into memory.
        MissingDependencyError: no onnxruntime.
    """
    check_provider(provider)
    model = _Model(path, data)
    runtime = import_onnxruntime()
    if provider == "cpu":
        return OpenedSession(_create(runtime, model, [_CPU]), "cpu", "asked for")
    session, placement, problem = _try_cuda(runtime, model, cuda or CudaOptions())
    if not problem:
        return OpenedSession(session, "cuda", "asked for" if provider == "cuda" else "CUDA loads", placement)
    if provider == "cuda":
        raise ProviderError(
            f"CUDA is not available: {problem}; {_cure(problem)}; `lstm-deploy doctor` says more, and --provider cpu "
            "runs without CUDA"
        )
    return OpenedSession(_create(runtime, model, [_CPU]), "cpu", f"CUDA is not available: {problem}")


def quiet_run() -> Any:
    """Options of a run whose failure is told by its exception alone, not also on standard error."""
    options = import_onnxruntime().RunOptions()
    options.log_severity_level = _SILENT
    return options


def available_cores() -> int:
    """Cores that this process may use: CPU affinity, and the cgroup's quota where there is one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):  # no cgroup v2 here, or no quota ("max")
        return cores


def _try_cuda(runtime: ModuleType, model: _Model, cuda: CudaOptions) -> tuple[Any, Placement, str]:
    """A session on CUDA, where its operators run, and ""; or None, nothing, and why there is none."""
    global _cuda_process
    if _CUDA not in runtime.get_available_providers():
        return None, {}, f"the installed onnxruntime {runtime.__version__} is {_NO_BUILD}"
    _cuda_process = _cuda_process or os.getpid()
    if _cuda_process != os.getpid():
        return None, {}, "this process was forked from one that used CUDA"
    with captured_stderr() as log:
        if hasattr(runtime, "preload_dlls"):
            with contextlib.redirect_stdout(sys.stderr):
                runtime.preload_dlls()
        try:
            session = _create(runtime, model, [(_CUDA, cuda.on(cuda.devices[0])), _CPU], log_level=_ERRORS)
        except NotOnnxError as e:
            _create(runtime, model, [_CPU])  # raises if it is the file's fault
            return None, {}, _one_line(str(e.__cause__)) + _torch_clash(runtime)
    if session.get_providers()[0] != _CUDA:
        cause = _cause(log) or f"the session runs on {session.get_providers()[0]}"
        return None, {}, cause + _torch_clash(runtime)
    placement = _placement(session)
    return session, placement, _misplaced(placement)


def _placement(session: Any) -> dict[str, dict[str, int]]:
    """Where each operator of the graph, and of the graphs inside it, was put."""
    found: dict[str, Counter[str]] = {}
    for part in session.get_provider_graph_assignment_info():
        found.setdefault(part.ep_name, Counter()).update(node.op_type for node in part.get_nodes())
    return {provider: dict(nodes) for provider, nodes in found.items()}


def _misplaced(placement: Placement) -> str:
    """What of the recurrence does not run on CUDA; "" if all of it does."""
    on_cuda = placement.get(_CUDA, {})
    elsewhere = {
        op: count for name, nodes in placement.items() if name != _CUDA for op, count in nodes.items() if op in _HEAVY
    }
    if elsewhere:
        counts = ", ".join(f"{count} {op}" for op, count in sorted(elsewhere.items()))
        return f"CUDA loads, but {counts} of this model would run on the CPU"
    if not RECURRENT & on_cuda.keys():
        return "CUDA loads, but no LSTM of this model was found on it, so it may run on the CPU"
    return ""


def _torch_clash(runtime: ModuleType) -> str:
    """What to add to a cause where PyTorch has loaded CUDA libraries of another version into this process.

    cuDNN has the same file name for each version of CUDA, and of two the one loaded first serves both.
    """
    torch = sys.modules.get("torch")
    theirs = getattr(getattr(torch, "version", None), "cuda", None)
    ours = getattr(runtime, "cuda_version", None)
    if not theirs or not ours or theirs.split(".")[0] == ours.split(".")[0]:
        return ""
    return (
        f" (PyTorch for CUDA {theirs} is loaded in this process, onnxruntime is for CUDA {ours}: load the model in a "
        "process without PyTorch, or install both for one CUDA)"
    )


def _create(
    runtime: ModuleType, model: _Model, providers: list[str | tuple[str, dict[str, str]]], log_level: int = _SILENT
) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1  # explicit: the default ignores affinity and spins
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # one pool with one lock, which threads with small runs fight for
    options.enable_mem_pattern = False  # patterns are kept per shape, and every batch has its own
    options.log_severity_level = log_level
    if providers[0] != _CPU:
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    try:
        # Without enable_fallback=0 a failure is retried, and told on standard output.
        source = str(model.path) if model.data is None else model.data
        with native_calls:
            return runtime.InferenceSession(source, options, providers=providers, enable_fallback=0)
    except Exception as e:  # onnxruntime has a dozen classes for this, with no base of their own
        if ran_out(e) and providers[0] == _CPU:  # on CUDA it is a cause among others
            raise OutOfMemoryError(f"{model.path}: does not fit into memory ({_one_line(str(e))}); {_MORE}") from e
        raise NotOnnxError(
            f"{model.path}: onnxruntime {runtime.__version__} refuses the model: {_one_line(str(e))}; export the model "
            "again"
        ) from e


@contextlib.contextmanager
def captured_stderr() -> Iterator[list[str]]:
    """Lines that native code writes to file descriptor 2 meanwhile (onnxruntime names causes only there)."""
    lines: list[str] = []
    with _stderr_lock, tempfile.TemporaryFile() as kept:
        _flush()
        try:
            saved = os.dup(2)
        except OSError:  # standard error is closed: nothing is written there
            yield lines
            return
        try:
            os.dup2(kept.fileno(), 2)
            yield lines
        finally:
            _flush()
            os.dup2(saved, 2)
            os.close(saved)
            kept.seek(0)
            lines += kept.read().decode("utf-8", "replace").splitlines()


def _flush() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()


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


def _cure(problem: str) -> str:
    found = next((cure for sign, cure in _CURES if sign in problem), None)
    return found or f"check the driver with `nvidia-smi`, or {_REINSTALL}"


def _one_line(text: str) -> str:
    """Native code's own words, which may quote a file's: nothing in them that a terminal would obey."""
    return "".join(char if char.isprintable() else "?" for char in " ".join(text.split()))[:300]
