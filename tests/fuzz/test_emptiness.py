"""What is said of sizes without running a graph holds when it is run."""

import itertools
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx writes the graphs")

from onnx import TensorProto, helper, numpy_helper

from lstm_deploy import graph_rules
from lstm_deploy.emptiness import ANY, SOME, values
from lstm_deploy.modelfile import Graph, Initializer, ModelFile, Node, parse_model_file

from .operators import Operators


def known(model):
    """What is known of each value."""
    graph = parse_model_file(ModelFile(Path("m.onnx"), model, "")).graph
    return values(graph, graph.inputs, graph_rules._values)


def agrees(value, array):
    """Whether an array is what was said of it."""
    if value.filled and not array.size:
        return False
    if value.positive and array.size and array.min() < 1:
        return False
    if value.numbers is not None and value.numbers != tuple(array.ravel().tolist()):
        return False
    if value.shape is None:
        return True
    sizes = zip(value.shape, array.shape, strict=False)
    return len(value.shape) == array.ndim and all(s in (n, ANY) or (s == SOME and n > 0) for s, n in sizes)


def test_on_graphs_of_any_kind():
    """Operators in chains of two or three, on values of any shape; those whose answer is known of are counted."""
    import onnxruntime

    fuzzed = Operators()
    fuzzed.prepare()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    ran = told = 0
    for index in range(6000):
        model, feeds = fuzzed.case(index)
        if graph_rules.problem(parse_model_file(ModelFile(Path("m.onnx"), model, ""))):
            continue
        found = known(model)
        try:
            session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            answers = session.run(None, feeds)
        except Exception:  # noqa: BLE001 - what onnxruntime refuses is nobody's answer
            continue
        for output, answer in zip(session.get_outputs(), answers, strict=True):
            assert agrees(found[output.name], answer), (index, output.name, found[output.name], answer.shape)
            told += found[output.name].filled
        ran += 1
    assert ran > 1500
    assert told > 700


BOUNDS_TRIED = (-(2**63), -(2**31), -5, -4, -3, -1, 0, 1, 3, 4, 5, 2**31 - 1, 2**31, 2**63 - 1)
STEPS_TRIED = (-(2**63), -(2**31), -3, -1, 1, 2, 2**31 - 1, 2**63 - 1)


def test_slices_of_any_bounds_are_as_onnxruntime_cuts_them():
    """Each pair of bounds and step that could matter, on axes of 1 to 4 places, known and not."""
    import onnxruntime

    names = ("from", "to", "axis", "step")
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None])]
    given += [helper.make_tensor_value_info(name, TensorProto.INT64, [1]) for name in names]
    graph = helper.make_graph([node("Slice", "x", *names)], "g", given, [helper.make_empty_tensor_value_info("y")])
    opset = [helper.make_opsetid("", graph_rules.OPSET)]
    data = helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    told = 0
    for start, end, step in itertools.product(BOUNDS_TRIED, BOUNDS_TRIED, STEPS_TRIED):
        bounds = dict(zip(names, ([start], [end], [0], [step]), strict=True))
        numbers = dict(zip(names, bounds.values(), strict=True))
        for places in (1, 2, 3, 4):
            x = np.ones(places, np.float32)
            (answer,) = session.run(None, {"x": x} | {k: np.array(v, np.int64) for k, v in bounds.items()})
            held = {name: Initializer(name, "int64", (1,), memoryview(b"")) for name in names}
            held["c"] = Initializer("c", "float32", x.shape, memoryview(b""))
            for source in ("x", "c"):
                sliced = Graph("g", [Node("Slice", "", "", (source, *names), ("y",))], held)
                found = values(sliced, {"x": 1}, lambda tensor, numbers=numbers: numbers[tensor.name])["y"]
                assert agrees(found, answer), (source, places, start, end, step, found, answer.shape)
                told += found.filled
    assert told > 500


