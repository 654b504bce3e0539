"""Reads what an ONNX file says of itself, without onnx or onnxruntime.

The file is read once, as far as a limit; what is checked and what onnxruntime is given are the same bytes. Messages
and field numbers are those of onnx.proto; of them only those that a tagger needs are known (FORMAT.md, section 12).
What else there is makes a file forbidden, not unreadable: whoever has asked whether it is one of ours hears that first.
Knows nothing of what the metadata means.
"""

import hashlib
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

from .errors import DigestError, ModelFileError, NotOnnxError, OutOfMemoryError, UnsafeModelError
from .protobuf import Field, ForbiddenField, Message, Value, fields, signed

MAX_BYTES = 2**31 - 1
"""Of a file: protocol buffers can hold no more."""
MAX_METADATA = 1 << 27
"""Bytes of all metadata together: 128 MiB."""
MAX_NAME = 1024
"""Characters of a name in the graph."""
MAX_FIELDS = 1 << 21
"""Names, numbers and messages beside the weights and the metadata: what reading may cost."""
MAX_DEPTH = 2
"""A Scan in an If: graphs within graphs of the graph."""
_TYPES = {1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 9: "bool", 10: "float16", 11: "float64"}
_ITEM = {"float32": 4, "uint8": 1, "int8": 1, "int32": 4, "int64": 8, "bool": 1, "float16": 2, "float64": 8}
_MAX_RANK = 16

_MODEL: Message = {
    1: Field("ir_version", "int"),
    2: Field("producer_name", "bytes"),
    3: Field("producer_version", "bytes"),
    4: Field("domain", "bytes"),
    5: Field("model_version", "int"),
    6: Field("doc_string", "bytes"),
    7: Field("graph", "bytes"),
    8: Field("opset_import", "bytes", many=True),
    14: Field("metadata_props", "bytes", many=True),
}
_OPSET: Message = {1: Field("domain", "bytes"), 2: Field("version", "int")}
_PROPERTY: Message = {1: Field("key", "bytes"), 2: Field("value", "bytes")}
_GRAPH: Message = {
    1: Field("node", "bytes", many=True),
    2: Field("name", "bytes"),
    5: Field("initializer", "bytes", many=True),
    10: Field("doc_string", "bytes"),
    11: Field("input", "bytes", many=True),
    12: Field("output", "bytes", many=True),
    13: Field("value_info", "bytes", many=True),
}
_NODE: Message = {
    1: Field("input", "bytes", many=True),
    2: Field("output", "bytes", many=True),
    3: Field("name", "bytes"),
    4: Field("op_type", "bytes"),
    5: Field("attribute", "bytes", many=True),
    6: Field("doc_string", "bytes"),
    7: Field("domain", "bytes"),
}
_ATTRIBUTE: Message = {
    1: Field("name", "bytes"),
    2: Field("f", "float"),
    3: Field("i", "int"),
    4: Field("s", "bytes"),
    5: Field("t", "bytes"),
    6: Field("g", "bytes"),
    7: Field("floats", "float", many=True),
    8: Field("ints", "int", many=True),
    9: Field("strings", "bytes", many=True),
    13: Field("doc_string", "bytes"),
    20: Field("type", "int"),
}
_ATTRIBUTE_TYPES = {1: "f", 2: "i", 3: "s", 4: "t", 5: "g", 6: "floats", 7: "ints", 8: "strings"}
_TENSOR: Message = {
    1: Field("dims", "int", many=True),
    2: Field("data_type", "int"),
    4: Field("float_data", "float", many=True),
    5: Field("int32_data", "int", many=True),
    7: Field("int64_data", "int", many=True),
    8: Field("name", "bytes"),
    9: Field("raw_data", "bytes"),
    12: Field("doc_string", "bytes"),
    14: Field("data_location", "int"),
}
_TYPED = {
    "float_data": {"float32"},
    "int32_data": {"int32", "uint8", "int8", "bool", "float16"},
    "int64_data": {"int64"},
}
_VALUE_INFO: Message = {1: Field("name", "bytes"), 2: Field("type", "bytes"), 3: Field("doc_string", "bytes")}
_VALUE_TYPE: Message = {1: Field("tensor_type", "bytes"), 6: Field("denotation", "bytes")}
_TENSOR_TYPE: Message = {1: Field("elem_type", "int"), 2: Field("shape", "bytes")}
_SHAPE: Message = {1: Field("dim", "bytes", many=True)}
_DIM: Message = {1: Field("dim_value", "int"), 2: Field("dim_param", "bytes"), 3: Field("denotation", "bytes")}


