"""A corpus through a predictor, part by part: what is done stays done, and goes on where it stopped."""

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..errors import InputError, OutputError
from ..providers import available_cores
from .manifest import Layout, Ledger, held, job_of
from .parts import Kind, Part, find_parts, kind_named
from .processes import Outcomes, Progress, Task, tag_here, tag_in_processes
from .tagging import SCORED, Record, Tagging

_PROGRESS_DELAY = 1.0
Engine = Callable[[Tagging, Sequence[Task], Progress], Outcomes]
"""Gives each task and what became of it, in any order; closed, it writes nothing any more."""


def tag_corpus(
    source: str,
    output: Path,
    tagging: Tagging,
    *,
    kind: Kind | None = None,
    processes: int | None = None,
    engine: Engine | None = None,
    overwrite: bool = False,
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Tags every part of a corpus; the manifest of what came out.

    A job that was stopped in whatever way goes on when it is called again: parts that are done are kept, half ones
    are begun anew, and what comes out is the same to the last bit. So are parts that are new or have changed.

    Args:
        source: a file, a folder or a pattern.
        output: a folder, which gets a part for each of the input's; of a single file it may be a file.
        kind: of all parts; default: what their names say.
        processes: at the same time on this machine; default: the cores that there are, or fewer parts; on CUDA one.
        engine: what shares the parts out; default: processes of this machine.
        overwrite: begin anew, and replace what is there.
        report: is told in a line what was done.

    Raises:
        InputError: no such files; a part is damaged; or a row cannot be tagged, with ``on_error`` ``fail``.
        OutputError: the output is another job's, or cannot be written.
        WorkerError: a part's process died again and again.
        ModelFileError, ProviderError: the model cannot be loaded.
    """
    parts = find_parts(source, kind, tagging.columns.sources)
    if tagging.scores and (without := [part for part in parts if part.kind not in SCORED]):
        raise InputError(f"{without[0].path}: {without[0].kind} has no place for scores; leave --scores out")
    layout, parts = _layout(Path(source), output, parts)
    _refuse_itself(parts, layout.root)
    _refuse_nested(Path(source), layout.root, parts)
    tagging = tagging.pinned()
    with held(layout.lock):
        ledger = Ledger(layout, job_of(tagging), source)
        ledger.open(parts, overwrite=overwrite)
        tasks = [
            Task(part, layout.root / part.name, layout.rejects_of(part.name))
            for part in parts
            if part.name not in ledger.done
        ]
        if ledger.done:
            report(f"{output}: {len(ledger.done):,} of {len(parts):,} parts are done already")
        said, failed = "", {}
        if tasks:
            run = engine or _local(processes)
            # Closed: no process works on when the lock is let go.
            with _Bar(parts, tasks) as bar, closing(run(tagging, tasks, bar.update)) as outcomes:
                failed = _run(outcomes, tagging, ledger, bar)
                said = bar.rate()
        manifest = ledger.close(parts, failed)
    report(_summary(output, manifest, layout) + said)
    if failed:
        name, reason = next(iter(failed.items()))
        raise InputError(
            f"{len(failed)} of {len(parts)} parts could not be read, the others are done: {reason}; mend or remove "
            f"{name}, then run the same command again"
        )
    return manifest


def _layout(source: Path, output: Path, parts: list[Part]) -> tuple[Layout, list[Part]]:
    """Where all is written, and the parts by the names of their outputs."""
    if not source.is_file() or output.is_dir() or not kind_named(output):
        return Layout.of_folder(output), parts
    (part,) = parts
    if kind_named(output) not in (part.kind, kind_named(part.path)):
        raise OutputError(f"{output}: another kind of file than {part.path}; pass a name with the same ending")
    return Layout.of_file(output), [replace(part, name=output.name)]


def _refuse_nested(source: Path, root: Path, parts: list[Part]) -> None:
    inside = source.is_dir() and root.resolve().is_relative_to(source.resolve())
    # Of a pattern: what an earlier run has written there.
    if inside or (not source.exists() and any(part.path.resolve().is_relative_to(root.resolve()) for part in parts)):
        raise OutputError(f"{root}: inside the input, which would then hold its own output; pass a folder beside it")


def _refuse_itself(parts: list[Part], root: Path) -> None:
    for part in parts:
        output = root / part.name
        if output.exists() and output.samefile(part.path):
            raise OutputError(f"{output}: is the input itself, which would be lost; pass another --output")


def _run(outcomes: Outcomes, tagging: Tagging, ledger: Ledger, bar: "_Bar") -> dict[str, str]:
    """Keeps what is done; name and reason of parts that could not be read, where rows may be bad and so may they."""
    failed = {}
    for task, outcome in outcomes:
        if isinstance(outcome, Record):
            ledger.add(outcome)
            bar.done(task.part)
        elif tagging.on_error == "fail" or not isinstance(outcome, InputError):
            raise outcome
        else:
            failed[task.part.name] = str(outcome)
    return failed


def _local(processes: int | None) -> Engine:
    """Processes of this machine, with as many threads in each as there are cores for it."""

    def run(tagging: Tagging, tasks: Sequence[Task], progress: Progress) -> Outcomes:
        cores = available_cores()
        count = min(processes or (cores if tagging.provider == "cpu" else 1), len(tasks))
        if tagging.provider == "cpu" and tagging.threads is None:
            tagging = replace(tagging, threads=max(cores // count, 1))
        if count == 1:
            return tag_here(tagging, tasks, progress)
        return tag_in_processes(tagging, tasks, count, progress)

    return run


class _Bar:
    """A bar on standard error, where that is a terminal: bytes of the input, tokens a second, time left."""

    def __init__(self, parts: Sequence[Part], tasks: Sequence[Task]) -> None:
        self._read: dict[str, int] = {}
        self._tokens: dict[str, int] = {}
        self._parts = len(parts)
        self._finished = len(parts) - len(tasks)
        self._start = time.monotonic()
        self._bar = tqdm(
            total=sum(part.size for part in parts),
            initial=sum(part.size for part in parts) - sum(task.part.size for task in tasks),
            unit="B",
            unit_scale=True,
            delay=_PROGRESS_DELAY,
            disable=sys.stderr is None or not sys.stderr.isatty(),
            dynamic_ncols=True,
        )

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def update(self, name: str, read: int, tokens: int) -> None:
        """A part has come so far."""
        self._tokens[name] = tokens
        step = read - self._read.get(name, 0)
        self._read[name] = read
        if not self._bar.disable and self._bar.update(step):
            self._bar.set_postfix_str(f"{self._finished}/{self._parts} parts{self.rate()}", refresh=False)

    def done(self, part: Part) -> None:
        """A part is done."""
        self._finished += 1
        self.update(part.name, part.size, self._tokens.get(part.name, 0))

    def rate(self) -> str:
        """Tokens a second so far."""
        return f", {sum(self._tokens.values()) / max(time.monotonic() - self._start, 1e-9):,.0f} tokens/s"


def _summary(output: Path, manifest: dict[str, Any], layout: Layout) -> str:
    totals = manifest["totals"]
    rejected = f", {totals['rejected']:,} rejected (see {layout.rejects})" if totals["rejected"] else ""
    return f"{output}: {totals['rows']:,} rows in {totals['parts']:,} parts{rejected}, {totals['tokens']:,} tokens"
