"""The rules of graphs, on graphs made for one of them each; files that break them are in test_hostile_models.py."""

from pathlib import Path

import numpy as np
import pytest

from lstm_deploy.graph_rules import IR_VERSION, MAX_ELEMENTS, MAX_INTEGER, MAX_RANGE, OPSET, problem
from lstm_deploy.modelfile import Graph, Initializer, ModelFile, Node

NO_IF = "its If is not the one of graph form scan_int8"


def node(op, *inputs, domain="", attributes=None, **graphs):
    return Node(op, domain, "", inputs or ("x",), ("y",), attributes or {}, graphs)


def body(*nodes):
    return Graph("body", list(nodes), inputs={"x": 2}, outputs=["y"])


def constant(array, name="c"):
    array = np.asarray(array)
    return Initializer(name, str(array.dtype), array.shape, memoryview(array.tobytes()))


def said(*nodes, constants=()):
    held = {each.name: each for each in constants}
    graph = Graph("g", list(nodes), held, inputs={"x": 3}, outputs=["y"])
    return problem(ModelFile(Path("m.onnx"), b"", "", ir_version=IR_VERSION, opsets={"": OPSET}, graph=graph))


RELU = body(node("Relu"))


def test_an_if_of_two_branches_is_let_in():
    assert said(node("If", then_branch=RELU, else_branch=RELU)) == ""


@pytest.mark.parametrize(
    "branches",
    [
        {"then_branch": RELU},
        {"else_branch": RELU},
        {"then_branch": RELU, "else_branch": RELU, "body": RELU},
        {"then_branch": RELU, "else_branch": body(node("Relu"), node("If", then_branch=RELU, else_branch=RELU))},
        {"then_branch": body(node("If", then_branch=RELU, else_branch=RELU)), "else_branch": RELU},
        {"then_branch": body(node("Scan", body=RELU)), "else_branch": RELU},
    ],
)
def test_an_if_of_another_shape_is_not(branches):
    assert said(node("If", **branches)) == NO_IF


def test_another_version_is_told_with_what_is_expected():
    file = ModelFile(Path("m.onnx"), b"", "", ir_version=IR_VERSION, opsets={"": OPSET, "com.microsoft": 1})
    expected = f"; expected {IR_VERSION} and ai.onnx {OPSET}"
    assert problem(file) == f"IR version {IR_VERSION} and opsets ai.onnx {OPSET}, com.microsoft 1{expected}"
    file.opsets = {}
    assert problem(file) == f"IR version {IR_VERSION} and opsets none{expected}"
    file.ir_version, file.opsets = IR_VERSION + 1, {"": OPSET}
    assert problem(file) == f"IR version {IR_VERSION + 1} and opsets ai.onnx {OPSET}{expected}"


def test_what_the_reader_forbade_comes_first():
    file = ModelFile(Path("m.onnx"), b"", "", forbidden="it has functions")
    assert problem(file) == "it has functions"


def test_operators_that_no_tagger_needs():
    assert said(node("Relu")) == ""
    assert said(node("Loop", body=RELU)) == "the operator Loop is none that a tagger needs"
    assert said(node("Relu", body=RELU)) == "the operator Relu has a graph"
    assert said(node("Relu", domain="com.x")) == "the operator Relu is of the domain com.x; expected ai.onnx alone"
    inside = node("If", then_branch=RELU, else_branch=body(node("Loop")))
    assert said(inside) == "the operator Loop is none that a tagger needs"


def test_inputs_left_out():
    assert said(node("LSTM", "x", "")) == ""
    assert said(node("Relu", "")) == "an input of the operator Relu is left out"


@pytest.mark.parametrize(
    ("name", "number", "says"),
    [
        ("axis", MAX_INTEGER, ""),
        ("axis", -MAX_INTEGER, ""),
        (
            "axis",
            MAX_INTEGER + 1,
            f"the attribute axis of Relu is ({MAX_INTEGER + 1},); expected at most {MAX_INTEGER}",
        ),
        ("axes", (0, -MAX_INTEGER - 1), f"the attribute axes of Relu is (0, {-MAX_INTEGER - 1}); expected at most"),
        ("alpha", 1e30, ""),
        ("batch_dims", 0, ""),
        ("batch_dims", -1, "the attribute batch_dims of Relu is (-1,); expected at least 0"),
        ("group", 1, ""),
        ("group", 0, "the attribute group of Relu is (0,); expected at least 1"),
        ("strides", (1, 2), ""),
        ("strides", (1, 0), "the attribute strides of Relu is (1, 0); expected at least 1"),
    ],
)
def test_attributes_within_limits(name, number, says):
    found = said(node("Relu", attributes={name: number}))
    assert found.startswith(says) and bool(found) == bool(says)


