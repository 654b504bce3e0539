"""Where `auto` goes from the CPU to CUDA: measured, kept by model and machine, used, and told."""

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_files import SUBWORD, TUTORIAL
from pretended_cuda import pretend

from lstm_deploy import Predictor, benchmark, crossover, predictor
from lstm_deploy.crossover import UNMEASURED_TOKENS, Crossover, Machine, Point, from_points
from lstm_deploy.errors import OutputError, SmallerBatchesWarning
from lstm_deploy.providers import CudaOptions

MACHINE = Machine(("NVIDIA H100 80GB HBM3",), 16, "1.31.1")


@pytest.fixture(autouse=True)
def _cache(monkeypatch, tmp_path):
    monkeypatch.setenv("LSTM_DEPLOY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(predictor, "gpu_names", lambda: list(MACHINE.gpus))
    monkeypatch.setattr(benchmark, "gpu_names", lambda: list(MACHINE.gpus))


@given(st.lists(st.tuples(st.floats(0, 9), st.floats(0, 9)), min_size=1, max_size=12))
def test_cuda_wins_at_the_crossover_and_everywhere_above(times):
    points = [Point(2**i, *pair) for i, pair in enumerate(times)]
    found = from_points(points[::-1])
    faster = [point.cuda_seconds < point.cpu_seconds for point in points]
    if found.tokens is None:
        assert not faster[-1]
    else:
        at = [point.tokens for point in points].index(found.tokens)
        assert all(faster[at:])
        assert at == 0 or not faster[at - 1]
    assert found.points == tuple(points)


def test_one_lucky_small_call_does_not_count():
    assert from_points([Point(1, 2, 1), Point(2, 1, 2), Point(4, 2, 1), Point(8, 2, 1)]).tokens == 4


@pytest.mark.parametrize("tokens", [512, 1, None])
def test_what_is_kept_comes_back_for_this_model_and_machine_alone(tokens):
    found = Crossover(tokens, (Point(1, 0.5, 0.25),), "2026-11-25T01:02:03+00:00")
    place = crossover.save(SUBWORD, MACHINE, found)
    assert place.is_file()
    assert crossover.load(SUBWORD, MACHINE) == found
    rule = Crossover(UNMEASURED_TOKENS)
    assert crossover.load(TUTORIAL, MACHINE) == rule
    for other in (
        Machine(("another",), 16, "1.31.1"),
        Machine(MACHINE.gpus, 8, "1.31.1"),
        Machine(MACHINE.gpus, 16, "2"),
    ):
        assert crossover.load(SUBWORD, other) == rule


def test_a_copy_of_the_model_is_the_same_model_and_a_changed_one_is_not(tmp_path):
    found = Crossover(512, (), "2026-11-25T01:02:03+00:00")
    crossover.save(SUBWORD, MACHINE, found)
    (tmp_path / "copy.onnx").write_bytes(SUBWORD.read_bytes())
    assert crossover.load(tmp_path / "copy.onnx", MACHINE) == found
    (tmp_path / "copy.onnx").write_bytes(SUBWORD.read_bytes() + b"\x00")
    assert crossover.load(tmp_path / "copy.onnx", MACHINE).measured == ""


@pytest.mark.parametrize(
    "change",
    [
        lambda kept: "not JSON",
        lambda kept: "[]",
        lambda kept: json.dumps({**kept, "version": 0}),
        lambda kept: json.dumps({**kept, "machine": {}}),
        lambda kept: json.dumps({**kept, "tokens": "many"}),
        lambda kept: json.dumps({k: v for k, v in kept.items() if k != "points"}),
    ],
)
def test_a_spoilt_cache_is_no_cache(change):
    place = crossover.save(SUBWORD, MACHINE, Crossover(512, (), "2026"))
    place.write_text(change(json.loads(place.read_text())))
    assert crossover.load(SUBWORD, MACHINE) == Crossover(UNMEASURED_TOKENS)


def test_a_cache_that_cannot_be_written_is_told(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LSTM_DEPLOY_CACHE", str(tmp_path / "file"))
    with pytest.raises(OutputError, match="set LSTM_DEPLOY_CACHE to a folder that can be written"):
        crossover.save(SUBWORD, MACHINE, Crossover(1))


def test_without_a_home_folder_the_rule_stands_and_nothing_is_kept(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("LSTM_DEPLOY_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(crossover.Path, "home", homeless)
    assert crossover.load(SUBWORD, MACHINE) == Crossover(UNMEASURED_TOKENS)
    with pytest.raises(OutputError, match="Could not determine home directory"):
        crossover.save(SUBWORD, MACHINE, Crossover(1))


@pytest.mark.parametrize(
    ("platform", "variable", "tail"),
    [
        ("linux", "XDG_CACHE_HOME", "there/lstm-deploy"),
        ("linux", None, ".cache/lstm-deploy"),
        ("darwin", None, "Library/Caches/lstm-deploy"),
        ("win32", "LOCALAPPDATA", "there/lstm-deploy"),
    ],
)
def test_the_cache_is_where_the_system_has_caches(monkeypatch, tmp_path, platform, variable, tail):
    for name in ("LSTM_DEPLOY_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    if variable:
        monkeypatch.setenv(variable, str(tmp_path / "there"))
    monkeypatch.setattr("sys.platform", platform)
    assert crossover.save(SUBWORD, MACHINE, Crossover(1)).parent == tmp_path / tail / "crossover"


def _loaded(monkeypatch, found=None):
    made = pretend(monkeypatch).made
    if found:
        crossover.save(SUBWORD, predictor.machine_of(None, list(MACHINE.gpus)), found)
    return Predictor.load(SUBWORD, "auto"), made[0]


def test_auto_uses_what_was_measured_call_by_call(monkeypatch, subword):
    both, on_cuda = _loaded(monkeypatch, Crossover(6, (), "2026-11-25T01:02:03+00:00"))
    assert both.provider == "auto"
    assert (both.provider_for(5), both.provider_for(6)) == ("cpu", "cuda")
    assert both.provider_reason == (
        "CUDA for calls of 6 tokens and more, else the CPU; measured on NVIDIA H100 80GB HBM3 on 2026-11-25"
    )
    five, six = [["Ann", "ate"], ["the", "cat", "ate"]], [["Ann", "ate"] * 3]
    assert both.predict_batch(five) == subword.predict_batch(five)
    assert both.predict(["Ann"] * 5).tags == subword.predict(["Ann"] * 5).tags
    assert list(both.predict_stream(five)) == subword.predict_batch(five)
    assert not on_cuda.shapes
    assert both.predict_batch(six)[0].tags == subword.predict_batch(six)[0].tags
    assert both.predict(six[0]).tags == subword.predict(six[0]).tags
    assert len(on_cuda.shapes) == 2
    copy = pickle.loads(pickle.dumps(both))
    assert (copy.provider, copy.provider_for(5), copy.provider_for(6)) == ("auto", "cpu", "cuda")


def test_auto_says_what_rule_stands_in_for_a_measurement(monkeypatch):
    both, _ = _loaded(monkeypatch)
    assert both.provider_for(UNMEASURED_TOKENS - 1) == "cpu"
    assert both.provider_for(UNMEASURED_TOKENS) == "cuda"
    assert "not measured here: `lstm-deploy bench MODEL --provider auto` does it" in both.provider_reason


def test_where_cuda_never_wins_auto_is_the_cpu(monkeypatch):
    both, on_cuda = _loaded(monkeypatch, Crossover(None, (), "2026-11-25T01:02:03+00:00"))
    assert both.provider_reason.startswith("the CPU for every call; measured on NVIDIA H100")
    assert both.provider_for(10**9) == "cpu"
    list(both.predict_stream([["Ann"]] * 3000))
    assert not on_cuda.shapes


def test_a_crossover_of_one_device_is_not_that_of_two(monkeypatch):
    pretend(monkeypatch)
    names = ["a", "b", "c"]
    assert predictor.machine_of(CudaOptions(devices=(2, 0)), names).gpus == ("c", "a")
    assert predictor.machine_of(None, names).gpus == ("a",)


def test_the_crossover_is_measured_on_calls_of_each_size(monkeypatch):
    sizes = {}

    class Timed:
        metadata = Predictor.load(SUBWORD).metadata

        def __init__(self, name):
            self.name = name

        def predict_batch(self, sentences, scores):
            sizes.setdefault(self.name, set()).add(sum(map(len, sentences)))

    durations = {"cpu": lambda n: n, "cuda": lambda n: 100 + n / 10}
    monkeypatch.setattr(
        benchmark, "_times", lambda call, _: [call() or durations[call.func.__self__.name](sum(map(len, call.args[0])))]
    )
    found = benchmark.measure_crossover(Timed("cpu"), Timed("cuda"), 0.1, benchmark.CROSSOVER_TOKENS)
    assert sizes == {"cpu": set(benchmark.CROSSOVER_TOKENS), "cuda": set(benchmark.CROSSOVER_TOKENS)}
    assert found.tokens == 128  # 100 + n / 10 < n from 111 on


def test_bench_keeps_the_crossover_and_auto_uses_it(monkeypatch):
    pretend(monkeypatch)
    monkeypatch.setattr(benchmark, "CROSSOVER_TOKENS", (1, 8, 64))
    monkeypatch.setattr(benchmark, "_MIXED_TOKENS", {"cpu": 500, "cuda": 500})
    result = benchmark.measure([SUBWORD], "auto", 1, 0.0001)
    kept = result.switches[0].crossover
    assert [point.tokens for point in kept.points] == [1, 8, 64]
    assert Predictor.load(SUBWORD, "auto").provider_reason == kept.reason(MACHINE.gpus)
    text = benchmark.describe(result)
    assert f"--provider auto: {kept.reason(MACHINE.gpus)}; kept in " in text
    assert {cell.provider for cell in result.cells} == {"cpu", "cuda"}


def test_a_crossover_that_cannot_be_kept_is_still_shown(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LSTM_DEPLOY_CACHE", str(tmp_path / "file"))
    pretend(monkeypatch, most=300)  # and memory that is short: the table still has every cell
    monkeypatch.setattr(benchmark, "CROSSOVER_TOKENS", (1, 8))
    monkeypatch.setattr(benchmark, "_MIXED_TOKENS", {"cpu": 500, "cuda": 5000})
    with pytest.warns(SmallerBatchesWarning):
        result = benchmark.measure([SUBWORD], "auto", 1, 0.0001)
    assert "not kept: the crossover cannot be kept (Not a directory)" in benchmark.describe(result)


def test_without_cuda_bench_says_so_and_keeps_nothing(tmp_path):
    result = benchmark.measure([SUBWORD], "auto", 1, 0.0001)
    if any(cell.provider == "cuda" for cell in result.cells):
        pytest.skip("CUDA loads here")
    assert "--provider auto: the CPU for every call (CUDA is not available: " in benchmark.describe(result)
    assert not (tmp_path / "cache").exists()
