"""The rule of lstm_deploy.providers: CUDA or an error, with cause and cure; shown without a GPU."""

import builtins
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import onnxruntime
import pytest
from model_files import CHARACTERS_CRF, STREAMING, SUBWORD, SUBWORD_INT8, TUTORIAL
from pretended_cuda import AVAILABLE, CPU, CUDA, pretend

from lstm_deploy import Predictor, StreamingPredictor, providers
from lstm_deploy.errors import MissingDependencyError, NotOnnxError, ProviderError
from lstm_deploy.providers import CudaOptions, open_session
from lstm_deploy.session import TaggerSession


@pytest.mark.parametrize("load", [Predictor.load, StreamingPredictor.load, TaggerSession, open_session])
@pytest.mark.parametrize("name", ["tensorrt", "CUDA", "", None])
def test_other_names_are_refused(load, name):
    with pytest.raises(ProviderError, match=r"is not known; expected one of cpu, cuda, auto"):
        load(STREAMING if load == StreamingPredictor.load else SUBWORD, name)


def test_openvino_is_told_where_it_runs():
    message = (
        "provider 'OpenVINO' is not known; expected one of cpu, cuda, auto (a file that claims OpenVINO is run by "
        "OpenVINO itself: see docs/runtimes.md)"
    )
    with pytest.raises(ProviderError, match=f"^{re.escape(message)}$"):
        Predictor.load(SUBWORD, "OpenVINO")
    with pytest.raises(ProviderError, match=r"^provider 'tpu' is not known; expected one of cpu, cuda, auto$"):
        Predictor.load(SUBWORD, "tpu")


def _falls_back(monkeypatch, *log, torch_cuda=None):
    """onnxruntime lists CUDA, creates the session and runs it on the CPU; the cause goes to file descriptor 2."""
    real = onnxruntime.InferenceSession

    def create(path, options, providers, **others):
        if providers != [CPU]:
            os.write(2, b"".join(line.encode() + b"\n" for line in log))
        return real(path, options, providers=[CPU])

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: AVAILABLE)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: print("Failed to load libcudnn.so.9"), raising=False)
    monkeypatch.setattr(onnxruntime, "InferenceSession", create)
    if torch_cuda:
        monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(version=SimpleNamespace(cuda=torch_cuda)))
        monkeypatch.setattr(onnxruntime, "cuda_version", "13.0")


LIBRARY = "[E:onnxruntime] Failed to load library x.so with error: libcublas.so.13: cannot open shared object file"


@pytest.mark.parametrize(
    ("log", "cause", "cure"),
    [
        (LIBRARY, "libcublas.so.13: cannot open shared object file", "pip install 'lstm-deploy[gpu]'"),
        ("CUDA failure 100: no CUDA-capable device is detected ; GPU=-1", "no CUDA-capable device", "nvidia-smi"),
        ("CUDA failure 35: CUDA driver version is insufficient", "driver version is insufficient", "update NVIDIA's"),
        ("CUDA failure 2: out of memory ; GPU=0", "out of memory", "free some of the GPU's memory"),
        ("CUDA failure 101: invalid device ordinal", "invalid device ordinal", "pass a device that is there"),
        ("Failed to load library x with error: libcuda.so.1: cannot open", "libcuda.so.1", "install NVIDIA's driver"),
        ("something new", f"the session runs on {CPU}", "pip uninstall -y onnxruntime onnxruntime-gpu"),
    ],
)
def test_a_session_that_falls_back_in_silence_is_refused(monkeypatch, capfd, log, cause, cure):
    _falls_back(monkeypatch, log)
    with pytest.raises(ProviderError) as caught:
        open_session(TUTORIAL, "cuda")
    assert str(caught.value).startswith("CUDA is not available: ")
    assert cause in str(caught.value)
    assert cure in str(caught.value)
    said = "; `lstm-deploy doctor` says more, and --provider cpu runs without CUDA"
    assert str(caught.value).endswith(said)
    assert "\n" not in str(caught.value)
    chosen = open_session(TUTORIAL, "auto")
    assert (chosen.provider, chosen.placement, chosen.session.get_providers()) == ("cpu", {}, [CPU])
    assert cause in chosen.reason
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "Failed to load libcudnn.so.9" in captured.err  # said by preload_dlls, on standard output


@pytest.mark.parametrize(
    ("log", "cause"),
    [
        (["CUDA failure 2: out of memory", LIBRARY], "libcublas.so.13: cannot open shared object file"),
        (["CUDA failure 1: x", "y: no CUDA-capable device"], "y: no CUDA-capable device"),
        (["CUDA failure 1: x", "driver version is old"], "driver version is old"),
        (["Failed to load x", "CUDA failure 1: y"], "CUDA failure 1: y"),
        (["noise", "Failed to load x"], "Failed to load x"),
        (["noise", "more"], f"the session runs on {CPU}"),
        (["driver version  " + "9" * 400], "driver version " + "9" * 285),
    ],
)
def test_of_what_onnxruntime_says_the_most_telling_is_the_cause(monkeypatch, log, cause):
    _falls_back(monkeypatch, *log)
    assert open_session(TUTORIAL, "auto").reason == f"CUDA is not available: {cause}"


