"""Which values of a graph may have no numbers in them, whatever whole sentences it is given.

onnxruntime ends the process where an LSTM or GRU is given no rows (docs/upstream.md). A client never runs an empty
batch; but a graph can make one of any other, by a slice that holds nothing. This follows two properties from the inputs
on, each only where it is sure: *filled* (every axis has at least one place) and *positive* (whole numbers of at least
1, such as the sizes of what is filled).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .modelfile import Graph, Initializer, Node


@dataclass(frozen=True)
class Value:
    """What is known of a value.

    Attributes:
        filled: no axis of it has the size 0.
        positive: all its numbers, if any, are whole and at least 1.
        flat: it has one axis, and is a part of a shape.
        number: the number that it is, if it is one constant.
    """

    filled: bool = False
    positive: bool = False
    flat: bool = False
    number: int | None = None


NOTHING = Value()
FILLED = Value(filled=True)
_WIDE = (6, 7)
"""int32 and int64, as Cast calls them: they hold any size."""


def unfilled(graph: Graph, numbers: Callable[[Initializer], Sequence[int]], operators: frozenset[str]) -> str:
    """The name of the first of ``operators`` some input of which may be empty, or "" where there is none.

    Args:
        graph: nodes in order, each after what it reads, but for what control flow makes, of which nothing is known.
        numbers: the numbers of a constant of a whole type.
        operators: those of whose inputs all that are given have to be filled.
    """
    known = {name: FILLED for name in graph.inputs}
    return _walk(graph, known, numbers, operators)


def _walk(
    graph: Graph,
    known: dict[str, Value],
    numbers: Callable[[Initializer], Sequence[int]],
    operators: frozenset[str],
) -> str:
    known = known | {name: _constant(tensor, numbers) for name, tensor in graph.initializers.items()}
    for node in graph.nodes:
        inputs = [known.get(name, NOTHING) for name in node.inputs if name]
        if node.op_type in operators and not all(value.filled for value in inputs):
            return node.op_type
        for body in node.graphs.values():
            if found := _walk(body, known, numbers, operators):
                return found
        rule = _RULES.get(node.op_type, _plain)
        made = NOTHING if node.graphs else rule(node, inputs)
        known.update((name, made) for name in node.outputs if name)
    return ""


def _constant(tensor: Initializer, numbers: Callable[[Initializer], Sequence[int]]) -> Value:
    if tensor.dtype not in ("int32", "int64") or tensor.size > 64:
        return Value(filled=tensor.size > 0)
    found = [int(each) for each in numbers(tensor)]
    return Value(
        filled=bool(found),
        positive=all(each >= 1 for each in found),
        number=found[0] if len(found) == 1 else None,
    )


def _plain(node: Node, inputs: list[Value]) -> Value:
    """Of what is computed place by place, added up, multiplied or looked up: filled by what is filled."""
    return Value(filled=bool(inputs) and all(value.filled for value in inputs))


def _of_first(inputs: list[Value]) -> Value:
    return inputs[0] if inputs else NOTHING


def _laid_out(node: Node, inputs: list[Value]) -> Value:
    """The same numbers in another way; a narrower type may wrap them round to 0."""
    first = _of_first(inputs)
    if node.op_type == "Cast" and node.attributes.get("to") not in _WIDE:
        return Value(filled=first.filled)
    return Value(filled=first.filled, positive=first.positive, number=first.number)


def _shape(node: Node, inputs: list[Value]) -> Value:
    """Empty for what has no axes, or where only some are asked for."""
    return Value(positive=bool(inputs) and inputs[0].filled, flat=True)


def _size(node: Node, inputs: list[Value]) -> Value:
    return Value(filled=True, positive=bool(inputs) and inputs[0].filled)


def _gather(node: Node, inputs: list[Value]) -> Value:
    """Of a shape a place that is not there is an error of its own."""
    if len(inputs) < 2:
        return NOTHING
    data, ids = inputs[:2]
    return Value(filled=ids.filled and (data.filled or data.flat), positive=data.positive)


def _slice(node: Node, inputs: list[Value]) -> Value:
    first = _of_first(inputs)
    return Value(positive=first.positive, flat=first.flat)


def _concat(node: Node, inputs: list[Value]) -> Value:
    """What is put beside something that is filled is."""
    return Value(filled=any(value.filled for value in inputs), positive=all(value.positive for value in inputs))


def _widened(node: Node, inputs: list[Value]) -> Value:
    return Value(filled=len(inputs) > 1 and inputs[0].filled and inputs[1].positive)


def _of_shape(node: Node, inputs: list[Value]) -> Value:
    return Value(filled=bool(inputs) and inputs[0].positive)


def _range(node: Node, inputs: list[Value]) -> Value:
    if len(inputs) != 3:
        return NOTHING
    start, stop, step = inputs
    up = start.number is not None and start.number <= 0 and step.number is not None and step.number >= 1
    return Value(filled=up and stop.positive and stop.filled)


def _split(node: Node, inputs: list[Value]) -> Value:
    sizes = inputs[1].positive if len(inputs) > 1 else True
    return Value(filled=bool(inputs) and inputs[0].filled and sizes)


def _scattered(node: Node, inputs: list[Value]) -> Value:
    """As large as what is written into."""
    return Value(filled=bool(inputs) and inputs[0].filled)


def _nothing(node: Node, inputs: list[Value]) -> Value:
    return NOTHING


_RULES: Mapping[str, Callable[[Node, list[Value]], Value]] = {
    **dict.fromkeys(("Cast", "Identity", "Squeeze", "Unsqueeze", "Transpose", "Flatten", "Reshape"), _laid_out),
    "Shape": _shape,
    "Size": _size,
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "Expand": _widened,
    "ConstantOfShape": _of_shape,
    "Range": _range,
    "Split": _split,
    "ScatterND": _scattered,
    **dict.fromkeys(("ReduceSum", "ReverseSequence"), _scattered),
    "NonZero": _nothing,
}
