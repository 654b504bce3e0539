"""One part through a predictor: read, tagged, written under a temporary name, there whole or not at all."""

import hashlib
import json
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal

import pyarrow.compute as pc

from ..errors import InputError, ModelFileError, OutputError, UnknownCharacterError, UnknownWordError
from ..formats.streams import LineReader, atomic_output
from ..modelfile import read_model_file
from ..predictor import Predictor
from ..providers import CudaOptions, Provider
from ..segmentation import Segments
from ..segmenter import Segmenter
from ..sentence_rules import SentenceRules
from .arrow_tables import TableSink, TableSource, taken
from .columns import ListsWork, bad_rows, start_lists
from .csv_tables import CsvSink, CsvSource
from .json_lines import JsonSink, json_rows
from .lines import LineSource
from .parts import Kind, Part
from .rows import Bad, Chunk, Columns, OnError, Reading, Sink, Source, Tagged, preview
from .sentences import ColumnSink, ConlluSink, TextSink, column_rows, conllu_rows, text_rows
from .tokenizing import Tokens, as_rows, tokens_of

SCORED: tuple[Kind, ...] = ("jsonl", "csv", "tsv", "parquet", "arrow")
"""Kinds that have a place for probabilities."""
_DELIMITERS = {"csv": ",", "tsv": "\t"}
_IN_FLIGHT = 2
"""Chunks that are begun at a time: one is read, or written, while another is tagged."""
Progress = Callable[[int, int], None]
"""Called with bytes read of the part and tokens tagged of it, as both grow."""


@dataclass(frozen=True)
class Tagging:
    """How parts are tagged. Can be pickled.

    Attributes:
        model: the tagger's file.
        provider, threads, batch_tokens, cuda: those of `Predictor.load`.
        columns: names of columns.
        scores: write the probability of each tag, too.
        sentences: ``lines``: each row of text is a sentence; ``rules``: the model's rules find them in it.
        segmenter: a segmenter's file, which finds words and sentences in text.
        on_error: what becomes of a row that cannot be tagged: ``fail`` ends the job, ``skip`` leaves it out, ``null``
            keeps it without tags.
        sha256, segmenter_sha256: what the SHA-256 of the files has to be.
    """

    model: Path
    provider: Provider = "cpu"
    threads: int | None = None
    batch_tokens: int | None = None
    cuda: CudaOptions | None = None
    columns: Columns = field(default_factory=Columns)
    scores: bool = False
    sentences: Literal["lines", "rules"] = "lines"
    segmenter: Path | None = None
    on_error: OnError = "fail"
    sha256: str | None = None
    segmenter_sha256: str | None = None

    def pinned(self) -> "Tagging":
        """The same, with the digests of the files as they are now: every process loads these bytes or none.

        Raises:
            ModelFileError: a file cannot be read, is no model, or is not the one that its digest is of.
        """
        segmenter = self.segmenter and read_model_file(self.segmenter, self.segmenter_sha256).sha256
        return replace(self, sha256=read_model_file(self.model, self.sha256).sha256, segmenter_sha256=segmenter)


@dataclass(frozen=True)
class Record:
    """What became of a part.

    Attributes:
        part: its name.
        kind: what it is.
        input_bytes, input_modified: of the file that was read, in bytes and nanoseconds since 1970.
        rows: that it has.
        rejected: of those, that could not be tagged.
        tokens: that were tagged.
        output_bytes, sha256: of the file that was written.
    """

    part: str
    kind: Kind
    input_bytes: int
    input_modified: int
    rows: int
    rejected: int
    tokens: int
    output_bytes: int
    sha256: str

    def to_json(self) -> dict[str, Any]:
        """Its fields."""
        return asdict(self)


