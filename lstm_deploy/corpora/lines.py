"""Rows that come from the lines of a file, a chunk at a time.

Rows are kept as the bytes that they are, and tags are put in: what is not ours comes out as it went in.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from ..formats.streams import LineReader
from .rows import CHUNK_TOKENS, TOKENS, Bad, Chunk, Columns, preview

_TEXT_TOKEN = 5
"""Characters that a token of text has, about: how much text makes a chunk."""
BOM = b"\xef\xbb\xbf"
NOT_UTF8 = "not UTF-8; expected text in UTF-8"


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
        size = 0
        for row in self._rows:
            held.append(row)
            size += 1 + (len(row.tokens) if row.tokens is not None else len(row.text or "") // _TEXT_TOKEN)
            if size >= CHUNK_TOKENS:
                yield _chunk(held)
                held, size = [], 0
        if held:
            yield _chunk(held)


def _chunk(rows: list[Row]) -> Chunk:
    texts = [row.text for row in rows] if any(row.text is not None for row in rows) else None
    bad = [Bad(i, row.place, row.bad, preview(_joined(row.raw))) for i, row in enumerate(rows) if row.bad]
    return Chunk([row.raw for row in rows], [row.place for row in rows], [row.tokens for row in rows], texts, bad)


def _joined(raw: Any) -> Any:
    return raw[0] if isinstance(raw, tuple) else b"".join(raw) if isinstance(raw, list) else raw


def decoded(line: bytes, *, first: bool = False) -> str | None:
    """A line as text, without a byte-order mark where it is the ``first``; None where it is not UTF-8."""
    try:
        return (line.removeprefix(BOM) if first else line).decode("utf-8")
    except UnicodeDecodeError:
        return None


def refuse_taken(names: Iterable[str], columns: Columns, where: str) -> None:
    """Raises where the new column has a name that is there already."""
    if columns.tags in names:
        raise InputError(f"{where}: there is a column {columns.tags} already; pass --tags-column NAME for the new one")


def refuse_tokens(part: str, number: int | None) -> None:
    """Raises: the tokens found in a text have no place."""
    raise InputError(
        f"{part}{f':{number}' if number else ''}: a column {TOKENS} beside the text, whose tokens go into a new column "
        f"of that name; pass --text-column {TOKENS} to tag those, or rename it"
    )
