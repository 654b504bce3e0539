"""A provider that dies in the middle, or answers nonsense: CUDA pretended, as tests/runtime has it."""

import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from fault_commands import ROOT, half_files, one_line, wrong_unless
from record import Injection

sys.path.append(str(Path(__file__).parents[1] / "runtime"))
from pretended_cuda import pretend

from lstm_deploy import Predictor
from lstm_deploy.cli import main
from lstm_deploy.errors import LstmDeployError, ProviderError

MODEL = ROOT / "exported" / "en-upos-small.onnx"
SENTENCES = [f"They ate the fish w{i} .".split() for i in range(300)]
DEATHS = [
    RuntimeError("CUDA failure 700: an illegal memory access was encountered ; GPU=0 ; hostname=x"),
    RuntimeError("CUDNN failure 5000: CUDNN_STATUS_EXECUTION_FAILED ; GPU=0"),
    OSError("driver shutting down"),
]


def _dying(monkeypatch, death, at):
    """CUDA that works until run ``at`` of each session, and then no more."""

    def on_run(session):
        if len(session.shapes) >= at:
            raise death

    return pretend(monkeypatch, on_run=on_run)


def _sound(session):
    """A provider that is well again."""


def _text(tmp_path):
    (tmp_path / "in.txt").write_text("".join(" ".join(tokens) + "\n" for tokens in SENTENCES))
    return ["--model", str(MODEL), "--input", str(tmp_path / "in.txt")]


def _run(*arguments):
    return CliRunner().invoke(main, ["run", *map(str, arguments)])


@pytest.mark.parametrize("at", [1, 2, 5])
def test_run_on_a_provider_that_dies(monkeypatch, tmp_path, at):
    text = _text(tmp_path)
    expected = _run(*text).stdout
    output = tmp_path / "out.txt"
    output.write_text("before")
    small = [*text, "--provider", "cuda", "--batch-tokens", 64, "--threads", 1]
    promise = "one line, exit 1; a file stays as it was; what was printed is right and whole sentences"
    with Injection("provider dies", "run", promise) as fault:
        for death in DEATHS:
            _dying(monkeypatch, death, at)
            done = _run(*small, "--output", output)
            kept = wrong_unless(output.read_text() == "before", "the output")
            fault.count(
                [wrong_unless(done.exit_code == 1, done.output), one_line(done.stderr), kept, *half_files(tmp_path)]
            )
            for more in ([], ["--line-buffered"]):
                done = _run(*small, *more)
                whole = expected.startswith(done.stdout) and done.stdout.endswith(("\n\n", ""))
                fault.count([wrong_unless(done.exit_code == 1 and whole, done.output), one_line(done.stderr)])
    assert _run(*text).stdout == expected


def test_other_sessions_of_the_process_go_on(monkeypatch):
    cpu = Predictor.load(MODEL)
    expected = [result.tags for result in cpu.predict_batch(SENTENCES)]
    with Injection(
        "provider dies", "Predictor", "an error of ours; other sessions answer, the same one later"
    ) as fault:
        for death in DEATHS:
            _dying(monkeypatch, death, 3)
            dying = Predictor.load(MODEL, "cuda", threads=2, batch_tokens=64)
            pretend(monkeypatch, on_run=_sound)
            sound = Predictor.load(MODEL, "cuda", threads=2, batch_tokens=64)
            _dying(monkeypatch, death, 3)
            with pytest.raises(LstmDeployError) as raised:
                dying.predict_batch(SENTENCES)
            pretend(monkeypatch, on_run=_sound)
            fault.count(
                [
                    wrong_unless(len(str(raised.value).splitlines()) == 1, str(raised.value)),
                    *(
                        wrong_unless([r.tags for r in each.predict_batch(SENTENCES)] == expected, "wrong tags")
                        for each in (cpu, sound, dying)
                    ),
                ]
            )


def _nonsense(kind, found):
    found = [np.array(part) for part in found]
    if kind == "no tag":
        found[0][0, 0] = -1
    elif kind == "a tag too many":
        found[0][0, 0] = 9999
    elif kind == "no row":
        found[0][0] = -1
    elif kind == "not a number":
        found[1][0, 0] = np.nan
    else:
        found[0][:] = np.iinfo(np.int32).min
    return found


@pytest.mark.parametrize("kind", ["no tag", "a tag too many", "no row", "not a number", "memory of others"])
def test_nonsense_is_not_taken_for_an_answer(monkeypatch, tmp_path, kind):
    import pretended_cuda

    pretend(monkeypatch)
    real = pretended_cuda._Binding.copy_outputs_to_cpu
    answered = []

    def copied(self):
        answered.append(1)
        return _nonsense(kind, real(self)) if len(answered) >= 3 else real(self)

    monkeypatch.setattr(pretended_cuda._Binding, "copy_outputs_to_cpu", copied)
    output = tmp_path / "out.txt"
    arguments = [*_text(tmp_path), "--provider", "cuda", "--batch-tokens", 64, "--format", "jsonl", "--output", output]
    with Injection("provider answers nonsense", "run", "one line, exit 1, nothing written") as fault:
        done = _run(*arguments)
        fault.count([wrong_unless(done.exit_code == 1 and not output.exists(), done.output), one_line(done.stderr)])
    answered[:] = [1, 1]
    with pytest.raises(ProviderError, match=r"cuda answered with .*; see with `lstm-deploy doctor"):
        Predictor.load(MODEL, "cuda").predict_batch(SENTENCES)
