"""What a soak is judged by: growth, a leak of files, slowness and wrong answers are each told from noise."""

import importlib.util
import json
import random
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
RESULT = BENCHMARKS / "results" / "soak.json"
RIGHT = {"wrong": 0, "errors": 0, "hung": 0, "rounded": 3, "int8": 10_000}


@pytest.fixture(scope="module")
def judge():
    spec = importlib.util.spec_from_file_location("soak_verdict", BENCHMARKS / "soak_verdict.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _samples(**changes):
    draw = random.Random(1)
    made = []
    for i in range(60):
        sample = {
            "s": 60.0 * (i + 1),
            "rss_mb": 400 + draw.uniform(-8, 8) - 100 * (i < 5),
            "heap_used_mb": 160 + draw.uniform(-8, 8),
            "tokens_per_second": 30_000 + draw.uniform(-3_000, 3_000),
            "fds": 8,
            "threads": 24,
            "longest_wait_s": 1.0,
            "hwm_mb": 420.0,
        }
        made.append(sample | {name: change(i, sample[name]) for name, change in changes.items()})
    return made


def test_an_even_run_passes_whatever_its_warm_up(judge):
    verdict = judge.verdict(_samples(), RIGHT)
    assert verdict["passed"], verdict
    assert abs(verdict["rss_slope_mb_per_hour"]) < 12


@pytest.mark.parametrize(
    ("what", "changes"),
    [
        ("rss", {"rss_mb": lambda i, now: now + 0.5 * i}),
        ("rss", {"rss_mb": lambda i, now: now + 40 * (i > 45)}),
        ("heap_used", {"heap_used_mb": lambda i, now: now + 0.4 * i}),
        ("throughput", {"tokens_per_second": lambda i, now: now * (1 - 0.01 * i)}),
        ("fds", {"fds": lambda i, now: now + (i == 50)}),
        ("threads", {"threads": lambda i, now: now + i // 10}),
    ],
)
def test_what_is_not_flat_is_named(judge, what, changes):
    verdict = judge.verdict(_samples(**changes), RIGHT)
    assert not verdict["passed"]
    assert [name for name, kept in verdict["flat"].items() if not kept] == [what]


@pytest.mark.parametrize(
    ("what", "counts", "changes"),
    [
        ("wrong", {"wrong": 1}, {}),
        ("errors", {"errors": 1}, {}),
        ("hung", {"hung": 1}, {}),
        ("hung", {}, {"longest_wait_s": lambda i, now: 61.0 * (i == 30)}),
        ("rounded", {"rounded": 301}, {}),
    ],
)
def test_what_is_not_right_is_named(judge, what, counts, changes):
    verdict = judge.verdict(_samples(**changes), RIGHT | counts)
    assert not verdict["passed"]
    assert [name for name, kept in verdict["right"].items() if not kept] == [what]


def test_where_the_heap_cannot_be_asked_the_rest_is_judged(judge, tmp_path):
    samples = [{name: value for name, value in each.items() if name != "heap_used_mb"} for each in _samples()]
    verdict = judge.verdict(samples, RIGHT)
    assert verdict["passed"] and "heap_used" not in verdict["flat"] and "rss" in verdict["flat"]
    pytest.importorskip("matplotlib")
    result = {"samples": samples, "counts": {"answers": 5, "wrong": 0}, "models": ["a"], "callers": 4, "cores": 2}
    judge.draw(result, tmp_path / "soak.png")
    assert (tmp_path / "soak.png").is_file()


def test_too_few_samples_are_no_verdict(judge):
    verdict = judge.verdict(_samples()[:5], RIGHT)
    assert not verdict["passed"] and "run it longer" in verdict["why"]


def test_a_picture_is_drawn_of_a_result(judge, tmp_path):
    pytest.importorskip("matplotlib")
    result = {"samples": _samples(), "counts": {"answers": 5, "wrong": 0}, "models": ["a"], "callers": 4, "cores": 2}
    judge.draw(result, tmp_path / "soak.png")
    assert (tmp_path / "soak.png").read_bytes().startswith(b"\x89PNG")


def test_the_committed_run_is_judged_by_these_bounds(judge):
    if not RESULT.is_file():
        pytest.skip("no long run is committed: `make soak` makes one")
    result = json.loads(RESULT.read_bytes())
    assert result["verdict"] == judge.verdict(result["samples"], result["counts"])
    assert result["finished"] and all(result["verdict"]["right"].values())
    assert result["verdict"]["flat"]["fds"] and result["verdict"]["flat"]["throughput"]
    page = (BENCHMARKS.parent / "docs" / "robustness.md").read_text(encoding="utf-8")
    assert f"{result['counts']['answers']:,} answers" in page
    assert all(f"{name}={value}" in page for name, value in result.get("malloc", {}).items())
    for name in ("rss", "heap_used"):  # what is not flat is told
        kept = result["verdict"]["flat"].get(name, True)
        assert kept or f"{result['verdict'][f'{name}_fitted_growth_mb']} MB" in page
