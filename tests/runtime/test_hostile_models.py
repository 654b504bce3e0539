"""Model files made to do harm: refused before onnxruntime sees them, whoever asks, and never printed raw."""

import io
import json
import os
import pickle
import struct
import sys
import threading
import tracemalloc
from pathlib import Path

import onnxruntime
import pytest
from click.testing import CliRunner
from model_files import (
    CHARACTERS,
    CHARACTERS_CRF,
    SEGMENTER,
    STREAMING,
    SUBWORD,
    SUBWORD_INT8,
    TUTORIAL,
    field,
    rewrite,
    stored,
    varint,
)
from onnx_messages import Message

from lstm_deploy import Predictor, StreamingPredictor, graph_rules, modelfile, protobuf
from lstm_deploy.admission import admit
from lstm_deploy.cli import main
from lstm_deploy.errors import (
    DigestError,
    LstmDeployError,
    MetadataError,
    ModelFileError,
    NotOnnxError,
    UnsafeModelError,
)
from lstm_deploy.golden import check_golden
from lstm_deploy.inspection import inspect_model
from lstm_deploy.modelfile import read_model_file
from lstm_deploy.session import TaggerSession
from lstm_deploy.streaming import open_predictor

ALL = (TUTORIAL, SUBWORD, SUBWORD_INT8, CHARACTERS, CHARACTERS_CRF, STREAMING, SEGMENTER)


@pytest.fixture
def unseen(monkeypatch):
    """onnxruntime, which is not to see any file."""

    def told(*args, **kwargs):
        raise AssertionError("onnxruntime was given the file")

    monkeypatch.setattr(onnxruntime, "InferenceSession", told)


def changed(source, target, change):
    """A model file whose messages ``change`` has changed."""
    model = Message.parse(source.read_bytes())
    change(model)
    target.write_bytes(model.data())
    return target


def refused(path, kind=UnsafeModelError):
    """The one message of everything that opens files."""
    said = set()
    for reader in (Predictor.load, StreamingPredictor.load, TaggerSession, open_predictor, inspect_model, admit):
        with pytest.raises(kind) as caught:
            reader(path)
        said.add(str(caught.value))
    (message,) = said
    assert message.isprintable()
    assert str(path) in message
    return message


def nodes(model, op):
    """Those of an operator, at any depth."""
    return [node for node in model.all("node") if node.of(4)[0][2] == op.encode()]


def graph(model):
    """The outermost."""
    return model.of(7)[0][2]


def to(op):
    def change(model):
        nodes(model, "Add")[0].of(4)[0][2] = op.encode()

    return change


def on_tensor(change):
    def on_model(model):
        change(next(t for t in model.all("tensor") if t.of(9) and len(t.of(9)[0][2]) > 64))

    return on_model


def external(tensor):
    """As a file that asks for the password file."""
    tensor.fields = [f for f in tensor.fields if f[0] != 9]
    place = field(1, b"location") + field(2, b"/etc/passwd")
    tensor.fields += [[13, 2, place], [14, 0, 1]]


def located_elsewhere(tensor):
    tensor.fields.append([14, 0, 1])


def raw(value, at=0):
    def change(tensor):
        data = bytearray(tensor.of(9)[0][2])
        data[at : at + len(value)] = value
        tensor.of(9)[0][2] = bytes(data)

    return change


def on_shape(value):
    """A number of the first int64 constant."""

    def change(model):
        tensor = next(t for t in model.all("tensor") if t.of(2)[0][2] == 7)
        raw(struct.pack("<q", value))(tensor)

    return change


def named(name, value):
    """Other numbers of one constant."""

    def change(model):
        tensor = next(t for t in model.all("tensor") if t.of(8) and t.of(8)[0][2] == name.encode())
        tensor.of(9)[0][2] = value

    return change


def nested(depth):
    """Control flow in control flow in ..."""

    def change(model):
        body = Message("graph", [[1, 2, Message("node", [[4, 2, b"Identity"]])]])
        for _ in range(depth):
            attribute = Message("attribute", [[1, 2, b"body"], [6, 2, body], [20, 0, 5]])
            body = Message("graph", [[1, 2, Message("node", [[4, 2, b"Scan"], [5, 2, attribute]])]])
        graph(model).fields += body.fields

    return change


def first(op, change):
    def on_model(model):
        change(nodes(model, op)[0])

    return on_model


