"""One run, two questions: how many tokens/s, words in and tags out, and how soon the first answer?

Every contender gets the same sentences, the same weights, the same encoder and the same cores,
in turns; medians over the rounds and the spread are printed and written as JSON.

    python benchmarks/against_pytorch.py --model MODEL --checkpoint DIR --input FILE --output result.json

Contenders for throughput:
    predictor       lstm_deploy.Predictor.predict_batch, as a user calls it
    pytorch packed  the same batches (same plan, same encoder), pack_padded_sequence, all cores;
                    beside it the same with larger batches, which suit it better
    one by one      each sentence alone: Predictor.predict, and PyTorch on one sentence
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_LARGER_BATCH_TOKENS = 4096  # where packed PyTorch is at its best on two cores
_COLD = {
    "predictor": """
from lstm_deploy import Predictor
tags = Predictor.load({model!r}).predict({tokens!r}).tags
""",
    "pytorch": """
import torch
from lstm_deploy.training.checkpoint import load_checkpoint
from lstm_deploy.training.trainer import model_inputs
checkpoint, model = load_checkpoint({checkpoint!r})
found = model.log_probs(*model_inputs(checkpoint.encoder().encode([{tokens!r}]))).argmax(-1)[0].tolist()
tags = tuple(checkpoint.tags[i] for i in found)
""",
}
_COLD_END = """
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(int(peak.split()[1]) / 1024, *tags)
"""


def main() -> None:
    """Runs everything and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--input", type=Path, required=True, help="CoNLL-U, columns or text to tag")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    result = {"machine": machine(), **throughput(args), "cold": cold_start(args), "load_after": os.getloadavg()}
    print(table(result))
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def machine() -> dict[str, Any]:
    """What the figures were taken on, and when."""
    import numpy
    import onnxruntime
    import torch

    import lstm_deploy
    from lstm_deploy.providers import available_cores

    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": _processor(),
        "cores": available_cores(),
        "load_before": os.getloadavg(),
        "python": platform.python_version(),
        "versions": {m.__name__: m.__version__ for m in (lstm_deploy, torch, onnxruntime, numpy)},
    }


