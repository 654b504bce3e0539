"""Tokens as they come: a streaming file tags each chunk of a text at once and remembers where it stands."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .batching import plan_batches
from .decoding import TaggedSentence, TaggedText, decode, decode_one
from .encoding import Encoder
from .engine import POOL_TOKENS, Tokens, check_limits, not_tokens, run_settings
from .errors import ModelFileError
from .metadata import ModelMetadata, takes_states
from .modelfile import ModelFile, read_model_file
from .predictor import Predictor, groups_of
from .providers import CudaOptions, Provider, check_provider
from .session import States, TaggerSession
from .workers import Workers

_READ_AHEAD_BATCHES = 32
_Advanced = tuple[TaggedSentence, States]
"""The answer to a chunk, and the state after it."""


class StreamingPredictor:
    """Tags text streams with a file made by ``lstm-deploy export --streaming``.

    However a sentence is cut into chunks, its tags and scores are those of the whole sentence: on the CPU to
    the last bit. Thread-safe, picklable (by path), on the CPU usable after a fork; any number of streams share it.

    Attributes:
        path: the model file.
        metadata: what the file says of itself.
        provider: what it really runs on, ``cpu`` or ``cuda``; ``auto`` is the CPU.
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
        self.batch_tokens = batch_tokens
        self.encoder = Encoder(self.metadata.vocabulary, self.metadata.features, self.metadata.characters)
        self.session = session
        self._tags = np.array(session.metadata.tags, dtype=object)
        self._workers = Workers(threads)
        self._given: dict[str, Any] = {"provider": session.provider, "threads": threads, "batch_tokens": batch_tokens}

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
    ) -> "StreamingPredictor":
        """The predictor for a streaming file. Arguments as for `Predictor.load`.

        On CUDA it takes one device, the first given; ``auto`` is the CPU, since chunks are small.

        Raises:
            ModelFileError: the file is missing, not one of ours, contradicts itself, or is for whole sentences.
            UnsafeModelError: it has something that no tagger has.
            DigestError: it is another file than ``sha256`` is of.
            ProviderError: ``cuda`` was asked for and does not load.
            MissingDependencyError: no onnxruntime is installed.
            ValueError: ``threads`` or ``batch_tokens`` below 1, or several devices.
        """
        check_limits(threads, batch_tokens)
        check_provider(provider)
        _check_devices(cuda)
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
    ) -> "StreamingPredictor":
        _check_devices(cuda)
        session = TaggerSession(file, "cpu" if provider == "auto" else provider, cuda)
        if not session.metadata.states:
            raise ModelFileError(
                f"{file.path}: a file for whole sentences; expected a streaming one; load it with Predictor, or make "
                "one with `lstm-deploy export --streaming`"
            )
        chosen = dict(zip(("threads", "batch_tokens"), run_settings(session, threads, batch_tokens), strict=True))
        loaded = cls(session, file.path, **chosen)
        if provider == "auto":
            loaded.provider_reason = "a streaming file: its chunks are too small for CUDA to win"
        given = {"provider": provider, "cuda": cuda, "threads": threads, "batch_tokens": batch_tokens}
        loaded._given = given | {"sha256": file.sha256}
        return loaded

    def __reduce__(self) -> tuple[Callable[..., "StreamingPredictor"], tuple[object, ...]]:
        return partial(StreamingPredictor.load, self.path, **self._given), ()

    def stream(self, state: States | None = None) -> "Stream":
        """A stream at the start of a sentence, or where another one stood.

        Args:
            state: what `Stream.state` gave.

        Raises:
            ValueError: a state of another model.
        """
        return Stream(self, state)

    def push_batch(
        self, streams: Sequence["Stream"], chunks: Sequence[Tokens], *, scores: bool = True
    ) -> list[TaggedSentence]:
        """The next tokens of many streams, in ragged batches on all threads; results in the order given.

        Args:
            streams: each once, and pushed by nobody else meanwhile.
            chunks: the tokens of each; may be empty.
            scores: whether to give the probability of each tag too.

        Raises:
            TypeError: a chunk is a string, or a token is not one.
            ValueError: not as many chunks as streams, a stream twice, or one of another predictor.
            UnknownWordError, UnknownCharacterError: a token the model has no id for, if it has no unknown one. No
                stream has moved then.
        """
        if len(streams) != len(chunks) or len({id(stream) for stream in streams}) != len(streams):
            raise ValueError(f"{len(streams)} streams, {len(chunks)} chunks; expected one for each, no stream twice")
        if any(stream.predictor is not self for stream in streams):
            raise ValueError("a stream of another predictor; expected those that this one's stream() gave")
        done = self._advance(chunks, [stream._state for stream in streams], scores)
        for stream, (_, state) in zip(streams, done, strict=True):
            stream._state = state
        return [result for result, _ in done]

    def predict(self, tokens: Tokens, *, scores: bool = True) -> TaggedSentence:
        """Tags one whole sentence; as `Predictor.predict`."""
        return self.stream().push(tokens, scores=scores)

    def predict_text(self, text: str, *, scores: bool = True) -> TaggedText:
        """Tags one sentence of text, cut by the model's tokenizer; offsets count code points."""
        tokens, offsets = self.metadata.tokenizer.cut(text)
        result = self.predict(tokens, scores=scores)
        return TaggedText(result.tokens, result.tags, result.scores, text, tuple(offsets))

    def predict_long(self, tokens: Tokens, *, scores: bool = True) -> TaggedSentence:
        """Tags one sentence of any length exactly, in bounded memory beside its tokens and the result."""
        return self.predict(tokens, scores=scores)

    def predict_batch(self, sentences: Sequence[Tokens], *, scores: bool = True) -> list[TaggedSentence]:
        """Tags many whole sentences; as `Predictor.predict_batch`."""
        if isinstance(sentences, str):
            raise TypeError("expected a sequence of sentences, each a sequence of tokens; got a str")
        start = _row(self.session.initial_states(1), 0)
        return [result for result, _ in self._advance(sentences, [start] * len(sentences), scores)]

    def predict_stream(self, sentences: Iterable[Tokens], *, scores: bool = True) -> Iterator[TaggedSentence]:
        """Tags an endless iterable of whole sentences lazily, in order, in constant memory."""
        for group in groups_of(sentences, self.batch_tokens * _READ_AHEAD_BATCHES * self.threads):
            yield from self.predict_batch(group, scores=scores)

    def _advance(self, chunks: Sequence[Tokens], states: Sequence[States], scores: bool) -> list[_Advanced]:
        """The answer to each chunk and the state after it; long chunks go through the model in pieces."""
        for tokens in chunks:
            if isinstance(tokens, str):
                raise not_tokens(tokens)
        kept = list(map(tuple, chunks))
        size, longest = self.batch_tokens, max(map(len, kept), default=0)
        if len(kept) == 1 and longest <= size:
            return self._run_rows(kept, list(states), scores) if longest else [(_join([]), states[0])]
        parts: list[list[TaggedSentence]] = [[] for _ in kept]
        now = list(states)
        for start in range(0, longest, size):
            pieces = [tokens[start : start + size] for tokens in kept]
            for i, (result, state) in self._run_pieces(pieces, now, scores):
                parts[i].append(result)
                now[i] = state
        return [(_join(results), state) for results, state in zip(parts, now, strict=True)]

    def _run_pieces(
        self, pieces: list[tuple[str, ...]], states: list[States], scores: bool
    ) -> Iterator[tuple[int, _Advanced]]:
        lengths = list(map(len, pieces))
        workers = self.threads if sum(lengths) >= POOL_TOKENS else 1
        batches = plan_batches(lengths, max_tokens=self.batch_tokens, workers=workers)
        if len(batches) < 2:
            workers = 1

        def run(batch: list[int]) -> list[_Advanced]:
            return self._run_rows([pieces[i] for i in batch], [states[i] for i in batch], scores)

        done = self._workers.map(run, batches) if workers > 1 else map(run, batches)
        for batch, found in zip(batches, done, strict=True):
            yield from zip(batch, found, strict=True)

    def _run_rows(self, rows: list[tuple[str, ...]], states: list[States], scores: bool) -> list[_Advanced]:
        """One batch; no row is empty."""
        cuda = self.session.provider == "cuda"
        if len(rows) == 1 and not cuda:
            inputs = self.encoder.encode_one(rows[0])
            answer, after = self.session.run_chunk(inputs, {k: v[None] for k, v in states[0].items()}, scores=scores)
            return [(decode_one(rows[0], answer, self.metadata.tags), _row(after, 0))]
        inputs = self.encoder.encode(rows, rounded=cuda)  # with rows of padding, whose states are anything
        held = [*states, *states[:1] * (len(inputs["lengths"]) - len(rows))]
        before = {name: np.stack([state[name] for state in held]) for name in states[0]}
        answer, after = self.session.run_chunk(inputs, before, scores=scores)
        results = decode(rows, inputs["lengths"][: len(rows)], answer.of_rows(len(rows)), self._tags)
        return [(result, _row(after, i)) for i, result in enumerate(results)]


