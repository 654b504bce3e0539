"""PyTorch recurrences as ONNX LSTM operators, written directly from the weights.

The field's two orders: PyTorch stacks the gates ``[i, f, g, o]``, ONNX ``[i, o, f, c]`` (c is
PyTorch's g); ONNX concatenates both biases.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

OPSET = 17
IR_VERSION = 8
"""Pinned to what every runtime in use loads: opset 17 is the first with LayerNormalization, IR 8 goes with it."""

_TORCH_GATES = ("i", "f", "g", "o")
_ONNX_GATES = ("i", "o", "f", "g")
Float = NDArray[np.float32]


@dataclass(frozen=True)
class LSTMWeights:
    """Weights of one ONNX LSTM operator.

    Attributes:
        w: (directions, 4 * hidden, input).
        r: (directions, 4 * hidden, hidden).
        b: (directions, 8 * hidden).
    """

    w: Float
    r: Float
    b: Float

    @property
    def hidden(self) -> int:
        """The hidden size."""
        return self.r.shape[2]

    @property
    def directions(self) -> int:
        """1, or 2 where it reads both ways."""
        return self.w.shape[0]


def layer_weights(lstm: nn.LSTM, layer: int) -> LSTMWeights:
    """Weights of one layer of an ``nn.LSTM``.

    Raises:
        ValueError: ``proj_size`` is set, which the ONNX operator does not have.
    """
    if lstm.proj_size:
        raise ValueError(f"proj_size={lstm.proj_size}: the ONNX LSTM has no projection; train with proj_size=0")
    directions = []
    for suffix in ("", "_reverse")[: 1 + lstm.bidirectional]:
        w, r = (to_onnx_gates(getattr(lstm, f"weight_{part}_l{layer}{suffix}")) for part in ("ih", "hh"))
        zero = np.zeros(4 * lstm.hidden_size, np.float32)
        biases = [
            to_onnx_gates(getattr(lstm, f"bias_{part}_l{layer}{suffix}")) if lstm.bias else zero
            for part in ("ih", "hh")
        ]
        directions.append((w, r, np.concatenate(biases)))
    return LSTMWeights(*(np.stack(parts) for parts in zip(*directions, strict=True)))


def cell_weights(gates: dict[str, nn.Linear], input_size: int) -> LSTMWeights:
    """Weights of a cell whose gates are linear layers over ``[input, hidden]``, side by side.

    Args:
        gates: ``i``, ``f``, ``g`` (candidate) and ``o``, each (hidden, input + hidden); a cell that
            shares one layer passes it four times.
        input_size: how many of the columns are the input's.
    """
    weight = np.concatenate([array(gates[gate].weight) for gate in _ONNX_GATES])
    zero = np.zeros(gates["i"].out_features, np.float32)
    bias = np.concatenate([zero if gates[g].bias is None else array(gates[g].bias) for g in _ONNX_GATES])
    return LSTMWeights(
        weight[None, :, :input_size], weight[None, :, input_size:], np.concatenate([bias, np.zeros_like(bias)])[None]
    )


def to_onnx_gates(stacked: Tensor) -> Float:
    """A (4 * hidden, ...) tensor in PyTorch's gate order, in ONNX's."""
    parts = dict(zip(_TORCH_GATES, np.split(array(stacked), 4), strict=True))
    return np.concatenate([parts[gate] for gate in _ONNX_GATES])


def array(tensor: Tensor) -> Float:
    """A parameter as a float32 array."""
    return tensor.detach().cpu().numpy().astype(np.float32)


class GraphWriter:
    """Collects nodes and constants, in order, and names them for a reader of the graph."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[TensorProto] = []

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        """Adds a constant; its name."""
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def node(self, op_type: str, inputs: Sequence[str], output: str, **attributes: object) -> str:
        """Adds an operator with one output; the output's name."""
        self.nodes.append(helper.make_node(op_type, list(inputs), [output], name=output, **attributes))
        return output

    def lstm(
        self, name: str, x: str, weights: LSTMWeights, *, lengths: str = "", states: Sequence[str] = ()
    ) -> list[str]:
        """Adds one LSTM operator.

        Args:
            name: prefix of its constants and outputs.
            x: (sequence, batch, input).
            lengths: (batch,) int32, or none.
            states: initial h and c, each (directions, batch, hidden), or none.

        Returns:
            Names of Y (sequence, directions, batch, hidden), and of the last h and c where ``states`` are given.
        """
        constants = [self.constant(f"{name}.{part}", getattr(weights, part)) for part in ("w", "r", "b")]
        outputs = [f"{name}.y", *([f"{name}.h", f"{name}.c"] if states else [])]
        self.nodes.append(
            helper.make_node(
                "LSTM",
                [x, *constants, lengths, *states] if lengths or states else [x, *constants],
                outputs,
                name=name,
                hidden_size=weights.hidden,
                direction="bidirectional" if weights.directions == 2 else "forward",
            )
        )
        return outputs

    def model(
        self,
        name: str,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
    ) -> onnx.ModelProto:
        """The finished, checked model."""
        graph = helper.make_graph(self.nodes, name, list(inputs), list(outputs), self.constants)
        model = helper.make_model(
            graph,
            producer_name="lstm-deploy",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )
        onnx.checker.check_model(model, full_check=True)
        return model


