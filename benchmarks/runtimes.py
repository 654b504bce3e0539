"""Runs files of every form in every runtime that is installed, and writes the page about it: docs/runtimes.md."""

import argparse
import json
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from lstm_deploy.conformance.report import table
from lstm_deploy.conformance.suite import Matrix, Oracle, conformance
from lstm_deploy.export.exporter import export_model
from lstm_deploy.export.parity import checkpoint_oracle, torch_log_probs
from lstm_deploy.export.targets import TARGETS
from lstm_deploy.formats import LineReader, format_of, read_sentences
from lstm_deploy.tokenizer import Tokenizer
from lstm_deploy.training.checkpoint import Checkpoint, load_checkpoint
from lstm_deploy.training.config import ModelConfig, Recipe
from lstm_deploy.training.model import LSTMTagger

ROOT = Path(__file__).parents[1]
DATA = ROOT / "tests" / "runtime" / "data"
NPM = ROOT / "clients" / "javascript" / "node_modules"
SPEEDS = Path(__file__).with_name("results") / "forms.json"
TEMPLATE = Path(__file__).with_name("runtimes.md.in")


def main() -> None:
    """Measures, then writes both files."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("checkpoint", "int8", "input", "output", "page"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    results: list[tuple[str, Matrix]] = []
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for title, path, oracle, sentences in _files(args, folder):
            started = time.perf_counter()
            matrix = conformance(path, npm=NPM, sentences=sentences, oracle=oracle)
            print(f"{title}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
            results.append((title, matrix))
    when = {
        "date": date.today().isoformat(),
        "machine": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
    report = when | {"files": [{"title": title} | matrix.to_json() for title, matrix in results]}
    for file, (_, matrix) in zip(report["files"], results, strict=True):
        file["model"] = Path(matrix.model).name  # the folder was a scratch one
    args.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    args.page.write_text(page(report["date"], results), encoding="utf-8")


def _files(
    args: argparse.Namespace, folder: Path
) -> Iterator[tuple[str, Path, Oracle | None, Sequence[Sequence[str]]]]:
    """(title, file, oracle, sentences) of each file to try."""
    checkpoint, model = load_checkpoint(args.checkpoint)
    sentences = [
        s.tokens
        for s in read_sentences(LineReader(args.input), format_of(args.input), checkpoint.tokenizer)
        if s.tokens
    ]
    for target in TARGETS:
        path = folder / f"ewt-{target}.onnx"
        export_model(checkpoint, model, path, target=target)
        title = f"A tagger of UD English EWT, its whole test part as corpus, `--target {target}`"
        yield title, path, checkpoint_oracle(path, args.checkpoint), sentences
    yield "The same in int8", args.int8, None, sentences
    two, two_model = _two_layers(checkpoint)
    for target in ("portable", "tract"):
        path = folder / f"two-layers-{target}.onnx"
        export_model(two, two_model, path, target=target)
        yield (
            f"Two bidirectional layers, random weights, `--target {target}`",
            path,
            partial(torch_log_probs, two_model),
            (),
        )
    for name, title in (
        ("characters-crf", "Words and characters through an LSTM, a CRF on top"),
        ("characters", "Characters alone, a plain RNN"),
        ("streaming", "A streaming file, given whole sentences"),
    ):
        yield title, DATA / f"{name}.onnx", None, ()


def _two_layers(like: Checkpoint) -> tuple[Checkpoint, LSTMTagger]:
    """A tagger that nobody trained: large weights, so that every gate opens and shuts."""
    torch.manual_seed(5)
    made = Checkpoint(
        Recipe(ModelConfig(embedding=32, hidden=48, layers=2, buckets=512)),
        like.vocabulary,
        like.tags,
        Tokenizer(),
        provenance={"versions": {"torch": torch.__version__}},
        samples=[{"tokens": ["The", "cat", "ate", "fish"], "text": None}],
    )
    model = made.new_model()
    with torch.no_grad():
        for parameter in model.lstm.parameters():
            parameter.mul_(2)
    return made, model.eval()


def page(day: str, results: list[tuple[str, Matrix]]) -> str:
    """docs/runtimes.md: the prose of the template, the tables as measured."""
    parts = []
    for title, matrix in results:
        tokens = ", ".join(f"{name} {count:,}" for name, count in matrix.cases.items())
        parts.append(
            f"### {title}\n\nGraph form `{matrix.graph_form}`, compared with {matrix.oracle}, tolerance "
            f"{matrix.tolerance:g} + {matrix.tolerance:g} |score|. Tokens: {tokens}.\n\n{table(matrix)}\n"
        )
    return (
        with_speeds(TEMPLATE.read_text(encoding="utf-8"))
        .replace("{date}", day)
        .replace("{tables}", "\n".join(parts).rstrip())
    )


def with_speeds(text: str) -> str:
    """``text`` with what benchmarks/forms.py measured: times against operators that are given lengths."""
    forms = json.loads(SPEEDS.read_bytes())["forms"]
    for target in ("portable", "tract"):
        found = forms[TARGETS[target].form]
        for name, key in (("batches", "batches_against_base"), ("alone", "20_words_against_base")):
            text = text.replace(f"{{{target}_{name}}}", f"{100 * found[key]:.0f} %")
    return text


if __name__ == "__main__":
    main()
