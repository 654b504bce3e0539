"""Vocabulary, features and encoding: tokens to ids."""

import importlib.util
import re
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_deploy import encoding
from lstm_deploy.encoding import Encoder, ragged_ids, row_of
from lstm_deploy.errors import UnknownCharacterError, UnknownWordError
from lstm_deploy.features import DEFAULT_TEMPLATES, SubwordFeatures, shape
from lstm_deploy.vocabulary import CharacterVocabulary, Vocabulary


def test_ids_are_positions():
    vocabulary = Vocabulary.from_words(["The", "cat"])
    assert vocabulary.words == (None, None, "The", "cat")
    assert [vocabulary.id(word) for word in ("The", "cat", "the", "dog")] == [2, 3, 1, 1]
    assert "The" in vocabulary
    assert "dog" not in vocabulary


def test_lower_case_policy():
    vocabulary = Vocabulary.from_words(["the"], case="lower")
    assert vocabulary.id("THE") == vocabulary.id("the") == 2


def test_text_never_maps_to_a_special_id():
    vocabulary = Vocabulary.from_words(["<unk>", "None"])
    assert vocabulary.id("<unk>") == 2
    assert vocabulary.id("<pad>") == vocabulary.unknown_id == 1


@pytest.mark.parametrize(
    ("words", "options", "message"),
    [
        (["a", "a"], {"unknown_id": 0, "padding_id": 0}, "a word twice"),
        (["a"], {"unknown_id": 1, "padding_id": 0}, "unknown_id is 1"),
        (["a"], {"unknown_id": 0, "padding_id": -1}, "^padding_id is -1, outside the 1 rows of the vocabulary$"),
        (["a"], {"unknown_id": -1, "padding_id": 0}, "unknown_id is -1"),
        (
            ["a"],
            {"unknown_id": 0, "padding_id": 0, "case": "upper"},
            r"^case policy 'upper' is not known \(keep, lower\)$",
        ),
    ],
)
def test_bad_vocabularies_are_refused(words, options, message):
    with pytest.raises(ValueError, match=message):
        Vocabulary(words, **options)
    with pytest.raises(ValueError, match=message.replace("word", "character")):
        CharacterVocabulary(words, **options)


def test_without_an_unknown_word_a_word_that_is_not_there_is_an_error_that_names_it():
    vocabulary = Vocabulary(["the", "cat"], unknown_id=None, padding_id=0, case="lower")
    assert vocabulary.id("Cat") == 1
    message = (
        "the model has no word 'Dog' and no unknown word to take for it; expected one of its 2 words; export again "
        "with --unknown WORD where the vocabulary has a word for unseen ones, else train with one"
    )
    with pytest.raises(UnknownWordError, match=f"^{re.escape(message)}$"):
        vocabulary.id("Dog")
    encoder = Encoder(vocabulary)
    for call in (lambda: encoder.encode([["the"], ["cat", "Dog"]]), lambda: encoder.encode_one(["Dog"])):
        with pytest.raises(UnknownWordError, match="'Dog'"):
            call()
    np.testing.assert_array_equal(encoder.encode([["cat"]])["word_ids"], [[1]])


def test_characters_are_code_points_after_the_case_policy():
    characters = CharacterVocabulary([None, None, "e", "\u0301", "𝔘", "i"], unknown_id=1, padding_id=0)
    assert characters.ids("e\u0301𝔘x") == [2, 3, 4, 1]
    assert characters.ids("İ") == [1]
    lowered = CharacterVocabulary(["_", "i", "\u0307"], unknown_id=None, padding_id=0, case="lower")
    assert lowered.ids("İ") == [1, 2]


def test_a_character_that_is_not_there_is_unknown_or_an_error_that_names_it():
    characters = CharacterVocabulary(["_", "a"], unknown_id=None, padding_id=0)
    message = (
        "the model has no character 'é' (U+00E9, in 'aé') and no unknown character to take for it; expected one of its "
        "2 characters; export again with an unknown character in its spec"
    )
    with pytest.raises(UnknownCharacterError, match=f"^{re.escape(message)}$"):
        characters.ids("aé")


