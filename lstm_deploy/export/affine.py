"""Recurrent cells written by hand, recognised where their gates are affine in input and state.

h' = sigmoid(o) tanh(c'),  c' = sigmoid(f) c + sigmoid(i) tanh(g)      (LSTM)
h' = tanh(a)                                                           (RNN)

Each gate may be computed in any way that is affine: one layer each or one for all, over ``cat``, in parts, with
one layer shared. The matrices are worked out in double precision from the recorded calls.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from .capture import Value

_SAME_SHAPE = {
    "view", "reshape", "unsqueeze", "squeeze", "contiguous", "clone", "to", "float", "flatten", "data", "detach",
    "dropout",
    "view_as", "double", "type_as",
}  # fmt: skip


AFFINE = _SAME_SHAPE | {
    "linear", "matmul", "mm", "__matmul__", "addmm", "cat", "concat", "add", "sub", "__add__", "__radd__", "__sub__",
    "add_", "__iadd__",
    "chunk", "split", "__getitem__", "narrow", "select", "unbind", "stack",
}  # fmt: skip
"""What keeps something affine in the state affine."""


@dataclass(eq=False)
class HandCell:
    """One step written by hand.

    Attributes:
        x: what it reads beside its state.
        matrices: per gate in PyTorch's order (i, f, g, o): over x, over h, bias.
    """

    kind: str
    x: list[Value]
    h: Value
    c: Value | None
    out_h: Value
    out_c: Value | None
    matrices: list[tuple[Tensor, Tensor, Tensor]]


@dataclass
class _Affine:
    """A row vector as a sum of matrices times sources, and a bias: (out, in) and (out,)."""

    parts: dict[int, tuple[Value, Tensor]] = field(default_factory=dict)
    bias: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))


def match_cell(value: Value, earlier: list[HandCell]) -> HandCell | None:
    """The cell whose new hidden state is ``value``, or None."""
    return _lstm(value, earlier) or _rnn(value, earlier)


def _lstm(value: Value, earlier: list[HandCell]) -> HandCell | None:
    for gate_o, squashed in _products(value):
        new_c = _argument(squashed, "tanh")
        o = _argument(gate_o, "sigmoid")
        if new_c is None or o is None:
            continue
        for first, second in _sums(new_c):
            for gate_f, c in _products(first):
                f = _argument(gate_f, "sigmoid")
                for gate_i, candidate in _products(second):
                    i, g = _argument(gate_i, "sigmoid"), _argument(candidate, "tanh")
                    if f is None or i is None or g is None or _argument(c, "tanh") is not None:
                        continue
                    gates = [affine(gate) for gate in (i, f, g, o)]
                    cell = _assemble("LSTM", gates, value, c, new_c, earlier)
                    if cell is not None:
                        return cell
    return None


def _rnn(value: Value, earlier: list[HandCell]) -> HandCell | None:
    """tanh of something affine in an earlier such value (or, for the first step, in a leaf)."""
    inside = _argument(value, "tanh")
    if inside is None:
        return None
    form = affine(inside)
    if len(form.parts) < 2:
        return None
    return _assemble("RNN_TANH", [form], value, None, None, earlier)


def _assemble(
    kind: str, gates: list["_Affine"], value: Value, c: Value | None, new_c: Value | None, earlier: list[HandCell]
) -> HandCell | None:
    sources: dict[int, Value] = {}
    for gate in gates:
        sources |= {key: source for key, (source, _) in gate.parts.items()}
    size = gates[0].bias.shape[0]
    outputs = {id(cell.out_h) for cell in earlier if cell.kind == kind and cell.out_c is c}
    h = [v for key, v in sources.items() if key in outputs]
    if not h:  # the first step: its state is no result of anything recorded from the input
        h = [v for v in sources.values() if _is_start(v) and v.tensor.numel() == size]
    if len(h) != 1 or (c is not None and c is not h[0] and id(c) in sources) or h[0].tensor.numel() != size:
        return None
    x = [v for v in sources.values() if v is not h[0]]
    if not x:
        return None
    matrices = []
    for gate in gates:
        over = [gate.parts[id(v)][1] if id(v) in gate.parts else gate.bias.new_zeros(size, v.tensor.numel()) for v in x]
        h_part = gate.parts[id(h[0])][1] if id(h[0]) in gate.parts else gate.bias.new_zeros(size, size)
        matrices.append((torch.cat(over, 1), h_part, gate.bias))
    return HandCell(kind, x, h[0], c, value, new_c, matrices)


def _is_start(value: Value) -> bool:
    """A state made of nothing that was read: a leaf, or worked out from leaves without arguments."""
    if value.op is None:
        return value.tensor.is_floating_point()
    return not any(v.argument for v in value.op.inputs()) and all(_is_start(v) for v in value.op.inputs())


def affine(value: Value) -> _Affine:
    """``value`` as an affine form over the values that it cannot be taken apart further into."""
    size = value.tensor.numel()
    if value.is_constant:
        return _Affine(bias=value.tensor.reshape(-1).double())
    op = value.op
    if op is not None:
        args = (*op.args, *op.kwargs.values())
        form = _take_apart(op.name, args, value)
        if form is not None and form.bias.shape == (size,):
            return form
    return _Affine({id(value): (value, torch.eye(size, dtype=torch.float64))}, torch.zeros(size, dtype=torch.float64))


def _take_apart(name: str, args: tuple[object, ...], value: Value) -> _Affine | None:
    a = args[0] if args else None
    b = args[1] if len(args) > 1 else None
    if name == "linear" and isinstance(a, Value) and isinstance(b, Value) and b.is_constant:
        bias = args[2] if len(args) > 2 else None
        return _through(affine(a), b.tensor.double(), bias.tensor.double() if isinstance(bias, Value) else None)
    if name in ("matmul", "mm", "__matmul__") and isinstance(a, Value) and isinstance(b, Value):
        if b.is_constant and b.tensor.dim() == 2 and a.tensor.numel() == b.tensor.shape[0]:
            return _through(affine(a), b.tensor.double().T, None)
        return None
    if name == "addmm" and isinstance(b, Value) and isinstance(args[2], Value) and args[2].is_constant:
        return _plus(affine(a), _through(affine(b), args[2].tensor.double().T, None), 1.0)  # type: ignore[arg-type]
    if name in ("cat", "concat") and isinstance(a, (tuple, list)):
        return _side_by_side([affine(v) for v in a])
    if name in ("add", "sub", "__add__", "__radd__", "__sub__", "add_", "__iadd__"):
        sign = -1.0 if "sub" in name else 1.0
        if isinstance(a, Value) and isinstance(b, (int, float)) and len(args) == 2:
            form = affine(a)
            return _Affine(form.parts, form.bias + sign * b)
        if isinstance(a, Value) and isinstance(b, Value) and a.tensor.numel() == b.tensor.numel():
            return _plus(affine(a), affine(b), sign)
        return None
    if name in _SAME_SHAPE and isinstance(a, Value) and a.tensor.numel() == value.tensor.numel():
        return affine(a)
    if name in ("chunk", "split", "__getitem__", "narrow", "select") and isinstance(a, Value):
        return _part(a, value)
    return None


def _part(source: Value, value: Value) -> _Affine | None:
    """A stretch of a row: which one is found by running the call on the row's positions."""
    op = value.op
    assert op is not None
    if source.tensor.numel() > 2**20 or not _is_row(source.tensor):
        return None
    positions = torch.arange(source.tensor.numel()).view(source.tensor.shape)
    taken = _again(op, positions)[value.output].reshape(-1)
    form = affine(source)
    return _Affine({k: (v, m[taken]) for k, (v, m) in form.parts.items()}, form.bias[taken])


