"""Many sentences on one provider: planned into batches, encoded, run, decoded, on all its threads and devices."""

import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from .batch_kinds import Batch, Column, SentenceBatch
from .batching import plan_batches, rounded_up
from .decoding import FlatTags, TaggedSentence
from .encoding import MOST_SPELT, Encoder, Inputs
from .errors import IdRangeError, OutOfMemoryError, SmallerBatchesWarning
from .lifetimes import lock_across_forks
from .metadata import ModelMetadata
from .providers import available_cores
from .session import Scores, TaggerSession
from .workers import Workers

_R = TypeVar("_R")
Tokens = Sequence[str]
BATCH_TOKENS = {"reverse_sequence": 1024, "sequence_lens": 1024, "gate": 1024, "scan_int8": 3072}
"""Cells of a batch on the CPU by graph form: where each is fastest (measured in benchmarks/NOTES.md)."""
CUDA_BATCH_TOKENS = 65_536
"""Cells of a batch on CUDA. Reckoned, not measured: enough rows for a step of the recurrence to fill a large GPU."""
CUDA_THREADS = 2
"""For each GPU: while one thread waits for it, the other encodes the next batch and decodes the last."""
POOL_TOKENS = 512
"""Below it a hand-over to other threads costs more than it saves."""
SPELT = 256
"""Characters of the longest token that a full batch has room for, of a model that spells them; with longer ones batches
have fewer cells."""
_LEAST = {"cpu": 512, "cuda": 8192}
"""Cells below which a batch is not made smaller only to share work out."""
_READ_AHEAD = {"cpu": 32, "cuda": 4}
"""Batches for each thread that are read before any is run: among them sentences of like length go together."""
_lowering = lock_across_forks()


