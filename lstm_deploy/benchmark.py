"""How fast model files are on this machine, and with which settings: what `lstm-deploy bench` does.

The sentences are made of the model's own words, with some that it does not know; their tags mean
nothing, their cost is that of real text of the same lengths.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from . import crossover
from .crossover import Crossover, Point
from .errors import OutputError, ProviderError
from .gpus import gpu_names
from .metadata import ModelMetadata
from .predictor import Predictor, machine_of
from .providers import CudaOptions, Provider, available_cores

ROWS = (1, 8, 32, 128)
LENGTHS = (5, 20, 50)
BATCH_TOKENS = (512, 1024, 2048, 3072, 4096, 8192)
CUDA_BATCH_TOKENS = (4096, 16_384, 65_536, 262_144)
CROSSOVER_TOKENS = tuple(2**i for i in range(17))
"""Tokens a call at which ``auto`` is told the CPU and CUDA apart."""
_UNKNOWN_RATE = 0.08
_MEAN_LENGTH = 16  # of the mixed text: lengths from a geometric distribution, as running text has them
_MIXED_TOKENS = {"cpu": 20_000, "cuda": 600_000}
"""Of the mixed text: enough for several batches of the largest size."""
_SPELT_WORDS, _MAX_CHARACTERS = 1000, 10
_SEED = 7


@dataclass(frozen=True)
class Measured:
    """One cell of the grid: median time of a call, words to tags.

    Attributes:
        rows: sentences a call; 0 for the mixed text.
        length: tokens a sentence; 0 for mixed lengths.
        seconds: of one call.
        tokens_per_second: the same as a rate.
    """

    model: str
    precision: str
    provider: str
    threads: int
    batch_tokens: int
    rows: int
    length: int
    seconds: float
    tokens_per_second: float


@dataclass(frozen=True)
class Switch:
    """Where ``auto`` goes from the CPU to CUDA for one model, and where that is kept for it, or why it is not."""

    model: str
    crossover: Crossover
    kept: str


@dataclass(frozen=True)
class Benchmark:
    """All cells, and the best of them for one sentence at a time and for much text.

    Attributes:
        switches: with ``auto`` where CUDA loads: for each model.
        without_cuda: with ``auto`` where it does not: why.
    """

    cells: list[Measured]
    single: Measured
    bulk: Measured
    switches: list[Switch]
    without_cuda: str = ""

    def to_json(self) -> dict[str, object]:
        """The figures as a JSON object."""
        return asdict(self)


def measure(
    models: Sequence[Path],
    provider: Provider,
    threads: int | None,
    seconds: float,
    cuda: CudaOptions | None = None,
) -> Benchmark:
    """Measures every model over batch sizes, sentence lengths, threads and batch budgets.

    Args:
        provider: ``auto`` measures the CPU, and where it loads CUDA too and from how many tokens a call it is faster,
            which it keeps for `Predictor.load` with ``auto``.
        threads: the most to try on the CPU; default: the cores this process may use.
        seconds: to spend on each cell, at least one call.
        cuda: how to run on CUDA.

    Raises:
        ModelFileError: a file is not one of ours.
        ProviderError: ``cuda`` was asked for and does not load.
    """
    from tqdm import tqdm  # here: what measures on a GPU has numpy and onnxruntime alone

    most = threads or available_cores()
    providers, without_cuda = _providers(models, provider, cuda)
    plan = [
        (path, name, count)
        for path in models
        for name in providers
        for count in ([1, 2, 3] if name == "cuda" else _up_to(most))
    ]
    cells: list[Measured] = []
    switches: list[Switch] = []
    budgets = sum(len(_budgets(name)) for _, name, _ in plan)
    calls = budgets + len({p[:2] for p in plan}) * len(ROWS) * len(LENGTHS) + (len(providers) - 1) * len(models)
    with tqdm(total=calls, unit="cell", disable=sys.stderr is None or not sys.stderr.isatty(), leave=False) as bar:
        for path, name, count in plan:
            for cell in _cells(path, name, count, seconds, cuda):
                cells.append(cell)
                bar.update()
        for path in models if len(providers) > 1 else []:
            switches.append(_switch(path, seconds, cuda))
            bar.update()
    return Benchmark(
        cells,
        min((c for c in cells if c.rows == 1 and c.length == 20), key=lambda c: c.seconds),
        max((c for c in cells if not c.rows), key=lambda c: c.tokens_per_second),
        switches,
        without_cuda,
    )


def measure_crossover(cpu: Predictor, other: Predictor, seconds: float, sizes: Sequence[int]) -> Crossover:
    """Calls of each size on both, in turns; where ``other`` begins to win for good.

    Args:
        seconds: to spend on each size and predictor.
        sizes: tokens of a call.
    """
    points = []
    for tokens in sizes:
        sentences = _sentences(cpu, _lengths(tokens))
        calls = [partial(predictor.predict_batch, sentences, scores=False) for predictor in (cpu, other)]
        halves = [[_times(call, seconds / 2) for call in calls] for _ in range(2)]
        on_cpu, on_other = (statistics.median(a + b) for a, b in zip(*halves, strict=True))
        points.append(Point(tokens, on_cpu, on_other))
    return crossover.from_points(points)


def describe(result: Benchmark) -> str:
    """Tables and the recommendation, several lines."""
    lines = []
    groups = dict.fromkeys((c.model, c.precision, c.provider) for c in result.cells)
    for group in groups:
        cells = [c for c in result.cells if (c.model, c.precision, c.provider) == group]
        grid = {(c.rows, c.length): c for c in cells if c.rows}
        mixed = {(c.threads, c.batch_tokens): c for c in cells if not c.rows}
        budgets = sorted({budget for _, budget in mixed})
        lines += [f"{group[0]} ({group[1]}) on {group[2]}", "", "one call on one thread, ms (thousand tokens/s)"]
        lines.append(_line("sentences", [f"{n} tokens" for n in LENGTHS]))
        for rows in ROWS:
            found = (grid[rows, n] for n in LENGTHS)
            lines.append(_line(str(rows), [f"{1e3 * c.seconds:.3g} ({c.tokens_per_second / 1e3:.4g})" for c in found]))
        lines += ["", "much mixed text, thousand tokens/s, by cells a batch"]
        lines.append(_line("threads", [f"{budget:,}" for budget in budgets]))
        for count in sorted({threads for threads, _ in mixed}):
            rates = (mixed[count, budget].tokens_per_second / 1e3 for budget in budgets)
            lines.append(_line(str(count), [f"{rate:.4g}" for rate in rates]))
        lines.append("")
    for switch in result.switches:
        lines += [f"{switch.model}, one call of mixed text, ms", _line("tokens", ["cpu", "cuda"])]
        for point in switch.crossover.points:
            times = (point.cpu_seconds, point.cuda_seconds)
            lines.append(_line(f"{point.tokens:,}", [f"{1e3 * t:.3g}" for t in times]))
        lines += [f"--provider auto: {switch.crossover.reason(gpu_names())}; {switch.kept}", ""]
    if result.without_cuda:
        lines += [f"--provider auto: the CPU for every call ({result.without_cuda})", ""]
    single, bulk = result.single, result.bulk
    lines += [
        f"one sentence at a time: {single.model} on {single.provider}, {1e3 * single.seconds:.3g} ms for 20 tokens",
        f'  Predictor.load("{single.model}", "{single.provider}").predict(tokens, scores=False)',
        f"much text: {bulk.model} on {bulk.provider}, {bulk.tokens_per_second:,.0f} tokens/s",
        f'  Predictor.load("{bulk.model}", "{bulk.provider}", threads={bulk.threads}, '
        f"batch_tokens={bulk.batch_tokens}).predict_batch(sentences, scores=False)",
        f"  lstm-deploy run --model {bulk.model} --provider {bulk.provider} --threads {bulk.threads} "
        f"--batch-tokens {bulk.batch_tokens} --input FILE.txt",
    ]
    return "\n".join(lines)


def _providers(
    models: Sequence[Path], provider: Provider, cuda: CudaOptions | None
) -> tuple[list[Literal["cpu", "cuda"]], str]:
    """Those to measure, each of which every model loads on, and for ``auto`` why CUDA is not among them."""
    try:
        for path in models:
            Predictor.load(path, "cuda" if provider == "auto" else provider, cuda=cuda)
    except ProviderError as e:
        if provider != "auto":
            raise
        return ["cpu"], str(e)
    return (["cpu", "cuda"] if provider == "auto" else [provider]), ""


def _switch(path: Path, seconds: float, cuda: CudaOptions | None) -> Switch:
    """Both with their defaults, as ``auto`` has them."""
    on_cpu, on_cuda = Predictor.load(path, "cpu"), Predictor.load(path, "cuda", cuda=cuda)
    found = measure_crossover(on_cpu, on_cuda, seconds, CROSSOVER_TOKENS)
    try:
        kept = f"kept in {crossover.save(path, machine_of(cuda, gpu_names()), found)}"
    except OutputError as e:  # the figures are still worth showing
        kept = f"not kept: {e}"
    return Switch(str(path), found, kept)


def _budgets(provider: Provider) -> tuple[int, ...]:
    return CUDA_BATCH_TOKENS if provider == "cuda" else BATCH_TOKENS


def _lengths(tokens: int) -> list[int]:
    """Lengths of mixed text of exactly so many tokens."""
    drawn = np.random.default_rng(_SEED).geometric(1 / _MEAN_LENGTH, tokens)
    ends = np.minimum(np.cumsum(drawn), tokens)
    lengths = np.diff(ends, prepend=0)
    return lengths[lengths > 0].tolist()


def _up_to(most: int) -> list[int]:
    """1, 2, 4, ... and ``most``."""
    return sorted({most, *(2**i for i in range(most.bit_length()))} & set(range(1, most + 1)))


def _cells(
    path: Path, provider: Provider, threads: int, seconds: float, cuda: CudaOptions | None
) -> Iterator[Measured]:
    """Calls of each shape, in the thread that makes them, then the mixed text by batch budget."""
    if threads == 1:
        predictor = Predictor.load(path, provider, threads=1, cuda=cuda)
        for rows in ROWS:
            for length in LENGTHS:
                yield _cell(predictor, path, _sentences(predictor, [length] * rows), rows, length, seconds)
    lengths = _lengths(_MIXED_TOKENS[provider])
    for budget in _budgets(provider):
        predictor = Predictor.load(path, provider, threads=threads, batch_tokens=budget, cuda=cuda)
        cell = _cell(predictor, path, _sentences(predictor, lengths), 0, 0, seconds)
        yield replace(cell, batch_tokens=budget)  # asked for, where memory did not allow it


def _sentences(predictor: Predictor, lengths: Sequence[int]) -> list[list[str]]:
    """Sentences of these lengths, of words that the model knows and, where it takes such, some that it does not."""
    random = np.random.default_rng(_SEED)
    words = _words(predictor.metadata, random)
    drawn = [words[i] for i in random.integers(len(words), size=sum(lengths))]
    vocabulary = predictor.metadata.vocabulary
    if vocabulary is None or vocabulary.unknown_id is not None:
        for i in np.flatnonzero(random.random(len(drawn)) < _UNKNOWN_RATE).tolist():
            drawn[i] += words[i % len(words)] * 2
    ends = np.cumsum(lengths).tolist()
    return [drawn[end - length : end] for end, length in zip(ends, lengths, strict=True)]


def _words(metadata: ModelMetadata, random: np.random.Generator) -> list[str]:
    """The vocabulary; for a model of characters alone, words spelt with them."""
    if metadata.vocabulary:
        return [word for word in metadata.vocabulary.words if word] or ["word"]
    characters = [c for c in metadata.characters.characters if c] if metadata.characters else []
    sizes = random.integers(1, _MAX_CHARACTERS + 1, _SPELT_WORDS)
    return ["".join(random.choice(characters or ["a"], size)) for size in sizes]


def _cell(
    predictor: Predictor, path: Path, sentences: list[list[str]], rows: int, length: int, seconds: float
) -> Measured:
    def call() -> object:
        if rows == 1:
            return predictor.predict(sentences[0], scores=False)
        return predictor.predict_batch(sentences, scores=False)

    taken = statistics.median(_times(call, seconds))
    return Measured(
        str(path),
        predictor.metadata.precision,
        predictor.provider,
        predictor.threads,
        predictor.batch_tokens,
        rows,
        length,
        taken,
        sum(map(len, sentences)) / taken,
    )


def _times(call: Callable[[], object], seconds: float) -> list[float]:
    """Times of calls over about ``seconds``, after one that warms up."""
    call()
    times: list[float] = []
    begin = time.perf_counter()
    while not times or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


def _line(head: str, cells: Sequence[str]) -> str:
    return f"{head:>10}" + "".join(f"{cell:>18}" for cell in cells)
