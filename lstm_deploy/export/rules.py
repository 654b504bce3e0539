"""How torch functions are written as operators: those on each token alone, reductions, products, indexing."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from onnx import TensorProto

from .lifting import TIME, Dims, Lifted, Lifter, rule
from .program import LETTERS, WIDTH, Call, Term, Varying, choice_in

Maker = Callable[[Lifter, str], str]


def argument(call: Call, place: int, name: str, default: Any = None) -> Any:
    """An argument by place or name."""
    if len(call.args) > place:
        return call.args[place]
    return call.kwargs.get(name, default)


def operand(lifter: Lifter, call: Call) -> Lifted:
    """The first argument."""
    return lifter.lift(argument(call, 0, "input"))


def out_dims(lifter: Lifter, call: Call, output: int) -> Dims:
    """The author's axes of a result."""
    return lifter.dims(call.outputs[output])


# -- the same thing again


@rule(
    "dropout", "contiguous", "clone", "detach", "data", "to", "float", "double", "cpu", "type", "type_as",
    "alpha_dropout",
    "dropout1d", "dropout2d", "feature_alpha_dropout", "requires_grad_", "real", "long", "int", "dropout_", "half",
    "as_tensor",
)  # fmt: skip
def _same(lifter: Lifter, call: Call, output: int) -> Lifted:
    term = call.outputs[output]
    before, after = argument(call, 0, "input").tensors[0], term.tensors[0]
    x = operand(lifter, call)
    if before.is_floating_point() == after.is_floating_point():
        return x
    to = TensorProto.FLOAT if after.is_floating_point() else TensorProto.INT32
    return Lifted(lifter.node("Cast", [x.name], to=to), x.dims, x.token)


@rule(
    "view", "reshape", "unsqueeze", "squeeze", "flatten", "unflatten", "view_as", "reshape_as", "unsqueeze_",
    "squeeze_",
    "ravel", "atleast_2d",
)  # fmt: skip
def _view(lifter: Lifter, call: Call, output: int) -> Lifted:
    return lifter.regrouped(operand(lifter, call), out_dims(lifter, call, output), call)


@rule("permute")
def _permute(lifter: Lifter, call: Call, output: int) -> Lifted:
    order = call.args[1:] if isinstance(call.args[1], int) else argument(call, 1, "dims")
    return lifter.permuted(operand(lifter, call), order)


@rule("transpose", "swapaxes", "transpose_", "swapdims", "t", "T", "mT")
def _transpose(lifter: Lifter, call: Call, output: int) -> Lifted:
    x = operand(lifter, call)
    order = list(range(len(x.dims)))
    if call.name in ("t", "T", "mT"):
        order = order[::-1] if call.name != "mT" else [*order[:-2], order[-1], order[-2]]
    else:
        a, b = argument(call, 1, "dim0"), argument(call, 2, "dim1")
        order[a], order[b] = order[b], order[a]
    return lifter.permuted(x, order)


@rule("expand", "expand_as", "repeat", "broadcast_to", "repeat_interleave", "tile")
def _expand(lifter: Lifter, call: Call, output: int) -> Lifted:
    x = operand(lifter, call)
    dims = out_dims(lifter, call, output)
    padded = Lifted(x.name, ((),) * (len(dims) - len(x.dims)) + x.dims, x.token)
    grown = [i for i, (a, b) in enumerate(zip(padded.dims, dims, strict=True)) if a != b]
    if any(padded.dims[i] for i in grown):
        raise lifter.refusal(call, "repeats an axis of more than one element", "use expand on an axis of one")
    for i in grown:
        padded = _grow(lifter, padded, i, dims, call)
    return padded


def _grow(lifter: Lifter, x: Lifted, i: int, dims: Dims, call: Call) -> Lifted:
    new = Lifted(x.name, (*x.dims[:i], dims[i], *x.dims[i + 1 :]), x.token)
    if dims[i] == (TIME,) and x.times == 0:
        zeros = lifter.node("Expand", [lifter.scalar(0.0), lifter.time_shape(2)])
        rank = len(x.others)
        zeros = lifter.node("Unsqueeze", [zeros, lifter.ints(*range(2, 2 + rank))]) if rank else zeros
        return Lifted(lifter.node("Add", [x.name, zeros]), new.dims, x.token)
    if len(dims[i]) != 1 or not isinstance(dims[i][0], int):
        raise lifter.refusal(
            call, "spreads a value over an axis of letters or a second axis of tokens", "combine them directly"
        )
    axis = new.axis(i)
    rank = new.lead + len(new.others)
    wide = lifter.node("Unsqueeze", [x.name, lifter.ints(axis)])
    shape = [1] * rank
    shape[axis] = dims[i][0]
    return Lifted(lifter.node("Expand", [wide, lifter.ints(*shape)]), new.dims, x.token)


# -- element by element


def _unary(op_type: str, **attributes: object) -> Maker:
    return lambda lifter, x: lifter.node(op_type, [x], **attributes)


_UNARY: dict[str, Maker] = {
    "tanh": _unary("Tanh"), "sigmoid": _unary("Sigmoid"), "relu": _unary("Relu"), "exp": _unary("Exp"),
    "log": _unary("Log"),
    "neg": _unary("Neg"), "abs": _unary("Abs"), "sqrt": _unary("Sqrt"), "softplus": _unary("Softplus"),
    "sin": _unary("Sin"), "cos": _unary("Cos"), "softsign": _unary("Softsign"), "selu": _unary("Selu"),
    "__neg__": _unary("Neg"), "logsigmoid": lambda g, x: g.node("Neg", [g.node("Softplus", [g.node("Neg", [x])])]),
    "silu": lambda g, x: g.node("Mul", [x, g.node("Sigmoid", [x])]), "logical_not": _unary("Not"),
    "square": lambda g, x: g.node("Mul", [x, x]), "hardsigmoid": _unary("HardSigmoid", alpha=1 / 6),
    "hardswish": _unary("HardSwish"), "reciprocal": _unary("Reciprocal"), "__invert__": _unary("Not"),
    "erf": _unary("Erf"), "rsqrt": lambda g, x: g.node("Reciprocal", [g.node("Sqrt", [x])]),
    "mish": lambda g, x: g.node("Mul", [x, g.node("Tanh", [g.node("Softplus", [x])])]),
}  # fmt: skip


