"""What each operator's sizes are taken for, as the ONNX specification has them; tests/fuzz tries whether it holds."""

from functools import partial

import numpy as np
import pytest

from lstm_deploy.emptiness import ANY, NOTHING, SOME, Value, unfilled, values
from lstm_deploy.modelfile import Graph, Initializer, Node

FAR = 2**31
FLOAT = np.float32
W = np.ones((2, 3, 4), FLOAT)
"""A constant with another size on each axis."""
NONE = np.ones((0, 3), FLOAT)
ALL_SOME = (SOME, SOME, SOME)
FROM_ONE = dict(one=np.array([1]), far=np.array([FAR]), axis=np.array([0]))


def at(op, inputs="", **attributes):
    """An operator; what it gives is named by its place, from 1."""
    return op, inputs, attributes


MAYBE = at("Slice", "x one far axis")
"""x without its first row: there may be none left. To be given with FROM_ONE."""


def graph_of(steps, constants):
    nodes = [
        Node(op, "", "", tuple("" if name == "-" else name for name in inputs.split()), (str(place),), attributes)
        for place, (op, inputs, attributes) in enumerate(steps, 1)
    ]
    arrays = {name: np.asarray(value) for name, value in constants.items()}
    held = {
        name: Initializer(name, str(array.dtype), array.shape, memoryview(array.tobytes()))
        for name, array in arrays.items()
    }
    return Graph("g", nodes, held), lambda tensor: arrays[tensor.name].ravel().tolist()


def known(*steps, x=3, **constants):
    """What is known of the last of the steps, of a graph whose input x has that many axes."""
    graph, numbers = graph_of(steps, constants)
    return values(graph, {"x": x}, numbers)[str(len(steps))]


def later(*steps, **given):
    """`known`, once it is called: what is worked out while tests are collected tests nothing."""
    return partial(known, *steps, **given)


def filled(*shape, **more):
    return Value(True, shape, **more)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([1, 2]), filled(2, positive=True, numbers=(1, 2))),
        (np.array([1, 2], np.int32), filled(2, positive=True, numbers=(1, 2))),
        (np.array([1, 0]), filled(2, numbers=(1, 0))),
        (np.array([1, 2**31 - 1]), filled(2, positive=True, numbers=(1, 2**31 - 1))),
        (np.array([1, 2**31]), filled(2, numbers=(1, 2**31))),
        (np.array(5), filled(positive=True, numbers=(5,))),
        (np.array([], np.int64), Value(False, (0,), True, ())),
        (np.ones(64, np.int64), filled(64, positive=True, numbers=(1,) * 64)),
        (np.ones(65, np.int64), filled(65)),
        (np.ones(2, np.uint8), filled(2)),
        (W, filled(2, 3, 4)),
        (NONE, Value(False, (0, 3))),
    ],
)  # fmt: skip
def test_constants(array, expected):
    assert known(at("Identity", "c"), c=array) == expected


