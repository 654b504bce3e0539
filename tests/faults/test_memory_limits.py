"""Too little memory: the same tags, or one line with the cure; never half a file."""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fault_commands import MODEL, ROOT, begin, end, half_files, one_line, run, wrong_unless
from record import Injection

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits as Linux has them")
TAGGER = ROOT / "exported" / "en-upos.onnx"
NEEDED = 200
"""MiB: below it Python itself, numpy or OpenBLAS cannot be loaded, and end the process in words of their own."""
PROMISE = "the same result, or one line with the cure and exit 1; nothing half"


def _limited(mebibytes):
    return lambda: resource.setrlimit(resource.RLIMIT_AS, (mebibytes << 20,) * 2)


def _problems(done, result, expected, mebibytes):
    """What of the promise is broken."""
    code, _, err = done
    if code == 0:
        return [wrong_unless(result() == expected, "another result")]
    if mebibytes < NEEDED:
        return [wrong_unless(result() is None and code in (1, 127), f"exit {code}")]
    errors = "".join(line for line in err.splitlines(keepends=True) if not line.startswith("Warning: memory ran out"))
    about = "memory" in errors or "address space" in errors
    return [wrong_unless(code == 1 and about and result() is None, f"exit {code} {err[-300:]}"), one_line(errors)]


def _bytes(path):
    return lambda: path.read_bytes() if path.exists() else None


@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param([30, 60, 110, 200, 300, 450, 560, 600, 640, 700, 1000], id="coarse"),
        pytest.param(range(200, 1000, 10), id="fine", marks=pytest.mark.slow),
    ],
)
def test_run_in_a_small_address_space(tmp_path, sizes):
    text, output = tmp_path / "in.txt", tmp_path / "out.txt"
    text.write_text("".join(f"They ate the fish w{i} .\n" for i in range(3000)))
    command = ["run", "--model", TAGGER, "--input", text, "--output", output]
    assert run(*command)[0] == 0
    expected = output.read_bytes()
    with Injection("RLIMIT_AS", "run", PROMISE) as fault:
        for size in sizes:
            output.unlink(missing_ok=True)
            done = run(*command, preexec_fn=_limited(size))
            fault.count([*_problems(done, _bytes(output), expected, size), *half_files(tmp_path)], f"{size} MiB")
        assert output.read_bytes() == expected  # the largest is enough


@pytest.mark.parametrize("threads", [1, 4])
def test_a_sentence_that_does_not_fit(tmp_path, threads):
    text, output = tmp_path / "in.txt", tmp_path / "out.txt"
    text.write_text("They ate the fish\n" + "They ate the fish " * 100_000)
    with Injection("RLIMIT_AS", "run, one long sentence", PROMISE) as fault:
        command = ["run", "--model", TAGGER, "--threads", threads, "--input", text, "--output", output]
        done = run(*command, preexec_fn=_limited(700 if threads == 1 else 800))
        assert done[0] == 1, "it fits: nothing was injected"
        fault.count([*_problems(done, _bytes(output), None, 900), *half_files(tmp_path)])


@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param([1100, 2200], id="coarse"),
        pytest.param(range(1000, 2500, 50), id="fine", marks=pytest.mark.slow),
    ],
)
def test_export_in_a_small_address_space(checkpoint, exported, tmp_path, sizes):
    output = tmp_path / "x.onnx"
    with Injection("RLIMIT_AS", "export", PROMISE) as fault:
        for size in sizes:
            output.unlink(missing_ok=True)
            done = run("export", checkpoint, "--output", output, preexec_fn=_limited(size))
            fault.count([*_problems(done, _bytes(output), exported, size), *half_files(tmp_path)], f"{size} MiB")
        assert output.read_bytes() == exported


@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param([1100, 2200], id="coarse"),
        pytest.param(range(1000, 2500, 50), id="fine", marks=pytest.mark.slow),
    ],
)
def test_train_in_a_small_address_space(checkpoint, tmp_path, sizes):
    expected = (checkpoint / "model.safetensors").read_bytes()
    with Injection("RLIMIT_AS", "train", PROMISE) as fault:
        for size in sizes:
            folder = tmp_path / str(size)
            done = run("train", "--epochs", 20, "--output", folder, preexec_fn=_limited(size))
            # What it says of its progress comes before.
            error = "".join(line for line in done[2].splitlines(keepends=True) if line.startswith("Error"))
            done = done if done[0] == 0 else (done[0], done[1], error)
            weights = _bytes(folder / "model.safetensors")
            fault.count([*_problems(done, weights, expected, size), *half_files(folder)], f"{size} MiB")
        assert weights() == expected


def test_without_a_limit_nothing_is_refused(monkeypatch):
    from lstm_deploy import memory
    from lstm_deploy.errors import OutOfMemoryError

    memory.require_address_space("x", 1 << 60, 1)
    monkeypatch.setattr(memory, "_limit", lambda: memory._taken() + (100 << 20))
    memory.require_address_space("x", 10 << 20, 1)
    with pytest.raises(
        OutOfMemoryError, match=r"limited to .* MiB, of which .* are left; x takes 180; raise the limit"
    ):
        memory.require_address_space("x", 100 << 20, 1)


@pytest.fixture
def cgroup():
    """A function that makes a cgroup (version 2, else 1) with so many MiB; it gives what puts a process into it."""
    made = []

    def make(mebibytes):
        for place, limit in (("/sys/fs/cgroup", "memory.max"), ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")):
            folder = Path(place) / f"lstm-deploy-test-{os.getpid()}"
            if not (Path(place) / "cgroup.procs").exists():
                continue
            try:
                folder.mkdir()
                made.append(folder)
                if not (folder / limit).exists():
                    continue
                (folder / limit).write_text(str(mebibytes << 20))
            except OSError:
                continue
            return lambda: (folder / "cgroup.procs").write_text(str(os.getpid()))
        pytest.skip("no cgroup can be made here: it takes root and a writable /sys/fs/cgroup")

    yield make
    for folder in made:
        for _ in range(100):
            try:
                folder.rmdir()
                break
            except OSError:
                time.sleep(0.05)


def test_run_that_the_system_kills_for_memory(tmp_path, cgroup):
    output = tmp_path / "out.txt"
    output.write_text("before")
    text = tmp_path / "in.txt"
    text.write_text("They ate the fish\n" * 100 + "They ate the fish " * 50_000)
    inside = cgroup(100)
    with Injection("cgroup memory", "run", "as SIGKILL: the output before stays; with room the same succeeds") as fault:
        child = begin("run", "--model", TAGGER, "--input", text, "--output", output, preexec_fn=inside)
        code, _, err = end(child, timeout=120)
        fault.count([wrong_unless(code == -9 or (code == 1 and not one_line(err)), f"exit {code} {err[-300:]}")])
        assert output.read_text() == "before"
    assert run("run", "--model", MODEL, "--output", output, "They ate the fish")[0] == 0
    assert output.read_text().startswith("They\t")


def test_train_that_the_system_kills_for_memory(checkpoint, tmp_path, cgroup):
    inside = cgroup(60)
    with Injection("cgroup memory", "train", "as SIGKILL: with room the same command succeeds") as fault:
        folder = tmp_path / "c"
        child = begin("train", "--epochs", 20, "--output", folder, preexec_fn=inside, stderr=subprocess.DEVNULL)
        code, _, _ = end(child, timeout=120)
        fault.count([wrong_unless(code == -9, f"exit {code}")])
        assert run("train", "--epochs", 20, "--output", folder)[0] == 0
        assert (folder / "model.safetensors").read_bytes() == (checkpoint / "model.safetensors").read_bytes()
