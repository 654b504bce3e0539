"""A corpus of Parquet on this machine: files against memory in the same processes, memory taken, killed and gone on.

python benchmarks/corpora.py --tokens 10000000 --kills 10
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import platform
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq

from lstm_deploy import Predictor, __version__
from lstm_deploy.formats import LineReader, read_sentences
from lstm_deploy.models import find_model
from lstm_deploy.providers import available_cores
from lstm_deploy.tokenizer import Tokenizer

EWT = "../shared/data/ud-english-ewt/en_ewt-ud-{}.conllu.xz"


def sentences_of(split: str) -> list[list[str]]:
    lines = LineReader(EWT.format(split))
    return [sentence.tokens for sentence in read_sentences(lines, "conllu", Tokenizer(kind="whitespace"))]


def write_corpus(folder: Path, tokens: int, parts: int) -> int:
    """Parquet parts of EWT's sentences, drawn again and again; how many tokens."""
    sentences = [tokens for split in ("train", "dev", "test") for tokens in sentences_of(split)]
    draw = random.Random(1)
    total = 0
    for number in range(parts):
        rows: list[list[str]] = []
        here = 0
        while here < tokens / parts:
            rows.append(draw.choice(sentences))
            here += len(rows[-1])
        total += here
        table = pa.table({"id": [f"{number}-{i}" for i in range(len(rows))], "tokens": rows})
        pq.write_table(table, folder / f"part-{number:03}.parquet", row_group_size=20_000)
    return total


def in_memory(model: Path, files: list[Path], threads: int, ready: Any, results: Any) -> None:
    """One process of the reference: its share of the corpus as lists, tags as lists."""
    predictor = Predictor.load(model, threads=threads)
    rows = [row for file in files for row in pq.read_table(file, columns=["tokens"])["tokens"].to_pylist()]
    predictor.predict_batch(rows[:500], scores=False)
    ready.wait()
    start = time.monotonic()
    count = 0
    for result in predictor.predict_stream(rows, scores=False):
        count += len(result.tags)
    results.put((count, start, time.monotonic()))


def time_memory(model: Path, files: list[Path], processes: int) -> float:
    context = multiprocessing.get_context("spawn")
    ready, results = context.Barrier(processes), context.Queue()
    threads = max(available_cores() // processes, 1)
    started = [
        context.Process(target=in_memory, args=(model, files[i::processes], threads, ready, results))
        for i in range(processes)
    ]
    for process in started:
        process.start()
    found = [results.get() for _ in started]
    for process in started:
        process.join()
    return sum(n for n, _, _ in found) / (max(end for _, _, end in found) - min(start for _, start, _ in found))


def command(model: Path, source: Path, output: Path, processes: int) -> list[str]:
    run = [str(Path(sys.executable).with_name("lstm-deploy")), "run"]
    return [*run, "--model", str(model), "--input", str(source), "--output", str(output), "--processes", str(processes)]


def peaks(group: int, seen: dict[int, int]) -> None:
    """Adds the peak resident memory, in kB, of every process of a group."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(folder.name)) == group:
                status = (folder / "status").read_text()
                seen[int(folder.name)] = int(status.split("VmHWM:")[1].split()[0])
        except (OSError, IndexError):
            continue


def time_files(model: Path, source: Path, output: Path, processes: int, tokens: int) -> tuple[float, int]:
    """Tokens a second of the whole command, start and all; the largest process's peak in MB."""
    shutil.rmtree(output, ignore_errors=True)
    start = time.monotonic()
    seen: dict[int, int] = {}
    with subprocess.Popen(command(model, source, output, processes), start_new_session=True) as job:
        while job.poll() is None:
            peaks(job.pid, seen)
            time.sleep(0.25)
    if job.returncode:
        raise SystemExit(f"the job failed with {job.returncode}")
    return tokens / (time.monotonic() - start), max(seen.values()) // 1000


def killed(model: Path, source: Path, output: Path, processes: int, kills: int, seconds: float) -> int:
    """Kills the command so often at random moments, then lets it finish; how many parts were done at the kills."""
    shutil.rmtree(output, ignore_errors=True)
    draw = random.Random(2)
    done = 0
    for _ in range(kills):
        with subprocess.Popen(command(model, source, output, processes), start_new_session=True) as job:
            time.sleep(draw.uniform(0.5, 0.5 + seconds / 3))
            if job.poll() is None:
                os.killpg(job.pid, signal.SIGKILL)
        done = len(list(output.glob("*.parquet")))
        print(f"killed with {done} parts done", file=sys.stderr)
    subprocess.run(command(model, source, output, processes), check=True)
    return done


def tree(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=10_000_000)
    parser.add_argument("--parts", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--models", nargs="+", default=["en-upos-small", "en-upos"])
    parser.add_argument("--processes", type=int, nargs="+", default=[2, 1])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/corpora.json"))
    given = parser.parse_args()
    report: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "cores": available_cores(),
        "load_before": round(os.getloadavg()[0], 2),
        "versions": {
            "lstm-deploy": __version__,
            "python": platform.python_version(),
            "onnxruntime": onnxruntime.__version__,
            "numpy": np.__version__,
            "pyarrow": pa.__version__,
        },
        "models": {},
    }
    with tempfile.TemporaryDirectory() as name:
        source, output = Path(name, "corpus"), Path(name, "tagged")
        source.mkdir()
        tokens = write_corpus(source, given.tokens, given.parts)
        files = sorted(source.iterdir())
        report |= {"tokens": tokens, "parts": len(files), "input_bytes": sum(file.stat().st_size for file in files)}
        for model in given.models:
            path = find_model(model)
            rounds: dict[str, list[float]] = {}
            peak = 0
            for _ in range(given.rounds):
                for processes in given.processes:
                    rounds.setdefault(f"memory_{processes}", []).append(time_memory(path, files, processes))
                    speed, mb = time_files(path, source, output, processes, tokens)
                    rounds.setdefault(f"files_{processes}", []).append(speed)
                    peak = max(peak, mb)
                    print(model, {k: round(v[-1]) for k, v in rounds.items()}, mb, file=sys.stderr)
            middle = {name: statistics.median(values) for name, values in rounds.items()}
            found = {
                "tokens_per_second": {name: round(value) for name, value in middle.items()},
                "rounds": {name: [round(value) for value in values] for name, values in rounds.items()},
                "files_over_memory": {
                    n: round(middle[f"files_{n}"] / middle[f"memory_{n}"], 3) for n in given.processes
                },
                "peak_mb_of_a_process": peak,
            }
            if given.kills:
                time_files(path, source, output, 2, tokens)
                whole = tree(output)
                done = killed(path, source, output, 2, given.kills, tokens / middle["files_2"])
                found["killed"] = {"times": given.kills, "parts_done_at_last": done, "identical": tree(output) == whole}
                given.kills = 0  # once is enough: the file of the other model is no other job
            report["models"][model] = found
    report["load_after"] = round(os.getloadavg()[0], 2)
    given.output.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