def stacked_lstm(graph: GraphWriter, x: str, lstm: nn.LSTM, lengths: str) -> str:
    """All layers of ``lstm`` over x (sequence, batch, input): (sequence, batch, directions * hidden)."""
    width = lstm.hidden_size * (1 + lstm.bidirectional)
    join = graph.constant("join_directions", np.array([0, 0, width], np.int64))
    for layer in range(lstm.num_layers):
        y = graph.lstm(f"lstm_{layer}", x, layer_weights(lstm, layer), lengths=lengths)[0]
        side_by_side = graph.node("Transpose", [y], f"lstm_{layer}.by_batch", perm=[0, 2, 1, 3])
        x = graph.node("Reshape", [side_by_side, join], f"lstm_{layer}.states")
    return x


def lstm_model(lstm: nn.LSTM) -> onnx.ModelProto:
    """A whole ``nn.LSTM``, states in and out, as an ONNX model.

    Inputs ``input`` (sequence, batch, input; batch first if the module is), ``h0`` and ``c0``
    (layers * directions, batch, hidden); outputs ``output``, ``hn`` and ``cn`` likewise.
    """
    graph = GraphWriter()
    directions = 1 + lstm.bidirectional
    axes = ["batch", "sequence"] if lstm.batch_first else ["sequence", "batch"]
    x = graph.node("Transpose", ["input"], "time_first", perm=[1, 0, 2]) if lstm.batch_first else "input"
    join = graph.constant("join_directions", np.array([0, 0, directions * lstm.hidden_size], np.int64))
    per_layer = graph.constant("states_per_layer", np.full(lstm.num_layers, directions, np.int64))
    initial = {}
    for state in ("h0", "c0"):
        initial[state] = [f"{state}.{layer}" for layer in range(lstm.num_layers)]
        graph.nodes.append(helper.make_node("Split", [state, per_layer], initial[state], name=f"split_{state}", axis=0))
    last: dict[str, list[str]] = {"hn": [], "cn": []}
    for layer in range(lstm.num_layers):
        states = [initial["h0"][layer], initial["c0"][layer]]
        y, h, c = graph.lstm(f"lstm_{layer}", x, layer_weights(lstm, layer), states=states)
        last["hn"].append(h)
        last["cn"].append(c)
        x = graph.node("Transpose", [y], f"lstm_{layer}.by_batch", perm=[0, 2, 1, 3])
        final = layer == lstm.num_layers - 1 and not lstm.batch_first
        x = graph.node("Reshape", [x, join], "output" if final else f"lstm_{layer}.states")
    if lstm.batch_first:
        graph.node("Transpose", [x], "output", perm=[1, 0, 2])
    for name, parts in last.items():
        graph.node("Concat", parts, name, axis=0)
    layers = lstm.num_layers * directions
    state_axes = [layers, "batch", lstm.hidden_size]
    return graph.model(
        "lstm",
        [_floats("input", [*axes, lstm.input_size]), _floats("h0", state_axes), _floats("c0", state_axes)],
        [
            _floats("output", [*axes, directions * lstm.hidden_size]),
            _floats("hn", state_axes),
            _floats("cn", state_axes),
        ],
    )


def cell_model(gates: dict[str, nn.Linear], head: nn.Linear) -> onnx.ModelProto:
    """One step of a cell with its head and log-softmax, as an ONNX model.

    Inputs ``input`` (batch, input), ``hidden`` and ``cell`` (batch, hidden); outputs ``output``
    (batch, classes) log-probabilities, ``next_hidden`` and ``next_cell``.
    """
    hidden = gates["i"].out_features
    inputs = gates["i"].in_features - hidden
    graph = GraphWriter()
    axis = graph.constant("time_axis", np.array([0], np.int64))
    x, h, c = (graph.node("Unsqueeze", [name, axis], f"{name}.step") for name in ("input", "hidden", "cell"))
    _, h, c = graph.lstm("lstm", x, cell_weights(gates, inputs), states=[h, c])
    next_hidden = graph.node("Squeeze", [h, axis], "next_hidden")
    graph.node("Squeeze", [c, axis], "next_cell")
    logits = linear(graph, "head", next_hidden, head)
    graph.node("LogSoftmax", [logits], "output", axis=-1)
    return graph.model(
        "lstm_cell",
        [_floats("input", ["batch", inputs]), *(_floats(n, ["batch", hidden]) for n in ("hidden", "cell"))],
        [
            _floats("output", ["batch", head.out_features]),
            *(_floats(n, ["batch", hidden]) for n in ("next_hidden", "next_cell")),
        ],
    )


def linear(graph: GraphWriter, name: str, x: str, layer: nn.Linear) -> str:
    """``x @ weight.T + bias`` over the last axis."""
    weight = graph.constant(f"{name}.weight", np.ascontiguousarray(array(layer.weight).T))
    product = graph.node("MatMul", [x, weight], f"{name}.product")
    if layer.bias is None:
        return product
    return graph.node("Add", [product, graph.constant(f"{name}.bias", array(layer.bias))], f"{name}.sum")


def _floats(name: str, shape: Sequence[str | int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))
