"""A batch as the engine runs it: sentences of strings, or rows of a flat column. Knows no session and no memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from .crf import Crf
from .decoding import FlatTags, TaggedSentence, check_chances, decode, probabilities
from .encoding import Encoder, Inputs, Types
from .session import Scores

_R = TypeVar("_R", covariant=True)


class Batch(Protocol, Generic[_R]):
    """Rows that run together, or in halves where memory is short."""

    @property
    def rows(self) -> int:
        """How many, at least 1."""

    @property
    def longest(self) -> int:
        """Tokens of the longest row."""

    @property
    def spelt(self) -> int:
        """Characters of the longest token, where the model spells them; else 1."""

    def halves(self) -> "tuple[Batch[_R], Batch[_R]]":
        """The same rows as two batches, of at least one each."""

    def inputs(self, rounded: bool) -> Inputs:
        """What the model takes; ``rounded`` as for `Encoder.encode`."""

    def results(self, inputs: Inputs, answer: Scores) -> list[_R]:
        """What the model's answer for these ``inputs`` says of each row, where it is not put elsewhere."""


@dataclass(frozen=True)
class SentenceBatch:
    """Sentences of strings; the results are tagged sentences.

    Attributes:
        sentences: the rows.
        encoder: of the model.
        tags: (tags,) the tag with each id.
        crf: the model's, if it ends in one.
    """

    sentences: list[tuple[str, ...]]
    encoder: Encoder
    tags: NDArray[np.object_]
    crf: Crf | None

    @property
    def rows(self) -> int:
        """How many."""
        return len(self.sentences)

    @property
    def longest(self) -> int:
        """Tokens of the longest row."""
        return max(map(len, self.sentences))

    @property
    def spelt(self) -> int:
        """Characters of the longest token, where the model spells them; else 1."""
        if self.encoder.characters is None:
            return 1
        return max((len(token) for tokens in self.sentences for token in tokens if isinstance(token, str)), default=1)

    def halves(self) -> "tuple[SentenceBatch, SentenceBatch]":
        """Two batches."""
        middle = len(self.sentences) // 2
        first, second = self.sentences[:middle], self.sentences[middle:]
        return (
            SentenceBatch(first, self.encoder, self.tags, self.crf),
            SentenceBatch(second, self.encoder, self.tags, self.crf),
        )

    def inputs(self, rounded: bool) -> Inputs:
        """What the model takes."""
        return self.encoder.encode(self.sentences, rounded=rounded)

    def results(self, inputs: Inputs, answer: Scores) -> list[TaggedSentence]:
        """A tagged sentence for each row."""
        rows = len(self.sentences)
        return decode(self.sentences, inputs["lengths"][:rows], answer.of_rows(rows), self.tags, self.crf)


class Column:
    """Sentences that lie one after another as numbers, and the room for what is found of them.

    Args:
        words: distinct tokens.
        indices: (tokens,) which of ``words`` each token is.
        lengths: (sentences,) tokens of each sentence.
        encoder: of the model.
        crf: the model's, if it ends in one.
        scores: whether to keep the probability of each tag.

    Attributes:
        lengths: as given.
        found: (tokens,) filled by batches as they end, each its own part.

    Raises:
        TypeError, UnknownWordError, UnknownCharacterError: a word that is no string, or that the model has no id for.
    """

    def __init__(
        self,
        words: Sequence[str],
        indices: NDArray[np.integer[Any]],
        lengths: NDArray[np.int64],
        encoder: Encoder,
        crf: Crf | None,
        scores: bool,
    ) -> None:
        self.lengths = lengths
        self.encoder = encoder
        self.crf = crf
        self.types: Types = encoder.types(words)
        self.type_rows = self.types.rows.take(indices)  # (tokens,)
        self.starts = np.cumsum(lengths) - lengths
        self.found = FlatTags(np.empty(len(indices), np.int32), np.empty(len(indices), np.float32) if scores else None)

    def batch(self, which: list[int]) -> "ColumnBatch":
        """Sentences of these numbers, none of them empty, as a batch."""
        return ColumnBatch(self, np.array(which, np.int64))


@dataclass(frozen=True)
class ColumnBatch:
    """Some sentences of a column; the results are put into its room.

    Attributes:
        column: whose they are.
        which: (rows,) the number of each.
    """

    column: Column
    which: NDArray[np.int64]

    @property
    def rows(self) -> int:
        """How many."""
        return len(self.which)

    @property
    def longest(self) -> int:
        """Tokens of the longest row."""
        return int(self.column.lengths[self.which].max())

    @property
    def spelt(self) -> int:
        """Characters of the longest token, where the model spells them; else 1."""
        if self.column.encoder.characters is None:
            return 1
        rows = self.column.type_rows.take(self._places(self.column.lengths[self.which]))
        return max(int(self.column.types.table.counts.take(rows).max(initial=0)), 1)

    def halves(self) -> "tuple[ColumnBatch, ColumnBatch]":
        """Two batches."""
        middle = len(self.which) // 2
        return ColumnBatch(self.column, self.which[:middle]), ColumnBatch(self.column, self.which[middle:])

    def inputs(self, rounded: bool) -> Inputs:
        """What the model takes."""
        lengths = self.column.lengths[self.which].astype(np.int32)
        flat = self.column.type_rows.take(self._places(lengths))
        return self.column.encoder.encode_rows(self.column.types, flat, lengths, rounded=rounded)

    def results(self, inputs: Inputs, answer: Scores) -> list[Any]:
        """Nothing: they are put into the column's room."""
        answer = answer.of_rows(self.rows)
        lengths = inputs["lengths"][: self.rows]
        places, found = self._places(lengths), self.column.found
        valid = answer.tag_ids >= 0  # (batch, sequence): the graph marks padding
        found.tag_ids[places] = answer.tag_ids[valid]
        if found.scores is not None:
            chances = probabilities(answer, lengths, self.column.crf)
            assert chances is not None  # the answer has scores where the column has room for them
            found.scores[places] = check_chances(chances[valid])
        return []

    def _places(self, lengths: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """(tokens of the batch,) where each stands in the column, row by row."""
        ends = np.cumsum(lengths, dtype=np.int64)
        first = self.column.starts[self.which] - ends + lengths
        return np.repeat(first, lengths) + np.arange(ends[-1])
