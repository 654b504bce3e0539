"""Parts of JSON lines: a row is an object."""

import json
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from ..formats.streams import LineReader
from .lines import BOM, NOT_UTF8, Row
from .rows import LENGTHS, SCORES, TOKENS, Chunk, Columns, Reading, Tagged


def json_rows(lines: LineReader, reading: Reading) -> Iterator[Row]:
    """A row a line: an object with tokens, a list of strings, or with text."""
    columns = reading.columns
    for number, line in lines.bytes():
        if number == 1:
            line = line.removeprefix(BOM)
        try:
            value = json.loads(line.decode("utf-8"))
        except UnicodeDecodeError:
            yield Row(number, line, bad=NOT_UTF8)
            continue
        except (ValueError, RecursionError) as e:
            yield Row(number, line, bad=f"not JSON ({e}); expected an object a line")
            continue
        if not isinstance(value, dict):
            yield Row(number, line, bad=f"a JSON {type(value).__name__}; expected an object with tokens or text")
            continue
        name = next((name for name in columns.sources if value.get(name) is not None), None)
        found = None if name is None else value[name]
        reading.refuse_taken(value, isinstance(found, str), f"{lines.name}:{number}")
        yield _json_row(number, line, name, found, columns)


def _json_row(number: int, line: bytes, name: str | None, found: Any, columns: Columns) -> Row:
    if name is None:
        return Row(
            number, line, bad=f"no {' or '.join(columns.sources)}, or null; expected a list of strings, or a text"
        )
    if isinstance(found, str):
        return Row(number, line, bad=NOT_UNICODE) if halves(line, found) else Row(number, line, text=found)
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        kind = "a list of other things" if isinstance(found, list) else type(found).__name__
        return Row(number, line, bad=f"{name} is {kind}; expected a list of strings, or a text")
    if halves(line, *found):
        return Row(number, line, bad=NOT_UNICODE)
    return Row(number, line, tokens=found)


NOT_UNICODE = "half a surrogate pair, which is not Unicode text; expected text that UTF-8 can hold"


def halves(line: bytes, *strings: str) -> bool:
    """Whether a string is not Unicode text: JSON can hold such as escapes alone."""
    return b"\\u" in line and any("\ud800" <= char <= "\udfff" for string in strings for char in string)


class JsonSink:
    """The lines, with tags (and tokens, scores, lengths of sentences) as the last members of each object."""

    def __init__(self, stream: BinaryIO, columns: Columns) -> None:
        self._stream = stream
        self._columns = columns

    def write(self, chunk: Chunk, tagged: Tagged, kept: list[int] | None) -> None:
        """Adds rows."""
        new = [
            (f"{json.dumps(name, ensure_ascii=False)}: ", cells)
            for name, cells in new_cells(chunk, tagged, self._columns)
        ]
        unread = {bad.row for bad in chunk.bad if not _is_object(chunk.rows[bad.row])}
        for i in range(len(chunk.rows)) if kept is None else kept:
            cells = [(name, values[i]) for name, values in new if values[i] is not None or name == new[0][0]]
            added = ", ".join(name + ("null" if cell is None else cell) for name, cell in cells)
            if i in unread:
                self._stream.write(f"{{{added}}}\n".encode())
                continue
            body = chunk.rows[i].rstrip()
            end = chunk.rows[i][len(body) :] or b"\n"
            inner = body[:-1].rstrip()
            comma = "" if inner.endswith(b"{") else ", "
            self._stream.write(inner + f"{comma}{added}}}".encode() + end)

    def close(self) -> None:
        """Nothing is held back."""


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line.decode("utf-8")), dict)
    except (ValueError, RecursionError):
        return False


def new_cells(chunk: Chunk, tagged: Tagged, columns: Columns) -> list[tuple[str, list[str | None]]]:
    """Each new column's name and its cells as JSON; tags first. Tokens and sentences only of rows that gave a text."""
    texts = chunk.texts if chunk.texts is not None else [None] * len(tagged.tags)
    found: list[tuple[str, list[str | None]]] = [(columns.tags, _cells_of(tagged.tags))]
    if tagged.tokens is not None:
        found.append((TOKENS, _of_texts(tagged.tokens, texts)))
    if tagged.scores is not None:
        found.append((SCORES, _cells_of(tagged.scores, lambda score: round(score, 6))))
    if tagged.sentences is not None:
        found.append((LENGTHS, _of_texts(tagged.sentences, texts)))
    return found


def _of_texts(column: Any, texts: list[str | None]) -> list[str | None]:
    return [cell if text is not None else None for cell, text in zip(_cells_of(column), texts, strict=True)]


def _cells_of(column: Any, change: Callable[[Any], Any] | None = None) -> list[str | None]:
    rows = column.to_pylist()
    return [
        None if row is None else json.dumps([change(x) for x in row] if change else row, ensure_ascii=False)
        for row in rows
    ]
