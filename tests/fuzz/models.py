"""Model files, mutated in their bytes, in their messages and in their meaning, opened and run.

What is accepted is compared with what onnx's own reader finds in the same bytes, so that no file can mean one thing to
the checks and another to onnxruntime; and a file that was changed at all is refused wherever its digest is asked for.
"""

import json
import os
import random
import struct
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests.runtime.onnx_messages import MESSAGES, Message

from .classes import FuzzClass, Wrong

_ROOT = Path(__file__).parents[2]
_DATA = _ROOT / "tests" / "runtime" / "data"
SEEDS = (
    _ROOT / "exported" / "tutorial.onnx",
    *(
        _DATA / f"{n}.onnx"
        for n in ("subword", "subword-int8", "characters", "characters-crf", "streaming", "segmenter")
    ),
)
_NUMBERS = (0, 1, 2, 3, 7, 8, 9, 16, 17, 64, 127, 128, 255, 256, 65535, 2**24, 2**31 - 1, 2**31, 2**32, 2**63 - 1)
_NEGATIVE = tuple(2**64 - n for n in (1, 2, 3, 5, 2**31, 2**63))
_FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-45, 1e30, -1e30, 3.4e38, float("inf"), float("-inf"), float("nan"))
_OTHERS = (
    "Loop", "If", "Scan", "SequenceConstruct", "StringNormalizer", "RandomNormal", "Dropout", "Resize", "TopK", "Tile",
    "NonMaxSuppression", "Pad", "OneHot", "Constant", "Trilu", "Bernoulli", "Optional", "ImageDecoder", "PyOp",
)  # fmt: skip
_MOST_DEPTH = 40


def _number(drawn: random.Random) -> int:
    return drawn.choice((*_NUMBERS, *_NEGATIVE, drawn.randrange(40), drawn.getrandbits(64)))


def _bytes(drawn: random.Random, data: bytes, other: bytes) -> bytes:
    """Bits flipped, and pieces cut out, doubled, put in from elsewhere or cut off."""
    out = bytearray(data)
    for _ in range(drawn.choice((1, 1, 1, 2, 8))):
        at, size = drawn.randrange(len(out) + 1), drawn.choice((1, 1, 2, 4, 16, 200))
        how = drawn.randrange(7)
        if how <= 1 and at < len(out):
            out[at] ^= 1 << drawn.randrange(8)
        elif how == 2:
            out[at : at + size] = drawn.randbytes(size)
        elif how == 3:
            del out[at : at + size]
        elif how == 4:
            out[at:at] = out[at : at + size]
        elif how == 5:
            there = drawn.randrange(len(other))
            out[at : at + size] = other[there : there + size]
        elif out:
            out = out[: drawn.randrange(len(out))] if drawn.random() < 0.5 else out + drawn.randbytes(size)
    return bytes(out)


def _messages(drawn: random.Random, model: Message, other: Message) -> None:
    """Any field of any message left out, doubled, moved, renumbered, or given another value."""
    kind = drawn.choice([*MESSAGES, "tensor", "axis", "opset", "property", "tensor"])
    found = [message for message in model.all(kind) if message.fields]
    if not found:
        return
    message = drawn.choice(found)
    at = drawn.randrange(len(message.fields))
    field = message.fields[at]
    how = drawn.randrange(8)
    if how == 0:
        del message.fields[at]
    elif how == 1:
        message.fields.insert(drawn.randrange(len(message.fields) + 1), list(field))
    elif how == 2:
        message.fields[drawn.randrange(len(message.fields))] = list(field)
    elif how == 3:
        field[0] = drawn.randrange(1, 30)
    elif how == 4:
        message.fields.append([drawn.randrange(1, 30), *drawn.choice(((0, _number(drawn)), (2, drawn.randbytes(3))))])
    elif how == 5 and (there := [m for m in other.all(kind) if m.fields]):
        message.fields[at] = list(drawn.choice(drawn.choice(there).fields))
    elif how == 6 and isinstance(field[2], Message) and model.fields is not message.fields:
        kind, base = field[2].kind, list(field[2].fields)
        for _ in range(drawn.choice((1, 3, _MOST_DEPTH))):  # a graph in a graph in a graph
            field[2] = Message(kind, [*base, [field[0], 2, field[2]]])
    else:
        _value(drawn, field)