def test_an_empty_token_is_one_character():
    assert CharacterVocabulary(["a", None, "b"], unknown_id=1, padding_id=0).ids("") == [1]
    assert CharacterVocabulary(["a", None, "b"], unknown_id=None, padding_id=2).ids("") == [2]


def test_a_string_of_two_characters_is_no_character():
    with pytest.raises(ValueError, match="'ab' is not one character"):
        CharacterVocabulary(["a", "ab"], unknown_id=None, padding_id=0)


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("Lstm-2024", "Xxxx-dddd"),
        ("internationalisation", "xxxx"),
        ("A", "X"),
        ("東京", "xx"),
        (".....", "...."),
        ("", ""),
        ("aaaaaBaaaaa", "xxxxXxxxx"),
        ("a\u0301\u00b2½-5", "xxdd-d"),
    ],
)
def test_shape(token, expected):
    assert shape(token) == expected


def test_features_are_crc32_of_template_and_value():
    strings = [
        "lower=straße", "prefix1=s", "prefix2=st", "prefix3=str",
        "suffix1=e", "suffix2=ße", "suffix3=aße", "suffix4=raße", "shape=Xxxxx",
    ]  # fmt: skip
    expected = [zlib.crc32(string.encode()) % 1000 for string in strings]
    assert SubwordFeatures(buckets=1000).ids("Straße") == expected


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"templates": ()}, "^feature templates missing; known: lower, prefix1, "),
        ({"templates": ("lower", "middle")}, r"^feature templates \['middle'\]; known: lower, "),
        ({"buckets": 0}, "^0 feature buckets; expected 1 to 2,147,483,647$"),
    ],
)
def test_bad_feature_specs_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        SubwordFeatures(**options)


def test_as_many_buckets_as_ids_can_tell_apart():
    assert max(SubwordFeatures(buckets=2**31 - 1).ids("Ann")) < 2**31 - 1
    with pytest.raises(ValueError, match=r"^2147483648 feature buckets"):
        SubwordFeatures(buckets=2**31)


def test_one_bucket_takes_all_features():
    assert SubwordFeatures(("lower", "shape"), 1).ids("Ann") == [0, 0]


def test_prefixes_and_suffixes_are_those_of_the_lower_cased_form():
    spec = importlib.util.find_spec("lstm_deploy.features")
    features = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(features)  # the templates are made when the module is
    found = {name: template("STRASSE", "strasse") for name, template in features.TEMPLATES.items()}
    assert found == {
        "lower": "strasse",
        **{f"prefix{n}": "strasse"[:n] for n in range(1, 7)},
        **{f"suffix{n}": "strasse"[7 - n :] for n in range(1, 7)},
        "shape": "XXXX",
    }
    assert features.TEMPLATES["suffix6"]("ab", "ab") == features.TEMPLATES["prefix6"]("ab", "ab") == "ab"


@given(st.text())
def test_feature_ids_are_in_range_and_depend_on_the_token_alone(token):
    features = SubwordFeatures(buckets=37)
    ids = features.ids(token)
    assert len(ids) == len(DEFAULT_TEMPLATES)
    assert all(0 <= i < 37 for i in ids)
    assert ids == SubwordFeatures(buckets=37).ids(token)


def test_encoded_batch_is_padded_and_ragged():
    encoder = Encoder(Vocabulary.from_words(["a", "b"]), SubwordFeatures(("lower", "shape"), 10))
    inputs = encoder.encode([["a", "x", "b"], [], ["b"]])
    np.testing.assert_array_equal(inputs["word_ids"], [[2, 1, 3], [0, 0, 0], [3, 0, 0]])
    np.testing.assert_array_equal(inputs["lengths"], [3, 0, 1])
    np.testing.assert_array_equal(inputs["subword_ids"][2, 0], SubwordFeatures(("lower", "shape"), 10).ids("b"))
    assert (inputs["subword_ids"][1] == 0).all()
    assert all(value.dtype == np.int32 and value.flags.c_contiguous for value in inputs.values())


