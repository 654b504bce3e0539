"""The flow of prediction, nothing else: tokenize -> encode -> run -> decode."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from .batching import plan_batches
from .decoding import TaggedSentence, TaggedText, decode, decode_one
from .encoding import Encoder
from .errors import ModelFileError
from .metadata import ModelMetadata
from .providers import Provider, available_cores
from .session import TaggerSession
from .windows import MARGIN, WINDOW, join_windows, plan_windows
from .workers import Workers

Tokens = Sequence[str]
BATCH_TOKENS = {"reverse_sequence": 1024, "sequence_lens": 1024, "gate": 1024, "scan_int8": 3072}
"""Cells of a batch by graph form: where each is fastest (measured in benchmarks/NOTES.md)."""
READ_AHEAD_BATCHES = 32
"""Batches for each thread that are read before any is run: among them sentences of like length go together."""
POOL_TOKENS = 512
"""Below it a hand-over to other threads costs more than it saves."""


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
        batch_tokens: cells (rows x longest row) that a batch has at most.
    """

    def __init__(self, session: TaggerSession, path: Path, *, threads: int, batch_tokens: int) -> None:
        self.path = path
        self.metadata: ModelMetadata = session.metadata
        self.provider = session.provider
        self.provider_reason = session.provider_reason
        self.threads = threads
        self.encoder = Encoder(self.metadata.vocabulary, self.metadata.features, self.metadata.characters)
        self.session = session
        self.batch_tokens = batch_tokens
        self._tags = np.array(session.metadata.tags, dtype=object)
        self._workers = Workers(threads)

    @classmethod
    def load(
        cls,
        path: str | Path,
        provider: Provider = "cpu",
        *,
        threads: int | None = None,
        batch_tokens: int | None = None,
    ) -> "Predictor":
        """The predictor for a file made by ``lstm-deploy export``.

        Args:
            path: the ONNX file.
            provider: ``cpu``; ``cuda``, which is CUDA or an error; ``auto``, CUDA where it loads.
            threads: batches to run at the same time; default: the cores this process may use.
            batch_tokens: cells (rows x longest row) of a batch, the memory taken grows with it;
                default: what is fastest for the file's graph form.

        Raises:
            ModelFileError: the file is missing, not one of ours, contradicts itself, or is a streaming one.
            ProviderError: ``cuda`` was asked for and does not load.
            MissingDependencyError: no onnxruntime is installed.
            ValueError: ``threads`` or ``batch_tokens`` below 1.
        """
        check_limits(threads, batch_tokens)
        session = TaggerSession(path, provider)
        if session.metadata.states:
            raise ModelFileError(
                f"{path}: a streaming file, which takes sentences in chunks; expected one for whole sentences; load it "
                "with StreamingPredictor, or export without --streaming"
            )
        return cls(session, Path(path), **run_settings(session, threads, batch_tokens))

    def __reduce__(self) -> tuple[Callable[..., "Predictor"], tuple[object, ...]]:
        return _load, (self.path, self.provider, self.threads, self.batch_tokens)

    def predict(self, tokens: Tokens, *, scores: bool = True) -> TaggedSentence:
        """Tags one sentence, in the calling thread.

        Args:
            scores: whether to give the probability of each tag too.

        Raises:
            TypeError: ``tokens`` is a string (use `predict_text`) or holds something else than strings.
            UnknownWordError, UnknownCharacterError: a token the model has no id for, if it has no unknown one.
        """
        if isinstance(tokens, str):
            raise not_tokens(tokens)
        if not tokens:
            return _empty()
        kept = tuple(tokens)
        answer = self.session.run_encoded(self.encoder.encode_one(kept), scores=scores)
        return decode_one(kept, answer, self.metadata.tags, self.metadata.crf)

    def predict_text(self, text: str, *, scores: bool = True) -> TaggedText:
        """Tags one sentence of text, cut by the model's tokenizer; offsets count code points."""
        offsets = self.metadata.tokenizer.spans(text)
        result = self.predict([text[start:end] for start, end in offsets], scores=scores)
        return TaggedText(result.tokens, result.tags, result.scores, text, tuple(offsets))

    def predict_batch(self, sentences: Sequence[Tokens], *, scores: bool = True) -> list[TaggedSentence]:
        """Tags many sentences; results in the order given.

        They are the same as one by one, except that an int8 model rounds more in large batches: see
        FORMAT.md for its tolerance.

        Args:
            scores: whether to give the probability of each tag too; without is faster.

        Raises:
            TypeError: a sentence is a string, or a token is not one.
            UnknownWordError, UnknownCharacterError: as `predict`.
        """
        return self._start(sentences, scores)()

    def predict_stream(self, sentences: Iterable[Tokens], *, scores: bool = True) -> Iterator[TaggedSentence]:
        """Tags an endless iterable lazily, in order, in constant memory.

        Reads ahead by at most two groups of a few batches per thread; within a group
        sentences of like length run together.
        """
        size = self.batch_tokens * READ_AHEAD_BATCHES * self.threads
        running: deque[Callable[[], list[TaggedSentence]]] = deque()
        for group in groups_of(sentences, size):
            running.append(self._start(group, scores))
            if len(running) > 1:
                yield from running.popleft()()
        while running:
            yield from running.popleft()()

    def predict_long(
        self, tokens: Tokens, *, window: int = WINDOW, margin: int = MARGIN, scores: bool = True
    ) -> TaggedSentence:
        """Tags one sentence of any length in bounded memory, beside its tokens and the result, on all threads.

        More than ``window + 2 * margin`` tokens run in windows that overlap, of which the middle ``window`` tokens are
        kept. That approximates: a tag depends on nothing further than ``margin`` tokens away (for a unidirectional
        tagger nothing further before it; only the tokens up to ``window`` are then sure to be exact), and where
        the file ends in a CRF each window is decoded by itself, so that two tags at a seam may be a pair that the
        CRF would not allow. benchmarks/NOTES.md has what it costs on real text. A streaming file is exact:
        `StreamingPredictor.predict_long`.

        Args:
            window: tokens of each window that are kept.
            margin: tokens of context on each side; at least half the sentence's length is the whole sentence.
            scores: whether to give the probability of each tag too.

        Raises:
            TypeError, UnknownWordError, UnknownCharacterError: as `predict`.
            ValueError: ``window`` below 1 or ``margin`` below 0.
        """
        if isinstance(tokens, str):
            raise not_tokens(tokens)
        windows = plan_windows(len(tokens), window=window, margin=margin)
        parts = (tokens[part.start : part.stop] for part in windows)
        return join_windows(tokens, windows, self.predict_stream(parts, scores=scores))

    def _start(self, sentences: Sequence[Tokens], scores: bool) -> Callable[[], list[TaggedSentence]]:
        """Starts tagging on the pool, where it is worth it; the function returned waits for the results."""
        if isinstance(sentences, str):
            raise TypeError("expected a sequence of sentences, each a sequence of tokens; got a str")
        if "" in sentences:
            raise not_tokens("")
        lengths = list(map(len, sentences))
        workers = self.threads if sum(lengths) >= POOL_TOKENS else 1
        batches = plan_batches(lengths, max_tokens=self.batch_tokens, workers=workers)
        groups = ([sentences[i] for i in batch] for batch in batches)
        run = partial(self._run, scores=scores)
        done = self._workers.map(run, groups) if workers > 1 else map(run, groups)
        return lambda: _in_order(len(sentences), batches, done)

    def _run(self, sentences: Sequence[Tokens], scores: bool) -> list[TaggedSentence]:
        for tokens in sentences:
            if isinstance(tokens, str):
                raise not_tokens(tokens)
        kept = list(map(tuple, sentences))  # now, while the tokens are in the cache for their look-up
        inputs = self.encoder.encode(kept)
        answer = self.session.run_encoded(inputs, scores=scores)
        return decode(kept, inputs["lengths"], answer, self._tags, self.metadata.crf)


