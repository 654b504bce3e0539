"""Parts of Parquet and Arrow: a row is a row, and new columns stand behind the others."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..errors import InputError, OutOfMemoryError
from .columns import bad_rows, is_clean, is_list, is_text, value_type
from .rows import CHUNK_TOKENS, TOKENS, Bad, Chunk, Columns, Reading, Tagged, preview

_READ_BYTES = 1 << 22
"""Of a table that are decoded at a time, about."""
_READ_ROWS = 1 << 14
_GROUP_BYTES = 1 << 24
_GROUP_ROWS = 1 << 20
"""A row group that is written has at most so many, or a few more bytes: it is held in memory until then."""
_TEXT_TOKEN = 5
_MAGIC = b"ARROW1"
_NEW_TYPES = {
    "scores": pa.list_(pa.float32()),
    "sentence_lengths": pa.list_(pa.int32()),
}
"""All others are lists of strings."""


class TableSource:
    """A Parquet file, or an Arrow file or stream.

    Attributes:
        schema: its columns.
        text: whether the column to tag holds text.
        codec: what a Parquet file is compressed by.
        streamed: whether it is an Arrow stream, not a file.

    Raises:
        InputError: it is none, is damaged, or has no such column.
    """

    unit = "row"

    def __init__(self, path: Path, kind: str, reading: Reading) -> None:
        self._path = path
        self._size = path.stat().st_size
        self._read = 0.0
        self._total = 0
        self.codec = "snappy"
        self.streamed = False
        with self._damage():
            if kind == "parquet":
                self._file = pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)
                self.schema: pa.Schema = self._file.schema_arrow
                self._batches = self._parquet()
            else:
                self._batches, self.schema = self._arrow()
        self._column = _column(str(path), self.schema, reading.columns)
        self.text = _is_text(self.schema.field(self._column).type)
        reading.refuse_taken(self.schema.names, self.text, str(path))

    def position(self) -> int:
        """Bytes of the file that have been read: its share of the rows that are."""
        return int(self._size * min(self._read, 1.0))

    def chunks(self) -> Iterator[Chunk]:
        """All rows, lazily.

        Raises:
            InputError: the file is damaged or cut off.
        """
        start = 1
        with self._damage():
            for batch in self._batches:
                yield from _cut(batch, self._column, self.text, start)
                start += len(batch)

    def _parquet(self) -> Iterator[pa.RecordBatch]:
        found = self._file.metadata
        self._total = found.num_rows
        groups = [found.row_group(i) for i in range(found.num_row_groups)]
        if groups and groups[0].num_columns:
            self.codec = groups[0].column(0).compression.lower()
        size = sum(group.total_byte_size for group in groups) / max(found.num_rows, 1)
        return self._parquet_batches(int(min(max(_READ_BYTES / max(size, 1), 1), _READ_ROWS)))

    def _parquet_batches(self, rows: int) -> Iterator[pa.RecordBatch]:
        seen = 0
        for batch in self._file.iter_batches(batch_size=rows):
            seen += len(batch)
            self._read = seen / max(self._total, 1)
            yield batch

    def _arrow(self) -> tuple[Iterator[pa.RecordBatch], pa.Schema]:
        if not self._size:
            raise pa.ArrowInvalid("it is empty")
        mapped = pa.memory_map(str(self._path))
        if mapped.read(len(_MAGIC)) == _MAGIC:
            mapped.seek(0)
            file = pa.ipc.open_file(mapped)
            batches: Iterator[pa.RecordBatch] = map(file.get_batch, range(file.num_record_batches))
            shares = ((i + 1) / file.num_record_batches for i in range(file.num_record_batches))
            return self._counted(batches, lambda: next(shares)), file.schema
        mapped.seek(0)
        self.streamed = True
        stream = pa.ipc.open_stream(mapped)
        return self._counted(iter(stream), lambda: mapped.tell() / self._size), stream.schema

    def _counted(self, batches: Iterator[pa.RecordBatch], share: Callable[[], float]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            self._read = share()
            yield batch

    @contextmanager
    def _damage(self) -> Iterator[None]:
        try:
            yield
        except pa.ArrowMemoryError as e:
            raise OutOfMemoryError(
                f"{self._path}: a batch of its rows does not fit into memory ({_one_line(e)}); pass fewer --processes, "
                "or write it in smaller row groups"
            ) from e
        except (pa.ArrowException, OSError) as e:
            if isinstance(e, InputError):
                raise
            raise InputError(
                f"{self._path}: damaged, cut off or no such table ({_one_line(e)}); fetch the file again"
            ) from e


def _column(part: str, schema: pa.Schema, columns: Columns) -> str:
    name = next((name for name in columns.sources if name in schema.names), None)
    if name is None:
        raise InputError(
            f"{part}: no column {' or '.join(columns.sources)}; it has {', '.join(schema.names)[:200]}; "
            "pass --text-column NAME"
        )
    if schema.names.count(name) > 1:
        raise InputError(f"{part}: {schema.names.count(name)} columns {name}; expected one; rename the others")
    kind = schema.field(name).type
    if not (_is_text(kind) or (is_list(kind) and is_text(value_type(kind.value_type)))):
        raise InputError(
            f"{part}: column {name} is {kind}; expected strings or lists of strings; pass --text-column NAME"
        )
    return name


def _is_text(kind: pa.DataType) -> bool:
    """Strings, or bytes that ought to be some."""
    tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    return is_text(value_type(kind)) or any(test(kind) for test in tests)


def _cut(batch: pa.RecordBatch, name: str, text: bool, start: int) -> Iterator[Chunk]:
    """The batch in chunks of about `CHUNK_TOKENS` tokens."""
    column = _plain(batch.column(name))
    lengths = (pc.binary_length if text else pc.list_value_length)(column)
    sizes = np.asarray(lengths.fill_null(0).to_numpy(zero_copy_only=False), np.int64) // (_TEXT_TOKEN if text else 1)
    ends = np.cumsum(sizes + 1)
    first = 0
    while first < len(batch):
        taken = ends[first - 1] if first else 0
        last = max(int(np.searchsorted(ends, taken + CHUNK_TOKENS)), first + 1)
        yield _chunk(batch.slice(first, last - first), column.slice(first, last - first), text, start + first)
        first = last


def _plain(column: pa.Array) -> pa.Array:
    """Strings where bytes stand for them, or numbers of a dictionary; none of the views, which have few functions."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_binary_view(column.type):
        column = column.cast(pa.large_binary())
    if pa.types.is_string_view(column.type):
        return column.cast(pa.large_string())
    if pa.types.is_binary(column.type):
        return column.view(pa.string())
    if pa.types.is_large_binary(column.type):
        return column.view(pa.large_string())
    return column


