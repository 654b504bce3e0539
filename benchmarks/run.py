"""The benchmark: one run, all contenders in turn, the same words and the same cores.

    python benchmarks/run.py --checkpoint DIR --fp32 MODEL --int8 MODEL --input FILE... --output benchmarks/results

Every contender is a process of its own (or one per core, where that is its best) that waits until
it is its turn. Rounds alternate; medians, the spread, machine and load are written as JSON, and as
a table and a picture for people. Contenders that are not installed are left out by name.
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import report
import sizes

from lstm_deploy import Predictor
from lstm_deploy.formats import LineReader, format_of, read_gold, read_sentences
from lstm_deploy.providers import available_cores

HERE = Path(__file__).parent
WORKERS = HERE / "contenders"
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
LATENCY_WORDS = 20
CALLERS = (1, 2, 8, 32)
CALL_SECONDS = 1.5
STREAMS = (10**4, 10**5, 10**6, 10**7)
LENGTHS = (1, 5, 10, 20, 50, 100, 200)
BUDGETS = (256, 512, 1024, 2048, 3072, 4096, 8192, 16384)


@dataclass
class Contender:
    """How to start one, and on how many processes it runs."""

    name: str
    command: list[str]
    processes: int = 1
    environment: dict[str, str] = field(default_factory=dict)


class Running:
    """The processes of a contender, each with its share of the sentences."""

    def __init__(self, contender: Contender) -> None:
        self.name = contender.name
        self._processes = [
            subprocess.Popen(
                contender.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                cwd=WORKERS,
                env=os.environ | contender.environment,
            )
            for _ in range(contender.processes)
        ]
        self._read()

    def load(self, sentences: str) -> None:
        """Gives each process every n-th sentence."""
        count = len(self._processes)
        for i, process in enumerate(self._processes):
            self._write(process, {"do": "load", "sentences": sentences, "start": i, "step": count})
        self._read()

    def ask(self, do: str, **arguments: Any) -> list[dict[str, Any]]:
        """All processes at the same time; their replies."""
        for process in self._processes:
            self._write(process, {"do": do, **arguments})
        return self._read()

    def tags(self) -> list[list[str]]:
        """The tags of the last "tag", in the order of the sentences."""
        parts = [reply["tags"] for reply in self.ask("answers")]
        whole: list[list[str]] = [[]] * sum(map(len, parts))
        for i, part in enumerate(parts):
            whole[i :: len(parts)] = part
        return whole

    def close(self) -> None:
        """Ends the processes."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
        for process in self._processes:
            process.wait()

    def _write(self, process: "subprocess.Popen[str]", command: dict[str, Any]) -> None:
        assert process.stdin is not None
        process.stdin.write(json.dumps(command) + "\n")
        process.stdin.flush()

    def _read(self) -> list[dict[str, Any]]:
        replies = []
        for process in self._processes:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise SystemExit(f"{self.name} ended: run {' '.join(map(str, process.args))} to see why")  # type: ignore[union-attr, arg-type]
            replies.append(json.loads(line))
        return replies


def main() -> None:
    """Runs everything, writes JSON, table and picture."""
    args = _arguments()
    cores = args.cores
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    text = Text(args.input, args.fp32)
    result: dict[str, Any] = {"machine": machine(args, cores), "text": text.facts()}
    with tempfile.TemporaryDirectory() as folder:
        text.write(Path(folder))
        contenders, absent = everyone(args, cores)
        result["absent"] = absent
        result |= throughput_and_latency(contenders, text, args.rounds)
        result["predictor"] = predictor_alone(args, cores, text)
        result["cold"] = cold_start(args, text)
        result["sizes"] = other_sizes(args, cores, text, Path(folder))
    result["roofline"] = roofline(cores)
    result["load_after"] = os.getloadavg()
    result["lstm_flop_per_token"] = lstm_flop(args.fp32)
    result["files"] = {
        "fp32": args.fp32.stat().st_size, "int8": args.int8.stat().st_size,
        "pytorch": (args.checkpoint / "model.safetensors").stat().st_size,
        **{name: sum(f.stat().st_size for f in path.rglob("*") if f.is_file()) if path.is_dir() else path.stat().st_size
           for name, path in _peers(args).items() if path.exists()},
    }  # fmt: skip
    result["ratios"] = report.ratios(result)
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "bench.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    table = report.table(result)
    (args.output / "bench.md").write_text(table + "\n", encoding="utf-8")
    report.plot(result, args.output / "bench.png")
    print(table)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--fp32", type=Path, required=True, help="file exported from it")
    parser.add_argument("--int8", type=Path, required=True, help="file exported from it with --precision int8")
    parser.add_argument("--input", type=Path, nargs="+", required=True, help="tagged files, none of them trained on")
    parser.add_argument("--peers", type=Path, default=Path(".peers-venv"), help="environment of spaCy and UDPipe")
    parser.add_argument("--peer-models", type=Path, default=Path("checkpoints/peers"))
    parser.add_argument("--cores", type=int, default=min(available_cores(), 2))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=HERE / "results")
    args = parser.parse_args()
    args.checkpoint, args.fp32, args.int8 = (p.resolve() for p in (args.checkpoint, args.fp32, args.int8))
    return args