def _elementwise(lifter: Lifter, call: Call, output: int) -> Lifted:
    x = operand(lifter, call)
    return Lifted(
        _UNARY[call.name.rstrip("_") if call.name not in _UNARY else call.name](lifter, x.name), x.dims, x.token
    )


for _name in _UNARY:
    rule(_name, f"{_name}_")(_elementwise)


@rule("leaky_relu", "leaky_relu_")
def _leaky_relu(lifter: Lifter, call: Call, output: int) -> Lifted:
    x = operand(lifter, call)
    slope = argument(call, 1, "negative_slope", 0.01)
    return Lifted(lifter.node("LeakyRelu", [x.name], alpha=slope), x.dims, x.token)


@rule("elu", "celu")
def _elu(lifter: Lifter, call: Call, output: int) -> Lifted:
    x = operand(lifter, call)
    return Lifted(lifter.node(call.name.capitalize(), [x.name], alpha=argument(call, 1, "alpha", 1.0)), x.dims, x.token)


@rule("gelu")
def _gelu(lifter: Lifter, call: Call, output: int) -> Lifted:
    x = operand(lifter, call)
    if call.kwargs.get("approximate", "none") != "none":
        cube = lifter.node("Mul", [x.name, lifter.node("Mul", [x.name, x.name])])
        inner = lifter.node("Add", [x.name, lifter.node("Mul", [cube, lifter.scalar(0.044715)])])
        gate = lifter.node("Tanh", [lifter.node("Mul", [inner, lifter.scalar(math.sqrt(2 / math.pi))])])
    else:
        gate = lifter.node("Erf", [lifter.node("Mul", [x.name, lifter.scalar(math.sqrt(0.5))])])
    half = lifter.node("Mul", [x.name, lifter.scalar(0.5)])
    whole = lifter.node("Mul", [half, lifter.node("Add", [gate, lifter.scalar(1.0)])])
    return Lifted(whole, x.dims, x.token)


@rule("threshold", "_threshold")
def _threshold(lifter: Lifter, call: Call, output: int) -> Lifted:
    x = operand(lifter, call)
    limit, value = argument(call, 1, "threshold"), argument(call, 2, "value")
    above = lifter.node("Greater", [x.name, lifter.scalar(float(limit))])
    return Lifted(lifter.node("Where", [above, x.name, lifter.scalar(float(value))]), x.dims, x.token)


@rule("prelu")
def _prelu(lifter: Lifter, call: Call, output: int) -> Lifted:
    x = operand(lifter, call)
    slope = lifter.weight(argument(call, 1, "weight"))
    if slope.size != 1:
        raise lifter.refusal(call, "prelu has a slope for each channel", "use one slope, or leaky_relu")
    return Lifted(lifter.node("PRelu", [x.name, lifter.array(slope.reshape(1))]), x.dims, x.token)


@rule("clamp", "clip", "clamp_", "hardtanh", "relu6", "clamp_min", "clamp_max", "hardtanh_")
def _clamp(lifter: Lifter, call: Call, output: int) -> Lifted:
    x = operand(lifter, call)
    low, high = {"hardtanh": (-1.0, 1.0), "relu6": (0.0, 6.0)}.get(call.name.rstrip("_"), (None, None))
    low = argument(call, 1, "min_val" if "hard" in call.name else "min", low)
    high = argument(call, 2, "max_val" if "hard" in call.name else "max", high)
    if call.name == "relu6":
        low, high = 0.0, 6.0
    if call.name == "clamp_max":
        low, high = None, low
    name = x.name
    if low is not None:
        name = lifter.node("Max", [name, lifter.scalar(float(low))])
    if high is not None:
        name = lifter.node("Min", [name, lifter.scalar(float(high))])
    return Lifted(name, x.dims, x.token)


_BINARY = {
    "add": "Add", "sub": "Sub", "subtract": "Sub", "mul": "Mul", "multiply": "Mul", "div": "Div", "true_divide": "Div",
    "maximum": "Max", "minimum": "Min", "pow": "Pow", "__radd__": "Add", "__rmul__": "Mul", "__rsub__": "Sub",
    "rsub": "Sub", "__rdiv__": "Div", "__rtruediv__": "Div", "logical_and": "And", "logical_or": "Or",
    "__and__": "And", "__or__": "Or",
    "gt": "Greater", "lt": "Less", "ge": "GreaterOrEqual", "le": "LessOrEqual", "eq": "Equal", "add_": "Add",
    "mul_": "Mul", "sub_": "Sub", "div_": "Div", "__iadd__": "Add", "__imul__": "Mul", "__isub__": "Sub", 
    "__itruediv__": "Div", "__add__": "Add", "__sub__": "Sub", "__mul__": "Mul", "__truediv__": "Div", 
    "__pow__": "Pow", "ne": "NotEqual",
    "__eq__": "Equal", "__ne__": "NotEqual", "__gt__": "Greater", "__lt__": "Less", "__ge__": "GreaterOrEqual",
    "__le__": "LessOrEqual",
}  # fmt: skip


