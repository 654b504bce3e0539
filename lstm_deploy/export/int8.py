"""The recurrence on whole numbers: a Scan over steps, int8 matrices, standard operators only.

Each step multiplies the bytes ``[x, h]`` of a batch with one int8 matrix per direction. The hidden
state is kept as bytes in steps of 1/127 around 128: h lies in (-1, 1), so its scale is known before
any data is seen, and a sentence's answer does not depend on what else is in its batch. (The fused
DynamicQuantizeLSTM measures the range of the whole batch at every step, so that its answers do; and
it is slower: benchmarks/NOTES.md.)

A step costs a dozen operator calls per direction whatever the batch, so below `SCAN_ROWS` rows the
same weights run through the LSTM operator in float32 instead.
"""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from .recurrent import to_onnx_gates
from .rounding import ACTIVATION_LEVELS, CODE_ZERO
from .stored import JointWeight, StoredTagger
from .writer import GraphWriter

SCAN_ROWS = 8


def int8_logits(graph: GraphWriter, x: str, tagger: StoredTagger, lengths: str) -> str:
    """Logits (sequence, batch, tag) of ``x`` (sequence, batch, input), bytes around CODE_ZERO."""
    weights = _Weights(graph, tagger)
    rows = graph.node("Size", [lengths], "rows")
    float_rows = graph.node("Cast", [rows], "float_rows", to=TensorProto.FLOAT)
    graph.node("Div", [float_rows, float_rows], "unit")
    few = graph.node("Less", [rows, graph.constant("scan_rows", np.array(SCAN_ROWS, np.int64))], "few_rows")
    return graph.node(
        "If",
        [few],
        "step_logits",
        then_branch=_in_float(graph.inner(), x, weights, lengths),
        else_branch=_in_bytes(graph.inner(), x, weights, lengths),
    )


class _Weights:
    """The constants, shared by both branches: int8 codes, a scale per column, biases."""

    def __init__(self, graph: GraphWriter, tagger: StoredTagger) -> None:
        self.graph = graph
        self.hidden = tagger.lstm.hidden_size
        self.tags = tagger.head.out_features
        self.layers = tagger.joint
        self.zero = graph.constant("zero_code", np.array(CODE_ZERO, np.uint8))
        self.step = graph.constant("hidden_step", np.array(1 / ACTIVATION_LEVELS, np.float32))
        for layer, directions in enumerate(tagger.joint):
            for direction, joint in enumerate(directions):
                self._joint(_name(layer, direction), joint)
        head = tagger.head_codes
        assert head is not None and head.scale is not None
        graph.constant("head.codes", np.ascontiguousarray(head.codes.T))  # (directions * hidden, tag)
        graph.constant("head.scale", head.scale[:, 0])
        bias = tagger.head.bias
        graph.constant("head.bias", np.zeros(self.tags, np.float32) if bias is None else bias.detach().numpy())

    def _joint(self, name: str, joint: JointWeight) -> None:
        self.graph.constant(f"{name}.codes", _gate_columns(joint))
        self.graph.constant(f"{name}.scale", to_onnx_gates(joint.scale))
        self.graph.constant(f"{name}.bias", to_onnx_gates(joint.bias))


def _gate_columns(joint: JointWeight) -> NDArray[np.int8]:
    """(input + hidden, 4 * hidden), gates in ONNX's order."""
    return np.ascontiguousarray(to_onnx_gates(joint.codes.T).T)


def _name(layer: int, direction: int) -> str:
    return f"lstm_{layer}.{('forward', 'backward')[direction]}"


def _in_float(graph: GraphWriter, x: str, weights: _Weights, lengths: str) -> onnx.GraphProto:
    """The branch for few rows: LSTM operators. What is constant here is worked out once, when a session is made."""
    x = graph.node("Cast", [x], "float_x", to=TensorProto.FLOAT)
    x = graph.node("Sub", [x, graph.constant("float_zero", np.array(CODE_ZERO, np.float32))], "float_steps")
    units = 1.0  # what one of ``x`` is worth in activation codes
    for layer, directions in enumerate(weights.layers):
        parts: dict[str, list[str]] = {"w": [], "r": [], "b": []}
        for direction, joint in enumerate(directions):
            _float_parts(weights, _name(layer, direction), joint, units, parts)
        w, r, b = (
            weights.graph.node("Concat", names, f"lstm_{layer}.float.{part}", axis=0) for part, names in parts.items()
        )
        x = graph.lstm_layer(f"lstm_{layer}", x, (w, r, b), weights.hidden, len(directions), lengths)
        units = ACTIVATION_LEVELS
    head = weights.graph.node("Cast", ["head.codes"], "head.float_codes", to=TensorProto.FLOAT)
    head = weights.graph.node("Mul", [head, "head.scale"], "head.weight")
    graph.node("Add", [graph.node("MatMul", [x, head], "float_product"), "head.bias"], "float_logits")
    return graph.subgraph("few_rows_in_float", [], [_floats("float_logits", ["sequence", "batch", weights.tags])])


