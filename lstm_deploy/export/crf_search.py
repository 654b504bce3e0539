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
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..crf import Crf
from .capture import Instead, LiftError, Op, Recording, Subject, Value, replaced

_SELECTIONS = {
    "__getitem__", "select", "view", "reshape", "squeeze", "unsqueeze", "unbind", "transpose", "permute", "t", "T",
    "expand",
    "expand_as", "contiguous", "flatten", "narrow", "split", "chunk", "clone", "to", "index_select", "detach",
    "data", "float",
    "repeat", "__iter__", "view_as", "reshape_as", "swapaxes",
}  # fmt: skip
_MASKINGS = {"mul", "__mul__", "masked_fill", "where", "__setitem__"}
_SCALINGS = {"mul", "__mul__", "__rmul__", "mul_", "div", "true_divide", "div_", "__truediv__", "__imul__"}
_ALIEN = {
    "clamp", "clamp_", "clip", "round", "round_", "floor", "ceil", "trunc", "pow", "fmod", "remainder", "tanh",
    "sigmoid", "relu",
}  # fmt: skip
_FORBIDDEN = -1000.0
_MOST = 16
"""Constants of a shape that are tried."""
_TIE = 1e-6
_FINDING = tuple(
    tuple((n, (0.5, 2.0, 6.0)) for n in lengths)
    for lengths in ((4, 1, 2), (3, 2, 5), (6, 2), (3, 1, 2), (4, 2), (2, 8))
)
"""For each stirring: tokens, and sizes of the scores that are put in, beside the module's own."""
_CHECKING = (
    *((n, (0.05, 0.2, 0.5, 1.0, 2.0, 8.0)) for n in (1, 2, 3, 5, 8, 13)),
    (24, (0.2, 1.0, 5.0, 40.0)),
    (40, (1.0, 40.0)),
    *((n, (0.3, 1.0)) for n in (64, 130, 200)),
)
_SEED = 7
Floats = NDArray[Any]


