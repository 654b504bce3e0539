"""Recordings of several sentences, laid over each other: one program for sentences of any length and content.

What all recordings agree on is the program. Sizes that differ are told apart by how they follow the number
of tokens and the widest word; values that differ must be worked out by recorded calls, or be one of the
inputs that the spec describes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .capture import LiftError, Line, Value

TOKENS, WIDTH, LETTERS = "tokens", "width", "letters"
"""Sizes that follow the input: tokens of the sentence; letters of its widest word; letters of the word at hand."""
_COMPARISONS = {"ne", "eq", "gt", "ge", "lt", "le", "__ne__", "__eq__", "__gt__", "__ge__", "bool", "sign", "not_equal"}
_SAME_IDS = {
    "view",
    "unsqueeze",
    "squeeze",
    "to",
    "cpu",
    "long",
    "data",
    "detach",
    "contiguous",
    "transpose",
    "t",
    "clone",
}
Atom = int | tuple[str, int]
"""A size: a number, or a symbol and what is added to it."""


@dataclass(frozen=True)
class Varying:
    """A whole number that differs between recordings."""

    values: tuple[int, ...]


@dataclass(eq=False)
class Call:
    """A recorded call, common to all recordings."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    line: Line | None
    outputs: dict[int, "Term"] = field(default_factory=dict)

    def inputs(self) -> list["Term"]:
        """The terms among its arguments, in order."""
        return list(terms_in((self.args, self.kwargs)))


@dataclass(eq=False)
class Term:
    """A value of the program.

    Attributes:
        tensors: what it is in each recording (of a value per token: the first token's).
        rows: of a value per token that Python made: all of them, per recording.
        call: what makes it; None for leaves.
        token: stands for one value per token.
        kind: of leaves: ``constant``, ``sized`` (follows the number of tokens alone), or an input's kind.
    """

    tensors: list[Tensor]
    call: Call | None = None
    output: int = 0
    token: bool = False
    parameter: str | None = None
    random: bool = False
    line: Line | None = None
    rows: list[list[Tensor]] | None = None
    argument: int = 0
    table: Any = None
    sentences: list[list[str]] = field(default_factory=list)
    kind: str = ""

    @property
    def is_static(self) -> bool:
        """The same for every sentence of a length."""
        return self.kind in ("constant", "sized")

    @property
    def is_constant(self) -> bool:
        """The same for every sentence."""
        return self.kind == "constant"


def choice_in(term: Term) -> Call | None:
    """The call by which a term was chosen from what was computed: a sort, the best, what is not zero."""
    stack, seen = [term], set()
    while stack:
        call = stack.pop().call
        if call is None or id(call) in seen:
            continue
        seen.add(id(call))
        if call.name in (
            "sort",
            "argsort",
            "topk",
            "argmax",
            "argmin",
            "max",
            "min",
            "nonzero",
            "multinomial",
            "unique",
        ):
            return call
        stack += call.inputs()
    return None


def terms_in(tree: Any) -> Iterator[Term]:
    """The terms in nested tuples, lists and dicts."""
    if isinstance(tree, Term):
        yield tree
    elif isinstance(tree, (tuple, list)):
        for item in tree:
            yield from terms_in(item)
    elif isinstance(tree, dict):
        for item in tree.values():
            yield from terms_in(item)


