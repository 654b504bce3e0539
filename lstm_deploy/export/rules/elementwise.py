"""What is done to each number alone, or to two values element by element."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnx import TensorProto

from ..lifting import Dims, Lifted, Lifter, rule
from ..program import Call, Term, Varying
from .calls import argument, operand, out_dims
from .reductions import single_axis
from .shapes import sliced

Maker = Callable[[Lifter, str], str]


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
