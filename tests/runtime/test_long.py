"""Long sentences in windows: exact where a window sees all it needs, and every token is tagged once."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from model_files import CHARACTERS_CRF, STREAMING, SUBWORD, corpus

from lstm_deploy import Predictor, StreamingPredictor
from lstm_deploy.cli import main
from lstm_deploy.windows import MARGIN, WINDOW, join_windows, plan_windows

TEXT = "the cat ate fish Ann Lee went to Oslo in May . , ! n't"
WORDS = TEXT.split()


def _tokens(n, seed=0):
    return np.random.default_rng(seed).choice(WORDS, n).tolist()


@given(st.integers(0, 300), st.integers(1, 40), st.integers(0, 40))
def test_windows_keep_each_token_once_with_its_margins(length, window, margin):
    windows = plan_windows(length, window=window, margin=margin)
    assert [w.first for w in windows] == [0, *(w.last for w in windows[:-1])]
    assert windows[-1].last == length
    for w in windows:
        assert w.stop - w.start <= window + 2 * margin
        assert w.start == 0 or w.first - w.start == margin
        assert w.stop == length or w.stop - w.last == margin or len(windows) == 1


@pytest.mark.parametrize(("window", "margin"), [(0, 4), (4, -1)])
def test_windows_that_cannot_be_are_refused(tutorial, window, margin):
    message = f"^window={window}, margin={margin}; expected a window of 1 or more and a margin of 0 or more$"
    with pytest.raises(ValueError, match=message):
        tutorial.predict_long(["The"], window=window, margin=margin)


def test_text_is_refused(tutorial):
    with pytest.raises(TypeError, match="predict_text"):
        tutorial.predict_long("The dog")


@given(st.integers(0, 60), st.integers(1, 20))
def test_a_margin_of_the_whole_length_gives_the_whole(subword, length, window):
    tokens = _tokens(length)
    for margin in (length, -(-length // 2)):
        assert subword.predict_long(tokens, window=window, margin=margin) == subword.predict(tokens)


def test_windows_are_what_their_tokens_give_alone(subword):
    tokens = _tokens(97)
    windows = plan_windows(97, window=10, margin=3)
    alone = [subword.predict(tokens[w.start : w.stop]) for w in windows]
    assert subword.predict_long(tokens, window=10, margin=3) == join_windows(tokens, windows, alone)
    assert subword.predict_long(tokens, window=10, margin=3, scores=False).scores == ()


@given(st.integers(0, 200), st.integers(1, 30))
def test_a_streaming_file_is_exact_at_any_length(length, batch_tokens):
    predictor = StreamingPredictor.load(STREAMING, batch_tokens=batch_tokens, threads=1)
    tokens = _tokens(length)
    whole = predictor.session.run(predictor.encoder.encode([tokens]))
    found = predictor.predict_long(tokens)
    assert found.tags == tuple(predictor.metadata.tags[i] for i in whole.tag_ids[0])
    assert list(found.scores) == np.exp(whole.log_probs[0].max(-1)).tolist()


def test_each_window_has_an_answer(subword):
    windows = plan_windows(30, window=10, margin=3)
    with pytest.raises(ValueError, match="zip"):
        join_windows(_tokens(30), windows, [subword.predict(_tokens(13))])


@pytest.mark.parametrize(
    ("length", "spans"),
    [
        (0, [(0, 0, 0, 0)]),
        (16, [(0, 16, 0, 16)]),
        (17, [(0, 13, 0, 10), (7, 17, 10, 17)]),
        (20, [(0, 13, 0, 10), (7, 20, 10, 20)]),
        (24, [(0, 13, 0, 10), (7, 23, 10, 20), (17, 24, 20, 24)]),
    ],
)
def test_where_windows_lie(length, spans):
    windows = plan_windows(length, window=10, margin=3)
    assert [(w.start, w.stop, w.first, w.last) for w in windows] == spans
    assert len(plan_windows(WINDOW + 2 * MARGIN)) == 1
    assert len(plan_windows(WINDOW + 2 * MARGIN + 1)) == 2
    assert [(w.start, w.stop) for w in plan_windows(3, window=1, margin=0)] == [(0, 1), (1, 2), (2, 3)]


def test_crf_windows_are_decoded_each_by_itself():
    predictor = Predictor.load(CHARACTERS_CRF)
    tokens = [t for t in _tokens(60) if t != "!"]
    found = predictor.predict_long(tokens, window=8, margin=2)
    assert len(found.tags) == len(found.scores) == len(tokens)


def test_default_margin_changes_no_tag_of_real_text():
    model = SUBWORD.parents[3] / "exported" / "ewt.onnx"
    if not model.exists():
        pytest.skip("exported/ewt.onnx is not there: run `make treebank`")
    from lstm_deploy.formats import read_gold

    source = corpus("ud-english-ewt/en_ewt-ud-dev.conllu.xz")
    tokens = [token for sentence in read_gold(source) for token in sentence.tokens][:6000]
    predictor = Predictor.load(model)
    assert predictor.predict_long(tokens).tags == predictor.predict(tokens).tags


def test_run_says_what_it_approximates(tmp_path, subword):
    long = " ".join(_tokens(200))
    (tmp_path / "a.txt").write_text(f"Ann went\n{long}\n", encoding="utf-8")
    command = ["run", "--model", str(SUBWORD), "--input", str(tmp_path / "a.txt")]
    done = CliRunner().invoke(main, [*command, "--window", "20", "--margin", "5"])
    assert done.exit_code == 0
    assert done.stderr.startswith("1 sentence of more than 30 tokens was tagged in windows")
    tokens = subword.metadata.tokenizer.tokens(long)
    rows = zip(tokens, subword.predict_long(tokens, window=20, margin=5).tags, strict=True)
    assert done.stdout.split("\n\n")[1] == "\n".join("\t".join(row) for row in rows)
    for more in ([], ["--line-buffered"]):
        assert CliRunner().invoke(main, [*command, "--window", "20", "--margin", "5", *more]).stdout == done.stdout
    whole = CliRunner().invoke(main, [*command, "--window", "300"])
    assert (whole.stderr, whole.exit_code) == ("", 0)
    assert whole.stdout == CliRunner().invoke(main, command).stdout
    assert CliRunner().invoke(main, [*command, "--margin", "5"]).exit_code == 2


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize(("model", "kind"), [(SUBWORD, "Predictor"), (STREAMING, "StreamingPredictor")])
def test_memory_is_bounded(model, kind):
    code = f"""
import lstm_deploy
predictor = lstm_deploy.{kind}.load({str(model)!r})
tokens = {WORDS!r} * 200
def peak():
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
predictor.predict_long(tokens * 10)
before = peak()
predictor.predict_long(tokens * 100)  # 300,000 tokens: their tuple, tags and scores are 14 MB
print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 60_000


def test_defaults_are_as_documented():
    assert (WINDOW, MARGIN) == (128, 32)
