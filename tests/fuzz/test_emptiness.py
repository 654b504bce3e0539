"""What is said of sizes without running a graph holds when it is run."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx writes the graphs")

from onnx import TensorProto, helper, numpy_helper

from lstm_deploy import graph_rules
from lstm_deploy.emptiness import ANY, SOME, values
from lstm_deploy.modelfile import ModelFile, parse_model_file

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
