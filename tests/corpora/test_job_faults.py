"""Jobs that are killed, that find no room or no right to write: what comes out in the end is the same to the byte."""

import gzip
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lstm_deploy.corpora.job import tag_corpus
from lstm_deploy.corpora.tagging import Tagging
from lstm_deploy.errors import OutputError

EXPORTED = Path(__file__).parents[2] / "exported"
MODEL, ROUNDED = EXPORTED / "tutorial.onnx", EXPORTED / "en-upos-int8.onnx"
JOB = """
import sys
from pathlib import Path
from lstm_deploy.corpora.job import tag_corpus
from lstm_deploy.corpora.tagging import Tagging
if __name__ == "__main__":
    source, output, processes = sys.argv[1:]
    tag_corpus(source, Path(output), Tagging(Path(MODEL), on_error="null"), processes=int(processes))
"""
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals, mounts and /proc as Linux has them")


def _corpus(folder, suffix, parts=4, rows=4000):
    folder.mkdir()
    for part in range(parts):
        tokens = [[f"w{(i * 7 + j + part) % 99}" for j in range(i % 12)] for i in range(rows * (part + 1))]
        tokens[3] = ["a", None]
        path = folder / f"p{part}{suffix}"
        if suffix == ".parquet":
            pq.write_table(pa.table({"id": range(len(tokens)), "tokens": tokens}), path, row_group_size=1500)
        else:
            path.write_bytes(gzip.compress("".join(json.dumps({"tokens": row}) + "\n" for row in tokens).encode(), 1))
    return folder


def _sums(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _begin(tmp_path, source, output, processes):
    script = tmp_path / "job.py"
    script.write_text(JOB.replace("Path(MODEL)", f"Path({str(MODEL)!r})"))
    root = str(Path(__file__).parents[2])
    return subprocess.Popen(
        [sys.executable, str(script), str(source), str(output), str(processes)],
        env=os.environ | {"PYTHONPATH": root},
        start_new_session=True,
        stderr=subprocess.PIPE,
    )


def _children(process):
    try:
        found = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        return [pid for pid in map(int, found) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    except OSError:
        return []


def _finish(job):
    _, error = job.communicate(timeout=180)
    assert job.returncode == 0, error.decode()
    assert b"Traceback" not in error


def _kill(job, how):
    if job.poll() is None:
        os.kill(job.pid, signal.SIGKILL) if how == "parent" else os.killpg(job.pid, signal.SIGKILL)
        job.communicate(timeout=90)


@pytest.mark.parametrize(
    ("suffix", "processes"), [(".parquet", 1), (".jsonl.gz", 1), (".parquet", 2), (".jsonl.gz", 2)]
)
def test_a_job_killed_again_and_again_ends_with_the_same_bytes(tmp_path, suffix, processes):
    source = _corpus(tmp_path / "in", suffix)
    start = time.monotonic()
    _finish(_begin(tmp_path, source, tmp_path / "whole", processes))
    whole = time.monotonic() - start
    pick = random.Random(f"{suffix}{processes}")
    for how in ["group", "parent", "group"]:
        job = _begin(tmp_path, source, tmp_path / "out", processes)
        time.sleep(whole * pick.uniform(0.2, 0.95))
        _kill(job, how)
    _finish(_begin(tmp_path, source, tmp_path / "out", processes))
    expected = _sums(tmp_path / "whole")
    assert len(expected) == 9
    assert _sums(tmp_path / "out") == expected


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl.gz"])
def test_a_process_that_is_killed_while_it_writes_is_replaced(tmp_path, suffix):
    source, output = _corpus(tmp_path / "in", suffix), tmp_path / "out"
    job = _begin(tmp_path, source, output, 2)
    deadline = time.monotonic() + 90
    while not ((workers := _children(job)) and list(output.glob(".lstm-deploy-*"))):
        assert job.poll() is None and time.monotonic() < deadline, "no process to kill: the job was done without"
        time.sleep(0.005)
    os.kill(workers[0], signal.SIGKILL)
    _finish(job)
    _finish(_begin(tmp_path, source, tmp_path / "whole", 1))
    assert _sums(output) == _sums(tmp_path / "whole")


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_job_that_is_told_to_end_goes_on_later(tmp_path, sign):
    source = _corpus(tmp_path / "in", ".parquet", rows=8000)
    job = _begin(tmp_path, source, tmp_path / "out", 2)
    for _ in range(400):
        if (tmp_path / "out/_manifest.json").exists() and list((tmp_path / "out").glob(".lstm-deploy-*")):
            break
        time.sleep(0.02)
    job.send_signal(sign)
    job.communicate(timeout=90)
    assert job.returncode not in (0, None)
    _finish(_begin(tmp_path, source, tmp_path / "out", 2))
    assert not list((tmp_path / "out").glob(".lstm*"))
    _finish(_begin(tmp_path, source, tmp_path / "whole", 1))
    assert _sums(tmp_path / "out") == _sums(tmp_path / "whole")


@pytest.fixture
def mounted(tmp_path):
    """A function that mounts a small file system."""
    if os.geteuid():
        pytest.skip("needs root, to mount a small file system")
    folders = []

    def mount(options):
        folder = tmp_path / f"m{len(folders)}"
        folder.mkdir()
        made = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder], capture_output=True)
        if made.returncode:
            pytest.skip(f"cannot mount here: {made.stderr.decode().strip()}")
        folders.append(folder)
        return folder

    yield mount
    for folder in folders:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl.gz"])
