"""What windows cost on long sentences: tags that differ from the unwindowed run, tokens/s, peak memory.

    python benchmarks/long_documents.py exported/ewt.onnx dev.conllu.xz [--streaming stream.onnx] [--tokens 1000000]

All sentences of the corpus are taken as one. Each memory figure is that of a process of its own. Prints the tables
that stand in NOTES.md.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from lstm_deploy import Predictor
from lstm_deploy.formats import read_gold
from lstm_deploy.streaming import StreamingPredictor, open_predictor

WINDOWS = (32, 128, 512)
MARGINS = (0, 8, 16, 32, 64, 128)


def corpus(path: Path, tokens: int | None = None) -> tuple[list[str], list[str]]:
    """Words and gold tags of all sentences, one after another; repeated to ``tokens`` of them."""
    words, tags = [], []
    for sentence in read_gold(path):
        words += sentence.tokens
        tags += sentence.tags
    times = -(-(tokens or len(words)) // len(words))
    return (words * times)[:tokens], (tags * times)[:tokens]


def differing(model: Path, source: Path) -> None:
    """The table of tags that differ."""
    words, gold = corpus(source)
    predictor = Predictor.load(model)
    whole = predictor.predict(words, scores=False).tags
    right = sum(a == b for a, b in zip(whole, gold, strict=True)) / len(gold)
    print(f"{len(words):,} tokens; accuracy unwindowed {100 * right:.2f} %\n")
    print("| margin | " + " | ".join(f"window {w}: differ | accuracy | tokens/s" for w in WINDOWS) + " |")
    print("| --- |" + " --- | --- | --- |" * len(WINDOWS))
    for margin in MARGINS:
        cells = []
        for window in WINDOWS:
            start = time.perf_counter()
            tags = predictor.predict_long(words, window=window, margin=margin, scores=False).tags
            seconds = time.perf_counter() - start
            differ = sum(a != b for a, b in zip(tags, whole, strict=True))
            right = sum(a == b for a, b in zip(tags, gold, strict=True)) / len(gold)
            rate = len(words) / seconds
            cells.append(f"{differ} ({100 * differ / len(words):.3f} %) | {100 * right:.2f} | {rate:,.0f}")
        print(f"| {margin} | " + " | ".join(cells) + " |")


def once(model: Path, source: Path, tokens: int, whole: bool) -> None:
    """One run in this process: peak memory before and after, in MB, and tokens/s."""
    words, _ = corpus(source, tokens)
    predictor = open_predictor(model)
    (predictor.predict if whole else predictor.predict_long)(words[:1000])
    before, start = _peak(), time.perf_counter()
    if isinstance(predictor, StreamingPredictor) and whole:  # in one piece, as no user would
        predictor.session.run(predictor.encoder.encode([words]))
    else:
        (predictor.predict if whole else predictor.predict_long)(words)
    print(f"{before:.0f} | {_peak():.0f} | {tokens / (time.perf_counter() - start):,.0f} |")


def _peak() -> float:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("source", type=Path)
    parser.add_argument("--streaming", type=Path)
    parser.add_argument("--tokens", type=int, default=10**6)
    parser.add_argument("--once", choices=["whole", "long"])
    args = parser.parse_args()
    if args.once:
        once(args.model, args.source, args.tokens, args.once == "whole")
        return
    differing(args.model, args.source)
    print(f"\n| {args.tokens:,} tokens | peak MB before | after | tokens/s |\n| --- | --- | --- | --- |")
    for model, ways in ((args.model, ("whole", "long")), (args.streaming, ("whole", "long"))):
        for way in ways if model else ():
            command = [sys.executable, __file__, str(model), str(args.source), "--tokens", str(args.tokens)]
            done = subprocess.run([*command, "--once", way], capture_output=True, text=True)
            print(f"| {model.stem}, {way} | {done.stdout.strip() or f'failed ({done.returncode}) | | |'}")


if __name__ == "__main__":
    main()