@dataclass(frozen=True)
class Reading:
    """How the scores of a `Crf` stand in the decoder's parameters.

    Attributes:
        square: which constant of the decoder holds the transitions.
        turned: it is (to, from).
        start, end: ``("zero",)``, ``("vector", i)`` (a constant), or ``("row", i)`` or ``("column", i)`` of the
            transitions.
    """

    square: Any
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
        self.squares: dict[Any, Floats] = {}
        self.vectors: dict[Any, Floats] = {}
        self._keys: dict[int, Any] = {}
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
        made: list[Value] = []
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
                made[:0] = op.outputs
        for value in made:  # beside what meets the sentence itself: the most finished first
            self._remember(value)
        if not boundary:
            return self._in_numpy() or self._as_elsewhere()
        return _common_source(boundary, self._n * self._tags, self._selected_from)

    def _selected_from(self, value: Value) -> Value | None:
        """What a value was picked out of, masked or written into a table of Python's making."""
        op = value.op
        if op is None or op.name not in _SELECTIONS | _MASKINGS or (op.name in _SCALINGS and not _by_mask(op)):
            return None
        wordy = [v for v in op.inputs() if v.tensor.is_floating_point() and self._kind(v)[1] and self._from_words(v)]
        return wordy[0] if len(wordy) == 1 and (op.name in _MASKINGS or wordy[0] is op.args[0]) else None

    def _as_elsewhere(self) -> Value | None:
        """A sentence of one word meets no transition: its scores are made where those of others are."""
        if self._like is None or self._like.op is None:
            return None
        same = [op for op in self._recording.ops if (op.name, op.line) == (self._like.op.name, self._like.op.line)]
        values = [op.outputs[self._like.output] for op in same if len(op.outputs) > self._like.output]
        return next((v for v in values if v.tensor.numel() == self._n * self._tags), None)

    def _in_numpy(self) -> Value | None:
        """Scores and parameters that were taken out of torch, to be decoded in numpy or Python."""
        found = None
        for escape in self._recording.escapes:
            crf, sentence = self._kind(escape.value)
            if crf and not sentence:
                self._remember(escape.value)
                self.ops.add(id(escape))
            elif (
                sentence
                and escape.value.tensor.numel() == self._n * self._tags
                and escape.how in ("numpy", "tolist", "__array__")
            ):
                found = escape.value
                self.ops.add(id(escape))
        return found if self.squares else None

    def _from_words(self, value: Value) -> bool:
        """Not a constant that Python made, such as a mask of floats or a first score of -10000."""
        return any(v.argument or _is_ids(v.tensor) for v in _leaves(value))

    def _remember(self, value: Value) -> None:
        tensor = value.tensor.detach().squeeze()
        if not tensor.is_floating_point():
            return
        numbers = tensor.numpy().astype(np.float32)
        size, shape, key = self._tags, numbers.shape, self._key(value)
        if shape == (size, size):
            self.squares.setdefault(key, numbers)
        elif shape == (size,) and not self._is_row(value):
            self.vectors.setdefault(key, numbers)
        elif len(shape) == 2 and shape[0] == shape[1] and size < shape[0] <= size + 2:
            # Begin and end have rows and columns of their own, behind those of the tags or before them.
            more = shape[0] - size
            for start, others in ((0, range(size, shape[0])), (more, range(more))):
                tags = slice(start, start + size)
                self.squares.setdefault((key, start), numbers[tags, tags])
                for i in others:
                    self.vectors.setdefault((key, start, "row", i), numbers[i, tags])
                    self.vectors.setdefault((key, start, "column", i), numbers[tags, i])

    def _is_row(self, value: Value) -> bool:
        """One row or column of the transitions, picked by its number: readings have those anyway."""
        while value.op is not None and value.op.name in ("view", "reshape", "unsqueeze", "squeeze", "expand"):
            value = value.op.args[0]
        op = value.op
        picked = op is not None and op.name in ("__getitem__", "select", "unbind") and isinstance(op.args[0], Value)
        return picked and list(op.args[0].tensor.shape) == [self._tags, self._tags]  # type: ignore[union-attr]

    def _key(self, value: Value) -> Any:
        """How a constant was worked out from parameters: the same in every recording."""
        if id(value) not in self._keys:
            if value.op is None:
                found: Any = value.parameter or ("number", value.tensor.shape)
            else:
                about = replaced(
                    (value.op.args, value.op.kwargs), lambda x: self._key(x) if isinstance(x, Value) else repr(x)
                )
                found = (value.op.name, value.output, repr(about))
            self._keys[id(value)] = found
        return self._keys[id(value)]

    def scores(self) -> Floats:
        """(tokens, tags) of the emissions."""
        assert self.emissions is not None
        return self.laid_out(self.emissions.tensor.detach())

    def unexplained(self) -> Op | None:
        """What no Viterbi search does to scores before it takes the best of them."""
        seen: set[int] = set()
        stack = [
            op for op in self._recording.ops if id(op) in self.ops and op.name in ("max", "argmax", "topk", "sort")
        ]
        while stack:
            op = stack.pop()
            if id(op) in seen:
                continue
            seen.add(id(op))
            if op.name in _ALIEN or (op.name in _SCALINGS and not _by_mask(op)):
                return op
            stack += [v.op for v in op.inputs() if v.op is not None and id(v.op) in self.ops and self._kind(v)[1]]
        return None

    def where(self) -> Any:
        """The line that chooses the last tag, or the last of the decoder."""
        ops = [op for op in self._recording.ops if id(op) in self.ops and op.line]
        chosen = [op for op in ops if op.name in ("argmax", "max")]
        return (chosen or ops or self._recording.ops)[-1].line

    def laid_out(self, tensor: torch.Tensor) -> Floats:
        """Numbers of the shape of the emissions as (tokens, tags)."""
        numbers = tensor.numpy().astype(np.float32)
        squeezed = numbers.reshape([s for s in numbers.shape if s != 1] or [1])
        if self._n > 1 and self._tags > 1 and squeezed.shape == (self._tags, self._n) and self._n != self._tags:
            squeezed = squeezed.T
        return squeezed.reshape(self._n, self._tags)

    def has(self, reading: Reading) -> bool:
        """Whether it reads all that a reading does."""
        vectors = [which[1] for which in (reading.start, reading.end) if which[0] == "vector"]
        return reading.square in self.squares and all(key in self.vectors for key in vectors)

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


