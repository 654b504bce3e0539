"""Batches and answers as files, so that a runtime in any language, or one that dies, can be tried in its own process.

``batches.json`` names the model, the outputs that are wanted and, for each batch, type, shape and place of every input
in ``batches.bin``. The process appends one line a batch to ``answers.jsonl``: type, shape and place of each output in
``answers.bin``, or ``error``; a line without ``batch`` is an error of opening the model.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]
_ALIGN = 8


@dataclass(frozen=True)
class Answer:
    """What a runtime gave for a batch, or the reason why it gave nothing, and whether that was its death."""

    outputs: Arrays | None
    error: str = ""
    crashed: bool = False


def write_batches(folder: Path, model: Path, outputs: Sequence[str], batches: Sequence[Mapping[str, Any]]) -> None:
    """Writes ``batches.json`` and ``batches.bin``."""
    with (folder / "batches.bin").open("wb") as stream:
        specs = [{name: _put(stream, array) for name, array in batch.items()} for batch in batches]
    text = {"model": str(model.resolve()), "outputs": list(outputs), "batches": specs}
    (folder / "batches.json").write_text(json.dumps(text), encoding="utf-8")


def read_batches(folder: Path) -> tuple[Path, list[str], list[Arrays]]:
    """The model, the outputs wanted and the inputs of each batch."""
    text = json.loads((folder / "batches.json").read_bytes())
    data = (folder / "batches.bin").read_bytes()
    batches = [{name: _get(data, spec) for name, spec in batch.items()} for batch in text["batches"]]
    return Path(text["model"]), text["outputs"], batches


class AnswerWriter:
    """Appends answers, each complete before the next batch is tried."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, batch: int, outputs: Mapping[str, NDArray[Any]]) -> None:
        """The answer to a batch."""
        with (self._folder / "answers.bin").open("ab") as stream:
            specs = {name: _put(stream, array) for name, array in outputs.items()}
        self._line({"batch": batch, "outputs": specs})

    def fail(self, reason: str, batch: int | None = None) -> None:
        """Why there is none; without ``batch`` why there will be none at all."""
        self._line({"error": reason} | ({} if batch is None else {"batch": batch}))

    def _line(self, line: dict[str, Any]) -> None:
        with (self._folder / "answers.jsonl").open("a", encoding="utf-8") as stream:
            stream.write("\n" + json.dumps(line) + "\n")  # what a process left half-written stays apart


def read_answers(folder: Path) -> tuple[dict[int, Answer], str]:
    """Answers by number of their batch, and why the model did not open, if it did not."""
    path = folder / "answers.jsonl"
    lines = list(_whole(path.read_text(encoding="utf-8", errors="replace"))) if path.exists() else []
    data = (folder / "answers.bin").read_bytes() if (folder / "answers.bin").exists() else b""
    answers, refusal = {}, ""
    for line in lines:
        if "batch" not in line:
            refusal = line["error"]
        elif "error" in line:
            answers[line["batch"]] = Answer(None, line["error"])
        else:
            answers[line["batch"]] = Answer({name: _get(data, spec) for name, spec in line["outputs"].items()})
    return answers, refusal


def _whole(text: str) -> Iterator[dict[str, Any]]:
    """The lines of ``answers.jsonl``; a process may die while it writes one, which then is no line."""
    for line in text.split("\n"):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        yield found


def _put(stream: Any, array: NDArray[Any]) -> dict[str, Any]:
    stream.seek(0, 2)
    stream.write(b"\0" * (-stream.tell() % _ALIGN))
    at = stream.tell()
    stream.write(np.ascontiguousarray(array).tobytes())
    return {"dtype": str(array.dtype), "shape": list(array.shape), "at": at}


def _get(data: bytes, spec: Mapping[str, Any]) -> NDArray[Any]:
    count = int(np.prod(spec["shape"], dtype=np.int64))
    return np.frombuffer(data, spec["dtype"], count, spec["at"]).reshape(spec["shape"])
