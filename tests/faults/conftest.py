"""What faults are injected into: a checkpoint, an exported file, a text, and small file systems."""

import os
import shutil
import subprocess
import sys

import fault_commands
import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals, mounts and limits as Linux has them")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A finished checkpoint, to be copied."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("finished") / "checkpoint"
    code, _, err = fault_commands.run("train", "--output", folder, "--epochs", 20)
    assert code == 0, err
    return folder


@pytest.fixture(scope="session")
def exported(checkpoint, tmp_path_factory):
    """What an undisturbed `export` makes of it."""
    path = tmp_path_factory.mktemp("exported") / "tagger.onnx"
    code, _, err = fault_commands.run("export", checkpoint, "--output", path)
    assert code == 0, err
    return path.read_bytes()


@pytest.fixture(scope="session")
def text(tmp_path_factory):
    """Sentences that take some seconds."""
    path = tmp_path_factory.mktemp("text") / "sentences.txt"
    path.write_text("".join(f"They ate the fish w{i} .\n" for i in range(25_000)))
    return path


@pytest.fixture(scope="session")
def tagged(text, tmp_path_factory):
    """What an undisturbed `run` makes of ``text``."""
    path = tmp_path_factory.mktemp("tagged") / "tagged.txt"
    code, _, err = fault_commands.run("run", "--model", fault_commands.MODEL, "--input", text, "--output", path)
    assert code == 0, err
    return path.read_bytes()


@pytest.fixture
def copied(checkpoint, tmp_path):
    """A checkpoint of the test's own."""
    return shutil.copytree(checkpoint, tmp_path / "checkpoint")


@pytest.fixture
def mounted(tmp_path):
    """A function that mounts a file system of so many KiB."""
    if os.geteuid():
        pytest.skip("needs root, to mount a small file system")
    folders = []

    def mount(kib):
        folder = tmp_path / f"disk{len(folders)}"
        folder.mkdir()
        made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kib}k", "none", folder], capture_output=True)
        if made.returncode:
            pytest.skip(f"cannot mount here: {made.stderr.decode().strip()}")
        folders.append(folder)
        return folder

    yield mount
    for folder in folders:
        subprocess.run(["umount", folder], check=True)