def _binary(lifter: Lifter, call: Call, output: int) -> Lifted:
    a, b = argument(call, 0, "input"), argument(call, 1, "other", call.kwargs.get("exponent"))
    if isinstance(b, Varying) or isinstance(a, Varying):
        return _with_count(lifter, call, output)
    scale = argument(call, 2, "alpha", 1)
    if scale not in (1, None) or call.kwargs.get("rounding_mode"):
        raise lifter.refusal(call, f"`{call.name}` is called with a factor or rounding", "write the product out")
    dims = out_dims(lifter, call, output)
    integers = all(not t.tensors[0].is_floating_point() for t in (a, b) if isinstance(t, Term))
    if integers and not call.name.startswith(("log", "__a", "__o")):
        names, token = _integer_operands(lifter, (a, b), dims, call)
    else:
        names, token = lifter.aligned((a, b), dims, call)
    if call.outputs[output].tensors[0].is_floating_point():
        names = as_floats(lifter, (a, b), names)
    if call.name.startswith("__r") or call.name == "rsub":
        names = names[::-1]
    op_type = _BINARY[call.name]
    if op_type == "NotEqual":
        return Lifted(lifter.node("Not", [lifter.node("Equal", names)]), dims, token)
    return Lifted(lifter.node(op_type, names), dims, token)


def as_floats(lifter: Lifter, terms: Sequence[Any], names: list[str]) -> list[str]:
    """Masks and counts among operands as floats."""
    return [
        lifter.node("Cast", [name], to=TensorProto.FLOAT)
        if isinstance(term, Term) and not term.tensors[0].is_floating_point()
        else name
        for term, name in zip(terms, names, strict=True)
    ]


def _integer_operands(lifter: Lifter, terms: Sequence[Any], dims: Dims, call: Call) -> tuple[list[str], bool]:
    names, token = lifter.aligned([t if isinstance(t, Term) else 0.0 for t in terms], dims, call)
    for i, t in enumerate(terms):
        if not isinstance(t, Term):
            names[i] = lifter.array(np.array(int(t), np.int32))
    return names, token


def _with_count(lifter: Lifter, call: Call, output: int) -> Lifted:
    """Divided (or multiplied) by the number of tokens."""
    b = argument(call, 1, "other")
    if (
        isinstance(b, Varying)
        and list(b.values) == lifter.sizes.tokens.tolist()
        and _BINARY[call.name] in ("Div", "Mul")
    ):
        x = operand(lifter, call)
        count = lifter.node("Cast", ["lengths"], to=TensorProto.FLOAT)
        rank = len(x.others) + (2 if x.times > 1 else 0)  # with two token axes the batch stands in front of them
        count = lifter.node("Unsqueeze", [count, lifter.ints(*range(1, 1 + rank))]) if rank else count
        return Lifted(lifter.node(_BINARY[call.name], [x.name, count]), x.dims, x.token)
    raise lifter.refusal(
        call, "computes with a Python number that differs from sentence to sentence", "compute it with tensors"
    )


for _name in _BINARY:
    rule(_name)(_binary)


@rule("where", "masked_fill", "masked_fill_")
def _where(lifter: Lifter, call: Call, output: int) -> Lifted:
    if call.name == "where":
        mask, yes, no = (argument(call, i, n) for i, n in enumerate(("condition", "input", "other")))
    else:
        no, mask, yes = (argument(call, i, n) for i, n in enumerate(("input", "mask", "value")))
    if isinstance(mask, Term) and mask.is_static and all(bool(t.all()) or not bool(t.any()) for t in mask.tensors):
        chosen = yes if bool(mask.tensors[0].all()) else no
        if isinstance(chosen, Term):
            return lifter.lift(chosen)
    dims = out_dims(lifter, call, output)
    names, token = lifter.aligned((mask, yes, no), dims, call)
    names[1:] = [_finite(lifter, t, n) for t, n in zip((yes, no), names[1:], strict=True)]
    return Lifted(lifter.node("Where", names), dims, token)


def _finite(lifter: Lifter, term: Any, name: str) -> str:
    """-inf as a very low number: a padded row that is all -inf would be no numbers at all."""
    if not isinstance(term, Term) and not math.isfinite(term):
        return lifter.scalar(math.copysign(1e30, term))
    return name


# -- tables and layers


@rule("embedding")
def _embedding(lifter: Lifter, call: Call, output: int) -> Lifted:
    if argument(call, 3, "max_norm") is not None:
        raise lifter.refusal(
            call, "embedding has max_norm, which changes its table", "norm the table once and drop max_norm"
        )
    ids, table = argument(call, 0, "input"), lifter.weight(argument(call, 1, "weight"))
    return lifter.gather(ids, table, "table")


@rule("one_hot")
def _one_hot(lifter: Lifter, call: Call, output: int) -> Lifted:
    ids = argument(call, 0, "input")
    size = call.outputs[output].tensors[0].shape[-1]
    return lifter.gather(ids, np.eye(size, dtype=np.float32), "one_hot")


@rule("linear")
def _linear(lifter: Lifter, call: Call, output: int) -> Lifted:
    x = operand(lifter, call)
    weight = lifter.weight(argument(call, 1, "weight"))
    bias = argument(call, 2, "bias")
    found = times_matrix(lifter, x, weight.T, call)
    return plus_row(lifter, found, lifter.weight(bias) if isinstance(bias, Term) else None)


def times_matrix(lifter: Lifter, x: Lifted, matrix: Any, call: Call) -> Lifted:
    """The last axis times an (in, out) matrix."""
    x = merged_last(lifter, x, matrix.shape[0], call)
    name = x.name
    if not x.dims[-1]:
        name = lifter.node("Unsqueeze", [name, lifter.ints(-1)])
    name = lifter.node("MatMul", [name, lifter.array(matrix, "weight")])
    if matrix.shape[1] == 1:
        name = lifter.node("Squeeze", [name, lifter.ints(-1)])
        return Lifted(name, (*x.dims[:-1], ()), x.token)
    return Lifted(name, (*x.dims[:-1], (int(matrix.shape[1]),)), x.token)


def merged_last(lifter: Lifter, x: Lifted, size: int, call: Call) -> Lifted:
    """Makes sure that the last axis is features, ``size`` of them."""
    if x.dims[-1] not in ((size,), () if size == 1 else (size,)):
        raise lifter.refusal(
            call, "a layer runs over the tokens of a sentence, not over the features of each", "transpose first"
        )
    return x


