"""Words, sentences and tags found in raw text against a treebank's: precision, recall and F1 of CoNLL 2018.

Zeman et al. 2018, "CoNLL 2018 Shared Task: Multilingual Parsing from Raw Text to Universal Dependencies", section 5.
Positions count characters that are not white space. A sentence is right if its first and last character are. A word is
right if they are, but for multiword tokens: their words and whatever was found there are aligned by a longest common
subsequence of forms, letter case aside. A tag is right if its word is aligned, and with a word of the same tag.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Any

from .formats.documents import Document
from .metadata import Column
from .scoring import rates, row
from .segmentation import Span
from .unicode14 import classes


@dataclass(frozen=True, slots=True)
class _Word:
    """``start`` to ``end`` is where it stands, of a word of a multiword token where all of that stands."""

    start: int
    end: int
    form: str
    multiword: bool = False


def describe(report: dict[str, Any]) -> str:
    """`RawTextScorer.report` for people, a line for each figure."""
    width = max(map(len, report))
    return "\n".join(row(key, figures, width) for key, figures in report.items())


class RawTextScorer:
    """Counts document by document.

    Args:
        column: what the tags are, where tags are scored too.
    """

    def __init__(self, column: Column | None = None) -> None:
        self._keys = ["sentences", "words", *([column] if column else [])]
        self._counts = {key: [0, 0, 0] for key in self._keys}  # right, found, gold

    def add(
        self, gold: Document, sentences: Sequence[Sequence[Span]], tags: Iterable[Sequence[str]] | None = None
    ) -> None:
        """Counts one document.

        Args:
            sentences: what was found in its text: each sentence's words as spans.
            tags: of each sentence's words, where they are scored.
        """
        at = [0, *accumulate(kind != "s" for kind in classes(gold.text))]
        words = [[_Word(at[a], at[b], gold.text[a:b]) for a, b in sentence] for sentence in sentences]
        right_words = [
            [
                _Word(at[token.start], at[token.end], form, len(token.words) > 1)
                for token in sentence
                for form in token.words
            ]
            for sentence in gold.sentences
        ]
        ours, theirs = _bounds(words), _bounds(right_words)
        self._count("sentences", len(set(ours) & set(theirs)), len(ours), len(theirs))
        found, expected = list(chain.from_iterable(words)), list(chain.from_iterable(right_words))
        pairs = list(_aligned(expected, found))
        self._count("words", len(pairs), len(found), len(expected))
        if tags is not None:
            said = list(chain.from_iterable(tags))
            truth = [tag for sentence in gold.sentences for token in sentence for tag in token.tags]
            right = sum(truth[i] == said[j] for i, j in pairs)
            self._count(self._keys[-1], right, len(found), len(expected))

    def _count(self, key: str, *counts: int) -> None:
        self._counts[key] = [a + b for a, b in zip(self._counts[key], counts, strict=True)]

    def report(self) -> dict[str, Any]:
        """``sentences``, ``words`` and the column: each with precision, recall, f1 from 0 to 1, and support."""
        return {key: rates(*counts) for key, counts in self._counts.items()}


def _bounds(sentences: Iterable[Sequence[_Word]]) -> list[Span]:
    return [(words[0].start, words[-1].end) for words in sentences if words]


def _aligned(gold: Sequence[_Word], found: Sequence[_Word]) -> Iterator[tuple[int, int]]:
    """Positions of the words that are each other's."""
    i = j = 0
    while i < len(gold) and j < len(found):
        if gold[i].multiword:
            first_i, first_j = i, j + (found[j].start < gold[i].start)
            i, j = _stretch(gold, found, first_i, first_j)
            forms = [word.form.lower() for word in gold[first_i:i]], [word.form.lower() for word in found[first_j:j]]
            yield from ((first_i + a, first_j + b) for a, b in _common(*forms))
        elif (gold[i].start, gold[i].end) == (found[j].start, found[j].end):
            yield i, j
            i, j = i + 1, j + 1
        elif gold[i].start <= found[j].start:
            i += 1
        else:
            j += 1


def _stretch(gold: Sequence[_Word], found: Sequence[_Word], i: int, j: int) -> tuple[int, int]:
    """The first words behind the multiword token at ``gold[i]``, what another one touching it reaches included."""
    end = gold[i].end
    while True:
        more = i < len(gold) and (gold[i].start < end if gold[i].multiword else gold[i].end <= end)
        more_found = j < len(found) and found[j].end <= end
        if not more and not more_found:
            return i, j
        if i < len(gold) and (j >= len(found) or gold[i].start <= found[j].start):
            if gold[i].multiword:
                end = max(end, gold[i].end)
            i += 1
        else:
            j += 1


def _common(gold: Sequence[str], found: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Positions of a longest common subsequence."""
    longest = [[0] * (len(found) + 1) for _ in range(len(gold) + 1)]  # of what begins at i and j
    for i in reversed(range(len(gold))):
        for j in reversed(range(len(found))):
            longest[i][j] = max(
                longest[i + 1][j], longest[i][j + 1], (1 + longest[i + 1][j + 1]) * (gold[i] == found[j])
            )
    i = j = 0
    while i < len(gold) and j < len(found):
        if gold[i] == found[j]:
            yield i, j
            i, j = i + 1, j + 1
        elif longest[i][j] == longest[i + 1][j]:
            i += 1
        else:
            j += 1
