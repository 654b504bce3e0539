"""SIGKILL, SIGTERM, SIGINT at moments drawn by chance: nothing half under a final name, nothing finished lost."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
from fault_commands import (
    MODEL,
    OTHER,
    ROOT,
    SENTENCE,
    begin,
    end,
    half_files,
    run,
    wait_until_it_listens,
    wrong_unless,
)
from record import Injection

from lstm_deploy import Predictor

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals and /proc as Linux has them")
KILLS = [pytest.param(2, id="2"), pytest.param(25, id="25", marks=pytest.mark.slow)]
STOPS = {signal.SIGTERM: 143, signal.SIGINT: 130}


def _whole_checkpoints(folder, *allowed):
    """The weights there load, and are some of those allowed."""
    from lstm_deploy.errors import CheckpointError
    from lstm_deploy.training.checkpoint import WEIGHTS, load_checkpoint

    try:
        load_checkpoint(folder)
    except CheckpointError as e:  # between its two files: it is told
        return wrong_unless("are of two runs" in str(e), f"does not load: {e}")
    return wrong_unless((folder / WEIGHTS).read_bytes() in allowed, "weights of no whole run")


def _seconds(*arguments, **options):
    start = time.monotonic()
    code, _, err = run(*arguments, **options)
    assert code == 0, err
    return time.monotonic() - start


@pytest.mark.parametrize("kills", KILLS)
def test_train_killed_keeps_the_checkpoint_before_it(checkpoint, tmp_path, kills):
    from lstm_deploy.training.checkpoint import WEIGHTS, load_checkpoint, save_tensors

    folder = shutil.copytree(checkpoint, tmp_path / "c")
    description, model = load_checkpoint(folder)
    save_tensors(folder / WEIGHTS, {name: values * 2 for name, values in model.state_dict().items()})
    description.save_description(folder)  # another finished checkpoint
    old, new = (folder / WEIGHTS).read_bytes(), (checkpoint / WEIGHTS).read_bytes()
    command = ["train", "--overwrite", "--epochs", 20, "--output", folder]
    pick, whole = random.Random(kills), 4.0  # seconds, about
    with Injection("SIGKILL", "train", "the checkpoint before stays whole; the same command succeeds") as fault:
        for _ in range(kills):
            child = begin(*command)
            time.sleep(whole * pick.uniform(0.1, 1.05))
            child.kill()
            end(child)
            fault.count([_whole_checkpoints(folder, old, new)])
        code, _, err = run(*command)
        assert code == 0, err
        assert (folder / WEIGHTS).read_bytes() == new
        assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in checkpoint.iterdir())


def test_weights_and_description_of_two_runs_are_told(checkpoint, tmp_path):
    from lstm_deploy.training.checkpoint import WEIGHTS, load_tensors, save_tensors

    mixed = shutil.copytree(checkpoint, tmp_path / "mixed")
    tensors, _ = load_tensors(mixed / WEIGHTS)
    save_tensors(mixed / WEIGHTS, {name: values * 2 for name, values in tensors.items()})
    code, _, err = run("export", mixed, "--output", tmp_path / "x.onnx")
    assert code == 1
    assert "are of two runs" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "x.onnx").exists()


@pytest.mark.parametrize("kills", KILLS)
def test_export_killed_keeps_the_file_before_it(checkpoint, exported, tmp_path, kills):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    temporary = {"env": {"TMPDIR": str(scratch)}}
    old, new, whole = MODEL.read_bytes(), exported, 3.0  # seconds, about
    output = tmp_path / "out" / "tagger.onnx"
    output.parent.mkdir()
    output.write_bytes(old)
    pick = random.Random(kills)
    with Injection("SIGKILL", "export", "the file before stays; the same command succeeds") as fault:
        for _ in range(kills):
            child = begin("export", checkpoint, "--output", output, **temporary)
            time.sleep(whole * pick.uniform(0.1, 1.05))
            child.kill()
            end(child)
            fault.count([wrong_unless(output.read_bytes() in (old, new), "the file is neither old nor new")])
        code, _, err = run("export", checkpoint, "--output", output, **temporary)
        assert code == 0, err
        assert output.read_bytes() == new


@pytest.mark.parametrize("kills", KILLS)
def test_run_killed_keeps_the_output_before_it(text, tagged, tmp_path, kills):
    output = tmp_path / "out.txt"
    command = ["run", "--model", MODEL, "--input", text, "--output", output]
    whole = _seconds(*command)
    output.write_text("before")
    pick = random.Random(kills)
    left = set()
    with Injection("SIGKILL", "run", "the output before stays; the same command succeeds") as fault:
        for _ in range(kills):
            child = begin(*command)
            time.sleep(whole * pick.uniform(0.1, 1.0))
            child.kill()
            end(child)
            left |= set(half_files(tmp_path))
            fault.count([wrong_unless(output.read_bytes() in (b"before", tagged), "the output is half")])
        assert run(*command)[0] == 0
        assert output.read_bytes() == tagged
        assert set(half_files(tmp_path)) == left
    for name in left:  # an hour later they are nobody's
        os.utime(tmp_path / name, (time.time() - 4000,) * 2)
    (tmp_path / ".lstm-deploy-of-others").write_text("not a half file")
    assert run(*command)[0] == 0
    assert half_files(tmp_path) == []
    assert (tmp_path / ".lstm-deploy-of-others").exists()


def test_half_files_of_writers_at_work_stay(tmp_path):
    from lstm_deploy.formats import atomic_output
    from lstm_deploy.formats.streams import remove_left_overs

    with atomic_output(tmp_path / "slow.txt") as stream:
        stream.write(b"whole")
        remove_left_overs(tmp_path)
        (half,) = half_files(tmp_path)
        os.utime(tmp_path / half, (0, 0))
        assert run("run", "--model", MODEL, "--output", tmp_path / "other.txt", SENTENCE)[0] == 0
    assert (tmp_path / "slow.txt").read_bytes() == b"whole"


def test_answers_line_by_line_are_whole_sentences_when_killed(tmp_path):
    expected = run("run", "--model", MODEL, SENTENCE)[1]
    with Injection("SIGKILL", "run < stdin", "what was answered is whole sentences") as fault:
        for lines in (1, 3):
            child = begin("run", "--model", MODEL, "--line-buffered", stdin=subprocess.PIPE)
            child.stdin.write(f"{SENTENCE}\n".encode() * lines)
            child.stdin.flush()
            found = b"".join(child.stdout.readline() for _ in range(5 * lines)).decode()
            child.kill()
            fault.count([wrong_unless(found + end(child)[1] == expected * lines, found)])


def _stopped(child, number, delay):
    """Sends a signal some time after the command has begun to listen; what of the promise is broken."""
    wait_until_it_listens(child)
    time.sleep(delay)
    if child.poll() is not None:
        return end(child), ["ended before the signal"]
    child.send_signal(number)
    start = time.monotonic()
    code, _, err = found = end(child, timeout=30)
    return found, [
        wrong_unless(code == STOPS[number], f"exit status {code}"),
        wrong_unless(err.splitlines()[-1:] == [f"Stopped by {signal.Signals(number).name}."], f"says {err!r}"),
        wrong_unless("Traceback" not in err, err),
        wrong_unless(time.monotonic() - start < 12, "took long"),
    ]


@pytest.mark.parametrize("number", STOPS, ids=lambda number: number.name)
def test_run_told_to_stop(text, tmp_path, number):
    output, pick = tmp_path / "out.txt", random.Random(1)
    output.write_text("before")
    with Injection(
        number.name, "run", f"exit {STOPS[number]}, one line, nothing half, the output before stays"
    ) as fault:
        for _ in range(4):
            child = begin("run", "--model", MODEL, "--input", text, "--output", output)
            _, problems = _stopped(child, number, pick.uniform(0, 0.7))
            fault.count([*problems, *half_files(tmp_path), wrong_unless(output.read_text() == "before", "output")])


@pytest.mark.parametrize("number", STOPS, ids=lambda number: number.name)
def test_run_on_standard_input_told_to_stop(tmp_path, number):
    expected = run("run", "--model", MODEL, SENTENCE)[1]
    promise = f"exit {STOPS[number]}, one line; what was answered is whole sentences"
    with Injection(number.name, "run < stdin", promise) as fault:
        for more in ([], ["--line-buffered"]):  # while it waits for a line
            child = begin("run", "--model", MODEL, *more, stdin=subprocess.PIPE)
            child.stdin.write(f"{SENTENCE}\n".encode())
            child.stdin.flush()
            (_, out, _), problems = _stopped(child, number, 0.5)
            fault.count([*problems, wrong_unless(out in ("", expected), out)])


@pytest.mark.parametrize("number", STOPS, ids=lambda number: number.name)
def test_train_told_to_stop(checkpoint, tmp_path, number):
    from lstm_deploy.training.checkpoint import WEIGHTS

    folder, pick = shutil.copytree(checkpoint, tmp_path / "c"), random.Random(2)
    old = (folder / WEIGHTS).read_bytes()
    promise = f"exit {STOPS[number]}, one line, nothing half, the checkpoint before stays whole"
    with Injection(number.name, "train", promise) as fault:
        for delay in (pick.uniform(0, 1), pick.uniform(2.5, 6)):  # while PyTorch loads; while it trains
            child = begin("train", "--overwrite", "--seed", 3, "--epochs", 5000, "--output", folder)
            _, problems = _stopped(child, number, delay)
            fault.count([*problems, *half_files(folder), _whole_checkpoints(folder, old)])


@pytest.mark.parametrize("number", STOPS, ids=lambda number: number.name)
def test_export_told_to_stop(checkpoint, tmp_path, number):
    scratch, output = tmp_path / "scratch", tmp_path / "out" / "x.onnx"
    scratch.mkdir()
    output.parent.mkdir()
    output.write_bytes(b"before")
    promise = f"exit {STOPS[number]}, one line, nothing half, the file before stays, no scratch left"
    with Injection(number.name, "export", promise) as fault:
        for _ in range(1):
            child = begin("export", checkpoint, "--output", output, env={"TMPDIR": str(scratch)})
            deadline = time.monotonic() + 60
            while not (held := list(scratch.glob("lstm-deploy-*"))) and time.monotonic() < deadline:
                time.sleep(0.005)
            assert held, "no scratch to leave behind"
            _, problems = _stopped(child, number, 0)
            left = [str(path) for path in scratch.glob("lstm-deploy-*")]
            fault.count(
                [*problems, *left, *half_files(output.parent), wrong_unless(output.read_bytes() == b"before", "")]
            )


STUCK = """
import sys, threading
from lstm_deploy import cli, stopping
stopping._GRACE = 1.0
cli.main(sys.argv[1:])
"""


@pytest.mark.parametrize("number", STOPS, ids=lambda number: number.name)
def test_native_code_that_does_not_come_back_ends_all_the_same(tmp_path, number):
    long = tmp_path / "long.txt"
    long.write_text("They ate the fish " * 150_000)
    promise = f"exit {STOPS[number]} within seconds, though one sentence keeps onnxruntime busy"
    with Injection(number.name, "run", promise) as fault:
        program = [sys.executable, "-c", STUCK]
        child = begin("run", "--model", ROOT / "exported" / "en-upos.onnx", "--input", long, program=program)
        wait_until_it_listens(child)
        time.sleep(4)
        assert child.poll() is None
        child.send_signal(number)
        start = time.monotonic()
        code, out, _ = end(child, timeout=60)
        took = time.monotonic() - start
        fault.count(
            [wrong_unless(code == STOPS[number], f"exit status {code}"), wrong_unless(took < 4, f"{took} s"), out]
        )


def test_an_ignored_signal_stays_ignored(text, tagged, tmp_path):
    """`nohup` ignores SIGHUP; shells ignore SIGINT in what runs in the background."""
    output = tmp_path / "out.txt"
    ignore = lambda: [signal.signal(number, signal.SIG_IGN) for number in (signal.SIGHUP, signal.SIGINT)]  # noqa: E731
    child = begin("run", "--model", MODEL, "--input", text, "--output", output, preexec_fn=ignore)
    wait_until_it_listens(child)
    child.send_signal(signal.SIGHUP)
    child.send_signal(signal.SIGINT)
    assert end(child)[0] == 0
    assert output.read_bytes() == tagged


def test_a_caller_that_handles_signals_keeps_its_handlers():
    from lstm_deploy.stopping import stoppable

    own = lambda *_: None  # noqa: E731
    set_here = {signal.SIGTERM: own, signal.SIGINT: signal.default_int_handler}  # a library may have set others
    before = {number: signal.signal(number, handler) for number, handler in set_here.items()}
    try:
        with stoppable():
            assert signal.getsignal(signal.SIGTERM) is own
            assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        assert {number: signal.getsignal(number) for number in set_here} == set_here
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_models_differ():
    """What the other modules here replace one by the other gives different tags."""
    assert Predictor.load(MODEL).metadata.tags != Predictor.load(OTHER).metadata.tags
