"""A model file that is replaced, cut, deleted or overwritten while it is loaded and while it is used."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fault_commands import MODEL, OTHER, ROOT, begin, end, one_line, wait_until_it_listens, wrong_unless
from record import Injection

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="files in use cannot be replaced everywhere")


def replaced(path):
    """Another model under the same name: another file."""
    shutil.copy(OTHER, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


def cut(path):
    """The same file with nothing in it."""
    os.truncate(path, 0)


def deleted(path):
    """No file."""
    path.unlink(missing_ok=True)


def overwritten(path):
    """The same file with other bytes."""
    with path.open("r+b") as stream:
        stream.write(b"\xff" * path.stat().st_size)


FAULTS = [replaced, cut, deleted, overwritten]
USE = """
import json, sys, threading
from pathlib import Path
from lstm_deploy import Predictor
predictor = Predictor.load(sys.argv[1], threads=2)
sentences = [f"They ate the fish in Oslo w{i} .".split() for i in range(200)]
def answers():
    batch = [[list(result.tags), list(result.scores)] for result in predictor.predict_batch(sentences)]
    return batch, predictor.predict(["a"]).tags
before = answers()
print("ready", flush=True)
sys.stdin.readline()
print(json.dumps([answers() == before for _ in range(3)]), flush=True)
"""


@pytest.mark.parametrize("model", ["en-upos", "en-upos-int8"])
def test_a_predictor_in_use_goes_on_answering(tmp_path, model):
    with Injection("model file changed", "Predictor in use", "answers as before, to the last bit") as fault:
        for change in FAULTS:
            path = Path(shutil.copy(ROOT / "exported" / f"{model}.onnx", tmp_path / "m.onnx"))
            child = begin(path, program=[sys.executable, "-c", USE], stdin=subprocess.PIPE)
            assert child.stdout.readline() == b"ready\n"
            change(path)
            child.stdin.write(b"\n")
            code, out, err = end(child)
            same = code == 0 and json.loads(out) == [True] * 3
            fault.count([wrong_unless(same, f"exit {code} {out} {err[-300:]}")], f"{change.__name__}, {model}")


@pytest.mark.parametrize("change", FAULTS, ids=lambda change: change.__name__)
def test_run_in_the_middle_of_a_file_goes_on(text, tagged, tmp_path, change):
    with Injection("model file changed", "run", "the output is as if nothing had happened") as fault:
        path = Path(shutil.copy(MODEL, tmp_path / "m.onnx"))
        child = begin("run", "--model", path, "--input", text, "--output", tmp_path / "out.txt")
        while child.poll() is None and not list(tmp_path.glob(".lstm-deploy-*")):  # the model is loaded before
            time.sleep(0.001)
        assert child.poll() is None
        change(path)
        code, _, err = end(child)
        same = code == 0 and (tmp_path / "out.txt").read_bytes() == tagged
        fault.count([wrong_unless(same, f"exit {code} {err[-300:]}")], change.__name__)


@pytest.mark.parametrize("change", FAULTS, ids=lambda change: change.__name__)
def test_run_waiting_for_a_line_goes_on(tmp_path, change):
    with Injection("model file changed", "run < stdin", "the next answer is as the one before") as fault:
        path = Path(shutil.copy(MODEL, tmp_path / "m.onnx"))
        child = begin("run", "--model", path, "--line-buffered", stdin=subprocess.PIPE)
        found = []
        for _ in range(2):
            child.stdin.write(b"They ate the fish\n")
            child.stdin.flush()
            found.append(b"".join(child.stdout.readline() for _ in range(5)))
            change(path) if len(found) == 1 else None
        code, _, err = end(child)
        fault.count([wrong_unless(code == 0 and found[0] == found[1] and found[0], f"exit {code} {err[-300:]}")])


LOAD = """
import sys
from pathlib import Path
from lstm_deploy import LstmDeployError, Predictor
sentence = "They ate the fish .".split()
known = [str(Predictor.load(path).predict(sentence, scores=False).tags) for path in sys.argv[2:]]
print("ready", flush=True)
loaded = refused = 0
while loaded + refused < 150 or not Path(sys.argv[1] + ".enough").exists():
    try:
        tags = str(Predictor.load(sys.argv[1], threads=1).predict(sentence, scores=False).tags)
    except LstmDeployError as e:
        assert len(str(e).splitlines()) == 1
        refused += 1
        continue
    assert tags in known, tags
    loaded += 1
print(loaded, refused)
"""


# The two below hold because the file is read once, and the bytes that were checked are given to onnxruntime: were it
# mapped, or opened by its name again, a file that is cut in between would be a SIGBUS.
@pytest.mark.parametrize("change", FAULTS, ids=lambda change: change.__name__)
def test_a_file_that_changes_while_it_is_loaded(tmp_path, change):
    promise = "the answers of one whole file, or an error of ours in one line; the process lives"
    with Injection("model file changed", "Predictor.load", promise) as fault:
        path = Path(shutil.copy(OTHER, tmp_path / "m.onnx"))
        child = begin(path, OTHER, MODEL, program=[sys.executable, "-c", LOAD])
        assert child.stdout.readline() == b"ready\n"
        changes = 0
        deadline = time.monotonic() + 60
        while child.poll() is None and time.monotonic() < deadline:
            shutil.copy(MODEL if changes % 2 else OTHER, tmp_path / "whole")
            (tmp_path / "whole").replace(path)
            time.sleep(0.0007 * (changes % 23))
            change(path)
            changes += 1
            if changes == 50:
                Path(f"{path}.enough").touch()
        Path(f"{path}.enough").touch()
        code, out, err = end(child)
        fault.count([wrong_unless(code == 0 and changes >= 50, f"exit {code} {out} {err[-500:]}")], change.__name__)


@pytest.mark.parametrize("change", FAULTS, ids=lambda change: change.__name__)
def test_run_whose_model_changes_while_it_starts(tmp_path, change):
    promise = "the answers of one whole file, or one line of ours and exit 1"
    expected = {end(begin("run", "--model", model, "They ate the fish"))[1] for model in (MODEL, OTHER)}
    with Injection("model file changed", "run", promise) as fault:
        for i in range(3):
            path = Path(shutil.copy(OTHER, tmp_path / "m.onnx"))
            child = begin("run", "--model", path, "They ate the fish")
            wait_until_it_listens(child)
            time.sleep(0.02 * i)
            change(path)
            code, out, err = end(child)
            kept = out in expected if code == 0 else code == 1 and not out and not one_line(err)
            fault.count([wrong_unless(kept, f"exit {code} {out} {err[-300:]}")], change.__name__)


def test_a_checkpoint_that_is_cut_while_it_is_exported(copied, tmp_path):
    """Its weights are read at once: a mapped file that is cut is a SIGBUS."""
    command = [sys.executable, "-c", CUT]
    with Injection(
        "checkpoint changed", "export", "the tagger as it was read, or one line of ours; no signal"
    ) as fault:
        code, out, err = end(begin(copied, program=command))
        fault.count([wrong_unless(code == 0 and out == "True\n", f"exit {code} {out} {err[-300:]}")])


CUT = """
import os, sys
from pathlib import Path
from lstm_deploy.training import checkpoint as saved
folder = Path(sys.argv[1])
before = {name: values.clone() for name, values in saved.load_tensors(folder / saved.WEIGHTS)[0].items()}
read, _ = saved.load_tensors(folder / saved.WEIGHTS)
os.truncate(folder / saved.WEIGHTS, 0)
print(all(bool((values == before[name]).all()) for name, values in read.items()))
"""