def without_a_node(scan):
    body = next(f[2] for a in scan.all("attribute") for f in a.of(6))
    body.fields.remove(body.of(1)[0])


def with_field(kind, number, value=b"x"):
    def change(model):
        model.all(kind)[0].fields.append([number, 0 if isinstance(value, int) else 2, value])

    return change


def twice(kind, number):
    def change(model):
        message = next(m for m in model.all(kind) if m.of(number))
        message.fields.append(message.of(number)[0])

    return change


FORBIDDEN = {
    "external data": (on_tensor(external), "a constant has field 13, which no tagger needs"),
    "data elsewhere": (on_tensor(located_elsewhere), "has its numbers in another file"),
    "an operator of none": (to("StringNormalizer"), "the operator StringNormalizer is none that a tagger needs"),
    "an operator that reads files": (to("ImageDecoder"), "ImageDecoder"),
    "randomness": (to("RandomNormal"), "RandomNormal"),
    "a loop": (to("Loop"), "Loop"),
    "an If of its own": (to("If"), "its If is not the one of graph form scan_int8"),
    "a Scan without a body": (to("Scan"), "a Scan is neither of a best path nor a layer"),
    "a terminal's orders": (to("\x1b]0;pwned\x07"), r"an operator is named '\x1b]0;pwned\x07'"),
    "a long name": (to("A" * 2000), "at most 1024 printable characters"),
    "a domain": (first("Add", lambda n: n.fields.append([7, 2, b"com.microsoft"])), "of the domain com.microsoft"),
    "a custom domain": (first("Add", lambda n: n.fields.append([7, 2, b"my.ops"])), "expected ai.onnx alone"),
    "control flow in control flow": (nested(3), "control flow stands more than 2 deep"),
    "very deep": (nested(200), "more than 2 deep"),
    "a graph in an operator": (
        first("Add", lambda n: n.fields.append([5, 2, field(1, b"g") + field(6, field(2, b"x")) + b"\xa0\x01\x05"])),
        "the operator Add has a graph",
    ),
    "functions": (with_field("model", 25), "the model has field 25"),
    "training information": (with_field("model", 20), "the model has field 20"),
    "sparse constants": (with_field("graph", 15), "a graph has field 15"),
    "an overload": (with_field("node", 8), "an operator has field 8"),
    "two graphs": (twice("model", 7), "the model has graph twice"),
    "another opset": (with_field("model", 8, field(1, b"x") + b"\x10\x11"), "opsets ai.onnx 17, x 17; expected 8"),
    "an opset twice": (twice("model", 8), "the opset of ai.onnx is given twice"),
    "metadata twice": (twice("model", 14), "the metadata has the key"),
    "a constant twice": (twice("graph", 5), "is there twice"),
    "an attribute twice": (twice("node", 5), "has the attribute"),
    "another IR": (lambda m: m.of(1)[0].__setitem__(2, 10), "IR version 10"),
    "nan": (on_tensor(raw(struct.pack("<f", float("nan")))), "holds inf or nan"),
    "inf": (on_tensor(raw(struct.pack("<f", float("-inf")), 8)), "holds inf or nan"),
    "more numbers than the shape": (on_tensor(lambda t: t.of(1)[0].__setitem__(2, 3)), "holds"),
    "a shape of more than there is": (on_tensor(lambda t: t.of(1)[0].__setitem__(2, 2**40)), "has the shape"),
    "a negative shape": (on_tensor(lambda t: t.of(1)[0].__setitem__(2, 2**64 - 1)), "has the shape (-1"),
    "a type of none": (on_tensor(lambda t: t.of(2)[0].__setitem__(2, 8)), "is of type 8"),
    "two kinds of numbers": (on_tensor(lambda t: t.fields.append([7, 2, b"\x01"])), "is float32 and has"),
    "numbers twice": (on_tensor(lambda t: t.fields.append([4, 2, b"\x00" * len(t.of(9)[0][2])])), "holds"),
    "a huge size": (on_shape(2**40), "holds 1099511627776; expected at most 16777216"),
    "a negative size": (on_shape(-(2**25)), "holds -33554432"),
    "an endless range": (
        named("tags.zero", struct.pack("<i", -(2**21))),
        "a Range goes by tags.zero",
    ),
}


@pytest.mark.parametrize("how", FORBIDDEN)
def test_what_no_tagger_has_is_refused_unseen(tmp_path, how, unseen):
    change, says = FORBIDDEN[how]
    assert says in refused(changed(TUTORIAL, tmp_path / "m.onnx", change))


