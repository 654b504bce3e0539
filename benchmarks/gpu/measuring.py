"""What every part of the GPU run shares: where it runs, how long it may, taggers and files, rounds in turns."""

import gc
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import torch

from benchmarks.gpu.models import Oracle, Shape, Tagger
from lstm_deploy import Predictor
from lstm_deploy.metadata import GraphForm
from lstm_deploy.providers import CudaOptions
from lstm_deploy.session import TaggerSession

SEED = 20_260_101
_MEAN_LENGTH, _LONGEST = 18, 256
"""Lengths of sentences come from a geometric distribution, as running text has them."""


class NotRunError(Exception):
    """A part that does not apply here or does not fit into the time; the text says why."""


@dataclass
class Bench:
    """One run.

    Attributes:
        provider: what our sessions run on.
        quick: a rehearsal: the same code on sizes that take seconds.
        scratch: a folder for model files.
        deadline: on the clock of `time.monotonic`.
    """

    provider: Literal["cuda", "cpu"]
    quick: bool
    scratch: Path
    deadline: float
    _taggers: dict[Shape, Tagger] = field(default_factory=dict)
    _paths: dict[tuple[Shape, GraphForm], Path] = field(default_factory=dict)
    _oracles: dict[Shape, Oracle] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """What stands for PyTorch's GPU."""
        return torch.device(self.provider)

    @property
    def left(self) -> float:
        """Seconds left."""
        return self.deadline - time.monotonic()

    def need(self, seconds: float) -> None:
        """Raises unless there is that much time left.

        Raises:
            NotRunError: there is not.
        """
        if self.left < seconds:
            raise NotRunError(
                f"{max(self.left, 0):.0f} s were left of the time for the run, about {seconds:.0f} needed"
            )

    def need_cuda(self, what: str) -> None:
        """Raises unless this run is on CUDA.

        Raises:
            NotRunError: it is not.
        """
        if self.provider != "cuda":
            raise NotRunError(f"{what} is CUDA's alone")

    def tagger(self, shape: Shape) -> Tagger:
        """The tagger of a shape, drawn once."""
        if shape not in self._taggers:
            self._taggers[shape] = Tagger(shape, words=2000) if self.quick else Tagger(shape)
        return self._taggers[shape]

    def path(self, shape: Shape, form: GraphForm) -> Path:
        """Its file in one form."""
        if (shape, form) not in self._paths:
            self._paths[shape, form] = self.tagger(shape).write(self.scratch, form)
        return self._paths[shape, form]

    def oracle(self, shape: Shape) -> Oracle:
        """Its module on the GPU, with weights of its own."""
        if shape not in self._oracles:
            tagger = self.tagger(shape)
            vocabulary = tagger.metadata.vocabulary
            assert vocabulary is not None and vocabulary.unknown_id is not None
            self._oracles[shape] = Oracle(tagger.arrays, shape, vocabulary.unknown_id).to(self.device)
        return self._oracles[shape]

    def session(self, shape: Shape, form: GraphForm, cuda: CudaOptions | None = None) -> TaggerSession:
        """Our session of a file."""
        return TaggerSession(self.path(shape, form), self.provider, cuda if self.provider == "cuda" else None)

    def predictor(
        self,
        shape: Shape,
        form: GraphForm,
        *,
        threads: int | None = None,
        batch_tokens: int | None = None,
        cuda: CudaOptions | None = None,
    ) -> Predictor:
        """The predictor of a file."""
        options = cuda if self.provider == "cuda" else None
        return Predictor.load(
            self.path(shape, form), self.provider, threads=threads, batch_tokens=batch_tokens, cuda=options
        )

    def text(self, shape: Shape, tokens: int) -> list[list[str]]:
        """About so many tokens in sentences of mixed lengths, the same for each call."""
        random = np.random.default_rng(SEED)
        lengths = np.minimum(random.geometric(1 / _MEAN_LENGTH, max(tokens // _MEAN_LENGTH, 1)), _LONGEST)
        return self.tagger(shape).sentences(random, lengths.tolist())

    def memory_mb(self) -> float | None:
        """What is taken of the GPU's memory by everybody, PyTorch's cache emptied first; None without a GPU."""
        if self.provider != "cuda":
            return None
        gc.collect()
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        free, total = torch.cuda.mem_get_info()
        return (total - free) / 1e6


def tf32(allowed: bool) -> None:
    """Whether PyTorch may round the factors of products to 10 bits, in its cuDNN LSTM and elsewhere."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def seconds(job: Callable[[], object]) -> float:
    """How long ``job`` takes."""
    started = time.perf_counter()
    job()
    return time.perf_counter() - started


def in_turns(
    jobs: Mapping[str, Callable[[], object]], rounds: int, *, warm: bool = True
) -> dict[str, dict[str, float]]:
    """Seconds of each job: median, least and most of ``rounds`` rounds that take them in turns, back and forth."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for job in jobs.values() if warm else ():
        job()
    for round_ in range(rounds):
        for name in list(jobs) if round_ % 2 else list(jobs)[::-1]:
            times[name].append(seconds(jobs[name]))
    return {name: {"median": statistics.median(t), "min": min(t), "max": max(t)} for name, t in times.items()}


def rates(times: Mapping[str, Mapping[str, float]], tokens: Mapping[str, int]) -> dict[str, dict[str, float]]:
    """Tokens a second of what `in_turns` found, each job with so many tokens."""
    return {
        name: {"median": tokens[name] / t["median"], "min": tokens[name] / t["max"], "max": tokens[name] / t["min"]}
        for name, t in times.items()
    }


class GpuSampler:
    """Utilisation and memory of the GPU, ten times a second, while a block runs.

    Attributes:
        problem: why there are no samples, or "".
    """

    def __init__(self) -> None:
        self.problem = ""
        self._samples: list[tuple[float, float]] = []
        self._log: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "GpuSampler":
        tool = shutil.which("nvidia-smi")
        if tool is None or not torch.cuda.is_available():
            self.problem = "nvidia-smi is not there" if tool is None else "there is no GPU"
            return self
        self._log = tempfile.TemporaryFile("w+")
        uuid = f"GPU-{torch.cuda.get_device_properties(0).uuid}"
        known = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=30).stdout
        device = [f"--id={uuid}"] if uuid in known else []
        query = ["--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits", "-lms", "100"]
        self._process = subprocess.Popen([tool, *device, *query], stdout=self._log, stderr=subprocess.STDOUT)
        return self

    def __exit__(self, *error: object) -> None:
        if self._process is None or self._log is None:
            return
        self._process.terminate()
        self._process.wait(10)
        self._log.seek(0)
        lines = self._log.read().splitlines()
        self._log.close()
        for line in lines:
            parts = line.split(",")
            if len(parts) == 2 and all(part.strip().isdigit() for part in parts):
                self._samples.append((float(parts[0]), float(parts[1])))
        if not self._samples:
            self.problem = f"nvidia-smi gave no figures ({' '.join(lines[:1])!r:.100})"

    def to_json(self) -> dict[str, Any]:
        """Figures, without the first second, in which the GPU's own average still holds what was before."""
        if self.problem:
            return {"problem": self.problem}
        busy, memory = zip(*(self._samples[10:] or self._samples), strict=True)
        return {
            "samples": len(busy),
            "busy_percent": statistics.fmean(busy),
            "busy_percent_median": statistics.median(busy),
            "peak_memory_mib": max(memory),
        }
