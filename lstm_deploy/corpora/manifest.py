"""What a job is, what of it is done, and the manifest of what came out, without a clock: same job, same bytes."""

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from .. import __version__
from ..errors import InputError, OutputError
from ..formats.streams import PARTIAL, atomic_output
from ..providers import import_onnxruntime
from .parts import Part
from .tagging import Record, Tagging


@dataclass(frozen=True)
class Layout:
    """Where everything of a job is written.

    Attributes:
        root: folder of the output parts.
        manifest: what came out.
        progress: what is done so far; gone when all is.
        rejects: folder of rows that could not be tagged, a file for each part that has some; or of one part that file.
        lock: held while a job runs.
    """

    root: Path
    manifest: Path
    progress: Path
    rejects: Path
    lock: Path

    @classmethod
    def of_folder(cls, output: Path) -> "Layout":
        """Of a folder of parts; names with ``_`` are none to those who read such folders."""
        return cls(output, output / "_manifest.json", output / "_progress.jsonl", output / "_rejects", output / "_lock")

    @classmethod
    def of_file(cls, output: Path) -> "Layout":
        """Of one part."""
        beside = {name: output.with_name(f"{output.name}.{name}") for name in ("manifest.json", "rejects.jsonl")}
        hidden = {name: output.with_name(f".{output.name}.{name}") for name in ("progress.jsonl", "lock")}
        return cls(
            output.parent, beside["manifest.json"], hidden["progress.jsonl"], beside["rejects.jsonl"], hidden["lock"]
        )

    def rejects_of(self, part: str) -> Path:
        """The file of the rows of a part that could not be tagged."""
        return self.rejects if self.rejects.suffix == ".jsonl" else self.rejects / f"{part}.jsonl"


