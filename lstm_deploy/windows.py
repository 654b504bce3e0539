"""Long sentences in overlapping windows, of which only the middles are kept. Knows no models."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .decoding import TaggedSentence

WINDOW = 128
MARGIN = 32
"""Where the tags of UD English EWT no longer change with it (measured in benchmarks/NOTES.md)."""


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a sentence: tokens ``start:stop`` are tagged, the answers for its tokens ``first:last`` are kept."""

    start: int
    stop: int
    first: int
    last: int


def plan_windows(length: int, *, window: int = WINDOW, margin: int = MARGIN) -> list[Window]:
    """Windows that keep each of ``length`` tokens once, in order.

    A sentence of up to ``window + 2 * margin`` tokens, the most that is tagged at a time, is one window: the whole.

    Args:
        window: tokens of each whose answers are kept.
        margin: tokens before and after them that are tagged for their context alone.

    Raises:
        ValueError: ``window`` below 1 or ``margin`` below 0.
    """
    if window < 1 or margin < 0:
        raise ValueError(f"window={window}, margin={margin}; expected a window of 1 or more and a margin of 0 or more")
    if length <= window + 2 * margin:
        return [Window(0, length, 0, length)]
    return [
        Window(max(first - margin, 0), min(first + window + margin, length), first, min(first + window, length))
        for first in range(0, length, window)
    ]


def join_windows(tokens: Sequence[str], windows: Sequence[Window], results: Iterable[TaggedSentence]) -> TaggedSentence:
    """The sentence with the answers that its windows keep.

    Args:
        tokens: of the whole sentence.
        results: the answer to the tokens of each window.
    """
    tags: list[str] = []
    scores: list[float] = []
    for window, result in zip(windows, results, strict=True):
        kept = slice(window.first - window.start, window.last - window.start)
        tags += result.tags[kept]
        scores += result.scores[kept]
    return TaggedSentence(tuple(tokens), tuple(tags), tuple(scores))
