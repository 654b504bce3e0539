"""How fast model files are on this machine, and with which settings: what `lstm-deploy bench` does.

The sentences are made of the model's own words, with some that it does not know; their tags mean
nothing, their cost is that of real text of the same lengths.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from tqdm import tqdm

from .errors import ProviderError
from .metadata import ModelMetadata
from .predictor import Predictor
from .providers import Provider, available_cores

ROWS = (1, 8, 32, 128)
LENGTHS = (5, 20, 50)
BATCH_TOKENS = (512, 1024, 2048, 3072, 4096, 8192)
_UNKNOWN_RATE = 0.08
_MEAN_LENGTH = 16  # of the mixed text: lengths from a geometric distribution, as running text has them
_MIXED_TOKENS = 20_000
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
class Benchmark:
    """All cells, and the best of them for one sentence at a time and for much text."""

    cells: list[Measured]
    single: Measured
    bulk: Measured

    def to_json(self) -> dict[str, object]:
        """The figures as a JSON object."""
        return asdict(self)


def measure(models: Sequence[Path], provider: Provider, threads: int | None, seconds: float) -> Benchmark:
    """Measures every model over batch sizes, sentence lengths, threads and batch budgets.

    Args:
        provider: ``auto`` measures the CPU, and CUDA too where it loads.
        threads: the most to try; default: the cores this process may use.
        seconds: to spend on each cell, at least one call.

    Raises:
        ModelFileError: a file is not one of ours.
        ProviderError: ``cuda`` was asked for and does not load.
    """
    most = threads or available_cores()
    plan = [
        (path, name, count)
        for path in models
        for name in _providers(path, provider)
        for count in ([1] if name == "cuda" else _up_to(most))
    ]
    cells: list[Measured] = []
    calls = len(plan) * len(BATCH_TOKENS) + len({p[:2] for p in plan}) * len(ROWS) * len(LENGTHS)
    with tqdm(total=calls, unit="cell", disable=sys.stderr is None or not sys.stderr.isatty(), leave=False) as bar:
        for path, name, count in plan:
            for cell in _cells(path, name, count, seconds):
                cells.append(cell)
                bar.update()
    return Benchmark(
        cells,
        min((c for c in cells if c.rows == 1 and c.length == 20), key=lambda c: c.seconds),
        max((c for c in cells if not c.rows), key=lambda c: c.tokens_per_second),
    )


def describe(result: Benchmark) -> str:
    """Tables and the recommendation, several lines."""
    lines = []
    groups = dict.fromkeys((c.model, c.precision, c.provider) for c in result.cells)
    for group in groups:
        cells = [c for c in result.cells if (c.model, c.precision, c.provider) == group]
        grid = {(c.rows, c.length): c for c in cells if c.rows}
        mixed = {(c.threads, c.batch_tokens): c for c in cells if not c.rows}
        lines += [f"{group[0]} ({group[1]}) on {group[2]}", "", "one call on one thread, ms (thousand tokens/s)"]
        lines.append(_line("sentences", [f"{n} tokens" for n in LENGTHS]))
        for rows in ROWS:
            found = (grid[rows, n] for n in LENGTHS)
            lines.append(_line(str(rows), [f"{1e3 * c.seconds:.3g} ({c.tokens_per_second / 1e3:.4g})" for c in found]))
        lines += ["", "much mixed text, thousand tokens/s, by cells a batch"]
        lines.append(_line("threads", [f"{budget:,}" for budget in BATCH_TOKENS]))
        for count in sorted({threads for threads, _ in mixed}):
            rates = (mixed[count, budget].tokens_per_second / 1e3 for budget in BATCH_TOKENS)
            lines.append(_line(str(count), [f"{rate:.4g}" for rate in rates]))
        lines.append("")
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


def _providers(path: Path, provider: Provider) -> list[Literal["cpu", "cuda"]]:
    if provider != "auto":
        return [Predictor.load(path, provider).provider]
    try:
        return ["cpu", Predictor.load(path, "cuda").provider]
    except ProviderError:
        return ["cpu"]


def _up_to(most: int) -> list[int]:
    """1, 2, 4, ... and ``most``."""
    return sorted({most, *(2**i for i in range(most.bit_length()))} & set(range(1, most + 1)))


def _cells(path: Path, provider: Provider, threads: int, seconds: float) -> Iterator[Measured]:
    """Calls of each shape, in the thread that makes them, then the mixed text by batch budget."""
    if threads == 1:
        predictor = Predictor.load(path, provider, threads=1)
        for rows in ROWS:
            for length in LENGTHS:
                yield _cell(predictor, path, _sentences(predictor, [length] * rows), rows, length, seconds)
    lengths = np.random.default_rng(_SEED).geometric(1 / _MEAN_LENGTH, _MIXED_TOKENS // _MEAN_LENGTH).tolist()
    for budget in BATCH_TOKENS:
        predictor = Predictor.load(path, provider, threads=threads, batch_tokens=budget)
        yield _cell(predictor, path, _sentences(predictor, lengths), 0, 0, seconds)


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