class Text:
    """The sentences to tag, with their gold tags."""

    def __init__(self, sources: list[Path], model: Path) -> None:
        self._metadata = Predictor.load(model).metadata
        self.names = [path.name for path in sources]
        gold = [s for path in sources for s in read_gold(path, self._metadata.column) if s.tokens]
        self.sentences = [s.tokens for s in gold]
        self.tags = [s.tags for s in gold]
        assert self.sentences == [
            s.tokens
            for path in sources
            for s in read_sentences(LineReader(path), format_of(path), self._metadata.tokenizer)
            if s.tokens
        ]
        self.all, self.twenty = "", ""
        self.lengths: dict[int, str] = {}

    def facts(self) -> dict[str, Any]:
        return {"files": self.names, "sentences": len(self.sentences), "tokens": sum(map(len, self.sentences))}

    def write(self, folder: Path) -> None:
        """Puts the sentences, those of 20 words, and stretches of each length, where workers read them."""
        self.all = self._put(folder / "all.jsonl", self.sentences)
        self.twenty = self._put(folder / "twenty.jsonl", [s for s in self.sentences if len(s) == LATENCY_WORDS])
        words = [word for sentence in self.sentences for word in sentence]
        for n in LENGTHS:
            stretches = [words[i : i + n] for i in range(0, min(len(words) - n, 50 * n), n)]
            self.lengths[n] = self._put(folder / f"{n}.jsonl", stretches)

    def _put(self, path: Path, sentences: list[list[str]]) -> str:
        path.write_text("".join(json.dumps(s) + "\n" for s in sentences), encoding="utf-8")
        return str(path)

    def accuracy(self, tags: list[list[str]]) -> float:
        pairs = [p for a, b in zip(self.tags, tags, strict=True) for p in zip(a, b, strict=True)]
        return sum(a == b for a, b in pairs) / len(pairs)


def everyone(args: argparse.Namespace, cores: int) -> tuple[list[Contender], list[str]]:
    """The contenders that can run here, each in the arrangements that may be its best, and who is absent."""
    python, checkpoint = sys.executable, str(args.checkpoint)
    found = [
        Contender(f"lstm-deploy {name}", [python, "predictor.py", str(path), str(cores)])
        for name, path in (("fp32", args.fp32), ("int8", args.int8))
    ]
    found += [
        Contender(f"PyTorch {how}", [python, "pytorch.py", checkpoint, str(cores), how, str(rows)])
        for how, rows in (("packed", 128), ("bucketed", 256), ("compiled", 256))
    ]
    found += [
        Contender(
            f"PyTorch {how}, {cores} processes",
            [python, "pytorch.py", checkpoint, "1", how, str(rows)],
            cores,
            ONE_THREAD,
        )
        for how, rows in (("packed", 128), ("bucketed", 256))
    ]
    absent = []
    peer = args.peers.absolute() / "bin" / "python"  # not resolved: the link is what makes it an environment
    for name, (script, model) in {
        "spaCy": ("spacy_tagger.py", _peers(args)["spaCy"]),
        "UDPipe": ("udpipe_tagger.py", _peers(args)["UDPipe"]),
    }.items():
        if not peer.exists() or not model.exists():
            absent.append(f"{name}: run `make bench-peers`")
            continue
        command = [str(peer), script, "serve", str(model.resolve())]
        found += [Contender(name, command), Contender(f"{name}, {cores} processes", command, cores, ONE_THREAD)]
    return found, absent


