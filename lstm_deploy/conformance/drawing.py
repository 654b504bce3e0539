"""Ragged batches of ids drawn over everything that text can map to, not from text."""

import numpy as np
from numpy.typing import NDArray

from ..encoding import Inputs
from ..metadata import ModelMetadata
from ..vocabulary import CharacterVocabulary, Vocabulary

_UNKNOWN_RATE = 0.5
_MAX_CHARACTERS = 12


def draw(metadata: ModelMetadata, random: np.random.Generator, batch: int, length: int) -> Inputs:
    """A ragged batch whose longest row has ``length`` tokens; ids and lengths at padding are random too.

    Only ids that text can map to are drawn.
    """
    lengths = random.integers(1, length + 1, batch).astype(np.int32)
    lengths[random.integers(batch)] = length
    inputs: Inputs = {}
    if metadata.vocabulary:
        inputs["word_ids"] = _draw_words(metadata.vocabulary, random, (batch, length))
    if metadata.features and metadata.vocabulary:
        shape = (batch, length, len(metadata.features.templates))
        inputs["subword_ids"] = random.integers(0, metadata.features.buckets, shape, dtype=np.int32)
        for where in np.ndindex(batch, length):
            word = metadata.vocabulary.words[inputs["word_ids"][where]]
            if word is not None:  # a known word has its own features, an unknown one any
                inputs["subword_ids"][where] = metadata.features.ids(word)
    if characters := metadata.characters:
        inputs["char_lengths"] = random.integers(1, _MAX_CHARACTERS + 1, (batch, length), dtype=np.int32)
        inputs["char_ids"] = random.choice(_reachable(characters), (batch, length, _MAX_CHARACTERS))
        # A tagger that was not trained here may read what stands after a word's characters.
        beyond = np.arange(_MAX_CHARACTERS) >= inputs["char_lengths"][..., None]
        inputs["char_ids"][beyond] = characters.padding_id
    return inputs | {"lengths": lengths}


def _draw_words(vocabulary: Vocabulary, random: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.int32]:
    """Half of them known, half unknown, if there is an unknown word."""
    word_ids = random.choice(_reachable(vocabulary), shape)
    if vocabulary.unknown_id is not None:
        word_ids[random.random(shape) < _UNKNOWN_RATE] = vocabulary.unknown_id
    return word_ids


def _reachable(table: Vocabulary | CharacterVocabulary) -> NDArray[np.int32]:
    """The ids that some text maps to."""
    entries = table.words if isinstance(table, Vocabulary) else table.characters
    return np.array([i for i, entry in enumerate(entries) if entry is not None or i == table.unknown_id], np.int32)
