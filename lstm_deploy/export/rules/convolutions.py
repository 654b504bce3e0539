"""Convolutions and pools over tokens or letters."""

from typing import Any

from ..lifting import TIME, Dims, Lifted, Lifter, rule
from ..program import Call, Term
from .calls import argument, operand, out_dims
from .reductions import reduced


@rule("conv1d", "conv2d")
def _convolution(lifter: Lifter, call: Call, output: int) -> Lifted:
    x = operand(lifter, call)
    dims = out_dims(lifter, call, output)
    spatial = 1 if call.name == "conv1d" else 2
    if len(x.dims) == spatial + 1:
        x, dims = Lifted(x.name, ((), *x.dims), x.token), ((), *dims)
    for i, dim in enumerate(x.dims):
        if i > 0 and dim and not isinstance(dim[0], int):
            x = lifter.masked(x, x.axis(i), 0.0)
    rows_are_words = x.dims[0] == (TIME,) or x.token
    explicit = lifter.explicit(x)  # (batch, [token,] rows, channels, ...)
    if rows_are_words:
        sizes = lifter.node("Shape", [explicit])
        # (batch, words, channels, ...) -> (batch * words, channels, ...)
        skip = 3 if x.token else 2
        tail = lifter.node("Slice", [sizes, lifter.ints(skip), lifter.ints(2**31)])
        flat = lifter.node("Reshape", [explicit, lifter.node("Concat", [lifter.ints(-1), tail], axis=0)])
    elif x.dims[0] == ():
        flat = lifter.node("Squeeze", [explicit, lifter.ints(1)])
    else:
        raise lifter.refusal(call, "a convolution has features as its batch", "give it (batch, channels, tokens)")
    weight = lifter.array(lifter.weight(argument(call, 1, "weight")), "kernel")
    bias = argument(call, 2, "bias")
    names = [flat, weight, *([lifter.array(lifter.weight(bias), "bias")] if isinstance(bias, Term) else [])]
    stride, padding, dilation = (_spatial(argument(call, i, n, d), spatial)
                                 for i, n, d in ((3, "stride", 1), (4, "padding", 0), (5, "dilation", 1)))  # fmt: skip
    attributes: dict[str, Any] = {"strides": stride, "dilations": dilation, "group": argument(call, 6, "groups", 1)}
    if isinstance(padding, str):
        attributes["auto_pad"] = "SAME_LOWER" if padding == "same" else "VALID"
    else:
        attributes["pads"] = [*padding, *padding]
    if any(s != 1 for s in stride) or (TIME in [a for d in x.dims for a in d] and not rows_are_words and TIME not in
                                       [a for d in dims for a in d]):  # fmt: skip
        raise lifter.refusal(
            call, "a convolution does not keep one position per token", "use stride 1 and padding to the same length"
        )
    made = lifter.node("Conv", names, **attributes)
    if not rows_are_words:
        return _named(
            lifter.from_explicit(lifter.node("Unsqueeze", [made, lifter.ints(1)]), dims, token=False),
            call,
            output,
            lifter,
        )
    outer = lifter.node("Slice", [lifter.node("Shape", [explicit]), lifter.ints(0), lifter.ints(2)])
    tail = lifter.node("Slice", [lifter.node("Shape", [made]), lifter.ints(1), lifter.ints(2**31)])
    one = [lifter.ints(1)] if x.token else []
    whole = lifter.node("Reshape", [made, lifter.node("Concat", [outer, *one, tail], axis=0)])
    return _named(lifter.from_explicit(whole, dims, token=x.token), call, output, lifter)


def _named(found: Lifted, call: Call, output: int, lifter: Lifter) -> Lifted:
    """With the axes that the author sees: without a batch axis where there was none."""
    given = out_dims(lifter, call, output)
    return Lifted(found.name, given, found.token)


def _spatial(value: Any, count: int) -> Any:
    if isinstance(value, str):
        return value
    values = list(value) if isinstance(value, (tuple, list)) else [value]
    return values * count if len(values) == 1 else values


@rule("max_pool1d", "avg_pool1d", "adaptive_max_pool1d", "adaptive_avg_pool1d", "max_pool2d", "adaptive_max_pool2d")
def _pool(lifter: Lifter, call: Call, output: int) -> Lifted:
    """Pooling over a whole axis."""
    x = operand(lifter, call)
    dims = out_dims(lifter, call, output)
    if x.dims == dims:
        return _pool_in_windows(lifter, x, call)
    for i in range(len(x.dims)):
        if x.dims[i] == dims[i]:
            continue
        if dims[i]:
            raise lifter.refusal(call, "pools parts of an axis", "pool over the whole of it")
        axis = x.axis(i)
        if "max" in call.name:
            x = Lifted(
                reduced(lifter, "ReduceMax", lifter.masked(x, axis, -1e30).name, axis), _without(x.dims, i), x.token
            )
        else:
            raise lifter.refusal(call, "averages over an axis by pooling", "use mean")
    return Lifted(x.name, dims, x.token)


def _pool_in_windows(lifter: Lifter, x: Lifted, call: Call) -> Lifted:
    """Pooling that keeps one position per token, each over its neighbours; (1, features, tokens)."""
    size, stride = argument(call, 1, "kernel_size"), argument(call, 2, "stride")
    padding = argument(call, 3, "padding", 0)
    size, stride, padding = (v[0] if isinstance(v, (tuple, list)) else v for v in (size, stride, padding))
    fits = call.name in ("max_pool1d", "avg_pool1d") and len(x.dims) == 3 and x.dims[0] == () and x.dims[2] == (TIME,)
    plain = call.name == "max_pool1d" or argument(call, 5, "count_include_pad", True)
    if not fits or x.token or stride != 1 or not plain or argument(call, 4, "dilation", 1) not in (1, False):
        raise lifter.refusal(
            call, "pools windows in a way that has no counterpart", "use stride 1, and count the padding"
        )
    largest = call.name == "max_pool1d"
    masked = lifter.masked(x, x.axis(2), -1e30 if largest else 0.0)
    flat = lifter.node("Squeeze", [lifter.explicit(masked), lifter.ints(1)])
    attributes: dict[str, Any] = {"kernel_shape": [size], "pads": [padding, padding], "strides": [1]}
    if not largest:
        attributes["count_include_pad"] = 1
    made = lifter.node("MaxPool" if largest else "AveragePool", [flat], **attributes)
    return lifter.from_explicit(lifter.node("Unsqueeze", [made, lifter.ints(1)]), x.dims, token=False)


def _without(dims: Dims, i: int) -> Dims:
    return (*dims[:i], (), *dims[i + 1 :])