def _peers(args: argparse.Namespace) -> dict[str, Path]:
    return {"spaCy": args.peer_models / "spacy", "UDPipe": args.peer_models / "ewt.udpipe"}


def throughput_and_latency(contenders: list[Contender], text: Text, rounds: int) -> dict[str, Any]:
    """Tokens/s on all sentences and seconds for one of 20 words, in alternating rounds; accuracies; memory."""
    running = [Running(contender) for contender in contenders]
    tokens = sum(map(len, text.sentences))
    rates: dict[str, list[float]] = {r.name: [] for r in running}
    single: dict[str, list[float]] = {r.name: [] for r in running if "processes" not in r.name}
    bare: dict[str, list[float]] = {}
    bare_one: dict[str, list[float]] = {}
    tags = {}
    for r in running:  # the first time warms up, compiles, and gives the answers
        r.load(text.all)
        r.ask("tag")
        tags[r.name] = r.tags()
    for _ in range(rounds):
        for r in running:
            seconds = []
            for _ in range(2):  # the second time nothing of the one before is in its way
                start = time.perf_counter()
                r.ask("tag")
                seconds.append(time.perf_counter() - start)
            rates[r.name].append(tokens / seconds[1])
            if r.name.startswith("lstm-deploy"):
                (reply,) = r.ask("bare", sentences=text.all)
                bare.setdefault(r.name, []).append(tokens / reply["seconds"])
        for r in running:
            if r.name in single:
                (reply,) = r.ask("one_by_one", sentences=text.twenty)
                single[r.name] += reply["seconds"]
            if r.name.startswith("lstm-deploy"):
                (reply,) = r.ask("bare_one", sentences=text.twenty)
                bare_one.setdefault(r.name, []).extend(reply["seconds"])
    lengths = {
        r.name: {
            n: statistics.median(r.ask("one_by_one", sentences=path)[0]["seconds"]) for n, path in text.lengths.items()
        }
        for r in running
        if r.name in single
    }
    memory = {r.name: sum(reply["peak_mb"] for reply in r.ask("memory")) for r in running}
    for r in running:
        r.close()
    exact = tags["PyTorch packed"]
    return {
        "rounds": rounds,
        "tokens_per_second": {name: spread(values) for name, values in rates.items()},
        "bare_tokens_per_second": {name: spread(values) for name, values in bare.items()},
        "latency": {name: latency(values) for name, values in single.items()},
        "bare_latency": {name: latency(values) for name, values in bare_one.items()},
        "latency_by_length": lengths,
        "peak_mb": memory,
        "accuracy": {name: text.accuracy(found) for name, found in tags.items()},
        "same_tags_as_pytorch": {name: same(found, exact) for name, found in tags.items()},
    }


def predictor_alone(args: argparse.Namespace, cores: int, text: Text) -> dict[str, Any]:
    """What only the predictor has: callers on many threads, long streams, batch budgets."""
    found: dict[str, Any] = {}
    for name, path in (("fp32", args.fp32), ("int8", args.int8)):
        r = Running(Contender(name, [sys.executable, "predictor.py", str(path), str(cores)]))
        r.load(text.all)
        r.ask("tag")
        calls: dict[int, list[float]] = {count: [] for count in CALLERS}
        for _ in range(3):
            for count in CALLERS:
                (reply,) = r.ask("callers", sentences=text.all, count=count, duration=CALL_SECONDS)
                calls[count].append(reply["tokens_per_second"])
        r.ask("stream", sentences=text.all, tokens=STREAMS[0])
        streams = {}
        for tokens in STREAMS:
            repeats = [r.ask("stream", sentences=text.all, tokens=tokens)[0] for _ in range(5 if tokens < 10**7 else 1)]
            streams[tokens] = {
                "tokens_per_second": statistics.median(x["tokens"] / x["seconds"] for x in repeats),
                "growth_mb": max(x["growth_mb"] for x in repeats),
            }
        budgets = [r.ask("batches", sentences=text.all, budgets=list(BUDGETS))[0]["seconds"] for _ in range(3)]
        total = sum(map(len, text.sentences))
        found[name] = {
            "callers": {count: spread(values) for count, values in calls.items()},
            "streams": streams,
            "batch_tokens": {b: total / statistics.median(s[i] for s in budgets) for i, b in enumerate(BUDGETS)},
        }
        r.close()
    return found