NUMBERS = filled(2, positive=True, numbers=(1, 2))
RULES = {
    "input": (filled(SOME, SOME), later(at("Identity", "x"), x=2)),
    "nothing goes in": (NOTHING, later(at("Range"))),
    "cast to int32": (NUMBERS, later(at("Cast", "c", to=6), c=[1, 2])),
    "cast to int32, wrapped round": (filled(2), later(at("Cast", "c", to=6), c=[1, 2**31])),
    "cast to int32, wrapped round from the end": (filled(1), later(at("Cast", "c", to=6), c=[2**63 - 1])),
    "cast to int32 as it is": (
        filled(2, numbers=(2**31 - 1, -(2**31))), later(at("Cast", "c", to=6), c=[2**31 - 1, -(2**31)])
    ),
    "cast to int64, whatever it is": (filled(1, numbers=(2**40,)), later(at("Cast", "c", to=7), c=[2**40])),
    "cast to int32, less than all known": (
        filled(2, positive=True), later(at("Gather", "c i"), at("Cast", "1", to=6), c=[1, 2], i=[0, 0])
    ),
    "cast to int32, less than all known, wrapped round": (
        filled(2), later(at("Gather", "c i"), at("Cast", "1", to=6), c=[1, 2**31], i=[1, 1])
    ),
    "cast to int64": (NUMBERS, later(at("Cast", "c", to=7), c=[1, 2])),
    "cast to a byte, where 256 is 0": (filled(2), later(at("Cast", "c", to=2), c=[1, 2])),
    "negated": (filled(2), later(at("Neg", "c"), c=[1, 2])),
    "a function of each number": (Value(False, (ANY, SOME, SOME)), later(MAYBE, at("Relu", "1"), **FROM_ONE)),
    # what is computed place by place
    "wider": (filled(2, 3), later(at("Add", "a b"), a=np.ones((2, 1), FLOAT), b=np.ones(3, FLOAT))),
    "one and one": (filled(1), later(at("Mul", "a a"), a=np.ones(1, FLOAT))),
    "some and one": (filled(SOME, SOME), later(at("Sub", "x a"), a=np.ones(1, FLOAT), x=2)),
    "some and three": (filled(SOME, 3), later(at("Where", "x x a"), a=np.ones(3, FLOAT), x=2)),
    "any and one": (Value(False, (ANY, SOME, SOME)), later(MAYBE, at("Add", "1 a"), a=FLOAT(1), **FROM_ONE)),
    "any and some": (Value(False, (ANY, SOME, SOME)), later(MAYBE, at("Add", "x 1"), **FROM_ONE)),
    "none and some": (Value(False, (ANY, 3)), later(at("Add", "x a"), a=NONE, x=2)),
    "no more than filled": (Value(True), later(at("Einsum", "x x"))),
    "one of them not filled": (NOTHING, later(MAYBE, at("Einsum", "x 1"), **FROM_ONE)),
    "a shape that is not known": (Value(True), later(at("LSTM", "x x"), at("Add", "x 1"))),
    # the order of axes
    "turned round": (filled(4, 3, 2), later(at("Transpose", "w"), w=W)),
    "in an order": (filled(3, 2, 4), later(at("Transpose", "w", perm=(1, 0, 2)), w=W)),
    "an axis twice": (NOTHING, later(at("Transpose", "w", perm=(0, 0, 1)), w=W)),
    "too few axes": (NOTHING, later(at("Transpose", "w", perm=(0, 1)), w=W)),
    "transposed, empty": (Value(False, (3, 0)), later(at("Transpose", "w"), w=NONE)),
    "transposed, unknown": (Value(True), later(at("LSTM", "x"), at("Transpose", "1"))),
    # axes more and fewer
    "one more": (filled(1, 1, positive=True, numbers=(5,)), later(at("Unsqueeze", "c a"), c=[5], a=[0])),
    "two more": (filled(1, SOME, 1, SOME), later(at("Unsqueeze", "x a"), a=[0, 2], x=2)),
    "from the end": (filled(SOME, SOME, 1), later(at("Unsqueeze", "x", axes=(-1,)), x=2)),
    "unsqueezed along what is not known": (
        Value(True, None, True), later(at("Shape", "x"), at("Unsqueeze", "c 1"), c=[5])
    ),
    "unsqueezed along no numbers": (Value(True), later(at("Unsqueeze", "x", axes=(b"0",)))),
    "unsqueezed, axes forgotten": (Value(True), later(at("Unsqueeze", "x"))),
    "unsqueezed, unknown": (Value(True), later(at("LSTM", "x"), at("Unsqueeze", "1 a"), a=[0])),
    "an axis named twice": (Value(True, (1, SOME, SOME, ANY)), later(at("Unsqueeze", "x a"), a=[0, 0], x=2)),
    "unsqueezed, empty": (Value(False, (1, 0, 3)), later(at("Unsqueeze", "w a"), w=NONE, a=[0])),
    "one fewer": (filled(2, 4), later(at("Squeeze", "w a"), w=W[:, :1], a=[1])),
    "the last fewer": (filled(2, 3), later(at("Squeeze", "w", axes=(-1,)), w=W[..., :1])),
    "two fewer": (filled(3), later(at("Squeeze", "w a"), w=W[:1, :, :1], a=[0, 2])),
    "a number": (filled(positive=True, numbers=(5,)), later(at("Squeeze", "c a"), c=[5], a=[0])),
    "the axis that may be empty goes": (
        filled(SOME, SOME), later(MAYBE, at("Squeeze", "1 axis"), **FROM_ONE)
    ),
    "another goes": (Value(False, (ANY, SOME)), later(MAYBE, at("Squeeze", "1 a"), a=[1], **FROM_ONE)),
    "all that are 1 go": (Value(True, None, True), later(at("Squeeze", "c"), c=[5])),
    "none go": (Value(True), later(at("Squeeze", "x a"), a=np.array([], np.int64))),
    "squeezed, unknown": (Value(True), later(at("LSTM", "x"), at("Squeeze", "1 a"), a=[0])),
    "squeezed, no axes at all": (filled(), later(at("Squeeze", "x a"), a=[0], x=0)),
    # other shapes
    "reshaped": (filled(SOME, SOME, 4, 1), later(at("Reshape", "x s"), s=[0, -1, 4, 1])),
    "counts, reshaped": (filled(3, positive=True), later(at("Shape", "x"), at("Reshape", "1 s"), s=[3])),
    "no size": (Value(True), later(at("Reshape", "x s"), s=[-2])),
    "reshaped as is not known": (Value(True), later(at("Shape", "x"), at("Reshape", "x 1"))),
    "reshaped as nothing says": (Value(True), later(at("Reshape", "x"))),
    "counts, reshaped as is not known": (
        Value(True, None, True), later(at("Shape", "x"), at("Reshape", "1 1"))
    ),
    "reshaped, maybe empty": (NOTHING, later(MAYBE, at("Reshape", "1 s"), s=[1, -1], **FROM_ONE)),
    "flat": (filled(SOME, SOME), later(at("Flatten", "x"))),
    "flat, maybe empty": (NOTHING, later(MAYBE, at("Flatten", "1"), **FROM_ONE)),
    # shapes as numbers
    "shape": (filled(3, positive=True), later(at("Shape", "x"))),
    "shape from an axis on": (Value(False, (ANY,), True), later(at("Shape", "x", start=1))),
    "shape up to an axis": (Value(False, (ANY,), True), later(at("Shape", "x", end=2))),
    "shape of what may be empty": (filled(3), later(MAYBE, at("Shape", "1"), **FROM_ONE)),
    "shape of what has none": (Value(False, (0,), True), later(at("Shape", "x"), x=0)),
    "shape that is not known": (Value(False, (ANY,), True), later(at("LSTM", "x"), at("Shape", "1"))),
    "size": (filled(positive=True), later(at("Size", "x"))),
    "size of what may be empty": (filled(), later(MAYBE, at("Size", "1"), **FROM_ONE)),
    # what is looked up
    "rows": (filled(2, SOME, SOME), later(at("Gather", "x i"), i=[0, 1])),
    "columns": (filled(2, 5, 4), later(at("Gather", "w i", axis=1), w=W, i=np.zeros(5, np.int64))),
    "the last axis": (filled(2, 3, 5), later(at("Gather", "w i", axis=-1), w=W, i=np.zeros(5, np.int64))),
    "one place": (filled(2, 4), later(at("Gather", "w i", axis=1), w=W, i=0)),
    "one of the counts": (filled(positive=True), later(at("Shape", "x"), at("Gather", "1 i"), i=0)),
    "no such axis": (NOTHING, later(at("Gather", "x i", axis=3), i=0)),
    "no such axis from the end": (NOTHING, later(at("Gather", "x i", axis=-4), i=0)),
    "the first from the end": (filled(3, 4), later(at("Gather", "w i", axis=-3), w=W, i=0)),
    "an axis that is no number": (NOTHING, later(at("Gather", "x i", axis=b"0"), i=0)),
    "of no axes": (NOTHING, later(at("Gather", "x i"), i=0, x=0)),
    "of what may be empty": (filled(2, SOME, SOME), later(MAYBE, at("Gather", "1 i"), i=[0, 0], **FROM_ONE)),
    "of what may be empty on another axis": (
        Value(False, (ANY, 2, SOME)), later(MAYBE, at("Gather", "1 i", axis=1), i=[0, 0], **FROM_ONE)
    ),
    "of what is not known": (Value(True), later(at("LSTM", "x"), at("Gather", "1 i"), i=0)),
    "at what is not known": (Value(True), later(at("LSTM", "x"), at("Gather", "x 1"))),
    "at what is found": (NOTHING, later(at("NonZero", "x"), at("Gather", "x 1"))),
    "of what is found": (NOTHING, later(at("NonZero", "x"), at("Gather", "1 i"), i=0)),
    "ids forgotten": (NOTHING, later(at("Gather", "x"))),
    "what is found": (NOTHING, later(at("NonZero", "x"))),
    # beside one another
    "added up": (filled(3, 3), later(at("Concat", "a b"), a=np.ones((2, 3), FLOAT), b=np.ones((1, 3), FLOAT))),
    "along the last": (filled(SOME, SOME), later(at("Concat", "x x", axis=-1), x=2)),
    "the other axes of one": (
        filled(2, SOME), later(at("Concat", "x a", axis=1), a=np.ones((2, 3), FLOAT), x=2)
    ),
    "both empty": (Value(False, (0, 3)), later(at("Concat", "a a", axis=0), a=NONE)),
    "one filled": (
        filled(SOME, SOME, SOME), later(MAYBE, at("Concat", "1 x", axis=0), **FROM_ONE)
    ),
    "neither filled": (
        Value(False, (ANY, SOME, SOME)), later(MAYBE, at("Concat", "1 1", axis=0), **FROM_ONE)
    ),
    "counts": (filled(4, positive=True), later(at("Shape", "x"), at("Concat", "1 c", axis=0), c=[1])),
    "counts and a zero": (filled(4), later(at("Shape", "x"), at("Concat", "1 c", axis=0), c=[0])),
    "of other ranks": (Value(True, None, True), later(at("Concat", "a b", axis=0), a=[1], b=1)),
    "joined unknown": (Value(True), later(at("LSTM", "x"), at("Concat", "1 x", axis=0))),
    "first unknown": (Value(True), later(at("LSTM", "x"), at("Concat", "x 1", axis=0))),
    "along no axis": (NOTHING, later(at("Concat", "x x", axis=3))),
    # made as large
    "larger": (filled(SOME, SOME, SOME, SOME), later(at("Expand", "x s"), s=[2, 1, 1, 1])),
    "as large": (filled(SOME, SOME, SOME), later(at("Expand", "x s"), s=[1])),
    "as nothing": (NOTHING, later(at("Expand", "x s"), s=[0])),
    "from what may be empty": (NOTHING, later(MAYBE, at("Expand", "1 s"), s=[1], **FROM_ONE)),
    "as large as is not known": (Value(True), later(at("Shape", "x", start=1), at("Expand", "x 1"))),
    "of a shape that is no list": (Value(True), later(at("Expand", "x s"), s=[[1, 2]])),
    "expanded, unknown": (Value(True), later(at("LSTM", "x"), at("Expand", "1 s"), s=[1])),
    "as large as it forgot to say": (NOTHING, later(at("Expand", "x"))),
    "of a shape": (filled(SOME, SOME), later(at("ConstantOfShape", "s"), s=[2, 3])),
    "of a shape with a zero": (NOTHING, later(at("ConstantOfShape", "s"), s=[2, 0])),
    "of some shape": (Value(True), later(at("Shape", "x", start=1), at("ConstantOfShape", "1"))),
    "of a number": (Value(True), later(at("ConstantOfShape", "s"), s=2)),
    # counting
    "to a count": (filled(SOME), later(at("Size", "x"), at("Range", "a 1 b"), a=0, b=1)),
    "from below 0": (filled(SOME), later(at("Size", "x"), at("Range", "a 1 b"), a=-1, b=3)),
    "from 1": (Value(False, (ANY,)), later(at("Size", "x"), at("Range", "a 1 a"), a=1)),
    "by 0": (Value(False, (ANY,)), later(at("Size", "x"), at("Range", "a 1 a"), a=0)),
    "by what is not known": (Value(False, (ANY,)), later(at("Size", "x"), at("Range", "a 1 1"), a=0)),
    "from what is not known": (Value(False, (ANY,)), later(at("Size", "x"), at("Range", "1 1 a"), a=1)),
    "to what may be 0": (Value(False, (ANY,)), later(MAYBE, at("Size", "1"), at("Range", "a 2 one"), a=0, **FROM_ONE)),
    "to none": (Value(False, (ANY,)), later(at("Shape", "x"), at("Range", "a 1 b"), a=0, b=1, x=0)),
    "by nothing": (NOTHING, later(at("Range", "a a"), a=1)),
    # products
    "times a table": (filled(SOME, SOME, 4), later(at("MatMul", "x w"), w=np.ones((3, 4), FLOAT))),
    "times a row": (Value(True), later(at("MatMul", "x w"), w=np.ones(3, FLOAT))),
    "times many tables": (Value(True), later(at("MatMul", "x w"), w=W)),
    "by itself": (Value(True), later(at("MatMul", "x"))),
    "times an empty table": (Value(False, (SOME, 3)), later(at("MatMul", "x w"), w=NONE, x=2)),
    "unknown times a table": (Value(True), later(at("LSTM", "x"), at("MatMul", "1 w"), w=np.ones((3, 4), FLOAT))),
    "times unknown": (Value(True), later(at("LSTM", "x"), at("MatMul", "x 1"))),
    # reductions
    "one axis": (filled(2, 1, 4), later(at("ReduceMax", "w", axes=(1,)), w=W)),
    "the last axis kept": (filled(2, 3, 1), later(at("ReduceSum", "w a"), w=W, a=[-1])),
    "one axis gone": (filled(2, 4), later(at("ReduceMean", "w", axes=(1,), keepdims=0), w=W)),
    "two axes gone": (filled(3), later(at("ReduceSum", "w a", keepdims=0), w=W, a=[0, 2])),
    "all axes": (Value(True), later(at("ReduceSum", "w"), w=W)),
    "over no axes at all": (filled(), later(at("ReduceSum", "x a"), a=[0], x=0)),
    "the largest": (filled(1, 3, 4), later(at("ArgMax", "w"), w=W)),
    "the largest of a row": (filled(2, 3), later(at("ArgMax", "w", axis=-1, keepdims=0), w=W)),
    "the largest, whatever else goes in": (filled(1, SOME), later(at("ArgMax", "x a"), a=[1], x=2)),
    "of what may have none": (NOTHING, later(MAYBE, at("ReduceMax", "1", axes=(1,)), **FROM_ONE)),
    "reduced, unknown": (Value(True), later(at("LSTM", "x"), at("ReduceMax", "1", axes=(1,)))),
    # convolutions
    "channels of the kernel": (filled(2, 5, SOME), later(at("Conv", "w k"), w=W, k=np.ones((5, 3, 2), FLOAT))),
    "as many channels": (filled(2, 3, SOME), later(at("MaxPool", "w"), w=W)),
    "of an image": (filled(SOME, SOME, SOME, SOME), later(at("AveragePool", "x"), x=4)),
    "a kernel that is not known": (filled(2, SOME, SOME), later(at("LSTM", "x"), at("Conv", "w 1"), w=W)),
    "a kernel that is not there": (filled(2, SOME, SOME), later(at("Conv", "w"), w=W)),
    "of no text": (Value(True), later(at("MaxPool", "x"), x=2)),
    "of what is not known, smoothed": (Value(True), later(at("LSTM", "x"), at("MaxPool", "1"))),
    "of maybe nothing": (NOTHING, later(MAYBE, at("MaxPool", "1"), **FROM_ONE)),
    "with an empty kernel": (NOTHING, later(at("Conv", "w k"), w=W, k=np.ones((0, 3, 2), FLOAT))),
    # recurrences
    "all filled": (Value(True), later(at("LSTM", "x w - x"), w=W)),
    "one that may be empty": (NOTHING, later(MAYBE, at("GRU", "x 1"), **FROM_ONE)),
}  # fmt: skip