@pytest.mark.parametrize(
    ("source", "op", "change"),
    [
        (CHARACTERS_CRF, "Scan", without_a_node),
        (SUBWORD_INT8, "Scan", without_a_node),
        (CHARACTERS_CRF, "Scan", lambda n: n.fields.append([5, 2, field(1, b"x") + b"\x18\x01\xa0\x01\x02"])),
        (SUBWORD_INT8, "If", lambda n: n.fields.remove(n.of(5)[0])),
    ],
)
def test_control_flow_of_another_shape_than_the_exporter_writes(tmp_path, source, op, change, unseen):
    assert "is ne" in refused(changed(source, tmp_path / "m.onnx", first(op, change))) or op == "If"


def test_a_scan_with_fewer_values_than_its_body(tmp_path, unseen):
    path = changed(CHARACTERS_CRF, tmp_path / "m.onnx", first("Scan", lambda n: n.fields.remove(n.of(1)[0])))
    assert "a Scan has 2 inputs and 2 outputs, its body 3 and 2" in refused(path)


@pytest.mark.parametrize("read", ["ConstantOfShape", "Concat"])
def test_a_state_that_a_row_without_tokens_would_empty(tmp_path, read, unseen):
    """Found by fuzzing: the sizes of the first state are taken from the lengths, and one of them is 0."""

    def change(model):
        for node in nodes(model, read):
            if b"state_shape" in [value for _, _, value in node.fields]:
                node.of(1)[-1][2] = b"long_lengths"

    path = changed(SUBWORD_INT8, tmp_path / "m.onnx", change)
    assert "an input of the operator Scan may be empty" in refused(path)


def test_lengths_for_a_recurrence_of_a_graph_form_without(tmp_path, unseen):
    path = changed(TUTORIAL, tmp_path / "m.onnx", first("LSTM", lambda node: node.fields.append([1, 2, b"lengths"])))
    message = refused(path, MetadataError)
    assert "the metadata says graph form reverse_sequence, whose operators know no lengths" in message

    def left_out(node):
        node.fields += [[1, 2, b""], [1, 2, b"time_first"]]  # as if it were a first state

    path = changed(TUTORIAL, tmp_path / "m.onnx", first("LSTM", left_out))
    assert len(next(node for node in admit(path)[0].nodes if node.op_type == "LSTM").inputs) == 6


def test_ids_that_are_looked_up_in_no_table(tmp_path, unseen):
    def change(model):
        nodes(model, "Gather")[0].of(1)[1][2] = b"others"
        other = Message("node", [[1, 2, b"word_ids"], [2, 2, b"others"], [4, 2, b"Abs"]])
        graph(model).fields.insert(0, [1, 2, other])

    message = refused(changed(TUTORIAL, tmp_path / "m.onnx", change), MetadataError)
    assert "no table in the graph is looked up by word_ids; export the model again" in message


@pytest.mark.parametrize("op", ["ConstantOfShape", "Expand"])
def test_a_constant_that_asks_for_more_memory_than_there_is(tmp_path, op, unseen):
    def change(model):
        sizes = Message("tensor", [[1, 0, 3], [2, 0, 7], [8, 2, b"sizes"], [9, 2, struct.pack("<3q", 2**20, 2**20, 9)]])
        ins = [[1, 2, b"tags.zero"], [1, 2, b"sizes"]] if op == "Expand" else [[1, 2, b"sizes"]]
        graph(model).fields[:0] = [
            [5, 2, sizes],
            [1, 2, Message("node", [*ins, [2, 2, b"filled"], [4, 2, op.encode()]])],
        ]

    assert f"the operator {op} makes a value of shape" in refused(changed(TUTORIAL, tmp_path / "m.onnx", change))


def test_every_file_here_keeps_the_rules():
    for path in ALL:
        assert graph_rules.problem(admit(path)[0]) == ""


def test_what_is_checked_is_what_is_run(tmp_path, monkeypatch):
    """The file is another one by the time that onnxruntime is called."""
    path = tmp_path / "m.onnx"
    path.write_bytes(SUBWORD.read_bytes())
    real = onnxruntime.InferenceSession

    def replaced(source, *args, **kwargs):
        path.write_bytes(TUTORIAL.read_bytes())
        return real(source, *args, **kwargs)

    monkeypatch.setattr(onnxruntime, "InferenceSession", replaced)
    assert Predictor.load(path).predict(["Ann", "went"]) == Predictor.load(SUBWORD).predict(["Ann", "went"])


