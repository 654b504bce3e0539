"""Fuzzes what reads things from outside, class by class: ``python -m tests.fuzz.campaign --minutes M``.

Each class (`tests.fuzz.classes`) is a module here. Its cases are numbered, and each is drawn anew from its number, so
that any can be had again: ``--show CLASS:INDEX``. Cases run in forked processes (`tests.fuzz.workers`); inputs that
failed are kept in the state folder. What was counted is kept there too: a run that was stopped goes on where it
was, and one whose code has changed since begins again.
"""

import argparse
import hashlib
import importlib
import json
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import Any

from lstm_deploy.providers import available_cores

from .classes import FAILURES, OUTCOMES, FuzzClass, outcome
from .workers import Found, Worker

ROOT = Path(__file__).parents[2]
MODULES = ("texts", "metadata", "readers", "javascript", "models", "operators")
"""Those that have classes; one that is not there is left out."""
STATE = ROOT / "checkpoints" / "fuzz"
RESULTS = ROOT / "benchmarks" / "results" / "fuzz.json"
SCRATCH = Path("/dev/shm")
"""Where files of cases go, if it is there: in memory, since each is written for one look."""
PACKAGES = ("lstm-deploy", "numpy", "onnxruntime")
CODE = ("lstm_deploy/**/*.py", "clients/javascript/src/*.js", "tests/fuzz/*.py", "tests/fuzz/*.mjs")
_RANGE_S = 5.0
"""Seconds that a range of cases should take: so much at most is done again when the campaign itself is killed."""
_POLL_S = 0.02
_MOST_KEPT = 100


@dataclass
class State:
    """How far a class is.

    Attributes:
        code: digest of the code that it ran with.
        next: index of the first case that nobody was given.
        open: ranges that were given back unfinished.
        given: those in hand; of a campaign that was killed they are open when it is read again.
        seconds: of all runs together.
        suspects: cases that once had no answer in time; a hang is one that has none again, so that a machine that
            stood still counts for none.
    """

    name: str
    code: str
    next: int = 0
    open: list[list[int]] = field(default_factory=list)
    given: list[list[int]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    failures: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    date: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    suspects: list[int] = field(default_factory=list)

    @classmethod
    def load(cls, folder: Path, name: str, code: str) -> "State":
        """The one in ``folder``, or a new one where there is none or it is of other code."""
        path = folder / f"{name}.json"
        if path.exists():
            found = cls(**json.loads(path.read_text(encoding="utf-8")))
            if found.code == code:
                found.open, found.given = found.open + found.given, []
                return found
            print(f"{name}: the code has changed since; begins again", file=sys.stderr)
        return cls(name, code)

    def save(self, folder: Path) -> None:
        """Writes it, whole or not at all."""
        partial = folder / f"{self.name}.partial"
        partial.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")
        partial.replace(folder / f"{self.name}.json")

    def take(self, size: int, cases: int) -> tuple[int, int] | None:
        """The next range of at most ``size``, below ``cases``."""
        if self.open:
            start, stop = self.open.pop(0)
            if stop - start > size:
                self.open.append([start + size, stop])
                stop = start + size
        else:
            start, stop = self.next, max(self.next, min(self.next + size, cases))
            self.next = stop
        if start == stop:
            return None
        self.given.append([start, stop])
        return start, stop


def load_classes(only: Iterable[str] = ()) -> list[FuzzClass]:
    """The classes, or those named.

    Raises:
        SystemExit: a name that there is not.
    """
    here = [name for name in MODULES if (Path(__file__).parent / f"{name}.py").exists()]
    found = [c for name in here for c in importlib.import_module(f".{name}", __package__).CLASSES]
    names = {c.name for c in found}
    if unknown := set(only) - names:
        raise SystemExit(f"no class {', '.join(sorted(unknown))}; expected some of {', '.join(sorted(names))}")
    return [c for c in found if not only or c.name in only]


def run_class(fuzzed: FuzzClass, folder: Path, *, cases: int, seconds: float, workers: int, code: str) -> State:
    """Runs a class until it has had ``cases`` cases or ``seconds`` have passed."""
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=SCRATCH if SCRATCH.is_dir() else None) as scratch:
        fuzzed.scratch = Path(scratch)
        try:
            return _run_class(fuzzed, folder, cases=cases, seconds=seconds, workers=workers, code=code)
        finally:
            fuzzed.scratch = None


def _run_class(fuzzed: FuzzClass, folder: Path, *, cases: int, seconds: float, workers: int, code: str) -> State:
    state = State.load(folder, fuzzed.name, code)
    fuzzed.prepare()
    (folder / fuzzed.name).mkdir(exist_ok=True)
    began = at = time.monotonic()
    before = state.seconds
    running: list[Worker] = []
    size = 1
    try:
        while True:
            over = time.monotonic() - began > seconds
            while not over and len(running) < workers and (taken := state.take(size, cases)):
                running.append(Worker(fuzzed, *taken, folder))
            if not running:
                break
            for worker in list(running):
                if over:
                    worker.ask_to_stop()
                if (found := worker.found()) is not None:
                    running.remove(worker)
                    _note(state, fuzzed, worker, found, folder)
            done = sum(state.counts.values())
            size = max(int(done / max(before + at - began, 0.1) * _RANGE_S / workers), 1) if done else 1
            at = time.monotonic()
            state.seconds = before + at - began
            time.sleep(_POLL_S)
    except KeyboardInterrupt:
        print(f"{fuzzed.name}: stopped; run it again to go on", file=sys.stderr)
        for worker in running:
            worker.ask_to_stop()
            while (found := worker.found()) is None:
                time.sleep(_POLL_S)
            _note(state, fuzzed, worker, found, folder)
        raise
    finally:
        state.seconds, state.date = before + time.monotonic() - began, date.today().isoformat()
        state.versions = _versions()
        state.save(folder)
    return state


