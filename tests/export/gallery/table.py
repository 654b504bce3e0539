"""Writes docs/gallery.md: what three exporters make of each case. ``python -m tests.export.gallery.table [--ours]``.

Each export runs in a process of its own, since some crash or hang. The two of PyTorch are used as a diligent user
would: axes that differ between samples are declared dynamic, with a batch of two where the module takes one and
with one sentence, and the better file counts; lists of lengths become tensors, lists of tags too; where a CRF's path
does not come through, its emissions are exported alone.
"""

import argparse
import dataclasses
import json
import os
import re
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lstm_deploy import Predictor
from lstm_deploy.errors import LstmDeployError

from .case import Case, draw, log_probs, zero_start
from .cases import CASES, REFUSED

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "benchmarks/results/gallery.json"
PAGE = ROOT / "docs/gallery.md"
PACKAGES = ("lstm-deploy", "torch", "onnx", "onnxscript", "onnxruntime", "numpy", "pytorch-crf")
LIMIT = 180
"""Seconds for the up to four attempts at one case."""
LENGTHS = (1, 2, 4, 6, 9, 17, 30)
SAMPLE, OTHER = 6, 9
TOLERANCE = 1e-4
# From best to worst.
VERDICTS = {
    "ok": "right at every length, in ragged batches too",
    "padding": "right for sentences of one length; in a ragged batch it is as wrong as the module itself",
    "one sentence": "right at every length, but for one sentence at a time only",
    "no tags": "right emissions; the CRF stays behind",
    "fixed length": "refuses other lengths, or batches, than the sample's",
    "wrong": "runs, and answers wrongly",
    "refused": "no file",
    "crash": "no file, and an error that was not meant for the user",
}
COLUMNS = {"ours": "lstm-deploy", "dynamo": "exporter dynamo", "torchscript": "exporter TorchScript"}


class Entry(nn.Module):
    """The entry of a case as a forward that gives tensors."""

    def __init__(self, module: nn.Module, call: Callable[..., Any]) -> None:
        super().__init__()
        self.module = module
        self.call = call

    def forward(self, *arguments: Any) -> Any:
        """All tensors of the answer."""
        return tuple(leaves(self.call(self.module, *arguments)))


def leaves(value: Any) -> list[torch.Tensor]:
    """The tensors in any answer; a list of tags, an array and a number become tensors."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, np.ndarray):
        return [torch.from_numpy(value)]
    if isinstance(value, list) and value and isinstance(value[0], int):
        return [torch.tensor(value)]
    if dataclasses.is_dataclass(value):
        value = list(vars(value).values())
    if isinstance(value, dict):
        value = list(value.values())
    return [leaf for part in value for leaf in leaves(part)] if isinstance(value, list | tuple) else []


def arguments(case: Case, sentences: list[list[str]]) -> tuple:
    """The entry's arguments; a list of lengths as a tensor."""
    made = case.encode(sentences) if case.encode else (torch.tensor(_ids(case, sentences[0])),)
    return tuple(torch.tensor(a) if isinstance(a, list) and isinstance(a[0], int) else a for a in made)


def _ids(case: Case, words: list[str]) -> list[int]:
    index = (
        dict(case.vocabulary) if isinstance(case.vocabulary, dict) else {w: i for i, w in enumerate(case.vocabulary)}
    )
    if case.spec and case.spec.case == "lower":
        words = [word.lower() for word in words]
    unknown = index.get(case.spec.unknown) if case.spec else None
    return [index.get(word, unknown) for word in words]


def sentences_of(case: Case, lengths: list[int]) -> list[list[str]]:
    """One sentence of each length."""
    words = [word for sentence in draw(case, 40, seed=3) for word in sentence]
    return [[words.pop(0) for _ in range(length)] for length in lengths]


def free_axes(case: Case, batch: bool) -> list[set[int]]:
    """For each tensor that goes in, the axes whose size depends on the sentences."""
    samples = [[length] * (1 + batch) for length in (SAMPLE, OTHER, SAMPLE + 1, 30)] + [[SAMPLE] * (1 + 2 * batch)]
    shapes = [[a.shape for a in leaves(arguments(case, sentences_of(case, lengths)))] for lengths in samples]
    return [
        {axis for shape in shapes[1:] for axis, size in enumerate(shape[i]) if size != first[axis]}
        for i, first in enumerate(shapes[0])
    ]


