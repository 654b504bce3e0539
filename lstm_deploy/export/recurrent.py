"""PyTorch recurrences as ONNX LSTM operators, written directly from the weights.

The field's two orders: PyTorch stacks the gates ``[i, f, g, o]``, ONNX ``[i, o, f, c]`` (c is
PyTorch's g); ONNX concatenates both biases.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from torch import Tensor, nn

from .rounding import Float
from .writer import GraphWriter

_TORCH_GATES = ("i", "f", "g", "o")
_ONNX_GATES = ("i", "o", "f", "g")


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
        w, r = (to_onnx_gates(array(getattr(lstm, f"weight_{part}_l{layer}{suffix}"))) for part in ("ih", "hh"))
        zero = np.zeros(4 * lstm.hidden_size, np.float32)
        biases = [
            to_onnx_gates(array(getattr(lstm, f"bias_{part}_l{layer}{suffix}"))) if lstm.bias else zero
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


def to_onnx_gates(stacked: NDArray[Any]) -> NDArray[Any]:
    """A (4 * hidden, ...) array in PyTorch's gate order, in ONNX's."""
    parts = dict(zip(_TORCH_GATES, np.split(stacked, 4), strict=True))
    return np.concatenate([parts[gate] for gate in _ONNX_GATES])


def array(tensor: Tensor) -> Float:
    """A parameter as a float32 array."""
    return tensor.detach().cpu().numpy().astype(np.float32)


def stacked_lstm(graph: GraphWriter, x: str, lstm: nn.LSTM, lengths: str) -> str:
    """All layers of ``lstm`` over x (sequence, batch, input): (sequence, batch, directions * hidden)."""
    for layer in range(lstm.num_layers):
        weights = layer_weights(lstm, layer)
        names = [graph.weight(f"lstm_{layer}.{part}", getattr(weights, part)) for part in ("w", "r", "b")]
        x = graph.lstm_layer(f"lstm_{layer}", x, names, weights.hidden, weights.directions, lengths)
    return x


def _lstm_with_states(graph: GraphWriter, name: str, x: str, weights: LSTMWeights, states: Sequence[str]) -> list[str]:
    """An LSTM operator from initial h and c, each (directions, batch, hidden): names of Y, last h and last c."""
    constants = [graph.constant(f"{name}.{part}", getattr(weights, part)) for part in ("w", "r", "b")]
    return graph.nodes_out(
        "LSTM",
        [x, *constants, "", *states],
        [f"{name}.{output}" for output in ("y", "h", "c")],
        hidden_size=weights.hidden,
        direction="bidirectional" if weights.directions == 2 else "forward",
    )


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
        graph.nodes_out("Split", [state, per_layer], initial[state], axis=0)
    last: dict[str, list[str]] = {"hn": [], "cn": []}
    for layer in range(lstm.num_layers):
        states = [initial["h0"][layer], initial["c0"][layer]]
        y, h, c = _lstm_with_states(graph, f"lstm_{layer}", x, layer_weights(lstm, layer), states)
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
    _, h, c = _lstm_with_states(graph, "lstm", x, cell_weights(gates, inputs), [h, c])
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
    weight = graph.weight(f"{name}.weight", np.ascontiguousarray(array(layer.weight).T))
    product = graph.node("MatMul", [x, weight], f"{name}.product")
    if layer.bias is None:
        return product
    return graph.node("Add", [product, graph.weight(f"{name}.bias", array(layer.bias))], f"{name}.sum")


def _floats(name: str, shape: Sequence[str | int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))
