"""The doctor: package trees with each fault and what looks like one, a made-up driver, tries that crash or hang."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import pytest
from model_files import SUBWORD, rewrite
from package_trees import GPU_BUILD_12, REQUIRES, WANTED, cpu_files, gpu_files, install, shared_library, uninstall

from lstm_deploy import Predictor
from lstm_deploy.doctor import describe, diagnose
from lstm_deploy.doctor.child import Outcome, run_probe
from lstm_deploy.doctor.driver import bus_gpus, idle_gpu, judge_driver, kernel_driver
from lstm_deploy.doctor.elf import Dynamic, read_dynamic
from lstm_deploy.doctor.libraries import judge_libraries, wanted_libraries
from lstm_deploy.doctor.machine import ask_machine, cgroup_limits, judge_machine
from lstm_deploy.doctor.packages import OLDEST, survey
from lstm_deploy.doctor.report import MODEL
from lstm_deploy.errors import ModelFileError, ProviderError
from lstm_deploy.golden import check_golden
from lstm_deploy.modelfile import read_model_file

HERE = Path(__file__).parent
INSTALL = "`pip install 'lstm-deploy[cpu]'`, or `pip install 'lstm-deploy[gpu]'` for CUDA"
STANDARD = [entry for entry in sys.path if entry.startswith(sysconfig.get_path("stdlib")) and "-packages" not in entry]
CUDA_BUILD = any(Path(find_spec("onnxruntime").origin).parent.glob("capi/*providers_cuda*"))


def only(findings, severity):
    """The one finding; there is no other."""
    assert [finding.severity for finding in findings] == [severity], findings
    return findings[0]


# The model that is tried


def test_the_model_is_small_and_right():
    assert MODEL.stat().st_size < 20_000
    file = read_model_file(MODEL)
    layers = [node for node in (*file.nodes, *file.inner_nodes) if node.op_type == "LSTM"]
    assert len(layers) == 4, "two layers of two directions"
    predictor = Predictor.load(MODEL)
    lengths = [len(case.tokens) for case in predictor.metadata.golden]
    assert min(lengths) == 1 and max(lengths) > 30 and len(set(lengths)) > 4
    assert len({tag for case in predictor.metadata.golden for tag in case.tags}) > 2
    report = check_golden(predictor)
    assert report.cases == len(lengths) and not report.failures


# Packages: faults


def test_two_distributions_in_one_folder(tmp_path):
    install(tmp_path, "onnxruntime-gpu", "1.31.1", gpu_files())
    install(tmp_path, "onnxruntime", "1.32.0", cpu_files())
    fault = only(survey([tmp_path]).findings, "error")
    assert "onnxruntime 1.32.0 and onnxruntime-gpu 1.31.1 are installed together" in fault.fact
    assert f"{tmp_path} and overwrite each other (6 files are in both" in fault.fact
    assert "the files there are those of onnxruntime 1.32.0" in fault.fact
    assert fault.cure == f"keep one of them: run `pip uninstall -y onnxruntime onnxruntime-gpu`, then {INSTALL}"


def test_two_distributions_the_other_one_last(tmp_path):
    install(tmp_path, "onnxruntime", "1.32.0", cpu_files())
    install(tmp_path, "onnxruntime-gpu", "1.31.1", gpu_files())
    found = survey([tmp_path])
    assert "the files there are those of onnxruntime-gpu 1.31.1" in only(found.findings, "error").fact
    assert found.promises_cuda


def test_a_distribution_of_any_name_is_told_by_its_files(tmp_path):
    install(tmp_path, "somebodys-runtime", "5", cpu_files())
    install(tmp_path, "onnxruntime", "1.32.0", cpu_files())
    assert "onnxruntime 1.32.0 and somebodys-runtime 5" in only(survey([tmp_path]).findings, "error").fact


def test_one_name_in_two_versions(tmp_path):
    install(tmp_path, "onnxruntime", "1.31.0", cpu_files())
    install(tmp_path, "onnxruntime", "1.32.0", cpu_files())
    assert "run `pip uninstall -y onnxruntime` 2 times" in only(survey([tmp_path]).findings, "error").cure


@pytest.mark.parametrize("first", ["onnxruntime", "onnxruntime-gpu"])
def test_an_uninstall_of_one_of_two(tmp_path, first):
    """Takes the files of both away."""
    folders = {
        "onnxruntime-gpu": install(tmp_path, "onnxruntime-gpu", "1.31.1", gpu_files()),
        "onnxruntime": install(tmp_path, "onnxruntime", "1.31.1", cpu_files()),
    }
    uninstall(tmp_path, folders.pop(first))
    (left,) = folders
    found = survey([tmp_path])
    fault = only(found.findings, "error")
    assert found.origin is None
    assert f"{left} 1.31.1 in {tmp_path} is damaged: 6 missing of its {6 + 2 * ('gpu' in left)} " in fault.fact
    assert "(__init__.py, capi/__init__.py, capi/build_and_package_info.py ...)" in fault.fact
    assert fault.cure == f"run `pip install --force-reinstall --no-deps {left}==1.31.1`"


def test_the_whole_folder_removed_by_hand(tmp_path):
    install(tmp_path, "onnxruntime", "1.32.0", cpu_files())
    shutil.rmtree(tmp_path / "onnxruntime")
    assert "is damaged: 6 missing of its 6 files" in only(survey([tmp_path]).findings, "error").fact


def test_a_folder_that_no_distribution_owns_any_more(tmp_path):
    folder = install(tmp_path, "onnxruntime", "1.32.0", cpu_files())
    uninstall(tmp_path, folder)
    (tmp_path / "onnxruntime" / "capi" / "left.so").write_bytes(b"")
    fault = only(survey([tmp_path]).findings, "error")
    assert f"half-removed: {tmp_path / 'onnxruntime'} is there with 1 files, without its __init__.py" in fault.fact
    assert fault.cure == f"run `rm -r {tmp_path / 'onnxruntime'}`, then {INSTALL}"
    (tmp_path / "onnxruntime" / "capi" / "left.so").unlink()
    assert only(survey([tmp_path]).findings, "error").fact == "no onnxruntime is installed", "folders alone are nothing"


def test_nothing_at_all(tmp_path):
    fault = only(survey([tmp_path]).findings, "error")
    assert (fault.fact, fault.cure) == ("no onnxruntime is installed", f"run {INSTALL}")


def test_a_folder_of_that_name_by_chance_is_nothing(tmp_path):
    (tmp_path / "onnxruntime" / "models").mkdir(parents=True)
    assert only(survey([tmp_path]).findings, "error").fact == "no onnxruntime is installed"


@pytest.mark.parametrize("content", [b"# the modulE\n", b"# the module, longer\n"], ids=["same size", "other size"])
def test_a_changed_file(tmp_path, content):
    install(tmp_path, "onnxruntime", "1.32.0", cpu_files())
    (tmp_path / "onnxruntime" / "__init__.py").write_bytes(content)
    found = survey([tmp_path])
    assert "is damaged: 1 changed of its 6 files (__init__.py)" in only(found.findings, "error").fact
    assert not found.patched


@pytest.mark.parametrize(
    "path", ["onnxruntime/tools/check.py", "onnxruntime/capi/libonnxruntime_providers_tensorrt.so"]
)
def test_what_no_session_needs_may_be_missing(tmp_path, path):
    """Images cut it away to save space."""
    install(tmp_path, "onnxruntime-gpu", "1.31.1", gpu_files())
    (tmp_path / path).unlink()
    fault = only(survey([tmp_path]).findings, "warning")
    assert (
        f"1 missing of its 8 files ({path.removeprefix('onnxruntime/')}), none of which a session needs" in fault.fact
    )


def test_a_module_in_front_of_the_installed_one(tmp_path):
    front, behind = tmp_path / "front", tmp_path / "behind"
    install(behind, "onnxruntime", "1.32.0", cpu_files())
    (front / "onnxruntime").mkdir(parents=True)
    (front / "onnxruntime" / "__init__.py").touch()
    fault = only(survey([front, behind]).findings, "error")
    expected = f"{front / 'onnxruntime' / '__init__.py'} is imported instead of onnxruntime 1.32.0 in {behind}"
    assert fault.fact == expected
    assert f"rename or remove {front / 'onnxruntime'}, or take {front} off PYTHONPATH" in fault.cure
    assert not survey([behind, front]).findings, "behind the installed one it does no harm"


def test_a_file_in_front_of_the_installed_one(tmp_path):
    front, behind = tmp_path / "front", tmp_path / "behind"
    install(behind, "onnxruntime", "1.32.0", cpu_files())
    front.mkdir()
    (front / "onnxruntime.py").touch()
    assert f"rename or remove {front / 'onnxruntime.py'}" in only(survey([front, behind]).findings, "error").cure


def test_a_module_in_the_current_folder(tmp_path):
    here, tree = tmp_path / "here", tmp_path / "tree"
    install(tree, "onnxruntime", "1.32.0", cpu_files())
    (here / "onnxruntime").mkdir(parents=True)
    assert not survey([tree], here).findings, "a folder alone is not imported where there is a module"
    (here / "onnxruntime" / "__init__.py").touch()
    assert str(here) in only(survey([tree], here).findings, "warning").fact
    assert "is imported instead" in only(survey([here, tree], here).findings, "error").fact
    assert not survey([tree], tree).findings


def test_a_module_for_another_python(tmp_path):
    files = cpu_files() | {"onnxruntime/capi/onnxruntime_pybind11_state.cpython-39-x86_64-linux-gnu.so": b""}
    install(tmp_path, "onnxruntime", "1.32.0", files)
    fault = only(survey([tmp_path]).findings, "error")
    assert "is for another Python: it has onnxruntime_pybind11_state.cpython-39" in fault.fact
    name = "onnxruntime_pybind11_state" + sysconfig.get_config_var("EXT_SUFFIX")
    (tmp_path / "onnxruntime" / "capi" / name).touch()
    assert not survey([tmp_path]).findings


def test_an_old_release(tmp_path):
    install(tmp_path, "onnxruntime", "1.9.0", cpu_files())
    assert only(survey([tmp_path]).findings, "warning").cure == "run `pip install --upgrade onnxruntime`"
    extras = (HERE.parents[1] / "pyproject.toml").read_text()
    assert f'"onnxruntime>={OLDEST[0]}.{OLDEST[1]}"' in extras


# Packages: what looks like a fault and is none


@pytest.mark.parametrize(
    "name", ["onnxruntime", "ONNXRuntime", "onnxruntime_gpu", "ort-nightly", "onnxruntime-openvino"]
)
def test_one_distribution_is_no_fault(tmp_path, name):
    install(tmp_path, name, "1.32.0", cpu_files())
    found = survey([tmp_path])
    assert not found.findings
    assert [owner.name for owner in found.used] == [name.lower().replace("_", "-")]


def test_what_the_record_has_no_hash_of_may_be_missing(tmp_path):
    folder = install(tmp_path, "onnxruntime", "1.32.0", cpu_files())
    with (folder / "RECORD").open("a") as record:
        record.write("onnxruntime/capi/made_later.py,,\n")
    assert not survey([tmp_path]).findings


def test_the_same_folder_twice_is_one(tmp_path):
    tree = tmp_path / "tree"
    install(tree, "onnxruntime", "1.32.0", cpu_files())
    (tmp_path / "lib64").symlink_to(tree)
    found = survey([tree, tmp_path / "lib64", f"{tree}/", tmp_path / "absent.zip", tree])
    assert not found.findings and len(found.owners) == 1


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("onnxruntime-extensions", "onnxruntime_extensions"),
        ("onnxruntime-genai", "onnxruntime_genai"),
        ("onnxruntime-tools", "onnxruntime_tools"),
        ("onnxruntime-ep-openvino", "onnxruntime_ep_openvino"),
    ],
)
@pytest.mark.parametrize("record", [True, False], ids=["RECORD", "no RECORD"])
def test_other_modules_with_such_names(tmp_path, name, module, record):
    install(tmp_path, "onnxruntime", "1.32.0", cpu_files())
    install(tmp_path, name, "0.9", {f"{module}/__init__.py": b""}, modules=module if record else "", record=record)
    found = survey([tmp_path])
    assert not found.findings and len(found.owners) == 1


def test_a_distribution_without_files(tmp_path):
    """Some install an empty ``onnxruntime`` to satisfy what asks for it, beside onnxruntime-gpu."""
    install(tmp_path, "onnxruntime-gpu", "1.31.1", gpu_files())
    install(tmp_path, "onnxruntime", "1.31.1", {})
    folder = tmp_path / "onnxruntime-1.31.1.dist-info"
    (folder / "RECORD").write_text(f"{folder.name}/METADATA,,\n{folder.name}/RECORD,,\n")
    found = survey([tmp_path])
    assert not found.findings and [owner.name for owner in found.used] == ["onnxruntime-gpu"]


def test_files_beside_those_of_another(tmp_path):
    install(tmp_path, "onnxruntime", "1.32.0", cpu_files())
    install(tmp_path, "onnxruntime-plugin", "1", {"onnxruntime/plugin/__init__.py": b""})
    assert not survey([tmp_path]).findings
    uninstall(tmp_path, tmp_path / "onnxruntime-1.32.0.dist-info")
    fault = only(survey([tmp_path]).findings, "error")
    assert fault.fact == "no onnxruntime is installed, only onnxruntime-plugin 1"


def test_what_pip_and_uninstalls_leave(tmp_path):
    install(tmp_path, "onnxruntime", "1.32.0", cpu_files())
    shutil.copytree(tmp_path / "onnxruntime-1.32.0.dist-info", tmp_path / "~nnxruntime-1.31.0.dist-info")
    shutil.copytree(tmp_path / "onnxruntime", tmp_path / "~nnxruntime")
    (tmp_path / "onnxruntime-1.30.0.dist-info").mkdir()  # empty, as a stopped uninstall leaves it
    found = survey([tmp_path])
    assert "~nnxruntime-1.31.0.dist-info is what an interrupted pip left" in only(found.findings, "note").fact
    assert len(found.owners) == 1


def test_a_second_folder_is_shadowed(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    install(first, "onnxruntime", "1.32.0", cpu_files())
    install(second, "onnxruntime-gpu", "1.31.1", gpu_files())
    found = survey([first, second])
    fact = only(found.findings, "note").fact
    assert fact == f"onnxruntime-gpu 1.31.1 in {second} stays unused: onnxruntime 1.32.0 in {first} comes first"
    assert not found.promises_cuda
    assert survey([second, first]).promises_cuda


def test_without_a_record_nothing_can_be_checked(tmp_path):
    install(tmp_path, "onnxruntime", "1.32.0", cpu_files(), record=False, modules="")
    found = survey([tmp_path])
    assert "has no RECORD" in only(found.findings, "note").fact
    assert found.used[0].listed is None
    install(tmp_path, "onnxruntime-gpu", "1.31.1", gpu_files(), record=True)
    assert "it cannot be told whether they overwrite each other" in found_warning(survey([tmp_path])).fact


def found_warning(found):
    return only([finding for finding in found.findings if finding.severity != "note"], "warning")


def test_a_module_without_a_distribution_may_work(tmp_path):
    """A build of one's own, or an image without metadata: the try says whether it works."""
    for path, content in gpu_files().items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    found = survey([tmp_path])
    assert "belongs to no installed distribution" in only(found.findings, "note").fact
    assert found.promises_cuda and found.cuda_version == "13.0"


