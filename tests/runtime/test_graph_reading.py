"""What the reader of model files makes of each part of a message, and the words for what it will not have."""

import struct
from pathlib import Path

import pytest
from model_files import TUTORIAL, field, varint
from onnx_messages import Message

from lstm_deploy.errors import NotOnnxError
from lstm_deploy.modelfile import MAX_NAME, ModelFile, parse_model_file

ESCAPE = b"\x1b[2J"


def number(key, value):
    return varint(key << 3) + varint(value % 2**64)


def real(key, value):
    return varint(key << 3 | 5) + struct.pack("<f", value)


def attribute(kind, *fields):
    return field(1, b"a") + number(20, kind) + b"".join(fields)


def node(*fields):
    return field(1, field(4, b"Relu") + b"".join(fields))


def read(graph=b"", *more):
    data = number(1, 8) + field(7, graph or node()) + b"".join(more)
    return parse_model_file(ModelFile(Path("m.onnx"), data, ""))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (attribute(1, real(2, 1.5)), 1.5),
        (attribute(2, number(3, -3)), -3),
        (attribute(3, field(4, b"ab")), b"ab"),
        (attribute(6, real(7, 1.5), real(7, -2.0)), (1.5, -2.0)),
        (attribute(6, field(7, struct.pack("<2f", 1.5, -2.0))), (1.5, -2.0)),
        (attribute(7, number(8, 1), number(8, -2)), (1, -2)),
        (attribute(7, field(8, b"\x01\x02")), (1, 2)),
        (attribute(8, field(9, b"a"), field(9, b"bc")), (b"a", b"bc")),
        (attribute(1), 0.0),
        (attribute(2), 0),
        (attribute(3), b""),
        (attribute(6), ()),
        (attribute(7), ()),
        (attribute(8), ()),
        (attribute(7, number(8, 1), field(13, b"what it is for")), (1,)),
    ],
)
def test_attributes_of_each_kind(given, expected):
    model = read(node(field(5, given)))
    assert model.forbidden == ""
    found = model.nodes[0].attributes["a"]
    assert found == expected and type(found) is type(expected)


def test_a_constant_as_an_attribute():
    tensor = number(1, 2) + number(2, 7) + field(8, b"c") + field(9, struct.pack("<2q", 5, -6))
    found = read(node(field(5, attribute(4, field(5, tensor))))).nodes[0].attributes["a"]
    assert (found.name, found.dtype, found.shape) == ("c", "int64", (2,))
    assert struct.unpack("<2q", found.raw) == (5, -6)


def test_a_graph_as_an_attribute():
    held = read(node(field(5, attribute(5, field(6, field(2, b"inner") + node()))))).nodes[0]
    assert held.attributes == {}
    assert (held.graphs["a"].name, held.graphs["a"].nodes[0].op_type) == ("inner", "Relu")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (attribute(1, number(8, 1)), "the attribute 'a' is of type 1, and has ['ints']"),
        (attribute(9), "the attribute 'a' is of type 9, and has []"),
        (attribute(0, real(2, 1.0)), "the attribute 'a' is of type 0, and has ['f']"),
        (attribute(2, number(3, 1), real(2, 1.0)), "the attribute 'a' is of type 2, and has ['f', 'i']"),
        (attribute(2, number(3, 1), number(3, 1)), "an attribute has i twice"),
        (attribute(2, number(14, 1)), "an attribute has field 14, which no tagger needs"),
    ],
)
def test_attributes_that_are_not_one(given, says):
    assert read(node(field(5, given))).forbidden == says


def test_an_attribute_twice():
    one = field(5, attribute(2, number(3, 1)))
    assert read(node(one, one)).forbidden == "an operator has the attribute 'a' twice"
    graph = field(5, attribute(5, field(6, node())))
    assert read(node(graph, one)).forbidden == "an operator has the attribute 'a' twice"


def value(name=b"x", dims=b""):
    return field(1, name) + field(2, field(1, number(1, 1) + field(2, dims)))


PLACES = {
    "a graph": (node() + field(2, ESCAPE), b""),
    "an input": (node(field(1, ESCAPE)), b""),
    "an output": (node(field(2, ESCAPE)), b""),
    "an operator": (node(field(3, ESCAPE)), b""),
    "an attribute": (node(field(5, field(1, ESCAPE) + number(20, 7))), b""),
    "a constant": (node() + field(5, number(2, 7) + number(1, 0) + field(8, ESCAPE)), b""),
    "a value": (node() + field(11, value(ESCAPE)), b""),
    "an axis": (node() + field(11, value(dims=field(1, field(2, ESCAPE)))), b""),
    "a domain": (b"", field(8, field(1, ESCAPE) + number(2, 17))),
}


@pytest.mark.parametrize("what", PLACES)
def test_names_that_steer_a_terminal(what):
    graph, more = PLACES[what]
    expected = f"{what} is named '\\x1b[2J'; expected at most {MAX_NAME} printable characters"
    assert read(graph, more).forbidden == expected


MESSAGES = {
    "the model": (b"", field(15, b"")),
    "an opset": (b"", field(8, field(15, b""))),
    "a metadata entry": (b"", field(14, field(15, b""))),
    "a graph": (node() + field(15, b""), b""),
    "an operator": (node(field(15, b"")), b""),
    "an attribute": (node(field(5, field(15, b""))), b""),
    "a constant": (node() + field(5, field(15, b"")), b""),
    "a value": (node() + field(11, field(15, b"")), b""),
    "the type of a value": (node() + field(11, field(2, field(15, b""))), b""),
    "a tensor type": (node() + field(11, field(2, field(1, field(15, b"")))), b""),
    "a shape": (node() + field(11, field(2, field(1, field(2, field(15, b""))))), b""),
    "an axis": (node() + field(11, value(dims=field(1, field(15, b"")))), b""),
}