def other_sizes(args: argparse.Namespace, cores: int, text: Text, folder: Path) -> list[dict[str, Any]]:
    """Tokens/s by hidden size and layers: fp32, int8, and PyTorch in the arrangement that is mostly its best."""
    found = []
    tokens = sum(map(len, text.sentences))
    for hidden, layers in sizes.SIZES:
        made = folder / f"{hidden}x{layers}"
        sizes.make(args.checkpoint, made, hidden, layers, args.input[0])
        python = sys.executable
        running = [
            Running(Contender("fp32", [python, "predictor.py", str(made / "fp32.onnx"), str(cores)])),
            Running(Contender("int8", [python, "predictor.py", str(made / "int8.onnx"), str(cores)])),
            Running(Contender("PyTorch", [python, "pytorch.py", str(made), "1", "bucketed", "256"], cores, ONE_THREAD)),
        ]
        rates: dict[str, list[float]] = {r.name: [] for r in running}
        for r in running:
            r.load(text.all)
            r.ask("tag")
        for _ in range(3):
            for r in running:
                start = time.perf_counter()
                r.ask("tag")
                rates[r.name].append(tokens / (time.perf_counter() - start))
        for r in running:
            r.close()
        found.append({
            "hidden": hidden, "layers": layers, "lstm_flop_per_token": lstm_flop(made / "fp32.onnx"),
            "tokens_per_second": {name: statistics.median(values) for name, values in rates.items()},
            "file_mb": {name: (made / f"{name}.onnx").stat().st_size / 1e6 for name in ("fp32", "int8")},
        })  # fmt: skip
    return found


_COLD = {
    "lstm-deploy fp32": "from lstm_deploy import Predictor\nPredictor.load({fp32!r}).predict({tokens!r})",
    "lstm-deploy int8": "from lstm_deploy import Predictor\nPredictor.load({int8!r}).predict({tokens!r})",
    "PyTorch": """
import torch
from lstm_deploy.training.checkpoint import load_checkpoint
from lstm_deploy.training.model import model_inputs
checkpoint, model = load_checkpoint({checkpoint!r})
model.log_probs(*model_inputs(checkpoint.encoder().encode([{tokens!r}]))).argmax(-1)[0].tolist()
""",
    "spaCy": """
import spacy
from spacy.tokens import Doc
nlp = spacy.load({spacy!r} + "/model-best")
[t.tag_ for t in nlp(Doc(nlp.vocab, words={tokens!r}))]
""",
}
_COLD_END = """
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(int(peak.split()[1]) / 1024)
"""


def cold_start(args: argparse.Namespace, text: Text) -> dict[str, Any]:
    """Seconds and peak MB of a fresh process from its start to its first tagged sentence, in turns."""
    values = {
        "fp32": str(args.fp32), "int8": str(args.int8), "checkpoint": str(args.checkpoint),
        "spacy": str(_peers(args)["spaCy"].resolve()), "tokens": text.sentences[0],
    }  # fmt: skip
    pythons = {name: sys.executable for name in _COLD}
    pythons["spaCy"] = str(args.peers.absolute() / "bin" / "python")
    seconds: dict[str, list[float]] = {}
    peaks: dict[str, list[float]] = {}
    for turn in range(args.rounds + 1):
        for name, code in _COLD.items():
            if not Path(pythons[name]).exists():
                continue
            start = time.perf_counter()
            done = subprocess.run(
                [pythons[name], "-c", code.format(**values) + _COLD_END], capture_output=True, text=True, check=True
            )
            if turn:  # the first turn fills the disk cache
                seconds.setdefault(name, []).append(time.perf_counter() - start)
                peaks.setdefault(name, []).append(float(done.stdout.split()[-1]))
    return {name: {"seconds": spread(values), "peak_mb": spread(peaks[name])} for name, values in seconds.items()}


