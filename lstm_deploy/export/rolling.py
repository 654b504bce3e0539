"""Python loops over the tokens of a recorded sentence, folded into one step for all of them.

A loop leaves as many copies of its body as there are tokens. Where their results meet again (``stack``,
``cat``, ``out[t] = ...``, a list) the copies are compared, and where they differ only in the token that they
read they become one copy that stands for a value per token. Copies that feed on each other are a recurrence:
cells of PyTorch, or gates written by hand that are affine in input and state (`affine`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .affine import AFFINE, HandCell, match_cell
from .capture import LiftError, Op, Recording, Value, replaced, values_in

_CELLS = {"lstm_cell": "LSTM", "gru_cell": "GRU", "rnn_tanh_cell": "RNN_TANH", "rnn_relu_cell": "RNN_RELU"}
_SIZED = {"view", "reshape", "expand", "repeat", "new_zeros", "zeros", "narrow", "unflatten", "view_as"}
"""Functions whose whole numbers are sizes: the shapes of what they give say as much."""


@dataclass(eq=False)
class _Cell:
    """One step of a recurrence: x, h and c in, h and c out."""

    kind: str
    x: list[Value]
    h: Value
    c: Value | None
    weights: tuple[Any, ...]
    out_h: Value
    out_c: Value | None
    op: Op


class Roller:
    """Folds the loops of one recording."""

    def __init__(self, recording: Recording) -> None:
        self.n = len(recording.tokens)
        self._recording = recording
        self._rebuilt: dict[int, Value] = {}
        self._rolled: dict[tuple[int, ...], Value] = {}
        self._ops: dict[tuple[Any, ...], Op] = {}
        self._alive: list[Any] = [recording]
        self._chains: dict[tuple[int, ...], tuple[list[_Cell], bool, str]] = {}
        self._last: dict[int, tuple[list[_Cell], str]] = {}
        self._recurrences: dict[int, Op] = {}
        self._find_chains(_cells(recording))

    def roll_result(self, value: Value) -> Value:
        """``value`` with the loops behind it folded."""
        return self._rebuild(value)

    def roll_list(self, values: list[Value]) -> Value:
        """A list with a value per token, stacked."""
        return self._stacked(Op("stack", (values, 0), {}, values[0].line), values, 0, "stack")

    # -- values that are not per token

    def _rebuild(self, value: Value) -> Value:
        if id(value) in self._rebuilt:
            return self._rebuilt[id(value)]
        self._alive.append(value)
        found = self._rebuild_anew(value)
        self._rebuilt[id(value)] = found
        return found

    def _rebuild_anew(self, value: Value) -> Value:
        if id(value) in self._last:
            chain, which = self._last[id(value)]
            return self._recurrence(chain, backward=False).outputs[1 if which == "h" else 2]
        op = value.op
        if op is None:
            return value
        if (
            op.name in ("stack", "cat", "concat", "vstack", "hstack")
            and op.args
            and isinstance(op.args[0], (list, tuple))
        ):
            items = list(op.args[0])
            if len(items) == self.n and self.n > 1 and all(isinstance(v, Value) for v in items):
                dim = op.kwargs.get("dim", op.args[1] if len(op.args) > 1 else 0)
                return self._stacked(op, items, dim, "stack" if op.name == "stack" else "cat")
        if op.name == "__setitem__" and (written := self._written(value)):
            return written
        return self._renewed(op, value)

    def _renewed(self, op: Op, value: Value) -> Value:
        key = ("op", id(op))
        if key not in self._ops:
            change = lambda x: self._rebuild(x) if isinstance(x, Value) else x  # noqa: E731
            args, kwargs = replaced((op.args, op.kwargs), change)
            new = Op(op.name, args, kwargs, op.line)
            if all(a is b for a, b in zip(new.inputs(), op.inputs(), strict=True)):
                new = op
            else:
                new.outputs = [Value(v.tensor, new, v.output, line=v.line, random=v.random) for v in op.outputs]
            self._ops[key] = new
        return self._ops[key].outputs[value.output]

    def _stacked(self, op: Op, items: list[Value], dim: int, how: str) -> Value:
        rolled = self._roll(items)
        if not rolled.token:
            return self._renewed(op, op.outputs[0]) if op.outputs else rolled
        tensors = [v.tensor for v in items]
        whole = torch.stack(tensors, dim) if how == "stack" else torch.cat(tensors, dim)
        new = Op("over_tokens", (rolled, dim, how), {}, op.line)
        new.outputs = [Value(whole, new, line=op.line)]
        return new.outputs[0]

    def _written(self, value: Value) -> Value | None:
        """``out[t] = ...`` for every token: the same as a stack."""
        written: dict[int, Value] = {}
        at: set[int] = set()
        current = value
        while current.op is not None and current.op.name == "__setitem__":
            base, index, item = current.op.args
            place = _varying_place(index)
            if place is None or not isinstance(item, Value) or place[1] in written:
                return None
            at.add(place[0])
            written[place[1]] = item
            current = base
        if len(at) != 1 or sorted(written) != list(range(self.n)) or self.n < 2:
            return None
        (dim,) = at
        items = [written[t] for t in range(self.n)]
        rolled = self._roll(items)
        if not rolled.token:
            return None
        new = Op("over_tokens", (rolled, dim, "write"), {}, value.line)
        new.outputs = [Value(value.tensor, new, line=value.line)]
        return new.outputs[0]

    # -- a value per token

    def _roll(self, values: Sequence[Value]) -> Value:
        key = tuple(map(id, values))
        if key not in self._rolled:
            self._alive.append(values)
            self._rolled[key] = self._roll_anew(list(values), key)
        return self._rolled[key]

    def _roll_anew(self, values: list[Value], key: tuple[int, ...]) -> Value:
        first = values[0]
        if all(v is first for v in values):
            return self._rebuild(first)
        if key in self._chains:
            chain, backward, which = self._chains[key]
            return self._recurrence(chain, backward=backward).outputs[0 if which == "h" else 3]
        if any(v.is_leaf for v in values):
            if all(v.is_leaf and v.parameter is None for v in values):
                if first.tensor.is_floating_point() and all(_same(v.tensor, first.tensor) for v in values):
                    return first
                return Value(first.tensor, token=True, rows=[v.tensor for v in values], line=first.line)
            raise self._unlike(values)
        ops = [v.op for v in values if v.op is not None]
        token = self._token(values, ops)
        if token is not None:
            return token
        if any(op.name != first.op.name or v.output != first.output for op, v in zip(ops, values, strict=True)):
            raise self._unlike(values)
        return self._rolled_op(values, ops)

    def _rolled_op(self, values: list[Value], ops: list[Op]) -> Value:
        key = ("token", *map(id, ops))
        if key not in self._ops:
            args = self._zip([op.args for op in ops], ops)
            kwargs = self._zip([op.kwargs for op in ops], ops)
            new = Op(ops[0].name, args, kwargs, ops[0].line)
            per_token = any(v.token for v in values_in((args, kwargs)))
            new.outputs = [Value(v.tensor, new, v.output, line=v.line, token=per_token) for v in ops[0].outputs]
            self._ops[key] = new
        return self._ops[key].outputs[values[0].output]

    def _zip(self, trees: list[Any], ops: list[Op]) -> Any:
        first = trees[0]
        if isinstance(first, Value):
            if not all(isinstance(t, Value) for t in trees):
                raise self._unlike_ops(ops)
            return self._roll(trees)
        if isinstance(first, (tuple, list)):
            if any(type(t) is not type(first) or len(t) != len(first) for t in trees):
                raise self._unlike_ops(ops)
            return type(first)(self._zip([t[i] for t in trees], ops) for i in range(len(first)))
        if isinstance(first, dict):
            if any(not isinstance(t, dict) or t.keys() != first.keys() for t in trees):
                raise self._unlike_ops(ops)
            return {k: self._zip([t[k] for t in trees], ops) for k in first}
        if any(t != first for t in trees) and not (ops[0].name in _SIZED and isinstance(first, int)):
            raise self._unlike_ops(ops)
        return first

    def _token(self, values: list[Value], ops: list[Op]) -> Value | None:
        """The values are the tokens of one sequence, first to last or last to first."""
        places = [_place(v) for v in values]
        if any(p is None for p in places):
            return None
        source, dim, _, keeps, rest = places[0]  # type: ignore[misc]
        if any(p[0] is not source or p[1] != dim or p[3:] != (keeps, rest) for p in places):  # type: ignore[index]
            return None
        if source.tensor.shape[dim] != self.n:
            return None
        order = [p[2] % self.n for p in places]  # type: ignore[index]
        if order not in (list(range(self.n)), list(range(self.n))[::-1]):
            return None
        x = self._rebuild(source)
        if order[0] != 0:
            flip = Op("flip", (x, [dim]), {}, values[0].line)
            flip.outputs = [Value(x.tensor.flip(dim), flip, line=values[0].line)]
            x = flip.outputs[0]
        op = Op("token", (x, dim, keeps), {}, values[0].line)
        tensor = x.tensor.narrow(dim, 0, 1) if keeps else x.tensor.select(dim, 0)
        op.outputs = [Value(tensor, op, line=values[0].line, token=True)]
        if rest:
            index = Op("__getitem__", (op.outputs[0], rest), {}, values[0].line)
            index.outputs = [Value(tensor[rest], index, line=values[0].line, token=True)]
            return index.outputs[0]
        return op.outputs[0]

    # -- recurrences

    def _find_chains(self, cells: list[_Cell]) -> None:
        by_h: dict[int, _Cell] = {}
        for cell in cells:
            by_h[id(cell.h)] = cell
        followed = {id(cell.out_h) for cell in cells}
        for start in cells:
            if id(start.h) in followed:
                continue
            chain = [start]
            while (after := by_h.get(id(chain[-1].out_h))) and _same_cell(after, start) and after.c is chain[-1].out_c:
                chain.append(after)
            if len(chain) != self.n or self.n < 2:
                continue
            self._alive.append(chain)
            self._last[id(chain[-1].out_h)] = (chain, "h")
            hs = tuple(id(cell.out_h) for cell in chain)
            self._chains[hs] = (chain, False, "h")
            self._chains[hs[::-1]] = (chain, True, "h")
            if chain[0].out_c is not None:
                self._last[id(chain[-1].out_c)] = (chain, "c")
                cs = tuple(id(cell.out_c) for cell in chain)
                self._chains[cs] = (chain, False, "c")
                self._chains[cs[::-1]] = (chain, True, "c")

    def _recurrence(self, chain: list[_Cell], *, backward: bool) -> Op:
        """The chain as one op; ``backward``: its first step reads the last token, and outputs stand in text order."""
        key = id(chain) if not backward else -id(chain)
        if key in self._recurrences:
            return self._recurrences[key]
        start = chain[0]
        steps = chain[::-1] if backward else chain
        xs = [self._roll([cell.x[i] for cell in steps]) for i in range(len(start.x))]
        h = self._rebuild(start.h)
        c = self._rebuild(start.c) if start.c is not None else None
        op = Op(
            "recurrence",
            (start.kind, xs, h, c, start.weights, "backward" if backward else "forward"),
            {},
            start.op.line,
        )
        first = steps[0]
        outputs = [
            (first.out_h.tensor, True),
            (chain[-1].out_h.tensor, False),
            ((chain[-1].out_c or chain[-1].out_h).tensor, False),
            ((first.out_c or first.out_h).tensor, True),
        ]
        op.outputs = [Value(t, op, i, line=op.line, token=token) for i, (t, token) in enumerate(outputs)]
        self._recurrences[key] = op
        return op

    def _unlike(self, values: list[Value]) -> LiftError:
        if offender := self._not_affine(values):
            return LiftError(
                f"{offender.line}: `{offender.name}` makes this loop a recurrence that is not an LSTM, GRU or RNN "
                "with affine gates; use such a cell (nn.LSTMCell, or gates that are linear in input and state)"
            )
        lines = [str(v.line) for v in values if v.line]
        where = lines[0] if lines else "the result"
        other = next((line for line in lines if line != where), where)
        return LiftError(
            f"{where}: tokens are not all treated alike in this loop (another token: {other}); only loops whose steps "
            "are the same for every token, or an LSTM, GRU or RNN step with affine gates, can be exported"
        )

    def _unlike_ops(self, ops: list[Op]) -> LiftError:
        return LiftError(
            f"{ops[0].line}: `{ops[0].name}` is called differently from token to token, or as a step of a recurrence "
            "that is not an LSTM, GRU or RNN with affine gates; use such a recurrence, or treat every token alike"
        )

    def _not_affine(self, values: list[Value]) -> Op | None:
        """Where the state of a recurrence first meets what no known cell has."""
        states = [v for v in values[1:] if not v.is_leaf]
        if not states or not values[0].is_leaf:
            return None
        if states[0].op is not None and states[0].op.name in ("argmax", "max", "topk", "multinomial", "item"):
            return states[0].op  # a choice is fed back
        linear, gates = {id(states[0])}, set()
        after = self._recording.ops.index(states[0].op) if states[0].op in self._recording.ops else 0
        for op in self._recording.ops[after + 1 :]:
            read = [v for v in op.inputs() if id(v) in linear or id(v) in gates]
            if not read:
                continue
            if all(id(v) in gates for v in read) or op.name in ("sigmoid", "tanh"):
                gates |= {id(v) for v in op.outputs}
            elif op.name in AFFINE:
                linear |= {id(v) for v in op.outputs}
            elif op.name in ("mul", "__mul__", "multiply") and any(id(v) in gates for v in op.inputs()):
                gates |= {id(v) for v in op.outputs}
            else:
                return op
        return None


def _cells(recording: Recording) -> list[_Cell]:
    """Every recurrent step in the recording, PyTorch's and written by hand."""
    found: list[_Cell] = []
    hand: list[HandCell] = []
    for op in recording.ops:
        if op.name in _CELLS:
            x, state, *weights = (*op.args, *op.kwargs.values())
            h, c = state if isinstance(state, (tuple, list)) else (state, None)
            h, c = _as_made(h), _as_made(c) if c is not None else None
            out_c = op.outputs[1] if len(op.outputs) > 1 else None
            found.append(_Cell(_CELLS[op.name], [x], h, c, tuple(weights), op.outputs[0], out_c, op))
        else:
            for value in op.outputs:
                cell = match_cell(value, hand)
                if cell is not None:
                    hand.append(cell)
                    found.append(_Cell(cell.kind, cell.x, cell.h, cell.c, (cell.matrices,), value, cell.out_c, op))
    return found