def plus_row(lifter: Lifter, x: Lifted, row: Any) -> Lifted:
    """Plus a vector along the last axis."""
    if row is None:
        return x
    name = lifter.node("Add", [x.name, lifter.array(row if x.dims[-1] else row.reshape(()), "bias")])
    return Lifted(name, x.dims, x.token)


@rule("layer_norm")
def _layer_norm(lifter: Lifter, call: Call, output: int) -> Lifted:
    x = operand(lifter, call)
    shape = argument(call, 1, "normalized_shape")
    if len(shape) != 1 or x.dims[-1] != (shape[0],):
        raise lifter.refusal(
            call, "layer_norm runs over more than the features of each token", "norm the last axis alone"
        )
    ones = np.ones(shape[0], np.float32)
    weight, bias = argument(call, 2, "weight"), argument(call, 3, "bias")
    scale = lifter.weight(weight) if isinstance(weight, Term) else ones
    shift = lifter.weight(bias) if isinstance(bias, Term) else 0 * ones
    names = [x.name, lifter.array(scale, "scale"), lifter.array(shift, "shift")]
    epsilon = argument(call, 4, "eps", 1e-5)
    return Lifted(lifter.node("LayerNormalization", names, axis=-1, epsilon=epsilon), x.dims, x.token)


@rule("batch_norm")
def _batch_norm(lifter: Lifter, call: Call, output: int) -> Lifted:
    mean, variance = argument(call, 1, "running_mean"), argument(call, 2, "running_var")
    if argument(call, 5, "training", False) or not isinstance(mean, Term) or not isinstance(variance, Term):
        raise lifter.refusal(
            call, "batch statistics: every token's answer depends on the others in the batch",
            "use running statistics (track_running_stats=True and eval()), or LayerNorm",
        )  # fmt: skip
    x = operand(lifter, call)
    size = x.dims[1]
    weight, bias = argument(call, 3, "weight"), argument(call, 4, "bias")
    scale = 1 / np.sqrt(lifter.weight(variance).astype(np.float64) + argument(call, 7, "eps", 1e-5))
    if isinstance(weight, Term):
        scale = scale * lifter.weight(weight)
    shift = -lifter.weight(mean) * scale + (lifter.weight(bias) if isinstance(bias, Term) else 0)
    trailing = sum(atom != TIME for dim in x.dims[2:] for atom in dim)
    if size == (TIME,) or any(len(d) > 1 for d in x.dims):
        raise lifter.refusal(call, "batch_norm runs over the tokens", "norm the features")
    scaled = lifter.node("Mul", [x.name, lifter.array(scale.astype(np.float32).reshape(-1, *[1] * trailing), "scale")])
    shifted = lifter.node("Add", [scaled, lifter.array(shift.astype(np.float32).reshape(-1, *[1] * trailing), "shift")])
    return Lifted(shifted, x.dims, x.token)


@rule("normalize")
def _normalize(lifter: Lifter, call: Call, output: int) -> Lifted:
    x = operand(lifter, call)
    axis = single_axis(lifter, x, argument(call, 2, "dim", 1), call)
    if argument(call, 1, "p", 2.0) != 2.0 or (x.times > 0 and axis < x.lead):
        raise lifter.refusal(call, "normalises other than features by their length", "norm the features with p=2")
    length = lifter.node("ReduceL2", [x.name], axes=[axis], keepdims=1)
    length = lifter.node("Max", [length, lifter.scalar(argument(call, 3, "eps", 1e-12))])
    return Lifted(lifter.node("Div", [x.name, length]), x.dims, x.token)


# -- reductions


def single_axis(lifter: Lifter, x: Lifted, dim: int, call: Call) -> int:
    """The graph's axis of an author's axis; an axis of 1 is refused."""
    try:
        return x.axis(dim)
    except KeyError:
        what = "merged axes" if x.dims[dim % len(x.dims)] else "an axis of 1 (the batch axis, with one sentence)"
        raise lifter.refusal(
            call,
            f"`{call.name}` runs over {what}: it would mix the sentences of a batch",
            "run it over features or tokens",
        ) from None


@rule("softmax", "log_softmax", "softmin")
def _softmax(lifter: Lifter, call: Call, output: int) -> Lifted:
    x = operand(lifter, call)
    axis = single_axis(lifter, x, argument(call, 1, "dim"), call)
    op_type = {"softmax": "Softmax", "log_softmax": "LogSoftmax"}.get(call.name)
    if op_type is None:
        x, op_type = Lifted(lifter.node("Neg", [x.name]), x.dims, x.token), "Softmax"
    x = lifter.masked(x, axis, -1e30)
    return Lifted(lifter.node(op_type, [x.name], axis=axis), x.dims, x.token)


_REDUCTIONS = {
    "sum": ("ReduceSum", 0.0), "mean": ("ReduceMean", 0.0), "max": ("ReduceMax", -1e30), "amax": ("ReduceMax", -1e30),
    "min": ("ReduceMin", 1e30), "amin": ("ReduceMin", 1e30), "logsumexp": ("ReduceLogSumExp", -1e30),
    "norm": ("ReduceL2", 0.0), "prod": ("ReduceProd", 1.0),
}  # fmt: skip


def _reduce(lifter: Lifter, call: Call, output: int) -> Lifted:
    if call.name in ("max", "min") and isinstance(argument(call, 1, "other"), Term):
        return _binary_extreme(lifter, call, output)
    if output == 1:
        return _arg_reduce(lifter, call, output)
    x = operand(lifter, call)
    place = 2 if call.name == "norm" else 1
    if call.name == "norm" and argument(call, 1, "p", 2) not in (2, 2.0, "fro"):
        raise lifter.refusal(call, "a norm other than the Euclidean", "use p=2")
    given = argument(call, place, "dim")
    dims = list(range(len(x.dims))) if given is None else [given] if isinstance(given, int) else list(given)
    result = out_dims(lifter, call, output)
    for dim in sorted((d % len(x.dims) for d in dims), reverse=True):
        if x.dims[dim]:
            x = _reduce_one(lifter, x, dim, call)
    return Lifted(x.name, result, x.token)