def test_a_build_without_cuda_is_named_with_the_way_to_another(monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU])
    cause = f"the installed onnxruntime {onnxruntime.__version__} is a build without CUDA"
    assert open_session(TUTORIAL, "auto").reason == f"CUDA is not available: {cause}"
    with pytest.raises(ProviderError) as caught:
        open_session(TUTORIAL, "cuda")
    assert str(caught.value) == (
        f"CUDA is not available: {cause}; run `pip uninstall -y onnxruntime onnxruntime-gpu`, then "
        "`pip install 'lstm-deploy[gpu]'`; `lstm-deploy doctor` says more, and --provider cpu runs without CUDA"
    )


def _fails(monkeypatch, text):
    """onnxruntime does not fall back, but raises; on the CPU it works."""
    real = onnxruntime.InferenceSession

    def create(path, options, providers, **others):
        if providers != [CPU]:
            raise RuntimeError(text)
        return real(path, options, providers=providers)

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: AVAILABLE)
    monkeypatch.delattr(onnxruntime, "preload_dlls", raising=False)  # older ones have none
    monkeypatch.setattr(onnxruntime, "InferenceSession", create)


def test_a_session_that_cuda_refuses_is_an_error_with_the_first_of_what_was_said(monkeypatch):
    _fails(monkeypatch, "CUDA failure  46:\n  device busy")
    cure = "check the driver with `nvidia-smi`, or run `pip uninstall -y onnxruntime onnxruntime-gpu`"
    with pytest.raises(ProviderError, match=f"^CUDA is not available: CUDA failure 46: device busy; {re.escape(cure)}"):
        open_session(SUBWORD, "cuda")
    opened = open_session(SUBWORD, "auto")
    assert (opened.provider, opened.reason) == ("cpu", "CUDA is not available: CUDA failure 46: device busy")
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(version=SimpleNamespace(cuda="12.8")))
    monkeypatch.setattr(onnxruntime, "cuda_version", "13.0", raising=False)
    clash = (
        " (PyTorch for CUDA 12.8 is loaded in this process, onnxruntime is for CUDA 13.0: load the model in a process "
        "without PyTorch, or install both for one CUDA)"
    )
    assert open_session(SUBWORD, "auto").reason == f"CUDA is not available: CUDA failure 46: device busy{clash}"


@pytest.mark.parametrize(
    ("torch", "ours"),
    [
        (None, "13.0"),
        (SimpleNamespace(), "13.0"),
        (SimpleNamespace(version=SimpleNamespace()), "13.0"),
        (SimpleNamespace(version=SimpleNamespace(cuda=None)), "13.0"),
        (SimpleNamespace(version=SimpleNamespace(cuda="12.8")), None),
        (SimpleNamespace(version=SimpleNamespace(cuda="13.2")), "13.0"),
    ],
)
def test_a_torch_without_other_cuda_libraries_is_not_blamed(monkeypatch, torch, ours):
    _fails(monkeypatch, "busy")
    monkeypatch.setitem(sys.modules, "torch", torch)
    if ours is None:
        monkeypatch.delattr(onnxruntime, "cuda_version", raising=False)
    else:
        monkeypatch.setattr(onnxruntime, "cuda_version", ours, raising=False)
    assert open_session(SUBWORD, "auto").reason == "CUDA is not available: busy"


def test_why_a_provider_was_taken_is_said(monkeypatch):
    assert open_session(SUBWORD, "cpu").reason == "asked for"
    pretend(monkeypatch)
    assert open_session(SUBWORD, "cuda").reason == "asked for"
    chosen = open_session(SUBWORD, "auto")
    assert (chosen.provider, chosen.reason) == ("cuda", "CUDA loads")


def test_libraries_that_come_as_wheels_are_loaded_before_the_session(monkeypatch):
    pretend(monkeypatch)
    order = []
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: order.append("libraries"))
    create = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *a, **k: order.append("session") or create(*a, **k))
    open_session(SUBWORD, "cuda")
    assert order == ["libraries", "session"]


