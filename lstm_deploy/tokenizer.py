"""Text -> tokens with character offsets, by rules that are written down in the model.

Three kinds. ``whitespace``: a token is a run of non-space characters. ``words``: the rules below,
with three lists that training reads off the corpus (`lstm_deploy.training.tokenization`), so
that the predictor cuts text as the training data was cut. ``characters``: every code point and every
run of white space, for taggers that say where words begin. FORMAT.md specifies them.

It does not know words, tags or models; offsets count code points.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

from .unicode14 import classes, lower

Kind = Literal["whitespace", "words", "characters"]
KINDS: tuple[Kind, ...] = ("whitespace", "words", "characters")
LINE_BREAKS = "\n\v\f\r\x85\u2028\u2029"
"""Code points that end a line."""
_LINE_BREAKS = frozenset(LINE_BREAKS)
JOINERS = "-'’./_&@:·"
"""Punctuation that may stand inside a word; `Tokenizer.split` names those that part it instead."""
ENDS, CLOSERS = ".!?…", "\"'”’)]»"

# The patterns below read a text of the same length in which a letter is "a", a number "0", a mark
# or format character "m", the zero-width joiner "j", white space "s"; all the rest is itself.
_LETTER_OF_CLASS = str.maketrans("uloamfdn", "aaaamm00")
_URL = re.compile(r"a+://|aaa\.(?=(?P<host>a+\.))")
_LOCAL = re.compile(r"[a0._+&\-]*")
_DOMAIN = re.compile(r"[a0\-]+(?P<dot>\.)(?:[a0\-]+\.)*[a0\-]*")
_INITIALS = re.compile(r"(?:a\.){2,}")
_RUN = re.compile(r"(?P<run>[^a0mjs])(?P=run)*(?:[mj]*j[^a0mjs])*[mj]*|[mj]+")
"""One mark of punctuation, or one symbol, repeated; with what zero-width joiners tie to it (emoji)."""


@dataclass(frozen=True)
class Tokenizer:
    """How this model cuts a text into tokens.

    Attributes:
        kind: ``whitespace``, ``words`` or ``characters``.
        keep: words that stay whole whatever the rules say (``Mr.``, ``:)``).
        suffixes: lower-cased ends that are a token of their own (``n't``, ``'s``).
        split: those of JOINERS that part the letters around them (``-`` in UD English EWT).
        ends: characters that end a sentence (`lstm_deploy.sentence_rules`).
        closers: characters that may follow them, still of the same sentence.
    """

    kind: Kind = "words"
    keep: frozenset[str] = frozenset()
    suffixes: tuple[str, ...] = ()
    split: str = ""
    ends: str = ENDS
    closers: str = CLOSERS
    _inner: re.Pattern[str] = field(init=False, repr=False, compare=False)
    _longest_kept: int = field(init=False, repr=False, compare=False)
    _longest_suffix: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"tokenizer kind {self.kind!r} is not known ({', '.join(KINDS)})")
        joiners = "".join(re.escape(c) for c in JOINERS if c not in self.split)
        join = rf"(?:[{joiners}](?=[a0])|(?<=0)[.,:](?=0))" if joiners else r"(?:(?<=0)[.,:](?=0))"
        pattern = rf"[a0](?:[a0mj]|{join})*|{_RUN.pattern}"
        object.__setattr__(self, "_inner", re.compile(pattern))
        # What is longer is neither kept nor a suffix: to copy and look up the rest of a chunk each time that something
        # is peeled off it would take time that grows with the square of its length.
        object.__setattr__(self, "_longest_kept", max(map(len, self.keep), default=0))
        object.__setattr__(self, "_longest_suffix", max(map(len, self.suffixes), default=0))

    def to_json(self) -> dict[str, Any]:
        """The spec as a JSON object."""
        return {
            "kind": self.kind,
            "keep": sorted(self.keep),
            "suffixes": list(self.suffixes),
            "split": self.split,
            "ends": self.ends,
            "closers": self.closers,
        }

    @classmethod
    def from_json(cls, spec: dict[str, Any]) -> "Tokenizer":
        """The tokenizer that `to_json` wrote, here or before it knew of sentences.

        Raises:
            KeyError, TypeError, ValueError: it is not one.
        """
        if not isinstance(spec["keep"], list) or not isinstance(spec["suffixes"], list):
            raise TypeError("keep or suffixes is not a list")
        marks = spec["split"], spec.get("ends", ENDS), spec.get("closers", CLOSERS)
        if not all(isinstance(item, str) for item in [*spec["keep"], *spec["suffixes"], *marks]):
            raise TypeError("the tokenizer's lists hold something other than strings")
        return cls(spec["kind"], frozenset(spec["keep"]), tuple(spec["suffixes"]), *marks)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Start and end of each token in ``text``: ascending, not overlapping, never empty, with all but white space.

        Of kind ``characters`` with the white space, too.
        """
        if self.kind == "characters":
            return spell(text)[1]
        letters = _letters(text)
        chunks = ((m.start(), m.end()) for m in re.finditer(r"[^s]+", letters))
        if self.kind == "whitespace":
            return list(chunks)
        return [span for start, end in chunks for span in self._chunk(text, letters, start, end)]

    def tokens(self, text: str) -> list[str]:
        """The tokens of ``text``, in order: what stands at their spans.

        Of kind ``characters`` white space is a line feed where a line ends in it, else a space.
        """
        return self.cut(text)[0]

    def cut(self, text: str) -> tuple[list[str], list[tuple[int, int]]]:
        """Its tokens as the model gets them, and their spans."""
        if self.kind == "characters":
            return spell(text)
        spans = self.spans(text)
        return [text[start:end] for start, end in spans], spans

    def _chunk(self, text: str, letters: str, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Peel punctuation off both ends until what is left is whole, then cut that by the rules."""
        behind: list[tuple[int, int]] = []
        shapes = _Shapes(letters, end)
        while start < end and not (self._is_listed(text, start, end) or shapes.hold(start, end)):
            if _is_edge(letters[start]):
                stop = _RUN.match(letters, start, end).end()  # type: ignore[union-attr]  # an edge matches
                yield start, stop
                start = stop
            elif _is_edge(letters[end - 1]) and (stop := _run_start(letters, start, end)) is not None:
                behind.append((stop, end))
                end = stop
            else:
                for match in self._inner.finditer(letters, start, end):
                    yield from self._cut_suffixes(text, *match.span())
                start = end
        if start < end:
            yield start, end
        yield from reversed(behind)

    def _is_listed(self, text: str, start: int, end: int) -> bool:
        """Whether it is among the words kept, or a suffix."""
        size = end - start
        return (size <= self._longest_kept and text[start:end] in self.keep) or (
            size <= self._longest_suffix and lower(text[start:end]).replace("’", "'") in self.suffixes
        )

    def _cut_suffixes(self, text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
        cuts = [end]
        # Each code point by itself, so what is left of the word has the beginning of this for its lower case.
        word = lower(text[start:end]).replace("’", "'")
        while cuts[-1] - start > self._longest_kept or text[start : cuts[-1]] not in self.keep:
            left = len(word) if cuts[-1] == end else cuts[-1] - start
            # A lower-cased form of another length has no place to cut in the text: it stays whole.
            size = max((len(s) for s in self.suffixes if len(s) < left and word.endswith(s, 0, left)), default=0)
            if not size or left != cuts[-1] - start:
                break
            cuts.append(cuts[-1] - size)
        bounds = [start, *reversed(cuts)]
        yield from pairwise(bounds)


class _Shapes:
    """Which parts of a chunk are initials (``U.S.``) or an address, whole: of parts that shrink, in time linear in all.

    A part ends before the chunk does once something was peeled off its end, and then starts where it did; so each
    pattern runs once for a start, and what is asked of an end is reckoned from where it matched.
    """

    def __init__(self, letters: str, end: int) -> None:
        self._letters = letters
        self._end = end
        self._start = -1
        self._initials = 0
        self._url = 0
        self._at = -1
        self._domain: tuple[int, int] | None = None

    def hold(self, start: int, end: int) -> bool:
        """Whether ``letters[start:end]`` is one of them; ``start`` is no less than the last time."""
        last = self._letters[end - 1]
        if self._start != start:
            self._look(start)
        if end <= self._initials and last == ".":
            return end - start > 2
        if _is_edge(last):
            return False
        if self._url and end >= self._url:
            return True
        if self._domain is None:
            return False
        dot, stop = self._domain
        return dot + 1 < end <= stop

    def _look(self, start: int) -> None:
        """Where patterns that begin at ``start`` match."""
        self._start, self._initials, self._url = start, 0, 0
        if self._letters[start] == "a":
            if found := _INITIALS.match(self._letters, start, self._end):
                self._initials = found.end()
            if found := _URL.match(self._letters, start, self._end):
                # At least one more; and within what is left there has to be the host's first part, where it counts.
                self._url = max(found.end() + 1, found.end("host"))
        if start > self._at:  # else it is still before the same sign, or at it
            self._at = _LOCAL.match(self._letters, start, self._end).end()  # type: ignore[union-attr]  # may be empty
            found = None
            if self._letters[self._at : self._at + 1] == "@":
                found = _DOMAIN.match(self._letters, self._at + 1, self._end)
            self._domain = (found.start("dot"), found.end()) if found else None
        if start == self._at:
            self._domain = None


def spell(text: str) -> tuple[list[str], list[tuple[int, int]]]:
    """The tokens of kind ``characters`` and their spans."""
    kinds = classes(text)
    spans = [match.span() for match in re.finditer("s+|[^s]", kinds)]
    tokens = [
        text[start] if kinds[start] != "s" else "\n" if set(text[start:end]) & _LINE_BREAKS else " "
        for start, end in spans
    ]
    return tokens, spans


def _letters(text: str) -> str:
    return "".join(
        "j" if char == "\u200d" else char if kind in "pyx" else kind
        for char, kind in zip(text, classes(text).translate(_LETTER_OF_CLASS), strict=True)
    )


def _is_edge(letter: str) -> bool:
    return letter not in "a0mj"


def _run_start(letters: str, start: int, end: int) -> int | None:
    """Where the run that ends the chunk starts; None if a joiner ties it to what stands before."""
    stop = end - 1
    while stop > start and letters[stop - 1] == letters[end - 1]:
        stop -= 1
    return None if letters[stop - 1] == "j" else stop