def _reduce_one(lifter: Lifter, x: Lifted, dim: int, call: Call) -> Lifted:
    op_type, fill = _REDUCTIONS[call.name]
    axis = single_axis(lifter, x, dim, call)
    atom = x.dims[dim][0]
    dims: Dims = (*x.dims[:dim], (), *x.dims[dim + 1 :])
    masked = lifter.masked(x, axis, fill)
    if op_type == "ReduceMean" and not isinstance(atom, int):
        total = reduced(lifter, "ReduceSum", masked.name, axis)
        count = lifter.extent(atom) if atom != TIME else "lengths"
        found = Lifted(lifter.node("Div", [total, _count(lifter, count, x, axis, atom)]), dims, x.token)
    else:
        found = Lifted(reduced(lifter, op_type, masked.name, axis), dims, x.token)
    return _relaid(lifter, found, x)


def reduced(lifter: Lifter, op_type: str, name: str, axis: int) -> str:
    """One axis reduced away."""
    if op_type == "ReduceSum":
        return lifter.node(op_type, [name, lifter.ints(axis)], keepdims=0)
    return lifter.node(op_type, [name], axes=[axis], keepdims=0)


def _count(lifter: Lifter, count: str, x: Lifted, axis: int, atom: Any) -> str:
    """How many were added up, at least 1, beside what is left when the axis is gone."""
    one = lifter.array(np.array(1, np.int32))
    floats = lifter.node("Cast", [lifter.node("Max", [count, one])], to=TensorProto.FLOAT)
    own = 2 if atom != TIME and atom[0] == LETTERS else 1
    left = x.lead + len(x.others) - 1
    lead = x.lead - (atom == TIME)
    if x.times == 2:  # (batch, tokens, ...): the batch is in front
        return lifter.node("Unsqueeze", [floats, lifter.ints(*range(1, left))])
    axes = list(range(own, left - lead + own))
    return lifter.node("Unsqueeze", [floats, lifter.ints(*axes)]) if axes else floats


def _relaid(lifter: Lifter, found: Lifted, before: Lifted) -> Lifted:
    """What had two token axes and has one is time first now."""
    if before.times == 2 and found.times == 1:
        perm = [1, 0, *range(2, found.lead + len(found.others))]
        return Lifted(lifter.node("Transpose", [found.name], perm=perm), found.dims, found.token)
    return found


for _name in _REDUCTIONS:
    rule(_name)(_reduce)


def _binary_extreme(lifter: Lifter, call: Call, output: int) -> Lifted:
    dims = out_dims(lifter, call, output)
    names, token = lifter.aligned((argument(call, 0, "input"), argument(call, 1, "other")), dims, call)
    return Lifted(lifter.node("Max" if call.name == "max" else "Min", names), dims, token)


@rule("argmax", "argmin")
def _arg_reduce(lifter: Lifter, call: Call, output: int) -> Lifted:
    raise lifter.refusal(
        call,
        "the choice of the best is fed back into the computation",
        "choose tags from finished scores, not on the way",
    )


# -- products


@rule("matmul", "bmm", "mm", "__matmul__", "__rmatmul__")
def _matmul(lifter: Lifter, call: Call, output: int) -> Lifted:
    a, b = argument(call, 0, "input"), argument(call, 1, "mat2", call.kwargs.get("other"))
    if b.is_constant and b.tensors[0].dim() == 2:
        return times_matrix(lifter, lifter.lift(a), lifter.weight(b), call)
    if b.is_constant and b.tensors[0].dim() == 1:
        found = times_matrix(lifter, lifter.lift(a), lifter.weight(b)[:, None], call)
        return Lifted(found.name, found.dims[:-1], found.token)
    return product(lifter, lifter.lift(a), lifter.lift(b), out_dims(lifter, call, output), call)


@rule("addmm")
def _addmm(lifter: Lifter, call: Call, output: int) -> Lifted:
    bias, a, b = call.args[:3]
    found = times_matrix(lifter, lifter.lift(a), lifter.weight(b), call)
    return plus_row(lifter, found, lifter.weight(bias).reshape(-1))


def product(lifter: Lifter, a: Lifted, b: Lifted, dims: Dims, call: Call) -> Lifted:
    """A product of two values of the sentence; over tokens it runs over true ones only."""
    if any(len(d) > 1 for d in (*a.dims, *b.dims)) or a.token != b.token or min(len(a.dims), len(b.dims)) < 2:
        raise lifter.refusal(call, "a product of values with merged axes, or of a vector", "use matmul on matrices")
    if a.dims[-1] and not isinstance(a.dims[-1][0], int):
        a = lifter.masked(a, a.axis(-1), 0.0)
    rank = max(len(a.dims), len(b.dims))
    names = []
    for x in (a, b):
        wide = Lifted(x.name, ((),) * (rank - len(x.dims)) + x.dims, x.token)
        names.append(lifter.explicit(wide))
    return lifter.from_explicit(lifter.node("MatMul", names), dims, token=a.token)


@rule("scaled_dot_product_attention")
def _attention(lifter: Lifter, call: Call, output: int) -> Lifted:
    q, k, v = (lifter.lift(argument(call, i, n)) for i, n in enumerate(("query", "key", "value")))
    if argument(call, 3, "attn_mask") is not None or argument(call, 5, "is_causal", False):
        raise lifter.refusal(call, "attention with a mask of its own", "let it see the whole sentence")
    scale = call.kwargs.get("scale")
    return attend(lifter, q, k, v, scale, call)


