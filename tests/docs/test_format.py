"""FORMAT.md is enough: a client written from it, sharing no code, gives what the package gives."""

import unicodedata
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_deploy import Predictor, Segmenter, StreamingPredictor
from lstm_deploy.errors import UnknownCharacterError
from lstm_deploy.formats import read_gold
from lstm_deploy.graph_rules import OPERATORS
from lstm_deploy.sentence_rules import SentenceRules
from lstm_deploy.tokenizer import Tokenizer

if unicodedata.unidata_version != "14.0.0":
    pytest.skip("the client takes Unicode 14.0 from unicodedata; this Python has another", allow_module_level=True)

from format_client import Client

ROOT = Path(__file__).parents[2]
DATA_MODELS = ROOT / "tests" / "runtime" / "data"
MODELS = [
    ROOT / "exported" / "tutorial.onnx",
    *(
        DATA_MODELS / f"{name}.onnx"
        for name in ("subword", "subword-int8", "characters-crf", "characters", "segmenter", "streaming")
    ),
]
DATA = ROOT.parent / "shared" / "data"
ODD = st.text(
    st.sampled_from("aZ9.,'’-!@:/& ()wW🙂👩\u200d\u0301İ東\u200e_·ʼ½Ⅷ") | st.characters(exclude_categories=["Cs"])
)


@pytest.fixture(scope="module")
def client():
    return Client(MODELS[1])


@pytest.fixture(scope="module")
def predictor():
    return Predictor.load(MODELS[1])


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_golden_cases_hold_for_the_client(path):
    client = Client(path)
    cases = client.meta["golden"]
    assert cases
    for case in cases:
        rows = [client.row(token) for token in case["tokens"]]
        assert case["inputs"].keys() == client.inputs.keys() - {"lengths", "char_lengths"}
        for kind, ids in case["inputs"].items():
            assert [row[kind] for row in rows] == ids
        client.check(case, *client.run([case["tokens"]])[0])
        assert [client.meta["tags"][i] for i in case["tag_ids"]] == case["tags"]
        if case["text"] is not None:
            assert client.tokens(case["text"]) == case["tokens"]
    many = cases * 8
    for case, answer in zip(many, client.run([case["tokens"] for case in many]), strict=True):
        client.check(case, *answer)


def test_a_streaming_file_in_chunks():
    path = DATA_MODELS / "streaming.onnx"
    client, predictor = Client(path), StreamingPredictor.load(path)
    assert client.meta["golden"]
    for case in client.meta["golden"]:
        states, at, size, found = client.start(1), 0, 1, []
        while at < len(case["tokens"]):
            answers, states = client.run_chunks([case["tokens"][at : at + size]], states)
            found += answers
            at, size = at + size, size + 1
        client.check(case, [i for ids, _ in found for i in ids], np.concatenate([scores for _, scores in found]))
    stream = predictor.stream()
    stream.push(["Ann", "went"])
    _, states = client.run_chunks([["the"], ["Ann", "went"]], client.start(2))
    for name, values in stream.state.items():
        np.testing.assert_array_equal(states[name][1], values)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(["the", "cat", "Ann", "東京", "n't", "."]), max_size=20), max_size=9).filter(any)
)
def test_best_path_and_marginals_of_a_crf(batch):
    path = DATA_MODELS / "characters-crf.onnx"
    client, predictor = _both(path)
    for kind, ids in predictor.encoder.encode(batch).items():
        np.testing.assert_array_equal(client.arrays(batch)[kind], ids)
    for tokens, (tag_ids, emissions), result in zip(
        batch, client.run(batch), predictor.predict_batch(batch), strict=True
    ):
        if tokens:
            assert tag_ids == client.best_path(emissions)
            assert [client.meta["tags"][i] for i in tag_ids] == list(result.tags)
            marginals = client.marginals(emissions)
            np.testing.assert_allclose(marginals[np.arange(len(tokens)), tag_ids], result.scores, rtol=1e-6)
            np.testing.assert_allclose(marginals.sum(-1), 1)


@cache
def _both(path):
    return Client(path), Predictor.load(path)


@settings(max_examples=200, deadline=None)
@given(st.text("aCIİtfhs東ßéx", max_size=6))
def test_spelling(token):
    client, predictor = _both(DATA_MODELS / "characters.onnx")
    try:
        ids = predictor.metadata.characters.ids(token)
    except UnknownCharacterError:
        with pytest.raises(LookupError):
            client.row(token)
    else:
        assert client.row(token)["char_ids"] == ids


RAW = st.text(
    st.sampled_from(" \n\r\t.!?\"'aZé9東\x00\x85\u2028\u00a0🙂") | st.characters(exclude_categories=["Cs"]), max_size=60
)


@settings(max_examples=200, deadline=None)
@given(RAW)
def test_raw_text_by_a_segmenter(text):
    path = DATA_MODELS / "segmenter.onnx"
    client, _ = _both(path)
    assert client.segment(text) == [list(sentence.tokens) for sentence in _segmenter(path).segment(text)]


@cache
def _segmenter(path):
    return Segmenter.load(path)


@settings(max_examples=300, deadline=None)
@given(RAW)
def test_raw_text_by_rules(client, predictor, text):
    rules = SentenceRules(predictor.metadata.tokenizer)
    assert client.sentences_by_rule(text) == [list(sentence.tokens) for sentence in rules.segment(text)]


def _agree(client, predictor, text):
    tokens = predictor.metadata.tokenizer.tokens(text)
    assert client.tokens(text) == tokens
    if tokens:
        for kind, ids in predictor.encoder.encode([tokens]).items():
            np.testing.assert_array_equal(client.arrays([tokens])[kind], ids)


@settings(max_examples=500, deadline=None)
@given(ODD)
def test_odd_text(client, predictor, text):
    _agree(client, predictor, text)


@settings(max_examples=300, deadline=None)
@given(
    ODD,
    st.lists(st.sampled_from(["'s", "n't", "a", "9", "ß"]), unique=True),
    st.lists(st.sampled_from(["a.", "-a", "aZ", "🙂", "Z9"]), unique=True),
    st.sampled_from(["", "-", "-'.", "’·:@/_&"]),
)
def test_every_tokenizer_spec(client, text, suffixes, keep, split):
    tokenizer = Tokenizer("words", frozenset(keep), tuple(suffixes), split)
    before = client.meta["tokenizer"]
    client.meta["tokenizer"] = tokenizer.to_json()
    try:
        assert client.tokens(text) == tokenizer.tokens(text)
    finally:
        client.meta["tokenizer"] = before


@pytest.mark.parametrize(
    "name", ["ud-english-ewt/en_ewt-ud-dev", "ud-turkish-imst/tr_imst-ud-dev", "ud-chinese-gsdsimp/zh_gsdsimp-ud-dev"]
)
def test_real_text(client, predictor, name):
    path = DATA / f"{name}.conllu.xz"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    sentences = list(read_gold(path))
    assert len(sentences) > 100
    for sentence in sentences:
        _agree(client, predictor, sentence.text)


def test_the_format_lists_the_operators_that_are_let_in():
    text = (ROOT / "FORMAT.md").read_text(encoding="utf-8")
    listed = text.split("<!-- operators -->")[1].replace("`", "").replace(",", " ").split()
    assert sorted(listed) == sorted(OPERATORS)
