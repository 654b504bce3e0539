"""Which CRF a recorded decoder is: found by what it does, not by what it is called.

A decoder written by hand is Python full of loops and ``.item()``: it cannot be lifted, and need not be. It is
a function of emissions and a few parameters. Where the transition parameter meets values of the sentence,
those are the emissions. Which axis is *from*, and where start and end scores stand, is found by trying: the
parameters are replaced by random ones in a copy of the module, and the one reading that gives the decoder's own
path on every sentence is taken.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..crf import Crf
from .capture import LiftError, Recording, Subject, Value, replaced

_SELECTIONS = {
    "__getitem__", "select", "view", "reshape", "squeeze", "unsqueeze", "unbind", "transpose", "permute", "t", "T", "expand",
    "expand_as", "contiguous", "flatten", "narrow", "split", "chunk", "clone", "to", "index_select", "detach", "data", "float",
    "repeat", "__iter__", "view_as", "reshape_as", "swapaxes",
}  # fmt: skip
_MASKINGS = {"mul", "__mul__", "masked_fill", "where", "__setitem__"}
_FORBIDDEN = -1000.0
_TRIALS = 24
_SEED = 7
Floats = NDArray[Any]


@dataclass(frozen=True)
class Reading:
    """How the scores of a `Crf` stand in the decoder's parameters.

    Attributes:
        square: which constant of the decoder, by order of use, holds the transitions.
        turned: it is (to, from).
        start, end: ``("zero",)``, ``("vector", i)`` (a constant), ``("row", i)`` or ``("column", i)`` of the transitions.
    """

    square: int
    turned: bool
    start: tuple[Any, ...]
    end: tuple[Any, ...]


class Decoder:
    """The part of a recording that depends on transition parameters.

    Attributes:
        emissions: the value it scores tokens with, or None where nothing of a sentence meets it.
    """

    def __init__(self, recording: Recording, parameters: set[str], tags: int, like: Value | None = None) -> None:
        self._like = like
        self._n = len(recording.tokens)
        self._tags = tags
        self._parameters = parameters
        self._memo: dict[int, tuple[bool, bool]] = {}
        self._recording = recording
        self.squares: list[Floats] = []
        self.vectors: list[Floats] = []
        self.ops: set[int] = set()
        self.emissions = self._find()

    def _kind(self, value: Value) -> tuple[bool, bool]:
        """(depends on the transitions, depends on the sentence)."""
        if id(value) not in self._memo:
            if value.is_leaf:
                found = (value.parameter in self._parameters, value.parameter is None and not value.random)
            else:
                assert value.op is not None
                kinds = [self._kind(v) for v in value.op.inputs()]
                found = (any(k[0] for k in kinds), any(k[1] for k in kinds))
            self._memo[id(value)] = found
        return self._memo[id(value)]

    def _find(self) -> Value | None:
        boundary: list[Value] = []
        for op in self._recording.ops:
            inputs = op.inputs()
            kinds = [self._kind(v) for v in inputs]
            if not any(k[0] for k in kinds):
                continue
            self.ops.add(id(op))
            for value, (crf, sentence) in zip(inputs, kinds, strict=True):
                if crf and not sentence:
                    self._remember(value)
                elif sentence and not crf and value.tensor.is_floating_point() and self._from_words(value):
                    boundary.append(value)
            if all(not k[1] for k in kinds):
                for value in op.outputs:
                    self._remember(value)
        if not boundary:
            return self._in_numpy() or self._as_elsewhere()
        return _common_source(boundary, self._n * self._tags, self._selected_from)

    def _selected_from(self, value: Value) -> Value | None:
        """What a value was picked out of, masked or written into a table of Python's making."""
        op = value.op
        if op is None or op.name not in _SELECTIONS | _MASKINGS:
            return None
        wordy = [v for v in op.inputs() if v.tensor.is_floating_point() and self._kind(v)[1] and self._from_words(v)]
        return wordy[0] if len(wordy) == 1 and (op.name in _MASKINGS or wordy[0] is op.args[0]) else None

    def _as_elsewhere(self) -> Value | None:
        """A sentence of one word meets no transition: its scores are made where those of others are."""
        if self._like is None or self._like.op is None:
            return None
        same = [op for op in self._recording.ops if (op.name, op.line) == (self._like.op.name, self._like.op.line)]
        values = [op.outputs[self._like.output] for op in same if len(op.outputs) > self._like.output]
        return next((v for v in reversed(values) if v.tensor.numel() == self._n * self._tags), None)

    def _in_numpy(self) -> Value | None:
        """Scores and parameters that were taken out of torch, to be decoded in numpy or Python."""
        found = None
        for escape in self._recording.escapes:
            crf, sentence = self._kind(escape.value)
            if crf and not sentence:
                self._remember(escape.value)
                self.ops.add(id(escape))
            elif sentence and escape.value.tensor.numel() == self._n * self._tags and escape.how in ("numpy", "tolist", "__array__"):
                found = escape.value
                self.ops.add(id(escape))
        return found if self.squares else None

    def _from_words(self, value: Value) -> bool:
        """Not a constant that Python made, such as a mask of floats or a first score of -10000."""
        return any(v.argument or _is_ids(v.tensor) for v in _leaves(value))

    def _remember(self, value: Value) -> None:
        tensor = value.tensor.detach().squeeze()
        for shape, kept in (((self._tags, self._tags), self.squares), ((self._tags,), self.vectors)):
            if tuple(tensor.shape) == shape and tensor.is_floating_point():
                numbers = tensor.numpy().astype(np.float32)
                if len(kept) < 12 and not any(np.array_equal(numbers, k) for k in kept):
                    kept.append(numbers)

    def scores(self) -> Floats:
        """(tokens, tags) of the emissions."""
        assert self.emissions is not None
        tensor = self.emissions.tensor.detach()
        numbers = tensor.numpy().astype(np.float32)
        squeezed = numbers.reshape([s for s in numbers.shape if s != 1] or [1])
        if self._n > 1 and self._tags > 1 and squeezed.shape == (self._tags, self._n) and self._n != self._tags:
            squeezed = squeezed.T
        return squeezed.reshape(self._n, self._tags)

    def crf(self, reading: Reading) -> Crf:
        """The numbers of a reading."""
        square = self.squares[reading.square]
        transitions = square.T if reading.turned else square
        return Crf(transitions, *(self._vector(transitions, which) for which in (reading.start, reading.end)))

    def _vector(self, transitions: Floats, which: tuple[Any, ...]) -> Floats:
        if which[0] == "zero":
            return np.zeros(self._tags, np.float32)
        if which[0] == "vector":
            return self.vectors[which[1]]
        return transitions[which[1]] if which[0] == "row" else transitions[:, which[1]]


