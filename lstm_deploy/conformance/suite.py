"""Runs a file in every runtime on the same batches, and compares each with the same oracle."""

import math
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..encoding import Inputs, row_of
from ..errors import InputError, MissingDependencyError
from ..golden import GoldenReport, check_answer
from ..metadata import ModelMetadata
from ..session import Scores, TaggerSession
from .cases import Case, cases_of
from .exchange import Answer, Arrays, read_answers, write_batches
from .proof import Proof
from .runtimes import RUNTIMES, Runtime

Oracle = Callable[[Inputs], NDArray[np.float32]]
"""The right answer to a batch of one sentence without padding: (1, sequence, tags), as the file gives its scores."""
Status = Literal["equal", "wrong", "refused", "crashed"]
_MOST_CRASHES = 3
"""Of one runtime; after so many the rest of its batches is not tried."""
_SECONDS = 900
_TARGETS = {"openvino": "portable", "tract": "tract"}
"""Runtime -> what `export --target` makes files for it."""


@dataclass(frozen=True)
class CaseResult:
    """What a runtime did with a case.

    Attributes:
        status: ``equal``: every tag, every score within the tolerance; ``wrong``: not; ``refused``: an error;
            ``crashed``: its process died, or did not come to an end.
        max_difference: largest |difference| of a score from the oracle's; None where there is no answer.
        tags_equal: fraction of tags that are the oracle's, or as good within the tolerance.
        ties: tags that differ where two are as good within the tolerance.
        reason: why it is not equal, "" where it is.
    """

    status: Status
    max_difference: float | None = None
    tags_equal: float | None = None
    ties: int = 0
    reason: str = ""


@dataclass(frozen=True)
class RuntimeResult:
    """What a runtime did.

    Attributes:
        name: see `RUNTIMES`.
        version: "" where it is not installed.
        claimed: the file claims to be right in it.
        cases: name of a case -> what it did; empty where it is not installed.
        absent: why it was not tried, "" where it was.
    """

    name: str
    version: str
    claimed: bool
    cases: dict[str, CaseResult] = field(default_factory=dict)
    absent: str = ""

    @property
    def equal(self) -> bool:
        """Right in every case."""
        return bool(self.cases) and all(case.status == "equal" for case in self.cases.values())


@dataclass(frozen=True)
class Matrix:
    """Runtimes x cases for one file.

    Attributes:
        oracle: what the answers were compared with.
        cases: name -> real tokens in it.
    """

    model: str
    graph_form: str
    precision: str
    claims: tuple[str, ...]
    tolerance: float
    oracle: str
    cases: dict[str, int]
    runtimes: tuple[RuntimeResult, ...]

    def failures(self, named: Sequence[str] = ()) -> list[str]:
        """One line for each runtime that the file claims, or that was asked for by name, and that is not right."""
        return [
            f"{result.name}: {self._fault(result)}"
            for result in self.runtimes
            if not result.equal and (result.name in named or (result.claimed and not result.absent))
        ]

    def _fault(self, result: RuntimeResult) -> str:
        """What is wrong with a runtime, at its worst, and the cure."""
        if result.absent:
            return result.absent
        name, case = min(
            ((name, case) for name, case in result.cases.items() if case.status != "equal"),
            key=lambda item: (item[1].tags_equal or 0, -(item[1].max_difference or 0)),
        )
        return f"{case.status} on {name} ({case.reason}); {self._cure(result)}"

    def _cure(self, result: RuntimeResult) -> str:
        if result.claimed or (target := _TARGETS.get(result.name)) is None:
            return "use another runtime, and report this" if result.claimed else "use another runtime"
        return f"export with --target {target}" if self.precision != "int8" else "export with --precision fp32"

    def to_json(self) -> dict[str, Any]:
        """All of it as a JSON object."""
        return _finite(asdict(self))


