"""The pictures of an evaluation are there, whole, and show what was counted."""

import json
import subprocess
import sys

import pytest

from lstm_deploy.plots.evaluation import draw_evaluation
from lstm_deploy.scoring import Scorer

PNG = b"\x89PNG\r\n\x1a\n"


def _report(tags=3, scores=True):
    scorer = Scorer(map(str, range(tags)))
    for gold in range(tags):
        scorer.add([str(gold)] * 2, [str(gold), str((gold + 1) % tags)], None, [0.9, 0.4] if scores else ())
    return scorer.report()


@pytest.mark.parametrize("tags", [1, 3, 60])
def test_both_pictures_are_drawn_and_are_the_same_for_the_same_figures(tmp_path, tags):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        paths = draw_evaluation(_report(tags), tmp_path / name)
        assert [path.name for path in paths] == ["confusion.png", "reliability.png"]
        assert all(path.read_bytes().startswith(PNG) for path in paths)
    for name in ("confusion.png", "reliability.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_without_probabilities_there_is_one_picture(tmp_path):
    assert [path.name for path in draw_evaluation(_report(scores=False), tmp_path)] == ["confusion.png"]


def test_other_figures_are_another_picture(tmp_path):
    (tmp_path / "other").mkdir()
    first, second = draw_evaluation(_report(3), tmp_path), draw_evaluation(_report(4), tmp_path / "other")
    assert first[0].read_bytes() != second[0].read_bytes()


def _eval(*arguments, blocked=()):
    code = f"import sys\nfor name in {blocked!r}: sys.modules[name] = None\nfrom lstm_deploy.cli import main\nmain()"
    return subprocess.run([sys.executable, "-c", code, "eval", *arguments], capture_output=True, text=True)


def test_eval_draws_and_tells_where(trained, tmp_path):
    model, gold = trained
    done = _eval(model, gold, "--json", "--plots", tmp_path / "a" / "b")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a" / "b" / "confusion.png").is_file()
    assert "reliability.png" in done.stderr
    assert 0 <= json.loads(done.stdout)["calibration"]["expected_error"] <= 1
    done = _eval(model, gold, "--plots", tmp_path / "c", blocked=("matplotlib",))
    assert done.returncode == 1
    assert "pip install 'lstm-deploy[plots]'" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.fixture
def trained(tmp_path):
    from pathlib import Path

    (tmp_path / "gold.tsv").write_text("They\tNN\nate\tV\nthe\tDET\nfish\tV\n")
    return Path(__file__).parents[2] / "exported" / "tutorial.onnx", tmp_path / "gold.tsv"
