"""Puts an ONNX graph together, node by node, and names everything for a reader of it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from .rounding import Float, Stored

OPSET = 17
IR_VERSION = 8
"""Pinned to what every runtime in use loads: opset 17 is the first with LayerNormalization, IR 8 goes with it."""


class GraphWriter:
    """Collects nodes and constants, in order, and names them for a reader of the graph.

    Args:
        half: store float32 weights as float16, cast back where they are used.
    """

    def __init__(self, *, half: bool = False) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, TensorProto] = {}
        self._own: list[TensorProto] = []
        self._half = half

    def inner(self) -> "GraphWriter":
        """A writer for a subgraph, whose constants stand in the outermost graph."""
        writer = GraphWriter(half=self._half)
        writer.constants = self.constants
        return writer

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Adds a constant, unless one of that name is there; its name."""
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(value, name)
        return name

    def own_constant(self, name: str, value: NDArray[Any]) -> str:
        """Adds a constant to this subgraph itself: onnxruntime packs matrices for speed only where they are used."""
        self._own.append(numpy_helper.from_array(value, name))
        return name

    def weight(self, name: str, value: Float) -> str:
        """Adds a trained number or array of them, in the precision of the file; the name of its float32 value."""
        if not self._half:
            return self.constant(name, value)
        stored = self.constant(f"{name}.half", value.astype(np.float16))
        return self.node("Cast", [stored], name, to=TensorProto.FLOAT)

    def look_up(self, name: str, table: Stored, ids: str, output: str) -> str:
        """Rows ``ids`` of a table, as float32; its codes are cast after the look-up, which leaves it small."""
        codes = self.constant(name, table.codes)
        if table.codes.dtype == np.float32:
            return self.node("Gather", [codes, ids], output)
        rows = self.node("Gather", [codes, ids], f"{output}.codes")
        if table.scale is None:
            return self.node("Cast", [rows], output, to=TensorProto.FLOAT)
        floats = self.node("Cast", [rows], f"{output}.floats", to=TensorProto.FLOAT)
        scales = self.node("Gather", [self.constant(f"{name}.scale", table.scale), ids], f"{output}.scales")
        return self.node("Mul", [floats, scales], output)

    def node(self, op_type: str, inputs: Sequence[str], output: str, **attributes: object) -> str:
        """Adds an operator with one output; the output's name."""
        return self.nodes_out(op_type, inputs, [output], **attributes)[0]

    def nodes_out(self, op_type: str, inputs: Sequence[str], outputs: list[str], **attributes: object) -> list[str]:
        """Adds an operator with several outputs; their names."""
        self.nodes.append(helper.make_node(op_type, list(inputs), outputs, name=outputs[0], **attributes))
        return outputs

    def lstm_layer(self, name: str, x: str, weights: Sequence[str], hidden: int, directions: int, lengths: str) -> str:
        """One LSTM operator whose W, R and B are values of the graph: (sequence, batch, directions * hidden)."""
        direction = "bidirectional" if directions == 2 else "forward"
        y = self.node("LSTM", [x, *weights, lengths], f"{name}.y", hidden_size=hidden, direction=direction)
        join = self.constant("join_directions", np.array([0, 0, directions * hidden], np.int64))
        side_by_side = self.node("Transpose", [y], f"{name}.by_batch", perm=[0, 2, 1, 3])
        return self.node("Reshape", [side_by_side, join], f"{name}.states")

    def subgraph(
        self, name: str, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto]
    ) -> onnx.GraphProto:
        """The nodes as the body of a control-flow operator."""
        return helper.make_graph(self.nodes, name, list(inputs), list(outputs), self._own)

    def model(
        self,
        name: str,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
    ) -> onnx.ModelProto:
        """The finished, checked model."""
        graph = helper.make_graph(self.nodes, name, list(inputs), list(outputs), list(self.constants.values()))
        model = helper.make_model(
            graph,
            producer_name="lstm-deploy",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )
        onnx.checker.check_model(model, full_check=True)
        return model