def _note(state: State, fuzzed: FuzzClass, worker: Worker, found: Found, folder: Path) -> None:
    """Counts what a worker found, and gives back what it left."""
    state.given.remove([worker.start, worker.stop])
    last = found.failures[-1] if found.failures else {}
    if last.get("outcome") == "hang" and last["index"] not in state.suspects:
        state.suspects.append(last["index"])
        print(f"{fuzzed.name}:{last['index']}: once more, since: {last['detail']}", file=sys.stderr)
        found.failures.pop()
        found.counts["hang"] -= 1
        found.done = last["index"]
    for how, n in found.counts.items():
        state.counts[how] += n
    if found.done < worker.stop:
        state.open.append([found.done, worker.stop])
    for failure in found.failures:
        print(f"{fuzzed.name}:{failure['index']}: {failure['outcome']}: {failure['detail']:.300}", file=sys.stderr)
        if len(state.failures) < _MOST_KEPT:
            state.failures.append(failure)
            fuzzed.save(
                fuzzed.case(failure["index"]), folder / fuzzed.name / f"{failure['outcome']}-{failure['index']}"
            )
    state.save(folder)


def report(classes: list[FuzzClass], folder: Path, code: str) -> dict[str, Any]:
    """The campaign as it stands, for `RESULTS`."""
    rows = []
    for fuzzed in classes:
        state = State.load(folder, fuzzed.name, code)
        counts = {how: n * fuzzed.per_case for how, n in state.counts.items()}
        facts = {"name": fuzzed.name, "about": fuzzed.about, "wanted": fuzzed.wanted, "cases": sum(counts.values())}
        dated = {"seconds": round(state.seconds, 1), "date": state.date, "versions": state.versions}
        rows.append(facts | counts | dated | {"failures": state.failures[:10], "absent": fuzzed.absent()})
    return {"seconds": round(sum(row["seconds"] for row in rows), 1), "code": code, "classes": rows}


def code_digest() -> str:
    """Of all that a result depends on, in this repository."""
    found = hashlib.sha256()
    for path in sorted(path for pattern in CODE for path in ROOT.glob(pattern) if not path.name.startswith("test_")):
        found.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()[:16]


def _versions() -> dict[str, str]:
    found = {"python": python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            pass
    return found


def main(arguments: list[str] | None = None) -> int:
    """Runs the campaign; 1 where a class has failures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0, help="of all classes together; default 60")
    parser.add_argument("--only", nargs="+", default=[], metavar="CLASS")
    parser.add_argument("--state", type=Path, default=STATE, help="folder to go on from")
    parser.add_argument("--output", type=Path, help="JSON to write")
    parser.add_argument("--page", type=Path, help="page in whose markers the table goes")
    parser.add_argument("--cases", type=int, help="inputs of each class at most")
    parser.add_argument("--share", type=float, default=1.0, help="part of what each class wants")
    parser.add_argument("--workers", type=int, default=min(2, available_cores()))
    parser.add_argument("--show", metavar="CLASS:INDEX", help="run one case here, and say what comes of it")
    given = parser.parse_args(arguments)
    if given.show:
        return _show(given.show)
    given.state.mkdir(parents=True, exist_ok=True)
    code, end = code_digest(), time.monotonic() + 60 * given.minutes
    classes = load_classes(given.only)
    for number, fuzzed in enumerate(classes):
        if reason := fuzzed.absent():
            print(f"{fuzzed.name}: skipped: {reason}", file=sys.stderr)
            continue
        inputs = min(fuzzed.wanted * given.share, given.cases or fuzzed.wanted)
        seconds = max(end - time.monotonic(), 0) / (len(classes) - number)
        cases = -(-int(inputs) // fuzzed.per_case)
        state = run_class(fuzzed, given.state, cases=cases, seconds=seconds, workers=given.workers, code=code)
        counts = ", ".join(f"{n * fuzzed.per_case:,} {how}" for how, n in state.counts.items())
        print(f"{fuzzed.name}: {counts} in {state.seconds:.0f} s", file=sys.stderr)
    found = report(load_classes(), given.state, code)
    if given.output:
        given.output.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if given.page:
        from .page import write_page

        write_page(found, given.page)
    return int(any(row[how] for row in found["classes"] for how in FAILURES))


def _show(which: str) -> int:
    name, _, index = which.rpartition(":")
    (fuzzed,) = load_classes([name])
    fuzzed.prepare()
    case = fuzzed.case(int(index))
    path = Path(tempfile.gettempdir()) / f"{name}-{index}"
    fuzzed.save(case, path)
    how, detail = outcome(fuzzed, case)
    print(f"{path}: {how} {detail}")
    return int(how in FAILURES)


if __name__ == "__main__":
    sys.exit(main())
