"""Vocabulary, features and encoding: tokens to ids."""

import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_deploy.encoding import Encoder
from lstm_deploy.features import DEFAULT_TEMPLATES, SubwordFeatures, shape
from lstm_deploy.vocabulary import Vocabulary


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
        (["a"], {"unknown_id": 0, "padding_id": -1}, "padding_id is -1"),
        (["a"], {"unknown_id": 0, "padding_id": 0, "case": "upper"}, "'upper' is not known"),
    ],
)
def test_bad_vocabularies_are_refused(words, options, message):
    with pytest.raises(ValueError, match=message):
        Vocabulary(words, **options)


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("Lstm-2024", "Xxxx-dddd"),
        ("internationalisation", "xxxx"),
        ("A", "X"),
        ("東京", "xx"),
        (".....", "...."),
        ("", ""),
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


@pytest.mark.parametrize("options", [{"templates": ()}, {"templates": ("middle",)}, {"buckets": 0}])
def test_bad_feature_specs_are_refused(options):
    with pytest.raises(ValueError):
        SubwordFeatures(**options)


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


def test_threads_that_meet_new_words_at_once_agree():
    vocabulary, features = Vocabulary.from_words(f"w{i}" for i in range(0, 20_000, 3)), SubwordFeatures(buckets=999)
    shared = Encoder(vocabulary, features)
    jobs = [[f"w{(i * step) % 20_000}" for i in range(3_000)] for step in range(1, 17)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda words: shared.encode([words]), jobs))
    for words, inputs in zip(jobs, found, strict=True):
        expected = Encoder(vocabulary, features).encode([words])
        for name, value in expected.items():
            np.testing.assert_array_equal(inputs[name], value)


def test_a_token_that_is_no_string_is_named():
    encoder = Encoder(Vocabulary.from_words([]), None)
    with pytest.raises(TypeError, match="must be a str, got int: 7"):
        encoder.encode([["a", 7]])
