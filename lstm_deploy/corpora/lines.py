"""Rows that come from the lines of a file, a chunk at a time.

Rows are kept as the bytes that they are, and tags are put in: what is not ours comes out as it went in.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ..formats import Sentence
from ..formats.streams import LineReader
from .rows import CHUNK_TOKENS, Bad, Chunk, preview

_TEXT_TOKEN = 5
"""Characters that a token of text has, about: how much text makes a chunk."""
_CHUNK_BYTES = 1 << 24
"""Of a file, in a chunk, about: rows may be long that have few tokens."""
BOM = b"\xef\xbb\xbf"
NOT_UTF8 = "not UTF-8, or with a NUL in it, as UTF-16 has; expected text in UTF-8"


@dataclass(slots=True)
class Row:
    """A row as read: tokens, or a text, or what is wrong with it."""

    place: int
    raw: Any
    tokens: list[str] | None = None
    text: str | None = None
    bad: str = ""


class LineSource:
    """A part whose rows come one after another from its lines."""

    unit = "line"

    def __init__(self, lines: LineReader, rows: Iterable[Row]) -> None:
        self._lines = lines
        self._rows = rows

    def position(self) -> int:
        """Bytes of the file that have been read (compressed ones where it is compressed)."""
        return self._lines.position()

    def chunks(self) -> Iterator[Chunk]:
        """All rows, lazily.

        Raises:
            InputError: the file is damaged or cut off.
        """
        held: list[Row] = []
        size = length = 0
        for row in self._rows:
            held.append(row)
            size += 1 + (len(row.tokens) if row.tokens is not None else len(row.text or "") // _TEXT_TOKEN)
            length += _length(row.raw)
            if size >= CHUNK_TOKENS or length >= _CHUNK_BYTES:
                yield _chunk(held)
                held, size, length = [], 0, 0
        if held:
            yield _chunk(held)


def _chunk(rows: list[Row]) -> Chunk:
    texts = [row.text for row in rows] if any(row.text is not None for row in rows) else None
    bad = [Bad(i, row.place, row.bad, preview(_joined(row.raw))) for i, row in enumerate(rows) if row.bad]
    return Chunk([row.raw for row in rows], [row.place for row in rows], [row.tokens for row in rows], texts, bad)


def _length(raw: Any) -> int:
    if isinstance(raw, Sentence):
        return sum(map(len, raw.raw))
    return len(raw[0]) if isinstance(raw, tuple) else sum(map(len, raw)) if isinstance(raw, list) else len(raw)


def _joined(raw: Any) -> Any:
    return raw[0] if isinstance(raw, tuple) else b"".join(raw) if isinstance(raw, list) else raw


def decoded(line: bytes, *, first: bool = False) -> str | None:
    """A line as text, without a byte-order mark where it is the ``first``; None where it is not UTF-8 or has a NUL."""
    if b"\0" in line:
        return None
    try:
        return (line.removeprefix(BOM) if first else line).decode("utf-8")
    except UnicodeDecodeError:
        return None
