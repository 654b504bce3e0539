"""The rule of lstm_deploy.providers: CUDA or an error, with cause and cure; shown without a GPU."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import onnxruntime
import pytest
from model_files import CHARACTERS_CRF, STREAMING, SUBWORD, SUBWORD_INT8, TUTORIAL
from pretended_cuda import AVAILABLE, CPU, CUDA, pretend

from lstm_deploy import Predictor, StreamingPredictor, providers
from lstm_deploy.errors import NotOnnxError, ProviderError
from lstm_deploy.providers import CudaOptions, open_session
from lstm_deploy.session import TaggerSession


@pytest.mark.parametrize("load", [Predictor.load, StreamingPredictor.load, TaggerSession, open_session])
@pytest.mark.parametrize("name", ["tensorrt", "CUDA", "", None])
def test_other_names_are_refused(load, name):
    with pytest.raises(ProviderError, match=r"is not known; expected one of cpu, cuda, auto"):
        load(STREAMING if load == StreamingPredictor.load else SUBWORD, name)


def test_openvino_is_told_where_it_runs():
    with pytest.raises(ProviderError, match=r"run by OpenVINO itself: see docs/runtimes\.md"):
        Predictor.load(SUBWORD, "openvino")


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
    assert "`lstm-deploy doctor`" in str(caught.value)
    assert "\n" not in str(caught.value)
    chosen = open_session(TUTORIAL, "auto")
    assert chosen.provider == "cpu"
    assert cause in chosen.reason
    assert capfd.readouterr().out == ""


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
        ({CUDA: ["Gather", "MatMul"], CPU: ["LSTM", "LSTM"]}, r"2 LSTM of this model would run on the CPU"),
        ({CUDA: ["LSTM"], CPU: ["LSTM", "Shape"]}, r"1 LSTM of this model would run on the CPU"),
        ({CUDA: ["LSTM", "Gather"], CPU: ["MatMulInteger", "Scan"]}, r"1 MatMulInteger, 1 Scan of this model would"),
        ({CUDA: ["GRU"], CPU: ["RNN"]}, r"1 RNN of this model"),
        ({CUDA: ["Gather", "MatMul"]}, r"no LSTM of this model was found on it"),
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
    with pytest.raises(ValueError, match="expected"):
        CudaOptions(**options)


def test_a_damaged_file_is_not_blamed_on_cuda(monkeypatch, tmp_path):
    pretend(monkeypatch)
    (tmp_path / "m.onnx").write_bytes(SUBWORD.read_bytes()[:-100])
    with pytest.raises(NotOnnxError):
        open_session(tmp_path / "m.onnx", "cuda")


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
    with pytest.raises(ProviderError, match=r"forked from one that used CUDA; start processes with multiprocessing"):
        open_session(SUBWORD, "cuda")


def test_a_session_on_cuda_does_not_survive_a_fork(monkeypatch):
    pretend(monkeypatch)
    session = TaggerSession(SUBWORD, "cuda")
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(ProviderError, match="does not survive a fork"):
        session.run(Predictor.load(SUBWORD).encoder.encode([["Ann"]]))
