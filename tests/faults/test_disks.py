"""Disks that are full, for real: one line with the cure, nothing half, what was there intact."""

import shutil
import sys

import pytest
from fault_commands import MODEL, SENTENCE, half_files, one_line, run, wrong_unless
from record import Injection

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mounts as Linux has them")
PROMISE = "one line with the cure, exit 1, nothing half, what was there intact; with room the same command succeeds"


SCRATCH = """
import sys, tempfile
tempfile.tempdir = sys.argv.pop(1)
from lstm_deploy.cli import main
main()
"""


def _contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _fill(disk):
    """Takes all that is left."""
    with (disk / "filler").open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(bytes(4096))
        except OSError:
            pass


def _problems(done, disk, before):
    code, _, err = done
    return [
        wrong_unless(code == 1 and "No space left" in err and "make room" in err, f"exit {code}: {err[-500:]}"),
        one_line("".join(line for line in err.splitlines(keepends=True) if line.startswith("Error"))),
        wrong_unless("Traceback" not in err, err[-500:]),
        wrong_unless(_contents(disk) == before, "what was there has changed"),
        *half_files(disk),
    ]


def test_run(mounted, text, tagged):
    disk = mounted(len(tagged) // 1024 // 2)
    (disk / "out.txt").write_text("before")
    with Injection("full disk", "run", PROMISE) as fault:
        for name in ("out.txt", "new.txt", "out.txt.gz"):
            if name.endswith(".gz"):
                _fill(disk)
            before = _contents(disk)
            fault.count(_problems(run("run", "--model", MODEL, "--input", text, "--output", disk / name), disk, before))
    (disk / "filler").unlink()
    assert run("run", "--model", MODEL, "--output", disk / "out.txt", SENTENCE)[0] == 0
    assert (disk / "out.txt").read_text().startswith("They\t")


def test_export(mounted, checkpoint):
    disk = mounted(64)
    (disk / "x.onnx").write_bytes(MODEL.read_bytes())
    _fill(disk)
    before = _contents(disk)
    with Injection("full disk", "export", PROMISE) as fault:
        fault.count(_problems(run("export", checkpoint, "--output", disk / "x.onnx"), disk, before), "the output")
        full = {"program": [sys.executable, "-c", SCRATCH, str(disk)]}
        output = disk.parent / "y.onnx"
        fault.count(_problems(run("export", checkpoint, "--output", output, **full), disk, before), "the scratch")
        assert not output.exists()


def test_train(mounted, checkpoint):
    disk = mounted(256)
    folder = disk / "checkpoint"
    shutil.copytree(checkpoint, folder)
    _fill(disk)
    before = _contents(disk)
    command = ["train", "--overwrite", "--seed", 2, "--epochs", 5, "--output", folder]
    with Injection("full disk", "train", PROMISE) as fault:
        fault.count(_problems(run(*command), disk, before))
    (disk / "filler").unlink()
    assert run(*command)[0] == 0
