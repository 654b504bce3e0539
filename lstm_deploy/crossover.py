"""From how many tokens a call CUDA is faster than the CPU: measured once, kept in the user's cache, used by ``auto``.

Kept for one model file on one machine: another model, GPU, number of cores or onnxruntime is another question.
Nothing of it is in the model file, which knows no machine.
"""

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from .errors import OutputError

UNMEASURED_TOKENS = 2048
"""The rule where nothing was measured: CUDA from so many tokens a call. Reckoned: about where the few hundred launches
of a small batch are made up for by a GPU's rate."""
_VERSION = 1


@dataclass(frozen=True)
class Machine:
    """What a measurement is good for.

    Attributes:
        gpus: names of the GPUs used, in the order of their numbers.
        cores: that the CPU's side may use.
        onnxruntime: its version.
        tf32: as `CudaOptions`.
    """

    gpus: tuple[str, ...]
    cores: int
    onnxruntime: str
    tf32: bool = False


@dataclass(frozen=True)
class Point:
    """Calls of one size: tokens in each, median seconds on the CPU and on CUDA."""

    tokens: int
    cpu_seconds: float
    cuda_seconds: float


@dataclass(frozen=True)
class Crossover:
    """Where CUDA begins to win.

    Attributes:
        tokens: of the smallest call from which on CUDA was faster at every size; None where it was not at the largest.
        points: what was measured, smallest call first.
        measured: when, ISO 8601 in UTC; "" for the rule that stands in for a measurement.
    """

    tokens: int | None
    points: tuple[Point, ...] = ()
    measured: str = ""

    def reason(self, gpus: Sequence[str]) -> str:
        """Which provider gets which calls and how that is known, in one line."""
        where = " and ".join(gpus) or "this GPU"
        rule = "the CPU for every call" if self.tokens is None else f"CUDA for calls of {self.tokens:,} tokens and more"
        if not self.measured:
            return f"{rule}, else the CPU; not measured here: `lstm-deploy bench MODEL --provider auto` does it"
        return f"{rule}{'' if self.tokens is None else ', else the CPU'}; measured on {where} on {self.measured[:10]}"


def from_points(points: Sequence[Point]) -> Crossover:
    """The crossover that measurements show. One lucky small call does not count: CUDA must win from there on."""
    found: int | None = None
    ordered = sorted(points, key=lambda point: point.tokens)
    for point in reversed(ordered):
        if point.cuda_seconds >= point.cpu_seconds:
            break
        found = point.tokens
    return Crossover(found, tuple(ordered), datetime.now(UTC).isoformat(timespec="seconds"))


def load(model: Path, machine: Machine) -> Crossover:
    """What was measured for a model file on a machine, or the rule that stands in for it."""
    rule = Crossover(UNMEASURED_TOKENS)
    try:
        kept = json.loads(_place(model, machine).read_text(encoding="utf-8"))
        if kept["version"] != _VERSION or kept["machine"] != json.loads(json.dumps(asdict(machine))):
            return rule
        points = tuple(
            Point(int(p["tokens"]), float(p["cpu_seconds"]), float(p["cuda_seconds"])) for p in kept["points"]
        )
        tokens = None if kept["tokens"] is None else int(kept["tokens"])
        return Crossover(tokens, points, str(kept["measured"]))
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        RuntimeError,
    ):  # no home folder, never measured, or not by this version: the rule stands
        return rule


def save(model: Path, machine: Machine, found: Crossover) -> Path:
    """Keeps a measurement; where.

    Raises:
        OutputError: the cache cannot be written.
    """
    kept = {"version": _VERSION, "model": str(model.resolve()), "machine": asdict(machine), **asdict(found)}
    try:
        place = _place(model, machine)
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = place.with_name(f".{place.name}.{os.getpid()}.partial")
        try:
            partial.write_text(json.dumps(kept, indent=1), encoding="utf-8")
            partial.replace(place)
        finally:
            partial.unlink(missing_ok=True)
    except (OSError, RuntimeError) as e:  # RuntimeError: no home folder
        reason = (e.strerror if isinstance(e, OSError) else None) or str(e)
        raise OutputError(
            f"the crossover cannot be kept ({reason}); set LSTM_DEPLOY_CACHE to a folder that can be written"
        ) from e
    return place


def _place(model: Path, machine: Machine) -> Path:
    with model.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    where = hashlib.sha256(json.dumps(asdict(machine), sort_keys=True).encode()).hexdigest()
    return _cache_folder() / "crossover" / f"{digest[:32]}-{where[:16]}.json"


def _cache_folder() -> Path:
    """The user's cache: $LSTM_DEPLOY_CACHE, else what the system calls it."""
    if given := os.environ.get("LSTM_DEPLOY_CACHE"):
        return Path(given)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "lstm-deploy"
