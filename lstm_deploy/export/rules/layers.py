"""Tables and layers over the features of each token."""

from typing import Any

import numpy as np

from ..lifting import TIME, Lifted, Lifter, rule
from ..program import Call, Term
from .calls import argument, operand
from .reductions import reduced, single_axis


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