def _as_made(value: Value) -> Value:
    """The state before ``detach`` and the like."""
    while value.op is not None and value.op.name in ("detach", "data", "clone", "contiguous", "requires_grad_"):
        value = value.op.args[0]
    return value


def _same_cell(one: _Cell, other: _Cell) -> bool:
    if one.kind != other.kind or len(one.x) != len(other.x):
        return False
    a, b = one.weights, other.weights
    return len(a) == len(b) and all(_same(p, q) for p, q in zip(a, b, strict=True))


def _same(p: Any, q: Any) -> bool:
    if isinstance(p, (tuple, list)):
        return len(p) == len(q) and all(_same(a, b) for a, b in zip(p, q, strict=True))
    if isinstance(p, Tensor):
        return p.shape == q.shape and bool(torch.equal(p, q))
    return p is q or (not isinstance(p, Value) and p == q)


def _varying_place(index: Any) -> tuple[int, int] | None:
    """(axis, position) of an index that picks one position of one axis and all of the others."""
    if isinstance(index, int) and not isinstance(index, bool):
        return 0, index
    if isinstance(index, tuple):
        ints = [(i, x) for i, x in enumerate(index) if isinstance(x, int)]
        others = [x for x in index if not isinstance(x, int)]
        if len(ints) == 1 and all(x == slice(None) for x in others):
            return ints[0]
    return None


