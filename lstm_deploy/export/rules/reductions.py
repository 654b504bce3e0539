"""Softmax, sums and extremes, over features or over the true tokens of a sentence."""

from typing import Any

import numpy as np
from onnx import TensorProto

from ..lifting import TIME, Dims, Lifted, Lifter, rule
from ..program import LETTERS, Call, Term
from .calls import argument, operand, out_dims


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


@rule("cumsum")
def _cumsum(lifter: Lifter, call: Call, output: int) -> Lifted:
    """Sums of what stands before: nothing after a token counts, so padding does not."""
    x = operand(lifter, call)
    axis = single_axis(lifter, x, argument(call, 1, "dim"), call)
    return Lifted(lifter.node("CumSum", [x.name, lifter.array(np.array(axis, np.int64))]), x.dims, x.token)