def _value(drawn: random.Random, field: list[Any]) -> None:
    """Another value of the kind that the field has."""
    if isinstance(field[2], int):
        field[2] = _number(drawn)
    elif isinstance(field[2], bytes) and field[1] == 5:
        field[2] = struct.pack("<f", drawn.choice(_FLOATS))
    elif isinstance(field[2], bytes):
        field[2] = _bytes(drawn, field[2], b"\x1b[2J\x00..\xff/") if drawn.random() < 0.7 else drawn.randbytes(4)


def _meaning(drawn: random.Random, model: Message, other: Message) -> None:
    """A graph that is still one, of another meaning: this is what reaches onnxruntime."""
    graph = drawn.choice(model.all("graph"))
    drawn.choice(_MEANINGS)(drawn, model, graph, other)


def _nodes(graph: Message) -> list[Message]:
    return [value for _, _, value in graph.of(1) if isinstance(value, Message)]


def _operator(drawn: random.Random, model: Message, graph: Message, other: Message) -> None:
    """Another one, mostly of those that are allowed."""
    from lstm_deploy.graph_rules import OPERATORS

    wanted = drawn.choice(sorted(OPERATORS)) if drawn.random() < 0.85 else drawn.choice(_OTHERS)
    if nodes := _nodes(graph):
        for field in drawn.choice(nodes).of(4):
            field[2] = wanted.encode()


def _wire(drawn: random.Random, model: Message, graph: Message, other: Message) -> None:
    """An operator reads, or writes, another value."""
    nodes = _nodes(graph)
    names = [field[2] for node in nodes for number in (1, 2) for field in node.of(number)]
    if names and (fields := drawn.choice(nodes).of(drawn.choice((1, 1, 2)))):
        drawn.choice(fields)[2] = drawn.choice([*names, b"", b"word_ids", b"lengths"])


def _inputs(drawn: random.Random, model: Message, graph: Message, other: Message) -> None:
    """An operator has one more, or one less."""
    if nodes := _nodes(graph):
        node = drawn.choice(nodes)
        fields = node.of(1)
        if fields and drawn.random() < 0.5:
            node.fields.remove(drawn.choice(fields))
        else:
            node.fields.insert(0, [1, 2, drawn.choice([b"", b"lengths", *(f[2] for f in fields)])])


def _attribute(drawn: random.Random, model: Message, graph: Message, other: Message) -> None:
    """Another number."""
    if attributes := [a for a in model.all("attribute") if a.of(3) or a.of(8) or a.of(2)]:
        field = drawn.choice([f for f in drawn.choice(attributes).fields if f[0] in (2, 3, 8)])
        if field[1] == 0 and isinstance(field[2], int):
            field[2] = drawn.choice((field[2] + 1, field[2] - 1, _number(drawn)))
        elif field[1] == 5:
            field[2] = struct.pack("<f", drawn.choice(_FLOATS))


def _constant(drawn: random.Random, model: Message, graph: Message, other: Message) -> None:
    """Other values, as many."""
    if raw := [field for t in model.all("tensor") for field in t.of(9) if field[2]]:
        field = drawn.choice(raw)
        field[2] = _other_values(drawn, field[2])


def _shape(drawn: random.Random, model: Message, graph: Message, other: Message) -> None:
    """A constant of another shape."""
    if tensors := [t for t in model.all("tensor") if t.of(1)]:
        _reshape(drawn, drawn.choice(tensors))


def _axis(drawn: random.Random, model: Message, graph: Message, other: Message) -> None:
    """Of what goes in or out."""
    if axes := model.all("axis"):
        drawn.choice(axes).fields = [
            drawn.choice(([1, 0, drawn.randrange(9)], [2, 2, drawn.choice((b"batch", b"x", b""))]))
        ]


def _place(drawn: random.Random, model: Message, graph: Message, other: Message) -> None:
    """Two operators changed over, or one of another file."""
    where = [field for field in graph.fields if field[0] == 1 and isinstance(field[2], Message)]
    if not where:
        return
    first, second = drawn.choice(where), drawn.choice(where)
    others = [n for n in other.all("node") if n.fields]
    if drawn.random() < 0.5 and others:
        first[2] = drawn.choice(others).copy()
    else:
        first[2], second[2] = second[2], first[2]


