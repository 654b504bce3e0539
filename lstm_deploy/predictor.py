"""The flow of prediction, nothing else: tokenize -> encode -> run -> decode."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from .batching import plan_batches
from .decoding import TaggedSentence, TaggedText, decode
from .encoding import Encoder
from .metadata import ModelMetadata
from .providers import Provider, available_cores
from .session import TaggerSession

Tokens = Sequence[str]
_EMPTY = TaggedSentence((), (), ())
BATCH_TOKENS = 1024
_WINDOW_BATCHES = 32
_POOL_TOKENS = 512  # below it a hand-over to other threads costs more than it saves


class Predictor:
    """Tags sentences with one model file. Thread-safe, picklable (by path), usable after a fork.

    Work is spread over threads that each run one batch at a time on one core: two such threads
    are faster than one session with two (measured in benchmarks/NOTES.md).

    Attributes:
        path: the model file.
        metadata: what the file says of itself.
        provider: what it really runs on, ``cpu`` or ``cuda``.
        provider_reason: why that one.
        threads: batches that run at the same time.
    """

    def __init__(self, session: TaggerSession, path: Path, *, threads: int, batch_tokens: int) -> None:
        self.path = path
        self.metadata: ModelMetadata = session.metadata
        self.provider = session.provider
        self.provider_reason = session.provider_reason
        self.threads = threads
        self.encoder = Encoder(session.metadata.vocabulary, session.metadata.features)
        self.session = session
        self._batch_tokens = batch_tokens
        self._tags = np.array(session.metadata.tags, dtype=object)
        self._pool = _Pool(threads)

    @classmethod
    def load(
        cls,
        path: str | Path,
        provider: Provider = "cpu",
        *,
        threads: int | None = None,
        batch_tokens: int = BATCH_TOKENS,
    ) -> "Predictor":
        """The predictor for a file made by ``lstm-deploy export``.

        Args:
            path: the ONNX file.
            provider: ``cpu``; ``cuda``, which is CUDA or an error; ``auto``, CUDA where it loads.
            threads: batches to run at the same time; default: the cores this process may use.
            batch_tokens: cells (rows x longest row) of a batch, the memory taken grows with it.

        Raises:
            ModelFileError: the file is missing, not one of ours, or contradicts itself.
            ProviderError: ``cuda`` was asked for and does not load.
            MissingDependencyError: no onnxruntime is installed.
            ValueError: ``threads`` or ``batch_tokens`` below 1.
        """
        if (threads is not None and threads < 1) or batch_tokens < 1:
            raise ValueError(f"threads={threads}, batch_tokens={batch_tokens}; both must be 1 or more")
        session = TaggerSession(path, provider)
        workers = threads or (1 if session.provider == "cuda" else available_cores())
        return cls(session, Path(path), threads=workers, batch_tokens=batch_tokens)

    def __reduce__(self) -> tuple[Callable[..., "Predictor"], tuple[object, ...]]:
        return _load, (self.path, self.provider, self.threads, self._batch_tokens)

    def predict(self, tokens: Tokens) -> TaggedSentence:
        """Tags one sentence, in the calling thread.

        Raises:
            TypeError: ``tokens`` is a string (use `predict_text`) or holds something else than strings.
        """
        _check_tokens(tokens)
        return self._run([tokens])[0] if tokens else _EMPTY

    def predict_text(self, text: str) -> TaggedText:
        """Tags one sentence of text, cut by the model's tokenizer; offsets count code points."""
        offsets = self.metadata.tokenizer.spans(text)
        result = self.predict([text[start:end] for start, end in offsets])
        return TaggedText(result.tokens, result.tags, result.scores, text, tuple(offsets))

    def predict_batch(self, sentences: Sequence[Tokens]) -> list[TaggedSentence]:
        """Tags many sentences; results in the order given, the same as one by one.

        Raises:
            TypeError: a sentence is a string, or a token is not one.
        """
        return self._start(sentences)()

    def predict_stream(self, sentences: Iterable[Tokens]) -> Iterator[TaggedSentence]:
        """Tags an endless iterable lazily, in order, in constant memory.

        Reads ahead by at most two windows of a few batches per thread; within a window
        sentences of like length run together.
        """
        size = self._batch_tokens * _WINDOW_BATCHES * self.threads
        running: deque[Callable[[], list[TaggedSentence]]] = deque()
        for window in _windows(sentences, size):
            running.append(self._start(window))
            if len(running) > 1:
                yield from running.popleft()()
        while running:
            yield from running.popleft()()

    def _start(self, sentences: Sequence[Tokens]) -> Callable[[], list[TaggedSentence]]:
        """Starts tagging on the pool, where it is worth it; the function returned waits for the results."""
        if isinstance(sentences, str):
            raise TypeError("expected a sequence of sentences, each a sequence of tokens; got a str")
        for tokens in sentences:
            _check_tokens(tokens)
        lengths = [len(tokens) for tokens in sentences]
        workers = self.threads if sum(lengths) >= _POOL_TOKENS else 1
        batches = plan_batches(lengths, max_tokens=self._batch_tokens, min_batches=workers)
        groups = [[sentences[i] for i in batch] for batch in batches]
        done = self._pool.map(self._run, groups) if workers > 1 else map(self._run, groups)
        return lambda: _in_order(len(sentences), batches, done)

    def _run(self, sentences: Sequence[Tokens]) -> list[TaggedSentence]:
        inputs = self.encoder.encode(sentences)
        return decode(sentences, inputs["lengths"], self.session.run(inputs), self._tags)


class _Pool:
    """A thread pool made when first used, and made anew in a forked child (threads do not survive a fork)."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._owner = 0
        self._executor: ThreadPoolExecutor | None = None

    def map(
        self, run: Callable[[list[Tokens]], list[TaggedSentence]], groups: Iterable[list[Tokens]]
    ) -> Iterator[list[TaggedSentence]]:
        with self._lock:
            if self._executor is None or self._owner != os.getpid():
                self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix="lstm-deploy")
                self._owner = os.getpid()
            return self._executor.map(run, groups)


def _load(path: Path, provider: Provider, threads: int, batch_tokens: int) -> Predictor:
    return Predictor.load(path, provider, threads=threads, batch_tokens=batch_tokens)


def _in_order(count: int, batches: list[list[int]], results: Iterable[list[TaggedSentence]]) -> list[TaggedSentence]:
    """Results by batch, put back where their sentences stood."""
    ordered = [_EMPTY] * count
    for batch, tagged in zip(batches, results, strict=True):
        for i, sentence in zip(batch, tagged, strict=True):
            ordered[i] = sentence
    return ordered


def _windows(sentences: Iterable[Tokens], size: int) -> Iterator[list[Tokens]]:
    """Runs of consecutive sentences of about ``size`` tokens, an empty sentence counting as one."""
    window: list[Tokens] = []
    tokens = 0
    for sentence in sentences:
        window.append(sentence)
        tokens += len(sentence) or 1
        if tokens >= size:
            yield window
            window, tokens = [], 0
    if window:
        yield window


def _check_tokens(tokens: Tokens) -> None:
    if isinstance(tokens, str):
        raise TypeError(f"expected a sequence of tokens, got the str {tokens!r:.60}; use predict_text for text")
