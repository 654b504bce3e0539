"""What a tagger's graph may consist of, whoever made it: FORMAT.md, section 12. Knows nothing of its metadata.

onnxruntime runs what a file says, with operators that read files, call back into Python, loop without end or ask for
any amount of memory. A file that is not made of the few dozen that taggers need, in the shapes that the exporter
writes, is not shown to it.
"""

from collections import Counter
from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .emptiness import unfilled
from .modelfile import Graph, Initializer, ModelFile, Node

IR_VERSION = 8
OPSET = 17
OPERATORS = frozenset((
    "Abs", "Add", "And", "ArgMax", "AveragePool", "Cast", "Concat", "ConstantOfShape", "Conv", "Cos", "CumSum",
    "Div", "Einsum", "Equal", "Erf", "Exp", "Expand", "Flatten", "GRU", "Gather", "GatherElements", "GatherND",
    "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish", "Identity", "LSTM", "LayerNormalization",
    "LeakyRelu", "Less", "LessOrEqual", "Log", "LogSoftmax", "MatMul", "MatMulInteger", "Max", "MaxPool", "Min",
    "Mul", "Neg", "NonZero", "Not", "Or", "PRelu", "Pow", "QuantizeLinear", "RNN", "Range", "Reciprocal",
    "ReduceL2", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "Relu",
    "Reshape", "ReverseSequence", "ScatterND", "Selu", "Shape", "Sigmoid", "Sin", "Size", "Slice", "Softmax",
    "Softplus", "Softsign", "Split", "Sqrt", "Squeeze", "Sub", "Tanh", "Transpose", "Unsqueeze", "Where",
))  # fmt: skip
"""Of ai.onnx, beside If and Scan."""
MAX_ELEMENTS = 1 << 28
"""Of a value whose shape stands in the file."""
_FORWARD = Counter(["Unsqueeze", "Add", "ReduceMax", "ArgMax", "Add", "ReduceMax", "Sub", "Where", "Where"])
_BACKWARD = Counter(["GatherElements", "Identity"])
_STEP = Counter(
    Concat=1,
    MatMulInteger=1,
    Mul=5,
    Cast=1,
    Add=2,
    Split=1,
    Sigmoid=3,
    Tanh=2,
    QuantizeLinear=1,
    Identity=1,
)
_SCAN_ATTRIBUTES = {"body", "num_scan_inputs", "scan_input_directions", "scan_output_directions"}
_RECURRENT = frozenset(("LSTM", "GRU", "RNN"))
_NEED_ROWS = frozenset(("LSTM", "GRU", "Scan"))
"""Those that onnxruntime falls over where they are given none."""
_AT_LEAST = {"batch_dims": 0, "group": 1, "hidden_size": 1, "kernel_shape": 1, "strides": 1, "dilations": 1}
_SHAPES = {"ConstantOfShape": 0, "Expand": 1, "Reshape": 1}
"""Operator -> which of its inputs is a shape."""
_FLOATS = {"float16": "<f2", "float32": "<f4", "float64": "<f8"}
_INTEGERS = {"int32": "<i4", "int64": "<i8"}
MAX_INTEGER = 1 << 24
"""Of whole numbers among the constants, either sign: sizes, positions, ids."""
MAX_RANGE = 1 << 20
"""Of constants that a Range runs from, to and by."""
_UNBOUNDED = {2**31} | {bound for name in ("int32", "int64") for bound in (np.iinfo(name).min, np.iinfo(name).max)}
"""How a slice says "to the end"; no other number of a graph is so large."""


def problem(file: ModelFile) -> str:
    """What of the rules the file breaks, the first found; "" where none."""
    if file.forbidden:
        return file.forbidden
    return next(_problems(file), "")


def _problems(file: ModelFile) -> Iterator[str]:
    if file.ir_version != IR_VERSION or file.opsets != {"": OPSET}:
        opsets = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in file.opsets.items()) or "none"
        yield f"IR version {file.ir_version} and opsets {opsets:.100}; expected {IR_VERSION} and ai.onnx {OPSET}"
    yield from _graph(file.graph, {}, branch=False)
    if op := unfilled(file.graph, file.graph.inputs, _values, _NEED_ROWS):
        yield f"an input of the operator {op} may be empty"


def _graph(graph: Graph, outer: dict[str, Initializer], *, branch: bool) -> Iterator[str]:
    constants = outer | graph.initializers
    if both := graph.initializers.keys() & graph.inputs.keys():
        yield f"the constant {min(both):.60} has the name of an input"
    for tensor in graph.initializers.values():
        yield from _tensor(tensor)
    for node in graph.nodes:
        yield from _node(node, constants, branch=branch)
        for body in node.graphs.values():
            yield from _graph(body, constants, branch=node.op_type == "If")