def _property(drawn: random.Random, model: Message, graph: Message, other: Message) -> None:
    """A value of the metadata, still JSON: a number changed, an item left out or doubled."""
    if not (entries := [field for entry in model.all("property") for field in entry.of(2)]):
        return
    field = drawn.choice(entries)
    try:
        field[2] = json.dumps(_changed(drawn, json.loads(field[2]))).encode()
    except (ValueError, TypeError):
        field[2] = drawn.choice((b"fp32", b"int8", b"gate", b"scan_int8", b"4", b"segmentation", b"tag"))


_MEANINGS = (
    _operator, _operator, _wire, _wire, _inputs, _attribute, _constant, _constant, _shape, _axis, _place, _property
)  # fmt: skip


def _other_values(drawn: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    size = drawn.choice((1, 4, 8))
    new = {
        1: bytes([drawn.randrange(256)]),
        4: struct.pack("<f", drawn.choice(_FLOATS)) if drawn.random() < 0.5 else struct.pack("<i", _small(drawn)),
        8: struct.pack("<q", _small(drawn)),
    }[size]
    if len(out) < size:
        return data
    at = drawn.randrange(len(out) // size) * size
    out[at : at + size] = new
    return bytes(out) if drawn.random() < 0.8 else new * (len(out) // size) + bytes(len(out) % size)


def _small(drawn: random.Random) -> int:
    return drawn.choice((-(2**31), -1000, -2, -1, 0, 1, 2, 3, 8, 100, 10**6, 2**28, 2**31 - 1))


def _reshape(drawn: random.Random, tensor: Message) -> None:
    dims = [field[2] for field in tensor.of(1)]
    raw = tensor.of(9)
    rest = [field for field in tensor.fields if field[0] != 1]
    how = drawn.randrange(4)
    if how == 0:
        drawn.shuffle(dims)
    elif how == 1:
        dims.insert(drawn.randrange(len(dims) + 1), 1)
    elif how == 2:
        dims = [dims[0] * 2, *dims[1:]]
        if raw:
            raw[0][2] = raw[0][2] * 2
    else:
        dims = [max(dims[0] // 2, 0), *dims[1:]]
        if raw:
            raw[0][2] = raw[0][2][: len(raw[0][2]) // 2]
    tensor.fields = [*([1, 0, size] for size in dims), *rest]


def _changed(drawn: random.Random, value: Any) -> Any:
    if isinstance(value, dict) and value:
        key = drawn.choice(sorted(value))
        return value | {key: _changed(drawn, value[key])} if drawn.random() < 0.9 else {key: value[key]}
    if isinstance(value, list) and value:
        at = drawn.randrange(len(value))
        new = drawn.choice(([], [value[at]] * 2, [_changed(drawn, value[at])], [_changed(drawn, value[at])]))
        return [*value[:at], *new, *value[at + 1 :]]
    if isinstance(value, bool) or value is None:
        return drawn.choice((True, False, None, 0))
    if isinstance(value, int | float):
        return drawn.choice((value + 1, value - 1, -value, 0, 1e300, 2**40, str(value), None))
    if not isinstance(value, str):
        return drawn.choice(({}, [], "", {"a": 1}, [0]))
    return drawn.choice((value * 2, value[:1], "", "\x1b]0;x\x07", "\u202eabc", "\ud800", value + "\n", 7))


def _remembered(parse: Any) -> Any:
    """``parse``, which gives what it gave if it is asked of the bytes that it was asked of last."""
    last: list[Any] = [None, None]

    def remembering(model: Any) -> Any:
        if last[0] != model.data:
            last[:] = [None, None]
            last[:] = [model.data, parse(model)]
        return replace(last[1], path=model.path)

    return remembering


class Models(FuzzClass):
    """A model file a case."""

    name = "models"
    about = (
        "model files: bytes, messages, operators, wires, attributes, weights, shapes and metadata changed; opened, run"
    )
    wanted = 100_000
    memory = 4 << 30

    def prepare(self) -> None:
        """Reads the seeds; opens one, so that onnxruntime is there."""
        import onnx

        from lstm_deploy.golden import check_golden
        from lstm_deploy.streaming import open_predictor

        self.onnx = onnx
        self.seeds = [path.read_bytes() for path in SEEDS]
        self.trees = [Message.parse(data) for data in self.seeds]
        if [tree.data() for tree in self.trees] != self.seeds:
            raise AssertionError("a seed is not what was read of it")
        self.digests = [open_predictor(path, threads=1).session.sha256 for path in SEEDS]
        check_golden(open_predictor(SEEDS[0], threads=1))
        self.folder = tempfile.mkdtemp(prefix="lstm-deploy-fuzz-")

    def case(self, index: int) -> tuple[int, bytes]:
        """The seed's number, and what became of it."""
        drawn = self.drawn(index)
        seed, other = drawn.randrange(len(self.seeds)), drawn.randrange(len(self.seeds))
        data = self.seeds[seed]
        how = drawn.random()
        if how < 0.15:
            return seed, _bytes(drawn, data, self.seeds[other])
        tree = self.trees[seed].copy()
        for _ in range(drawn.choice((1, 1, 1, 2, 3))):
            (_messages if how < 0.4 else _meaning)(drawn, tree, self.trees[other])
        return seed, tree.data()

    def save(self, case: tuple[int, bytes], path: Path) -> None:
        """The file as it is."""
        path.write_bytes(case[1])

    def one(self, case: tuple[int, bytes]) -> str:
        """Opens, asks, runs, verifies."""
        from lstm_deploy import modelfile

        # Each file is read by several readers; what the same bytes say is worked out once.
        with patch.object(modelfile, "parse_model_file", _remembered(modelfile.parse_model_file)):
            return self._one(case)

    def _one(self, case: tuple[int, bytes]) -> str:
        from lstm_deploy.errors import DigestError
        from lstm_deploy.golden import check_golden
        from lstm_deploy.inspection import describe, inspect_model
        from lstm_deploy.streaming import open_predictor

        seed, data = case
        path = Path(self.folder) / f"{os.getpid()}.onnx"
        path.write_bytes(data)
        if data != self.seeds[seed]:
            try:
                open_predictor(path, threads=1, sha256=self.digests[seed])
            except DigestError:
                pass
            else:
                raise Wrong("a changed file was taken for the one whose digest was given")
        report = inspect_model(path)
        self._same(report, data)
        predictor = open_predictor(path, threads=1)
        self._run(predictor)
        check_golden(predictor)
        if not all(line.isprintable() for line in describe(report).split("\n")):
            raise Wrong("the description holds what steers a terminal")
        return "answered"

    def _same(self, report: dict[str, Any], data: bytes) -> None:
        """What was read is what onnx reads."""
        model = self.onnx.ModelProto.FromString(data)
        theirs = [(n.op_type, tuple(n.input), tuple(n.output)) for n in model.graph.node]
        ours = [(n["op"], tuple(n["inputs"]), tuple(n["outputs"])) for n in report["nodes"]]
        if theirs != ours:
            raise Wrong(f"onnx reads the operators {theirs!s:.100}; {ours!s:.100} were checked")
        weights = [(t.name, tuple(t.dims)) for t in model.graph.initializer]
        read = [(t["name"], tuple(t["shape"])) for t in report["initializers"]]
        if weights != read:
            raise Wrong(f"onnx reads the constants {weights!s:.100}; {read!s:.100} were checked")
        if any(t.external_data or t.data_location for t in model.graph.initializer) or model.functions:
            raise Wrong("external data, or functions")

    def _run(self, predictor: Any) -> None:
        metadata = predictor.metadata
        known = [w for w in metadata.vocabulary.words if w][:5] if metadata.vocabulary else []
        if metadata.characters and not known:
            known = ["".join(c for c in metadata.characters.characters if c)[:3]]
        words = known or ["a", "b"]
        sentences = [[words[i % len(words)] for i in range(n)] for n in (3, 1, 0, 7, 2, 5, 1, 2, 4)]
        if hasattr(predictor, "predict_batch"):
            answers = predictor.predict_batch(sentences)
        else:
            answers = [predictor.predict(sentence) for sentence in sentences]
        answers.append(predictor.predict(sentences[0]))
        for tokens, answer in zip([*sentences, sentences[0]], answers, strict=True):
            if len(answer.tags) != len(tokens) or len(answer.scores) != len(tokens):
                raise Wrong(f"{len(tokens)} tokens, {len(answer.tags)} tags, {len(answer.scores)} scores")
            if not set(answer.tags) <= set(metadata.tags):
                raise Wrong(f"tags {answer.tags!s:.100}, none of the model's")
            if not all(0 <= score <= 1.001 for score in answer.scores):
                raise Wrong(f"scores {answer.scores!s:.100}")


CLASSES = (Models(),)