# Libraries


def test_what_a_library_needs(tmp_path):
    path = tmp_path / "lib.so"
    path.write_bytes(shared_library(["liba.so.1", "libb.so"], "$ORIGIN/x:/y"))
    assert read_dynamic(path) == Dynamic(("liba.so.1", "libb.so"), ("$ORIGIN/x", "/y"))
    for content in (b"", b"\x7fELF", b"no library at all" * 9, path.read_bytes()[:150]):
        path.write_bytes(content)
        assert read_dynamic(path) == Dynamic()
    assert read_dynamic(tmp_path / "absent") == Dynamic()


def test_a_real_library():
    binary = Path(sys.executable).resolve()
    if not binary.read_bytes().startswith(b"\x7fELF\x02\x01"):
        pytest.skip("Python is no 64-bit ELF file here")
    assert any(name.startswith("libc.") for name in read_dynamic(binary).needed)


@pytest.fixture
def no_system(monkeypatch):
    monkeypatch.setattr("lstm_deploy.doctor.libraries._system", dict)


def gpu_tree(tmp_path, **files):
    tree = tmp_path / "site-packages"
    install(tree, "onnxruntime-gpu", "1.31.1", gpu_files(**files), requires=REQUIRES)
    return tree


def put(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def test_all_libraries_missing_is_one_finding(tmp_path, no_system):
    packages = survey([gpu_tree(tmp_path)])
    libraries = wanted_libraries(packages, {})
    assert [library.name for library in libraries] == [*WANTED[:3], "libcudnn.so.9"], "neither the driver nor libc"
    fault = only(judge_libraries(libraries, packages), "error")
    assert fault.fact == (
        "4 of the 4 CUDA libraries that onnxruntime-gpu 1.31.1 wants are not found: libcublasLt.so.13, "
        "libcublas.so.13, libcudart.so.13, libcudnn.so.9"
    )
    wheels = "'nvidia-cublas~=13.0' 'nvidia-cuda-runtime~=13.0' 'nvidia-cudnn-cu13~=9.0'"
    assert fault.cure == f"run `pip install 'lstm-deploy[gpu]'`, or for these alone `pip install {wheels}`"


def test_each_place_of_a_library(tmp_path, no_system):
    tree = gpu_tree(tmp_path)
    provider = tree / "onnxruntime" / "capi" / "libonnxruntime_providers_cuda.so"
    provider.write_bytes(shared_library(WANTED, f"$ORIGIN/../../own:{tmp_path}/other"))
    put(tree / "nvidia" / "cudnn" / "lib", "libcudnn.so.9")
    put(tree / "own", "libcublas.so.13")
    put(tmp_path / "path", "libcublasLt.so.13", "libcudnn.so.9")
    found = wanted_libraries(survey([tree]), {"LD_LIBRARY_PATH": f"/absent:{tmp_path / 'path'}"})
    assert {library.name: library.place for library in found} == {
        "libcudnn.so.9": "wheel",
        "libcublas.so.13": "runpath",
        "libcublasLt.so.13": "LD_LIBRARY_PATH",
        "libcudart.so.13": "",
    }
    assert found[0].path == tmp_path / "path" / "libcublasLt.so.13"


def test_libraries_of_the_system(tmp_path, monkeypatch):
    script = tmp_path / "bin" / "ldconfig"
    script.parent.mkdir()
    names = ["libcudart.so.13", "libcublas.so.12", "libcublasLt.so"]
    lines = ["3 libs found in cache", *(f"\t{name} (libc6,x86-64) => /opt/cuda/{name}" for name in names)]
    script.write_text("#!/bin/sh\ncat <<END\n" + "\n".join(lines) + "\nEND\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
    found = {library.name: library for library in wanted_libraries(survey([gpu_tree(tmp_path)]), {})}
    assert (found["libcudart.so.13"].place, str(found["libcudart.so.13"].path)) == (
        "system",
        "/opt/cuda/libcudart.so.13",
    )
    assert str(found["libcublas.so.13"].instead) == "/opt/cuda/libcublas.so.12"
    assert found["libcublasLt.so.13"].instead is None, "without a release it is for compilers"


@pytest.mark.parametrize("place", ["wheel of CUDA 12", "wheel elsewhere", "torch"])
def test_a_library_of_another_release_or_place(tmp_path, no_system, place):
    tree, other = gpu_tree(tmp_path), tmp_path / "other"
    folder, name = {
        "wheel of CUDA 12": (tree / "nvidia" / "cublas" / "lib", "libcublas.so.12"),
        "wheel elsewhere": (other / "nvidia" / "cu13" / "lib", "libcublas.so.13"),
        "torch": (other / "torch" / "lib", "libcublas.so.13"),
    }[place]
    put(folder, name)
    if name.endswith("13"):
        put(tree / "nvidia" / "cublas" / "lib", "libcublas.so.12")  # less telling
    packages = survey([tree, other])
    fault = only(judge_libraries(wanted_libraries(packages, {}), packages), "error")
    assert "libcublas.so.13" in fault.fact.partition(" (there is")[0]
    assert f"(there is {folder / name}: another release, or a place where onnxruntime does not look)" in fault.fact


def test_wheels_for_cuda_12_have_its_name(tmp_path, no_system):
    tree = gpu_tree(tmp_path, build=GPU_BUILD_12, wanted=["libcublas.so.12", "libcufft.so.11"])
    packages = survey([tree])
    cure = only(judge_libraries(wanted_libraries(packages, {}), packages), "error").cure
    assert "`pip install 'nvidia-cublas-cu12' 'nvidia-cufft-cu12' 'nvidia-cudnn-cu12'`" in cure


def test_a_build_without_cuda_wants_none(tmp_path):
    install(tmp_path, "onnxruntime", "1.32.0", cpu_files())
    assert wanted_libraries(survey([tmp_path])) == ()


# The driver

DRIVER = """
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int cuInit(unsigned flags) { if (RESULT == -1) abort(); if (RESULT == -2) sleep(600); return RESULT; }
int cuGetErrorString(int e, const char **text) { *text = "made-up reason"; return 0; }
int cuDriverGetVersion(int *version) { *version = VERSION; return 0; }
int cuDeviceGetCount(int *count) { *count = DEVICES; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
int cuDeviceGetName(char *name, int size, int device) { strncpy(name, "Made-up GPU", size); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)80 << 30; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) { *value = attribute == 75 ? 9 : 0; return 0; }
"""


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """Puts a made-up ``libcuda.so.1`` in front; without a compiler a skip."""

    def make(result=0, release=13000, devices=1):
        compiler = shutil.which("cc") or shutil.which("gcc")
        if not compiler:
            pytest.skip("no C compiler to make a driver's library with")
        source = tmp_path / "cuda.c"
        source.write_text(DRIVER)
        defined = [f"-DRESULT={result}", f"-DVERSION={release}", f"-DDEVICES={devices}"]
        command = [compiler, "-shared", "-fPIC", *defined, "-o", str(tmp_path / "libcuda.so.1"), str(source)]
        subprocess.run(command, check=True)
        monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.delenv("NVIDIA_VISIBLE_DEVICES", raising=False)

    return make


def ask(timeout=30.0):
    return run_probe({"task": "driver"}, sys.path, timeout)


def test_a_driver_that_works(driver, tmp_path):
    driver(devices=2)
    found = ask().facts
    assert found["library"] == str(tmp_path / "libcuda.so.1")
    assert found["cuda"] == "13.0"
    assert found["gpus"] == [{"name": "Made-up GPU", "memory": 80 << 30, "capability": [9, 0]}] * 2
    assert judge_driver(found, "13.0", {}) == []
    assert judge_driver(found, "12.8", {}) == []


def test_a_driver_that_is_too_old(driver):
    driver(release=12040)
    fault = only(judge_driver(ask().facts | {"kernel": "550.54"}, "13.0", {}), "error")
    assert fault.fact == ("the driver 550.54 is for CUDA up to 12.4; the onnxruntime installed is built for CUDA 13.0")
    assert "update the driver to 580 or newer, or run `pip install 'onnxruntime-gpu[cuda,cudnn]<1.27'`" in fault.cure
    assert judge_driver(ask().facts, "12.8", {}) == [], "within one major release older drivers do"


@pytest.mark.parametrize("arguments", [{"devices": 0}, {"result": 100}])
def test_a_driver_without_a_gpu(driver, arguments):
    driver(**arguments)
    facts = ask().facts
    assert "--gpus all" in only(judge_driver(facts, "13.0", {}), "error").cure
    hidden = only(judge_driver(facts, "13.0", {"CUDA_VISIBLE_DEVICES": ""}), "error").cure
    assert "unset CUDA_VISIBLE_DEVICES, which is ''" in hidden


def test_a_driver_that_refuses(driver):
    driver(result=803)
    fault = only(judge_driver(ask().facts, "13.0", {}), "error")
    assert "cuInit gives 803 (made-up reason)" in fault.fact
    assert "restart the machine" in fault.cure


@pytest.mark.parametrize(("result", "expected"), [(-1, "killed by SIGABRT"), (-2, "no end after 3 seconds")])
def test_a_driver_that_crashes_or_hangs_is_a_finding(driver, tmp_path, monkeypatch, result, expected):
    driver(result=result)
    monkeypatch.setattr("lstm_deploy.doctor.report._DRIVER_TIMEOUT", 3.0)
    found = diagnose(providers=["cpu"], search=[*STANDARD, tmp_path]).driver
    fault = only(judge_driver(found, "13.0", {}), "error")
    assert fault.fact == f"the driver's library does not answer ({expected})"
    assert "restart the machine" in fault.cure


def test_no_driver():
    found = {"library": "", "problem": "libcuda.so.1: cannot open", "kernel": "", "bus": 0}
    fault = only(judge_driver(found, "13.0", {}), "error")
    assert "no driver of NVIDIA is installed" in fault.fact and "no GPU of NVIDIA is seen" in fault.fact
    assert "`pip uninstall -y onnxruntime-gpu`, then `pip install 'lstm-deploy[cpu]'`" in fault.cure
    assert "there is a GPU of NVIDIA on the bus" in judge_driver(found | {"bus": 1}, "13.0", {})[0].fact
    container = only(judge_driver(found | {"kernel": "580.1"}, "13.0", {}), "error")
    assert "the kernel has NVIDIA's driver 580.1, but its library does not load" in container.fact
    assert "--gpus all" in container.cure


def test_a_gpu_too_old_for_the_build():
    gpu = {"name": "Old", "memory": 1, "capability": [7, 0]}
    found = {"library": "libcuda.so.1", "result": 0, "cuda": "13.0", "gpus": [gpu]}
    assert "has compute capability 7.0; CUDA 13.0 wants 7.5" in only(judge_driver(found, "13.0", {}), "error").fact
    assert judge_driver(found, "12.8", {}) == []
    assert judge_driver(found | {"gpus": [gpu | {"capability": [7, 5]}]}, "13.0", {}) == []


def test_a_gpu_that_is_not_used():
    note = only(idle_gpu({"gpus": [{"name": "H100"}]}, "onnxruntime"), "note")
    assert "H100" in note.fact and "`pip uninstall -y onnxruntime`, then `pip install 'lstm-deploy[gpu]'`" in note.cure
    assert "1 of NVIDIA, without a driver" in only(idle_gpu({"bus": 1}, "onnxruntime"), "note").fact
    assert idle_gpu({"bus": 0, "library": ""}, "onnxruntime") == []


def test_kernel_and_bus(tmp_path):
    assert (kernel_driver(tmp_path), bus_gpus(tmp_path)) == ("", 0)
    (tmp_path / "driver" / "nvidia").mkdir(parents=True)
    (tmp_path / "driver" / "nvidia" / "version").write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\nGCC version: 12.2.0\n"
    )
    for i, (vendor, kind) in enumerate([("0x10de", "0x030200"), ("0x10de", "0x040300"), ("0x8086", "0x030000")]):
        put(tmp_path / "bus" / "pci" / "devices" / str(i))
        (tmp_path / "bus" / "pci" / "devices" / str(i) / "vendor").write_text(vendor + "\n")
        (tmp_path / "bus" / "pci" / "devices" / str(i) / "class").write_text(kind + "\n")
    assert (kernel_driver(tmp_path), bus_gpus(tmp_path)) == ("580.65.06", 1)


# Limits


def tree_of(root, files):
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text + "\n")
    return root