@pytest.mark.parametrize(("provider", "level", "recorded"), [("cpu", 4, False), ("cuda", 3, True)])
def test_a_session_takes_one_thread_no_pools_and_says_nothing(monkeypatch, provider, level, recorded):
    pretend(monkeypatch)
    made, create = [], onnxruntime.InferenceSession

    def seen(path, options, providers, **others):
        made.append((path, options, others))
        return create(path, options, providers, **others)

    monkeypatch.setattr(onnxruntime, "InferenceSession", seen)
    open_session(SUBWORD, provider)
    [(path, options, others)] = made
    assert (path, others) == (str(SUBWORD), {"enable_fallback": 0})
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    assert (options.enable_cpu_mem_arena, options.enable_mem_pattern) == (False, False)
    assert options.log_severity_level == level
    if recorded:
        assert options.get_session_config_entry("session.record_ep_graph_assignment_info") == "1"
    else:
        with pytest.raises(RuntimeError, match="record_ep_graph_assignment_info"):
            options.get_session_config_entry("session.record_ep_graph_assignment_info")


def test_a_run_that_fails_says_so_once():
    assert providers.quiet_run().log_severity_level == 4


@pytest.mark.parametrize(
    ("error", "fact"),
    [
        (ModuleNotFoundError("No module named 'onnxruntime'", name="onnxruntime"), "is not installed"),
        (ModuleNotFoundError("No module named 'x'", name="x"), "is broken (No module named 'x')"),
        (ImportError("libx.so: bad"), "is broken (libx.so: bad)"),
    ],
)
def test_an_onnxruntime_that_cannot_be_imported_is_told_with_what_to_install(monkeypatch, error, fact):
    real = builtins.__import__

    def importing(name, *others):
        if name == "onnxruntime":
            raise error
        return real(name, *others)

    monkeypatch.setattr(builtins, "__import__", importing)
    message = f"onnxruntime {fact}; run `pip install 'lstm-deploy[cpu]'`, or 'lstm-deploy[gpu]' for CUDA"
    with pytest.raises(MissingDependencyError, match=f"^{re.escape(message)}$"):
        providers.import_onnxruntime()


def test_what_uninstalling_one_of_two_leaves_behind_is_no_onnxruntime(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace())
    message = (
        "onnxruntime is half-removed (its folder is there, its contents are not); run `pip uninstall -y onnxruntime "
        "onnxruntime-gpu`, then `pip install 'lstm-deploy[cpu]'` or '...[gpu]'"
    )
    with pytest.raises(MissingDependencyError, match=f"^{re.escape(message)}$"):
        open_session(SUBWORD, "cpu")


@pytest.mark.parametrize(
    ("affinity", "machine", "quota", "expected"),
    [
        (8, 16, "300000 100000\n", 3),
        (8, 16, "350000 100000", 3),
        (2, 16, "300000 100000", 2),
        (8, 16, "50000 100000", 1),
        (8, 16, "max 100000", 8),
        (8, 16, "", 8),
        (8, 16, None, 8),
        (None, 4, None, 4),
        (None, None, None, 1),
    ],
)
def test_cores_are_those_that_this_process_may_use(monkeypatch, affinity, machine, quota, expected):
    def read(path, encoding):
        assert (str(path), encoding) == ("/sys/fs/cgroup/cpu.max", "ascii")
        if quota is None:
            raise FileNotFoundError(path)
        return quota

    def cores(process):
        assert process == 0
        return set(range(affinity))

    if affinity is None:  # not every system has it
        monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    else:
        monkeypatch.setattr(os, "sched_getaffinity", cores, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: machine)
    monkeypatch.setattr(Path, "read_text", read)
    assert providers.available_cores() == expected


def test_cuda_libraries_of_another_version_that_pytorch_has_loaded_are_named(monkeypatch):
    _falls_back(monkeypatch, LIBRARY, torch_cuda="12.8")
    with pytest.raises(
        ProviderError, match=r"PyTorch for CUDA 12\.8 is loaded in this process, onnxruntime is for CUDA 13"
    ):
        open_session(TUTORIAL, "cuda")
    monkeypatch.undo()
    _falls_back(monkeypatch, LIBRARY, torch_cuda="13.1")
    with pytest.raises(ProviderError) as caught:
        open_session(TUTORIAL, "cuda")
    assert "PyTorch" not in str(caught.value)


@pytest.mark.parametrize("model", [TUTORIAL, SUBWORD, SUBWORD_INT8, CHARACTERS_CRF, STREAMING])
def test_a_session_whose_recurrence_is_on_cuda_is_taken(monkeypatch, model):
    made = pretend(monkeypatch).made
    opened = open_session(model, "cuda")
    assert opened.provider == "cuda"
    assert opened.session is made[0]
    assert opened.placement[CUDA]["LSTM"] >= 1


