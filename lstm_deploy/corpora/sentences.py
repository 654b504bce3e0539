"""Parts of text, CoNLL-U and columns: a row is a sentence, or of raw text a paragraph."""

from collections.abc import Iterator
from typing import BinaryIO, cast

from ..decoding import TaggedSentence
from ..errors import InputError
from ..formats import Sentence, writer_for
from ..formats.reading import read_conllu
from ..formats.streams import LineReader
from ..metadata import Column
from ..unicode14 import classes
from .lines import BOM, NOT_UTF8, Row, decoded
from .rows import Chunk, Reading, Tagged


def text_rows(lines: LineReader, reading: Reading) -> Iterator[Row]:
    """A row a line; of raw text a row a paragraph."""
    if reading.raw:
        yield from _paragraphs(lines)
        return
    for number, line in lines.bytes():
        text = decoded(line, first=number == 1)
        if text is None:
            yield Row(number, line, bad=NOT_UTF8)
        else:
            yield Row(number, line, text=text.rstrip("\r\n"))


def _paragraphs(lines: LineReader) -> Iterator[Row]:
    held: list[bytes] = []
    start = 1
    for number, line in lines.bytes():
        text = decoded(line, first=number == 1)
        if text is None or classes(text).strip("s"):
            start = start if held else number
            held.append(line)
        elif held:
            yield _paragraph(start, held)
            held = []
    if held:
        yield _paragraph(start, held)


def _paragraph(start: int, held: list[bytes]) -> Row:
    text = decoded(b"".join(held), first=start == 1)
    return Row(start, held, bad=NOT_UTF8) if text is None else Row(start, held, text=text)


class TextSink:
    """``token<TAB>tag`` lines, a blank one after each sentence; a row without tags is a sentence without tokens."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, chunk: Chunk, tagged: Tagged, kept: list[int] | None) -> None:
        """Adds rows."""
        assert tagged.tokens is not None  # text is always cut here
        tokens, tags = tagged.tokens.to_pylist(), tagged.tags.to_pylist()
        sentences = tagged.sentences.to_pylist() if tagged.sentences is not None else None
        found: list[str] = []
        for i in range(len(tags)) if kept is None else kept:
            pairs = [f"{token}\t{tag}\n" for token, tag in zip(tokens[i] or (), tags[i] or (), strict=True)]
            if sentences is None:
                found += [*pairs, "\n"]
                continue
            start = 0
            for length in sentences[i] or ():
                found += [*pairs[start : start + length], "\n"]
                start += length
        self._stream.write("".join(found).encode())

    def close(self) -> None:
        """Nothing is held back."""


class _Block:
    """The lines of one sentence, as `read_conllu` takes them."""

    def __init__(self, name: str, start: int, lines: list[str]) -> None:
        self.name = name
        self._start = start
        self._lines = lines

    def __iter__(self) -> Iterator[tuple[int, str]]:
        return iter(enumerate(self._lines, self._start))


def conllu_rows(lines: LineReader, reading: Reading) -> Iterator[Row]:
    """A row a sentence."""
    for start, raw in _blocks(lines):
        if decoded(b"".join(raw)) is None:
            yield Row(start, raw, bad=NOT_UTF8)
            continue
        head = next((i for i, line in enumerate(raw) if not _blank(line, first=start + i == 1)), 0)
        block = _Block("", start + head, [line.decode() for line in raw[head:]])
        try:
            found = list(read_conllu(cast(LineReader, block), None))
        except InputError as e:
            _, number, fact = str(e).split(":", 2)  # as `_Block` has no name
            yield Row(int(number), raw, bad=fact.strip())
            continue
        (sentence,) = found
        sentence.raw[:0] = [line.decode() for line in raw[:head]]
        sentence.words = [head + i for i in sentence.words]
        yield Row(start, sentence, tokens=sentence.tokens)


class ConlluSink:
    """Sentences with the tag column filled in, every other byte as it was."""

    def __init__(self, stream: BinaryIO, column: Column) -> None:
        self._stream = stream
        self._write = writer_for("conllu", column)

    def write(self, chunk: Chunk, tagged: Tagged, kept: list[int] | None) -> None:
        """Adds rows."""
        tags = tagged.tags.to_pylist()
        for i in range(len(tags)) if kept is None else kept:
            row = chunk.rows[i]
            if not isinstance(row, Sentence):
                self._stream.write(b"".join(row))
            elif tags[i] is None:
                self._stream.write("".join(row.raw).encode())
            else:
                self._stream.write(self._write(row, TaggedSentence(tuple(row.tokens), tuple(tags[i]), ())))

    def close(self) -> None:
        """Nothing is held back."""


def column_rows(lines: LineReader, reading: Reading) -> Iterator[Row]:
    """A row a sentence: the first cell of each line is a token."""
    for start, raw in _blocks(lines):
        text = decoded(b"".join(raw), first=start == 1)
        if text is None:
            yield Row(start, raw, bad=NOT_UTF8)
            continue
        turned = next((i for i, line in enumerate(text.split("\n"), start) if "\r" in line.rstrip("\r")), None)
        if turned is not None:
            yield Row(turned, raw, bad="a carriage return within the line; expected a line feed at the end of each")
            continue
        tokens = {i: _cells(line)[0] for i, line in enumerate(text.split("\n"), start) if line.strip()}
        bad = next((i for i, token in tokens.items() if not token), None)
        if bad is None:
            yield Row(start, raw, tokens=list(tokens.values()))
        else:
            yield Row(bad, raw, bad="an empty first column; expected a token")


def _cells(line: str) -> list[str]:
    return line.rstrip("\r").split("\t") if "\t" in line else line.split()


class ColumnSink:
    """The lines with the tag as one more column, behind the others."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, chunk: Chunk, tagged: Tagged, kept: list[int] | None) -> None:
        """Adds rows."""
        tags = tagged.tags.to_pylist()
        for i in range(len(tags)) if kept is None else kept:
            left = iter(tags[i] or ())
            for number, line in enumerate(chunk.rows[i], chunk.places[i]):
                body = line.rstrip(b"\r\n")
                if tags[i] is None or _blank(line, first=number == 1):
                    self._stream.write(line)
                else:
                    space = b"\t" if b"\t" in body else b" "
                    self._stream.write(body + (space if b" " in body else b"\t") + next(left).encode())
                    self._stream.write(line[len(body) :])

    def close(self) -> None:
        """Nothing is held back."""


def _blocks(lines: LineReader) -> Iterator[tuple[int, list[bytes]]]:
    """Runs of lines with the blank ones behind them, and where each begins."""
    held: list[bytes] = []
    start, begun, ended = 1, False, False
    for number, line in lines.bytes():
        blank = _blank(line, first=number == 1)
        if ended and not blank:
            yield start, held
            held, start, begun, ended = [], number, False, False
        held.append(line)
        begun = begun or not blank
        ended = begun and blank
    if held:
        yield start, held


def _blank(line: bytes, *, first: bool) -> bool:
    """Whether it ends a sentence, as in `lstm_deploy.formats`: white space of Unicode, too."""
    return not (line.removeprefix(BOM) if first else line).decode("utf-8", "replace").strip()