def test_cgroup_2_the_least_of_all_above_holds(tmp_path):
    tree_of(tmp_path, {
        "proc/self/cgroup": "0::/a/b",
        "sys/fs/cgroup/cgroup.controllers": "cpu memory",
        "sys/fs/cgroup/a/cpu.max": "150000 100000",
        "sys/fs/cgroup/a/memory.max": "max",
        "sys/fs/cgroup/a/b/cpu.max": "max 100000",
        "sys/fs/cgroup/a/b/memory.max": "1073741824",
        "sys/fs/cgroup/other/cpu.max": "1000 100000",
    })  # fmt: skip
    assert cgroup_limits(tmp_path) == {"version": 2, "cores": 1.5, "memory": 1 << 30}


def test_cgroup_2_in_a_container(tmp_path):
    files = {
        "proc/self/cgroup": "0::/",
        "sys/fs/cgroup/cgroup.controllers": "",
        "sys/fs/cgroup/cpu.max": "50000 100000",
    }
    assert cgroup_limits(tree_of(tmp_path, files)) == {"version": 2, "cores": 0.5, "memory": None}


def test_cgroup_1(tmp_path):
    tree_of(tmp_path, {
        "proc/self/cgroup": "5:memory:/box\n4:cpu,cpuacct:/box\n1:name=systemd:/",
        "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us": "300000",
        "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us": "100000",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
        "sys/fs/cgroup/memory/box/memory.limit_in_bytes": "536870912",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
    })  # fmt: skip
    assert cgroup_limits(tmp_path) == {"version": 1, "cores": 3.0, "memory": 1 << 29}
    (tmp_path / "sys/fs/cgroup/memory/box/memory.limit_in_bytes").write_text("9223372036854771712")
    assert cgroup_limits(tmp_path)["memory"] is None


