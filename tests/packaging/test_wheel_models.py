"""The wheel: the default model travels inside it, and the same tree gives the same bytes."""

import email
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

pytest.importorskip("hatchling")

ROOT = Path(__file__).parents[2]
FISH = "They\tNN\nate\tV\nthe\tDET\nfish\tNN\n\n"
_BUILD = "from hatchling.build import build_wheel, build_sdist; import sys; print(globals()[sys.argv[1]](sys.argv[2]))"


@pytest.fixture
def tree(tmp_path):
    """A copy of what a build needs, with a stand-in for the default model."""
    folder = tmp_path / "tree"
    folder.mkdir()
    shutil.copytree(ROOT / "lstm_deploy", folder / "lstm_deploy", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "exported").mkdir()
    for name in ("pyproject.toml", "README.md", "FORMAT.md", "CHANGELOG.md", "hatch_build.py"):
        shutil.copy(ROOT / name, folder)
    for name in ("en-upos", "tutorial"):
        shutil.copy(ROOT / "exported" / "tutorial.onnx", folder / "exported" / f"{name}.onnx")
    return folder


def _build(tree, what, output, **environment):
    output.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", _BUILD, what, str(output)],
        cwd=tree,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return output / done.stdout.split()[-1]


def _models(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return [name for name in archive.namelist() if name.endswith(".onnx") and "/models/" in name]


def test_in_an_empty_folder_the_wheels_own_model_tags_and_says_so(tree, tmp_path):
    wheel = _build(tree, "build_wheel", tmp_path / "dist")
    assert _models(wheel) == ["lstm_deploy/models/en-upos.onnx"]
    installed, empty = tmp_path / "installed", tmp_path / "empty"
    empty.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    code = (
        "import sys\nfor name in ('torch', 'onnx', 'safetensors', 'matplotlib'): sys.modules[name] = None\n"
        "from lstm_deploy.cli import main; main()"
    )
    for command in (["run", "They ate the fish"], ["models"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *command],
            cwd=empty,
            env=os.environ | {"PYTHONPATH": str(installed)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        if command == ["models"]:
            assert done.stdout.startswith("en-upos  ")
        else:
            assert done.stdout == FISH
            assert done.stderr == f"model: {installed / 'lstm_deploy' / 'models' / 'en-upos.onnx'}\n"


def test_without_the_model_there_is_a_wheel_without_it(tree, tmp_path):
    (tree / "exported" / "en-upos.onnx").unlink()
    assert _models(_build(tree, "build_wheel", tmp_path / "dist")) == []


def test_a_second_model_travels_too_and_others_do_not(tree, tmp_path):
    shutil.copy(tree / "exported" / "tutorial.onnx", tree / "exported" / "en-segmenter.onnx")
    found = _models(_build(tree, "build_wheel", tmp_path / "dist"))
    assert sorted(found) == ["lstm_deploy/models/en-segmenter.onnx", "lstm_deploy/models/en-upos.onnx"]


def test_a_model_that_is_too_large_is_refused(tree, tmp_path):
    with (tree / "exported" / "en-segmenter.onnx").open("wb") as stream:
        stream.truncate(2_000_001)
    with pytest.raises(AssertionError, match=r"en-segmenter\.onnx: 2,000,001 bytes, expected at most 2,000,000"):
        _build(tree, "build_wheel", tmp_path / "dist")


@pytest.mark.parametrize("epoch", [None, "1700000000"])
def test_the_same_tree_gives_the_same_bytes_wherever_and_whenever_it_is_built(tree, tmp_path, monkeypatch, epoch):
    """Another folder, in another order, at other times, with other rights, umask, time zone, locale and hashes."""
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    files = sorted(path.relative_to(tree) for path in tree.rglob("*") if path.is_file())
    hashes = {}
    runs = [
        ("1", 1, 0o644, 0o022, {"PYTHONHASHSEED": "1", "TZ": "UTC", "LC_ALL": "C"}),
        ("another 2", -1, 0o600, 0o077, {"PYTHONHASHSEED": "2", "TZ": "Asia/Tokyo", "LC_ALL": "C.UTF-8"}),
    ]
    for run, order, mode, umask, surroundings in runs:
        copy = tmp_path / run / "tree"
        for i, path in enumerate(files[::order]):
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            (copy / path).write_bytes((tree / path).read_bytes())
            (copy / path).chmod(mode)
            os.utime(copy / path, (1_000_000_000 + order * i, 1_000_000_000 + order * i))
        surroundings |= {"SOURCE_DATE_EPOCH": epoch} if epoch else {}
        before = os.umask(umask)
        try:
            for what in ("build_wheel", "build_sdist"):
                built = _build(copy, what, tmp_path / run / "dist", **surroundings)
                hashes.setdefault(what, set()).add(hashlib.sha256(built.read_bytes()).hexdigest())
        finally:
            os.umask(before)
    assert {what: len(found) for what, found in hashes.items()} == {"build_wheel": 1, "build_sdist": 1}


def test_the_runtime_requires_numpy_onnxruntime_and_what_commands_need(tree, tmp_path):
    with zipfile.ZipFile(_build(tree, "build_wheel", tmp_path / "dist")) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
    required = {}
    for line in metadata.get_all("Requires-Dist"):
        found = Requirement(line)
        extra = str(found.marker).partition('extra == "')[2].rstrip('"') if found.marker else ""
        required.setdefault(extra, set()).add(found.name)
    assert required[""] == {"numpy", "click", "tqdm"}
    assert required["cpu"] == {"onnxruntime"}
    assert required["gpu"] == {"onnxruntime-gpu"}
    assert set(metadata.get_all("Provides-Extra")) == required.keys() - {""}


def test_a_wheel_of_the_sdist_is_the_wheel_of_the_tree(tree, tmp_path):
    direct = _build(tree, "build_wheel", tmp_path / "direct")
    sdist = _build(tree, "build_sdist", tmp_path / "source")
    shutil.unpack_archive(sdist, tmp_path / "unpacked")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert _build(unpacked, "build_wheel", tmp_path / "again").read_bytes() == direct.read_bytes()
