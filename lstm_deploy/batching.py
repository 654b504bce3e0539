"""Which sentences go together: batches of like length under a token budget, of few different shapes where asked."""

from collections.abc import Sequence

import numpy as np


def rounded_up(size: int) -> int:
    """The next size of few: those to 16, then 8 between each power of two and the next, so at most an eighth more.

    On CUDA each new shape costs plans and memory that are kept: few shapes keep both calm.
    """
    step = 1 << max(size.bit_length() - 4, 0)
    return -(-size // step) * step


def rounded_down(size: int) -> int:
    """The largest of those sizes that is no larger."""
    step = 1 << max(size.bit_length() - 4, 0)
    return size // step * step


def plan_batches(
    lengths: Sequence[int], *, max_tokens: int, workers: int = 1, least: int = 512, rounded: bool = False
) -> list[list[int]]:
    """Indices of the sentences of each batch, longest batch first.

    A batch takes sentences of neighbouring lengths, so that little of it is padding, and holds
    at most ``max_tokens`` cells (rows x longest row) unless a single sentence is longer. Empty
    sentences are in no batch. With several workers each batch is at most an equal share of what
    is left: the last ones are small, so that all workers end at about the same time (guided
    self-scheduling, Polychronopoulos and Kuck 1987).

    Args:
        lengths: tokens of each sentence.
        max_tokens: cells of a batch.
        workers: that share the batches.
        least: cells below which a batch is not made smaller only to share work out evenly.
        rounded: full batches are of few different shapes, and stay under ``max_tokens`` when `Encoder.encode` rounds
            theirs up.

    Raises:
        ValueError: ``max_tokens`` below 1.
    """
    if max_tokens < 1:
        raise ValueError(f"max_tokens is {max_tokens}; at least 1 is needed")
    counts = np.asarray(lengths, np.int64)
    order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)].tolist()
    left = int(counts.sum())
    small = min(least, -(-left // workers))
    batches: list[list[int]] = []
    start = 0
    while start < len(order):
        share = max_tokens if workers == 1 else min(max_tokens, max(-(-left // workers), small))
        if rounded:
            rows = rounded_down(max(share // rounded_up(lengths[order[start]]), 1))
        else:
            rows = max(share // lengths[order[start]], 1)
        end = start + rows
        batches.append(order[start:end])
        left -= sum(lengths[i] for i in batches[-1])
        start = end
    return batches