@pytest.mark.parametrize("what", MESSAGES)
def test_what_is_in_no_tagger_is_told_with_where_it_is(what):
    assert read(*MESSAGES[what]).forbidden == f"{what} has field 15, which no tagger needs"


def test_inputs_outputs_and_their_axes():
    dims = field(1, field(2, b"batch")) + field(1, number(1, 3))
    model = read(node() + field(11, value(b"x", dims)) + field(11, value(b"n")) + field(12, value(b"y", dims)))
    assert (model.graph.inputs, model.graph.outputs, model.forbidden) == ({"x": 2, "n": 0}, ["y"], "")
    twice = read(node() + field(11, value()) + field(11, value()))
    assert twice.forbidden == "the input 'x' is there twice"


def test_operators_with_all_that_they_have():
    held = node(field(1, b"x"), field(1, b""), field(2, b"y"), field(3, b"first"), field(7, b"com.x"), field(6, b"why"))
    found = read(held).nodes[0]
    assert (found.op_type, found.domain, found.name) == ("Relu", "com.x", "first")
    assert (found.inputs, found.outputs) == (("x", ""), ("y",))


def tensor(*fields, code=7, name=b"c"):
    return node() + field(5, number(2, code) + field(8, name) + b"".join(fields))


@pytest.mark.parametrize(
    ("graph", "numbers"),
    [
        (tensor(number(1, 2), number(7, 5), number(7, -6)), (5, -6)),
        (tensor(number(1, 2), field(4, struct.pack("<2f", 0.5, -0.5)), code=1), (0.5, -0.5)),
        (tensor(number(1, 1), number(5, -7), code=6), (-7,)),
        (tensor(number(1, 1), number(5, 1), code=9), (1,)),
        (tensor(number(1, 1), number(5, 15360), code=10), (15360,)),
        (tensor(number(1, 0)), ()),
    ],
)
def test_constants_written_singly(graph, numbers):
    model = read(graph)
    assert model.forbidden == ""
    assert model.initializers["c"].numbers == numbers


@pytest.mark.parametrize(
    ("graph", "says"),
    [
        (tensor(number(1, 2), number(7, 5)), "the constant 'c' of shape (2,) holds 1 numbers"),
        (tensor(number(1, 1), field(9, b"1234567")), "the constant 'c' of shape (1,) holds 0.875 numbers"),
        (tensor(number(1, 1), number(7, 5), field(9, bytes(8))), "the constant 'c' of shape (1,) holds 1 numbers"),
        (tensor(number(1, -1)), "the constant 'c' has the shape (-1,)"),
        (tensor(number(1, 2**40)), f"the constant 'c' has the shape ({2**40},)"),
        (tensor(number(1, 1), real(4, 1.0)), "the constant 'c' is int64 and has ['float_data']"),
        (tensor(number(1, 1), number(7, 1), number(5, 1)),
         "the constant 'c' is int64 and has ['int32_data', 'int64_data']"),
        (tensor(code=8), "the constant 'c' is of type 8; expected one of float32, uint8, int8, int32, int64, bool, "
                         "float16, float64"),
        (tensor(number(14, 1)), "the constant 'c' has its numbers in another file"),
        (tensor(field(9, bytes(8))) + field(5, number(2, 7) + field(8, b"c") + field(9, bytes(8))),
         "the constant 'c' is there twice"),
    ],
)  # fmt: skip
def test_constants_that_are_not_one(graph, says):
    assert read(graph).forbidden == says


def test_axes_within_limits():
    assert read(tensor(*[number(1, 1)] * 16, field(9, bytes(8)))).forbidden == ""
    with pytest.raises(
        NotOnnxError, match=r"^m.onnx: not an ONNX model \(a constant of more than 16 axes\); expected a"
    ):
        read(tensor(*[number(1, 1)] * 17, field(9, bytes(8))))


def test_damage_is_told_with_the_cure():
    with pytest.raises(NotOnnxError) as caught:
        read(b"\x08")
    assert str(caught.value) == (
        "m.onnx: not an ONNX model (a number is cut off); expected a file made by `lstm-deploy export`, "
        "whole and unchanged"
    )
    with pytest.raises(NotOnnxError, match="it has no graph"):
        parse_model_file(ModelFile(Path("m.onnx"), number(1, 8), ""))
    with pytest.raises(NotOnnxError, match="ir_version of the model is encoded as wire type 2"):
        parse_model_file(ModelFile(Path("m.onnx"), field(1, b"8") + field(7, node()), ""))


def test_opsets_and_metadata_once_each():
    opset = field(8, number(2, 17))
    assert read(b"", opset, field(8, field(1, b"x") + number(2, 3))).opsets == {"": 17, "x": 3}
    assert read(b"", opset, opset).forbidden == "the opset of ai.onnx is given twice"
    other = field(8, field(1, b"x") + number(2, 3))
    assert read(b"", other, other).forbidden == "the opset of x is given twice"
    entry = field(14, field(1, b"k") + field(2, b"v"))
    assert read(b"", entry).properties == {"k": "v"}
    assert read(b"", entry, entry).forbidden == "the metadata has the key 'k' twice"


def test_a_whole_file_as_it_was_written():
    """By its messages, read here by another reader."""
    model = Message.parse(TUTORIAL.read_bytes())
    found = parse_model_file(ModelFile(TUTORIAL, TUTORIAL.read_bytes(), ""))
    written = [n.of(4)[0][2].decode() for n in model.all("node")]
    assert [n.op_type for n in found.nodes] == written and len(written) > 10
    assert found.producer == model.of(2)[0][2].decode()
    assert found.graph.name == model.of(7)[0][2].of(2)[0][2].decode()