def _float_parts(weights: _Weights, name: str, joint: JointWeight, units: float, parts: dict[str, list[str]]) -> None:
    """Adds one direction's W, R and B, each (1, ...), in float32, to ``parts``."""
    graph, hidden = weights.graph, weights.hidden
    inputs = len(joint.codes) - hidden
    worth = np.array([units] * inputs + [ACTIVATION_LEVELS] * hidden, np.float32)[:, None]
    first = graph.constant("first_axis", np.array([0], np.int64))
    floats = graph.node("Cast", [f"{name}.codes"], f"{name}.floats", to=TensorProto.FLOAT)
    scaled = graph.node("Mul", [floats, f"{name}.scale"], f"{name}.scaled")
    valued = graph.node("Mul", [scaled, graph.constant(f"{name}.worth", worth)], f"{name}.valued")
    turned = graph.node("Transpose", [valued], f"{name}.turned", perm=[1, 0])
    whole = graph.node("Unsqueeze", [turned, first], f"{name}.whole")
    sizes = graph.constant(f"{name}.sizes", np.array([inputs, hidden], np.int64))
    w, r = graph.nodes_out("Split", [whole, sizes], [f"{name}.w", f"{name}.r"], axis=2)
    none = graph.constant("no_bias", np.zeros(4 * hidden, np.float32))
    bias = graph.node("Concat", [f"{name}.bias", none], f"{name}.biases", axis=0)
    parts["w"].append(w)
    parts["r"].append(r)
    parts["b"].append(graph.node("Unsqueeze", [bias, first], f"{name}.b"))


def _in_bytes(graph: GraphWriter, x: str, weights: _Weights, lengths: str) -> onnx.GraphProto:
    """The branch for many rows: one Scan per layer over bytes."""
    long_lengths = graph.node("Cast", [lengths], "long_lengths", to=TensorProto.INT64)

    def turn(name: str, output: str) -> str:
        """Each row's tokens in reverse, its padding where it was."""
        return graph.node("ReverseSequence", [name, long_lengths], output, time_axis=0, batch_axis=1)

    rows = graph.node("Shape", [lengths], "row_count")
    width = graph.constant("hidden_size", np.array([weights.hidden], np.int64))
    shape = graph.node("Concat", [rows, width], "state_shape", axis=0)
    no_code = helper.make_tensor("no_code", TensorProto.UINT8, [1], [CODE_ZERO])
    h = graph.node("ConstantOfShape", [shape], "first_h", value=no_code)
    c = graph.node("ConstantOfShape", [shape], "first_c")
    for layer, directions in enumerate(weights.layers):
        n = len(directions)
        streams = [x] if n == 1 else [x, turn(x, f"scan_{layer}.x_backward")]
        body = _step(graph.inner(), layer, directions, weights)
        outputs = [f"scan_{layer}.{kind}_{d}" for kind in ("last_h", "last_c", "y") for d in range(n)]
        graph.nodes_out("Scan", [h] * n + [c] * n + streams, outputs, body=body, num_scan_inputs=n)
        x = outputs[-n]
        if n == 2:
            x = graph.node("Concat", [x, turn(outputs[-1], f"scan_{layer}.y_turned")], f"scan_{layer}.states", axis=2)
    product = graph.node("MatMulInteger", [x, "head.codes", weights.zero], "head.sums")
    units = graph.node(
        "Mul", [graph.node("Cast", [product], "head.floats", to=TensorProto.FLOAT), "head.scale"], "units"
    )
    scaled = graph.node("Mul", [units, weights.step], "head.scaled")
    graph.node("Add", [scaled, "head.bias"], "byte_logits")
    return graph.subgraph("many_rows_in_bytes", [], [_floats("byte_logits", ["sequence", "batch", weights.tags])])


def _step(graph: GraphWriter, layer: int, directions: list[JointWeight], weights: _Weights) -> onnx.GraphProto:
    """One step of all directions: h (bytes), c and x (bytes) in, the new h and c, and h once more as output."""
    hidden, count = weights.hidden, len(directions)
    gates = graph.constant("four_gates", np.full(4, hidden, np.int64))
    state_axes: list[str | int] = ["batch", hidden]
    for direction, joint in enumerate(directions):
        name = _name(layer, direction)
        codes = graph.own_constant(f"{name}.step_codes", _gate_columns(joint))

        def node(op_type: str, inputs: list[str], output: str, *, of: str = name, **attributes: object) -> str:
            return graph.node(op_type, inputs, f"{of}.{output}", **attributes)

        both = node("Concat", [f"{name}.x", f"{name}.h"], "xh", axis=1)
        sums = node("MatMulInteger", [both, codes, weights.zero], "sums")
        scale = node("Mul", ["unit", f"{name}.scale"], "step_scale")
        scaled = node("Mul", [node("Cast", [sums], "float_sums", to=TensorProto.FLOAT), scale], "step_scaled")
        total = node("Add", [scaled, f"{name}.bias"], "gates")
        parts = graph.nodes_out("Split", [total, gates], [f"{name}.{g}_in" for g in "iofg"], axis=1)
        i, o, f = (node("Sigmoid", [part], gate) for part, gate in zip(parts, "iof", strict=False))
        g = node("Tanh", [parts[3]], "g")
        kept = node("Mul", [f, f"{name}.c"], "kept")
        c = node("Add", [node("Mul", [i, g], "added"), kept], "next_c")
        h = node("Mul", [o, node("Tanh", [c], "shown")], "float_h")
        node("QuantizeLinear", [h, weights.step, weights.zero], "next_h")
        node("Identity", [f"{name}.next_h"], "y")

    def values(kind: str, type_: int, axes: list[str | int]) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(f"{_name(layer, d)}.{kind}", type_, axes) for d in range(count)]

    inputs = len(directions[0].codes) - hidden
    byte, number = TensorProto.UINT8, TensorProto.FLOAT
    return graph.subgraph(
        f"step_{layer}",
        values("h", byte, state_axes) + values("c", number, state_axes) + values("x", byte, ["batch", inputs]),
        values("next_h", byte, state_axes) + values("next_c", number, state_axes) + values("y", byte, state_axes),
    )


def _floats(name: str, axes: list[str | int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, axes)
