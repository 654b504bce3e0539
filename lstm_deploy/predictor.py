"""The flow of prediction, nothing else: tokenize -> encode -> run -> decode."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import crossover
from .crossover import Machine
from .decoding import FlatTags, TaggedSentence, TaggedText, decode_one
from .encoding import Encoder
from .engine import Engine, Tokens, Work, check_flat, check_limits, not_tokens
from .errors import ModelFileError, ProviderError
from .gpus import gpu_names
from .metadata import ModelMetadata
from .modelfile import ModelFile, read_model_file
from .providers import CudaOptions, Provider, available_cores, check_provider, import_onnxruntime
from .segmentation import Segments
from .sentence_rules import SentenceRules
from .session import TaggerSession
from .windows import MARGIN, WINDOW, join_windows, plan_windows

_ENDLESS = 2**62
"""Tokens of a stream, as far as can be said before it is read."""


class Predictor:
    """Tags sentences with one model file. Thread-safe, picklable (by path), on the CPU usable after a fork.

    Attributes:
        path: the model file.
        metadata: what the file says of itself.
        provider: what it really runs on: ``cpu``, ``cuda``, or ``auto`` for both, each call on the one that is faster
            for its size.
        provider_reason: why that one.
        session: the model on that provider; for ``auto`` on CUDA.
    """

    def __init__(
        self,
        path: Path,
        engine: Engine,
        encoder: Encoder,
        *,
        small: Engine | None = None,
        switch: int | None = None,
        reason: str | None = None,
    ) -> None:
        self.path = path
        self.metadata: ModelMetadata = engine.metadata
        self.encoder = encoder
        self.session = engine.session
        self.provider: Provider = "auto" if small else engine.session.provider
        self.provider_reason = reason or engine.session.provider_reason
        self._engine = engine
        self._small = small
        self._switch = switch
        self._given: dict[str, Any] = {"provider": self.provider}

    @property
    def threads(self) -> int:
        """Batches in hand at the same time; for ``auto`` on CUDA."""
        return self._engine.threads

    @property
    def batch_tokens(self) -> int:
        """Cells (rows x longest row) that a batch has at most, fewer once memory ran out; for ``auto`` on CUDA."""
        return self._engine.batch_tokens

    @classmethod
    def load(
        cls,
        path: str | Path,
        provider: Provider = "cpu",
        *,
        threads: int | None = None,
        batch_tokens: int | None = None,
        cuda: CudaOptions | None = None,
        sha256: str | None = None,
    ) -> "Predictor":
        """The predictor for a file made by ``lstm-deploy export``.

        Args:
            path: the ONNX file.
            provider: ``cpu``; ``cuda``, which is CUDA or an error; ``auto``, CUDA where it loads for calls that are
                large enough for it to win, else the CPU.
            threads: batches to have in hand at the same time; default: on the CPU the cores this process may use, on
                CUDA two for each device.
            batch_tokens: cells (rows x longest row) of a batch, the memory taken grows with it;
                default: what is fastest for the file's graph form, on CUDA what fills a large GPU.
            cuda: devices, memory, precision of products on CUDA.
            sha256: what the SHA-256 of the file has to be, 64 hexadecimal digits (`lstm-deploy inspect --sha256`
                prints it). A file from elsewhere is then the one that was looked at, to the last bit.

        Raises:
            ModelFileError: the file is missing, not one of ours, contradicts itself, or is a streaming one.
            UnsafeModelError: it has something that no tagger has.
            DigestError: it is another file than ``sha256`` is of.
            ProviderError: ``cuda`` was asked for and does not load.
            MissingDependencyError: no onnxruntime is installed.
            ValueError: ``threads`` or ``batch_tokens`` below 1, or ``sha256`` is no digest.
        """
        check_limits(threads, batch_tokens)
        check_provider(provider)
        return cls._of(read_model_file(path, sha256), provider, threads=threads, batch_tokens=batch_tokens, cuda=cuda)

    @classmethod
    def _of(
        cls,
        file: ModelFile,
        provider: Provider,
        *,
        threads: int | None,
        batch_tokens: int | None,
        cuda: CudaOptions | None,
    ) -> "Predictor":
        path = file.path
        sessions, reason = _open(file, provider, cuda)
        metadata = sessions[0].metadata
        if metadata.states:
            raise ModelFileError(
                f"{path}: a streaming file, which takes sentences in chunks; expected one for whole sentences; load it "
                "with StreamingPredictor, or export without --streaming"
            )
        encoder = Encoder(metadata.vocabulary, metadata.features, metadata.characters)
        settings = {"threads": threads, "batch_tokens": batch_tokens}
        engine = Engine(sessions, encoder, **settings)
        if provider == "auto" and sessions[0].provider == "cuda":
            names = gpu_names()
            switch = crossover.load(path, machine_of(cuda, names))
            small = Engine([TaggerSession(file, "cpu")], encoder, **settings)
            loaded = cls(path, engine, encoder, small=small, switch=switch.tokens, reason=switch.reason(names))
        else:
            loaded = cls(path, engine, encoder, reason=reason)
        # Another process loads the same bytes or none.
        loaded._given = {"provider": provider, "cuda": cuda, "sha256": file.sha256, **settings}
        return loaded

    def __reduce__(self) -> tuple[Callable[..., "Predictor"], tuple[object, ...]]:
        return partial(Predictor.load, self.path, **self._given), ()

    def provider_for(self, tokens: int) -> str:
        """The provider, ``cpu`` or ``cuda``, that a call with so many tokens in all runs on."""
        return self._engine_for(tokens).session.provider

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
            return TaggedSentence((), (), ())
        kept = tuple(tokens)
        engine = self._engine_for(len(kept))
        if engine.session.provider == "cuda":  # whose shapes are to be few
            return engine.tag([kept], scores)[0]
        answer = engine.session.run_encoded(self.encoder.encode_one(kept), scores=scores)
        return decode_one(kept, answer, self.metadata.tags, self.metadata.crf)

    def predict_text(self, text: str, *, scores: bool = True) -> TaggedText:
        """Tags one sentence of text, cut by the model's tokenizer; offsets count code points."""
        tokens, offsets = self.metadata.tokenizer.cut(text)
        result = self.predict(tokens, scores=scores)
        return TaggedText(result.tokens, result.tags, result.scores, text, tuple(offsets))

    def predict_document(
        self, text: str, segmenter: Segments | None = None, *, scores: bool = True
    ) -> list[TaggedText]:
        """Tags the sentences of a raw text; offsets of all of them are those in ``text``.

        Args:
            segmenter: what cuts it: a `Segmenter`; default: the model's tokenizer, and the rule for sentences that its
                file states (`lstm_deploy.sentence_rules`).
            scores: whether to give the probability of each tag too.

        Raises:
            UnknownWordError, UnknownCharacterError: as `predict`.
            ValueError: the model is a segmenter itself.
        """
        sentences = (segmenter or SentenceRules(self.metadata.tokenizer)).segment(text)
        results = self.predict_batch([sentence.tokens for sentence in sentences], scores=scores)
        return [
            TaggedText(result.tokens, result.tags, result.scores, text, sentence.offsets)
            for sentence, result in zip(sentences, results, strict=True)
        ]

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
        return self._start(sentences, scores).result()

    def predict_stream(self, sentences: Iterable[Tokens], *, scores: bool = True) -> Iterator[TaggedSentence]:
        """Tags an endless iterable lazily, in order, in constant memory.

        Reads ahead by at most two groups of a few batches per thread; within a group
        sentences of like length run together. With ``auto`` each group is a call.
        """
        running: deque[Work[list[TaggedSentence]]] = deque()
        try:
            for group in groups_of(sentences, self._engine_for(_ENDLESS).group_tokens):
                running.append(self._start(group, scores))
                if len(running) > 1:
                    yield from running.popleft().result()
            while running:
                yield from running.popleft().result()
        finally:  # whoever stops reading early, or an error, does not want the rest
            for work in running:
                work.cancel()

    def predict_flat(
        self,
        words: Sequence[str],
        indices: NDArray[np.integer[Any]],
        lengths: NDArray[np.integer[Any]],
        *,
        scores: bool = False,
    ) -> FlatTags:
        """Tags sentences that are columns of numbers, without a Python object for a token; on all threads.

        Tags are those of `predict_batch`. Which sentences run together depends on ``lengths`` and ``batch_tokens``
        alone, so an int8 model, which rounds by batch, gives the same tags with any number of threads.

        Args:
            words: distinct tokens.
            indices: (tokens,) whole numbers, of each token its position in ``words``, one sentence after another.
            lengths: (sentences,) whole numbers, tokens of each sentence; 0 for an empty one.
            scores: whether to give the probability of each tag too.

        Raises:
            TypeError: ``words`` is a string or holds something else than strings, or numbers that are not whole.
            ValueError: ``lengths`` do not add up to the number of tokens, or an array has several axes.
            IdRangeError: an index that no word has, or a length below 0.
            UnknownWordError, UnknownCharacterError: as `predict`, of any of ``words``, whether a token is it or not.
            OutOfMemoryError: one sentence alone does not fit into memory.
        """
        return self.start_flat(words, indices, lengths, scores=scores).result()

    def start_flat(
        self,
        words: Sequence[str],
        indices: NDArray[np.integer[Any]],
        lengths: NDArray[np.integer[Any]],
        *,
        scores: bool = False,
    ) -> Work[FlatTags]:
        """`predict_flat` in two steps, so that the next column can be read while this one is tagged.

        ``result()`` of what comes back waits and gives the tags, ``cancel()`` leaves batches that have not begun. With
        one thread, and for few tokens, all is done in ``result()``. Words are looked up at once.

        Raises:
            TypeError, ValueError, IdRangeError, UnknownWordError, UnknownCharacterError: as `predict_flat`.
        """
        indices, lengths = check_flat(words, indices, lengths)
        return self._engine_for(len(indices)).start_flat(words, indices, lengths, scores)

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

    def _start(self, sentences: Sequence[Tokens], scores: bool) -> Work[list[TaggedSentence]]:
        if isinstance(sentences, str):
            raise TypeError("expected a sequence of sentences, each a sequence of tokens; got a str")
        engine = self._engine_for(sum(map(len, sentences))) if self._small else self._engine
        return engine.start(sentences, scores)

    def _engine_for(self, tokens: int) -> Engine:
        if self._small and (self._switch is None or tokens < self._switch):
            return self._small
        return self._engine


def machine_of(cuda: CudaOptions | None, names: Sequence[str]) -> Machine:
    """What a crossover that is measured or looked up now belongs to."""
    cuda = cuda or CudaOptions()
    used = tuple(names[i] for i in cuda.devices if i < len(names))
    return Machine(used, available_cores(), import_onnxruntime().__version__, cuda.tf32)


def _open(file: ModelFile, provider: Provider, cuda: CudaOptions | None) -> tuple[list[TaggerSession], str]:
    """A session, on CUDA one for each device, all of the same bytes; and why on that provider."""
    first = TaggerSession(file, provider, cuda)
    if first.provider == "cpu" or cuda is None:
        return [first], first.provider_reason
    try:
        others = [TaggerSession(file, "cuda", replace(cuda, devices=(i,))) for i in cuda.devices[1:]]
    except ProviderError as e:
        if provider != "auto":
            raise
        return [TaggerSession(file, "cpu")], str(e)
    return [first, *others], first.provider_reason


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