def _is_ids(tensor: torch.Tensor) -> bool:
    """Whole numbers that are no mask of ones."""
    return tensor.dtype in (torch.int64, torch.int32) and (tensor.numel() == 1 or not bool((tensor == 1).all()))


def _leaves(value: Value) -> Iterator[Value]:
    seen: set[int] = set()
    stack = [value]
    while stack:
        current = stack.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        if current.is_leaf:
            if current.parameter is None:
                yield current
        else:
            assert current.op is not None
            stack += current.op.inputs()


def _common_source(boundary: Sequence[Value], size: int, follow: Callable[[Value], Value | None]) -> Value | None:
    """The last value of that many numbers that all of these are selected from."""
    common: list[Value] | None = None
    for value in {id(v): v for v in boundary}.values():
        chain = [value]
        while (source := follow(chain[-1])) is not None:
            chain.append(source)
        kept = {id(v) for v in chain}
        common = chain if common is None else [v for v in common if id(v) in kept]
    return next((v for v in common or [] if v.tensor.numel() == size), None)


def transition_parameters(module: nn.Module, tags: int) -> set[str]:
    """Names of square parameters over tags that belong to no layer of torch's, and of vectors beside them."""
    found: set[str] = set()
    for owner_name, owner in module.named_modules():
        if type(owner).__module__.startswith("torch.nn"):
            continue
        own = [*owner.named_parameters(recurse=False), *owner.named_buffers(recurse=False)]
        shapes = {f"{owner_name}.{name}".strip("."): [s for s in p.shape if s != 1] for name, p in own}
        sizes = (tags, tags + 1, tags + 2)  # begin and end may have rows of their own
        squares = {name for name, shape in shapes.items() if len(shape) == 2 and shape[0] == shape[1] and shape[0] in sizes}
        if squares:
            found |= squares | {name for name, shape in shapes.items() if len(shape) == 1 and shape[0] in sizes}
    return found


