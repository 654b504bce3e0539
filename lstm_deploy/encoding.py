"""Tokens -> the arrays a model takes. Training and prediction both call `Encoder.encode`."""

import threading
from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from .features import SubwordFeatures
from .vocabulary import Vocabulary

Inputs = dict[str, NDArray[np.int32]]
"""Kind -> array: ``word_ids`` (batch, sequence), ``subword_ids`` (batch, sequence, feature), ``lengths`` (batch,)."""

_MAX_CACHED_TYPES = 2**16
_PADDING_ROW = 0


class Encoder:
    """Turns batches of sentences into padded id arrays; ids of a word are worked out once and kept.

    Thread-safe. The cache of word types starts afresh past 65,536 of them, so that an endless
    stream of new words takes bounded memory.
    """

    def __init__(self, vocabulary: Vocabulary, features: SubwordFeatures | None) -> None:
        self.vocabulary = vocabulary
        self.features = features
        self._types = _TypeTable(vocabulary, features)

    def encode(self, sentences: Sequence[Sequence[str]]) -> Inputs:
        """The model inputs for ``sentences``, padded to the longest of them; all int32.

        Args:
            sentences: at least one sentence of tokens; an empty one becomes a row of padding.

        Raises:
            TypeError: a token that is not a string.
        """
        types = self._table()
        lengths = np.fromiter(map(len, sentences), np.int32, len(sentences))
        flat = list(map(types.__getitem__, chain.from_iterable(sentences)))
        rows = np.full((len(sentences), int(lengths.max())), _PADDING_ROW, np.int32)  # (batch, sequence)
        rows[np.arange(rows.shape[1], dtype=np.int32) < lengths[:, None]] = flat
        return self._inputs(types, rows, lengths)

    def encode_one(self, tokens: Sequence[str]) -> Inputs:
        """`encode` for a single sentence of at least one token, with less work around it."""
        types = self._table()
        rows = np.array([list(map(types.__getitem__, tokens))], np.int32)
        return self._inputs(types, rows, np.array([len(tokens)], np.int32))

    def _table(self) -> "_TypeTable":
        if len(self._types) > _MAX_CACHED_TYPES:
            self._types = _TypeTable(self.vocabulary, self.features)
        return self._types

    def _inputs(self, types: "_TypeTable", rows: NDArray[np.int32], lengths: NDArray[np.int32]) -> Inputs:
        # The tables are taken after the look-ups: by now they hold every row just looked up.
        if self.features is None:
            return {"word_ids": types.word_ids.take(rows), "lengths": lengths}
        subword_ids = types.subword_ids.take(rows, axis=0)
        return {"word_ids": types.word_ids.take(rows), "subword_ids": subword_ids, "lengths": lengths}


class _TypeTable(dict[str, int]):
    """Word type -> row of two growing tables, filled as words are met."""

    def __init__(self, vocabulary: Vocabulary, features: SubwordFeatures | None) -> None:
        super().__init__()
        self._vocabulary = vocabulary
        self._features = features
        self._lock = threading.Lock()
        self._size = _PADDING_ROW + 1
        self.word_ids = np.full(1024, vocabulary.padding_id, np.int32)  # (type,)
        self.subword_ids = np.zeros((1024, len(features.templates) if features else 0), np.int32)  # (type, feature)

    def __missing__(self, token: str) -> int:
        if not isinstance(token, str):
            raise TypeError(f"a token must be a str, got {type(token).__name__}: {token!r:.60}")
        word_id = self._vocabulary.id(token)
        feature_ids = self._features.ids(token) if self._features else ()
        with self._lock:
            if token in self:
                return self[token]
            row = self._size
            if row == len(self.word_ids):
                # Readers hold rows of the table that they take after the look-up: grow by
                # replacing, fill before the row is published.
                self.word_ids = np.concatenate([self.word_ids, np.zeros_like(self.word_ids)])
                self.subword_ids = np.concatenate([self.subword_ids, np.zeros_like(self.subword_ids)])
            self.word_ids[row] = word_id
            if self._features:
                self.subword_ids[row] = feature_ids
            self._size = row + 1
            self[token] = row
        return row
