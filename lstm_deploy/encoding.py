"""Tokens -> the arrays a model takes. Training and prediction both call `Encoder.encode`."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .batching import rounded_up
from .errors import OutOfMemoryError
from .features import SubwordFeatures
from .lifetimes import lock_across_forks
from .vocabulary import CharacterVocabulary, Vocabulary

Inputs = dict[str, NDArray[np.int32]]
"""Kind -> array: ``word_ids`` (batch, sequence), ``subword_ids`` (batch, sequence, feature), ``char_ids`` (batch,
sequence, character) with ``char_lengths`` (batch, sequence), ``lengths`` (batch,). A model has those it takes."""

_MAX_CACHED_TYPES = 2**16
_MAX_CACHED_CHARACTERS = 2**22
_PADDING_ROW = 0
MOST_SPELT = 2**21
"""Tokens of a sentence times characters of its longest token, at most: a model of characters spells each token as wide
as the longest, and takes a kilobyte or two for each place."""
_growing = lock_across_forks()


class Encoder:
    """Turns batches of sentences into padded id arrays; ids of a word are worked out once and kept.

    Thread-safe. The cache of word types starts afresh past 65,536 of them or 4 million characters in all, so that
    an endless stream of new words, however long, takes bounded memory.

    Args:
        vocabulary: for a model with ``word_ids``.
        features: for one with ``subword_ids``.
        characters: for one with ``char_ids`` and ``char_lengths``.
    """

    def __init__(
        self,
        vocabulary: Vocabulary | None,
        features: SubwordFeatures | None = None,
        characters: CharacterVocabulary | None = None,
    ) -> None:
        self.vocabulary = vocabulary
        self.features = features
        self.characters = characters
        self._types = self._new_table()

    def encode(self, sentences: Sequence[Sequence[str]], *, rounded: bool = False) -> Inputs:
        """The model inputs for ``sentences``, padded to the longest of them; all int32.

        Args:
            sentences: at least one sentence of tokens; an empty one becomes a row of padding.
            rounded: round each axis up to one of few sizes: more columns of padding, and more rows of nothing else.

        Raises:
            TypeError: a token that is not a string.
            UnknownWordError, UnknownCharacterError: one that the model has no id for.
            OutOfMemoryError: more than `MOST_SPELT`, for a model of characters.
        """
        types = self._table()
        lengths = np.fromiter(map(len, sentences), np.int32, len(sentences))
        flat = list(map(types.__getitem__, chain.from_iterable(sentences)))
        return self._padded(types, flat, lengths, rounded)

    def types(self, words: Sequence[str]) -> "Types":
        """What `encode_rows` needs of ``words``, each of which is looked up once however many tokens it is.

        Raises:
            TypeError: a word that is not a string.
            UnknownWordError, UnknownCharacterError: one that the model has no id for.
        """
        table = self._table()
        return Types(table, np.fromiter(map(table.__getitem__, words), np.int32, len(words)))

    def encode_rows(
        self, types: "Types", rows: NDArray[np.int32], lengths: NDArray[np.int32], *, rounded: bool = False
    ) -> Inputs:
        """`encode` for sentences whose tokens are numbers.

        Args:
            types: what `types` gave.
            rows: (tokens,) of each token, one sentence after another, the number that ``types.rows`` has for its word.
            lengths: (batch,) tokens of each sentence, at least one of them.
            rounded: as for `encode`.
        """
        return self._padded(types.table, rows, lengths, rounded)

    def _padded(
        self, types: "_TypeTable", flat: "list[int] | NDArray[np.int32]", lengths: NDArray[np.int32], rounded: bool
    ) -> Inputs:
        shape = len(lengths), int(lengths.max())
        if rounded:
            shape = rounded_up(shape[0]), rounded_up(shape[1])
            lengths = np.concatenate([lengths, np.zeros(shape[0] - len(lengths), np.int32)])
        rows = np.full(shape, _PADDING_ROW, np.int32)  # (batch, sequence)
        rows[np.arange(rows.shape[1], dtype=np.int32) < lengths[:, None]] = flat
        return self._inputs(types, rows, lengths, rounded)

    def encode_one(self, tokens: Sequence[str]) -> Inputs:
        """`encode` for a single sentence of at least one token, with less work around it."""
        types = self._table()
        rows = np.array([list(map(types.__getitem__, tokens))], np.int32)
        return self._inputs(types, rows, np.array([len(tokens)], np.int32))

    def _table(self) -> "_TypeTable":
        if self._types.is_full():
            self._types = self._new_table()
        return self._types

    def _new_table(self) -> "_TypeTable":
        return _TypeTable(self.vocabulary, self.features, self.characters)

    def _inputs(
        self, types: "_TypeTable", rows: NDArray[np.int32], lengths: NDArray[np.int32], rounded: bool = False
    ) -> Inputs:
        # The tables are taken after the look-ups: by now they hold every row just looked up.
        inputs: Inputs = {}
        if self.vocabulary:
            inputs["word_ids"] = types.word_ids.take(rows)
        if self.features:
            inputs["subword_ids"] = types.subword_ids.take(rows, axis=0)
        if self.characters:
            inputs["char_ids"], inputs["char_lengths"] = types.spelt(rows, rounded)
        inputs["lengths"] = lengths
        return inputs


def row_of(inputs: Inputs, row: int) -> Inputs:
    """The inputs of one row alone, without its padding, as a batch of 1."""
    length = int(inputs["lengths"][row])
    alone = {
        kind: ids[row : row + 1] if kind == "lengths" else ids[row : row + 1, :length] for kind, ids in inputs.items()
    }
    if "char_ids" in alone:
        width = max(int(alone["char_lengths"].max(initial=0)), 1)
        alone["char_ids"] = alone["char_ids"][..., :width]
    return {kind: np.ascontiguousarray(ids) for kind, ids in alone.items()}


def ragged_ids(inputs: Inputs, row: int) -> dict[str, list[Any]]:
    """The ids of one row as nested lists without any padding, and without the lengths, which are those of the lists."""
    alone = row_of(inputs, row)
    ids = {kind: values[0].tolist() for kind, values in alone.items() if kind not in ("lengths", "char_lengths")}
    if "char_ids" in ids:
        counts = alone["char_lengths"][0].tolist()
        ids["char_ids"] = [token[:count] for token, count in zip(ids["char_ids"], counts, strict=True)]
    return ids


@dataclass(frozen=True)
class Types:
    """Words looked up, with the table in which: the encoder may have another one by the time they are encoded.

    Attributes:
        table: the encoder's own.
        rows: (words,) where each is in it.
    """

    table: "_TypeTable"
    rows: NDArray[np.int32]


class _TypeTable(dict[str, int]):
    """Word type -> row of growing tables, filled as words are met.

    Characters of all types lie one after another, for each row from ``starts`` on, ``counts`` of them: a table
    padded to the longest word would take what one word of 10,000 characters asks for. At 0 lies padding.
    """

    def __init__(
        self,
        vocabulary: Vocabulary | None,
        features: SubwordFeatures | None,
        characters: CharacterVocabulary | None,
    ) -> None:
        super().__init__()
        self._vocabulary = vocabulary
        self._features = features
        self._characters = characters
        self._size = _PADDING_ROW + 1
        self._held = 0  # characters of the types themselves
        self._spelt_size = 1
        self.word_ids = np.full(1024, vocabulary.padding_id if vocabulary else 0, np.int32)  # (type,)
        self.subword_ids = np.zeros((1024, len(features.templates) if features else 0), np.int32)  # (type, feature)
        self.starts = np.zeros(1024, np.int32)  # (type,)
        self.counts = np.zeros(1024, np.int32)  # (type,)
        self.char_ids = np.full(4096, characters.padding_id if characters else 0, np.int32)

    def is_full(self) -> bool:
        """Whether it holds as much as may be kept."""
        return len(self) > _MAX_CACHED_TYPES or max(self._held, self._spelt_size) > _MAX_CACHED_CHARACTERS

    def spelt(self, rows: NDArray[np.int32], rounded: bool = False) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Character ids (batch, sequence, character), as wide as the longest word, and how many each word has."""
        counts = self.counts.take(rows)
        width = max(int(counts.max(initial=0)), 1)
        if (cells := rows.shape[1] * width) > MOST_SPELT:
            raise OutOfMemoryError(
                f"{rows.shape[1]:,} tokens, the longest of {width:,} characters, are {cells:,} places; a model that "
                f"spells words takes {MOST_SPELT:,} at most; cut the long token, or the sentence (--window)"
            )
        positions = np.arange(rounded_up(width) if rounded else width, dtype=np.int32)
        where = self.starts.take(rows)[..., None] + positions
        where *= positions < counts[..., None]  # past a word's end: to 0, where padding lies
        return self.char_ids.take(where), counts

    def __missing__(self, token: str) -> int:
        if not isinstance(token, str):
            raise TypeError(f"a token must be a str, got {type(token).__name__}: {token!r:.60}")
        word_id = self._vocabulary.id(token) if self._vocabulary else 0
        feature_ids = self._features.ids(token) if self._features else ()
        char_ids = self._characters.ids(token) if self._characters else ()
        with _growing:
            if token in self:
                return self[token]
            row = self._size
            # Readers hold rows of the tables that they take after the look-up: grow by
            # replacing, fill before the row is published.
            if row == len(self.word_ids):
                names = ("word_ids", "subword_ids", "starts", "counts")
                # All before any is replaced: memory may run out between two, and they must stay as long as each other.
                for name, table in [(name, _doubled(getattr(self, name))) for name in names]:
                    setattr(self, name, table)
            start, end = self._spelt_size, self._spelt_size + len(char_ids)
            while end > len(self.char_ids):
                self.char_ids = _doubled(self.char_ids)
            self.word_ids[row] = word_id
            if self._features:
                self.subword_ids[row] = feature_ids
            self.starts[row], self.counts[row] = start, len(char_ids)
            self.char_ids[start:end] = char_ids
            self._spelt_size = end
            self._held += len(token)
            self._size = row + 1
            self[token] = row
        return row


def _doubled(table: NDArray[np.int32]) -> NDArray[np.int32]:
    return np.concatenate([table, np.zeros_like(table)])
