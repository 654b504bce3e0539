"""Batches cut from flat arrays are those of the encoder, and hold every sentence once an epoch."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lstm_deploy.encoding import Encoder
from lstm_deploy.features import SubwordFeatures
from lstm_deploy.training.batches import EncodedSentences
from lstm_deploy.vocabulary import Vocabulary

TOKENS = st.text("abcXY", min_size=1, max_size=3)
SENTENCES = st.lists(st.lists(TOKENS, min_size=1, max_size=6), min_size=1, max_size=30)


def _encoder(subwords):
    return Encoder(Vocabulary.from_words(["a", "b", "ab"]), SubwordFeatures(buckets=50) if subwords else None)


@given(SENTENCES, st.booleans(), st.data())
def test_a_batch_is_what_the_encoder_makes(sentences, subwords, data):
    encoded = EncodedSentences(_encoder(subwords), sentences)
    chosen = np.array(data.draw(st.lists(st.integers(0, len(sentences) - 1), min_size=1, max_size=9)))
    inputs, places = encoded.batch(chosen)
    expected = _encoder(subwords).encode([sentences[i] for i in chosen])
    assert inputs.keys() == expected.keys()
    valid = np.arange(expected["word_ids"].shape[1]) < expected["lengths"][:, None]
    for kind, ids in expected.items():
        assert inputs[kind].dtype == ids.dtype
        assert inputs[kind].shape == ids.shape
        where = slice(None) if kind == "lengths" else valid
        np.testing.assert_array_equal(inputs[kind][where], ids[where])
    flat = [token for tokens in sentences for token in tokens]
    assert [flat[place] for place in places] == [token for i in chosen for token in sentences[i]]


@given(SENTENCES, st.integers(1, 7), st.integers(0, 9))
def test_every_sentence_comes_once_an_epoch(sentences, size, seed):
    encoded = EncodedSentences(_encoder(False), sentences)
    batches = list(encoded.batches(size, np.random.default_rng(seed)))
    assert sorted(i for batch in batches for i in batch.tolist()) == list(range(len(sentences)))
    assert max(map(len, batches)) <= size
    assert len(batches) == -(-len(sentences) // size)
    again = encoded.batches(size, np.random.default_rng(seed))
    assert [batch.tolist() for batch in again] == [batch.tolist() for batch in batches]
