"""Columns of numbers through the predictor: the tags of predict_batch, in order, on every provider."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_files import CHARACTERS, CHARACTERS_CRF, SUBWORD, SUBWORD_INT8
from pretended_cuda import pretend

from lstm_deploy import Predictor, encoding
from lstm_deploy.errors import IdRangeError, OutOfMemoryError, SmallerBatchesWarning, UnknownWordError

WORDS = {
    SUBWORD: ["the", "cat", "ate", "", "Ann", "東京", "new"],
    SUBWORD_INT8: ["the", "cat", "ate", "", "Ann", "東京", "new"],
    CHARACTERS: ["the", "cat", "ate", "a"],
    CHARACTERS_CRF: ["the", "cat"],
}


def _flat(sentences):
    words = sorted({token for tokens in sentences for token in tokens})
    ids = {word: i for i, word in enumerate(words)}
    indices = np.array([ids[token] for tokens in sentences for token in tokens], np.int32)
    return words, indices, np.array([*map(len, sentences)], np.int64)


def _compare(predictor, sentences, *, exact=True):
    found = predictor.predict_flat(*_flat(sentences), scores=True)
    assert (found.tag_ids.dtype, found.scores.dtype) == (np.int32, np.float32)
    expected = [predictor.predict(tokens) for tokens in sentences] if exact else predictor.predict_batch(sentences)
    tags = [predictor.metadata.tags[i] for i in found.tag_ids.tolist()]
    scores = [score for result in expected for score in result.scores]
    assert tags == [tag for result in expected for tag in result.tags]
    np.testing.assert_allclose(found.scores, scores, rtol=1e-5, atol=1e-6)
    alone = predictor.predict_flat(*_flat(sentences))
    assert alone.scores is None
    np.testing.assert_array_equal(alone.tag_ids, found.tag_ids)


@given(st.lists(st.lists(st.sampled_from(["the", "cat", "", "Ann", "\x00", "🙂"]) | st.text(max_size=5), max_size=20)))
def test_flat_is_one_by_one(subword, sentences):
    _compare(subword, sentences)


def _sentences(model, count=150, longest=40):
    random = np.random.default_rng(5)
    return [random.choice(WORDS[model], n).tolist() for n in random.integers(0, longest, count)]


@pytest.mark.parametrize("model", [SUBWORD, CHARACTERS, CHARACTERS_CRF])
@pytest.mark.parametrize("options", [{"threads": 1}, {"threads": 3, "batch_tokens": 200}, {"batch_tokens": 1}])
def test_every_kind_of_model(model, options):
    _compare(Predictor.load(model, **options), _sentences(model))


@pytest.mark.parametrize("model", [SUBWORD, CHARACTERS, CHARACTERS_CRF])
def test_on_cuda_in_few_shapes(monkeypatch, model):
    pretend(monkeypatch)
    _compare(Predictor.load(model, "cuda", batch_tokens=300), _sentences(model), exact=False)
    _compare(Predictor.load(model, "auto"), _sentences(model), exact=False)


def test_an_int8_model_rounds_the_same_on_any_number_of_threads():
    flat = _flat(_sentences(SUBWORD_INT8, 500))
    one, *others = (
        Predictor.load(SUBWORD_INT8, threads=threads).predict_flat(*flat, scores=True) for threads in (1, 2, 5)
    )
    assert len(one.tag_ids) == len(flat[1])
    for other in others:
        np.testing.assert_array_equal(one.tag_ids, other.tag_ids)
        np.testing.assert_array_equal(one.scores, other.scores)


def test_memory_that_runs_out_halves_batches(monkeypatch, subword):
    made = pretend(monkeypatch, most=200).made
    predictor = Predictor.load(SUBWORD, "cuda", batch_tokens=2000)
    flat = _flat(_sentences(SUBWORD))
    with pytest.warns(SmallerBatchesWarning):
        found = predictor.predict_flat(*flat)
    np.testing.assert_array_equal(found.tag_ids, subword.predict_flat(*flat).tag_ids)
    made[0].shapes.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predictor.predict_flat(*flat)
    assert max(rows * columns for rows, columns in made[0].shapes) <= 200
    with pytest.raises(OutOfMemoryError, match="a sentence of 300 tokens alone"):
        predictor.predict_flat(["the"], np.zeros(300, np.int32), np.array([300]))


def test_words_stay_known_when_the_table_starts_afresh(monkeypatch):
    monkeypatch.setattr(encoding, "_MAX_CACHED_TYPES", 10)
    predictor = Predictor.load(SUBWORD, threads=2)
    parts = [[[f"word{i}", "the", f"Word{i + 7}"] * 70 for i in range(start, start + 30)] for start in (0, 40, 80)]
    works = [predictor.start_flat(*_flat(part)) for part in parts]
    for part, work in reversed(list(zip(parts, works, strict=True))):
        tags = [tag for result in predictor.predict_batch(part) for tag in result.tags]
        assert [predictor.metadata.tags[i] for i in work.result().tag_ids] == tags


def test_nothing_to_tag(subword):
    for lengths in ([], [0, 0]):
        found = subword.predict_flat([], [], lengths, scores=True)
        assert (len(found.tag_ids), len(found.scores)) == (0, 0)
    subword.start_flat(["the"], [0], [1]).cancel()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("the", [0], [1]), TypeError, "got the str 'the'"),
        ((["the", 3], [0], [1]), TypeError, "a token must be a str"),
        ((["the"], [0.0], [1]), TypeError, r"indices holds float64.*astype"),
        ((["the"], [[0]], [1]), ValueError, r"indices has shape \(1, 1\)"),
        ((["the"], [0], [2]), ValueError, "add up to 2, there are 1 indices"),
        ((["the"], [1], [1]), IdRangeError, "from 1 to 1; expected 0 to 0"),
        ((["the"], [-1], [1]), IdRangeError, "from -1"),
        ((["the"], [0], [2, -1]), IdRangeError, "a length is -1"),
    ],
)
def test_what_does_not_go_together_is_refused(subword, arguments, error, message):
    words, indices, lengths = arguments
    with pytest.raises(error, match=message):
        subword.predict_flat(words, np.array(indices), np.array(lengths))


def test_words_that_the_model_has_not():
    with pytest.raises(UnknownWordError, match="dog"):
        Predictor.load(CHARACTERS_CRF).start_flat(["dog"], np.array([0]), np.array([1]))