def _again(op: object, x: Tensor) -> list[Tensor]:
    name, args, kwargs = op.name, op.args, op.kwargs  # type: ignore[attr-defined]
    call = getattr(Tensor, name)
    result = call(x, *args[1:], **kwargs)
    return list(result) if isinstance(result, (tuple, list)) else [result]


def _is_row(tensor: Tensor) -> bool:
    return sum(size > 1 for size in tensor.shape) <= 1


def _through(form: _Affine, weight: Tensor, bias: Tensor | None) -> _Affine | None:
    if weight.shape[1] != form.bias.shape[0]:
        return None
    total = weight @ form.bias
    return _Affine({k: (v, weight @ m) for k, (v, m) in form.parts.items()}, total if bias is None else total + bias)


def _plus(one: _Affine, other: _Affine | None, sign: float) -> _Affine | None:
    if other is None or one.bias.shape != other.bias.shape:
        return None
    parts = dict(one.parts)
    for key, (value, matrix) in other.parts.items():
        parts[key] = (value, parts[key][1] + sign * matrix if key in parts else sign * matrix)
    return _Affine(parts, one.bias + sign * other.bias)


def _side_by_side(forms: list[_Affine]) -> _Affine:
    size = sum(form.bias.shape[0] for form in forms)
    whole = _Affine(bias=torch.cat([form.bias for form in forms]))
    at = 0
    for form in forms:
        rows = form.bias.shape[0]
        for key, (value, matrix) in form.parts.items():
            placed = torch.zeros(size, matrix.shape[1], dtype=torch.float64)
            placed[at : at + rows] = matrix
            whole.parts[key] = (value, whole.parts[key][1] + placed if key in whole.parts else placed)
        at += rows
    return whole


def _argument(value: Value, name: str) -> Value | None:
    """What the function of that name was applied to, through changes of shape."""
    op = value.op
    while op is not None and op.name in _SAME_SHAPE and isinstance(op.args[0], Value):
        value = op.args[0]
        op = value.op
    if op is not None and op.name == name and isinstance(op.args[0], Value):
        return op.args[0]
    return None


def _pairs(value: Value, names: tuple[str, ...]) -> list[tuple[Value, Value]]:
    op = value.op
    if op is None or op.name not in names or len(op.args) < 2:
        return []
    a, b = op.args[:2]
    if not isinstance(a, Value) or not isinstance(b, Value) or a.tensor.shape != b.tensor.shape:
        return []
    return [(a, b), (b, a)]


def _products(value: Value) -> list[tuple[Value, Value]]:
    return _pairs(value, ("mul", "__mul__", "multiply", "__rmul__", "mul_"))


def _sums(value: Value) -> list[tuple[Value, Value]]:
    return _pairs(value, ("add", "__add__", "__radd__", "add_", "__iadd__"))
