"""What was measured on released models: `benchmarks/results/models.json`, and targets held against it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

from locks import locked
from recipe import HERE, Target

from lstm_deploy.errors import InputError
from lstm_deploy.formats import atomic_output

RESULTS = HERE.parent / "benchmarks" / "results" / "models.json"
_LEFT_OUT = {"confusion", "calibration"}
"""Parts of an evaluation that are long."""


def read_results(path: Path = RESULTS) -> dict[str, Any]:
    """``{"models": {name: facts}}``; no models where there is no file yet.

    Raises:
        InputError: it is something else.
    """
    if not path.exists():
        return {"models": {}}
    try:
        value = json.loads(path.read_bytes())
        if not isinstance(value["models"], dict):
            raise TypeError("models is no object")
    except (ValueError, KeyError, TypeError) as e:
        raise InputError(f"{path}: not the results of builds ({e}); take it from the repository again") from e
    return value


def write_results(value: dict[str, Any], path: Path = RESULTS) -> None:
    """Writes what `read_results` reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_output(path) as stream:
        stream.write(json.dumps(value, indent=1, ensure_ascii=False).encode() + b"\n")


@contextmanager
def changing(path: Path = RESULTS) -> Iterator[dict[str, Any]]:
    """What `read_results` reads, to be changed: written when the block ends without an error, if it is another then.

    Other builds wait for the end of the block, so it always has what they recorded.
    """
    with locked(path.with_name(f"{path.name}.lock")):
        value = read_results(path)
        before = deepcopy(value)
        yield value
        if value != before:
            write_results(value, path)


def record(name: str, result: dict[str, Any], path: Path = RESULTS) -> None:
    """Puts a model's facts among those of all; what is the same but for its date stays as it is."""
    with changing(path) as everything:
        put(everything, name, result)


def put(everything: dict[str, Any], name: str, result: dict[str, Any]) -> None:
    """`record` for results that are being changed."""
    before = everything["models"].get(name, {})
    if {**before, "date": None, "rebuilt": None} == {**result, "date": None, "rebuilt": None}:
        return
    if before.get("sha256") == result["sha256"] and "rebuilt" in before:
        result = result | {"rebuilt": before["rebuilt"]}
    everything["models"] = dict(sorted((everything["models"] | {name: result}).items()))


def kept(report: dict[str, Any]) -> dict[str, Any]:
    """An evaluation without its long parts; of calibration its error stays, to 4 digits."""
    short = {name: value for name, value in report.items() if name not in _LEFT_OUT}
    if calibration := report.get("calibration"):
        short["expected_calibration_error"] = round(calibration["expected_error"], 4)
    return short


def figures(report: dict[str, Any]) -> dict[str, float]:
    """The figures of an evaluation that belong on a card: its numbers, and the rates of parts that have an F1."""
    found: dict[str, float] = {}
    for name, value in report.items():
        if isinstance(value, dict):
            if name not in _LEFT_OUT and isinstance(value.get("f1"), float):
                found |= {f"{name}_{rate}": value[rate] for rate in ("precision", "recall", "f1")}
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[name] = value
    if (unknown := (report.get("unknown_words") or {}).get("accuracy")) is not None:
        found["accuracy_on_unknown_words"] = unknown
    return {name: round(value, 6) if isinstance(value, float) else value for name, value in found.items()}


def measured(target: Target, result: dict[str, Any]) -> float | None:
    """What a target is about, as it was measured; None where it was not."""
    if target.split is None:
        return (result | {"drop": result.get("rounding", {}).get("drop")}).get(target.figure)
    entry = result["evals"].get(target.split)
    return figures(entry["report"]).get(target.figure) if entry else None


def wanted(target: Target) -> str:
    """A target's bound, with its unit; nothing where it has none."""
    if target.least is not None:
        return f">= {shown(target.figure, target.least)}"
    return "" if target.most is None else f"<= {shown(target.figure, target.most)}"


def target_line(target: Target, result: dict[str, Any]) -> str:
    """A target and what was measured, in one line."""
    value = measured(target, result)
    said = "not measured" if value is None else shown(target.figure, value)
    missed = "" if value is None or target.holds(value) else ", NOT REACHED"
    bound = wanted(target)
    return f"{target.what}: {said}{f' ({bound})' if bound else ''}{missed}"


def shown(figure: str, value: float) -> str:
    """A figure with its unit: bytes in MB (1,000,000 bytes), a drop in points, fractions in per cent."""
    if figure == "bytes":
        return f"{value / 1e6:.2f} MB"
    return f"{value:.2f} points" if figure == "drop" else f"{100 * value:.2f} %"