@pytest.mark.parametrize("case", RULES)
def test_what_is_known(case):
    expected, found = RULES[case]
    assert found() == expected


@pytest.mark.parametrize(
    ("start", "end", "step", "size"),
    [
        (0, 1, 1, SOME), (0, 1, 2, SOME), (0, 1, FAR - 1, SOME), (0, 1, FAR, ANY), (-1, -FAR, -FAR, ANY),
        (0, FAR, 1, SOME), (0, 0, 1, ANY), (0, -1, 1, ANY), (1, FAR, 1, ANY),
        (-1, FAR, 1, SOME), (-1, FAR - 1, 1, SOME), (-1, FAR - 2, 1, ANY), (-3, FAR, 2, SOME), (-1, 1, 1, ANY),
        (-1, -FAR, -1, SOME), (FAR, -FAR, -1, SOME), (2**63 - 1, -(2**63), -2, SOME), (-1, -FAR + 1, -1, ANY),
        (0, -FAR, -1, ANY), (-2, -FAR, -1, ANY), (-1, 0, -1, ANY), (-1, -FAR, 1, ANY),
    ],
)  # fmt: skip
def test_part_of_an_axis_of_some_size(start, end, step, size):
    """Of a size from 1 on; where 1 leaves something, larger ones do."""
    found = known(at("Slice", "x s e a t"), s=[start], e=[end], a=[1], t=[step])
    assert found == Value(size == SOME, (SOME, size, SOME))
    last = None if step < 0 and end <= -FAR else end
    assert size == ANY or all(range(n)[start:last:step] for n in (1, 2, 3, 50))