class PartTagger:
    """Tags parts, one after another, by one model that is loaded once."""

    def __init__(self, tagging: Tagging) -> None:
        self._tagging = tagging
        settings = {"threads": tagging.threads, "batch_tokens": tagging.batch_tokens, "cuda": tagging.cuda}
        self._predictor = Predictor.load(tagging.model, tagging.provider, sha256=tagging.sha256, **settings)
        metadata = self._predictor.metadata
        if metadata.column == "segmentation":
            raise ModelFileError(
                f"{tagging.model}: finds words and sentences; expected a model that tags words; give this one as "
                "--segmenter"
            )
        self._segments: Segments | None = None
        if tagging.segmenter:
            pin = tagging.segmenter_sha256
            self._segments = Segmenter.load(tagging.segmenter, tagging.provider, sha256=pin, **settings)
        elif tagging.sentences == "rules":
            self._segments = SentenceRules(metadata.tokenizer)
        self._reading = Reading(
            tagging.columns, metadata.tokenizer, scores=tagging.scores, raw=self._segments is not None
        )

    def tag(self, part: Part, output: Path, rejects: Path, progress: Progress = lambda read, tokens: None) -> Record:
        """Writes ``output``, of the kind of ``part``; and ``rejects``, JSON lines, where a row could not be tagged.

        Raises:
            InputError: the file is damaged, or of ``on_error`` ``fail`` a row cannot be tagged.
            OutputError: the output cannot be written.
            OutOfMemoryError: one row alone does not fit into memory.
        """
        count = {"rows": 0, "rejected": 0, "tokens": 0}
        source = self._source(part)
        _make_folder(output.parent)
        with atomic_output(output) as stream, _Rejects(rejects, part.name, source.unit) as refused:
            sink = self._sink(part, source, stream)
            running: deque[tuple[Chunk, Tokens, ListsWork]] = deque()
            for chunk in source.chunks():
                running.append((chunk, *self._start(chunk, part, source.unit)))
                if len(running) == _IN_FLIGHT:
                    self._finish(*running.popleft(), sink, refused, count)
                    progress(source.position(), count["tokens"])
            while running:
                self._finish(*running.popleft(), sink, refused, count)
            sink.close()
        progress(part.size, count["tokens"])
        with output.open("rb") as written:
            digest = hashlib.file_digest(written, "sha256").hexdigest()
        return Record(
            part=part.name,
            kind=part.kind,
            input_bytes=part.size,
            input_modified=part.modified,
            output_bytes=output.stat().st_size,
            sha256=digest,
            **count,
        )

    def _start(self, chunk: Chunk, part: Part, unit: str) -> tuple[Tokens, ListsWork]:
        if chunk.bad and self._tagging.on_error == "fail":
            raise _refusal(part, unit, chunk.bad[0])
        tokens = tokens_of(chunk, self._reading.tokenizer, self._segments)
        try:
            return tokens, self._begin(tokens)
        except (UnknownWordError, UnknownCharacterError):
            self._set_aside(chunk, tokens)
        if self._tagging.on_error == "fail":
            raise _refusal(part, unit, chunk.bad[0])
        tokens = tokens_of(chunk, self._reading.tokenizer, self._segments)
        return tokens, self._begin(tokens)

    def _begin(self, tokens: Tokens) -> ListsWork:
        return start_lists(self._predictor, tokens.sentences, scores=self._tagging.scores)

    def _set_aside(self, chunk: Chunk, tokens: Tokens) -> None:
        """Rows with words that the model has no id for become bad ones."""
        found = bad_rows(tokens.rows, self._predictor)
        new = [Bad(row, chunk.places[row], reason, preview(tokens.rows[row].as_py())) for row, reason in found.items()]
        chunk.bad = sorted([*chunk.bad, *new], key=lambda bad: bad.row)
        if chunk.texts is not None:
            chunk.texts = [None if row in found else text for row, text in enumerate(chunk.texts)]
        if isinstance(chunk.tokens, list):
            chunk.tokens = [None if row in found else given for row, given in enumerate(chunk.tokens)]
        elif chunk.tokens is not None:
            kept = [None if row in found else row for row in range(len(chunk.tokens))]
            chunk.tokens = taken(chunk.tokens, kept)

    def _finish(
        self, chunk: Chunk, tokens: Tokens, work: ListsWork, sink: Sink, rejects: "_Rejects", count: dict[str, int]
    ) -> None:
        found = work.result()
        tags, scores = found.tags, found.scores
        if tokens.lengths is not None:  # of sentences: now of rows
            counts = pc.list_value_length(tokens.rows).fill_null(0).to_numpy()
            nulls = tokens.rows.is_null() if tokens.rows.null_count else None
            tags = as_rows(tags.flatten(), counts, nulls)
            scores = None if scores is None else as_rows(scores.flatten(), counts, nulls)
        kept = None
        if chunk.bad and self._tagging.on_error == "skip":
            bad = {each.row for each in chunk.bad}
            kept = [row for row in range(len(tags)) if row not in bad]
        sink.write(chunk, Tagged(tags, scores, tokens.rows, tokens.lengths), kept)
        rejects.add(chunk.bad)
        count["rows"] += len(tags)
        count["rejected"] += len(chunk.bad)
        count["tokens"] += len(tags.flatten())

    def _source(self, part: Part) -> Source:
        if part.kind in ("parquet", "arrow"):
            return TableSource(part.path, part.kind, self._reading)
        lines = LineReader(part.path)
        if delimiter := _DELIMITERS.get(part.kind):
            return CsvSource(lines, self._reading, delimiter)
        rows = {"text": text_rows, "conllu": conllu_rows, "columns": column_rows, "jsonl": json_rows}[part.kind]
        return LineSource(lines, rows(lines, self._reading))

    def _sink(self, part: Part, source: Source, stream: BinaryIO) -> Sink:
        if isinstance(source, TableSource):
            return TableSink(stream, part.name, part.kind, self._reading, source)
        if isinstance(source, CsvSource):
            return CsvSink(stream, self._reading, source, _DELIMITERS[part.kind])
        if part.kind == "jsonl":
            return JsonSink(stream, self._reading.columns)
        if part.kind == "conllu":
            return ConlluSink(stream, self._predictor.metadata.column)
        return TextSink(stream) if part.kind == "text" else ColumnSink(stream)


class _Rejects:
    """The file of rows that could not be tagged, which appears with the first; without any an old one goes."""

    def __init__(self, path: Path, part: str, unit: str) -> None:
        self._path = path
        self._part = part
        self._unit = unit
        self._stack = ExitStack()
        self._stream: BinaryIO | None = None

    def __enter__(self) -> "_Rejects":
        return self

    def add(self, bad: list[Bad]) -> None:
        """Writes a line for each row."""
        if bad and self._stream is None:
            _make_folder(self._path.parent)
            self._stream = self._stack.enter_context(atomic_output(self._path))
        for each in bad:
            line = {"part": self._part, self._unit: each.place, "reason": each.reason, "value": each.value}
            self._stream.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")  # type: ignore[union-attr]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self._stream is None:
            self._path.unlink(missing_ok=True)
        self._stack.__exit__(kind, error, trace)


def _refusal(part: Part, unit: str, bad: Bad) -> InputError:
    where = f"{part.path}:{bad.place}" if unit == "line" else f"{part.path}: row {bad.place}"
    return InputError(f"{where}: {bad.reason}; mend it, or pass --on-error skip or null")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise OutputError(f"{folder}: cannot make the folder ({e.strerror}); pass another --output") from e