def _by_mask(op: Op) -> bool:
    """Multiplied by zeros and ones."""
    for arg in op.args[:2]:
        numbers = arg.tensor.double() if isinstance(arg, Value) else torch.tensor(float(arg))
        if bool(((numbers == 0) | (numbers == 1)).all()):
            return True
    return False


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
        common = chain if common is None else [v for v in common if _among(v, chain, size)]
    return next((v for v in common or [] if v.tensor.numel() == size), None)


def _among(value: Value, chain: list[Value], size: int) -> bool:
    """Itself, or scores worked out once more: a decoder and a loss may each call the layers below."""
    if any(value is other for other in chain):
        return True
    return value.tensor.numel() == size and any(
        other.tensor.shape == value.tensor.shape and torch.equal(other.tensor, value.tensor) for other in chain
    )


def transition_parameters(module: nn.Module, tags: int) -> set[str]:
    """Names of square parameters over tags that belong to no layer of torch's, and of vectors beside them."""
    found: set[str] = set()
    for owner_name, owner in module.named_modules():
        if type(owner).__module__.startswith("torch.nn") and not isinstance(owner, nn.Embedding):
            continue
        own = [*owner.named_parameters(recurse=False), *owner.named_buffers(recurse=False)]
        shapes = {f"{owner_name}.{name}".strip("."): [s for s in p.shape if s != 1] for name, p in own}
        sizes = (tags, tags + 1, tags + 2)  # begin and end may have rows of their own
        squares = {
            name for name, shape in shapes.items() if len(shape) == 2 and shape[0] == shape[1] and shape[0] in sizes
        }
        if squares:
            found |= squares | {name for name, shape in shapes.items() if len(shape) == 1 and shape[0] in sizes}
    return found


def find_reading(
    subject: Subject,
    parameters: set[str],
    tags: int,
    sentence: Callable[[int], list[str]],
    path_of: Callable[[Recording], list[int]],
    like: Value,
) -> Reading:
    """The reading that gives the decoder's own path on every sentence, whatever the scores of its tokens are.

    The scores are put into the run by hand, so that they are as small, as large and as close as they can be.

    Raises:
        LiftError: there is none, or the decoder is no Viterbi search after all.
    """
    groups = []
    for seed, plan in enumerate(_FINDING):
        stirred = _stirred(subject, parameters, seed)
        trials = _trials(stirred, parameters, tags, sentence, path_of, like, plan)
        groups.append((_longest(trials), trials))
    first = groups[0][0]
    for reading in _readings(first, tags):
        if all(_agree(trials, decoder, reading) for decoder, trials in groups):
            break
    else:
        raise _no_viterbi(first, parameters)
    if (alien := first.unexplained()) is not None:
        raise LiftError(
            f"{alien.line}: `{alien.name}` changes the scores of paths, which no Viterbi search does; decode by sums "
            "and maxima alone, or export the method that gives the scores (entry=...)"
        )
    checked = _trials(subject, parameters, tags, sentence, path_of, like, _CHECKING)
    if not _agree(checked, _longest(checked), reading):
        raise _no_viterbi(checked[0].decoder, parameters)
    return reading


def _agree(trials: list["_Trial"], decoder: Decoder, reading: Reading) -> bool:
    """Whether a reading of this decoder's parameters gives every path; not where it lacks one of them."""
    if not decoder.has(reading):
        return False
    crf = decoder.crf(reading)
    return all(trial.agrees(crf) for trial in trials)


def _longest(trials: list["_Trial"]) -> Decoder:
    """A decoder with all of its parameters: a sentence of one word meets no transition."""
    return max(trials, key=lambda t: len(t.path)).decoder


@dataclass(frozen=True, eq=False)
class _Trial:
    """One sentence decoded: its scores, and the decoder's path."""

    decoder: Decoder
    emissions: Floats
    path: list[int]

    def agrees(self, crf: Crf) -> bool:
        """The path is a best one."""
        best = crf.viterbi(self.emissions[None], np.array([len(self.path)]))[0]
        if best.tolist() == self.path:
            return True
        ahead = crf.path_score(self.emissions, best) - crf.path_score(self.emissions, np.array(self.path, np.int32))
        return ahead <= crf.path_tolerance(self.emissions, best, _TIE)