def test_a_full_disk_is_a_clear_error_and_loses_nothing(tmp_path, mounted, suffix):
    source = _corpus(tmp_path / "in", suffix)
    tag_corpus(str(source), tmp_path / "whole", Tagging(MODEL, on_error="null"), processes=1)
    need = sum(path.stat().st_size for path in (tmp_path / "whole").rglob("*") if path.is_file())
    disk = mounted("size=16m")
    (disk / "mine").write_text("intact")
    (disk / "filler").write_bytes(bytes((16 << 20) - need - 16384 + need // 2))
    with pytest.raises(OutputError, match=r"cannot write .*No space left"):
        tag_corpus(str(source), disk / "out", Tagging(MODEL, on_error="null"), processes=1)
    assert (disk / "mine").read_text() == "intact"
    assert not list((disk / "out").glob(".lstm*"))
    for path in (disk / "out").glob(f"*{suffix}"):
        assert path.read_bytes() == (tmp_path / "whole" / path.name).read_bytes()
    (disk / "filler").unlink()
    tag_corpus(str(source), disk / "out", Tagging(MODEL, on_error="null"), processes=1)
    assert _sums(disk / "out") == _sums(tmp_path / "whole")


def test_a_read_only_output_is_a_clear_error_at_once(tmp_path, mounted):
    source = _corpus(tmp_path / "in", ".parquet", parts=1)
    with pytest.raises(OutputError, match=r"cannot write .*Read-only"):
        tag_corpus(str(source), mounted("ro") / "out", Tagging(MODEL))


def test_a_second_job_is_refused_and_leaves_the_lock(tmp_path):
    source = _corpus(tmp_path / "in", ".jsonl.gz", rows=8000)
    job = _begin(tmp_path, source, tmp_path / "out", 1)
    for _ in range(1000):
        if (tmp_path / "out/_manifest.json").exists():
            break
        time.sleep(0.01)
    for _ in range(2):  # the first refusal must not let the second try in
        with pytest.raises(OutputError, match="another job writes there"):
            tag_corpus(str(source), tmp_path / "out", Tagging(MODEL, on_error="null"), processes=1)
    _finish(job)
    assert not (tmp_path / "out/_lock").exists()


def test_rounded_weights_give_the_same_bytes_however_the_work_is_shared(tmp_path):
    source = _corpus(tmp_path / "in", ".parquet", parts=2, rows=500)
    found = []
    for i, (processes, threads) in enumerate([(1, 1), (1, 2), (2, 1), (2, 2)]):
        tagging = Tagging(ROUNDED, threads=threads, on_error="skip")
        tag_corpus(str(source), tmp_path / str(i), tagging, processes=processes)
        found.append(_sums(tmp_path / str(i)))
    assert found[1:] == found[:1] * 3
