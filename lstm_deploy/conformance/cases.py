"""The batches that every runtime is tried with: ragged, empty, long, unknown, and the file's own golden cases."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..batching import plan_batches
from ..encoding import Encoder, Inputs
from ..metadata import ModelMetadata
from .drawing import draw

_SEED = 20_261_125
_GOLDEN_ROWS = 16
_CORPUS_BATCH_TOKENS = 4096


@dataclass(frozen=True)
class Case:
    """What is tried, under one name.

    Attributes:
        batches: each a batch of its own; kind -> ids, as `Encoder.encode` makes them.
        golden: for each batch the positions in the file's golden cases of its rows; empty where it is of none.
    """

    name: str
    batches: tuple[Inputs, ...]
    golden: tuple[tuple[int, ...], ...] = ()

    @property
    def tokens(self) -> int:
        """Real tokens in all batches."""
        return sum(int(batch["lengths"].sum()) for batch in self.batches)


def cases_of(metadata: ModelMetadata, sentences: Iterable[Sequence[str]] = ()) -> list[Case]:
    """All cases for a file.

    Args:
        sentences: of a corpus, a case of its own if there are any.
    """
    random = np.random.default_rng(_SEED)

    def drawn(*shapes: tuple[int, int]) -> tuple[Inputs, ...]:
        return tuple(draw(metadata, random, batch, length) for batch, length in shapes)

    cases = [
        *_golden(metadata),
        Case("ragged", drawn((2, 9), (7, 13), (12, 40))),
        Case("one row", drawn((1, 1), (1, 20))),
        Case("many rows", drawn((64, 12))),
        Case("long", drawn((3, 400))),
        Case("empty rows", tuple(_emptied(batch) for batch in drawn((5, 11), (9, 3)))),
        Case("only padding at the end", tuple(_cut(batch) for batch in drawn((4, 30), (9, 16)))),
    ]
    if (words := metadata.vocabulary) and words.unknown_id is not None:
        cases.append(Case("unknown words", tuple(_unknown(metadata, batch) for batch in drawn((1, 7), (9, 14)))))
    kept = [tuple(tokens) for tokens in sentences if tokens]
    if kept:
        encoder = Encoder(metadata.vocabulary, metadata.features, metadata.characters)
        plan = plan_batches([len(tokens) for tokens in kept], max_tokens=_CORPUS_BATCH_TOKENS)
        cases.append(Case("corpus", tuple(encoder.encode([kept[i] for i in rows]) for rows in plan)))
    return cases


def _golden(metadata: ModelMetadata) -> list[Case]:
    """Each golden case alone, then all of them in one batch of enough rows for what a graph does with many."""
    encoder = Encoder(metadata.vocabulary, metadata.features, metadata.characters)
    golden = metadata.golden
    numbers = [i for i, case in enumerate(golden) if case.tokens]
    if not numbers:
        return []
    groups = [(i,) for i in numbers] + [tuple(numbers * -(-_GOLDEN_ROWS // len(numbers)))]
    return [Case("golden", tuple(encoder.encode([golden[i].tokens for i in g]) for g in groups), tuple(groups))]


def _emptied(batch: Inputs) -> Inputs:
    """The first, a middle and the last row have no tokens."""
    lengths = batch["lengths"].copy()
    lengths[[0, len(lengths) // 2, -1]] = 0
    return batch | {"lengths": lengths}


def _cut(batch: Inputs) -> Inputs:
    """No row reaches the last third of the columns."""
    columns = next(ids for kind, ids in batch.items() if kind != "lengths").shape[1]
    return batch | {"lengths": np.minimum(batch["lengths"], columns * 2 // 3)}


def _unknown(metadata: ModelMetadata, batch: Inputs) -> Inputs:
    """Every word is unknown."""
    assert metadata.vocabulary is not None and metadata.vocabulary.unknown_id is not None
    return batch | {"word_ids": np.full_like(batch["word_ids"], metadata.vocabulary.unknown_id)}
