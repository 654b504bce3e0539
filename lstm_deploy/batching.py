"""Which sentences go together: batches of like length under a token budget, and back in order."""

from collections.abc import Sequence


def plan_batches(lengths: Sequence[int], *, max_tokens: int, min_batches: int = 1) -> list[list[int]]:
    """Indices of the sentences of each batch, longest batch first.

    A batch takes sentences of neighbouring lengths, so that little of it is padding, and holds
    at most ``max_tokens`` cells (rows x longest row) unless a single sentence is longer. Empty
    sentences are in no batch. With ``min_batches`` > 1 the budget shrinks so that this many
    workers get something to do, where there are sentences enough.

    Raises:
        ValueError: ``max_tokens`` below 1.
    """
    if max_tokens < 1:
        raise ValueError(f"max_tokens is {max_tokens}; at least 1 is needed")
    if min_batches > 1:
        max_tokens = min(max_tokens, max(-(-sum(lengths) // min_batches), 1))
    order = sorted((i for i, n in enumerate(lengths) if n), key=lambda i: -lengths[i])
    batches: list[list[int]] = []
    longest = 0
    for i in order:
        if batches and (len(batches[-1]) + 1) * longest <= max_tokens:
            batches[-1].append(i)
        else:
            batches.append([i])
            longest = lengths[i]
    return batches