def find_reading(
    subject: Subject, parameters: set[str], tags: int, sentences: Sequence[list[str]], path_of: Callable[[Recording], list[int]],
    like: Value,
) -> Reading:
    """The reading that gives the decoder's own path on every sentence.

    Raises:
        LiftError: there is none.
    """
    stirred = _stirred(subject, parameters)
    trials = []
    for tokens in islice(sentences, _TRIALS):
        recording = stirred.record(tokens)
        decoder = Decoder(recording, parameters, tags, like)
        if decoder.emissions is None:
            raise LiftError(
                f"{_where(recording)}: the transitions ({', '.join(sorted(parameters))}) meet no scores of {tags} tags for each "
                "token; give the decoder one score per token and tag"
            )
        trials.append((decoder, path_of(recording)))
    lengths = np.array([len(path) for _, path in trials])
    emissions = np.zeros((len(trials), lengths.max(), tags), np.float32)
    paths = np.full(emissions.shape[:2], -1, np.int32)
    for i, (decoder, path) in enumerate(trials):
        emissions[i, : len(path)] = decoder.scores()
        paths[i, : len(path)] = path
    first = trials[0][0]
    for reading in _readings(first, tags):
        if np.array_equal(first.crf(reading).viterbi(emissions[:4], lengths[:4]), paths[:4]) and np.array_equal(
            first.crf(reading).viterbi(emissions, lengths), paths
        ):
            return reading
    raise LiftError(
        f"{_where(trials and stirred.record(list(sentences[0])))}: the decoder is no Viterbi search over "
        f"{', '.join(sorted(parameters))} that is known (transitions from-to or to-from, start and end scores as vectors, or rows or "
        "columns of the transitions); export the method that gives the scores (entry=...) and decode outside"
    )


def _where(recording: Any) -> str:
    for op in reversed(recording.ops):
        if op.line:
            return str(op.line)
    return "the result"


def _readings(decoder: Decoder, tags: int) -> Iterator[Reading]:
    """All of them, the usual ones first."""
    vectors = [("vector", i) for i in range(len(decoder.vectors))]
    for square in range(len(decoder.squares)):
        for turned in (False, True):
            starts = [("zero",), *vectors, *(("row", i) for i in range(tags))]
            ends = [("zero",), *vectors, *(("column", i) for i in range(tags))]
            for start in starts:
                for end in ends:
                    yield Reading(square, turned, start, end)


def _stirred(subject: Subject, parameters: set[str]) -> Subject:
    """The subject with other numbers in the transitions, so that every way of reading them gives other paths."""
    results: list[torch.Tensor] = []  # of earlier calls, kept in attributes: no deep copy takes them as they are
    for part in subject.module.modules():
        replaced(vars(part), lambda x: results.append(x) if isinstance(x, torch.Tensor) and x.grad_fn is not None else None)
    module = copy.deepcopy(subject.module, {id(t): t.detach().clone() for t in results})
    random = torch.Generator().manual_seed(_SEED)
    with torch.no_grad():
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if name in parameters and tensor.is_floating_point() and not _is_mask(tensor):
                noise = torch.randn(tensor.shape, generator=random, dtype=tensor.dtype) * 2
                tensor.copy_(torch.where(tensor <= _FORBIDDEN, tensor, noise))
    return subject.on(module)


def _is_mask(tensor: torch.Tensor) -> bool:
    """Zeros beside something else throughout: a constraint, not trained scores."""
    return bool(((tensor == 0) | (tensor == 1) | (tensor <= _FORBIDDEN)).all()) and bool((tensor != 0).any())
