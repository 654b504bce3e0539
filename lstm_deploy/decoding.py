"""Scores of a batch -> tags and probabilities of each sentence."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .session import Scores


@dataclass(frozen=True, slots=True)
class TaggedSentence:
    """One sentence with a tag for each token.

    Attributes:
        tokens: as given.
        tags: one per token.
        scores: probability of each tag, from 0 to 1.
    """

    tokens: tuple[str, ...]
    tags: tuple[str, ...]
    scores: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True, slots=True)
class TaggedText(TaggedSentence):
    """A tagged text: ``text[start:end]`` is the token, for each (start, end) of ``offsets``."""

    text: str
    offsets: tuple[tuple[int, int], ...]


def decode(
    sentences: Sequence[Sequence[str]], lengths: NDArray[np.int32], scores: Scores, tags: NDArray[np.object_]
) -> list[TaggedSentence]:
    """One result per sentence, of exactly its length.

    Args:
        sentences: the tokens of each row.
        lengths: (batch,) tokens in each row.
        scores: the model's answer for the batch.
        tags: (tags,) the tag with each id.
    """
    valid = np.arange(scores.tag_ids.shape[1]) < lengths[:, None]  # (batch, sequence)
    tag_ids = scores.tag_ids[valid]  # (tokens,)
    chosen = np.take_along_axis(scores.log_probs[valid], tag_ids[:, None], axis=1)[:, 0]
    flat_tags = tags[tag_ids].tolist()
    flat_scores = np.exp(chosen).tolist()
    results = []
    start = 0
    for sentence, length in zip(sentences, lengths.tolist(), strict=True):
        end = start + length
        results.append(TaggedSentence(tuple(sentence), tuple(flat_tags[start:end]), tuple(flat_scores[start:end])))
        start = end
    return results
