"""Parts of CSV and TSV: a row is a record. Cells that begin with a quotation mark are quoted, in TSV, too."""

import csv
import json
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from ..errors import InputError
from ..formats.streams import LineReader
from .json_lines import new_cells
from .lines import BOM, NOT_UTF8, LineSource, Row, refuse_taken, refuse_tokens
from .rows import TOKENS, Chunk, Columns, Reading, Tagged

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
            source, is_text = _column(lines.name, cells, problem, reading.columns)
            width = len(cells)
            yield Row(0, raw.encode("utf-8", "surrogateescape"))
        elif cells or problem:
            yield _record(start, raw, cells, problem or _wrong_width(cells, width), source, is_text)


def _wrong_width(cells: list[str], width: int) -> str:
    return "" if len(cells) == width else f"{len(cells)} cells; expected {width} as in the header"


def _column(part: str, cells: list[str], problem: str, columns: Columns) -> tuple[int, bool]:
    """Where the column to tag is, and whether it holds text."""
    if problem:
        raise InputError(f"{part}: {problem}")
    name = next((name for name in columns.sources if name in cells), None)
    if name is None:
        raise InputError(
            f"{part}: no column {' or '.join(columns.sources)}; it has {', '.join(cells)[:200]}; "
            "pass --text-column NAME"
        )
    refuse_taken(cells, columns, part)
    is_text = name != TOKENS
    if is_text and TOKENS in cells:
        refuse_tokens(part, None)
    return cells.index(name), is_text


def _record(start: int, raw: str, cells: list[str], problem: str, source: int | None, is_text: bool) -> Row:
    kept = raw.encode("utf-8", "surrogateescape")
    if problem:
        return Row(start, (kept, False), bad=problem)
    cell = cells[source or 0]
    if any("\udc80" <= char <= "\udcff" for char in cell):
        return Row(start, (kept, True), bad=NOT_UTF8)
    return Row(start, (kept, True), text=cell) if is_text else Row(start, (kept, True), tokens=_cell_tokens(cell))


def _cell_tokens(cell: str) -> list[str]:
    if cell.startswith("["):
        try:
            found = json.loads(cell)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, list) and all(isinstance(item, str) for item in found):
            return found
    return cell.split()


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