def roofline(cores: int) -> dict[str, Any]:
    """Best measured rate of matrix products on all cores, in giga-operations/s, and what reached it."""
    command = [sys.executable, str(HERE / "roofline.py"), str(cores)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | ONE_THREAD)
    rates: dict[tuple[Any, ...], list[float]] = {}
    for rate in json.loads(done.stdout):
        key = (rate["type"], rate["library"], rate["ways"], tuple(rate["shape"]))
        rates.setdefault(key, []).append(rate["giga_per_second"])
    medians = {key: statistics.median(values) for key, values in rates.items()}
    best = {kind: max((rate, key[1:]) for key, rate in medians.items() if key[0] == kind) for kind in ("fp32", "int8")}
    return {kind: {"giga_per_second": rate, "reached_by": where} for kind, (rate, where) in best.items()} | {
        "all": [
            {"type": k[0], "library": k[1], "ways": k[2], "shape": k[3], "giga_per_second": v}
            for k, v in medians.items()
        ]
    }


def lstm_flop(model: Path) -> int:
    """Operations (two per multiply-add) of the LSTM's own matrix products for one token."""
    shape = Predictor.load(model).metadata.training["recipe"]["model"]
    directions = 2 if shape["bidirectional"] else 1
    inputs = [shape["embedding"]] + [directions * shape["hidden"]] * (shape["layers"] - 1)
    return sum(2 * directions * 4 * shape["hidden"] * (n + shape["hidden"]) for n in inputs)


def machine(args: argparse.Namespace, cores: int) -> dict[str, Any]:
    """What the figures were taken on, and when."""
    names = ("lstm-deploy", "torch", "onnxruntime", "numpy")
    versions = {name: metadata.version(name) for name in names}
    installed = {"lstm-deploy": installed_mb(["onnxruntime", "numpy", "click", "tqdm"], sys.executable),
                 "PyTorch": installed_mb(["torch", "numpy", "safetensors"], sys.executable)}  # fmt: skip
    peer = args.peers.absolute() / "bin" / "python"
    if peer.exists():
        installed |= {"spaCy": installed_mb(["spacy"], str(peer)), "UDPipe": installed_mb(["ufal.udpipe"], str(peer))}
        code = "from importlib.metadata import version as v; print(v('spacy'), v('ufal.udpipe'))"
        done = subprocess.run([str(peer), "-c", code], capture_output=True, text=True, check=True)
        versions |= dict(zip(("spaCy", "UDPipe"), done.stdout.split(), strict=True))
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": _processor(),
        "instructions": _instructions(),
        "cores": cores,
        "load_before": os.getloadavg(),
        "python": platform.python_version(),
        "versions": versions,
        "installed_mb": installed,
    }


_SIZE = """
import re, sys
from importlib.metadata import distribution, PackageNotFoundError
seen, todo, size = set(), sys.argv[1:], 0
while todo:
    name = re.split(r"[ ;<>=!~\\[(]", todo.pop())[0].lower()
    if name in seen:
        continue
    seen.add(name)
    try:
        found = distribution(name)
    except PackageNotFoundError:
        continue
    size += sum(p.stat().st_size for f in found.files or () if (p := f.locate()).is_file())
    todo += [r for r in found.requires or () if "extra ==" not in r]
print(size / 1e6)
"""


def installed_mb(names: Iterable[str], python: str) -> float:
    """Size of the files of some distributions and all that they require, as installed beside ``python``."""
    done = subprocess.run([python, "-c", _SIZE, *names], capture_output=True, text=True, check=True)
    return float(done.stdout)


def spread(values: list[float]) -> dict[str, float]:
    """Median and extremes."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def latency(seconds: list[float]) -> dict[str, float]:
    """Percentiles, in seconds."""
    ordered = sorted(seconds)
    return {"p50": statistics.median(ordered), "p99": ordered[int(0.99 * (len(ordered) - 1))], "count": len(ordered)}


def same(found: list[list[str]], expected: list[list[str]]) -> float:
    """Fraction of tags that are equal."""
    pairs = [pair for a, b in zip(found, expected, strict=True) for pair in zip(a, b, strict=True)]
    return sum(a == b for a, b in pairs) / len(pairs)


def _instructions() -> list[str]:
    """Those that decide about the speed of matrix products, as far as the system tells."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return []
    names = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_vnni": "VNNI", "amx_int8": "AMX"}
    return [name for flag, name in names.items() if re.search(rf"\b{flag}\b", flags)]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