def test_a_constant_as_an_attribute_is_a_constant():
    assert said(node("Relu", attributes={"value": constant(np.float32(1))})) == ""
    assert said(node("Relu", attributes={"value": constant(np.float32(np.nan))})) == "the constant c holds inf or nan"


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("number", [np.inf, -np.inf, np.nan])
def test_constants_are_numbers(dtype, number):
    assert said(node("Relu"), constants=[constant(np.array([1, number], dtype))]) == "the constant c holds inf or nan"
    assert said(node("Relu"), constants=[constant(np.array([1, 2], dtype))]) == ""


def test_halves_are_written_as_their_bits():
    halves = [Initializer("c", "float16", (1,), memoryview(b""), (bits,)) for bits in (0x3C00, 0x7C00)]
    assert said(node("Relu"), constants=halves[:1]) == ""
    assert said(node("Relu"), constants=halves[1:]) == "the constant c holds inf or nan"


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_whole_numbers_within_limits(dtype):
    ends = [np.iinfo(dtype).min, np.iinfo(dtype).max]
    assert said(node("Relu"), constants=[constant(np.array([MAX_INTEGER, -MAX_INTEGER, *ends], dtype))]) == ""
    for number in (MAX_INTEGER + 1, -MAX_INTEGER - 1):
        expected = f"the constant c holds {number}; expected at most {MAX_INTEGER}"
        assert said(node("Relu"), constants=[constant(np.array([number, 1], dtype))]) == expected
    single = Initializer("c", "int64", (1,), memoryview(b""), (MAX_INTEGER + 1,))
    assert (
        said(node("Relu"), constants=[single])
        == f"the constant c holds {MAX_INTEGER + 1}; expected at most {MAX_INTEGER}"
    )


def test_a_range_within_limits():
    inputs = ("x", "stop", "x")
    for number in (MAX_RANGE, -MAX_RANGE):
        assert said(node("Range", *inputs), constants=[constant(number, "stop")]) == ""
    for number in (MAX_RANGE + 1, -MAX_RANGE - 1):
        found = said(node("Range", *inputs), constants=[constant(number, "stop")])
        assert found == f"a Range goes by stop, which holds {number}"
    assert said(node("Add", *inputs), constants=[constant(MAX_RANGE + 1, "stop")]) == ""


@pytest.mark.parametrize(
    ("op", "inputs"), [("ConstantOfShape", ("s",)), ("Expand", ("x", "s")), ("Reshape", ("x", "s"))]
)
def test_values_within_limits(op, inputs):
    for shape in ([MAX_ELEMENTS // 16, 16], [MAX_ELEMENTS // 16, 0, -16]):
        assert said(node(op, *inputs), constants=[constant(shape, "s")]) == ""
    for shape in ([MAX_ELEMENTS // 16, 17], [MAX_ELEMENTS // 16, 0, -17]):
        found = said(node(op, *inputs), constants=[constant(shape, "s")])
        assert found == f"the operator {op} makes a value of shape {shape}"
    assert said(node("Add", "x", "s"), constants=[constant([MAX_ELEMENTS // 16, 17], "s")]) == ""
    assert said(node(op, *inputs[:-1], "x")) == ""


def test_a_constant_with_the_name_of_an_input():
    assert said(node("Relu"), constants=[constant(1, "x")]) == "the constant x has the name of an input"


def test_constants_of_the_graph_are_known_in_its_branches():
    inside = node("If", then_branch=RELU, else_branch=body(node("Range", "x", "stop", "x")))
    assert said(inside, constants=[constant(MAX_RANGE + 1, "stop")]).startswith("a Range goes by stop")
