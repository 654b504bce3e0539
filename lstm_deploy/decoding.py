"""Scores of a batch -> tags and probabilities of each sentence."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .session import Scores


@dataclass(slots=True, unsafe_hash=True)
class TaggedSentence:
    """One sentence with a tag for each token.

    Attributes:
        tokens: as given.
        tags: one per token.
        scores: probability of each tag, from 0 to 1; empty where scores were not asked for.
    """

    tokens: tuple[str, ...]
    tags: tuple[str, ...]
    scores: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(slots=True, unsafe_hash=True)
class TaggedText(TaggedSentence):
    """A tagged text: ``text[start:end]`` is the token, for each (start, end) of ``offsets``."""

    text: str
    offsets: tuple[tuple[int, int], ...]


def decode(
    sentences: Sequence[tuple[str, ...]], lengths: NDArray[np.int32], scores: Scores, tags: NDArray[np.object_]
) -> list[TaggedSentence]:
    """One result per sentence, of exactly its length.

    Args:
        sentences: the tokens of each row.
        lengths: (batch,) tokens in each row.
        scores: the model's answer for the batch; without ``log_probs`` the results have no scores.
        tags: (tags,) the tag with each id.
    """
    valid = scores.tag_ids >= 0  # (batch, sequence): the graph marks padding
    flat_tags = tuple(tags[scores.tag_ids[valid]].tolist())
    ends = np.add.accumulate(lengths).tolist()
    spans = list(zip([0, *ends], ends, strict=False))
    if scores.log_probs is None:
        return [
            TaggedSentence(tokens, flat_tags[start:end], ())
            for tokens, (start, end) in zip(sentences, spans, strict=True)
        ]
    flat_scores = tuple(np.exp(scores.log_probs.max(-1)[valid]).tolist())  # the best tag's is the largest
    return [
        TaggedSentence(tokens, flat_tags[start:end], flat_scores[start:end])
        for tokens, (start, end) in zip(sentences, spans, strict=True)
    ]


def decode_one(tokens: tuple[str, ...], scores: Scores, tags: Sequence[str]) -> TaggedSentence:
    """`decode` for one sentence alone: few array calls, of which each is dear beside so little work."""
    found = tuple([tags[i] for i in scores.tag_ids[0].tolist()])
    if scores.log_probs is None:
        return TaggedSentence(tokens, found, ())
    return TaggedSentence(tokens, found, tuple(np.exp(scores.log_probs[0].max(-1)).tolist()))