@pytest.mark.parametrize(
    ("start", "end", "step", "size"),
    [
        (1, 3, 1, 2), (0, 9, 2, 2), (-1, -9, -1, 4), (-1, -4, -1, 3), (-1, -5, -1, 4), (3, 0, -2, 2), (2, 2, 1, 0),
        (-9, 9, 3, 2), (-2, FAR, 1, 2), (-4, -9, -1, 1), (9, -9, -1, 4), (3, 9, -1, 0), (-9, -9, -1, ANY),
        (3, FAR - 1, -1, ANY), (3, 2**63 - 1, -1, ANY), (0, 4, FAR - 1, 1), (0, 4, FAR, ANY), (3, -9, -FAR, ANY),
        (4, 9, 1, 0), (0, FAR - 1, 1, 4),
    ],
)  # fmt: skip
def test_part_of_an_axis_that_is_known(start, end, step, size):
    """Of 4 places. Where ONNX and onnxruntime differ, or a number may run over, nothing is said."""
    found = known(at("Slice", "w s e a t"), w=np.ones((2, 4), FLOAT), s=[start], e=[end], a=[-1], t=[step])
    assert found == Value(size > 0, (2, size))


SLICES = {
    "all axes": (filled(1, 2, 4), later(at("Slice", "w s e"), w=W, s=[0, 1], e=[1, 3])),
    "one step for each": (filled(2, 2, 4), later(at("Slice", "w s e a"), w=W, s=[1], e=[3], a=[1])),
    "of counts": (filled(2, positive=True), later(at("Shape", "x"), at("Slice", "1 s e"), s=[0], e=[2])),
    "from where is not known": (
        Value(positive=True), later(at("Shape", "x"), at("Slice", "1 1 e"), e=[1])
    ),
    "to where is not known": (NOTHING, later(at("Shape", "x"), at("Slice", "x s 1"), s=[0])),
    "of what is not known": (NOTHING, later(at("LSTM", "x"), at("Slice", "1 s e"), s=[0], e=[1])),
    "without an end": (NOTHING, later(at("Slice", "x s"), s=[0])),
    "no such axis": (NOTHING, later(at("Slice", "x s e a"), s=[0], e=[1], a=[3])),
    "no such axis from the end": (NOTHING, later(at("Slice", "x s e a"), s=[0], e=[1], a=[-4])),
    "the first from the end": (filled(1, 3, 4), later(at("Slice", "w s e a"), w=W, s=[0], e=[1], a=[-3])),
    "no step": (NOTHING, later(at("Slice", "x s e a t"), s=[0], e=[1], a=[0], t=[0])),
    "more ends": (NOTHING, later(at("Slice", "x s e a"), s=[0], e=[1, 1], a=[0])),
    "more axes": (NOTHING, later(at("Slice", "x s e a"), s=[0], e=[1], a=[0, 1])),
    "more steps": (NOTHING, later(at("Slice", "x s e a t"), s=[0], e=[1], a=[0], t=[1, 1])),
    "of what may be empty": (
        Value(False, (ANY, SOME, SOME)), later(MAYBE, at("Slice", "1 s e"), s=[0], e=[1], **FROM_ONE)
    ),
    "of none": (Value(False, (0, 3)), later(at("Slice", "w s e"), w=NONE, s=[0], e=[1])),
}  # fmt: skip