def _place(value: Value) -> tuple[Value, int, int, bool, Any] | None:
    """(source, axis, position, axis kept as 1, further index) of a value that is one position of an axis."""
    op = value.op
    if op is None or not op.args or not isinstance(op.args[0], Value):
        return None
    source, *rest = (*op.args, *op.kwargs.values())
    rank = source.tensor.dim()
    if op.name in ("unbind", "__iter__"):
        dim = (rest[0] if rest else 0) % rank
        return source, dim, value.output, False, None
    if op.name in ("split", "chunk", "tensor_split") and value.tensor.dim():
        dim = (rest[1] if len(rest) > 1 else 0) % rank
        return (source, dim, value.output, True, None) if value.tensor.shape[dim] == 1 else None
    if op.name == "select" and len(rest) == 2:
        return source, rest[0] % rank, rest[1], False, None
    if op.name == "narrow" and rest[2] == 1:
        return source, rest[0] % rank, rest[1], True, None
    if op.name == "__getitem__":
        return _indexed(source, rest[0])
    return None


def _indexed(source: Value, index: Any) -> tuple[Value, int, int, bool, Any] | None:
    parts = index if isinstance(index, tuple) else (index,)
    if any(not isinstance(p, (int, slice)) or isinstance(p, bool) for p in parts):
        return None
    for axis, part in enumerate(parts):
        one = isinstance(part, slice) and isinstance(part.start, int) and part.stop == part.start + 1
        if source.tensor.shape[axis] > 1 and (isinstance(part, int) or one):
            rest = tuple(p for i, p in enumerate(parts) if i != axis) if isinstance(part, int) else ()
            if one and any(p != slice(None) for i, p in enumerate(parts) if i != axis):
                return None
            if all(p == slice(None) for p in rest):
                rest = ()
            return source, axis, part.start if one else part, one, rest or None
    return None
