"""Parts of CSV and TSV: a row is a record. Cells that begin with a quotation mark are quoted, in TSV, too."""

import csv
import json
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from ..errors import InputError
from ..formats.streams import LineReader
from .json_lines import NOT_UNICODE, new_cells
from .lines import BOM, NOT_UTF8, LineSource, Row
from .rows import TOKENS, Chunk, Reading, Tagged

_MAX_CELL = 1 << 26
"""Characters of a cell; more is a quotation mark that nothing closes."""


def csv_rows(lines: LineReader, reading: Reading, delimiter: str) -> Iterator[Row]:
    """The header, then a row a record: a text, or tokens as a JSON list or with white space between.

    Raises:
        InputError: the header lacks the column, or has what is to be new.
    """
    csv.field_size_limit(_MAX_CELL)
    taken: list[str] = []
    last = 0

    def text_lines() -> Iterator[str]:
        nonlocal last
        for number, line in lines.bytes():
            last = number
            taken.append((line.removeprefix(BOM) if number == 1 else line).decode("utf-8", "surrogateescape"))
            yield taken[-1]

    records = csv.reader(text_lines(), delimiter=delimiter, strict=True)
    width = source = None
    is_text = False
    while True:
        try:
            cells = next(records, None)
            problem = ""
        except csv.Error as e:
            cells, problem = [], f"not CSV ({e}); expected cells that are quoted whole or not at all"
        raw, start = "".join(taken), last - len(taken) + 1
        taken.clear()
        if cells is None:
            return
        if width is None:
            source, is_text = _column(lines.name, cells, problem, reading)
            width = len(cells)
            yield Row(0, raw.encode("utf-8", "surrogateescape"))
        elif cells or problem:
            yield _record(start, raw, cells, problem or _wrong_width(cells, width), source, is_text)


def _wrong_width(cells: list[str], width: int) -> str:
    return "" if len(cells) == width else f"{len(cells)} cells; expected {width} as in the header"


def _column(part: str, cells: list[str], problem: str, reading: Reading) -> tuple[int, bool]:
    """Where the column to tag is, and whether it holds text."""
    if problem:
        raise InputError(f"{part}: {problem}")
    if any(map(_is_half, "".join(cells))):
        raise InputError(f"{part}:1: the header is {NOT_UTF8}; convert the file")
    columns = reading.columns
    name = next((name for name in columns.sources if name in cells), None)
    if name is None:
        raise InputError(
            f"{part}: no column {' or '.join(columns.sources)}; it has {', '.join(map(repr, cells))[:200]}; "
            "pass --text-column NAME"
        )
    is_text = name != TOKENS
    reading.refuse_taken(cells, is_text, part)
    return cells.index(name), is_text


def _record(start: int, raw: str, cells: list[str], problem: str, source: int | None, is_text: bool) -> Row:
    kept = raw.encode("utf-8", "surrogateescape")
    if problem:
        return Row(start, (kept, False), bad=problem)
    cell = cells[source or 0]
    if any(map(_is_half, cell)):
        return Row(start, (kept, True), bad=NOT_UTF8)
    if is_text:
        return Row(start, (kept, True), text=cell)
    tokens = _cell_tokens(cell)
    if tokens is None:
        return Row(start, (kept, True), bad="a broken JSON list; expected one of strings, or tokens and spaces")
    if any(_is_half(char) for token in tokens for char in token):
        return Row(start, (kept, True), bad=NOT_UNICODE)
    return Row(start, (kept, True), tokens=tokens)


def _is_half(char: str) -> bool:
    """Whether it is no character but half of one, or stands for a byte that is not UTF-8."""
    return "\ud800" <= char <= "\udfff"


def _cell_tokens(cell: str) -> list[str] | None:
    """None: it begins as a JSON list of strings does, and is none."""
    if not cell.startswith("["):
        return cell.split()
    try:
        found = json.loads(cell)
    except (ValueError, RecursionError):
        return None if cell.startswith('["') else cell.split()
    if all(isinstance(item, str) for item in found):
        return found
    return None if any(item is None or isinstance(item, str) for item in found) else cell.split()


class CsvSource(LineSource):
    """A table in CSV.

    Attributes:
        header: its first record; None where the file is empty.
        text: whether the column to tag holds text.
        width: how many columns there are.
    """

    def __init__(self, lines: LineReader, reading: Reading, delimiter: str) -> None:
        rows = csv_rows(lines, reading, delimiter)
        first = next(rows, None)
        self.header: bytes | None = first.raw if first else None
        cells = next(csv.reader([_ended(self.header)[0].decode()], delimiter=delimiter)) if self.header else []
        self.width = len(cells)
        self.text = next((name for name in reading.columns.sources if name in cells), TOKENS) != TOKENS
        super().__init__(lines, rows)


class CsvSink:
    """The records, with new cells behind: lists as JSON."""

    def __init__(self, stream: BinaryIO, reading: Reading, source: CsvSource, delimiter: str) -> None:
        self._stream = stream
        self._columns = reading.columns
        self._names = reading.new_columns(source.text)
        self._delimiter = delimiter
        self._empty = (delimiter * (source.width - 1)).encode()
        if source.header is not None:
            body, end = _ended(source.header)
            stream.write(body + self._cells(self._names) + end)

    def write(self, chunk: Chunk, tagged: Tagged, kept: list[int] | None) -> None:
        """Adds rows."""
        new = dict(new_cells(chunk, tagged, self._columns))
        nothing: list[str | None] = [None] * len(chunk.rows)
        cells = list(zip(*(new.get(name, nothing) for name in self._names), strict=True))
        for i in range(len(chunk.rows)) if kept is None else kept:
            raw, whole = chunk.rows[i]
            body, end = _ended(raw)
            self._stream.write((body if whole else self._empty) + self._cells(cells[i]) + end)

    def close(self) -> None:
        """Nothing is held back."""

    def _cells(self, values: Iterable[str | None]) -> bytes:
        return "".join(self._delimiter + self._quoted(value or "") for value in values).encode()

    def _quoted(self, cell: str) -> str:
        plain = not any(sign in cell for sign in (self._delimiter, '"', "\n", "\r"))
        return cell if plain else '"' + cell.replace('"', '""') + '"'


def _ended(raw: bytes) -> tuple[bytes, bytes]:
    """A record without its line end, and that."""
    body = raw.removesuffix(b"\n").removesuffix(b"\r")
    return body, raw[len(body) :] or b"\n"
