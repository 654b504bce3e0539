"""A packaged tagger behind its server, asked by many clients at once: what it answers, how fast, in what memory.

Every answer is compared with the predictor's. With --kill the server, or one replica of it, is killed in the middle and
clients ask again until they have their answer.

    python benchmarks/serving.py exported/en-upos-int8.onnx --target ray-serve --seconds 60
"""

import argparse
import asyncio
import contextlib
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from lstm_deploy import Predictor
from lstm_deploy.formats import LineReader, format_of, read_sentences
from lstm_deploy.serving.package import Settings, package

ROOT = Path(__file__).parents[1]
CORPUS = ROOT.parent / "shared" / "data" / "ud-english-ewt" / "en_ewt-ud-dev.conllu.xz"
NAME = "tagger"
MLSERVER = os.environ.get("LSTM_DEPLOY_MLSERVER", sys.executable)
"""A python whose environment has mlserver, which may be another than ours: their dependencies quarrel."""
RAY = """
import ray
ray.init(include_dashboard=False, object_store_memory=80_000_000, namespace="serve", num_cpus=2, log_to_driver=False)
from ray.serve.scripts import cli
cli(["run", "serve_config.yaml"])
"""
"""`serve run serve_config.yaml`, on a local cluster of few megabytes and without a dashboard."""
PATIENCE = 90
"""Seconds for a server to start, and for a client to get its answer."""


class Server:
    """A server started from a packaged folder, in a session of its own, which is killed whole at the end."""

    def __init__(self, folder: Path, target: str) -> None:
        self.folder, self.target = folder, target
        self.port, *others = (_free_port() for _ in range(3))
        if target == "ray-serve":
            config = folder / "serve_config.yaml"
            text = config.read_text(encoding="utf-8")
            config.write_text(text.replace("port: 8000", f"port: {self.port}"), encoding="utf-8")
            self.command = [sys.executable, "-c", RAY]
            self.path, self.ready = "/", "/health"
        else:
            config = folder / "settings.json"
            ports = dict(zip(("http_port", "grpc_port", "metrics_port"), (self.port, *others), strict=True))
            config.write_text(json.dumps(json.loads(config.read_bytes()) | ports), encoding="utf-8")
            self.command = [str(Path(MLSERVER).with_name("mlserver")), "start", "."]
            self.path, self.ready = f"/v2/models/{NAME}/infer", f"/v2/models/{NAME}/ready"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    def start(self) -> None:
        """Starts it, and returns when it answers."""
        quiet = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
        environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"} | quiet
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        try:
            asyncio.run(self._wait())
        except BaseException:
            self.kill()
            raise

    async def _wait(self) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(OSError, EOFError, ValueError):
                if (await Client(self.port).ask("GET", self.ready))[0] == 200:
                    return
            await asyncio.sleep(0.2)
        log = (self.folder / "server.log").read_text(encoding="utf-8", errors="replace")
        raise RuntimeError(f"the server does not answer within {PATIENCE} s; its log ends in {log[-2000:]}")

    def processes(self) -> Iterator[tuple[int, str, int]]:
        """Process id, command and resident bytes of each process of the server."""
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = stat.read_text().rpartition(")")[2].split()
                if int(fields[3]) == self.process.pid and fields[0] != "Z":
                    command = stat.with_name("cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    yield int(stat.parent.name), command, int(fields[21]) * os.sysconf("SC_PAGE_SIZE")

    def taggers(self) -> list[tuple[int, int]]:
        """Process id and resident bytes of those that have the model."""
        named = "ray::ServeReplica" if self.target == "ray-serve" else "mlserver"
        return [(pid, size) for pid, command, size in self.processes() if named in command]

    def kill(self) -> None:
        """Kills all of it, as a power cut would."""
        while found := list(self.processes()):
            for pid, *_ in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        self.process.wait()


class Client:
    """One connection that is kept; asyncio's streams, since the client's work is the server's loss on few cores."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Status and body of the answer."""
        try:
            if self.streams is None:
                self.streams = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 24)
            reader, writer = self.streams
            head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            writer.write(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = int(answer.partition("content-length:")[2].split("\r\n", 1)[0])
            return int(answer.split(None, 2)[1]), await reader.readexactly(length)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends the connection, whatever is under way on it."""
        if self.streams is not None:
            self.streams[1].close()
            self.streams = None


@dataclass
class Counts:
    """What the clients saw."""

    wrong: int = 0
    batched: int = 0
    lost: int = 0
    retries: int = 0
    latencies: list[float] = field(default_factory=list)


def request_of(target: str, text: str) -> bytes:
    """The body of a request for one sentence."""
    if target == "ray-serve":
        return json.dumps({"text": text}).encode()
    row = {"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}
    return json.dumps({"inputs": [row]}).encode()


def tags_of(target: str, body: bytes) -> list[tuple[list[str], list[str]]]:
    """Tokens and tags of each sentence of an answer."""
    answer = json.loads(body)
    if target == "ray-serve":
        return [(each["tokens"], each["tags"]) for each in answer["sentences"]]
    rows = {each["name"]: map(json.loads, each["data"]) for each in answer["outputs"]}
    return list(zip(rows["tokens"], rows["tags"], strict=True))


async def answer_to(client: Client, path: str, body: bytes, counts: Counts) -> bytes | None:
    """The answer, asked for again where the server is not there or says it has failed; None if it never comes."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(OSError, EOFError, ValueError, TimeoutError):
            status, answer = await asyncio.wait_for(client.ask("POST", path, body), 10)
            if status == 200:
                return answer
        counts.retries += 1
        await asyncio.sleep(0.2)
    counts.lost += 1
    return None


async def _client(server: Server, asked: Sequence[Any], first: int, until: float, counts: Counts) -> None:
    client, i = Client(server.port), first
    while time.monotonic() < until:
        body, tokens, alone, batched = asked[i % len(asked)]
        i += 1
        begun = time.monotonic()
        answer = await answer_to(client, server.path, body, counts)
        if answer is not None:
            counts.latencies.append(time.monotonic() - begun)
            found = tags_of(server.target, answer)
            if found != [(tokens, alone)]:
                counts.batched += found == [(tokens, batched)]
                counts.wrong += found != [(tokens, batched)]
    client.close()


async def _watch(server: Server, until: float, seen: list[dict[str, float]]) -> None:
    begun = time.monotonic()
    while time.monotonic() < until:
        everything, taggers = sum(size for *_, size in server.processes()), sum(size for _, size in server.taggers())
        at = round(time.monotonic() - begun, 1)
        seen.append({"s": at, "model_mb": round(taggers / 1e6, 1), "all_mb": round(everything / 1e6, 1)})
        await asyncio.sleep(2)


async def _kill(server: Server, what: str, after: float) -> None:
    await asyncio.sleep(after)
    if what == "replica":
        os.kill(server.taggers()[0][0], signal.SIGKILL)
    elif what == "server":
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)


