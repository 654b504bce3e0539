"""The real commands in processes of their own, and what may be said of how they ended."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODEL, OTHER = ROOT / "exported" / "tutorial.onnx", ROOT / "exported" / "en-upos-small.onnx"
PROGRAM = [sys.executable, "-c", "from lstm_deploy.cli import main; main()"]
SENTENCE = "They ate the fish"


def begin(*arguments, program=PROGRAM, **options):
    """A command that runs; its streams are pipes and it hears all signals, where nothing else is said."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    options = streams | {"preexec_fn": _hear_signals} | options
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | options.pop("env", {})
    return subprocess.Popen([*program, *map(str, arguments)], env=environment, **options)


def _hear_signals():
    """Tests that a shell runs in its background are started with SIGINT ignored, and so would be what they start."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def end(child, timeout=120):
    """Its exit status, standard output and standard error, decoded."""
    out, err = child.communicate(timeout=timeout)
    return child.returncode, (out or b"").decode(), (err or b"").decode()


def run(*arguments, **options):
    """`begin` and `end`."""
    return end(begin(*arguments, **options))


def wait_until_it_listens(child):
    """Waits until the command handles SIGTERM itself: before, Python is still loading it."""
    deadline = time.monotonic() + 60
    while child.poll() is None and time.monotonic() < deadline:
        status = Path(f"/proc/{child.pid}/status").read_text()
        caught = int(status.partition("SigCgt:")[2].split()[0], 16)
        if caught >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.005)


def half_files(folder):
    """Names of files that are not whole."""
    return sorted(path.name for path in Path(folder).glob(".*.partial"))


def one_line(err):
    """What is wrong with an error that has to be one line of ours, or nothing."""
    if "Traceback" in err or err.count("\n") != 1 or not err.startswith("Error: "):
        return f"not one line of ours: {err[-600:]!r}"
    return ""


def wrong_unless(condition, what):
    """``what``, unless the condition holds."""
    return "" if condition else what
