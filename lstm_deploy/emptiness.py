"""Which values of a graph may have no numbers in them, whatever whole sentences it is given.

onnxruntime ends the process where an LSTM, a GRU or a Scan over bytes is given no rows (docs/upstream.md). A client
never runs an empty batch; but a graph can make one of any other, by a slice that holds nothing. This follows sizes from
the inputs on, each only as far as it is sure: a size is a number, `SOME` (at least 1) or `ANY` (0, too). What is not
known is taken for what may be empty. Only that no value has 2**31 places or more on an axis is taken for granted: it
would take 2 GiB at least, and is as likely to end in an error of memory.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from .modelfile import Graph, Initializer, Node

SOME, ANY = -1, -2
Shape = tuple[int, ...]
Numbers = Callable[[Initializer], Sequence[float]]
_MOST_NUMBERS = 64
"""Of a constant whose numbers are looked at: shapes, axes and bounds of slices are shorter."""
_INT32, _INT64 = 6, 7
"""As Cast calls them. Narrower types wrap sizes round, some of them to 0."""
_TOO_MANY = 2**31
"""What int32 wraps round. A value that has so many places on an axis and is not empty takes 2 GiB and more."""
_TO_THE_END = (2**31 - 1, 2**63 - 1)
"""To onnxruntime the end of an axis in the direction of the step, whatever the specification says."""


@dataclass(frozen=True)
class Value:
    """What is known of a value.

    Attributes:
        filled: it has at least one place on every axis.
        shape: size of each axis, or None where not even their number is known.
        positive: all its numbers, if any, are whole, at least 1, and less than int32 wraps round.
        numbers: all of them, of a short constant of whole numbers.
    """

    filled: bool = False
    shape: Shape | None = None
    positive: bool = False
    numbers: tuple[int, ...] | None = None


NOTHING = Value()


def shaped(shape: Shape | None, *, filled: bool | None = None, positive: bool = False) -> Value:
    """A value of a shape; ``filled`` where the shape does not say."""
    if filled is None:
        filled = shape is not None and all(size >= 1 or size == SOME for size in shape)
    return Value(filled, shape, positive)


def unfilled(graph: Graph, ranks: Mapping[str, int], numbers: Numbers, operators: frozenset[str]) -> str:
    """The name of the first of ``operators`` some input of which may be empty, or "" where there is none.

    Args:
        graph: nodes in order, each after what it reads.
        ranks: how many axes each input has; none of them is empty.
        numbers: the numbers of a constant of whole numbers.
        operators: those of whose inputs all that are given have to be filled.
    """
    return _walk(graph, {name: shaped((SOME,) * rank) for name, rank in ranks.items()}, numbers, operators)


def values(graph: Graph, ranks: Mapping[str, int], numbers: Numbers) -> dict[str, Value]:
    """What is known of each value of ``graph``, those within its control flow aside. Arguments as for `unfilled`."""
    known = {name: shaped((SOME,) * rank) for name, rank in ranks.items()}
    _walk(graph, known, numbers, frozenset())
    return known


def _walk(graph: Graph, known: dict[str, Value], numbers: Numbers, operators: frozenset[str]) -> str:
    """Adds to ``known``; the first of ``operators`` that may be given something empty."""
    known.update((name, _constant(tensor, numbers)) for name, tensor in graph.initializers.items())
    for node in graph.nodes:
        inputs = [known.get(name, NOTHING) for name in node.inputs if name]
        if node.op_type in operators and not all(value.filled for value in inputs):
            return node.op_type
        made = _RULES.get(node.op_type, _broadcast)(node, inputs) if inputs else NOTHING
        for body in node.graphs.values():
            inner = known | {name: Value(made.filled) for name in body.inputs}
            if found := _walk(body, inner, numbers, operators):
                return found
            made = Value(made.filled and all(inner.get(name, NOTHING).filled for name in body.outputs))
        others = made if node.op_type == "Split" else Value(made.filled)
        known.update((name, others if at else made) for at, name in enumerate(node.outputs) if name)
    return ""


def _constant(tensor: Initializer, numbers: Numbers) -> Value:
    value = shaped(tensor.shape)
    if tensor.dtype not in ("int32", "int64") or tensor.size > _MOST_NUMBERS:
        return value
    found = tuple(int(each) for each in numbers(tensor))
    return replace(value, positive=all(1 <= each < _TOO_MANY for each in found), numbers=found)


def _axis(node: Node, rank: int, default: int = 0) -> int | None:
    """The attribute ``axis``, from 0; None where there is no such axis."""
    axis = node.attributes.get("axis", default)
    return axis % rank if isinstance(axis, int) and rank and -rank <= axis < rank else None


def _axes(node: Node, inputs: list[Value], at: int) -> tuple[int, ...] | None:
    """Axes that are an attribute, or input ``at``."""
    given = node.attributes.get("axes")
    if isinstance(given, tuple):
        return given if all(isinstance(axis, int) for axis in given) else None
    return inputs[at].numbers if at < len(inputs) else None


def _broadcast(node: Node, inputs: list[Value]) -> Value:
    """Of what is computed place by place, and of whatever else keeps what is filled filled."""
    filled = all(value.filled for value in inputs)
    shapes = [value.shape for value in inputs]
    if node.op_type not in _BY_PLACE or any(shape is None for shape in shapes):
        return Value(filled)
    rank = max(len(shape) for shape in shapes)  # type: ignore[arg-type]
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]  # type: ignore[arg-type, operator]
    return shaped(tuple(_wider(sizes) for sizes in zip(*padded, strict=True)))


def _wider(sizes: tuple[int, ...]) -> int:
    """What sizes come to that are equal or 1."""
    if larger := [size for size in sizes if size > 1]:
        return larger[0]
    if 0 in sizes or ANY in sizes:
        return ANY
    return SOME if SOME in sizes else 1


def _like_first(node: Node, inputs: list[Value]) -> Value:
    first = inputs[0]
    if node.op_type == "Identity":
        return first
    to = node.attributes.get("to") if node.op_type == "Cast" else None
    fits = to == _INT64 or (to == _INT32 and all(-_TOO_MANY <= number < _TOO_MANY for number in first.numbers or ()))
    positive = first.positive and to in (_INT32, _INT64)
    return Value(first.filled, first.shape, positive, first.numbers if fits else None)


def _transpose(node: Node, inputs: list[Value]) -> Value:
    first, turns = inputs[0], node.attributes.get("perm")
    if first.shape is None:
        return Value(first.filled)
    if not isinstance(turns, tuple):
        turns = tuple(reversed(range(len(first.shape))))
    if sorted(turns) != [*range(len(first.shape))]:
        return NOTHING
    return shaped(tuple(first.shape[turn] for turn in turns), filled=first.filled)


def _unsqueeze(node: Node, inputs: list[Value]) -> Value:
    first, axes = inputs[0], _axes(node, inputs, 1)
    if first.shape is None or axes is None:
        return Value(first.filled, positive=first.positive)
    rank = len(first.shape) + len(axes)
    places = {axis % rank for axis in axes}
    rest = iter(first.shape)
    shape = tuple(1 if at in places else next(rest, ANY) for at in range(rank))
    return Value(first.filled, shape, first.positive, first.numbers)


def _squeeze(node: Node, inputs: list[Value]) -> Value:
    """Where the axis that goes is the only one, what is left is a number: of any other size it would be an error."""
    first, axes = inputs[0], _axes(node, inputs, 1)
    if first.shape is None or not axes:  # without axes all that are 1 go
        return Value(first.filled, positive=first.positive)
    rank = len(first.shape)
    gone = {axis % rank for axis in axes} if rank else set()
    shape = tuple(size for at, size in enumerate(first.shape) if at not in gone)
    return Value(shaped(shape).filled, shape, first.positive, first.numbers)


def _reshape(node: Node, inputs: list[Value]) -> Value:
    """As many numbers, in another shape."""
    first, wanted = inputs[0], inputs[1].numbers if len(inputs) > 1 else None
    if wanted is None or not first.filled or any(size < -1 for size in wanted):
        return Value(first.filled, positive=first.positive)
    # Of what is filled no axis can become empty: 0 takes over a size, -1 is what is left.
    return Value(True, tuple(size if size > 0 else SOME for size in wanted), first.positive)


def _flatten(node: Node, inputs: list[Value]) -> Value:
    return shaped((SOME, SOME) if inputs[0].filled else None)


def _shape(node: Node, inputs: list[Value]) -> Value:
    first = inputs[0]
    partly = "start" in node.attributes or "end" in node.attributes
    rank = (ANY if partly else len(first.shape),) if first.shape is not None else (ANY,)
    return shaped(rank, positive=first.filled)


def _size(node: Node, inputs: list[Value]) -> Value:
    return shaped((), positive=inputs[0].filled)


def _gather(node: Node, inputs: list[Value]) -> Value:
    """A place that is not there is an error of its own, so that the axis that is looked up may be empty."""
    if len(inputs) < 2 or inputs[0].shape is None or inputs[1].shape is None:
        return Value(len(inputs) > 1 and inputs[0].filled and inputs[1].filled)
    data, ids = inputs[0].shape, inputs[1].shape
    axis = _axis(node, len(data))
    if axis is None:
        return NOTHING
    return shaped((*data[:axis], *ids, *data[axis + 1 :]), positive=inputs[0].positive)


def _slice(node: Node, inputs: list[Value]) -> Value:
    first, bounds = inputs[0], [value.numbers for value in inputs[1:]]
    if first.shape is None or len(bounds) < 2 or any(numbers is None for numbers in bounds):
        return Value(positive=first.positive)
    starts, ends, *more = bounds
    axes = more[0] if more else tuple(range(len(starts)))  # type: ignore[arg-type]
    steps = more[1] if len(more) > 1 else (1,) * len(axes)  # type: ignore[arg-type]
    sizes = list(first.shape)
    if not len(starts) == len(ends) == len(axes) == len(steps):  # type: ignore[arg-type]
        return NOTHING
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):  # type: ignore[arg-type]
        if not -len(sizes) <= axis < len(sizes) or not step:
            return NOTHING
        sizes[axis] = _part(sizes[axis], start, end, step)
    return shaped(tuple(sizes), positive=first.positive)


def _part(size: int, start: int, end: int, step: int) -> int:
    """The size of a slice of an axis."""
    if abs(step) >= _TOO_MANY or (step < 0 and end in _TO_THE_END):
        return ANY
    if size >= 0:
        if step < 0 and start < -size:
            return ANY  # Python finds nothing before the first place, ONNX begins at it
        return len(range(size)[slice(start, end if step > 0 or end >= -size else None, step)])
    if size == SOME and step > 0 and start <= 0 and end > 0 and (start == 0 or end >= 2**31 - 1):
        return SOME  # from the beginning, or of the end
    if size == SOME and step < 0 and start in (-1, 2**31, 2**63 - 1) and end <= -(2**31):
        return SOME  # turned round
    return ANY


def _concat(node: Node, inputs: list[Value]) -> Value:
    """What is put beside something that is filled is."""
    filled = any(value.filled for value in inputs)
    positive = all(value.positive for value in inputs)
    shapes = [value.shape for value in inputs]
    if any(shape is None or len(shape) != len(shapes[0] or ()) for shape in shapes):
        return Value(filled, positive=positive)
    axis = _axis(node, len(shapes[0] or ()))
    if axis is None:
        return NOTHING
    sizes = []
    for at, each in enumerate(zip(*shapes, strict=True)):  # type: ignore[arg-type]
        together = sum(each) if min(each) >= 0 else SOME if filled else ANY
        sizes.append(together if at == axis else _wider(each))
    return Value(filled, tuple(sizes), positive)


def _expand(node: Node, inputs: list[Value]) -> Value:
    if len(inputs) < 2 or not inputs[0].filled or not inputs[1].positive:
        return NOTHING
    first, rank = inputs[0].shape, inputs[1].shape
    known = first is not None and rank is not None and len(rank) == 1 and rank[0] >= 0
    return Value(True, (SOME,) * max(len(first), rank[0]) if known else None)  # type: ignore[arg-type, index]


def _of_shape(node: Node, inputs: list[Value]) -> Value:
    rank = inputs[0].shape
    if not inputs[0].positive:
        return NOTHING
    return Value(True, (SOME,) * rank[0] if rank is not None and len(rank) == 1 and rank[0] >= 0 else None)


def _range(node: Node, inputs: list[Value]) -> Value:
    if len(inputs) != 3:
        return NOTHING
    start, stop, step = inputs
    up = bool(start.numbers and step.numbers) and max(start.numbers) <= 0 < min(step.numbers)  # type: ignore[arg-type]
    return shaped((SOME if up and stop.positive and stop.filled else ANY,))


def _split(node: Node, inputs: list[Value]) -> Value:
    """Each part, as far as they are alike; where their sizes are not given, they are equal."""
    first = inputs[0]
    sizes = inputs[1].numbers if len(inputs) > 1 else None
    if first.shape is None or not first.filled or (len(inputs) > 1 and not inputs[1].positive):
        return Value(first.filled and (len(inputs) == 1 or inputs[1].positive))
    axis = _axis(node, len(first.shape))
    if axis is None:
        return NOTHING
    size = sizes[0] if sizes and len(set(sizes)) == 1 else SOME
    return shaped((*first.shape[:axis], size, *first.shape[axis + 1 :]))


def _matmul(node: Node, inputs: list[Value]) -> Value:
    filled = all(value.filled for value in inputs)
    if len(inputs) < 2 or inputs[0].shape is None or inputs[1].shape is None or len(inputs[1].shape) != 2:
        return Value(filled)
    return Value(filled, (*inputs[0].shape[:-1], inputs[1].shape[1]))


def _reduce(node: Node, inputs: list[Value]) -> Value:
    """Over axes that are given; over all of them where none are."""
    first = inputs[0]
    axes = (node.attributes.get("axis", 0),) if node.op_type == "ArgMax" else _axes(node, inputs, 1)
    if first.shape is None or not axes or not first.filled:
        return Value(first.filled)
    rank = len(first.shape)
    gone = {axis % rank for axis in axes if isinstance(axis, int)} if rank else set()
    if node.attributes.get("keepdims", 1) == 1:
        return shaped(tuple(1 if at in gone else size for at, size in enumerate(first.shape)))
    return shaped(tuple(size for at, size in enumerate(first.shape) if at not in gone))


def _convolution(node: Node, inputs: list[Value]) -> Value:
    """How many places it leaves is not followed: a kernel longer than the text is an error of its own."""
    first = inputs[0].shape
    if not all(value.filled for value in inputs) or first is None or len(first) < 3:
        return Value(all(value.filled for value in inputs))
    kernels = inputs[1].shape if len(inputs) > 1 else None
    channels = (kernels[0] if kernels else SOME) if node.op_type == "Conv" else first[1]
    return Value(True, (first[0], channels, *(SOME,) * (len(first) - 2)))


def _filled(node: Node, inputs: list[Value]) -> Value:
    """Of which no more is known: outputs of recurrences, and what goes into the bodies of control flow."""
    return Value(all(value.filled for value in inputs))


def _nothing(node: Node, inputs: list[Value]) -> Value:
    return NOTHING


_BY_PLACE = frozenset(
    (
        "Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min", "Mul", "Or",
        "PRelu", "Pow", "Sub", "Where",
    )
)  # fmt: skip
_LIKE_FIRST = (
    "Abs", "Cast", "Cos", "CumSum", "Erf", "Exp", "HardSigmoid", "HardSwish", "Identity", "LayerNormalization",
    "LeakyRelu", "Log", "LogSoftmax", "Neg", "Not", "QuantizeLinear", "Reciprocal", "Relu", "ReverseSequence",
    "ScatterND", "Selu", "Sigmoid", "Sin", "Softmax", "Softplus", "Softsign", "Sqrt", "Tanh",
)  # fmt: skip
_REDUCTIONS = (
    "ArgMax", "ReduceL2", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum",
)  # fmt: skip
_RULES: Mapping[str, Callable[[Node, list[Value]], Value]] = {
    **dict.fromkeys(_LIKE_FIRST, _like_first),
    **dict.fromkeys(_REDUCTIONS, _reduce),
    **dict.fromkeys(("AveragePool", "Conv", "MaxPool"), _convolution),
    **dict.fromkeys(("GRU", "If", "LSTM", "RNN", "Scan"), _filled),
    "Concat": _concat,
    "ConstantOfShape": _of_shape,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "MatMul": _matmul,
    "NonZero": _nothing,
    "Range": _range,
    "Reshape": _reshape,
    "Shape": _shape,
    "Size": _size,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