def _node(node: Node, constants: dict[str, Initializer], *, branch: bool) -> Iterator[str]:
    if node.domain:
        yield f"the operator {node.op_type:.60} is of the domain {node.domain:.60}; expected ai.onnx alone"
    if node.op_type == "If":
        yield from _if(node)
    elif node.op_type == "Scan":
        yield from _scan(node, branch=branch)
    elif node.op_type not in OPERATORS:
        yield f"the operator {node.op_type:.60} is none that a tagger needs"
    elif node.graphs:
        yield f"the operator {node.op_type} has a graph"
    yield from _attributes(node)
    yield from _sizes(node, constants)


def _attributes(node: Node) -> Iterator[str]:
    """Of what onnxruntime does not look at itself (docs/upstream.md)."""
    for name, value in node.attributes.items():
        if isinstance(value, Initializer):
            yield from _tensor(value)
        numbers = value if isinstance(value, tuple) else (value,)
        if any(isinstance(number, int) and abs(number) > MAX_INTEGER for number in numbers):
            yield f"the attribute {name:.60} of {node.op_type} is {numbers!s:.60}; expected at most {MAX_INTEGER}"
        if name in _AT_LEAST and any(isinstance(number, int) and number < _AT_LEAST[name] for number in numbers):
            yield f"the attribute {name} of {node.op_type} is {numbers!s:.60}; expected at least {_AT_LEAST[name]}"
    if "" in node.inputs and node.op_type not in _RECURRENT:
        yield f"an input of the operator {node.op_type} is left out"


def _sizes(node: Node, constants: dict[str, Initializer]) -> Iterator[str]:
    """How much an operator makes, as far as it stands in the file."""
    if node.op_type == "Range":
        for name in node.inputs:
            if name in constants and np.abs(_values(constants[name]).astype(np.float64)).max(initial=0) > MAX_RANGE:
                yield f"a Range goes by {name:.60}, which holds {_values(constants[name])[0]}"
    at = _SHAPES.get(node.op_type)
    if at is not None and at < len(node.inputs) and node.inputs[at] in constants:
        shape = _values(constants[node.inputs[at]]).tolist()
        if prod(abs(size) or 1 for size in shape) > MAX_ELEMENTS:
            yield f"the operator {node.op_type} makes a value of shape {shape!s:.60}"


def _if(node: Node) -> Iterator[str]:
    """The one of ``scan_int8``: a branch in float32, without control flow, and one with a Scan for each layer."""
    few, many = (node.graphs.get(name, Graph()) for name in ("then_branch", "else_branch"))
    nested = any(inner.op_type == "If" for inner in many.nodes) or any(inner.graphs for inner in few.nodes)
    if set(node.graphs) != {"then_branch", "else_branch"} or nested:
        yield "its If is not the one of graph form scan_int8"


def _scan(node: Node, *, branch: bool) -> Iterator[str]:
    """Of a best path, in the graph itself; or a layer of ``scan_int8``, in a branch. As many values as its body has."""
    kinds, body = _kinds(node), node.graphs.get("body", Graph())
    scanned = node.attributes.get("num_scan_inputs")
    if branch:
        known = any(kinds == Counter({op: n * d for op, n in _STEP.items()}) and scanned == d for d in (1, 2))
    else:
        known = (kinds == _FORWARD and scanned == 2) or (kinds == _BACKWARD and scanned == 1)
    if not known or not set(node.attributes) | set(node.graphs) <= _SCAN_ATTRIBUTES:
        yield "a Scan is neither of a best path nor a layer of graph form scan_int8"
    if len(node.inputs) != len(body.inputs) or len(node.outputs) != len(body.outputs):
        yield (
            f"a Scan has {len(node.inputs)} inputs and {len(node.outputs)} outputs, its body {len(body.inputs)} and "
            f"{len(body.outputs)}"
        )


def _kinds(node: Node) -> Counter[str]:
    return Counter(inner.op_type for inner in node.graphs.get("body", Graph()).nodes)


def _tensor(tensor: Initializer) -> Iterator[str]:
    """Weights are numbers, and sizes are such as a machine can have."""
    if tensor.dtype in _FLOATS:
        if not np.isfinite(_values(tensor)).all():
            yield f"the constant {tensor.name:.60} holds inf or nan"
    elif tensor.dtype in _INTEGERS:
        values = _values(tensor)
        large = set(values[(values > MAX_INTEGER) | (values < -MAX_INTEGER)].tolist()) - _UNBOUNDED
        if large:
            yield f"the constant {tensor.name:.60} holds {min(large)}; expected at most {MAX_INTEGER}"


def _values(tensor: Initializer) -> NDArray[Any]:
    """All numbers of a constant of a type in `_FLOATS` or `_INTEGERS`, flat; of another type none."""
    dtype = (_FLOATS | _INTEGERS).get(tensor.dtype)
    if dtype is None:
        return np.empty(0, np.int64)
    if tensor.numbers and tensor.dtype == "float16":  # written as its bits
        return np.array(tensor.numbers, np.uint16).view(np.float16)
    return np.array(tensor.numbers, dtype) if tensor.numbers else np.frombuffer(tensor.raw, dtype)
