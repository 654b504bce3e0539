"""A chunk of a sentence at a time: recurrences whose states are inputs and outputs of the graph.

Every recurrence runs forward and starts from a state that the client hands over: zeros for the first chunk of a
sentence, for the others what the chunk before gave. An operator leaves zeros as the last state of a row without
tokens; such a row keeps its state instead.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, numpy_helper
from torch import nn

from ..errors import InputError
from ..metadata import Precision, State
from .capture import LiftError
from .program import TOKENS, Call
from .recurrent import layer_weights
from .writer import GraphWriter

if TYPE_CHECKING:
    from .lifting import Lifted, Lifter

_RECURRENCES = {"lstm", "gru", "rnn_tanh", "rnn_relu", "recurrence"}
_CURE = "export without --streaming"


def check_streams(*, bidirectional: bool, precision: Precision, decodes_path: bool) -> None:
    """Raises unless a tagger can be cut into chunks.

    Raises:
        InputError: it reads a sentence from its end too, chooses among paths through it, or stores int8.
    """
    if bidirectional:
        raise InputError(
            "a bidirectional tagger reads each sentence from its end too; expected a unidirectional one to stream: "
            "train with --unidirectional, or tag long texts in windows with `lstm-deploy run --window`"
        )
    if decodes_path:
        raise InputError(
            "the best path through a sentence is known at its end only; expected a tagger that takes each token's "
            "best tag to stream: export without --constrain, or (with a CRF) without --streaming"
        )
    if precision == "int8":
        raise InputError(
            "int8 rounds the states of 8 sentences or more otherwise than those of few, so that chunks would differ "
            "from the whole; expected fp32 or fp16 to stream: pass --precision fp16"
        )


def lstm_states(lstm: nn.LSTM) -> tuple[State, ...]:
    """The states of a unidirectional ``nn.LSTM``: h and c of each layer, from zeros."""
    return tuple(
        State(f"{part}_{layer}", lstm.hidden_size, f"next_{part}_{layer}")
        for layer in range(lstm.num_layers)
        for part in ("h", "c")
    )


def streaming_lstm(graph: GraphWriter, x: str, lstm: nn.LSTM, lengths: str) -> str:
    """All layers of ``lstm`` over a chunk, from and to `lstm_states`: (sequence, batch, hidden).

    Args:
        x: (sequence, batch, input).
    """
    states = lstm_states(lstm)
    for layer in range(lstm.num_layers):
        here, weights = states[2 * layer : 2 * layer + 2], layer_weights(lstm, layer)
        names = [graph.weight(f"lstm_{layer}.{part}", getattr(weights, part)) for part in ("w", "r", "b")]
        before = [incoming(graph, state) for state in here]
        y, *after = graph.nodes_out(
            "LSTM",
            [x, *names, lengths, *before],
            [f"lstm_{layer}.{part}" for part in ("y", "last_h", "last_c")],
            hidden_size=weights.hidden,
        )
        for state, last in zip(here, after, strict=True):
            outgoing(graph, state, last, lengths)
        x = graph.node("Squeeze", [y, _axis(graph, 1)], f"lstm_{layer}.states")
    return x


def incoming(graph: GraphWriter, state: State) -> str:
    """The state as a recurrent operator takes it: (1, batch, size)."""
    return graph.node("Unsqueeze", [state.name, _axis(graph, 0)], f"{state.name}.before")


def outgoing(graph: GraphWriter, state: State, last: str, lengths: str) -> None:
    """Makes the operator's last state (1, batch, size) an output of the graph; rows without tokens keep theirs."""
    rows = graph.node("Squeeze", [last, _axis(graph, 0)], f"{state.name}.after")
    if not any("has_tokens" in node.output for node in graph.nodes):
        column = graph.node("Unsqueeze", [lengths, _axis(graph, 1)], "length_column")
        graph.node("Cast", [column], "has_tokens", to=TensorProto.BOOL)
    graph.node("Where", ["has_tokens", rows, state.name], state.next)


def _axis(graph: GraphWriter, axis: int) -> str:
    return graph.constant(f"state_axis_{axis}", np.array([axis], np.int64))


