"""Raw text -> sentences by a rule, where there is no segmenter: the words are those of a tokenizer.

A blank line ends a sentence. So does a token made of ends of sentences (``.``, ``?!``) with the closing quotes and
brackets that touch it, where white space follows and then no lower-case letter, unless the token before it, of the same
sentence, is a single letter of a case (an initial). Which characters are ends and closers the tokenizer says. FORMAT.md
specifies it.
"""

from collections.abc import Iterable, Iterator, Sequence

from .segmentation import Span, TextSentence, paragraphs
from .tokenizer import Tokenizer
from .unicode14 import classes


class SentenceRules:
    """Cuts texts by a tokenizer and the rule of this module.

    Raises:
        ValueError: the tokenizer is that of a segmenter, which cuts out no words.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        if tokenizer.kind == "characters":
            raise ValueError("the model tags characters; expected one that tags words; load it with Segmenter")
        self.tokenizer = tokenizer

    def segment(self, text: str) -> list[TextSentence]:
        """The sentences of ``text``."""
        found: list[TextSentence] = []
        for first, last in paragraphs(text):
            spans = [(first + start, first + end) for start, end in self.tokenizer.spans(text[first:last])]
            found += (TextSentence.of(text, sentence) for sentence in self._sentences(text, spans))
        return found

    def segment_stream(self, texts: Iterable[str]) -> Iterator[list[TextSentence]]:
        """`segment` for each text, lazily."""
        return map(self.segment, texts)

    def _sentences(self, text: str, spans: Sequence[Span]) -> Iterator[Sequence[Span]]:
        ends, closers = set(self.tokenizer.ends), set(self.tokenizer.closers)
        start = i = 0
        while i < len(spans):
            stop = i + 1
            if set(text[slice(*spans[i])]) <= ends and not (i > start and _is_letter(text[slice(*spans[i - 1])])):
                while (
                    stop < len(spans) and spans[stop][0] == spans[stop - 1][1] and text[slice(*spans[stop])] in closers
                ):
                    stop += 1
                if stop < len(spans) and spans[stop][0] > spans[stop - 1][1] and classes(text[spans[stop][0]]) != "l":
                    yield spans[start:stop]
                    start = stop
            i = stop
        yield spans[start:]  # a sentence ends only where another begins, and no paragraph is empty


def _is_letter(token: str) -> bool:
    return len(token) == 1 and classes(token) in "ul"