def _chunk(batch: pa.RecordBatch, column: pa.Array, text: bool, start: int) -> Chunk:
    found = {} if is_clean(column) else bad_rows(column)
    if not text and column.null_count:
        nulls = np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False)).tolist()
        found = dict(sorted((found | dict.fromkeys(nulls, "null; expected a list of tokens")).items()))
    bad = [Bad(row, start + row, reason, _value(column, row)) for row, reason in found.items()]
    if found:
        kept = [None if row in found else row for row in range(len(column))]
        column = taken(column, kept)
    places = range(start, start + len(batch))
    if text:
        return Chunk(batch, places, texts=column.to_pylist(), bad=bad)
    return Chunk(batch, places, tokens=column, bad=bad)


@overload
def taken(rows: pa.Array, kept: list[int | None]) -> pa.Array: ...
@overload
def taken(rows: pa.RecordBatch, kept: list[int]) -> pa.RecordBatch: ...
def taken(rows: Any, kept: Any) -> Any:
    """Those rows, in order; None: a null row. Of every type: pyarrow's own ``take`` lacks some, views among them."""
    try:
        return rows.take(pa.array(kept, pa.int64()))
    except pa.ArrowNotImplementedError:
        runs = [rows.slice(0, 0), *_runs(rows, kept)]
    if isinstance(rows, pa.RecordBatch):
        return pa.concat_batches(runs)
    return pa.concat_arrays(runs)


def _runs(rows: Any, kept: list[int | None]) -> Iterator[Any]:
    for null, group in groupby(enumerate(kept), lambda each: None if each[1] is None else each[1] - each[0]):
        places = [row for _, row in group]
        yield pa.nulls(len(places), rows.type) if null is None else rows.slice(places[0], len(places))


def _value(column: pa.Array, row: int) -> str:
    try:
        value = column[row].as_py()
    except UnicodeDecodeError:
        one = column.slice(row, 1)
        value = (one.flatten() if is_list(one.type) else one).view(pa.binary()).to_pylist()
        value = b" ".join(item or b"" for item in value)
    return "" if value is None else preview(value)


class TableSink:
    """Row groups of bounded size in Parquet, or record batches in an Arrow file."""

    def __init__(self, stream: BinaryIO, name: str, kind: str, reading: Reading, source: TableSource) -> None:
        self._names = reading.new_columns(source.text)
        self._tags = reading.columns.tags
        schema = source.schema
        for column in self._names:
            schema = schema.append(pa.field(column, _NEW_TYPES.get(column, pa.list_(pa.string()))))
        self._schema = schema
        self._held: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0
        codec = "none" if source.codec == "uncompressed" else source.codec
        if kind == "parquet":
            self._writer = pq.ParquetWriter(stream, schema, compression=codec)
        elif source.streamed:
            self._writer = pa.ipc.new_stream(stream, schema)
        else:
            packed = pa.ipc.IpcWriteOptions(compression="lz4" if name.endswith(".feather") else None)
            self._writer = pa.ipc.new_file(stream, schema, options=packed)

    def write(self, chunk: Chunk, tagged: Tagged, kept: list[int] | None) -> None:
        """Adds rows."""
        new = {
            self._tags: tagged.tags,
            TOKENS: tagged.tokens,
            "scores": tagged.scores,
            "sentence_lengths": tagged.sentences,
        }
        batch = pa.RecordBatch.from_arrays(
            [*chunk.rows.columns, *(new[name] for name in self._names)], schema=self._schema
        )
        if kept is not None:
            batch = taken(batch, kept)
        self._held.append(batch)
        self._rows += len(batch)
        self._bytes += batch.nbytes
        if self._rows >= _GROUP_ROWS or self._bytes >= _GROUP_BYTES:
            self._flush()

    def close(self) -> None:
        """Writes what is held back, and the file's end."""
        self._flush()
        self._writer.close()

    def __del__(self) -> None:
        if isinstance(writer := getattr(self, "_writer", None), pq.ParquetWriter):
            writer.is_open = False  # of a part given up: else it writes its end to a stream that is closed

    def _flush(self) -> None:
        table = pa.Table.from_batches(self._held, self._schema).combine_chunks()
        self._held, self._rows, self._bytes = [], 0, 0
        if len(table):
            self._writer.write_table(table)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
