"""How fast the released models are on this machine, and spaCy's and UDPipe's taggers beside them, in one run.

    python benchmarks/released.py TEST.conllu.xz

Words in, tags out, all cores: each contender tags the same sentences in turns, several rounds; of a peer the better of
one process and one for each core stands for them. Nothing of it goes into model files; it writes
``results/models-speed.json``, which exported/README.md is written from.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from genres import ROOT, contenders
from run import LATENCY_WORDS, ONE_THREAD, Contender, Running, _processor

from lstm_deploy.errors import InputError
from lstm_deploy.formats import atomic_output, read_gold
from lstm_deploy.providers import available_cores

RESULTS = Path(__file__).parent / "results"
_TOKENS = 100_000  # fewer take too short a time to be told from noise: the sentences are then tagged several times


def race(models: list[Path], peers: Path, peer_models: Path, sentences: list[list[str]], rounds: int) -> dict[str, Any]:
    """Medians over ``rounds``: tokens a second of each contender, and seconds for a sentence of 20 words.

    Args:
        sentences: of words; those of 20 words are also tagged one by one.

    Raises:
        InputError: there is none of 20 words.
    """
    short = [s for s in sentences if len(s) == LATENCY_WORDS]
    if not short:
        raise InputError(
            f"{len(sentences)} sentences, none of {LATENCY_WORDS} words; expected at least one, to tag it alone"
        )
    cores = available_cores()
    ours = [Contender(m.stem, [sys.executable, "predictor.py", str(m.resolve()), str(cores)]) for m in models]
    others, absent = contenders([], peers, peer_models)
    split = {c.name: Contender(f"{c.name}, {cores} processes", c.command, cores, ONE_THREAD) for c in others}
    tokens = sum(map(len, sentences))
    repeats = -(-_TOKENS // tokens)
    with ExitStack() as stack:
        alone = [stack.enter_context(closing(Running(contender))) for contender in (*ours, *others)]
        running = [*alone, *(stack.enter_context(closing(Running(contender))) for contender in split.values())]
        rates: dict[str, list[float]] = {r.name: [] for r in running}
        single: dict[str, list[float]] = {r.name: [] for r in alone}
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        everything, twenty = Path(folder) / "all.jsonl", Path(folder) / "twenty.jsonl"
        _put(everything, sentences * repeats)
        _put(twenty, short)
        for r in running:
            r.load(str(everything))
            r.ask("tag")  # warms up
        for _ in range(rounds):
            for r in running:
                start = time.perf_counter()
                r.ask("tag")
                rates[r.name].append(tokens * repeats / (time.perf_counter() - start))
                if r.name in single:
                    single[r.name] += r.ask("one_by_one", sentences=str(twenty))[0]["seconds"]
    figures = {name: {"tokens_per_second": statistics.median(values)} for name, values in rates.items()}
    for name, values in single.items():
        figures[name]["single_seconds"] = statistics.median(values)
    best = {
        c.name: max((figures[name] | {"arrangement": name} for name in (c.name, split[c.name].name)),
                    key=lambda figure: figure["tokens_per_second"])
        | {"single_seconds": figures[c.name]["single_seconds"]}
        for c in others
    }  # fmt: skip
    return {"cores": cores, "models": {m.stem: figures[m.stem] for m in models}, "peers": best, "absent": absent}


def _put(path: Path, sentences: list[list[str]]) -> None:
    path.write_text("".join(json.dumps(s) + "\n" for s in sentences), encoding="utf-8")


def _taggers() -> list[Path]:
    """The files that are shipped and tag words."""
    models = json.loads((RESULTS / "models.json").read_bytes())["models"]
    return [ROOT / "exported" / f"{n}.onnx" for n, m in models.items() if m["ship"] and m["column"] != "segmentation"]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("input", type=Path, help="tagged sentences; their tags are not looked at")
    parser.add_argument("--models", type=Path, nargs="+", help="files [those that models.json has as shipped]")
    parser.add_argument("--peers", type=Path, default=Path(".peers-venv"), help="their environment")
    parser.add_argument("--peer-models", type=Path, default=Path("checkpoints/peers"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path, default=RESULTS / "models-speed.json")
    args = parser.parse_args()
    load = os.getloadavg()[0]
    sentences = [s.tokens for s in read_gold(args.input)]
    found = race(args.models or _taggers(), args.peers, args.peer_models, sentences, args.rounds)
    result = {
        "machine": f"{found['cores']} cores of {_processor()}",
        "input": args.input.name,
        "rounds": args.rounds,
        "date": datetime.now(UTC).date().isoformat(),
        "load": load,
    }
    with atomic_output(args.output) as stream:
        stream.write(json.dumps(result | found, indent=1).encode() + b"\n")
    for name, figure in (found["models"] | found["peers"]).items():
        print(f"{name}: {figure['tokens_per_second']:,.0f} tokens/s, {1000 * figure['single_seconds']:.2f} ms")
    print("\n".join(found["absent"]))


if __name__ == "__main__":
    main()
