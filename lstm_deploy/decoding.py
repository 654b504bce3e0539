"""Scores of a batch -> tags and probabilities of each sentence."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .crf import Crf
from .errors import ModelFileError
from .session import Scores

_CERTAIN = 1.001
"""The probability of a tag without a rival, as far as float32 may be off."""


@dataclass(slots=True, unsafe_hash=True)
class TaggedSentence:
    """One sentence with a tag for each token.

    Attributes:
        tokens: as given.
        tags: one per token.
        scores: probability of each tag, from 0 to 1: of the tag given the sentence, marginal over all other
            tags where the model ends in a CRF; empty where scores were not asked for.
    """

    tokens: tuple[str, ...]
    tags: tuple[str, ...]
    scores: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(slots=True, unsafe_hash=True)
class TaggedText(TaggedSentence):
    """A tagged text, or sentence of one: ``text[start:end]`` is the token, for each (start, end) of ``offsets``.

    White space within a token, which only a segmenter leaves there, is a single space in the token.
    """

    text: str
    offsets: tuple[tuple[int, int], ...]


@dataclass(slots=True, frozen=True)
class FlatTags:
    """Tags of many sentences that lie one after another, as numbers.

    Attributes:
        tag_ids: (tokens,) int32, positions in the ``tags`` of the model's metadata.
        scores: (tokens,) float32 probability of each tag, as `TaggedSentence.scores`; None where not asked for.
    """

    tag_ids: NDArray[np.int32]
    scores: NDArray[np.float32] | None


def decode(
    sentences: Sequence[tuple[str, ...]],
    lengths: NDArray[np.int32],
    scores: Scores,
    tags: NDArray[np.object_],
    crf: Crf | None = None,
) -> list[TaggedSentence]:
    """One result per sentence, of exactly its length.

    Args:
        sentences: the tokens of each row.
        lengths: (batch,) tokens in each row.
        scores: the model's answer for the batch; with tags alone the results have no scores.
        tags: (tags,) the tag with each id.
        crf: the model's, if it ends in one.
    """
    valid = scores.tag_ids >= 0  # (batch, sequence): the graph marks padding
    flat_tags = tuple(tags[scores.tag_ids[valid]].tolist())
    ends = np.add.accumulate(lengths).tolist()
    spans = list(zip([0, *ends], ends, strict=False))
    chances = probabilities(scores, lengths, crf)
    if chances is None:
        return [
            TaggedSentence(tokens, flat_tags[start:end], ())
            for tokens, (start, end) in zip(sentences, spans, strict=True)
        ]
    flat_scores = tuple(check_chances(chances[valid]).tolist())
    return [
        TaggedSentence(tokens, flat_tags[start:end], flat_scores[start:end])
        for tokens, (start, end) in zip(sentences, spans, strict=True)
    ]


def decode_one(tokens: tuple[str, ...], scores: Scores, tags: Sequence[str], crf: Crf | None = None) -> TaggedSentence:
    """`decode` for one sentence alone: few array calls, of which each is dear beside so little work."""
    found = tuple([tags[i] for i in scores.tag_ids[0].tolist()])
    chances = probabilities(scores, np.array([len(tokens)]), crf)
    return TaggedSentence(tokens, found, () if chances is None else tuple(check_chances(chances[0]).tolist()))


def check_chances(chances: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """``chances`` of any shape, of real tokens, if they can be probabilities.

    Raises:
        ModelFileError: they cannot; a graph whose weights are out of range gives nan.
    """
    if chances.size and not (chances.min() >= 0 and chances.max() <= _CERTAIN):
        raise ModelFileError(
            f"the model's scores are no probabilities (from {chances.min()} to {chances.max()}; expected 0 to 1); its "
            "file is damaged or was not made by `lstm-deploy export`: see `lstm-deploy verify`"
        )
    return chances


def probabilities(
    scores: Scores, lengths: NDArray[np.integer[Any]], crf: Crf | None
) -> NDArray[np.floating[Any]] | None:
    """(batch, sequence) of each chosen tag, unspecified at padding; None where there are tags alone."""
    if scores.log_probs is not None:
        return np.exp(scores.log_probs.max(-1))  # the best tag's is the largest
    if scores.emissions is None or crf is None:
        return None
    return crf.path_marginals(scores.emissions, lengths, scores.tag_ids)