def job_of(tagging: Tagging) -> dict[str, Any]:
    """What the output depends on beside the input: model, settings and versions; of a tagging with its digests."""
    columns = tagging.columns
    return {
        "model": {"name": tagging.model.name, "sha256": tagging.sha256},
        "segmenter": {"name": tagging.segmenter.name, "sha256": tagging.segmenter_sha256}
        if tagging.segmenter
        else None,
        "settings": {
            "provider": tagging.provider,
            "batch_tokens": tagging.batch_tokens,
            "text_column": columns.source,
            "tags_column": columns.tags,
            "scores": tagging.scores,
            "sentences": "segmenter" if tagging.segmenter else tagging.sentences,
            "on_error": tagging.on_error,
        },
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Of what the output's bytes depend on."""
    return {
        "lstm-deploy": __version__,
        "onnxruntime": import_onnxruntime().__version__,
        "numpy": np.__version__,
        "pyarrow": pa.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


class Ledger:
    """Which parts of a job are done: written to disk as they are, read back when the job goes on.

    Attributes:
        done: name -> record of each part whose output is there.
    """

    def __init__(self, layout: Layout, job: dict[str, Any], source: str) -> None:
        self._layout = layout
        self._job = job
        self._source = source
        self.done: dict[str, Record] = {}

    def open(self, parts: list[Part], *, overwrite: bool) -> None:
        """Reads what an earlier run has done, and claims the names of all outputs.

        Raises:
            OutputError: the outputs are another job's or nobody's, unless ``overwrite``; or cannot be written.
        """
        if overwrite:
            self._forget(parts)
        found = None if overwrite else self._found()
        claimed = set(found["outputs"]) if found else set()
        if not overwrite:
            for part in parts:
                if part.name not in claimed and (path := self._layout.root / part.name).exists():
                    raise OutputError(
                        f"{path}: is there already, and not made by this job; pass another --output, or --overwrite to "
                        "replace it"
                    )
        if found:
            self._read(found, parts)
        else:
            self._layout.progress.unlink(missing_ok=True)
        self._remove_halves(parts)
        names = sorted(claimed | {part.name for part in parts})
        if found is None or not found["complete"] or len(self.done) < len(parts):
            kept = [record.to_json() for _, record in sorted(self.done.items())]
            self._write({"complete": False, "outputs": names, "parts": kept})
            self._layout.progress.unlink(missing_ok=True)  # it says no more, and its last line may be cut off

    def add(self, record: Record) -> None:
        """Keeps that a part is done, whatever happens from now on."""
        self.done[record.part] = record
        with _writing(self._layout.progress), self._layout.progress.open("ab") as log:
            log.write(json.dumps(record.to_json()).encode() + b"\n")
            log.flush()
            os.fsync(log.fileno())

    def close(self, parts: list[Part], failed: dict[str, str]) -> dict[str, Any]:
        """Writes the manifest; with all parts done the job is complete.

        Args:
            failed: name of each part that could not be read, and why.
        """
        self._remove_halves(parts)
        records = [self.done[part.name] for part in parts if part.name in self.done]
        totals = {name: sum(getattr(r, name) for r in records) for name in ("rows", "rejected", "tokens")}
        manifest = self._write(
            {
                "complete": len(records) == len(parts),
                "totals": {"parts": len(records), **totals},
                "outputs": [part.name for part in parts],
                "failed": failed,
                "parts": [record.to_json() for record in records],
            }
        )
        self._layout.progress.unlink(missing_ok=True)
        return manifest

    def _forget(self, parts: list[Part]) -> None:
        """Outputs of the job before that this one does not replace go: whoever reads the folder would take them in."""
        try:
            before = {record["part"] for record in json.loads(self._layout.manifest.read_bytes())["parts"]}
        except (OSError, ValueError, TypeError, KeyError):
            return
        for name in before - {part.name for part in parts}:
            if not (self._layout.root / name).resolve().is_relative_to(self._layout.root.resolve()):
                continue  # no manifest of ours
            with _writing(self._layout.root / name):
                (self._layout.root / name).unlink(missing_ok=True)
                self._layout.rejects_of(name).unlink(missing_ok=True)

    def _found(self) -> dict[str, Any] | None:
        """The manifest of an earlier run of this same job."""
        path = self._layout.manifest
        try:
            found = json.loads(path.read_bytes())
            outputs = set(found["outputs"]) | {record["part"] for record in found["parts"]}
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as e:
            raise OutputError(f"{path}: not a manifest ({e}); remove it, or pass another --output") from e
        for group, wanted in self._job.items():
            if found.get(group) != wanted:
                raise OutputError(
                    f"{path}: begun with {_difference(found.get(group), wanted)}; pass the same to go on, another "
                    "--output, or --overwrite to begin anew"
                )
        return found | {"outputs": sorted(outputs)}

    def _read(self, found: dict[str, Any], parts: list[Part]) -> None:
        names = {field.name for field in fields(Record)}
        records = [*found["parts"], *_lines(self._layout.progress)]
        by_name = {part.name: part for part in parts}
        if gone := [each["part"] for each in records if each["part"] not in by_name]:
            raise OutputError(
                f"{self._layout.manifest}: {gone[0]} was tagged before and is not in the input now; put it back, pass "
                "another --output, or --overwrite to begin anew"
            )
        for each in records:
            record = Record(**{name: each[name] for name in names})
            part = by_name[record.part]
            same = (record.input_bytes, record.input_modified) == (part.size, part.modified)
            path = self._layout.root / part.name
            if same and path.is_file() and path.stat().st_size == record.output_bytes:
                self.done[record.part] = record

    def _remove_halves(self, parts: list[Part]) -> None:
        """Half files of a run, or of a process of this one, that was killed; none writes while the lock is held."""
        folders = {(self._layout.root / part.name).parent for part in parts} | {self._layout.manifest.parent}
        folders |= {self._layout.rejects_of(part.name).parent for part in parts}
        for folder in folders:
            for half in folder.glob(f"{PARTIAL[0]}*{PARTIAL[1]}"):
                half.unlink(missing_ok=True)

    def _write(self, rest: dict[str, Any]) -> dict[str, Any]:
        manifest = {"manifest": 1, **self._job, "input": self._source, **rest}
        with atomic_output(self._layout.manifest) as stream:
            stream.write(json.dumps(manifest, indent=1, ensure_ascii=False).encode() + b"\n")
        return manifest


@contextmanager
def held(lock: Path) -> Iterator[None]:
    """Keeps a second job from the same output.

    Raises:
        OutputError: another one runs; or nothing can be written there.
    """
    try:
        import fcntl
    except ImportError:  # Windows: two jobs at a time write the same bytes under the same names
        yield
        return
    with _writing(lock):
        lock.parent.mkdir(parents=True, exist_ok=True)
        stream = lock.open("ab")
    with stream:
        try:
            fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(stream.fileno()), lock.stat()):
                raise FileExistsError  # one that ended took its lock away, and a third has made a new one
        except OSError as e:
            raise OutputError(
                f"{lock.parent}: another job writes there; wait for its end, or pass another --output"
            ) from e
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)  # while it is held: nobody else's goes


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        if isinstance(e, OutputError):
            raise
        raise OutputError(f"{path}: cannot write ({e.strerror or e}); make room, or pass another --output") from e


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a log whose last line may be cut off."""
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError as e:
            raise InputError(f"{path}: not a log of a job ({e}); remove it, or pass --overwrite") from e


def _difference(found: Any, wanted: Any) -> str:
    if isinstance(found, dict) and isinstance(wanted, dict):
        name = next((name for name in wanted if found.get(name) != wanted[name]), "")
        return f"{name} {found.get(name)}, not {wanted.get(name)}"
    return f"{found}, not {wanted}"