def throughput(args: argparse.Namespace) -> dict[str, Any]:
    """Tokens/s of each contender: {name: {median, min, max}}, and the ratios of medians."""
    import torch

    from lstm_deploy import Predictor
    from lstm_deploy.batching import plan_batches
    from lstm_deploy.formats import LineReader, format_of, read_sentences
    from lstm_deploy.predictor import BATCH_TOKENS
    from lstm_deploy.training.checkpoint import load_checkpoint
    from lstm_deploy.training.trainer import model_inputs

    predictor = Predictor.load(args.model)
    torch.set_num_threads(predictor.threads)
    checkpoint, model = load_checkpoint(args.checkpoint)
    encoder = checkpoint.encoder()
    tokenizer = predictor.metadata.tokenizer
    sentences = [s.tokens for s in read_sentences(LineReader(args.input), format_of(args.input), tokenizer) if s.tokens]
    some = sentences[:: max(len(sentences) // 400, 1)]  # one by one is slow: a spread-out part is enough
    lengths = [len(s) for s in sentences]

    def torch_tags(batch: list[list[str]]) -> list[tuple[str, ...]]:
        found = model.log_probs(*model_inputs(encoder.encode(batch))).argmax(-1).tolist()
        return [tuple(checkpoint.tags[i] for i in ids[: len(tokens)]) for tokens, ids in zip(batch, found, strict=True)]

    def torch_batches(max_tokens: int) -> list[tuple[str, ...]]:
        # With BATCH_TOKENS the plan that predict_batch makes; batches one after the other, each on all cores.
        plan = plan_batches(lengths, max_tokens=max_tokens, min_batches=predictor.threads)
        tags: list[tuple[str, ...]] = [()] * len(sentences)
        for batch in plan:
            for i, found in zip(batch, torch_tags([sentences[i] for i in batch]), strict=True):
                tags[i] = found
        return tags

    contenders: dict[str, tuple[Callable[[], list[tuple[str, ...]]], int]] = {
        "predictor": (lambda: [r.tags for r in predictor.predict_batch(sentences)], sum(lengths)),
        "pytorch packed": (lambda: torch_batches(BATCH_TOKENS), sum(lengths)),
        "pytorch packed, larger batches": (lambda: torch_batches(_LARGER_BATCH_TOKENS), sum(lengths)),
        "predictor, one by one": (lambda: [predictor.predict(s).tags for s in some], sum(map(len, some))),
        "pytorch, one by one": (lambda: [torch_tags([s])[0] for s in some], sum(map(len, some))),
    }
    answers = {name: run() for name, (run, _) in contenders.items()}  # warms up, too
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(args.rounds):
        for name, (run, tokens) in contenders.items():
            start = time.perf_counter()
            run()
            rates[name].append(tokens / (time.perf_counter() - start))
    figures = {name: _spread(values) for name, values in rates.items()}
    return {
        "sentences": len(sentences),
        "tokens": sum(lengths),
        "rounds": args.rounds,
        "tokens_per_second": figures,
        "equal_tags": answers["predictor"] == answers["pytorch packed"]
        and answers["predictor, one by one"] == answers["pytorch, one by one"],
        "ratio_batched": figures["predictor"]["median"] / figures["pytorch packed"]["median"],
        "ratio_larger_batches": figures["predictor"]["median"] / figures["pytorch packed, larger batches"]["median"],
        "ratio_one_by_one": figures["predictor, one by one"]["median"] / figures["pytorch, one by one"]["median"],
    }


def cold_start(args: argparse.Namespace) -> dict[str, Any]:
    """Seconds and peak MB of a fresh process from start to its first tagged sentence, in turns."""
    tokens = ["They", "ate", "the", "fish", "."]
    values = {"model": str(args.model), "checkpoint": str(args.checkpoint), "tokens": tokens}
    seconds: dict[str, list[float]] = {name: [] for name in _COLD}
    peaks: dict[str, list[float]] = {name: [] for name in _COLD}
    for turn in range(args.rounds + 1):
        for name, code in _COLD.items():
            start = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-c", code.format(**values) + _COLD_END], capture_output=True, text=True, check=True
            )
            if turn:  # the first turn fills the disk cache
                seconds[name].append(time.perf_counter() - start)
                peaks[name].append(float(done.stdout.split()[0]))
    return {
        "seconds": {name: _spread(values) for name, values in seconds.items()},
        "peak_mb": {name: _spread(values) for name, values in peaks.items()},
        "ratio": statistics.median(seconds["pytorch"]) / statistics.median(seconds["predictor"]),
    }


def table(result: dict[str, Any]) -> str:
    """The result for people, in Markdown."""
    facts = result["machine"]
    rows = [
        f"{result['tokens']:,} tokens, {result['rounds']} rounds, {facts['cores']} cores of {facts['processor']}, "
        f"load {facts['load_before'][0]:.1f} before, {result['load_after'][0]:.1f} after; "
        + ", ".join(f"{name} {version}" for name, version in facts["versions"].items()),
        "",
        "| words in, tags out | tokens/s, median | min | max |",
        "| --- | --- | --- | --- |",
    ]
    rows += [
        f"| {name} | {v['median']:,.0f} | {v['min']:,.0f} | {v['max']:,.0f} |"
        for name, v in result["tokens_per_second"].items()
    ]
    rows += [
        f"\nequal tags: {result['equal_tags']}; predictor / PyTorch: {result['ratio_batched']:.2f} on the same "
        f"batches, {result['ratio_larger_batches']:.2f} on its larger ones, "
        f"{result['ratio_one_by_one']:.2f} one by one\n",
        "| import, load, first answer | s, median | min | max | peak MB |",
        "| --- | --- | --- | --- | --- |",
    ]
    cold = result["cold"]
    rows += [
        f"| {name} | {v['median']:.2f} | {v['min']:.2f} | {v['max']:.2f} | {cold['peak_mb'][name]['median']:.0f} |"
        for name, v in cold["seconds"].items()
    ]
    return "\n".join([*rows, f"\nPyTorch / predictor: {cold['ratio']:.1f}"])


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