def test_more_word_types_than_the_cache_holds():
    encoder = Encoder(Vocabulary.from_words(["w7"]), SubwordFeatures(("suffix4",), 1000))
    for start in range(0, 140_000, 20_000):
        words = [f"w{i}" for i in range(start, start + 20_000)]
        inputs = encoder.encode([["w7", *words]])
        assert inputs["word_ids"][0, 0] == 2
        assert inputs["subword_ids"][0, -1, 0] == zlib.crc32(f"suffix4={words[-1][-4:]}".encode()) % 1000
    assert len(encoder._types) <= 2**16 + 20_001


def test_the_table_starts_afresh_past_so_many_words_and_past_so_many_characters(monkeypatch):
    monkeypatch.setattr(encoding, "_MAX_CACHED_TYPES", 3)
    encoder = Encoder(Vocabulary.from_words([]))
    encoder.encode([["a", "b", "c"]])
    assert not encoder._types.is_full()
    encoder.encode_one(["d"])
    assert encoder._types.is_full()
    encoder.types(["e"])
    assert list(encoder._types) == ["e"]
    monkeypatch.setattr(encoding, "_MAX_CACHED_CHARACTERS", 5)
    spelling = Encoder(None, None, LETTERS)
    spelling.encode([["abcd"]])  # with the padding 5
    assert not spelling._types.is_full()
    spelling.encode([["a"]])
    assert spelling._types.is_full()


