"""The JavaScript client in Node and Chromium beside the Python predictor: speed on the same sentences, in one run."""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from lstm_deploy import Predictor
from lstm_deploy.formats import LineReader, format_of, read_sentences

CLIENT = Path(__file__).parents[1] / "clients" / "javascript"


def main() -> None:
    """Measures each model, writes JSON and a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="folder")
    args = parser.parse_args()
    report: dict[str, Any] = {"date": date.today().isoformat(), "load_before": os.getloadavg()[0], "models": {}}
    for path in args.models:
        predictor = Predictor.load(path, threads=1)
        read = read_sentences(LineReader(args.input), format_of(args.input), predictor.metadata.tokenizer)
        sentences = [list(s.tokens) for s in read if s.tokens]
        before = _python(predictor, sentences)
        found = _javascript(path, sentences)
        after = _python(predictor, sentences)
        found["python"] = {key: statistics.mean((before[key], after[key])) for key in before}
        report["models"][path.name] = found
    report["load_after"] = os.getloadavg()[0]
    (args.output / "javascript.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (args.output / "javascript.md").write_text(table(report), encoding="utf-8")


def _python(predictor: Predictor, sentences: Sequence[list[str]]) -> dict[str, float]:
    """The same measures of the Python predictor with one thread: tokens a second, milliseconds of a sentence."""
    one = next(s for s in sentences if len(s) == 20)
    tokens = sum(map(len, sentences))

    def timed(job: Any) -> float:
        started = time.perf_counter()
        job()
        return time.perf_counter() - started

    predictor.predict_batch(sentences)
    rates = [tokens / timed(lambda: predictor.predict_batch(sentences)) for _ in range(5)]
    alone = [1000 * timed(lambda: predictor.predict(one)) for _ in range(330)][30:]
    return {"tokens_per_second": statistics.median(rates), "one_sentence_ms": statistics.median(alone)}


def _javascript(path: Path, sentences: Sequence[list[str]]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        given, output = Path(scratch) / "sentences.json", Path(scratch) / "report.json"
        given.write_text(json.dumps(sentences), encoding="utf-8")
        command = ["node", "bench/run.js", "--model", str(path.resolve()), "--sentences", str(given)]
        subprocess.run([*command, "--output", str(output)], cwd=CLIENT, check=True, stdout=subprocess.DEVNULL)
        return json.loads(output.read_bytes())


def table(report: dict[str, Any]) -> str:
    """The figures as Markdown."""
    first = next(iter(report["models"].values()))
    machine = first["machine"]
    lines = [
        "# The JavaScript client, measured",
        "",
        f"{report['date']}, {machine['cores']} cores of {machine['cpu']}, load {report['load_before']:.1f} before and "
        f"{report['load_after']:.1f} after; Node {machine['node'].lstrip('v')}, onnxruntime-node "
        f"{first['node']['onnxruntime_node']}, {_browser(first)}. {first['sentences']:,} sentences, "
        f"{first['tokens']:,} tokens of UD English EWT's test part, words in and tags out with probabilities; "
        "medians. Encoding: words to "
        "ids, from the cache. First tags: from the start of the navigation to a new page (client, onnxruntime-web, "
        "model: all from the browser's warm HTTP cache) to the tags of a sentence. `make bench-javascript` repeats it.",
        "",
        "| model | where | tokens/s | 20 words, ms | times Python's | words encoded/s | first tags, ms |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, found in report["models"].items():
        native = found["python"]
        alone = native["one_sentence_ms"]
        lines.append(f"| {name} | Python, 1 thread | {native['tokens_per_second']:,.0f} | {alone:.2f} | 1 | | |")
        for place in ("node", "chromium"):
            for threads in (1, 2):
                if row := (found[place] or {}).get(f"threads_{threads}"):
                    where = f"{place.capitalize()}, {threads} thread{'s' * (threads > 1)}"
                    lines.append(f"| {name} | {where} | {_cells(row, alone)} |")
    return "\n".join(lines) + "\n"


def _cells(row: dict[str, Any], native: float) -> str:
    one = row["one_sentence_ms"]
    cells = [
        f"{row['tokens_per_second']:,}",
        f"{one:.2f}",
        f"{one / native:.1f}",
        f"{row['encoder_words_per_second']:,}",
    ]
    return " | ".join([*cells, str(row.get("first_tags_ms", ""))])


def _browser(found: dict[str, Any]) -> str:
    if not (chromium := found["chromium"]):
        return "no Chromium"
    return f"Chromium {chromium['version']}, onnxruntime-web {chromium['threads_1']['onnxruntime_web']}"


if __name__ == "__main__":
    main()