def test_a_file_that_shrinks_while_it_is_read_is_damaged_not_fatal(tmp_path, monkeypatch):
    path = tmp_path / "m.onnx"
    path.write_bytes(SUBWORD.read_bytes())
    real = io.BufferedReader.read

    class Half:
        def __init__(self, stream):
            self.stream = stream

        def __enter__(self):
            return self

        def __exit__(self, *exc):
            self.stream.close()

        def read(self, size):
            return real(self.stream, size // 2)

    opened = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *a, **k: Half(opened(self, *a, **k)))
    with pytest.raises(NotOnnxError, match=r"past its message|cut off"):
        Predictor.load(path)


# Digests


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_a_digest_pins_a_file(tmp_path, path, unseen):
    digest = inspect_model(path)["sha256"]
    other = tmp_path / "m.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    other.write_bytes(data)
    for reader in (Predictor.load, StreamingPredictor.load, TaggerSession, open_predictor):
        with pytest.raises(DigestError, match=f"expected {digest}: it is another file"):
            reader(other, sha256=digest)
    assert admit(path, digest.upper())[0].sha256 == digest


def test_a_digest_pins_a_file_that_was_read_already():
    file = read_model_file(TUTORIAL)
    for reader in (admit, TaggerSession):
        reader(file, sha256=file.sha256)
        with pytest.raises(DigestError, match="it is another file, or was changed"):
            reader(file, sha256="0" * 64)
        with pytest.raises(ValueError, match="expected 64 hexadecimal digits"):
            reader(file, sha256="0")


@pytest.mark.parametrize("digest", ["", "abc", "g" * 64, "0" * 63])
def test_a_digest_that_is_none(digest):
    with pytest.raises(ValueError, match="expected 64 hexadecimal digits") as caught:
        Predictor.load(TUTORIAL, sha256=digest)
    assert not isinstance(caught.value, LstmDeployError)