class Aligner:
    """Lays recordings over each other.

    Args:
        sentences: the tokens of each recording.
        leaf_kind: says which input a leaf is, from its tensors (and rows), or None.
        reachable: input kind -> every id that text can give.
    """

    def __init__(
        self, sentences: Sequence[list[str]], leaf_kind: Callable[[Term], str | None], reachable: dict[str, Tensor]
    ) -> None:
        self._sentences = list(sentences)
        self._reachable = reachable
        self._lengths = [len(s) for s in sentences]
        self._leaf_kind = leaf_kind
        self._terms: dict[tuple[int, ...], Term] = {}
        self._calls: dict[tuple[int, ...], Call] = {}
        self._alive: list[Any] = []

    def align(self, values: Sequence[Value]) -> Term:
        """The term that stands for one value of each recording.

        Raises:
            LiftError: the recordings do not do the same.
        """
        key = tuple(map(id, values))
        if key not in self._terms:
            self._alive.append(values)
            term = self._align_anew(list(values))
            self._classify(term)
            self._terms[key] = term
        return self._terms[key]

    def _align_anew(self, values: list[Value]) -> Term:
        first = values[0]
        tensors = [v.tensor for v in values]
        about = {"token": first.token, "random": any(v.random for v in values), "line": first.line}
        ops = [v.op for v in values]
        names = {op.name if op else "" for op in ops}
        if len(names) > 1 or any(v.output != first.output or v.token != first.token for v in values):
            found = Term(tensors, **about)
            if self._agree(found):
                return found
            raise LiftError(
                f"{first.line or 'the result'}: other calls are made for other sentences "
                f"(`{'`, `'.join(sorted(names))}`): Python decides by the sentence's content or length; compute it "
                "with tensors, the same for every sentence"
            )
        if all(v.is_leaf for v in values):
            rows = [v.rows for v in values] if all(v.rows for v in values) else None
            return Term(
                tensors,
                parameter=first.parameter,
                rows=rows,
                argument=first.argument,
                sentences=self._sentences,
                **about,
            )
        call_key = tuple(map(id, ops))
        if call_key not in self._calls:
            line = ops[0].line
            self._calls[call_key] = Call(
                ops[0].name,
                self._zip([op.args for op in ops], line),  # type: ignore[union-attr]
                self._zip([op.kwargs for op in ops], line),  # type: ignore[union-attr]
                line,
            )
        call = self._calls[call_key]
        term = Term(tensors, call, first.output, **about)
        call.outputs[first.output] = term
        return term

    def _zip(self, trees: list[Any], line: Line | None) -> Any:
        first = trees[0]
        if isinstance(first, Value):
            if not all(isinstance(t, Value) for t in trees):
                raise self._unlike(line)
            return self.align(trees)
        if isinstance(first, (tuple, list)):
            if any(type(t) is not type(first) or len(t) != len(first) for t in trees):
                if all(isinstance(x, int) for t in trees for x in t):
                    return None  # sizes for each of the parts: their shapes say as much
                raise self._unlike(line)
            return type(first)(self._zip([t[i] for t in trees], line) for i in range(len(first)))
        if isinstance(first, dict):
            return {k: self._zip([t.get(k) for t in trees], line) for k in first}
        if isinstance(first, slice):
            parts = [self._zip([getattr(t, p) for t in trees], line) for p in ("start", "stop", "step")]
            return slice(*parts)
        if isinstance(first, Tensor):
            return first
        if all(type(t) is type(first) and t == first for t in trees):
            return first
        if all(isinstance(t, int) for t in trees):
            return Varying(tuple(trees))
        raise self._unlike(line)

    def _unlike(self, line: Line | None) -> LiftError:
        return LiftError(
            f"{line}: is called with other arguments for other sentences: Python decides by the sentence's content; "
            "compute it with tensors, the same for every sentence"
        )

    # -- what a term depends on

    def _classify(self, term: Term) -> None:
        if term.parameter is not None:
            term.kind = "constant"
            return
        inputs = term.call.inputs() if term.call else []
        if term.call and term.call.name == "_pack_padded_sequence" and term.output == 1:
            self._static_or(term, "")
        elif term.call and inputs and not all(t.is_static for t in inputs):
            term.kind = ""
            if term.call.name in _COMPARISONS and self._always_the_same(term.call):
                self._static_or(term, "")
        elif term.call:
            self._static_or(term, "")
        else:
            kind = self._leaf_kind(term)
            self._static_or(term, kind or "unknown")

    def _always_the_same(self, call: Call) -> bool:
        """A comparison of ids that comes out alike for every id that text can give, as with the id of padding."""
        ids = call.args[0] if call.args else None
        if not isinstance(ids, Term) or any(isinstance(a, (Term, Varying)) for a in call.args[1:]):
            return False
        source = ids
        while source.call is not None and source.call.name in _SAME_IDS and isinstance(source.call.args[0], Term):
            source = source.call.args[0]
        if source.call is not None or source.kind not in self._reachable:
            return False
        if source.kind == "char_ids":
            return False  # short words are padded
        found = getattr(Tensor, call.name)(self._reachable[source.kind], *call.args[1:])
        return bool((found == found[0]).all())

    def _static_or(self, term: Term, otherwise: str) -> None:
        if term.rows is not None:
            term.kind = otherwise
        elif self._agree(term):
            same = all(t.shape == term.tensors[0].shape and torch.equal(t, term.tensors[0]) for t in term.tensors)
            term.kind = "constant" if same else "sized"
        else:
            term.kind = otherwise

    def _agree(self, term: Term) -> bool:
        """Sentences of one length have one value."""
        by_length: dict[int, Tensor] = {}
        for length, tensor in zip(self._lengths, term.tensors, strict=True):
            seen = by_length.setdefault(length, tensor)
            if seen.shape != tensor.shape or not torch.equal(seen, tensor):
                return False
        return True


class Sizes:
    """Tells symbols from numbers among the sizes of the recordings."""

    def __init__(self, sentences: Sequence[list[str]]) -> None:
        self.words = list(sentences)
        self.tokens = np.array([len(s) for s in sentences])
        self.width = np.array([max(len(w) for w in s) for s in sentences])
        self.letters = np.array([len(s[0]) for s in sentences])

    def numbers(self, atom: Atom) -> Any:
        """What the size is in each recording."""
        if isinstance(atom, int):
            return np.full(len(self.tokens), atom)
        return getattr(self, atom[0]) + atom[1]

    def atom(self, sizes: Sequence[int], *, token: bool) -> Atom | None:
        """The size that is these numbers, or None."""
        found = np.array(sizes)
        if (found == found[0]).all():
            return int(found[0])
        for symbol in (TOKENS, *((LETTERS,) if token else ()), WIDTH):
            difference = found - getattr(self, symbol)
            if (difference == difference[0]).all() and abs(int(difference[0])) <= 16:
                return (symbol, int(difference[0]))
        return None

    def dims(self, term: Term) -> tuple[tuple[Atom, ...], ...] | None:
        """Each axis of a term as a product of sizes: () is 1. None where an axis follows nothing known."""
        shapes = [tuple(t.shape) for t in term.tensors]
        if len({len(shape) for shape in shapes}) != 1:
            return None
        dims: list[tuple[Atom, ...]] = []
        for sizes in zip(*shapes, strict=True):
            atom = self.atom(sizes, token=term.token)
            if atom is None:
                product = self._product(sizes)
                if product is None:
                    return None
                dims.append(product)
            else:
                dims.append(() if atom == 1 else (atom,))
        return tuple(dims)

    def _product(self, sizes: Sequence[int]) -> tuple[Atom, ...] | None:
        found = np.array(sizes)
        if (found % self.tokens).any():
            return None
        rest = found // self.tokens
        atom = self.atom(rest.tolist(), token=False)
        return None if atom is None else ((TOKENS, 0), atom)
