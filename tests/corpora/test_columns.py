"""Columns of tokens: the tags of predict_batch, whatever the layout in memory; bad rows are named."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_files import CHARACTERS, CHARACTERS_CRF, SUBWORD, SUBWORD_INT8

from lstm_deploy import Predictor
from lstm_deploy.corpora import columns
from lstm_deploy.corpora.columns import bad_rows, is_clean, start_lists, tag_lists
from lstm_deploy.errors import InputError, UnknownCharacterError, UnknownWordError

WORDS = ["the", "cat", "ate", "fish", "Ann", "Oslo", "Mr.", "東京", ".", "3"]
tokens = st.sampled_from(WORDS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.just("")
rows = st.lists(st.none() | st.lists(tokens, max_size=12), max_size=20)
ITEMS = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
LISTS = [pa.list_, pa.large_list, pa.list_view, pa.large_list_view]


def _expected(predictor, given):
    return [None if row is None else list(predictor.predict(row).tags) for row in given]


def _column(given, make, item):
    plain = pa.array(given, make(pa.string()))
    if not pa.types.is_dictionary(item):
        return pa.array(given, make(item))
    return pa.array(given, pa.list_(pa.string())).cast(pa.list_(item)) if make is pa.list_ else plain


@given(rows, st.sampled_from(LISTS), st.sampled_from(ITEMS), st.integers(0, 3), st.integers(0, 3), st.data())
@settings(max_examples=150)
def test_any_layout_gives_the_tags_of_single_sentences(subword, given, make, item, before, after, data):
    around = [["the", "cat"], None, []]
    column = _column(around[:before] + given + around[:after], make, item).slice(before, len(given))
    expected = _expected(subword, given)
    found = tag_lists(subword, column, scores=True)
    assert found.tags.type == pa.list_(pa.string())
    assert found.tags.to_pylist() == expected
    for row, scores in zip(given, found.scores.to_pylist(), strict=True):
        assert (scores is None) == (row is None)
        if row is not None:
            np.testing.assert_allclose(scores, subword.predict(row).scores, rtol=1e-5, atol=1e-6)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(given)), max_size=3)))
    parts = [column.slice(a, b - a) for a, b in zip([0, *cuts], [*cuts, len(given)], strict=True)]
    chunked = tag_lists(subword, pa.chunked_array(parts, column.type))
    assert isinstance(chunked.tags, pa.ChunkedArray)
    assert chunked.tags.to_pylist() == expected
    assert chunked.scores is None
    found.tags.validate(full=True)


def test_what_lies_under_a_null_row_is_no_token(subword):
    values, offsets = pa.array(["the", "cat", "ate", "fish"]), pa.array([0, 1, 3, 4], pa.int32())
    column = pa.ListArray.from_arrays(offsets, values, mask=pa.array([False, True, False]))
    assert tag_lists(subword, column).tags.to_pylist() == _expected(subword, [["the"], None, ["fish"]])
    fixed = pa.FixedSizeListArray.from_arrays(values, 2, mask=pa.array([True, False]))
    assert tag_lists(subword, fixed).tags.to_pylist() == _expected(subword, [None, ["ate", "fish"]])


@pytest.mark.parametrize("given", [[], [None], [[]], [[], None, []]])
def test_columns_without_tokens_and_without_types(subword, given):
    assert tag_lists(subword, pa.array(given)).tags.to_pylist() == given
    assert tag_lists(subword, pa.array(given, pa.list_(pa.string()))).tags.to_pylist() == given
    assert tag_lists(subword, pa.chunked_array([], pa.list_(pa.string())), scores=True).scores.to_pylist() == []


def test_chunks_of_different_dictionaries(subword):
    parts = [
        pa.DictionaryArray.from_arrays(pa.array([1, 0], pa.int32()), pa.array(words))
        for words in (["the", "cat"], ["Ann", "ate"])
    ]
    parts = [pa.ListArray.from_arrays(pa.array([0, 2], pa.int32()), part) for part in parts]
    assert tag_lists(subword, pa.chunked_array(parts)).tags.to_pylist() == _expected(
        subword, [["cat", "the"], ["ate", "Ann"]]
    )


def _many(count, seed=1):
    random = np.random.default_rng(seed)
    return [random.choice(["the", "cat", "ate"], n).tolist() for n in random.integers(0, 40, count)]


@pytest.mark.parametrize("model", [SUBWORD_INT8, CHARACTERS_CRF, SUBWORD])
def test_neither_threads_nor_chunks_change_an_answer(monkeypatch, model):
    monkeypatch.setattr(columns, "PIECE_TOKENS", 3000)
    given = _many(800)
    column = pa.array(given, pa.list_(pa.string()))
    first = tag_lists(Predictor.load(model, threads=1, batch_tokens=700), column, scores=True)
    cut = pa.chunked_array([column.slice(i, 9) for i in range(0, 800, 9)])
    other = tag_lists(Predictor.load(model, threads=3, batch_tokens=700), cut, scores=True)
    assert first.tags.to_pylist() == other.tags.to_pylist()
    assert first.scores.equals(pa.concat_arrays(other.scores.chunks)), "to the last bit"


def _invalid(*tokens):
    data = b"".join(tokens)
    offsets = np.cumsum([0, *map(len, tokens)]).astype(np.int32)
    return pa.Array.from_buffers(pa.string(), len(tokens), [None, pa.py_buffer(offsets), pa.py_buffer(data)])


def test_bad_tokens_are_named_by_row(subword):
    column = pa.array([["the"], ["cat", None], None, [None]])
    assert bad_rows(column) == {1: "a null token", 3: "a null token"}
    with pytest.raises(InputError, match=r"2 rows cannot be tagged \(row 1: a null token; row 3.*bad_rows"):
        tag_lists(subword, column)
    values = _invalid(b"the", b"\xff", b"cat", b"\xed\xa0\x80")
    broken = pa.ListArray.from_arrays(pa.array([0, 1, 2, 4], pa.int32()), values)
    assert bad_rows(broken) == {1: "a token that is not valid UTF-8", 2: "a token that is not valid UTF-8"}
    with pytest.raises(InputError, match="row 1: a token that is not valid"):
        tag_lists(subword, broken)
    assert bad_rows(broken.slice(1)) == {0: "a token that is not valid UTF-8", 1: "a token that is not valid UTF-8"}
    assert bad_rows(pa.array([["null"], []])) == {}


def test_rows_of_later_pieces_have_their_own_numbers(monkeypatch, subword):
    monkeypatch.setattr(columns, "PIECE_TOKENS", 10)
    monkeypatch.setattr(columns, "_PIECE_BATCHES", 0)
    with pytest.raises(InputError, match="row 40: a null token"):
        tag_lists(subword, pa.array([["the", "cat"]] * 40 + [[None]]))


def test_bad_texts_are_named_by_row():
    assert bad_rows(pa.array(["a", None, ""])) == {1: "null text"}
    assert bad_rows(pa.chunked_array([_invalid(b"a", b"\xc3"), _invalid(b"\xff")])) == {
        1: "text that is not valid UTF-8",
        2: "text that is not valid UTF-8",
    }
    assert bad_rows(pa.array([None, None])) == {0: "null text", 1: "null text"}
    assert bad_rows(pa.array(["a", "b", "a"]).dictionary_encode()) == {}


@pytest.mark.parametrize(("model", "error"), [(CHARACTERS_CRF, UnknownWordError), (CHARACTERS, UnknownCharacterError)])
def test_words_that_a_model_has_not_are_named_by_row(model, error):
    predictor = Predictor.load(model)
    column = pa.array([["the"], None, ["the", "Ω"], ["cat"]])
    assert list(bad_rows(column, predictor)) == [2]
    with pytest.raises(error, match=r"^row 2: the model has no"):
        tag_lists(predictor, column)
    # A word that only the dictionary has is no token.
    unused = pa.DictionaryArray.from_arrays(pa.array([0, 2], pa.int32()), pa.array(["the", "Ω", "cat"]))
    lists = pa.ListArray.from_arrays(pa.array([0, 2], pa.int32()), unused)
    assert tag_lists(predictor, lists).tags.to_pylist() == _expected(predictor, [["the", "cat"]])


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([["the"]], "got list"),
        (pa.array(["the"]), "one of text"),
        (pa.array([[1]]), "got list<"),
        (pa.array([1]), "got int64"),
        (pa.array([[["a"]]]), "got list<"),
    ],
)
def test_other_columns_are_refused(subword, column, message):
    with pytest.raises(TypeError, match=message):
        tag_lists(subword, column)


def test_pieces_in_flight(subword):
    parts = [pa.array(_many(50, seed)) for seed in range(4)]
    works = [start_lists(subword, part) for part in parts]
    for work, part in reversed(list(zip(works, parts, strict=True))):
        assert work.result().tags.to_pylist() == _expected(subword, part.to_pylist())
    start_lists(subword, parts[0]).cancel()


@given(st.lists(st.none() | st.lists(st.none() | st.binary(max_size=4), max_size=3), max_size=6), st.integers(0, 5))
@settings(max_examples=300)
def test_a_column_is_clean_where_no_row_is_bad_or_null(given, start):
    raw = pa.array(given, pa.list_(pa.binary()))
    lists = pa.ListArray.from_arrays(raw.offsets, raw.values.view(pa.string()), mask=raw.is_null())
    for column in (lists.slice(start), lists.slice(0, start)):
        assert is_clean(column) == (not bad_rows(column) and not column.null_count)
    text = raw.values.view(pa.string()).slice(start)
    assert is_clean(text) == (not bad_rows(text))