@pytest.mark.parametrize("case", SLICES)
def test_slices(case):
    expected, found = SLICES[case]
    assert found() == expected


def parts(inputs, *steps, outputs=2, x=3, axis=0, **constants):
    """What is known of each output of a Split after the steps."""
    graph, numbers = graph_of(steps, constants)
    made = tuple(f"y{i}" for i in range(outputs))
    graph.nodes.append(Node("Split", "", "", tuple(inputs.split()), made, {"axis": axis}))
    found = values(graph, {"x": x}, numbers)
    return [found[name] for name in made]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (partial(parts, "x"), filled(SOME, SOME, SOME)),
        (partial(parts, "w", axis=-1, w=W), filled(2, 3, SOME)),
        (partial(parts, "w s", axis=1, w=W, s=[2, 2]), filled(2, 2, 4)),
        (partial(parts, "w s", axis=1, w=W, s=[1, 2]), filled(2, SOME, 4)),
        (partial(parts, "w s", axis=1, w=W, s=[0, 3]), NOTHING),
        (partial(parts, "x 1", at("Shape", "x")), filled(SOME, SOME, SOME)),
        (partial(parts, "x 2", MAYBE, at("Shape", "1"), **FROM_ONE), NOTHING),
        (partial(parts, "1", MAYBE, **FROM_ONE), NOTHING),
        (partial(parts, "1 s", at("LSTM", "x"), s=[1, 1]), Value(True)),
        (partial(parts, "1 s", at("LSTM", "x"), s=[0, 1]), NOTHING),
        (partial(parts, "1", at("LSTM", "x")), Value(True)),
        (partial(parts, "x", axis=3), NOTHING),
    ],
)
def test_parts_are_alike(found, expected):
    assert found() == [expected, expected]