def test_no_cgroup(tmp_path):
    assert cgroup_limits(tmp_path) == {"version": 0, "cores": None, "memory": None}


def test_more_threads_than_the_cgroup_allows(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    found = ask_machine()
    assert found["threads"] >= 1 and found["processor"] and found["environment"]["OMP_NUM_THREADS"] == "3"
    limited = found | {"threads": 8, "cgroup": {"version": 1, "cores": 2.5, "memory": None}}
    warning = only(judge_machine(limited), "warning")
    assert warning.fact == "the cgroup allows 2.5 cores; by default 8 threads are used"
    assert warning.cure == "set --threads 2, in Python threads=2"
    assert judge_machine(limited | {"threads": 2}) == []
    assert judge_machine(limited | {"threads": 1, "cgroup": {"cores": 0.5}}) == []


# The whole diagnosis


def test_here_the_cpu_works():
    found = diagnose(providers=["cpu"])
    assert found.healthy, describe(found)
    facts = found.sessions["cpu"].facts
    assert facts["got"] == ["CPUExecutionProvider"] and facts["cases"] > 4 and facts["failures"] == []
    assert Path(facts["file"]) == found.packages.origin
    assert describe(found).endswith("healthy: cpu works")


def test_the_answer_as_json():
    found = diagnose(SUBWORD)
    odd = replace(found, driver=found.driver | {"odd": float("nan")})
    told = json.loads(json.dumps(odd.to_json(), allow_nan=False))
    assert told["driver"]["odd"] is None
    assert told["healthy"] is found.healthy
    assert told["required"] == (["cpu", "cuda"] if CUDA_BUILD else ["cpu"])
    assert told["sessions"]["cpu"]["works"] is True
    assert told["onnxruntime"]["distributions"][0]["version"] == told["sessions"]["cpu"]["version"]
    assert {"software", "libraries", "driver", "machine", "findings"} <= told.keys()


def test_nothing_is_imported_here():
    """What can crash stays out of this process; and only what the package depends on is loaded."""
    code = (
        "import sys\nfor name in ('torch', 'onnx', 'click', 'tqdm'): sys.modules[name] = None\n"
        "from lstm_deploy.doctor import diagnose\n"
        "assert diagnose(providers=['cpu']).sessions['cpu'].facts['cases']\nassert 'onnxruntime' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_cannot_be_asked_for(tmp_path):
    with pytest.raises(ProviderError, match="provider 'tpu' is not known; expected one of cpu, cuda"):
        diagnose(providers=["tpu"])
    with pytest.raises(ModelFileError):
        diagnose(tmp_path / "absent.onnx")


def test_a_model_that_answers_otherwise(tmp_path):
    golden = json.loads(read_model_file(MODEL).properties["lstm_deploy.golden"])
    golden[0]["scores"][0] *= 0.9
    found = diagnose(rewrite(MODEL, tmp_path / "m.onnx", golden=golden), ["cpu"])
    assert not found.healthy
    fault = only([finding for finding in found.findings if finding.severity == "error"], "error")
    assert fault.about == "cpu" and "cpu gives wrong answers" in fault.fact
    assert "run on cpu  wrong: " in describe(found)


def test_a_model_that_proves_nothing(tmp_path):
    found = diagnose(rewrite(MODEL, tmp_path / "m.onnx", golden=[]), ["cpu"])
    assert not found.healthy and "no golden cases" in describe(found)


@pytest.mark.skipif(CUDA_BUILD, reason="a build for CUDA is installed here")
def test_cuda_of_a_build_without_it():
    found = diagnose(providers=["cuda"])
    assert not found.healthy
    fault = found.findings[0]
    name, release = found.packages.used[0].name, version(found.packages.used[0].name)
    assert fault.fact == f"cuda has to work; {name} {release} is a build without CUDA"
    assert fault.cure == f"run `pip uninstall -y {name}`, then `pip install 'lstm-deploy[gpu]'`"
    assert {finding.about for finding in found.findings if finding.severity == "error"} <= {"cuda", "driver"}
    assert "run on cuda failed: CUDA is not available" in describe(found)
    assert ";" not in found.sessions["cuda"].facts["error"], "a cure that knows less is left out"


@pytest.fixture
def no_driver(monkeypatch):
    monkeypatch.setattr("lstm_deploy.doctor.report._ask_driver", lambda *_: {"library": "", "problem": "none"})


def errors(found):
    return [finding.about for finding in found.findings if finding.severity == "error"]


def of_code(tmp_path, code, name="onnxruntime", files=cpu_files, **more):
    """``sys.path`` for a tree whose onnxruntime is that code."""
    tree = tmp_path / "site-packages"
    install(tree, name, "1.31.1", files(code.encode(), **more))
    return [str(tree), *STANDARD]


@pytest.mark.parametrize(
    ("code", "fact", "cure"),
    [
        (
            "import os; os.abort()",
            "importing onnxruntime fails: killed by SIGABRT (Fatal Python error: Aborted)",
            "reinst",
        ),
        ("import os; os._exit(3)", "importing onnxruntime fails: exit code 3", "run `pip install --force-reinstall"),
        (
            "raise ValueError('odd')",
            "importing onnxruntime fails: ValueError: odd",
            "run `pip install --force-reinstall",
        ),
        (
            "raise ImportError('libgomp.so.1: cannot open shared object file: No such file')",
            "importing onnxruntime fails: ImportError: libgomp.so.1: cannot open",
            "install the package of your system that has libgomp.so.1",
        ),
        (
            "raise ImportError('numpy.core.multiarray failed to import')",
            "importing onnxruntime fails: ImportError: numpy.core",
            "run `pip install --upgrade numpy`",
        ),
        ("", "importing onnxruntime fails: onnxruntime is half-removed", "run `pip install --force-reinstall"),
    ],
    ids=["crash", "exit", "error", "library", "numpy", "empty"],
)
def test_a_module_that_does_not_import(tmp_path, no_driver, code, fact, cure):
    """One finding, though two providers have to work."""
    found = diagnose(providers=["cpu", "cuda"], search=of_code(tmp_path, code))
    fault = found.findings[0]
    assert (fault.severity, fault.about) == ("error", "cpu")
    assert fault.fact.startswith(fact)
    assert cure in fault.cure
    assert errors(found) == ["cpu", "cuda", "driver"]
    assert list(found.sessions) == ["cpu"]
    assert "3 errors (cpu does not work, cuda does not work)" in describe(found)


def test_modules_are_found_where_this_process_finds_them(tmp_path, no_driver):
    search = of_code(tmp_path, "import sys; raise ValueError(len(sys.path))")
    assert diagnose(search=search).sessions["cpu"].facts["error"] == f"ValueError: {len(search)}"


def test_a_module_that_hangs(tmp_path, no_driver):
    found = diagnose(search=of_code(tmp_path, "import time; time.sleep(600)"), timeout=3)
    fault = only([finding for finding in found.findings if finding.severity == "error"], "error")
    assert fault.fact == "importing onnxruntime fails: no end after 3 seconds"
    assert "--timeout" in fault.cure


def test_one_fault_is_told_once(tmp_path, no_driver):
    """A half-removed module does not import either, nor do its libraries matter."""
    search = of_code(tmp_path, "", "onnxruntime-gpu", gpu_files)
    (tmp_path / "site-packages" / "onnxruntime" / "capi" / "libonnxruntime.so.1").unlink()
    found = diagnose(search=search)
    assert found.required == ("cpu", "cuda") and len(found.libraries) == 4
    assert "is damaged: 1 missing" in only(found.findings, "error").fact
    assert "not tried" in describe(found)
    assert errors(diagnose(providers=["cuda"], search=search)) == ["packages", "driver"], "who asks for it will need it"


@pytest.fixture
def pretending(tmp_path, monkeypatch, no_system):
    """``sys.path`` for a build for CUDA that is the real module and pretends to have CUDA, or fails at it."""
    spec = find_spec("onnxruntime")
    monkeypatch.setenv("PYTHONPATH", str(HERE))

    def make(ending="import pretended_cuda\npretended_cuda.pretend(Setter)"):
        code = (
            f"__path__ = [{str(Path(spec.origin).parent)!r}]\n"
            f"exec(compile(open({spec.origin!r}).read(), {spec.origin!r}, 'exec'))\n"
            "class Setter:\n    setattr = staticmethod(lambda o, name, value, raising=True: setattr(o, name, value))\n"
            "get_available_providers = lambda: ['CUDAExecutionProvider', 'CPUExecutionProvider']\n"
            "preload_dlls = lambda: None\n"
        )
        return [*of_code(tmp_path, code + ending, "onnxruntime-gpu", gpu_files), str(HERE)]

    return make


def test_cuda_without_driver_and_libraries(pretending, no_driver):
    found = diagnose(search=pretending(""))
    assert found.sessions["cuda"].facts["error"].startswith("CUDA is not available")
    assert errors(found) == ["driver", "libraries"], "the driver first, and what follows from both not at all"
    assert found.sessions["cpu"].facts["got"] == ["CPUExecutionProvider"]
    assert "1 error" not in describe(found) and "cpu works, cuda does not work" in describe(found)
    alone = diagnose(providers=["cpu"], search=[*found.packages.search, *STANDARD, str(HERE)])
    assert alone.healthy, "CUDA need not work"


def test_what_works_wants_nothing(pretending, no_driver):
    """A session on CUDA is the proof: libraries that were not found are somewhere, and the driver is there."""
    found = diagnose(search=pretending())
    assert found.sessions["cuda"].facts["got"][0] == "CUDAExecutionProvider", found.sessions["cuda"]
    assert found.healthy and describe(found).endswith("healthy: cpu and cuda work")


GPU = {
    "library": "libcuda.so.1",
    "result": 0,
    "cuda": "13.0",
    "gpus": [{"name": "GPU", "memory": 1, "capability": [9, 0]}],
}


@pytest.mark.skipif(CUDA_BUILD, reason="a build for CUDA is installed here")
def test_a_gpu_that_the_build_does_not_use_is_told(monkeypatch):
    monkeypatch.setattr("lstm_deploy.doctor.report._ask_driver", lambda *_: GPU)
    found = diagnose()
    assert found.healthy and "'lstm-deploy[gpu]'" in only(found.findings, "note").cure


def everything_there(tmp_path, monkeypatch):
    put(tmp_path / "site-packages" / "nvidia" / "cu13" / "lib", *WANTED, "libcudnn.so.9")
    monkeypatch.setattr("lstm_deploy.doctor.report._ask_driver", lambda *_: GPU)


def test_a_session_that_fails_for_no_known_reason(pretending, tmp_path, monkeypatch):
    everything_there(tmp_path, monkeypatch)
    found = diagnose(search=pretending(""))
    fault = only([finding for finding in found.findings if finding.severity == "error"], "error")
    assert fault.about == "cuda" and fault.fact.startswith("there is no session on cuda: CUDA is not available")
    assert "the session runs on CPUExecutionProvider" in fault.fact


def test_a_library_that_does_not_load(pretending, tmp_path, monkeypatch):
    everything_there(tmp_path, monkeypatch)
    line = "Failed to load library x.so with error: libcublas.so.13: file too short"
    ending = (
        "import os\nReal = InferenceSession\ndef InferenceSession(path, options, providers, **others):\n"
        f"    if len(providers) > 1: os.write(2, {line.encode()!r} + bytes([10]))\n"
        "    return Real(path, options, ['CPUExecutionProvider'], **others)\n"
    )
    fault = only([f for f in diagnose(search=pretending(ending)).findings if f.severity == "error"], "error")
    assert "libcublas.so.13: file too short" in fault.fact
    assert "`pip install --force-reinstall 'nvidia-cublas~=13.0'`" in fault.cure
    assert str(tmp_path / "site-packages" / "nvidia" / "cu13" / "lib" / "libcublas.so.13") in fault.cure


def test_cuda_that_crashes_leaves_the_cpu(pretending, tmp_path, monkeypatch):
    everything_there(tmp_path, monkeypatch)
    ending = "pretended = 1\ndef preload_dlls():\n    import os\n    os.abort()\n"
    found = diagnose(search=pretending(ending))
    fault = only([finding for finding in found.findings if finding.severity == "error"], "error")
    assert fault.fact.startswith("there is no session on cuda: killed by SIGABRT (Fatal Python error: Aborted")
    assert found.sessions["cpu"].facts["cases"]
    assert "cpu works, cuda does not work" in describe(found)


def test_stripped_libraries_that_work(pretending, tmp_path, monkeypatch):
    search = pretending("")
    path = tmp_path / "site-packages" / "onnxruntime" / "capi" / "libonnxruntime.so.1"
    path.write_bytes(b"stripped")
    found = diagnose(providers=["cpu"], search=search)
    assert found.healthy and "1 changed" in only(found.findings, "warning").fact
    monkeypatch.setattr("lstm_deploy.doctor.report._ask_driver", lambda *_: GPU)
    assert errors(diagnose(search=search)) == ["packages"], "where something does not work they are the first suspects"
    path.unlink()
    assert errors(diagnose(providers=["cpu"], search=search)) == ["packages"]


def test_a_process_that_is_killed_in_the_middle_of_a_line(tmp_path):
    outcome = Outcome({"stage": "golden"}, "killed by SIGKILL")
    assert outcome.stage == "golden"
    code = (
        "import os, signal, sys, json\nsaid = json.loads(sys.argv[1])['said']\n"
        "open(said, 'a').write('{\"half\": ')\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    found = run_probe({"task": "session", "provider": "cpu", "model": str(MODEL)}, of_code(tmp_path, code), 30)
    assert found.ended == "killed by SIGKILL" and found.stage == "import"


def test_the_wheel_has_the_model():
    """The file that is tried is part of what is installed."""
    try:
        files = __import__("importlib.metadata").metadata.files("lstm-deploy") or []
    except PackageNotFoundError:
        pytest.skip("lstm-deploy is not installed")
    if not any(str(file).endswith("doctor/report.py") for file in files):
        pytest.skip("lstm-deploy is installed from its tree")
    assert any(str(file).endswith("doctor/probe.onnx") for file in files)