def nested(value: Any, specs: list) -> Any:
    """``specs`` in the shape of ``value``."""
    if isinstance(value, torch.Tensor):
        return specs.pop(0)
    if isinstance(value, str):
        return None
    return type(value)(nested(part, specs) for part in value)


def write(case: Case, call: Callable[..., Any], exporter: str, batch: bool, path: Path) -> None:
    """The file that PyTorch's exporter makes."""
    sample = arguments(case, sentences_of(case, [SAMPLE, SAMPLE - 2] if batch else [SAMPLE]))
    names = [f"input_{i}" for i in range(len(leaves(sample)))]
    axes = free_axes(case, batch)
    model = Entry(case.make(), call).eval()
    if case.reset:
        case.reset(model.module)
    with torch.no_grad(), zero_start(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if exporter == "dynamo":
            specs = [dict.fromkeys(sorted(free), torch.export.Dim.AUTO) for free in axes]
            shapes = {"arguments": tuple(nested(argument, specs) for argument in sample)}
            torch.onnx.export(model, sample, path, dynamo=True, dynamic_shapes=shapes, input_names=names, verbose=False)
        else:
            free = {name: {axis: f"{name}_{axis}" for axis in part} for name, part in zip(names, axes, strict=True)}
            torch.onnx.export(model, sample, path, dynamo=False, dynamic_axes=free, input_names=names, opset_version=18)


class Judge:
    """Runs a file and compares it with the author's module on one sentence alone."""

    def __init__(self, case: Case, path: Path, call: Callable[..., Any], scores_only: bool) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.case, self.module, self.call = case, case.make(), call
        self.tags_asked = not scores_only and (case.kind == "emissions" or case.inner is not None)

    def run(self, sentences: list[list[str]]) -> list[np.ndarray]:
        """What the file gives."""
        given = [leaf.numpy() for leaf in leaves(arguments(self.case, sentences))]
        taken = [arg.name for arg in self.session.get_inputs()]
        feeds = {name: value for name, value in zip([f"input_{i}" for i in range(len(given))], given, strict=True)}
        return self.session.run(None, {name: feeds[name] for name in taken})

    def right(self, outputs: list[np.ndarray], sentences: list[list[str]]) -> bool:
        """Whether one of the outputs holds the right answer to every sentence."""
        return any(self._is_right(output, sentences) for output in outputs)

    def faithful(self, outputs: list[np.ndarray], sentences: list[list[str]]) -> bool:
        """Whether the outputs are those of the module on the same padded batch."""
        with torch.no_grad(), zero_start():
            made = leaves(self.call(self.module, *arguments(self.case, sentences)))
        pairs = [(a, b.numpy()) for a in outputs for b in made if a.shape == tuple(b.shape) and a.dtype.kind == "f"]
        return any(np.allclose(a, b, TOLERANCE, TOLERANCE) for a, b in pairs)

    @torch.no_grad()
    def _is_right(self, output: np.ndarray, sentences: list[list[str]]) -> bool:
        if (output.dtype.kind in "iu") != self.tags_asked:
            return False
        batch, longest = len(sentences), max(map(len, sentences))
        width = () if self.tags_asked else (len(self.case.tags),)
        if output.size != batch * longest * int(np.prod(width)):
            return False
        forms = [output.reshape(batch, longest, *width), output.reshape(longest, batch, *width).swapaxes(0, 1)]
        return any(self._agrees(form, sentences) for form in forms)

    def _agrees(self, rows: np.ndarray, sentences: list[list[str]]) -> bool:
        for row, sentence in zip(rows, sentences, strict=True):
            if self.tags_asked:
                if row[: len(sentence)].tolist() != self.case.path(self.module, sentence):
                    return False
            else:
                expected = self.case.scores(self.module, sentence).numpy()
                if not np.allclose(row[: len(sentence)], expected, TOLERANCE, TOLERANCE):
                    return False
        return True


def judged(case: Case, path: Path, call: Callable[..., Any], scores_only: bool, batch: bool) -> tuple[str, str]:
    """(verdict, detail) of one file."""
    judge = Judge(case, path, call, scores_only)
    failed = []
    for length in LENGTHS:
        sentences = sentences_of(case, [length])
        try:
            outputs = judge.run(sentences)
        except Exception as e:  # noqa: BLE001 - whatever onnxruntime says
            failed.append(f"length {length}: {first_line(e)}")
            continue
        if not judge.right(outputs, sentences):
            shapes = ", ".join(f"{output.dtype}{list(output.shape)}" for output in outputs)
            return "wrong", f"length {length}: {shapes or 'no output'}"
    if failed:
        return "fixed length", failed[0]
    if not batch:
        return "one sentence", ""
    ragged = sentences_of(case, [7, 1, 12, 4, 12])
    try:
        outputs = judge.run(ragged)
    except Exception as e:  # noqa: BLE001
        return "one sentence", f"batch: {first_line(e)}"
    if judge.right(outputs, ragged):
        return "ok", ""
    return ("padding", "") if judge.faithful(outputs, ragged) else ("wrong", "in a ragged batch")


def first_line(error: Exception) -> str:
    """The beginning of an error's first cause, on one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return re.sub(r"\x1b\[\d+m", "", " ".join(f"{type(error).__name__}: {error}".split()))[:240]


def theirs(case: Case, exporter: str) -> tuple[str, str]:
    """The best verdict that a diligent user gets from one of PyTorch's exporters."""
    found = attempts(case, exporter, lambda module, *args: getattr(module, case.entry)(*args), scores_only=False)
    if case.kind == "emissions" and found[0] in ("refused", "fixed length"):
        inner = case.inner or (lambda module, *args: getattr(module, case.entry)(*args)[0])
        word, _ = attempts(case, exporter, inner, scores_only=True)
        if word in ("ok", "padding", "one sentence"):
            return "no tags", f"emissions: {word}; path: {found[0]}, {found[1]}"
    return found


def attempts(case: Case, exporter: str, call: Callable[..., Any], scores_only: bool) -> tuple[str, str]:
    """The best verdict of a batch of two and of one sentence as the sample."""
    found = []
    for batch in (True, False) if case.batch else (False,):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            try:
                write(case, call, exporter, batch, path)
                found.append(judged(case, path, call, scores_only, batch))
            except Exception as e:  # noqa: BLE001 - whatever an exporter says
                found.append(("refused", first_line(e)))
    return min(found, key=lambda pair: list(VERDICTS).index(pair[0]))


def ours(case: Case) -> tuple[str, str]:
    """What `export_module` makes of it."""
    if find_spec("lstm_deploy.export.module") is None:
        return "not yet", ""
    from lstm_deploy.export.module import export_module

    rules = {"vocabulary": case.vocabulary, "tags": case.tags, "encode": case.encode, "spec": case.spec}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        try:
            export_module(case.make(), path, entry=case.entry, **rules)
        except LstmDeployError as e:
            return "refused", " ".join(str(e).split())[:400]
        except Exception as e:  # noqa: BLE001 - an error of ours
            return "crash", first_line(e)
        predictor = Predictor.load(path)
    sentences, module = draw(case, 24, seed=5), case.make()
    answer = predictor.session.run(predictor.encoder.encode(sentences))
    found = answer.emissions if case.kind == "emissions" else answer.log_probs
    for i, words in enumerate(sentences):
        with torch.no_grad():
            expected = log_probs(case.scores(module, words), case.kind).numpy()
            tags = case.path(module, words)
        if answer.tag_ids[i, : len(words)].tolist() != tags:
            return "wrong", f"tags of {words}"
        if not np.allclose(found[i, : len(words)], expected, 1e-5, 1e-5):
            return "wrong", f"scores of {words}"
    return "ok", ""


def in_a_process(case: Case, column: str) -> dict[str, str]:
    """The verdict from a process of its own."""
    command = [sys.executable, "-m", "tests.export.gallery.table", "--worker", case.name, column]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return {"verdict": "refused", "detail": f"no end after {LIMIT} s"}
    lines = done.stdout.splitlines()
    if done.returncode == 0 and lines:
        verdict, detail = json.loads(lines[-1])
        return {"verdict": verdict, "detail": _without_folders(detail)}
    ending = f"the process ended with {done.returncode}: {' '.join(done.stderr[-200:].split())}"
    return {"verdict": "crash" if column == "ours" else "refused", "detail": _without_folders(ending)}


def _without_folders(text: str) -> str:
    """A message without where this machine keeps its files."""
    return re.sub(r"/\S*/site-packages/", "", text).replace(f"{ROOT}/", "")


def verdict(results: dict, case: Case, column: str) -> str:
    """What was found, or that nothing was tried."""
    return results["cases"].get(case.name, {}).get(column, {}).get("verdict", "not yet")


def cell(results: dict, case: Case, column: str) -> str:
    """The verdict, and the line that our exporter names where it refuses."""
    word = verdict(results, case, column)
    if column != "ours" or word != "refused":
        return word
    named = re.search(r"\w+\.py:\d+", results["cases"][case.name][column]["detail"])
    return f"refused, {named[0] if named else 'no line named'}"


def page(results: dict) -> str:
    """The document."""
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    counts = {column: Counter(verdict(results, case, column) for case in CASES) for column in COLUMNS}
    lines = [
        "# Gallery: taggers as people write them",
        "",
        f"Written by `python -m tests.export.gallery.table` on {results['date']}: {versions}.",
        "",
        f"{len(CASES)} small PyTorch taggers (`tests/export/gallery/`), in the styles of public code, each exported",
        "unchanged by lstm-deploy, by `torch.onnx.export(dynamo=True)` and by `torch.onnx.export(dynamo=False)` with",
        "dynamic axes declared, and run in onnxruntime on sentences of 1 to 30 words, alone and, where the module",
        "takes several, in a ragged batch. Right is what the author's module answers on one sentence alone.",
        "",
        f"| | {' | '.join(COLUMNS.values())} | |",
        "| --- | --- | --- | --- | --- |",
    ]
    for word, meaning in (VERDICTS | {"not yet": "not run"}).items():
        numbers = [counts[column][word] for column in COLUMNS]
        if any(numbers):
            lines.append(f"| {word} | {' | '.join(map(str, numbers))} | {meaning} |")
    lines += ["", f"| module | styles | {' | '.join(COLUMNS.values())} |", "| --- | --- | --- | --- | --- |"]
    for case in CASES:
        row = [cell(results, case, column) for column in COLUMNS]
        lines.append(f"| {case.name} | {', '.join(case.styles)} | {' | '.join(row)} |")
    lines += [
        "",
        "## Refused",
        "",
        "No file can be right for these; lstm-deploy names the line and writes nothing.",
        "",
        "| module | why | line to blame | lstm-deploy |",
        "| --- | --- | --- | --- |",
    ]
    for case in REFUSED:
        lines.append(f"| {case.name} | {case.styles[0]} | `{case.line}` | {cell(results, case, 'ours')} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Runs what is asked for, keeps the rest."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", action="store_true", help="run our exporter only; the other columns stay")
    parser.add_argument("--only", nargs="*", metavar="CASE", help="these cases only; none: just the page")
    parser.add_argument("--worker", nargs=2, metavar=("CASE", "COLUMN"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        name, column = args.worker
        case = next(case for case in [*CASES, *REFUSED] if case.name == name)
        print(json.dumps(ours(case) if column == "ours" else theirs(case, column)))
        return
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {"cases": {}}
    for case in [*CASES, *REFUSED]:
        if args.only is not None and case.name not in args.only:
            continue
        row = results["cases"].setdefault(case.name, {})
        for column in COLUMNS:
            if column == "ours" or not (args.ours or case in REFUSED):
                row[column] = in_a_process(case, column)
        print(case.name, {column: found["verdict"] for column, found in row.items()}, flush=True)
        results |= {"date": str(date.today()), "versions": {name: version(name) for name in PACKAGES}}
        RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(page(results), encoding="utf-8")


if __name__ == "__main__":
    main()