def test_tables_grow_by_as_many_words_as_they_hold():
    encoder = Encoder(Vocabulary.from_words(["w2999"]), SubwordFeatures(("lower",), 99), LETTERS)
    words = [
        *("abcdefgh"[i % 8] * (1 + i % 5) + "abcdefgh"[i // 8 % 8] + "h" * (i // 64) for i in range(1500)),
        "w2999",
    ]
    inputs = encoder.encode([[word for word in words if word != "w2999"]])
    features = SubwordFeatures(("lower",), 99)
    assert inputs["subword_ids"][0].tolist() == [features.ids(word) for word in words[:-1]]
    assert inputs["char_lengths"][0].tolist() == [len(word) for word in words[:-1]]
    assert ragged_ids(inputs, 0)["char_ids"] == [LETTERS.ids(word) for word in words[:-1]]


def test_rounded_arrays_have_more_padding_and_the_same_ids():
    encoder = Encoder(Vocabulary.from_words(["a"]), SubwordFeatures(("lower",), 9), LETTERS)
    sentences = [["a", "abcdefgh" * 2 + "a"] * 9] * 17
    plain, rounded = encoder.encode(sentences), encoder.encode(sentences, rounded=True)
    kinds = ("word_ids", "subword_ids", "char_ids", "char_lengths", "lengths")
    assert [plain[kind].shape for kind in kinds] == [(17, 18), (17, 18, 1), (17, 18, 17), (17, 18), (17,)]
    assert [rounded[kind].shape for kind in kinds] == [(18, 18), (18, 18, 1), (18, 18, 18), (18, 18), (18,)]
    assert rounded["lengths"].tolist() == [18] * 17 + [0]
    assert all(value.dtype == np.int32 for value in rounded.values())
    for row in range(17):
        assert ragged_ids(rounded, row) == ragged_ids(plain, row)
    assert not any(ids[17].any() for ids in rounded.values())
    types = encoder.types(["a", "b"])
    rows = encoder.encode_rows(types, types.rows, np.array([1, 1], np.int32), rounded=True)
    for kind, ids in encoder.encode([["a"], ["b"]], rounded=True).items():
        np.testing.assert_array_equal(rows[kind], ids)


def test_threads_that_meet_new_words_at_once_agree():
    vocabulary, features = Vocabulary.from_words(f"w{i}" for i in range(0, 20_000, 3)), SubwordFeatures(buckets=999)
    shared = Encoder(vocabulary, features)
    jobs = [[f"w{(i * step) % 20_000}" for i in range(3_000)] for step in range(1, 17)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda words: shared.encode([words]), jobs))
    for words, inputs in zip(jobs, found, strict=True):
        expected = Encoder(vocabulary, features).encode([words])
        assert inputs.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_array_equal(inputs[name], value)


def test_a_token_that_is_no_string_is_named():
    encoder = Encoder(Vocabulary.from_words([]), None)
    with pytest.raises(TypeError, match="must be a str, got int: 7"):
        encoder.encode([["a", 7]])


LETTERS = CharacterVocabulary([None, *"abcdefgh"], unknown_id=None, padding_id=0)


def test_characters_are_padded_to_the_longest_word_of_the_batch():
    inputs = Encoder(None, None, LETTERS).encode([["a", "bcd"], [], ["ef"]])
    assert set(inputs) == {"char_ids", "char_lengths", "lengths"}
    np.testing.assert_array_equal(inputs["char_lengths"], [[1, 3], [0, 0], [2, 0]])
    expected = [[[1, 0, 0], [2, 3, 4]], [[0, 0, 0], [0, 0, 0]], [[5, 6, 0], [0, 0, 0]]]
    np.testing.assert_array_equal(inputs["char_ids"], expected)
    assert all(value.dtype == np.int32 and value.flags.c_contiguous for value in inputs.values())


def test_a_batch_of_empty_sentences_still_has_a_character_axis():
    inputs = Encoder(None, None, LETTERS).encode([[], []])
    assert inputs["char_ids"].shape == (2, 0, 1)


@given(st.lists(st.lists(st.text("abcdefgh", max_size=9), max_size=5), min_size=1, max_size=5))
def test_a_row_alone_is_the_row_encoded_alone(sentences):
    encoder = Encoder(Vocabulary.from_words(["a", "bc"]), SubwordFeatures(("lower",), 7), LETTERS)
    inputs = encoder.encode(sentences)
    for i, tokens in enumerate(sentences):
        alone = encoder.encode([tokens])
        for kind, ids in row_of(inputs, i).items():
            np.testing.assert_array_equal(ids, alone[kind])
        ids = ragged_ids(inputs, i)
        assert set(ids) == {"word_ids", "subword_ids", "char_ids"}
        assert ids["char_ids"] == [LETTERS.ids(token) for token in tokens]


def test_characters_of_more_words_than_the_cache_holds(monkeypatch):
    monkeypatch.setattr(encoding, "_MAX_CACHED_CHARACTERS", 5000)
    encoder = Encoder(None, None, LETTERS)
    for length in [1, 3000, 2, 4000, 9000, 5, 20_000]:
        word = "abcdefgh"[length % 8] * length
        inputs = encoder.encode([["a", word]])
        assert inputs["char_ids"].shape == (1, 2, length)
        assert (inputs["char_ids"][0, 1] == length % 8 + 1).all()
        assert inputs["char_ids"][0, 0, 0] == 1
    assert encoder._types.is_full()
    encoder.encode([["a"]])
    assert not encoder._types.is_full()


def test_threads_that_meet_new_spellings_at_once_agree():
    shared = Encoder(None, None, LETTERS)
    words = ["".join("abcdefgh"[(i // 8**k) % 8] for k in range(1 + i % 6)) for i in range(6_000)]
    jobs = [[words[(i * step) % len(words)] for i in range(2_000)] for step in range(1, 17)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda tokens: shared.encode([tokens]), jobs))
    for tokens, inputs in zip(jobs, found, strict=True):
        assert ragged_ids(inputs, 0)["char_ids"] == [LETTERS.ids(token) for token in tokens]