def conformance(
    path: str | Path,
    *,
    runtimes: Sequence[str] = (),
    npm: Path | None = None,
    sentences: Iterable[Sequence[str]] = (),
    oracle: Oracle | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> Matrix:
    """Tries a model file in every runtime that is installed.

    Args:
        runtimes: names of those to try; default: all.
        npm: a folder of npm packages (``node_modules``); None where there is none.
        sentences: tokens of a corpus, which becomes a case of its own.
        oracle: default: onnxruntime on each row alone, which the file's proof ties to PyTorch.
        report: is told what is being tried.

    Raises:
        ModelFileError: ``path`` is not one of our files.
        InputError: no runtime has such a name.
    """
    if unknown := set(runtimes) - RUNTIMES.keys():
        raise InputError(f"no runtime {sorted(unknown)[0]!r}; expected one of {', '.join(RUNTIMES)}")
    session = TaggerSession(path)
    metadata = session.metadata
    cases = cases_of(metadata, sentences)
    right = [_answers(oracle or _alone(session), batch, len(metadata.tags)) for case in cases for batch in case.batches]
    feeds = [dict(batch) | session.initial_states(len(batch["lengths"])) for case in cases for batch in case.batches]
    results = []
    for runtime in (RUNTIMES[name] for name in dict.fromkeys(runtimes or RUNTIMES)):
        claimed = runtime.claim in metadata.runtimes
        try:
            version = runtime.find(npm)
        except MissingDependencyError as e:
            results.append(RuntimeResult(runtime.name, "", claimed, absent=str(e)))
            continue
        report(f"{runtime.name} {version}")
        answers = _run(runtime, npm, Path(path), metadata, feeds)
        results.append(RuntimeResult(runtime.name, version, claimed, _compared(metadata, cases, answers, right)))
    return Matrix(
        model=str(path),
        graph_form=metadata.graph_form,
        precision=metadata.precision,
        claims=metadata.runtimes,
        tolerance=metadata.tolerance,
        oracle="PyTorch on single sentences" if oracle else "onnxruntime on single sentences",
        cases={case.name: case.tokens for case in cases},
        runtimes=tuple(results),
    )


def _alone(session: TaggerSession) -> Oracle:
    return lambda row: session.run_encoded(row).of_tags


def _answers(oracle: Oracle, batch: Inputs, tags: int) -> NDArray[np.float32]:
    """(batch, sequence, tags): the oracle's answer to each row alone, zeros at padding."""
    columns = next(ids for kind, ids in batch.items() if kind != "lengths").shape[1]
    found = np.zeros((len(batch["lengths"]), columns, tags), np.float32)
    for i, length in enumerate(batch["lengths"].tolist()):
        if length:
            found[i, :length] = oracle(row_of(batch, i))[0]
    return found


def _run(
    runtime: Runtime, npm: Path | None, model: Path, metadata: ModelMetadata, feeds: Sequence[dict[str, Any]]
) -> list[Answer]:
    """The runtime's answer to each batch, from a process of its own; started again after the batch at which it died."""
    outputs = [spec["name"] for spec in metadata.outputs()[:2]]
    answers: dict[int, Answer] = {}
    last = Answer(None, "gave no answer", crashed=True)
    with tempfile.TemporaryDirectory(prefix="lstm-deploy-") as scratch:
        folder = Path(scratch)
        write_batches(folder, model, outputs, feeds)
        start = 0
        for _ in range(_MOST_CRASHES):
            ended = _process(runtime.command(npm, folder, start))
            found, refusal = read_answers(folder)
            if refusal:
                return [Answer(None, refusal)] * len(feeds)
            answers |= found
            start = max(start, max(found, default=-1) + 1)
            if start >= len(feeds):
                break
            answers[start] = last = Answer(None, ended, crashed=True)
            start += 1
    return [answers.get(i, last) for i in range(len(feeds))]


def _process(command: list[str]) -> str:
    """Runs a command to its end; how it ended."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, timeout=_SECONDS, env=_environment()
        )
    except subprocess.TimeoutExpired:
        return f"no end after {_SECONDS} seconds"
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    telling = next((line for line in lines if "panicked" in line or "rror" in line), lines[-1] if lines else "")
    how = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
    return " ".join(f"the process ended with {how} {telling}".split())[:300]


def _environment() -> dict[str, str]:
    """That of this process, in which a process of Python finds this very package."""
    paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


def _compared(
    metadata: ModelMetadata, cases: Sequence[Case], answers: Sequence[Answer], right: Sequence[NDArray[np.float32]]
) -> dict[str, CaseResult]:
    found, at = {}, 0
    for case in cases:
        here = slice(at, at + len(case.batches))
        found[case.name] = _result(metadata, case, answers[here], right[here])
        at = here.stop
    return found


def _result(
    metadata: ModelMetadata, case: Case, answers: Sequence[Answer], right: Sequence[NDArray[np.float32]]
) -> CaseResult:
    failed = next((answer for answer in answers if answer.outputs is None), None)
    if failed is not None:
        reason = " ".join(failed.error.partition("Stack backtrace")[0].split())[:300]
        return CaseResult("crashed" if failed.crashed else "refused", reason=reason)
    proof, golden = Proof(tolerance=metadata.tolerance), GoldenReport()
    for number, (batch, answer, expected) in enumerate(zip(case.batches, answers, right, strict=True)):
        assert answer.outputs is not None
        if odd := _odd(metadata, answer.outputs, expected):
            return CaseResult("wrong", reason=odd)
        scores = Scores(**answer.outputs)
        proof.compare(scores, expected, batch["lengths"], metadata.crf)
        for row, i in enumerate(case.golden[number] if case.golden else ()):
            known, n = metadata.golden[i], len(metadata.golden[i].tokens)
            pair = scores.tag_ids[row, :n], scores.of_tags[row, :n]
            check_answer(metadata, known, pair, f"golden case {i + 1}", golden)
    reason = ""
    if not proof.holds:
        reason = f"{proof.tag_differences} of {proof.tokens} tags differ, {proof.outside} scores outside the tolerance"
    elif golden.failures:
        reason = golden.failures[0]
    return CaseResult(
        "wrong" if reason else "equal",
        max_difference=proof.max_difference,
        tags_equal=1 - proof.tag_differences / max(proof.tokens, 1),
        ties=proof.ties,
        reason=reason,
    )


def _odd(metadata: ModelMetadata, outputs: Arrays, expected: NDArray[np.float32]) -> str:
    """What is wrong with type or shape of an answer, "" where nothing is."""
    tag_ids, scores = metadata.outputs()[:2]
    wanted = {tag_ids["name"]: ("int32", expected.shape[:2]), scores["name"]: ("float32", expected.shape)}
    found = {name: (str(array.dtype), array.shape) for name, array in outputs.items()}
    return "" if found == wanted else f"the outputs are {found}; expected {wanted}"


def _finite(value: Any) -> Any:
    """With null for what is no finite number: JSON has no other."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