@pytest.mark.parametrize("to", [TensorProto.INT32, TensorProto.INT64, TensorProto.UINT8, TensorProto.INT8])
def test_casts_of_any_number_are_as_onnxruntime_makes_them(to):
    import onnxruntime

    cast = [helper.make_node("Gather", ["c", "i"], ["g"]), helper.make_node("Cast", ["g"], ["y"], to=to)]
    cast += [helper.make_node("Cast", ["c"], ["z"], to=to)]
    for number in BOUNDS_TRIED:
        held = [numpy_helper.from_array(np.array([value]), name) for name, value in (("c", number), ("i", 0))]
        outputs = [helper.make_empty_tensor_value_info(name) for name in "yz"]
        graph = helper.make_graph(cast, "g", [], outputs, held)
        opset = [helper.make_opsetid("", graph_rules.OPSET)]
        data = helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
        found = known(data)
        gathered, whole = onnxruntime.InferenceSession(data).run(None, {})
        assert agrees(found["y"], gathered), (number, found["y"], gathered)
        assert agrees(found["z"], whole), (number, found["z"], whole)


def made(*nodes, constants=(), shape=(None, None, 3)):
    """What is known of y, of a graph of nodes whose input x has ``shape``."""
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    held = [numpy_helper.from_array(np.array(value), name) for name, value in constants]
    graph = helper.make_graph(list(nodes), "g", given, [helper.make_empty_tensor_value_info("y")], held)
    opset = [helper.make_opsetid("", graph_rules.OPSET)]
    return known(helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString())["y"]


def node(op, *inputs, to="y", **attributes):
    return helper.make_node(op, list(inputs), [to], **attributes)


BOUNDS = (("from", [1]), ("to", [2]), ("axis", [1]))


@pytest.mark.parametrize(
    ("nodes", "constants", "filled"),
    [
        ([node("Slice", "x", "from", "to", "axis")], BOUNDS, False),  # the second token: there may be one alone
        ([node("Slice", "x", "from", "to", "axis")], (("from", [0]), *BOUNDS[1:]), True),
        ([node("Slice", "x", "from", "to", "axis")], (("from", [-1]), ("to", [2**31 - 1]), BOUNDS[2]), True),
        ([node("MatMul", "x", "w", to="z"), node("Slice", "z", "from", "to", "axis")],
         (("w", np.ones((3, 4), np.float32)), ("from", [2]), ("to", [4]), ("axis", [2])), True),
        ([node("MatMul", "x", "w", to="z"), node("Slice", "z", "from", "to", "axis")],
         (("w", np.ones((3, 2), np.float32)), ("from", [2]), ("to", [4]), ("axis", [2])), False),
        ([node("Shape", "x", to="s"), node("Expand", "zero", "s")], (("zero", 0.0),), True),
        ([node("Shape", "x", to="s"), node("Cast", "s", to="b"), node("Expand", "zero", "b")], (("zero", 0.0),), False),
        ([node("NonZero", "x")], (), False),
        ([node("NonZero", "x", to="z"), node("Concat", "z", "rows", axis=1)], 
         (("rows", np.ones((3, 1), np.int64)),), True),
        ([node("Shape", "x", to="s"), node("Gather", "s", "one", to="n"), node("Range", "zero", "n", "one")],
         (("zero", 0), ("one", 1)), True),
        ([node("Shape", "x", to="s"), node("Gather", "s", "one", to="n"), node("Range", "five", "n", "one")],
         (("five", 5), ("one", 1)), False),
        ([node("Shape", "x", to="s"), node("Sub", "s", "s", to="d"), node("ConstantOfShape", "d")], (), False),
    ],
)  # fmt: skip
def test_what_is_taken_for_filled(nodes, constants, filled):
    for each in nodes:
        if each.op_type == "Cast":
            each.attribute.append(helper.make_attribute("to", TensorProto.UINT8))
    assert made(*nodes, constants=constants).filled is filled
