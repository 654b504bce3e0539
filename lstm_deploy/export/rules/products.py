"""Matrix products and attention."""

import math

import numpy as np

from ..lifting import TIME, Dims, Lifted, Lifter, rule
from ..program import Call, Term
from .calls import argument, out_dims
from .layers import plus_row, times_matrix


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