class Engine:
    """Tags lists of sentences on one provider. Thread-safe, on the CPU usable after a fork.

    On the CPU each thread runs one batch at a time on one core: two such threads are faster than one session with two
    (measured in benchmarks/NOTES.md). On CUDA threads overlap the host's work with the device's, and batches are of
    few shapes.

    Args:
        sessions: of one model and provider; on CUDA one for each device, which share the work.
        encoder: of the same model.
        threads: batches in hand at the same time; default: what is best for the provider.
        batch_tokens: likewise.

    Attributes:
        session: the first of ``sessions``.
        threads: batches in hand at the same time.
        batch_tokens: cells (rows x longest row) that a batch has at most. Lowered where memory does not suffice.
    """

    def __init__(
        self,
        sessions: Sequence[TaggerSession],
        encoder: Encoder,
        *,
        threads: int | None = None,
        batch_tokens: int | None = None,
    ) -> None:
        self.session = sessions[0]
        self.metadata: ModelMetadata = self.session.metadata
        self.threads, self.batch_tokens = run_settings(self.session, threads, batch_tokens, len(sessions))
        self._provider = self.session.provider
        self._cuda = self._provider == "cuda"
        self._encoder = encoder
        self._tags = np.array(self.metadata.tags, dtype=object)
        self._workers = Workers(self.threads)
        self._memory = _Memory()
        self._process = os.getpid()
        self._unsaid = ""
        self._idle: SimpleQueue[TaggerSession] | None = None
        if len(sessions) > 1:  # each device is lent to as many batches at a time as any other
            self._idle = SimpleQueue()
            for i in range(max(self.threads, len(sessions))):
                self._idle.put(sessions[i % len(sessions)])

    @property
    def group_tokens(self) -> int:
        """Tokens of a stream to read before they are handed over, so that no batch has to be small."""
        return self.batch_tokens * _READ_AHEAD[self._provider] * self.threads

    def start(self, sentences: Sequence[Tokens], scores: bool) -> "Work[list[TaggedSentence]]":
        """Starts tagging on the pool, where it is worth it."""
        if "" in sentences:
            raise not_tokens("")
        lengths = list(map(len, sentences))
        tokens, least = sum(lengths), _LEAST[self._provider]
        pooled = self._is_pooled(tokens)
        shares = self.threads if pooled and not (self._cuda and tokens < 2 * least) else 1
        batches = plan_batches(lengths, max_tokens=self.batch_tokens, workers=shares, least=least, rounded=self._cuda)
        runs = (partial(self._run, [sentences[i] for i in batch], scores) for batch in batches)
        return self._started(runs, pooled, partial(_in_order, len(sentences), batches))

    def start_flat(
        self, words: Sequence[str], indices: NDArray[np.integer[Any]], lengths: NDArray[np.int64], scores: bool
    ) -> "Work[FlatTags]":
        """`start` for tokens that are numbers of distinct ``words``, checked by `check_flat`.

        What runs together depends on ``lengths`` and ``batch_tokens`` alone, not on how many threads there are: a model
        that rounds by batch gives the same tags on every machine.

        Raises:
            TypeError, UnknownWordError, UnknownCharacterError: as `tag`, of any word, at once.
        """
        column = Column(words, indices, lengths, self._encoder, self.metadata.crf, scores)
        batches = plan_batches(lengths.tolist(), max_tokens=self.batch_tokens, rounded=self._cuda)
        runs = (partial(self._run_kept, column.batch(batch), scores) for batch in batches)
        return self._started(runs, self._is_pooled(len(indices)), partial(_filled, column.found))

    def _is_pooled(self, tokens: int) -> bool:
        return self.threads > 1 and tokens >= POOL_TOKENS

    def _started(
        self, runs: Iterator[Callable[[], list[Any]]], pooled: bool, gather: "Callable[[Iterable[list[Any]]], _R]"
    ) -> "Work[_R]":
        return Work([self._workers.submit(run) for run in runs] if pooled else runs, gather, self._say)

    def tag(self, sentences: Sequence[Tokens], scores: bool) -> list[TaggedSentence]:
        """Tags a list, results in its order.

        Raises:
            TypeError: a sentence is a string, or a token is not one.
            UnknownWordError, UnknownCharacterError: a token that the model has no id for.
            OutOfMemoryError: one sentence alone does not fit into memory.
        """
        return self.start(sentences, scores).result()

    def _run(self, sentences: Sequence[Tokens], scores: bool) -> list[TaggedSentence]:
        for tokens in sentences:
            if isinstance(tokens, str):
                raise not_tokens(tokens)
        kept = list(map(tuple, sentences))  # now, while the tokens are in the cache
        return self._run_kept(SentenceBatch(kept, self._encoder, self._tags, self.metadata.crf), scores)

    def _run_kept(self, batch: Batch[_R], scores: bool) -> list[_R]:
        if self._process != os.getpid():  # forked: those who had begun are not here
            self._memory, self._process = _Memory(), os.getpid()
        budget, problem = self.batch_tokens, ""
        if batch.rows == 1 or self._fits(batch, budget):
            try:
                with self._memory.shared():
                    return self._run_batch(batch, scores)
            except MemoryError as e:  # numpy's, or onnxruntime's as one of ours
                problem = _why(e)
            # Out here the failed batch's arrays are free again; other threads' are once it is alone.
            try:
                with self._memory.alone():
                    found = self._run_batch(batch, scores)
                if batch.rows > 1:
                    self._lower(budget, budget // 2, problem)
                return found
            except MemoryError as e:
                problem = _why(e)
                if batch.rows == 1:
                    raise _too_long(problem, batch.longest) from e
            self._lower(budget, min(self._cells(batch), budget) // 2, problem)
        first, second = batch.halves()
        return self._run_kept(first, scores) + self._run_kept(second, scores)

    def _cells(self, batch: Batch[Any]) -> int:
        rows, columns = batch.rows, batch.longest
        return rounded_up(rows) * rounded_up(columns) if self._cuda else rows * columns

    def _fits(self, batch: Batch[Any], budget: int) -> bool:
        """Whether the rows may run together, spelt as wide as the longest token where the model spells them."""
        spelt = batch.spelt
        return self._cells(batch) * max(spelt / SPELT, 1) <= budget and 2 * batch.longest * spelt <= MOST_SPELT

    def _run_batch(self, batch: Batch[_R], scores: bool) -> list[_R]:
        inputs = batch.inputs(self._cuda)
        return batch.results(inputs, self._answer(inputs, scores))

    def _answer(self, inputs: Inputs, scores: bool) -> Scores:
        if self._idle is None:
            return self.session.run_encoded(inputs, scores=scores)
        session = self._idle.get()
        try:
            return session.run_encoded(inputs, scores=scores)
        finally:
            self._idle.put(session)

    def _lower(self, budget: int, size: int, problem: str) -> None:
        """Makes batches smaller from now on, unless that was done since ``budget`` was read."""
        size = max(size, 1)
        with _lowering:
            if self.batch_tokens == budget and size < budget:
                self.batch_tokens = size
                self._unsaid = (
                    f"memory ran out: batches have at most {size:,} tokens from now on, and what did not fit was run "
                    f"again; pass --batch-tokens {size} (batch_tokens) to have it so from the start ({problem:.250})"
                )

    def _say(self) -> None:
        """Warns of the last lowering, in the thread that waits for the answer."""
        with _lowering:
            unsaid, self._unsaid = self._unsaid, ""
        if unsaid:
            warnings.warn(unsaid, SmallerBatchesWarning, stacklevel=4)


class Work(Generic[_R]):
    """Batches that are being tagged, or will be when their result is asked for."""

    def __init__(
        self,
        runs: "list[Future[list[Any]]] | Iterator[Callable[[], list[Any]]]",
        gather: "Callable[[Iterable[list[Any]]], _R]",
        then: Callable[[], None],
    ) -> None:
        self._runs = runs
        self._gather = gather
        self._then = then

    def result(self) -> _R:
        """What was asked for, in the order given, once all is tagged; to be called once.

        What has not begun is cancelled by an error.
        """
        try:
            found = self._gather(run.result() if isinstance(run, Future) else run() for run in self._runs)
        except BaseException:
            self.cancel()
            raise
        self._then()
        return found

    def cancel(self) -> None:
        """Batches that have not begun do not begin."""
        if isinstance(self._runs, list):
            for run in self._runs:
                run.cancel()


class _Memory:
    """Lets many batches run together, or one alone where memory was short for several."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running = 0
        self._waiting = 0

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Beside others; not while one runs alone or waits to."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting)
            self._running += 1
        try:
            yield
        finally:
            self._leave()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """When all others have ended."""
        with self._changed:
            self._waiting += 1
            self._changed.wait_for(lambda: not self._running)
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._waiting -= 1
            self._leave()

    def _leave(self) -> None:
        with self._changed:
            self._running -= 1
            self._changed.notify_all()


def _why(e: MemoryError) -> str:
    """What onnxruntime said, where it was it."""
    return " ".join(str(e.__cause__ or e).split()) or "Python could not allocate"


def _in_order(count: int, batches: list[list[int]], results: Iterable[list[TaggedSentence]]) -> list[TaggedSentence]:
    """The sentences as they were given; those of no batch are empty."""
    ordered: list[TaggedSentence | None] = [None] * count
    for batch, sentences in zip(batches, results, strict=True):
        for i, sentence in zip(batch, sentences, strict=True):
            ordered[i] = sentence
    return [sentence or TaggedSentence((), (), ()) for sentence in ordered]


def _filled(room: FlatTags, results: Iterable[list[Any]]) -> FlatTags:
    """What batches fill by themselves, once they all have."""
    for _ in results:
        pass
    return room


def check_flat(
    words: Sequence[str], indices: NDArray[np.integer[Any]], lengths: NDArray[np.integer[Any]]
) -> tuple[NDArray[np.integer[Any]], NDArray[np.int64]]:
    """Indices and lengths as arrays that go together with ``words``.

    Raises:
        TypeError: ``words`` is a string, or numbers that are not whole.
        ValueError: arrays of more than one axis, or lengths whose sum is not the number of indices.
        IdRangeError: an index that no word has, or a length below 0.
    """
    if isinstance(words, str):
        raise not_tokens(words)
    arrays = []
    for name, given in (("indices", indices), ("lengths", lengths)):
        array = np.asarray(given)
        if not array.size:
            array = array.astype(np.int64)
        if array.ndim != 1:
            raise ValueError(f"{name} has shape {array.shape}; expected one axis: put sentences one after another")
        if array.dtype.kind not in "iu":
            raise TypeError(f"{name} holds {array.dtype}; expected whole numbers: {name}.astype('int32')")
        arrays.append(array)
    indices, lengths = arrays
    lengths = lengths.astype(np.int64)
    if lengths.size and lengths.min() < 0:
        raise IdRangeError(f"a length is {lengths.min()}; expected 0 or more: count the tokens of each sentence")
    if int(lengths.sum()) != len(indices):
        raise ValueError(
            f"lengths add up to {int(lengths.sum()):,}, there are {len(indices):,} indices; expected as many: "
            "one index for each token"
        )
    if indices.size and (indices.min() < 0 or indices.max() >= len(words)):
        raise IdRangeError(
            f"indices run from {indices.min()} to {indices.max()}; expected 0 to {len(words) - 1}, the positions in "
            "words; pass the words that they were made of"
        )
    return indices, lengths


def _too_long(problem: str, tokens: int) -> OutOfMemoryError:
    return OutOfMemoryError(
        f"a sentence of {tokens:,} tokens alone does not fit into memory ({problem:.300}); tag it in windows, "
        "with predict_long (--window)"
    )


def not_tokens(text: str) -> TypeError:
    """What to raise where a string was given for tokens."""
    return TypeError(f"expected a sequence of tokens, got the str {text!r:.60}; use predict_text for text")


def check_limits(threads: int | None, batch_tokens: int | None) -> None:
    """Raises unless both are at least 1, or not given.

    Raises:
        ValueError: one is less.
    """
    if (threads is not None and threads < 1) or (batch_tokens is not None and batch_tokens < 1):
        raise ValueError(f"threads={threads}, batch_tokens={batch_tokens}; both must be 1 or more")


def run_settings(
    session: TaggerSession, threads: int | None, batch_tokens: int | None, devices: int = 1
) -> tuple[int, int]:
    """``threads`` and ``batch_tokens``, with what is best for a session's provider where one is not given."""
    if session.provider == "cuda":
        return threads or CUDA_THREADS * devices, batch_tokens or CUDA_BATCH_TOKENS
    return threads or available_cores(), batch_tokens or BATCH_TOKENS[session.metadata.graph_form]
