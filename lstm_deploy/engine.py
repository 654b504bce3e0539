"""Many sentences on one provider: planned into batches, encoded, run, decoded, on all its threads and devices."""

import threading
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from queue import SimpleQueue

import numpy as np

from .batching import plan_batches
from .decoding import TaggedSentence, decode
from .encoding import Encoder
from .errors import OutOfMemoryError, SmallerBatchesWarning
from .metadata import ModelMetadata
from .providers import available_cores
from .session import Scores, TaggerSession
from .workers import Workers

Tokens = Sequence[str]
BATCH_TOKENS = {"reverse_sequence": 1024, "sequence_lens": 1024, "gate": 1024, "scan_int8": 3072}
"""Cells of a batch on the CPU by graph form: where each is fastest (measured in benchmarks/NOTES.md)."""
CUDA_BATCH_TOKENS = 65_536
"""Cells of a batch on CUDA. Reckoned, not measured: enough rows for a step of the recurrence to fill a large GPU."""
CUDA_THREADS = 2
"""For each GPU: while one thread waits for it, the other encodes the next batch and decodes the last."""
POOL_TOKENS = 512
"""Below it a hand-over to other threads costs more than it saves."""
_READ_AHEAD = {"cpu": 32, "cuda": 4}
"""Batches for each thread that are read before any is run: among them sentences of like length go together."""


class Engine:
    """Tags lists of sentences on one provider. Thread-safe, usable after a fork on the CPU.

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
        self._cuda = self.session.provider == "cuda"
        self._shares = len(sessions) if self._cuda else self.threads
        self._encoder = encoder
        self._tags = np.array(self.metadata.tags, dtype=object)
        self._workers = Workers(self.threads)
        self._lock = threading.Lock()
        self._idle: SimpleQueue[TaggerSession] | None = None
        if len(sessions) > 1:  # each device is lent to as many batches at a time as any other
            self._idle = SimpleQueue()
            for i in range(max(self.threads, len(sessions))):
                self._idle.put(sessions[i % len(sessions)])

    @property
    def group_tokens(self) -> int:
        """Tokens of a stream to read before they are handed over, so that no batch has to be small."""
        return self.batch_tokens * _READ_AHEAD[self.session.provider] * self.threads

    def start(self, sentences: Sequence[Tokens], scores: bool) -> Callable[[], list[TaggedSentence]]:
        """Starts tagging on the pool, where it is worth it; the function returned waits for the results, in order.

        Raises:
            TypeError: a sentence is a string, or a token is not one.
            UnknownWordError, UnknownCharacterError: a token that the model has no id for.
        """
        if "" in sentences:
            raise not_tokens("")
        lengths = list(map(len, sentences))
        pooled = self.threads > 1 and sum(lengths) >= POOL_TOKENS
        shares = self._shares if pooled else 1
        batches = plan_batches(lengths, max_tokens=self.batch_tokens, workers=shares, rounded=self._cuda)
        groups = ([sentences[i] for i in batch] for batch in batches)
        run = partial(self._run, scores=scores)
        done = self._workers.map(run, groups) if pooled else map(run, groups)
        return lambda: _in_order(len(sentences), batches, done)

    def _run(self, sentences: Sequence[Tokens], scores: bool) -> list[TaggedSentence]:
        for tokens in sentences:
            if isinstance(tokens, str):
                raise not_tokens(tokens)
        kept = list(map(tuple, sentences))  # now, while the tokens are in the cache for their look-up
        try:
            return self._run_batch(kept, scores)
        except MemoryError as e:  # numpy's, or onnxruntime's as one of ours
            problem = str(e)
            if len(kept) == 1:
                raise _too_long(e, kept[0]) from e
        # Out here the failed batch's arrays are free again.
        self._lower(kept, problem)
        middle = len(kept) // 2
        return self._run(kept[:middle], scores) + self._run(kept[middle:], scores)

    def _run_batch(self, kept: list[tuple[str, ...]], scores: bool) -> list[TaggedSentence]:
        inputs = self._encoder.encode(kept, rounded=self._cuda)
        answer = self._answer(inputs, scores)
        return decode(kept, inputs["lengths"][: len(kept)], answer.of_rows(len(kept)), self._tags, self.metadata.crf)

    def _answer(self, inputs: dict[str, np.ndarray], scores: bool) -> Scores:
        if self._idle is None:
            return self.session.run_encoded(inputs, scores=scores)
        session = self._idle.get()
        try:
            return session.run_encoded(inputs, scores=scores)
        finally:
            self._idle.put(session)

    def _lower(self, sentences: list[tuple[str, ...]], problem: str) -> None:
        """Makes later batches as small as the halves of one that did not fit, and says so once for each size."""
        size = max(len(sentences) // 2 * max(map(len, sentences)), 1)
        with self._lock:
            if size >= self.batch_tokens:
                return
            self.batch_tokens = size
        warnings.warn(
            f"memory ran out on a batch of {len(sentences)} sentences; it is halved and run again, and batches have at "
            f"most {size:,} tokens from now on: pass --batch-tokens {size} or less ({problem:.200})",
            SmallerBatchesWarning,
            stacklevel=2,
        )


def _too_long(e: MemoryError, tokens: tuple[str, ...]) -> OutOfMemoryError:
    if isinstance(e, OutOfMemoryError):
        return e
    return OutOfMemoryError(
        f"a sentence of {len(tokens):,} tokens does not fit into memory ({e}); tag it with predict_long (--window)"
    )


def _in_order(count: int, batches: list[list[int]], results: Iterable[list[TaggedSentence]]) -> list[TaggedSentence]:
    """Results by batch, put back where their sentences stood."""
    ordered: list[TaggedSentence | None] = [None] * count
    for batch, tagged in zip(batches, results, strict=True):
        for i, sentence in zip(batch, tagged, strict=True):
            ordered[i] = sentence
    return [sentence or TaggedSentence((), (), ()) for sentence in ordered]


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
