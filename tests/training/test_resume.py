"""A run killed at any moment goes on to the very weights it would have had."""

import signal
import subprocess
import sys
import time

import pytest

from lstm_deploy.training.checkpoint import DESCRIPTION, RESUME, WEIGHTS

# Saves after every epoch, and can wait after one so that it is killed at a known place.
RUN = """
import sys, time, torch
torch.set_num_threads(1)
from lstm_deploy.cli import main
from lstm_deploy.training import pipeline, trainer
trainer._SAVE_SECONDS = 0
wait_after = sys.argv.pop(1)
save, curve = trainer.Trainer._save, pipeline.draw_curve
def slow_save(self, progress, *rest):
    save(self, progress, *rest)
    if str(progress.epoch) == wait_after:
        time.sleep(600)
def slow_curve(*arguments):
    if wait_after == "end":
        time.sleep(600)
    curve(*arguments)
trainer.Trainer._save, pipeline.draw_curve = slow_save, slow_curve
main()
"""


def _command(corpus, output, wait_after, *more):
    settings = [
        "--column",
        "upos",
        "--embedding",
        "8",
        "--hidden",
        "6",
        "--layers",
        "2",
        "--buckets",
        "64",
        "--epochs",
        "5",
        "--batch-size",
        "16",
    ]
    files = ["--train", corpus / "train.conllu", "--dev", corpus / "dev.conllu", "--output", output]
    return [sys.executable, "-c", RUN, wait_after, "train", *map(str, files), *settings, *more]


def _train(*arguments):
    return subprocess.run(_command(*arguments), capture_output=True, text=True, timeout=300)


def _killed(corpus, output, wait_after, ready, *more):
    """Starts a run, waits until ``ready()``, kills it."""
    with subprocess.Popen(_command(corpus, output, wait_after, *more), stderr=subprocess.DEVNULL) as child:
        limit = time.monotonic() + 120
        while not ready() and time.monotonic() < limit:
            time.sleep(0.02)
        time.sleep(0.2)
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL


@pytest.fixture(scope="module")
def whole(corpus, tmp_path_factory):
    """An uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole") / "c"
    done = _train(corpus, folder, "never")
    assert done.returncode == 0, done.stderr
    return folder


def _log_lines(folder):
    log = folder / "training-log.jsonl"
    return len(log.read_text().splitlines()) if log.exists() else 0


def _same_model(one, other):
    assert (one / WEIGHTS).read_bytes() == (other / WEIGHTS).read_bytes()
    assert (one / DESCRIPTION).read_bytes() == (other / DESCRIPTION).read_bytes()
    assert sorted(path.name for path in one.iterdir()) == sorted(path.name for path in other.iterdir())


def test_killed_after_an_epoch_and_again_after_another(corpus, whole, tmp_path):
    folder = tmp_path / "c"
    _killed(corpus, folder, "2", lambda: _log_lines(folder) == 2)
    _killed(corpus, folder, "4", lambda: _log_lines(folder) == 4, "--resume")
    assert _train(corpus, folder, "never", "--resume").returncode == 0
    assert _log_lines(folder) == 5
    _same_model(folder, whole)


def test_killed_in_the_middle_of_epochs(corpus, whole, tmp_path):
    folder = tmp_path / "c"
    for lines in (1, 3):
        _killed(corpus, folder, "never", lambda n=lines: _log_lines(folder) >= n, "--resume")
        if not (folder / RESUME).exists():
            pytest.skip("the run ended before it could be killed")
    assert _train(corpus, folder, "never", "--resume").returncode == 0
    _same_model(folder, whole)


def test_killed_between_the_final_files(corpus, whole, tmp_path):
    folder = tmp_path / "c"
    _killed(corpus, folder, "end", lambda: (folder / DESCRIPTION).exists())
    assert (folder / RESUME).exists()
    assert _train(corpus, folder, "never", "--resume").returncode == 0
    _same_model(folder, whole)


def test_killed_before_the_first_save_starts_over(corpus, whole, tmp_path):
    folder = tmp_path / "c"
    _killed(corpus, folder, "never", folder.exists)
    (folder / RESUME).unlink(missing_ok=True)
    (folder / ".lstm-deploy-0.partial").write_bytes(b"half")
    done = _train(corpus, folder, "never", "--resume")
    assert "nothing to resume" in done.stderr
    _same_model(folder, whole)


def test_an_unfinished_run_is_neither_lost_nor_mixed_up(corpus, whole, tmp_path):
    folder = tmp_path / "c"
    _killed(corpus, folder, "2", lambda: _log_lines(folder) == 2)
    kept = (folder / RESUME).read_bytes()
    refused = _train(corpus, folder, "never")
    assert refused.returncode == 1
    assert "holds an unfinished run; go on with --resume" in refused.stderr
    other = _train(corpus, folder, "never", "--resume", "--dropout", "0.5")
    assert other.returncode == 1
    assert "dropout" in other.stderr
    assert other.stderr.strip().splitlines()[-1].startswith("Error: ")
    assert (folder / RESUME).read_bytes() == kept
    (folder / RESUME).write_bytes(kept[:1000])
    damaged = _train(corpus, folder, "never", "--resume")
    assert damaged.returncode == 1
    assert "damaged" in damaged.stderr
    assert "Traceback" not in damaged.stderr
    assert _train(corpus, folder, "never", "--overwrite").returncode == 0
    _same_model(folder, whole)
