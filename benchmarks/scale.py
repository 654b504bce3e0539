"""A corpus in parts through the local engine and through Ray on this machine, in turns.

    python benchmarks/scale.py TRAIN.conllu.xz DEV.conllu.xz TEST.conllu.xz

Each part is a Parquet file with all sentences given. Ray's cluster of one node stands already, as it would: what is
measured is a job, from nothing to its manifest. Writes ``results/scale-ray.json``.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from run import _processor

from lstm_deploy.corpora.job import Engine, tag_corpus
from lstm_deploy.corpora.manifest import versions
from lstm_deploy.corpora.ray_engine import ray_engine
from lstm_deploy.corpora.tagging import Tagging
from lstm_deploy.formats import atomic_output, read_gold
from lstm_deploy.providers import available_cores

ROOT = Path(__file__).parents[1]
_STORE_BYTES = 200 << 20


def race(model: Path, sentences: list[list[str]], parts: int, rounds: int, address: str) -> dict[str, Any]:
    """Seconds of each engine, and of Ray those until its first part was done; medians over ``rounds``."""
    contenders: dict[str, dict[str, Any]] = {
        "local, 1 process": {"processes": 1},
        "local, 2 processes": {"processes": 2},
        "ray, 1 actor": {"engine": lambda: ray_engine(1, None, address)},
        "ray, 2 actors": {"engine": lambda: ray_engine(2, None, address)},
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    first: dict[str, list[float]] = {name: [] for name in contenders}
    busy: dict[str, list[float]] = {name: [] for name in contenders}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "corpus")
        source.mkdir()
        pq.write_table(pa.table({"tokens": sentences}), source / "0000.parquet")
        for part in range(1, parts):
            (source / f"{part:04}.parquet").write_bytes((source / "0000.parquet").read_bytes())
        outputs = {}
        for round_ in range(rounds):
            for name, how in contenders.items():
                output = Path(folder, f"{name}-{round_}")
                start, before = time.perf_counter(), _cpu_seconds()
                ends: list[float] = []
                engine = (
                    _timed(how["engine"](), lambda ends=ends: ends.append(time.perf_counter()))
                    if "engine" in how
                    else None
                )
                manifest = tag_corpus(
                    str(source), output, Tagging(model, threads=1), processes=how.get("processes"), engine=engine
                )
                seconds[name].append(time.perf_counter() - start)
                if engine is None:  # of Ray's actors, which are nobody's children, it is not known
                    busy[name].append(_cpu_seconds() - before)
                if ends:
                    first[name].append(ends[0] - start)
                outputs[name] = {record["sha256"] for record in manifest["parts"]}
                print(f"{name}: {seconds[name][-1]:.1f} s", file=sys.stderr)
    tokens = manifest["totals"]["tokens"]
    return {
        "tokens": tokens,
        "rows": manifest["totals"]["rows"],
        "same_bytes": len(set.union(*outputs.values())) == 1,
        "engines": {
            name: {
                "seconds": statistics.median(times),
                "all_seconds": times,
                "tokens_per_second": tokens / statistics.median(times),
            }
            | ({"cpu_seconds_per_million_tokens": statistics.median(busy[name]) / tokens * 1e6} if busy[name] else {})
            | ({"first_part_seconds": statistics.median(first[name])} if first[name] else {})
            for name, times in seconds.items()
        },
    }


def _cpu_seconds() -> float:
    """Of this process and its children that have ended; who else is at work on the machine does not change it much."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _timed(engine: Engine, ended: Callable[[], None]) -> Engine:
    def run(*args: Any) -> Any:
        for each in engine(*args):
            ended()
            yield each

    return run


@contextmanager
def _cluster(cores: int) -> Iterator[str]:
    """A cluster of one node."""
    from ray.cluster_utils import Cluster

    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    node = {"num_cpus": cores, "object_store_memory": _STORE_BYTES, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    try:
        yield cluster.address
    finally:
        cluster.shutdown()


def main() -> None:
    """Command line."""
    import ray

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("input", type=Path, nargs="+", help="tagged sentences; their tags are not looked at")
    parser.add_argument("--model", type=Path, default=ROOT / "exported" / "en-upos-int8.onnx")
    parser.add_argument("--parts", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "scale-ray.json")
    args = parser.parse_args()
    load = os.getloadavg()[0]
    sentences = [sentence.tokens for path in args.input for sentence in read_gold(path)]
    cores = available_cores()
    with _cluster(cores) as address:
        found = race(args.model, sentences, args.parts, args.rounds, address)
    result = {
        "machine": f"{cores} cores of {_processor()}",
        "model": args.model.name,
        "input": [path.name for path in args.input],
        "parts": args.parts,
        "rounds": args.rounds,
        "date": datetime.now(UTC).date().isoformat(),
        "load": {"before": load, "after": os.getloadavg()[0]},
        "versions": {**versions(), "ray": ray.__version__},
    }
    with atomic_output(args.output) as stream:
        stream.write(json.dumps(result | found, indent=1).encode() + b"\n")


if __name__ == "__main__":
    main()