def test_a_pickled_predictor_is_of_the_same_bytes_or_none(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(TUTORIAL.read_bytes())
    predictor = Predictor.load(path)
    kept = pickle.dumps(predictor)
    assert pickle.loads(kept).predict(["They"]) == predictor.predict(["They"])
    path.write_bytes(SUBWORD.read_bytes())
    with pytest.raises(DigestError):
        pickle.loads(kept)
    assert predictor.predict(["They"]).tags  # what is loaded goes on
    path.unlink()
    assert predictor.predict(["They"]).tags


def test_digests_on_the_command_line(tmp_path):
    shown = CliRunner().invoke(main, ["inspect", str(TUTORIAL), "--sha256"])
    digest = shown.output.strip()
    assert len(digest) == 64
    run = ["run", "--model", str(TUTORIAL), "They ate", "--sha256"]
    assert CliRunner().invoke(main, [*run, digest]).exit_code == 0
    other = CliRunner().invoke(main, [*run, "0" * 64])
    assert other.exit_code == 1
    assert f"expected {'0' * 64}" in other.output
    none = CliRunner().invoke(main, [*run, "12"])
    assert none.exit_code == 2
    assert "is no SHA-256" in none.output
    assert CliRunner().invoke(main, ["inspect", str(TUTORIAL), "--sha256", "--json"]).exit_code == 2


# Limits, and files that are none


def test_a_file_larger_than_an_onnx_file_can_be(tmp_path, unseen):
    path = tmp_path / "m.onnx"
    with path.open("wb") as stream:
        stream.truncate(2**31)  # takes no room
    assert "2147483648 bytes; expected at most 2147483647" in refused(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_does_not_wait_for_a_writer(tmp_path):
    os.mkfifo(tmp_path / "m.onnx")
    found = []

    def load():
        try:
            Predictor.load(tmp_path / "m.onnx")
        except ModelFileError as e:
            found.append(str(e))

    thread = threading.Thread(target=load, daemon=True)
    thread.start()
    thread.join(10)
    assert "not a regular file" in found[0]


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no /dev/zero here")
def test_a_device_without_end():
    with pytest.raises(ModelFileError, match="not a regular file"):
        Predictor.load("/dev/zero")


def test_a_name_that_no_file_can_have():
    with pytest.raises(ModelFileError, match="cannot open") as caught:
        Predictor.load("a\0b.onnx")
    assert str(caught.value).isprintable()


def test_metadata_of_more_than_its_limit(tmp_path, monkeypatch, unseen):
    monkeypatch.setattr(modelfile, "MAX_METADATA", 1000)
    assert "metadata of more than 1000 bytes" in refused(TUTORIAL, NotOnnxError)


def test_more_fields_than_its_limit(monkeypatch, unseen):
    monkeypatch.setattr(modelfile, "MAX_FIELDS", 100)
    assert "more than 100 operators, names and numbers" in refused(TUTORIAL, NotOnnxError)


@pytest.mark.parametrize("packed", [False, True])
def test_as_many_fields_as_it_takes_to_fill_memory(tmp_path, packed, monkeypatch, unseen):
    """A byte or two in the file could be a hundred in memory: what reading may cost is bounded."""
    monkeypatch.setattr(modelfile, "MAX_FIELDS", 20_000)

    def change(model):
        numbers = field(1, b"x") + field(8, b"\x01" * 2_000_000) + b"\xa0\x01\x07"
        node = nodes(model, "Add")[0]
        node.fields += [[5, 2, numbers]] if packed else [[1, 2, b""]] * 1_000_000

    path = changed(TUTORIAL, tmp_path / "m.onnx", change)
    tracemalloc.start()
    try:
        assert "more than 20000 operators, names and numbers" in refused(path, NotOnnxError)
        assert tracemalloc.get_traced_memory()[1] < 10e6 + 2 * path.stat().st_size
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("tags", ["\x1b[2J", "B", "C", "D", "E"], r"holds '\x1b[2J'"),
        ("tags", ["A\tB", "B", "C", "D", "E"], "printable characters"),
        ("tags", ["\u202eA", "B", "C", "D", "E"], "printable characters"),
        ("tags", ["\ud800", "B", "C", "D", "E"], "printable characters"),
        ("tags", ["A" * 2000, "B", "C", "D", "E"], "at most 1024"),
        ("tags", [f"T{i}" for i in range(70_000)], "holds 70000 tags; expected at most 65536"),
        ("training", json.loads("[" * 40 + "]" * 40), "is not JSON: it is nested more than 32 deep"),
        ("training", '{"a": 1e999}', "it holds 1e999"),
        ("training", '{"a": ' + "9" * 5000 + "}", "is not JSON"),
        ("training", '{"a": NaN}', "it holds NaN"),
        ("words", "[" * 100_000 + "]" * 100_000, "is not JSON"),
    ],
)
def test_metadata_beyond_its_limits(tmp_path, key, value, says, unseen):
    message = refused(rewrite(SUBWORD, tmp_path / "m.onnx", **{key: value}), MetadataError)
    assert says in message and f"lstm_deploy.{key}" in message


def test_a_hundred_templates(tmp_path, unseen):
    inputs = stored(SUBWORD, "inputs")
    inputs[1]["templates"] = ["lower"] * 100
    path = rewrite(SUBWORD, tmp_path / "m.onnx", inputs=inputs)
    assert "100 templates; expected at most 64" in refused(path, MetadataError)


def test_a_state_of_more_numbers_than_there_is_memory(tmp_path, unseen):
    inputs, outputs = stored(STREAMING, "inputs"), stored(STREAMING, "outputs")
    inputs[-1]["size"] = outputs[-1]["size"] = 2**40
    path = rewrite(STREAMING, tmp_path / "m.onnx", inputs=inputs, outputs=outputs)
    assert "no size up to 1048576" in refused(path, MetadataError)


# Answers


@pytest.mark.parametrize("id_", [0, 3, 7, 2**31 - 1])
def test_an_answer_with_a_tag_at_padding_or_of_none(tmp_path, id_):
    path = changed(TUTORIAL, tmp_path / "m.onnx", named("padding_tag", struct.pack("<i", id_)))
    predictor = Predictor.load(path)
    with pytest.raises(ModelFileError, match="the model answered with tag ids from") as caught:
        predictor.predict_batch([["They"], ["They", "ate", "the", "fish"]], scores=False)
    assert str(caught.value).isprintable()