@dataclass(frozen=True)
class Initializer:
    """One constant of a graph.

    Attributes:
        raw: its numbers, little-endian, in the file's own bytes; of one whose numbers are written singly, nothing.
        numbers: those of one that is written singly.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    raw: memoryview = field(repr=False, compare=False)
    numbers: tuple[float, ...] = ()

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return prod(self.shape)


@dataclass(frozen=True)
class Node:
    """One operator of a graph.

    Attributes:
        attributes: numbers and lists of them, text as bytes, constants; not the graphs.
        graphs: the bodies of control flow, by the attribute's name.
    """

    op_type: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, object] = field(default_factory=dict, compare=False)
    graphs: Mapping[str, "Graph"] = field(default_factory=dict, compare=False)


@dataclass
class Graph:
    """Operators in order, constants, and what goes in and out by name.

    Attributes:
        inputs: name -> how many axes it has.
    """

    name: str = ""
    nodes: list[Node] = field(default_factory=list)
    initializers: dict[str, Initializer] = field(default_factory=dict)
    inputs: dict[str, int] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)

    def inner(self) -> Iterator["Graph"]:
        """The bodies of its control flow, at any depth."""
        for node in self.nodes:
            for graph in node.graphs.values():
                yield graph
                yield from graph.inner()


@dataclass
class ModelFile:
    """What the file at ``path`` says of itself.

    Attributes:
        data: all of it; what is checked and what is run are these bytes, whatever becomes of the file.
        sha256: of ``data``, in hexadecimal.
        forbidden: the first thing found in it that no tagger has (FORMAT.md, section 12), or "".
    """

    path: Path
    data: bytes = field(repr=False)
    sha256: str
    ir_version: int = 0
    producer: str = ""
    opsets: dict[str, int] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    graph: Graph = field(default_factory=Graph)
    forbidden: str = ""

    def check_digest(self, sha256: str | None) -> None:
        """Whether it is the file that was meant; with None any is.

        Raises:
            DigestError: it is another one.
            ValueError: ``sha256`` is no digest.
        """
        if sha256 is None:
            return
        expected = sha256.strip().lower()
        if len(expected) != 64 or not all(digit in "0123456789abcdef" for digit in expected):
            raise ValueError(f"sha256 is {expected!r:.80}; expected 64 hexadecimal digits")
        if self.sha256 != expected:
            raise DigestError(
                f"{self.path}: the file's SHA-256 is {self.sha256}; expected {expected}: it is another file, or was "
                "changed; get the right one, or load it anew if the change was meant"
            )

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return len(self.data)

    @property
    def nodes(self) -> list[Node]:
        """Operators of the graph itself."""
        return self.graph.nodes

    @property
    def inner_nodes(self) -> list[Node]:
        """Those of the bodies of its control flow, at any depth."""
        return [node for graph in self.graph.inner() for node in graph.nodes]

    @property
    def initializers(self) -> dict[str, Initializer]:
        """Constants of the graph itself."""
        return self.graph.initializers


def read_model_file(path: str | Path, sha256: str | None = None) -> ModelFile:
    """What the ONNX file at ``path`` says of itself.

    Args:
        sha256: what the SHA-256 of the file has to be, 64 hexadecimal digits.

    Raises:
        ModelFileError: no such file, or it cannot be read.
        NotOnnxError: the bytes are not an ONNX model.
        DigestError: it is another file than the digest is of.
        ValueError: ``sha256`` is no digest.
    """
    path = Path(path)
    data = _whole(path)
    file = ModelFile(path, data, hashlib.sha256(data).hexdigest())
    file.check_digest(sha256)
    return parse_model_file(file)


def parse_model_file(model: ModelFile) -> ModelFile:
    """``model`` with all that its bytes say.

    Raises:
        NotOnnxError: they are not an ONNX model.
    """
    return _Reader(model).read()


def _whole(path: Path) -> bytes:
    try:
        size = path.stat()
        if not stat.S_ISREG(size.st_mode):  # opening a named pipe would wait for whoever writes it
            raise ModelFileError(f"{path}: cannot open the model file (not a regular file); pass a readable file")
        if size.st_size > MAX_BYTES:
            raise UnsafeModelError(
                f"{path}: {size.st_size} bytes; expected at most {MAX_BYTES}, the most that one ONNX file can hold"
            )
        with path.open("rb") as stream:
            data = stream.read(size.st_size + 1)
    except OSError as e:
        cure = "make one with `lstm-deploy export`" if isinstance(e, FileNotFoundError) else "pass a readable file"
        raise ModelFileError(f"{path}: cannot open the model file ({e.strerror or e}); {cure}") from e
    except ModelFileError:
        raise
    except ValueError as e:  # a name that no file can have
        raise ModelFileError(f"{str(path)!r}: cannot open the model file ({e}); pass a readable file") from e
    except MemoryError as e:
        raise OutOfMemoryError(f"{path}: the model file does not fit into the memory there is; free some") from e
    if not data:
        raise NotOnnxError(f"{path}: the file is empty; expected an ONNX model made by `lstm-deploy export`")
    return data


class _Reader:
    """One pass over the bytes. Damage ends it, what is forbidden is noted: the first of it, and reading goes on."""

    def __init__(self, model: ModelFile) -> None:
        self.model = model
        self._read = 0
        self._metadata = 0

    def read(self) -> ModelFile:
        model = self.model
        try:
            self._model(memoryview(model.data))
        except (ValueError, RecursionError) as e:
            raise NotOnnxError(
                f"{model.path}: not an ONNX model ({_one_line(e)}); expected a file made by `lstm-deploy export`, "
                "whole and unchanged"
            ) from e
        if not model.ir_version or not (model.nodes or model.forbidden):
            raise NotOnnxError(
                f"{model.path}: not an ONNX model (it has no graph); expected a file made by `lstm-deploy export`"
            )
        return model

    def _model(self, view: memoryview) -> None:
        # The metadata first: it says whose file this is, whatever else there may be wrong with it.
        graphs = []
        for name, value in self._fields(view, _MODEL, "the model"):
            if name == "ir_version":
                self.model.ir_version = _int(value)
            elif name == "producer_name":
                self.model.producer = _text(value)
            elif name == "opset_import":
                self._opset(_bytes(value))
            elif name == "metadata_props":
                self._property(_bytes(value))
            elif name == "graph":
                graphs.append(_bytes(value))
        for graph in graphs:
            self.model.graph = self._graph(graph, 0)

    def _fields(self, view: memoryview, message: Message, what: str) -> Iterator[tuple[str, Value]]:
        """`fields`; what is forbidden is noted, and the rest of that message is left."""
        try:
            for found in fields(view, message, what):
                self._read += 1
                if self._read > MAX_FIELDS:
                    raise ValueError(f"more than {MAX_FIELDS} operators, names and numbers")
                yield found
        except ForbiddenField as e:
            self._forbid(str(e))

    def _forbid(self, fact: str) -> None:
        self.model.forbidden = self.model.forbidden or fact

    def _name(self, value: Value, what: str) -> str:
        """A name, which may come to stand in a message on a terminal."""
        text = _text(value)
        if len(text) > MAX_NAME or not text.isprintable():
            self._forbid(f"{what} is named {text!r:.60}; expected at most {MAX_NAME} printable characters")
        return text

    def _opset(self, view: memoryview) -> None:
        entry = dict(self._fields(view, _OPSET, "an opset"))
        domain = self._name(entry.get("domain", memoryview(b"")), "a domain")
        if domain in self.model.opsets:
            self._forbid(f"the opset of {domain or 'ai.onnx'} is given twice")
        self.model.opsets[domain] = _int(entry.get("version", 0))

    def _property(self, view: memoryview) -> None:
        self._metadata += len(view)
        if self._metadata > MAX_METADATA:
            raise ValueError(f"metadata of more than {MAX_METADATA} bytes")
        entry = dict(self._fields(view, _PROPERTY, "a metadata entry"))
        key, text = (_text(entry.get(part, memoryview(b""))) for part in ("key", "value"))
        if key in self.model.properties:
            self._forbid(f"the metadata has the key {key!r:.60} twice")
        self.model.properties[key] = text

    def _graph(self, view: memoryview, depth: int) -> Graph:
        if depth > MAX_DEPTH:
            self._forbid(f"control flow stands more than {MAX_DEPTH} deep in control flow")
            return Graph()
        graph = Graph()
        for name, value in self._fields(view, _GRAPH, "a graph"):
            if name == "node":
                graph.nodes.append(self._node(_bytes(value), depth))
            elif name == "initializer":
                tensor = self._tensor(_bytes(value))
                if tensor.name in graph.initializers:
                    self._forbid(f"the constant {tensor.name!r:.60} is there twice")
                graph.initializers[tensor.name] = tensor
            elif name == "name":
                graph.name = self._name(value, "a graph")
            elif name != "doc_string":
                self._value_info(graph, name, _bytes(value))
        return graph

    def _value_info(self, graph: Graph, where: str, view: memoryview) -> None:
        entry = dict(self._fields(view, _VALUE_INFO, "a value"))
        name = self._name(entry.get("name", memoryview(b"")), "a value")
        kind = dict(self._fields(_bytes(entry.get("type", memoryview(b""))), _VALUE_TYPE, "the type of a value"))
        tensor = dict(self._fields(_bytes(kind.get("tensor_type", memoryview(b""))), _TENSOR_TYPE, "a tensor type"))
        shape = _bytes(tensor.get("shape", memoryview(b"")))
        rank = 0
        for _, axis in self._fields(shape, _SHAPE, "a shape"):
            rank += 1
            size = dict(self._fields(_bytes(axis), _DIM, "an axis"))
            self._name(size.get("dim_param", memoryview(b"")), "an axis")
        if where == "input":
            if name in graph.inputs:
                self._forbid(f"the input {name!r:.60} is there twice")
            graph.inputs[name] = rank
        elif where == "output":
            graph.outputs.append(name)

    def _node(self, view: memoryview, depth: int) -> Node:
        texts: dict[str, list[str]] = {"input": [], "output": []}
        one = {"name": "", "op_type": "", "domain": ""}
        attributes: dict[str, object] = {}
        graphs: dict[str, Graph] = {}
        for part, value in self._fields(view, _NODE, "an operator"):
            if part in texts:
                texts[part].append(self._name(value, f"an {part}"))
            elif part in one:
                one[part] = self._name(value, "an operator")
            elif part == "attribute":
                name, found = self._attribute(_bytes(value), depth)
                if name in attributes or name in graphs:
                    self._forbid(f"an operator has the attribute {name!r:.60} twice")
                if isinstance(found, Graph):
                    graphs[name] = found
                else:
                    attributes[name] = found
        return Node(
            one["op_type"],
            one["domain"],
            one["name"],
            tuple(texts["input"]),
            tuple(texts["output"]),
            attributes,
            graphs,
        )

    def _attribute(self, view: memoryview, depth: int) -> tuple[str, object]:
        name, kind = "", 0
        found: dict[str, list[Value]] = {}
        for part, value in self._fields(view, _ATTRIBUTE, "an attribute"):
            if part == "name":
                name = self._name(value, "an attribute")
            elif part == "type":
                kind = _int(value)
            elif part != "doc_string":
                found.setdefault(part, []).append(value)
        part = _ATTRIBUTE_TYPES.get(kind, "")
        if not part or set(found) - {part}:
            self._forbid(f"the attribute {name!r:.60} is of type {kind}, and has {sorted(found)}")
            return name, ()
        return name, self._value(part, found.get(part, []), depth)

    def _value(self, part: str, values: list[Value], depth: int) -> object:
        """What an attribute holds, by the field that it stands in."""
        if part == "g":
            return self._graph(_bytes(values[0]) if values else memoryview(b""), depth + 1)
        if part == "t":
            return self._tensor(_bytes(values[0]) if values else memoryview(b""))
        if part in ("i", "ints"):
            numbers = tuple(signed(_int(value)) for value in values)
        elif part in ("s", "strings"):
            numbers = tuple(bytes(_bytes(value)[:MAX_NAME]) for value in values)  # type: ignore[assignment]
        else:
            numbers = tuple(values)  # type: ignore[arg-type]
        if part in ("ints", "strings", "floats"):
            return numbers
        return numbers[0] if numbers else {"i": 0, "s": b"", "f": 0.0}[part]

    def _tensor(self, view: memoryview) -> Initializer:
        shape: list[int] = []
        name, code, raw = "", 0, memoryview(b"")
        typed: dict[str, list[Value]] = {}
        for part, value in self._fields(view, _TENSOR, "a constant"):
            if part == "dims":
                shape.append(signed(_int(value)))
                if len(shape) > _MAX_RANK:
                    raise ValueError(f"a constant of more than {_MAX_RANK} axes")
            elif part == "data_type":
                code = _int(value)
            elif part == "name":
                name = self._name(value, "a constant")
            elif part == "raw_data":
                raw = _bytes(value)
            elif part == "data_location" and value:
                self._forbid(f"the constant {name!r:.60} has its numbers in another file")
            elif part in _TYPED:
                typed.setdefault(part, []).append(value)
        dtype = _TYPES.get(code, f"type {code}")
        found = Initializer(name, dtype, tuple(shape), raw, self._numbers(name, dtype, typed))
        self._check_tensor(found, bool(typed))
        return found

    def _numbers(self, name: str, dtype: str, typed: dict[str, list[Value]]) -> tuple[float, ...]:
        if not typed:
            return ()
        part, *others = typed
        if others or dtype not in _TYPED[part]:
            self._forbid(f"the constant {name!r:.60} is {dtype} and has {sorted(typed)}")
            return ()
        return tuple(signed(value) if isinstance(value, int) else float(value) for value in typed[part])  # type: ignore[arg-type]

    def _check_tensor(self, tensor: Initializer, typed: bool) -> None:
        """As many numbers as the shape says, in one place."""
        if tensor.dtype not in _ITEM:
            self._forbid(f"the constant {tensor.name!r:.60} is of {tensor.dtype}; expected one of {', '.join(_ITEM)}")
            return
        if any(size < 0 for size in tensor.shape) or tensor.size > MAX_BYTES:
            self._forbid(f"the constant {tensor.name!r:.60} has the shape {tensor.shape}")
            return
        held = len(tensor.numbers) if typed else len(tensor.raw) / _ITEM[tensor.dtype]
        if held != tensor.size or (typed and len(tensor.raw)):
            self._forbid(f"the constant {tensor.name!r:.60} of shape {tensor.shape} holds {held:g} numbers")


def _int(value: Value) -> int:
    if not isinstance(value, int):
        raise ValueError("a text where a number should be")
    return value


def _bytes(value: Value) -> memoryview:
    if not isinstance(value, memoryview):
        raise ValueError("a number where a message should be")
    return value


def _text(value: Value) -> str:
    return bytes(_bytes(value)).decode("utf-8")


def _one_line(e: Exception) -> str:
    return " ".join(str(e).split())[:200]
