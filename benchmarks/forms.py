"""The three graph forms of one tagger in onnxruntime, in turns: text to tags in batches, and one sentence at a time."""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lstm_deploy import Predictor
from lstm_deploy.export.exporter import export_checkpoint
from lstm_deploy.export.targets import TARGETS
from lstm_deploy.formats import LineReader, format_of, read_sentences

ROUNDS, ALONE, SENTENCES = 31, 40, 1000
BASE = "sequence_lens"


def main() -> None:
    """Measures, prints the table and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("checkpoint", "input", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    load = os.getloadavg()[0]
    with TemporaryDirectory() as scratch:
        predictors = {}
        for target, choice in TARGETS.items():
            path = Path(scratch) / f"{target}.onnx"
            export_checkpoint(args.checkpoint, path, target=target)
            predictors[choice.form] = Predictor.load(path)
        tokenizer = predictors[BASE].metadata.tokenizer
        read = read_sentences(LineReader(args.input), format_of(args.input), tokenizer)
        sentences = [s.tokens for s in read if s.tokens][:SENTENCES]
        forms = measure(predictors, sentences)
    report = {"date": date.today().isoformat(), "load_before": load, "load_after": os.getloadavg()[0], "forms": forms}
    args.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    for form, found in forms.items():
        print(form, *(f"{name} {value:,.3f}" for name, value in found.items()), sep="\t")


def measure(predictors: dict[str, Predictor], sentences: list[Any]) -> dict[str, dict[str, float]]:
    """Of each form: tokens a second, microseconds of a sentence of 20 and of 4 words, and times against `BASE`."""
    tokens = sum(map(len, sentences))
    alone = {n: next(s for s in sentences if len(s) == n) for n in (20, 4)}
    times: dict[str, dict[str, list[float]]] = {form: {"batches": [], "20": [], "4": []} for form in predictors}
    right = predictors[BASE].predict_batch(sentences, scores=False)
    for round_ in range(ROUNDS):
        order = list(predictors) if round_ % 2 else list(predictors)[::-1]
        for form in order:
            found = []
            times[form]["batches"].append(
                _seconds(
                    lambda form=form, found=found: found.extend(predictors[form].predict_batch(sentences, scores=False))
                )
            )
            assert found == right
        for _ in range(ALONE):
            for form in order:
                for n, sentence in alone.items():
                    times[form][str(n)].append(_seconds(lambda f=form, s=sentence: predictors[f].predict(s)))
    median = {form: {name: statistics.median(values) for name, values in t.items()} for form, t in times.items()}
    return {
        form: {
            "tokens_per_second": tokens / found["batches"],
            "batches_against_base": found["batches"] / median[BASE]["batches"],
            "us_of_20_words": 1e6 * found["20"],
            "20_words_against_base": found["20"] / median[BASE]["20"],
            "us_of_4_words": 1e6 * found["4"],
            "4_words_against_base": found["4"] / median[BASE]["4"],
        }
        for form, found in median.items()
    }


def _seconds(job: Callable[[], object]) -> float:
    started = time.perf_counter()
    job()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