def test_scores_that_are_no_probabilities(tmp_path):
    """Weights so large that sums overflow: finite, each of them, and the answer is not a number."""

    def grow(model):
        for tensor in model.all("tensor"):
            if tensor.of(2)[0][2] == 1:
                data = tensor.of(9)[0][2]
                tensor.of(9)[0][2] = struct.pack("<2f", 3e38, -3e38) * (len(data) // 8) + data[: len(data) % 8]

    predictor = Predictor.load(changed(TUTORIAL, tmp_path / "m.onnx", grow))
    with pytest.raises(ModelFileError, match="are no probabilities"):
        predictor.predict(["the"])
    with pytest.raises(ModelFileError, match="are no probabilities"):
        predictor.predict_batch([["the"], ["the", "cat"]])
    with pytest.raises(ModelFileError, match="are no probabilities"):
        predictor.predict_flat(["the", "cat"], [0, 1, 0], [1, 2], scores=True)


def test_a_golden_case_that_lies(tmp_path):
    golden = stored(SUBWORD, "golden")
    tags = stored(SUBWORD, "tags")
    case = golden[0]
    case["tag_ids"] = [(i + 1) % len(tags) for i in case["tag_ids"]]
    case["tags"] = [tags[i] for i in case["tag_ids"]]
    path = rewrite(SUBWORD, tmp_path / "m.onnx", golden=golden)
    assert check_golden(open_predictor(path)).failures
    done = CliRunner().invoke(main, ["verify", str(path)])
    assert done.exit_code == 1
    assert "not verified" in done.output


def test_nothing_of_a_file_reaches_a_terminal_raw(tmp_path):
    """Whatever a file says of itself, in every command that shows it."""
    order = "\x1b]0;pwned\x07\u202e\r\n"
    card = {"name": order, "description": order, "licence": order, "data": [{"name": order, "licence": order}]}
    path = rewrite(
        SUBWORD,
        tmp_path / "m.onnx",
        notes=[order],
        training={"licence": order, "data": {"train": [{"name": order, "sha256": order, "sentences": 1, "tokens": 1}]}},
        versions={order: order},
        words=[w if i else order for i, w in enumerate(stored(SUBWORD, "words"))],
    )

    def add(model):
        entry = field(1, b"lstm_deploy.card") + field(2, json.dumps(card).encode())
        model.fields.append([14, 2, entry])

    path = changed(path, tmp_path / "n.onnx", add)
    for command in (["inspect", str(path)], ["inspect", str(path), "--json"], ["verify", str(path)]):
        done = CliRunner().invoke(main, command)
        assert not any(c in done.output for c in "\x1b\x07\u202e\r"), command
    assert "pwned" in CliRunner().invoke(main, ["inspect", str(path)]).output


# The reader's own


@pytest.mark.parametrize(
    "data",
    [
        b"\x08",  # cut off after the key
        b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",  # more than ten bytes
        b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",  # ten bytes, more than 64 bits
        b"\x0b",  # a group
        b"\x12\x05ab",  # past its message
        b"\x0d\x00\x00",  # a fixed number cut off
    ],
)
def test_bytes_that_are_no_message(data):
    message = {1: protobuf.Field("number", "int"), 2: protobuf.Field("text", "bytes")}
    with pytest.raises(ValueError) as caught:
        list(protobuf.fields(memoryview(data), message, "it"))
    assert not isinstance(caught.value, protobuf.ForbiddenField)


def test_numbers_singly_and_packed_are_the_same():
    message = {1: protobuf.Field("n", "int", many=True), 2: protobuf.Field("f", "float", many=True)}
    single = b"\x08\x01\x08\x96\x01" + b"\x15" + struct.pack("<f", 0.5)
    packed = field(1, b"\x01\x96\x01") + field(2, struct.pack("<f", 0.5))
    expected = [("n", 1), ("n", 150), ("f", 0.5)]
    for data in (single, packed):
        assert list(protobuf.fields(memoryview(data), message, "it")) == expected
    with pytest.raises(ValueError, match="packed floats"):
        list(protobuf.fields(memoryview(field(2, b"abc")), message, "it"))


def test_a_negative_number():
    assert protobuf.signed(2**64 - 3) == -3
    assert protobuf.signed(5) == 5
    assert varint(300) == b"\xac\x02"


@pytest.mark.skipif(sys.platform != "linux", reason="file descriptors are counted in /proc")
def test_a_refused_file_leaves_nothing_open(tmp_path):
    path = changed(TUTORIAL, tmp_path / "m.onnx", to("Loop"))
    before = len([*Path("/proc/self/fd").iterdir()])
    for _ in range(20):
        for kind in (path, tmp_path, tmp_path / "none"):
            with pytest.raises(ModelFileError):
                Predictor.load(kind)
    assert len([*Path("/proc/self/fd").iterdir()]) == before
