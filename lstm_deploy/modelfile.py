"""Reads what an ONNX file says of itself, without onnx, onnxruntime or its weights.

A protocol-buffer walk over the fields needed (numbers from onnx.proto): metadata, opsets, nodes,
and name, type and shape of each initializer. Weights are skipped in place through a memory map,
so that a file of any size answers in milliseconds. Knows nothing of what the metadata means.
"""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

from .errors import ModelFileError, NotOnnxError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MODEL_IR, _MODEL_PRODUCER, _MODEL_GRAPH, _MODEL_OPSET, _MODEL_PROPERTY = 1, 2, 7, 8, 14
_GRAPH_NODE, _GRAPH_INITIALIZER = 1, 5
_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME, _NODE_TYPE, _NODE_DOMAIN = 1, 2, 3, 4, 7
_NODE_ATTRIBUTE, _ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS = 5, 6, 11
_MAX_DEPTH = 8
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_NAME = 1, 2, 8
_TYPES = {1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 9: "bool", 10: "float16", 11: "float64"}


@dataclass(frozen=True)
class Node:
    """One operator of the graph."""

    op_type: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Initializer:
    """One constant of the graph: its shape and type, not its values."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return prod(self.shape)


@dataclass
class ModelFile:
    """What the file at ``path`` says of itself.

    Attributes:
        nodes: operators of the graph itself.
        inner_nodes: those of the bodies of its control flow, at any depth.
    """

    path: Path
    size: int
    ir_version: int = 0
    producer: str = ""
    opsets: dict[str, int] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    inner_nodes: list[Node] = field(default_factory=list)
    initializers: dict[str, Initializer] = field(default_factory=dict)


def read_model_file(path: str | Path) -> ModelFile:
    """What the ONNX file at ``path`` says of itself.

    Raises:
        ModelFileError: no such file, or it cannot be read.
        NotOnnxError: the bytes are not an ONNX model.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            size = path.stat().st_size
            if not size:
                raise NotOnnxError(f"{path}: the file is empty; expected an ONNX model made by `lstm-deploy export`")
            # Not closed by hand: a failure's traceback still holds views of it, which forbids closing.
            data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        return _read(path, memoryview(data))
    except OSError as e:
        cure = "make one with `lstm-deploy export`" if isinstance(e, FileNotFoundError) else "pass a readable file"
        raise ModelFileError(f"{path}: cannot open the model file ({e.strerror or e}); {cure}") from e


def _read(path: Path, view: memoryview) -> ModelFile:
    model = ModelFile(path, len(view))
    has_graph = False
    try:
        for number, value in _fields(view):
            if number == _MODEL_IR and isinstance(value, int):
                model.ir_version = value
            elif isinstance(value, int):
                continue
            elif number == _MODEL_PRODUCER:
                model.producer = _text(value)
            elif number == _MODEL_OPSET:
                entry = dict(_fields(value))
                model.opsets[_text(entry.get(1, b""))] = int(entry.get(2, 0))  # type: ignore[arg-type]
            elif number == _MODEL_PROPERTY:
                entry = dict(_fields(value))
                model.properties[_text(entry.get(1, b""))] = _text(entry.get(2, b""))
            elif number == _MODEL_GRAPH:
                has_graph = True
                _read_graph(model, value)
    except (ValueError, TypeError, AttributeError) as e:
        raise NotOnnxError(
            f"{path}: not an ONNX model ({e}); expected a file made by `lstm-deploy export`, whole and unchanged"
        ) from e
    if not has_graph or not model.ir_version:
        raise NotOnnxError(f"{path}: not an ONNX model (it has no graph); expected a file made by `lstm-deploy export`")
    return model


def _read_graph(model: ModelFile, view: memoryview) -> None:
    for number, value in _fields(view):
        if number == _GRAPH_NODE:
            model.nodes.append(_read_node(_message(value)))
            _read_inner(model, _message(value), 1)
        elif number == _GRAPH_INITIALIZER:
            tensor = _read_tensor(_message(value))
            model.initializers[tensor.name] = tensor


def _read_node(view: memoryview) -> Node:
    texts: dict[int, list[str]] = {}
    for number, value in _fields(view):
        if number in (_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME, _NODE_TYPE, _NODE_DOMAIN):
            texts.setdefault(number, []).append(_text(value))
    one = {number: values[-1] for number, values in texts.items()}
    return Node(
        one.get(_NODE_TYPE, ""),
        one.get(_NODE_DOMAIN, ""),
        one.get(_NODE_NAME, ""),
        tuple(texts.get(_NODE_INPUT, ())),
        tuple(texts.get(_NODE_OUTPUT, ())),
    )


def _read_inner(model: ModelFile, node: memoryview, depth: int) -> None:
    """Nodes of the graphs that are attributes of ``node``."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"control flow nested more than {_MAX_DEPTH} deep")
    for number, attribute in _fields(node):
        if number != _NODE_ATTRIBUTE:
            continue
        for part, graph in _fields(_message(attribute)):
            if part not in (_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS):
                continue
            for kind, inner in _fields(_message(graph)):
                if kind == _GRAPH_NODE:
                    model.inner_nodes.append(_read_node(_message(inner)))
                    _read_inner(model, _message(inner), depth + 1)


def _read_tensor(view: memoryview) -> Initializer:
    shape: list[int] = []
    name, dtype = "", 0
    for number, value in _fields(view):
        if number == _TENSOR_DIMS:
            shape += [value] if isinstance(value, int) else _packed(_message(value))
        elif number == _TENSOR_TYPE and isinstance(value, int):
            dtype = value
        elif number == _TENSOR_NAME:
            name = _text(value)
    return Initializer(name, _TYPES.get(dtype, f"type {dtype}"), tuple(shape))


def _fields(view: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(field number, varint or bytes) of each field of a message; ValueError where it is not one."""
    at = 0
    while at < len(view):
        key, at = _varint(view, at)
        wire = key & 7
        if wire == _VARINT:
            value, at = _varint(view, at)
            yield key >> 3, value
            continue
        if wire == _BYTES:
            size, at = _varint(view, at)
        elif wire in (_FIXED32, _FIXED64):
            size = 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {wire} at byte {at}")
        if at + size > len(view):
            raise ValueError(f"a field ends {at + size - len(view)} bytes past its message")
        yield key >> 3, view[at : at + size]
        at += size


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(view):
            raise ValueError("a number is cut off")
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError(f"a number of more than 10 bytes at byte {at}")


def _packed(view: memoryview) -> list[int]:
    values, at = [], 0
    while at < len(view):
        value, at = _varint(view, at)
        values.append(value)
    return values


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise TypeError("a number where a message should be")
    return value


def _text(value: int | memoryview | bytes) -> str:
    if isinstance(value, int):
        raise TypeError("a number where a text should be")
    return bytes(value).decode("utf-8")