def attend(lifter: Lifter, q: Lifted, k: Lifted, v: Lifted, scale: float | None, call: Call) -> Lifted:
    """softmax(q k' scale) v over the last two axes (tokens, features)."""
    if q.dims[-2] != (TIME,) or k.dims[-2] != (TIME,):
        raise lifter.refusal(
            call,
            "attention runs over an axis of 1 (the batch axis, with one sentence): it would mix a batch's sentences",
            "give it the tokens of a sentence (batch_first=True?)",
        )
    size = q.dims[-1][0] if q.dims[-1] else 1
    order = [*range(len(k.dims) - 2), len(k.dims) - 1, len(k.dims) - 2]
    dims: Dims = (*q.dims[:-1], (TIME,))
    scores = product(lifter, q, lifter.permuted(k, order), dims, call)
    factor = lifter.scalar(scale if scale is not None else 1 / math.sqrt(size))
    scaled = Lifted(lifter.node("Mul", [scores.name, factor]), dims, q.token)
    axis = scaled.axis(-1)
    weights = lifter.node("Softmax", [lifter.masked(scaled, axis, -1e30).name], axis=axis)
    return product(lifter, Lifted(weights, dims, q.token), v, (*q.dims[:-1], v.dims[-1]), call)


@rule("multi_head_attention_forward")
def _multi_head(lifter: Lifter, call: Call, output: int) -> Lifted:
    if output != 0:
        raise lifter.refusal(call, "the weights of multi-head attention are used", "use its first result")
    q, k, v = (lifter.lift(argument(call, i, n)) for i, n in enumerate(("query", "key", "value")))
    size, heads = argument(call, 3, "embed_dim_to_check"), argument(call, 4, "num_heads")
    packed, bias = argument(call, 5, "in_proj_weight"), argument(call, 6, "in_proj_bias")
    if (
        call.kwargs.get("use_separate_proj_weight")
        or call.kwargs.get("attn_mask") is not None
        or argument(call, 7, "bias_k")
    ):
        raise lifter.refusal(
            call, "multi-head attention with masks, extra keys or sizes of its own", "use the plain form"
        )
    weights = np.split(lifter.weight(packed), 3)
    biases = np.split(lifter.weight(bias), 3) if isinstance(bias, Term) else [None] * 3
    parts = []
    for x, w, b in zip((q, k, v), weights, biases, strict=True):
        projected = plus_row(lifter, times_matrix(lifter, x, w.T, call), b)  # (tokens, 1, size)
        shape: Dims = (*projected.dims[:-1], () if heads == 1 else (heads,), (size // heads,))
        split = lifter.regrouped(projected, shape, call)
        parts.append(lifter.permuted(split, [1, 2, 0, 3]))  # (1, heads, tokens, size)
    mixed = lifter.permuted(attend(lifter, *parts, None, call), [2, 0, 1, 3])
    joined = lifter.regrouped(mixed, (*q.dims[:-1], (size,)), call)
    out_weight, out_bias = argument(call, 11, "out_proj_weight"), argument(call, 12, "out_proj_bias")
    found = times_matrix(lifter, joined, lifter.weight(out_weight).T, call)
    return plus_row(lifter, found, lifter.weight(out_bias) if isinstance(out_bias, Term) else None)


# -- parts and wholes


@rule("cat", "concat", "concatenate", "hstack")
def _cat(lifter: Lifter, call: Call, output: int) -> Lifted:
    terms = argument(call, 0, "tensors")
    dim = argument(call, 1, "dim", 1 if call.name == "hstack" else 0)
    dims = out_dims(lifter, call, output)
    dim %= len(dims)
    if len(terms) == 1:
        return lifter.lift(terms[0])
    if any(atom == TIME for t in terms for atom in lifter.dims(t)[dim]):
        raise lifter.refusal(call, "joins sentences or adds tokens", "keep one position per token")
    return joined(lifter, terms, dim, dims, call, new=False)


@rule("stack")
def _stack(lifter: Lifter, call: Call, output: int) -> Lifted:
    terms = argument(call, 0, "tensors")
    dims = out_dims(lifter, call, output)
    dim = argument(call, 1, "dim", 0) % len(dims)
    return joined(lifter, terms, dim, dims, call, new=True)


def joined(lifter: Lifter, terms: Sequence[Term], dim: int, dims: Dims, call: Call, *, new: bool) -> Lifted:
    """Values side by side along a feature axis."""
    parts = [lifter.lift(t) for t in terms]
    token = any(p.token for p in parts)
    target = Lifted("", dims, token)
    if len(dims[dim]) != 1:
        raise lifter.refusal(call, "joins axes that were merged", "join features of each token")
    axis = target.axis(dim)
    names = []
    for part in parts:
        own = part.dims if not new else (*part.dims[:dim], (), *part.dims[dim:])
        wide = (
            part.name
            if own[dim]
            else lifter.node("Unsqueeze", [part.name, lifter.ints(axis - target.lead + part.lead)])
        )
        if part.lead != target.lead or any(a != b for i, (a, b) in enumerate(zip(own, dims, strict=True)) if i != dim):
            wide = _spread(lifter, wide, part, target, call)
        names.append(wide)
    return Lifted(lifter.node("Concat", names, axis=axis), dims, token)


def _spread(lifter: Lifter, name: str, part: Lifted, target: Lifted, call: Call) -> str:
    """A value without tokens at each token."""
    if target.times != 1 or part.times:
        raise lifter.refusal(call, "joins values of different axes", "give both the same layout")
    rank = len(target.others)
    shape = lifter.time_shape(2 + rank)
    return lifter.node("Expand", [name, shape])


@rule("chunk", "split", "tensor_split", "split_with_sizes")
def _split(lifter: Lifter, call: Call, output: int) -> Lifted:
    x = operand(lifter, call)
    dim = argument(call, 2, "dim", 0) % len(x.dims)
    dims = out_dims(lifter, call, output)
    if not x.dims[dim]:
        return x
    axis = x.axis(dim)
    if x.dims[dim] == (TIME,) or not isinstance(x.dims[dim][0], int):
        raise lifter.refusal(call, "splits the tokens of a sentence into parts", "split features")
    start = sum(call_size(call, i, dim) for i in range(output))
    return sliced(lifter, x, axis, start, start + call_size(call, output, dim), dims)


def call_size(call: Call, output: int, dim: int) -> int:
    """Size of one part of a split, known from the recording."""
    if output in call.outputs:
        return call.outputs[output].tensors[0].shape[dim]
    size = call.args[1]
    source = call.args[0].tensors[0].shape[dim]
    if call.name == "chunk" or call.name == "tensor_split":
        return math.ceil(source / size)
    return size if isinstance(size, int) else size[output]


def sliced(lifter: Lifter, x: Lifted, axis: int, start: int, stop: int, dims: Dims, step: int = 1) -> Lifted:
    """A stretch of a feature axis."""
    name = lifter.node("Slice", [x.name, *(lifter.ints(v) for v in (start, stop, axis, step))])
    if stop - start == 1 or (step != 1 and len(range(start, stop, step)) == 1):
        name = lifter.node("Squeeze", [name, lifter.ints(axis)])
    return Lifted(name, dims, x.token)


@rule("unbind", "select", "narrow", "__getitem__", "index_select", "masked_select", "gather", "take_along_dim")
def _index(lifter: Lifter, call: Call, output: int) -> Lifted:
    from .indexing import indexed

    table, index = call.args[0], call.args[-1]
    if call.name in ("__getitem__", "index_select") and table.is_constant and isinstance(index, Term):
        ids = not index.is_static and not index.tensors[0].is_floating_point()
        if ids and table.tensors[0].dim() == 2:
            return lifter.regrouped(
                lifter.gather(index, lifter.weight(table), "table"), out_dims(lifter, call, output), call
            )
    return indexed(lifter, call, output)


@rule("einsum")
def _einsum(lifter: Lifter, call: Call, output: int) -> Lifted:
    """The author's equation with a letter for the batch in front; what is added up over tokens is masked."""
    equation = call.args[0].replace(" ", "")
    terms = list(call.args[1]) if isinstance(call.args[1], (list, tuple)) else list(call.args[1:])
    left, _, right = equation.partition("->")
    if "." in equation or "Z" in equation or not right:
        raise lifter.refusal(call, f"einsum with {equation!r}", "write all axes out")
    names, sides = [], []
    for term, letters in zip(terms, left.split(","), strict=True):
        if term.is_constant:
            names.append(lifter.array(lifter.weight(term)))
            sides.append(letters)
            continue
        x = lifter.lift(term)
        for i, letter in enumerate(letters):
            if letter not in right and x.dims[i] and not isinstance(x.dims[i][0], int):
                x = lifter.masked(x, x.axis(i), 0.0)
        if any(len(d) > 1 for d in x.dims) or x.token:
            raise lifter.refusal(call, "einsum over merged axes or in a loop", "use matmul")
        names.append(lifter.explicit(x))
        sides.append("Z" + letters)
    made = lifter.node("Einsum", names, equation=f"{','.join(sides)}->Z{right}")
    return lifter.from_explicit(made, out_dims(lifter, call, output), token=False)


@rule("bilinear")
def _bilinear(lifter: Lifter, call: Call, output: int) -> Lifted:
    a, b = (lifter.lift(argument(call, i, f"input{i + 1}")) for i in (0, 1))
    weight = lifter.weight(argument(call, 2, "weight"))  # (out, a, b)
    count, rows, columns = weight.shape
    if a.dims[:-1] != b.dims[:-1] or a.token != b.token or 1 in (count, columns):
        raise lifter.refusal(call, "bilinear over values of different axes", "give both the same layout")
    flat = weight.transpose(1, 0, 2).reshape(rows, count * columns)
    left = lifter.regrouped(times_matrix(lifter, a, flat, call), (*a.dims[:-1], (count,), (columns,)), call)
    right = lifter.node("Unsqueeze", [b.name, lifter.ints(b.lead + len(b.others) - 1)])
    both = lifter.node("Mul", [left.name, right])
    found = reduced(lifter, "ReduceSum", both, left.lead + len(left.others) - 1)
    bias = argument(call, 3, "bias")
    summed = Lifted(found, (*a.dims[:-1], (count,)), a.token)
    return plus_row(lifter, summed, lifter.weight(bias) if isinstance(bias, Term) else None)


@rule("addcmul", "addcmul_")
def _addcmul(lifter: Lifter, call: Call, output: int) -> Lifted:
    names, token = lifter.aligned(call.args[:3], out_dims(lifter, call, output), call)
    product_name = lifter.node("Mul", names[1:])
    if call.kwargs.get("value", 1) != 1:
        product_name = lifter.node("Mul", [product_name, lifter.scalar(float(call.kwargs["value"]))])
    return Lifted(lifter.node("Add", [names[0], product_name]), out_dims(lifter, call, output), token)


@rule("lerp", "lerp_")
def _lerp(lifter: Lifter, call: Call, output: int) -> Lifted:
    """start + weight (end - start)."""
    dims = out_dims(lifter, call, output)
    names, token = lifter.aligned((call.args[0], call.args[1], argument(call, 2, "weight")), dims, call)
    step = lifter.node("Mul", [names[2], lifter.node("Sub", [names[1], names[0]])])
    return Lifted(lifter.node("Add", [names[0], step]), dims, token)


@rule("glu")
def _glu(lifter: Lifter, call: Call, output: int) -> Lifted:
    x = operand(lifter, call)
    dim = argument(call, 1, "dim", -1) % len(x.dims)
    axis = single_axis(lifter, x, dim, call)
    size = x.dims[dim][0]
    if not isinstance(size, int):
        raise lifter.refusal(call, "halves the tokens", "halve features")
    dims = out_dims(lifter, call, output)
    a, b = (sliced(lifter, x, axis, i, i + size // 2, dims).name for i in (0, size // 2))
    return Lifted(lifter.node("Mul", [a, lifter.node("Sigmoid", [b])]), dims, x.token)


@rule("cumsum")
def _cumsum(lifter: Lifter, call: Call, output: int) -> Lifted:
    """Sums of what stands before: nothing after a token counts, so padding does not."""
    x = operand(lifter, call)
    axis = single_axis(lifter, x, argument(call, 1, "dim"), call)
    return Lifted(lifter.node("CumSum", [x.name, lifter.array(np.array(axis, np.int64))]), x.dims, x.token)


@rule("pad_sequence")
def _pad_sequence(lifter: Lifter, call: Call, output: int) -> Lifted:
    sequences = argument(call, 0, "sequences")
    if len(sequences) != 1:
        raise lifter.refusal(call, "pads several sequences", "give it the one sentence")
    return lifter.regrouped(lifter.lift(sequences[0]), out_dims(lifter, call, output), call)


@rule("__setitem__", "index_put_", "index_put", "scatter", "scatter_", "index_fill", "scatter_add_", "index_copy_")
def _write(lifter: Lifter, call: Call, output: int) -> Lifted:
    base, index, item = call.args[:3]
    whole = call.outputs[output]
    if call.name == "__setitem__" and isinstance(item, Term) and _same_count(item, whole):
        return lifter.regrouped(lifter.lift(item), out_dims(lifter, call, output), call)  # all of it is replaced
    if call.name == "__setitem__" and isinstance(index, Term) and index.tensors[0].dtype == torch.bool:
        return _write_masked(lifter, call, output)
    if call.name in ("scatter_", "scatter") and base.is_static and len(call.args) > 3:
        value = call.args[3]
        blank = all(not bool(t.any()) for t in base.tensors)
        if blank and isinstance(value, (int, float)) and index % len(lifter.dims(whole)) == len(lifter.dims(whole)) - 1:
            size = whole.tensors[0].shape[-1]
            table = (np.eye(size) * value).astype(np.float32)
            ids = item
            while ids.call is not None and ids.call.name in ("unsqueeze", "view", "reshape", "long", "data", "to"):
                ids = ids.call.args[0]
            found = lifter.gather(ids, table, "one_hot")
            return lifter.regrouped(found, lifter.dims(whole), call)
    chosen = next((c for t in call.inputs()[1:] if (c := choice_in(t)) is not None), None)
    raise lifter.refusal(
        chosen or call, "writes into parts of a tensor", "use torch.where, or write every token in one loop"
    )


def _same_count(a: Term, b: Term) -> bool:
    return all(x.numel() == y.numel() for x, y in zip(a.tensors, b.tensors, strict=True))


def _write_masked(lifter: Lifter, call: Call, output: int) -> Lifted:
    """``x[mask] = number``, the mask over the first axes."""
    base, mask, item = call.args[:3]
    if isinstance(item, Term):
        raise lifter.refusal(call, "writes values where a mask is", "use torch.where")
    x, where = lifter.lift(base), lifter.lift(mask)
    where = Lifted(where.name, (*where.dims, *[()] * (len(x.dims) - len(where.dims))), where.token)
    fitted = lifter._broadcast(where, x, call, static=mask.is_constant)
    number = np.array(item, np.float32 if base.tensors[0].is_floating_point() else np.int32)
    return Lifted(lifter.node("Where", [fitted, lifter.array(number), x.name]), x.dims, x.token)


@rule("flip", "fliplr", "flipud")
def _flip(lifter: Lifter, call: Call, output: int) -> Lifted:
    x = operand(lifter, call)
    given = {"fliplr": [1], "flipud": [0]}.get(call.name) or argument(call, 1, "dims")
    for dim in [given] if isinstance(given, int) else given:
        if not x.dims[dim]:
            continue
        axis = single_axis(lifter, x, dim, call)
        if x.dims[dim] == (TIME,) and x.times == 1:
            lengths = lifter._once("long_lengths", "Cast", ["lengths"], to=TensorProto.INT64)
            x = Lifted(lifter.node("ReverseSequence", [x.name, lengths], time_axis=0, batch_axis=1), x.dims, x.token)
        elif isinstance(x.dims[dim][0], int):
            names = [x.name, *(lifter.ints(v) for v in (-1, -(2**31), axis, -1))]
            x = Lifted(lifter.node("Slice", names), x.dims, x.token)
        else:
            raise lifter.refusal(call, "turns letters around", "use a bidirectional recurrence")
    return x


# -- loops over tokens, folded by `rolling`


@rule("token")
def _token(lifter: Lifter, call: Call, output: int) -> Lifted:
    x = operand(lifter, call)
    dim, keeps = call.args[1:3]
    if x.dims[dim] != (TIME,) or x.token or x.times != 1:
        raise lifter.refusal(
            call, "a loop runs over something other than the tokens of the sentence", "loop over tokens"
        )
    dims = (*x.dims[:dim], *([()] if keeps else []), *x.dims[dim + 1 :])
    return Lifted(x.name, dims, True)


@rule("over_tokens")
def _over_tokens(lifter: Lifter, call: Call, output: int) -> Lifted:
    x = operand(lifter, call)
    dim, how = call.args[1:3]
    dims = out_dims(lifter, call, output)
    if how == "stack":
        dim %= len(dims)
        return Lifted(x.name, (*x.dims[:dim], (TIME,), *x.dims[dim:]), False)
    if how == "write":
        without = (*dims[:dim], *dims[dim + 1 :])
        inner = lifter.regrouped(x, without, call)
        return Lifted(inner.name, (*inner.dims[:dim], (TIME,), *inner.dims[dim:]), False)
    dim %= len(x.dims)
    if any(x.dims[i] for i in range(dim)):
        raise lifter.refusal(call, "joins the results of a loop inside of other axes", "stack them")
    return Lifted(x.name, (*x.dims[:dim], (TIME, *x.dims[dim]), *x.dims[dim + 1 :]), False)


__all__ = ["WIDTH", "argument", "merged_last", "operand", "plus_row", "single_axis", "times_matrix"]
