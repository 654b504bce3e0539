"""Words and sentences as tags over characters: what the tags are, and what a tagged text is cut into.

A text is tagged paragraph by paragraph: runs of white space with two line breaks or more part paragraphs, and no
sentence goes across. Within one, each code point is a token of the segmenter, and so is each run of white space
(`lstm_deploy.tokenizer`, kind ``characters``). FORMAT.md specifies it. It does not know models.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from .tokenizer import LINE_BREAKS, spell
from .unicode14 import classes

SENTENCE, TOKEN, INSIDE, OUTSIDE = "sentence", "token", "inside", "outside"
TAGS = (INSIDE, OUTSIDE, SENTENCE, TOKEN)
"""``sentence``: the first character of a token that begins a sentence; ``token``: of any other token; ``inside``: a
later one, white space within a token too; ``outside``: white space between tokens."""
Span = tuple[int, int]
_LINE_BREAK = re.compile(rf"\r\n|[{LINE_BREAKS}]")
_WHITE = (" ", "\n")


@dataclass(frozen=True, slots=True)
class TextSentence:
    """A sentence of a text.

    Attributes:
        tokens: its words; white space within one is a single space.
        offsets: (start, end) of each in the text, in code points: ascending, not overlapping, never empty.
    """

    tokens: tuple[str, ...]
    offsets: tuple[Span, ...]

    @classmethod
    def of(cls, text: str, offsets: Sequence[Span]) -> "TextSentence":
        """The sentence whose words stand at ``offsets`` in ``text``."""
        return cls(tuple(_one_space(text[start:end]) for start, end in offsets), tuple(offsets))


class Segments(Protocol):
    """Whatever cuts texts into sentences of words: a `Segmenter`, a `SentenceRules`."""

    def segment(self, text: str) -> list[TextSentence]:
        """The sentences of ``text``, in order; together their words hold all of it but white space."""
        ...

    def segment_stream(self, texts: Iterable[str]) -> Iterator[list[TextSentence]]:
        """`segment` for each text, lazily, in order, in constant memory."""
        ...


def paragraphs(text: str) -> list[Span]:
    """Start and end of each paragraph of ``text``, without the white space around it; none is empty."""
    kinds = classes(text)
    start, last = len(kinds) - len(kinds.lstrip("s")), len(kinds.rstrip("s"))
    found: list[Span] = []
    for gap in re.finditer("ss+", kinds[:last]):
        if gap.start() > start and len(_LINE_BREAK.findall(text, *gap.span())) > 1:
            found.append((start, gap.start()))
            start = gap.end()
    return [*found, (start, last)] if last > start else found


@dataclass(frozen=True, slots=True)
class Characters:
    """The characters of a text, as a segmenter is given them.

    Attributes:
        tokens: each code point, and of each run of white space a space or a line feed.
        spans: where they stand in the text.
    """

    tokens: list[str]
    spans: list[Span]

    def is_white(self, i: int) -> bool:
        """Whether character ``i`` is white space."""
        return self.tokens[i] in _WHITE


def characters(text: str) -> Characters:
    """The characters of ``text``."""
    return Characters(*spell(text))


def cut(text: Characters, tags: Sequence[str]) -> list[list[Span]]:
    """The sentences of a paragraph, each a list of its tokens' spans; any tags have a reading.

    The first character begins a sentence. A later one that is not white space begins a token if its tag is ``token``,
    a sentence too if that is ``sentence``; else it continues the token before it, over white space only where that and
    it are both ``inside``, and else begins a token.

    Args:
        tags: one a character.
    """
    sentences: list[list[Span]] = []
    gap = ""  # the tag of white space right before
    for i, ((start, end), tag) in enumerate(zip(text.spans, tags, strict=True)):
        if text.is_white(i):
            gap = tag
            continue
        if not sentences or tag == SENTENCE:
            sentences.append([(start, end)])
        elif tag == TOKEN or (gap and not gap == tag == INSIDE):
            sentences[-1].append((start, end))
        else:
            sentences[-1][-1] = sentences[-1][-1][0], end
        gap = ""
    return sentences


def character_tags(text: Characters, sentences: Sequence[Sequence[Span]]) -> list[str]:
    """The tags of a paragraph's characters, from which `cut` makes ``sentences`` again.

    Args:
        sentences: spans of the tokens of each, ascending.
    """
    starts = {start: SENTENCE if not i else TOKEN for tokens in sentences for i, (start, _) in enumerate(tokens)}
    ends = {end for tokens in sentences for _, end in tokens}
    tags: list[str] = []
    inside = False
    for start, end in text.spans:
        inside = inside or start in starts
        tags.append(starts.get(start) or (INSIDE if inside else OUTSIDE))
        inside = inside and end not in ends
    return tags


def _one_space(token: str) -> str:
    kinds = classes(token)
    if "s" not in kinds:
        return token
    return " ".join(token[match.start() : match.end()] for match in re.finditer("[^s]+", kinds))