class Stream:
    """Where one text stands. For one caller at a time; others may push other streams of the same predictor.

    Attributes:
        predictor: what tags it.
    """

    def __init__(self, predictor: StreamingPredictor, state: States | None = None) -> None:
        self.predictor = predictor
        self._state: States = {}
        if state is None:
            self.reset()
        else:
            self.state = state

    def push(self, tokens: Tokens, *, scores: bool = True) -> TaggedSentence:
        """The tags of exactly these tokens, which go on from those pushed before.

        Args:
            tokens: the next of the sentence, any number, none too.
            scores: whether to give the probability of each tag too.

        Raises:
            TypeError: ``tokens`` is a string or holds something else than strings.
            UnknownWordError, UnknownCharacterError: a token the model has no id for, if it has no unknown
                one; the stream has not moved then.
        """
        return self.predictor.push_batch([self], [tokens], scores=scores)[0]

    def reset(self) -> None:
        """Back to the start of a sentence."""
        self._state = _row(self.predictor.session.initial_states(1), 0)

    @property
    def state(self) -> States:
        """A copy of where the stream stands: name -> (size,) float32. Plain numpy: to pickle, park or copy."""
        return {name: values.copy() for name, values in self._state.items()}

    @state.setter
    def state(self, state: States) -> None:
        expected = {s.name: (s.size,) for s in self.predictor.metadata.states}
        found = {name: np.asarray(values, np.float32) for name, values in state.items()}
        shapes = {name: values.shape for name, values in found.items()}
        if shapes != expected:
            raise ValueError(f"a state of the shapes {shapes}; expected {expected}: one that this model's stream gave")
        self._state = {name: found[name].copy() for name in expected}

    def copy(self) -> "Stream":
        """Another stream that stands where this one does."""
        return Stream(self.predictor, self._state)