def test_of_further_outputs_no_more_is_known_than_that_they_are_filled():
    graph, numbers = graph_of([at("MaxPool", "w")], {"w": W})
    graph.nodes[0] = Node("MaxPool", "", "", ("w",), ("y", "", "places"))
    found = values(graph, {}, numbers)
    assert found["y"] == filled(2, 3, SOME)
    assert found["places"] == Value(True)
    assert "" not in found


def body(*nodes, inputs=("row",), outputs=("out",)):
    return Graph("body", list(nodes), {}, dict.fromkeys(inputs, 2), list(outputs))


def step(op, inputs, output, **graphs):
    return Node(op, "", "", tuple(inputs.split()), (output,), {}, graphs)


def looked_through(*nodes, operators=("LSTM",)):
    graph, numbers = graph_of([], {})
    graph.nodes.extend(nodes)
    return unfilled(graph, {"x": 3}, numbers, frozenset(operators))


def test_an_operator_that_may_be_given_nothing_is_named():
    assert looked_through(step("LSTM", "x", "y")) == ""
    assert looked_through(step("NonZero", "x", "n"), step("LSTM", "x n", "y")) == "LSTM"
    assert looked_through(step("NonZero", "x", "n"), step("GRU", "n", "y"), step("LSTM", "y", "z")) == "LSTM"
    assert looked_through(step("NonZero", "x", "n"), step("GRU", "n", "y"), operators=("LSTM", "GRU")) == "GRU"
    assert looked_through(step("NonZero", "x", "n"), step("GRU", "n", "y")) == ""
    assert looked_through(step("LSTM", "never", "y")) == "LSTM"