def _trials(
    subject: Subject,
    parameters: set[str],
    tags: int,
    sentence: Callable[[int], list[str]],
    path_of: Callable[[Recording], list[int]],
    like: Value,
    plan: Sequence[tuple[int, tuple[float, ...]]],
) -> list[_Trial]:
    random = torch.Generator().manual_seed(_SEED)
    found = []
    for n, scales in plan:
        tokens = sentence(n)
        recording = subject.record(tokens)
        decoder = Decoder(recording, parameters, tags, like)
        value = decoder.emissions
        if value is None:
            raise LiftError(
                f"{_where(recording)}: the transitions ({', '.join(sorted(parameters))}) meet no scores of {tags} "
                "tags for each token; give the decoder one score per token and tag"
            )
        found.append(_Trial(decoder, decoder.scores(), path_of(recording)))
        if value.op is None or value.op not in recording.ops:
            continue
        call = recording.ops.index(value.op)
        for scale in scales:
            numbers = torch.randn(value.tensor.shape, generator=random).to(value.tensor.dtype) * scale
            decoded = subject.record(tokens, Instead(call, value.output, numbers))
            found.append(_Trial(decoder, decoder.laid_out(numbers), path_of(decoded)))
    return found


def _no_viterbi(decoder: Decoder, parameters: set[str]) -> LiftError:
    return LiftError(
        f"{decoder.where()}: the decoder is no Viterbi search over {', '.join(sorted(parameters))} that is known "
        "(transitions from-to or to-from, start and end scores as vectors, or rows or columns of the transitions); "
        "export the method that gives the scores (entry=...) and decode outside"
    )


def _where(recording: Any) -> str:
    for op in reversed(recording.ops):
        if op.line:
            return str(op.line)
    return "the result"


def _readings(decoder: Decoder, tags: int) -> Iterator[Reading]:
    """All of them, the usual ones first."""
    squares = _different(decoder.squares)
    vectors = [("vector", key) for key in _different(decoder.vectors)]
    for square in squares:
        for turned in (False, True):
            starts = [("zero",), *vectors, *(("row", i) for i in range(tags))]
            ends = [("zero",), *vectors, *(("column", i) for i in range(tags))]
            for start in starts:
                for end in ends:
                    yield Reading(square, turned, start, end)


def _different(constants: dict[Any, Floats]) -> list[Any]:
    """Keys of constants that differ from each other."""
    kept: list[Any] = []
    seen: list[Floats] = []
    for key, numbers in constants.items():
        if len(kept) < _MOST and not any(np.array_equal(numbers, other) for other in seen):
            kept.append(key)
            seen.append(numbers)
    return kept


def _stirred(subject: Subject, parameters: set[str], seed: int) -> Subject:
    """The subject with other numbers in the transitions, so that every way of reading them gives other paths."""
    results: list[torch.Tensor] = []  # of earlier calls, kept in attributes: no deep copy takes them as they are
    for part in subject.module.modules():
        replaced(
            vars(part), lambda x: results.append(x) if isinstance(x, torch.Tensor) and x.grad_fn is not None else None
        )
    module = copy.deepcopy(subject.module, {id(t): t.detach().clone() for t in results})
    random = torch.Generator().manual_seed(_SEED + seed)
    with torch.no_grad():
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if name in parameters and tensor.is_floating_point() and not _is_mask(tensor):
                noise = torch.randn(tensor.shape, generator=random, dtype=tensor.dtype) * 2
                tensor.copy_(torch.where(tensor <= _FORBIDDEN, tensor, noise))
    return subject.on(module)


def _is_mask(tensor: torch.Tensor) -> bool:
    """Zeros beside something else throughout: a constraint, not trained scores."""
    return bool(((tensor == 0) | (tensor == 1) | (tensor <= _FORBIDDEN)).all()) and bool((tensor != 0).any())
