"""Shapes, parts and wholes: views, cutting and joining features, turning sentences around, folded loops."""

import math
from collections.abc import Sequence

from onnx import TensorProto

from ..lifting import TIME, Dims, Lifted, Lifter, rule
from ..program import Call, Term
from .calls import argument, operand, out_dims
from .reductions import single_axis


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


@rule("pad_sequence")
def _pad_sequence(lifter: Lifter, call: Call, output: int) -> Lifted:
    sequences = argument(call, 0, "sequences")
    if len(sequences) != 1:
        raise lifter.refusal(call, "pads several sequences", "give it the one sentence")
    return lifter.regrouped(lifter.lift(sequences[0]), out_dims(lifter, call, output), call)


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