def _load(path: Path, provider: Provider, threads: int, batch_tokens: int) -> Predictor:
    return Predictor.load(path, provider, threads=threads, batch_tokens=batch_tokens)


def _in_order(count: int, batches: list[list[int]], results: Iterable[list[TaggedSentence]]) -> list[TaggedSentence]:
    """Results by batch, put back where their sentences stood."""
    ordered: list[TaggedSentence | None] = [None] * count
    for batch, tagged in zip(batches, results, strict=True):
        for i, sentence in zip(batch, tagged, strict=True):
            ordered[i] = sentence
    return [sentence or _empty() for sentence in ordered]


def not_tokens(text: str) -> TypeError:
    """What to raise where a string was given for tokens."""
    return TypeError(f"expected a sequence of tokens, got the str {text!r:.60}; use predict_text for text")


def _empty() -> TaggedSentence:
    return TaggedSentence((), (), ())


def check_limits(threads: int | None, batch_tokens: int | None) -> None:
    """Raises unless both are at least 1, or not given.

    Raises:
        ValueError: one is less.
    """
    if (threads is not None and threads < 1) or (batch_tokens is not None and batch_tokens < 1):
        raise ValueError(f"threads={threads}, batch_tokens={batch_tokens}; both must be 1 or more")


def run_settings(session: TaggerSession, threads: int | None, batch_tokens: int | None) -> dict[str, int]:
    """``threads`` and ``batch_tokens``, with what is fastest for a session where one is not given."""
    workers = threads or (1 if session.provider == "cuda" else available_cores())
    return {"threads": workers, "batch_tokens": batch_tokens or BATCH_TOKENS[session.metadata.graph_form]}


def groups_of(sentences: Iterable[Tokens], size: int) -> Iterator[list[Tokens]]:
    """Runs of consecutive sentences of about ``size`` tokens, an empty sentence counting as one."""
    group: list[Tokens] = []
    tokens = 0
    for sentence in sentences:
        group.append(sentence)
        tokens += len(sentence) or 1
        if tokens >= size:
            yield group
            group, tokens = [], 0
    if group:
        yield group