class LiftedStreams:
    """The states of the recurrences over tokens of a lifted program, as inputs and outputs of its graph.

    Attributes:
        states: those met so far.
    """

    def __init__(self) -> None:
        self.states: list[State] = []
        self._recurrences = 0

    def check(self, lifter: "Lifter", call: Call, output: int, found: "Lifted") -> None:
        """Refuses what looks at other tokens than its own, as far as its axes show it; the proof finds the rest.

        Raises:
            LiftError: a value for each pair of tokens, one for the whole sentence, or a convolution over tokens.
        """
        fact = ""
        before = [lifter._done.get((id(t.call), t.output)) or lifter._leaves.get(id(t)) for t in call.inputs()]
        if found.times > 1:
            fact = "each token looks at all others"
        elif call.name in _RECURRENCES:
            fact = "the last state of the sentence is used" if output and not found.times else ""
        elif found.times == 0 and any(value.times for value in before if value is not None):
            fact = "all tokens of the sentence make one value"
        elif call.name in ("conv1d", "conv2d") and found.dims[-1] == before[0].dims[-1] == ((TOKENS, 0),):
            fact = "a convolution looks at the tokens beside" if call.args[1].tensors[0].shape[-1] > 1 else ""
        if fact:
            raise lifter.refusal(call, f"{fact}, which a chunk does not have", _CURE)

    def run(self, lifter: "Lifter", op_type: str, inputs: list[str], attributes: dict[str, Any]) -> list[str]:
        """A recurrent operator over tokens, from and to states of the graph.

        Args:
            inputs: x (sequence, batch, input), W, R, B, lengths, and initial states, "" or left out where zero.
            attributes: of the operator.

        Returns:
            Names of Y (sequence, 1, batch, hidden), last h and (LSTM) last c, (1, batch, hidden).

        Raises:
            LiftError: it runs backward, or starts from what is worked out from the sentence.
        """
        graph, place, size = lifter.graph, self._recurrences, attributes["hidden_size"]
        if attributes["direction"] != "forward":
            raise LiftError(
                f"{lifter._line}: a recurrence reads the sentence from its end, which is not there yet; {_CURE}"
            )
        x, w, r, b, lengths, *initial = inputs
        parts = ("h", "c")[: 2 if op_type == "LSTM" else 1]
        here = [
            State(f"{part}_{place}", size, f"next_{part}_{place}", _start(lifter, name))
            for part, name in zip(parts, [*initial, "", ""], strict=False)
        ]
        before = [incoming(graph, state) for state in here]
        rows = lengths
        if op_type == "RNN":  # it packs no weights: a single row would take another product than several
            x, rows, *before = (
                lifter.node("Concat", [name, name], axis=axis)
                for name, axis in zip((x, rows, *before), (1, 0, 1), strict=True)
            )
        found = [lifter.name(f"{op_type.lower()}_{part}") for part in ("y", *parts)]
        graph.nodes_out(op_type, [x, w, r, b, rows, *before], found, **attributes)
        if op_type == "RNN":
            batch = lifter.node("Shape", [lengths])
            found = [
                lifter.node("Slice", [name, lifter.ints(0), batch, lifter.ints(axis)])
                for name, axis in zip(found, (2, 1), strict=True)
            ]
        for state, last in zip(here, found[1:], strict=True):
            outgoing(graph, state, last, lengths)
        self.states += here
        self._recurrences += 1
        return found


def _start(lifter: "Lifter", name: str) -> tuple[float, ...] | None:
    """The numbers that a recurrence starts every sentence from; None for zeros."""
    if not name:
        return None
    node = next((node for node in lifter.graph.nodes if name in node.output), None)
    if node is None or node.op_type != "Expand" or node.input[0] not in lifter.graph.constants:
        raise LiftError(
            f"{lifter._line}: the state that a recurrence starts from is worked out from the sentence; {_CURE}"
        )
    values = numpy_helper.to_array(lifter.graph.constants[node.input[0]]).reshape(-1)
    return tuple(map(float, values)) if values.any() else None