def test_in_the_bodies_of_control_flow():
    inside = step("LSTM", "row", "out")
    assert looked_through(step("Scan", "x", "y", body=body(inside))) == ""
    assert looked_through(step("NonZero", "x", "n"), step("Scan", "n", "y", body=body(inside))) == "LSTM"
    outer = step("LSTM", "x", "out")
    assert looked_through(step("NonZero", "x", "n"), step("Scan", "n", "y", body=body(outer))) == ""
    shadowed = body(outer, inputs=("x",))
    assert looked_through(step("NonZero", "x", "n"), step("Scan", "n", "y", body=shadowed)) == "LSTM"
    found = (step("NonZero", "row", "none"), step("LSTM", "none", "out"))
    assert looked_through(step("If", "x", "y", then_branch=body(inside), else_branch=body(*found))) == "LSTM"
    assert looked_through(step("If", "x", "y", then_branch=body(*found), else_branch=body(inside))) == "LSTM"


def test_what_control_flow_gives_is_as_filled_as_what_its_bodies_give():
    whole, none = body(step("Relu", "row", "out")), body(step("NonZero", "row", "out"))
    after = step("LSTM", "y", "z")
    assert looked_through(step("Scan", "x", "y", body=whole), after) == ""
    assert looked_through(step("Scan", "x", "y", body=none), after) == "LSTM"
    assert looked_through(step("If", "x", "y", a=whole, b=none), after) == "LSTM"
    assert looked_through(step("If", "x", "y", a=none, b=whole), after) == "LSTM"
    assert looked_through(step("If", "x", "y", a=whole, b=whole), after) == ""
    missing = body(step("Relu", "row", "out"), outputs=("out", "other"))
    assert looked_through(step("Scan", "x", "y", body=missing), after) == "LSTM"
    assert looked_through(step("NonZero", "x", "n"), step("If", "n", "y", a=body()), after) == "LSTM"
    graph, numbers = graph_of([], {})
    graph.nodes.append(step("Scan", "x", "y", body=whole))
    found = values(graph, {"x": 3}, numbers)
    assert found["y"] == Value(True)
    assert "out" not in found and "row" not in found