AnyPredictor = Predictor | StreamingPredictor


def open_predictor(
    path: str | Path,
    provider: Provider = "cpu",
    *,
    threads: int | None = None,
    batch_tokens: int | None = None,
    cuda: CudaOptions | None = None,
    sha256: str | None = None,
) -> AnyPredictor:
    """The predictor for a file of either kind. Arguments and errors as for `Predictor.load`."""
    check_limits(threads, batch_tokens)
    check_provider(provider)
    file = read_model_file(path, sha256)
    kind = StreamingPredictor if takes_states(file.properties) else Predictor
    return kind._of(file, provider, threads=threads, batch_tokens=batch_tokens, cuda=cuda)


def is_streaming(path: str | Path) -> bool:
    """Whether the file is for chunks of sentences.

    Raises:
        ModelFileError: there is none that can be read.
    """
    return takes_states(read_model_file(path).properties)


def _check_devices(cuda: CudaOptions | None) -> None:
    if cuda and len(cuda.devices) > 1:
        raise ValueError(f"devices are {cuda.devices}; a streaming file runs on one: give one")


def _row(states: States, row: int) -> States:
    """The states of one stream, (size,) each; copied, so that they do not keep those of a whole batch alive."""
    return {name: values[row].copy() for name, values in states.items()}


def _join(parts: list[TaggedSentence]) -> TaggedSentence:
    if len(parts) == 1:
        return parts[0]
    fields = ("tokens", "tags", "scores")
    return TaggedSentence(*(tuple(item for part in parts for item in getattr(part, name)) for name in fields))
