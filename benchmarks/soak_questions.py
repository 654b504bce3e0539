"""What a soak asks, and what is right: every answer is held against the same sentence tagged alone before it began."""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_deploy import Predictor, Segmenter, StreamingPredictor
from lstm_deploy.decoding import TaggedSentence, TaggedText
from lstm_deploy.errors import UnknownCharacterError, UnknownWordError
from lstm_deploy.segmentation import TextSentence
from lstm_deploy.streaming import is_streaming, open_predictor

LONGEST = 2000
"""Tokens."""
MOST = 4000
"""Tokens of a batch, so that no call takes long beside the others."""
LETTERS = "abcdefghijklmnopqrstuvwxyzäöüçşß"


@dataclass(frozen=True)
class Question:
    """A sentence with its answer when it was asked for alone.

    Attributes:
        of_text: of its tokens joined by spaces and cut again; None where that makes words that the model has no id for.
        log_scores: (token,) of the chosen tags.
        log_probs: (token, tag); None for a model with a CRF.
    """

    tokens: tuple[str, ...]
    text: str
    alone: TaggedSentence
    of_text: TaggedText | None
    log_scores: NDArray[np.float64]
    log_probs: NDArray[np.float32] | None


@dataclass
class Counts:
    """What came back. Each thread has its own.

    Attributes:
        rounded: tokens of an int8 model that got, in a batch, another tag which alone is as good within the tolerance.
        int8: tokens that could have been.
    """

    answers: int = 0
    tokens: int = 0
    wrong: int = 0
    rounded: int = 0
    int8: int = 0
    of_kind: dict[str, int] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    def add(self, other: "Counts") -> None:
        for name in ("answers", "tokens", "wrong", "rounded", "int8"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for kind, count in other.of_kind.items():
            self.of_kind[kind] = self.of_kind.get(kind, 0) + count
        self.said = (self.said + other.said)[:10]

    def mistake(self, text: str) -> None:
        self.wrong += 1
        self.said = [*self.said, text][:10]


class Subject:
    """One model, the questions for it, and the ways to ask them.

    Args:
        path: a tagger, a streaming tagger or a segmenter.
        count: questions.
        seed: which.
    """

    def __init__(self, path: Path, count: int, seed: int = 1) -> None:
        self.path, self.name = path, path.stem
        self.predictor = open_predictor(path)
        self.metadata = self.predictor.metadata
        self.reference = open_predictor(path, threads=1)
        """Asked from one thread at a time alone."""
        draw = random.Random(seed)
        self.words = _words(self.metadata)
        self.kinds: dict[str, Callable[[random.Random, Counts], None]]
        if self.metadata.column == "segmentation":
            self.segmenter = Segmenter.of(self.predictor)
            judge = Segmenter.of(self.reference)
            texts = [" ".join(self._sentence(draw, n)) for n in lengths(draw, count)]
            self.texts: list[tuple[str, list[TextSentence]]] = [(text, judge.segment(text)) for text in texts]
            self.kinds = {"segment": self._segment}
            return
        self.questions = [self._question(self._sentence(draw, n)) for n in lengths(draw, count)]
        self.kinds = {"predict": self._one, "predict_batch": self._batch, "predict_text": self._text,
                      "predict_stream": self._stream}  # fmt: skip
        if is_streaming(path):
            self.kinds |= {"push": self._push, "push_batch": self._push_batch}
        else:
            self.kinds |= {"predict_flat": self._flat}

    def ask(self, draw: random.Random, counts: Counts) -> None:
        """One call of any kind, and its answers checked."""
        kind = draw.choice(list(self.kinds))
        self.kinds[kind](draw, counts)
        counts.of_kind[kind] = counts.of_kind.get(kind, 0) + 1

    def check(self, question: Question, found: TaggedSentence, counts: Counts, *, batch: bool = False) -> None:
        """Counts an answer, and what is wrong with it."""
        self._check(question, question.alone, found.tags, found.scores, counts, batch)
        if found.tokens != question.tokens:
            counts.mistake(f"{self.name}: other tokens than were asked for")

    def _check(
        self, question: Question, alone: TaggedSentence, tags: Any, scores: Any, counts: Counts, batch: bool
    ) -> None:
        counts.answers += 1
        counts.tokens += len(alone.tags)
        rounds = batch and self.metadata.precision == "int8"
        counts.int8 += len(alone.tags) if rounds else 0
        if tuple(tags) == alone.tags:
            if len(scores) and not self._close(question, scores, batch):
                counts.mistake(f"{self.name}: the scores of {len(alone.tags)} tokens are not those of them alone")
        elif rounds and len(tags) == len(alone.tags) and (other := self._as_good(question, tags)) is not None:
            counts.rounded += other
        else:
            counts.mistake(f"{self.name}: the tags of {len(alone.tags)} tokens are not those of them alone")

    def _close(self, question: Question, scores: Any, batch: bool) -> bool:
        """Alone the very same; in a batch within twice the file's tolerance, with a CRF a hundred times."""
        t = self.metadata.tolerance * (100 if self.metadata.crf else 2) if batch else 0
        with np.errstate(divide="ignore"):
            found = np.log(np.asarray(scores, np.float64))
        return bool((np.abs(found - question.log_scores) <= t * (1 + np.abs(question.log_scores))).all())

    def _as_good(self, question: Question, tags: Any) -> int | None:
        """How many tags are other ones, if each is about as good alone, else None."""
        if question.log_probs is None:
            return None
        row = np.arange(len(tags))
        chosen = np.array([self.metadata.tags.index(tag) for tag in tags])
        best, other = question.log_probs.max(-1), question.log_probs[row, chosen]
        allowed = self.metadata.tolerance * (2 + np.abs(best) + np.abs(other))
        return int((best != other).sum()) if (best - other <= allowed).all() else None

    def _one(self, draw: random.Random, counts: Counts) -> None:
        question = draw.choice(self.questions)
        self.check(question, self.predictor.predict(question.tokens), counts)

    def _text(self, draw: random.Random, counts: Counts) -> None:
        question = draw.choice(self.questions)
        if question.of_text is None:
            return self._one(draw, counts)
        found = self.predictor.predict_text(question.text)
        counts.answers += 1
        counts.tokens += len(found.tags)
        if found != question.of_text:
            counts.mistake(f"{self.name}: a text's answer is another than before")
        return None

    def _batch(self, draw: random.Random, counts: Counts) -> None:
        asked, scores = self._some(draw), draw.random() < 0.5
        found = self.predictor.predict_batch([each.tokens for each in asked], scores=scores)
        for question, result in zip(asked, found, strict=True):
            self.check(question, result, counts, batch=True)

    def _stream(self, draw: random.Random, counts: Counts) -> None:
        asked = self._some(draw)
        stop = draw.randint(1, len(asked))  # some readers leave early
        found = self.predictor.predict_stream(iter([each.tokens for each in asked]))
        for question, result in zip(asked[:stop], islice(found, stop), strict=True):
            self.check(question, result, counts, batch=True)

    def _flat(self, draw: random.Random, counts: Counts) -> None:
        assert isinstance(self.predictor, Predictor)
        asked = self._some(draw)
        sizes = np.array([len(each.tokens) for each in asked])
        words, indices = np.unique(list(chain.from_iterable(each.tokens for each in asked)), return_inverse=True)
        found = self.predictor.predict_flat(words.tolist(), indices, sizes, scores=True)
        ends = np.cumsum(sizes)
        for question, start, end in zip(asked, ends - sizes, ends, strict=True):
            tags = [self.metadata.tags[i] for i in found.tag_ids[start:end].tolist()]
            scores = () if found.scores is None else found.scores[start:end]
            self._check(question, question.alone, tags, scores, counts, True)

    def _push(self, draw: random.Random, counts: Counts) -> None:
        assert isinstance(self.predictor, StreamingPredictor)
        question, stream = draw.choice(self.questions), self.predictor.stream()
        parts = [stream.push(piece) for piece in _pieces(draw, question.tokens)]
        self.check(question, _joined(parts), counts)

    def _push_batch(self, draw: random.Random, counts: Counts) -> None:
        assert isinstance(self.predictor, StreamingPredictor)
        asked = self._some(draw)
        streams = [self.predictor.stream() for _ in asked]
        halves = [len(each.tokens) // 2 for each in asked]
        first = self.predictor.push_batch(streams, [q.tokens[:n] for q, n in zip(asked, halves, strict=True)])
        second = self.predictor.push_batch(streams, [q.tokens[n:] for q, n in zip(asked, halves, strict=True)])
        for question, *parts in zip(asked, first, second, strict=True):
            self.check(question, _joined(parts), counts, batch=True)

    def _segment(self, draw: random.Random, counts: Counts) -> None:
        text, expected = draw.choice(self.texts)
        counts.answers += 1
        counts.tokens += len(text)
        if self.segmenter.segment(text) != expected:
            counts.mistake(f"{self.name}: a text of {len(text)} characters is cut otherwise than alone")

    def fresh(self, draw: random.Random, counts: Counts) -> None:
        """Words that were never seen, so that what is kept of words fills up and starts afresh."""
        made = [[_made_up(draw) for _ in range(draw.randint(1, 30))] for _ in range(draw.randint(1, 8))]
        found = self.predictor.predict_batch(made)
        for tokens, result in zip(made, found, strict=True):
            self.check(self._question(tokens), result, counts, batch=True)

    def fill(self, count: int) -> None:
        """Has so many new words kept, so that memory for them is taken at the start and not halfway."""
        draw = random.Random(0)
        words = [_made_up(draw) for _ in range(count)]
        for predictor in (self.predictor, self.reference):
            predictor.encoder.types(words)

    def _some(self, draw: random.Random) -> list[Question]:
        chosen: list[Question] = []
        room = draw.randint(1, MOST)
        for question in draw.choices(self.questions, k=draw.randint(1, 64)):
            room -= len(question.tokens)
            if room >= 0 or not chosen:
                chosen.append(question)
        return chosen

    def _sentence(self, draw: random.Random, length: int) -> list[str]:
        words, open_ended = self.words
        return [_made_up(draw) if open_ended and draw.random() < 0.1 else draw.choice(words) for _ in range(length)]

    def _question(self, tokens: list[str]) -> Question:
        alone, text = self.reference.predict(tokens), " ".join(tokens)
        log_probs = None
        if not self.metadata.crf:
            scores = self.reference.session.run_encoded(self.reference.encoder.encode([tokens]))
            log_probs = scores.of_tags[0]
        try:
            of_text = self.reference.predict_text(text)
        except (UnknownWordError, UnknownCharacterError):  # a model of few words, of which the tokenizer made others
            of_text = None
        return Question(tuple(tokens), text, alone, of_text, np.log(np.array(alone.scores)), log_probs)


def lengths(draw: random.Random, count: int) -> Iterator[int]:
    """How long sentences are: as in text, each fourth of any length, the shortest and the longest among them."""
    yield from (1, LONGEST)
    for i in range(count - 2):
        yield draw.randint(1, 40) if i % 4 else int(math.exp(draw.uniform(0, math.log(LONGEST))))


def _words(metadata: Any) -> tuple[list[str], bool]:
    """Words that a model takes, and whether it takes any other one."""
    parts = [part for part in (metadata.vocabulary, metadata.characters) if part is not None]
    open_ended = all(part.unknown_id is not None for part in parts)
    if metadata.vocabulary is not None:
        found = [word for word in metadata.vocabulary.words if word and not word.isspace()]
    else:
        letters = [c for c in metadata.characters.characters if c and c.isalpha()]
        draw = random.Random(0)
        found = ["".join(draw.choices(letters, k=draw.randint(1, 12))) for _ in range(500)]
    return found, open_ended


def _made_up(draw: random.Random) -> str:
    return "".join(draw.choices(LETTERS, k=draw.randint(3, 12)))


def _pieces(draw: random.Random, tokens: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    at = 0
    while at < len(tokens):
        size = draw.choice((0, 1, 2, 5, 20, 200))
        yield tokens[at : at + size]
        at += size


def _joined(parts: list[TaggedSentence]) -> TaggedSentence:
    return TaggedSentence(
        *(tuple(chain.from_iterable(getattr(p, k) for p in parts)) for k in ("tokens", "tags", "scores"))
    )
