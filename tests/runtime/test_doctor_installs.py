"""The doctor in real environments with real faults: minutes, and gigabytes for the CUDA libraries."""

import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
GPU = "onnxruntime-gpu==1.31.1"
ASK = """
import json, sys
from lstm_deploy.doctor import describe, diagnose
found = diagnose(providers=sys.argv[1:] or None)
print(describe(found))
print(json.dumps(found.to_json()))
"""
LOAD = "import sys; from lstm_deploy import Predictor; Predictor.load(sys.argv[1], 'cuda')"


class Environment:
    """A virtual environment."""

    def __init__(self, folder):
        self.folder = folder
        self.python = folder / "bin" / "python"

    def run(self, *command, check=True):
        environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONHOME", "VIRTUAL_ENV", "PYTHONPATH")}
        return subprocess.run(
            [str(self.python), *command],
            env=environment | {"PYTHONPATH": str(ROOT)},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=check,
        )

    def pip(self, *arguments):
        done = self.run("-m", "pip", *arguments, check=False)
        assert done.returncode == 0, done.stderr
        return self

    def copy(self, folder):
        shutil.copytree(self.folder, folder, symlinks=True)
        return Environment(folder)

    def diagnosis(self, *providers):
        done = self.run("-c", ASK, *providers)
        print(done.stdout.rpartition("\n{")[0])
        print(
            "Predictor.load:", self.run("-c", LOAD, str(ROOT / "exported" / "tutorial.onnx"), check=False).stderr[-500:]
        )
        return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    if not (ROOT / "lstm_deploy").is_dir():
        pytest.skip("needs the source tree, to put on PYTHONPATH")
    folder = tmp_path_factory.mktemp("environments")
    yield folder
    shutil.rmtree(folder)  # pytest would keep those of three runs


@pytest.fixture(scope="module")
def gpu(folder):
    """The build for CUDA alone."""
    subprocess.run([sys.executable, "-m", "venv", str(folder / "gpu")], check=True)
    environment = Environment(folder / "gpu")
    done = environment.run("-m", "pip", "install", "--quiet", GPU, check=False)
    if done.returncode:
        pytest.skip(f"{GPU} cannot be installed here: {done.stderr.strip()[-300:]}")
    return environment


@pytest.fixture(scope="module")
def both(gpu, folder):
    return gpu.copy(folder / "both").pip("install", "--quiet", "onnxruntime")


def errors(found):
    return [finding for finding in found["findings"] if finding["severity"] == "error"]


def driver_faults():
    """What is expected of the driver: this machine may have one."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return ["driver"]
    pytest.skip("this machine has NVIDIA's driver: what CUDA does on it is for tests/gpu")
    return []


def test_the_build_for_cuda_without_its_libraries(gpu):
    found = gpu.diagnosis()
    assert found["required"] == ["cpu", "cuda"]
    assert found["sessions"]["cpu"]["works"] and not found["sessions"]["cuda"]["works"]
    assert [finding["about"] for finding in errors(found)][-1:] == ["libraries"]
    assert "CUDA libraries that onnxruntime-gpu 1.31.1 wants are not found: " in errors(found)[-1]["fact"]
    assert "libcudnn.so.9" in errors(found)[-1]["fact"]
    assert "run `pip install 'lstm-deploy[gpu]'`" in errors(found)[-1]["cure"]
    assert [finding["about"] for finding in errors(found)] == [*driver_faults(), "libraries"]


def test_where_only_the_cpu_is_asked_for_it_is_healthy(gpu):
    assert gpu.diagnosis("cpu")["healthy"]


def test_libraries_without_a_driver(gpu, folder):
    expected = driver_faults()
    wanted = {library["name"]: library["wheel"] for library in gpu.diagnosis()["libraries"]}
    environment = gpu.copy(folder / "full").pip("install", "--quiet", GPU.replace("gpu", "gpu[cuda,cudnn]"))
    try:
        found = environment.diagnosis()
    finally:
        shutil.rmtree(environment.folder)
    assert [finding["about"] for finding in errors(found)] == expected
    assert "no driver of NVIDIA is installed" in errors(found)[0]["fact"]
    assert {library["name"]: library["place"] for library in found["libraries"]} == dict.fromkeys(wanted, "wheel")


def test_the_wheels_that_are_named_bring_what_is_missing(gpu, folder):
    """Without their dependencies: each is named because something in it is wanted."""
    missing = errors(gpu.diagnosis())[-1]
    wheels = re.findall(r"'(nvidia-[^']+)'", missing["cure"])
    assert len(wheels) >= 3
    environment = gpu.copy(folder / "wheels").pip("install", "--quiet", "--no-deps", *wheels)
    try:
        found = environment.diagnosis()
    finally:
        shutil.rmtree(environment.folder)
    assert "libraries" not in [finding["about"] for finding in errors(found)]


def test_both_distributions_and_the_cure(both, folder):
    found = both.diagnosis()
    (fault,) = errors(found)
    assert re.search(r"onnxruntime \d\S+ and onnxruntime-gpu 1.31.1 are installed together", fault["fact"])
    assert "overwrite each other" in fault["fact"]
    assert len(found["onnxruntime"]["distributions"]) == 2
    cured = both.copy(folder / "cured")
    line = re.search(r"`pip (uninstall -y [^`]+)`", fault["cure"])[1]
    cured.pip(*line.split())
    (fault,) = errors(cured.diagnosis())
    assert fault["fact"] == "no onnxruntime is installed"
    assert cured.pip("install", "--quiet", "onnxruntime").diagnosis()["healthy"]


@pytest.mark.parametrize("removed", ["onnxruntime", "onnxruntime-gpu"])
def test_an_uninstall_that_left_half_and_the_cure(both, folder, removed):
    (left,) = {"onnxruntime", "onnxruntime-gpu"} - {removed}
    environment = both.copy(folder / f"without-{removed}").pip("uninstall", "--quiet", "-y", removed)
    (fault,) = errors(environment.diagnosis())
    assert (
        fault["fact"].startswith(f"{left} ") and "is damaged: " in fault["fact"] and " missing of its" in fault["fact"]
    )
    line = re.fullmatch(r"run `pip ([^`]+)`", fault["cure"])[1]
    environment.pip(*line.split())
    assert environment.diagnosis("cpu")["healthy"]


def test_neither(gpu, folder):
    environment = gpu.copy(folder / "neither").pip("uninstall", "--quiet", "-y", "onnxruntime-gpu")
    (fault,) = errors(environment.diagnosis())
    assert fault["fact"] == "no onnxruntime is installed"
    assert "`pip install 'lstm-deploy[cpu]'`" in fault["cure"]