async def load(
    server: Server, asked: Sequence[Any], clients: int, seconds: float, kill: str | None = None
) -> tuple[Counts, list[dict[str, float]]]:
    """Clients that each ask sentence after sentence, and the server's memory meanwhile."""
    counts, memory = Counts(), []
    until = time.monotonic() + seconds
    jobs = [_client(server, asked, i * 31, until, counts) for i in range(clients)]
    if kill:
        jobs.append(_kill(server, kill, seconds / 2))
    await asyncio.gather(*jobs, _watch(server, until, memory))
    return counts, memory


def questions(model: Path, target: str, texts: Sequence[str]) -> list[tuple[bytes, list[str], list[str], list[str]]]:
    """Request, tokens, tags alone and tags in a batch; the last two differ where int8 rounds at a tie."""
    predictor = Predictor.load(model, threads=1)
    alone = [predictor.predict_text(text, scores=False) for text in texts]
    batched = predictor.predict_batch([each.tokens for each in alone], scores=False)
    return [
        (request_of(target, text), list(one.tokens), list(one.tags), list(many.tags))
        for text, one, many in zip(texts, alone, batched, strict=True)
    ]


def report(counts: Counts, memory: list[dict[str, float]], seconds: float) -> dict[str, Any]:
    """The figures of one run."""
    times = sorted(counts.latencies)
    tenth = max(1, len(memory) // 10)
    return {
        "answers": len(times),
        "wrong": counts.wrong,
        "rounded_as_in_a_batch": counts.batched,
        "lost": counts.lost,
        "retries": counts.retries,
        "requests_per_second": round(len(times) / seconds, 1),
        "p50_ms": round(1000 * times[len(times) // 2], 2),
        "p99_ms": round(1000 * times[len(times) * 99 // 100], 2),
        "longest_ms": round(1000 * times[-1], 2),
        "model_mb_after_a_tenth": memory[tenth]["model_mb"],
        "model_mb_at_the_end": memory[-1]["model_mb"],
        "memory": memory,
    }


def _versions(target: str) -> dict[str, str]:
    names = ("onnxruntime", "numpy", "ray" if target == "ray-serve" else "mlserver")
    if target == "ray-serve":
        return {name: version(name) for name in names}
    code = f"from importlib.metadata import version; print(*map(version, {names!r}))"
    found = subprocess.run([MLSERVER, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    return dict(zip(names, found, strict=True))


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def main() -> None:
    """Measures one server and adds it to the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--target", choices=["ray-serve", "mlserver"], required=True)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--max-batch-size", type=int, default=64)
    parser.add_argument("--batch-wait-ms", type=float, default=2)
    parser.add_argument("--kill", choices=["replica", "server"])
    parser.add_argument("--input", type=Path, default=CORPUS)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "serving.json")
    given = parser.parse_args()
    tokenizer = Predictor.load(given.model).metadata.tokenizer
    sentences = read_sentences(LineReader(given.input), format_of(given.input), tokenizer)
    asked = questions(given.model, given.target, [" ".join(each.tokens) for each in sentences if each.tokens])
    settings = Settings(NAME, "cpu", given.replicas, given.max_batch_size, given.batch_wait_ms)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "served"
        package(given.model, given.target, place, settings)
        with Server(place, given.target) as server:
            before = os.getloadavg()[0]
            counts, memory = asyncio.run(load(server, asked, given.clients, given.seconds, given.kill))
    run = {
        "date": datetime.now(UTC).date().isoformat(),
        "model": given.model.name,
        "clients": given.clients,
        "seconds": given.seconds,
        "sentences": len(asked),
        "replicas": given.replicas,
        "max_batch_size": given.max_batch_size,
        "batch_wait_ms": given.batch_wait_ms,
        "killed": given.kill,
        "cores": os.cpu_count(),
        "load_before": round(before, 2),
        "versions": {"python": platform.python_version(), **_versions(given.target)},
        **report(counts, memory, given.seconds),
    }
    runs = json.loads(given.output.read_bytes()) if given.output.exists() else {}
    runs[f"{given.target}, {given.model.stem}{f', {given.kill} killed' if given.kill else ''}"] = run
    given.output.write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({k: v for k, v in run.items() if k != "memory"}, indent=1))


if __name__ == "__main__":
    main()