@pytest.mark.parametrize(
    ("placement", "problem"),
    [
        (
            {CUDA: ["Gather", "MatMul"], CPU: ["LSTM", "LSTM"]},
            r": CUDA loads, but 2 LSTM of this model would run on the CPU; export the model again, or update onnxrun",
        ),
        ({CUDA: ["LSTM"], CPU: ["LSTM", "Shape"]}, r"1 LSTM of this model would run on the CPU"),
        ({CUDA: ["LSTM", "Gather"], CPU: ["MatMulInteger", "Scan"]}, r"1 MatMulInteger, 1 Scan of this model would"),
        ({CUDA: ["GRU"], CPU: ["RNN"]}, r"1 RNN of this model"),
        (
            {CUDA: ["Gather", "MatMul"]},
            r": CUDA loads, but no LSTM of this model was found on it, so it may run on the CPU;",
        ),
        ({"Other": ["LSTM"], CPU: ["GRU", "LSTM"]}, r"1 GRU, 1 LSTM of this model would run"),
        ({}, r"no LSTM of this model was found on it"),
    ],
)
def test_a_recurrence_that_cuda_did_not_get_is_an_error(monkeypatch, placement, problem):
    """onnxruntime says that the session runs on CUDA, and gives single operators to the CPU."""
    pretend(monkeypatch, placement=placement)
    with pytest.raises(ProviderError, match=problem):
        open_session(SUBWORD, "cuda")
    assert open_session(SUBWORD, "auto").provider == "cpu"


def test_small_operators_may_stay_on_the_cpu(monkeypatch):
    """onnxruntime itself puts the arithmetic of shapes there."""
    pretend(monkeypatch, placement={CUDA: ["LSTM", "MatMul"], CPU: ["Shape", "Gather", "Range"]})
    assert open_session(SUBWORD, "cuda").provider == "cuda"


def test_options_reach_the_session(monkeypatch):
    made = pretend(monkeypatch).made
    open_session(SUBWORD, "cuda")
    assert made[-1].options == {"device_id": "0", "use_tf32": "0", "arena_extend_strategy": "kNextPowerOfTwo"}
    options = CudaOptions(devices=(3, 1), memory_limit=2**31, arena="same_as_requested", tf32=True)
    open_session(SUBWORD, "cuda", options)
    assert made[-1].options == {
        "device_id": "3",
        "use_tf32": "1",
        "arena_extend_strategy": "kSameAsRequested",
        "gpu_mem_limit": str(2**31),
    }


@pytest.mark.parametrize(
    "options", [{"devices": ()}, {"devices": (-1,)}, {"devices": (0, 0)}, {"memory_limit": 0}, {"arena": "large"}]
)
def test_options_that_make_no_sense_are_refused(options):
    name, value = next(iter(options.items()))
    with pytest.raises(ValueError, match=f"^{name} (are|is) {re.escape(repr(value))}( bytes)?; expected "):
        CudaOptions(**options)


def test_what_the_arena_can_be_is_told():
    with pytest.raises(ValueError, match=r"; expected one of next_power_of_two, same_as_requested$"):
        CudaOptions(arena="large")


def test_the_least_that_makes_sense():
    assert CudaOptions(devices=(0,), memory_limit=1).on(0)["gpu_mem_limit"] == "1"


def test_a_damaged_file_is_not_blamed_on_cuda(monkeypatch, tmp_path):
    pretend(monkeypatch)
    (tmp_path / "m.onnx").write_bytes(SUBWORD.read_bytes()[:-100])
    with pytest.raises(NotOnnxError) as caught:
        open_session(tmp_path / "m.onnx", "cuda")
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'm.onnx'}: onnxruntime {onnxruntime.__version__} refuses the model: ")
    assert message.endswith("; export the model again")
    assert "None" not in message


def test_a_closed_standard_error_is_no_hindrance():
    code = f"""
import os, sys, onnxruntime
sys.path.insert(0, {str(Path(__file__).parent)!r})
os.close(2)
sys.stderr = None
from lstm_deploy.providers import open_session
onnxruntime.get_available_providers = lambda: {AVAILABLE!r}
print(open_session({str(TUTORIAL)!r}, "auto").provider)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["cpu"], done


def test_a_process_forked_from_one_that_used_cuda_is_told_so(monkeypatch):
    pretend(monkeypatch)
    monkeypatch.setattr(providers, "_cuda_process", os.getpid() + 1)
    said = r": this process was forked from one that used CUDA; start processes with multiprocessing"
    with pytest.raises(ProviderError, match=said):
        open_session(SUBWORD, "cuda")


def test_the_first_process_that_tries_cuda_is_kept(monkeypatch):
    pretend(monkeypatch)
    monkeypatch.setattr(providers, "_cuda_process", None)
    open_session(SUBWORD, "cuda")
    assert providers._cuda_process == os.getpid()
    open_session(SUBWORD, "cuda")
    assert providers._cuda_process == os.getpid()


def test_a_session_on_cuda_does_not_survive_a_fork(monkeypatch):
    pretend(monkeypatch)
    session = TaggerSession(SUBWORD, "cuda")
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(ProviderError, match="does not survive a fork"):
        session.run(Predictor.load(SUBWORD).encoder.encode([["Ann"]]))
