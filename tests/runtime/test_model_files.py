"""Reading a model file's own words: metadata, graph summary, and everything that can be wrong with them."""

import re
import warnings

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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

from lstm_deploy import Predictor
from lstm_deploy.errors import (
    FormatVersionError,
    LstmDeployError,
    MetadataError,
    MissingMetadataError,
    ModelFileError,
    NotOnnxError,
)
from lstm_deploy.inspection import describe, inspect_model
from lstm_deploy.metadata import ModelMetadata, State, takes_states
from lstm_deploy.modelfile import Node, read_model_file
from lstm_deploy.streaming import open_predictor


@pytest.mark.parametrize("path", [TUTORIAL, SUBWORD], ids=lambda path: path.stem)
def test_reader_agrees_with_onnxruntime(path):
    file = read_model_file(path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert file.properties == session.get_modelmeta().custom_metadata_map
    assert file.producer == session.get_modelmeta().producer_name
    assert (file.ir_version, file.opsets) == (8, {"": 17})
    consumed = {name for node in file.nodes for name in node.inputs}
    assert {value.name for value in session.get_inputs()} <= consumed
    assert {value.name for value in session.get_outputs()} <= {name for node in file.nodes for name in node.outputs}
    words = len(stored(path, "words"))
    assert file.initializers["word_table"].shape[0] == words
    assert file.initializers["word_table"].dtype == "float32"


@pytest.mark.parametrize(
    "path",
    [TUTORIAL, SUBWORD, SUBWORD_INT8, CHARACTERS, CHARACTERS_CRF, STREAMING, SEGMENTER],
    ids=lambda path: path.stem,
)
def test_metadata_survives_a_round_trip(path):
    properties = read_model_file(path).properties
    metadata = ModelMetadata.from_properties(properties, source="x")
    assert metadata.to_properties() == properties


def _error(kind, path):
    with pytest.raises(kind) as caught:
        Predictor.load(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    "key",
    [
        "format_version",
        "graph_form",
        "precision",
        "words",
        "tags",
        "inputs",
        "outputs",
        "decoder",
        "tokenizer",
        "training",
        "versions",
        "proof",
        "rounding",
        "golden",
        "column",
        "notes",
        "runtimes",
    ],
)
def test_each_missing_key_is_named(tmp_path, key):
    kind = MissingMetadataError if key == "format_version" else MetadataError
    message = _error(kind, rewrite(SUBWORD, tmp_path / "m.onnx", **{key: None}))
    assert "export" in message
    assert key == "format_version" or f"metadata lstm_deploy.{key} is missing; export the model again" in message


@pytest.mark.parametrize("key", ["training", "versions", "proof", "rounding", "decoder", "tokenizer"])
def test_each_object_has_to_be_one(tmp_path, key):
    message = _error(MetadataError, rewrite(SUBWORD, tmp_path / "m.onnx", **{key: []}))
    assert message.endswith(f": metadata lstm_deploy.{key} is a JSON list; expected a dict; export the model again")


@pytest.mark.parametrize(
    ("key", "item"), [("inputs", 1), ("golden", 1), ("notes", 1), ("runtimes", 1), ("tags", None), ("words", 1)]
)
def test_each_list_has_to_be_one_of_its_kind(tmp_path, key, item):
    message = _error(MetadataError, rewrite(SUBWORD, tmp_path / "m.onnx", **{key: {}}))
    assert f": metadata lstm_deploy.{key} is a JSON dict; expected a list; export the model again" in message
    message = _error(MetadataError, rewrite(SUBWORD, tmp_path / "m.onnx", **{key: [item]}))
    assert f": metadata lstm_deploy.{key} holds something other than " in message
    assert message.count("lstm_deploy.") == message.count("; export the model again") == 1


def _with(key, change, source=SUBWORD):
    value = stored(source, key)
    change(value)
    return {key: value}


@pytest.mark.parametrize(
    ("changes", "kind", "says"),
    [
        ({"format_version": "6"}, FormatVersionError, "pip install --upgrade lstm-deploy"),
        ({"format_version": "one"}, MetadataError, "'one'"),
        ({"format_version": "9" * 5000}, MetadataError, "expected a whole number"),
        ({"format_version": "9" * 9}, FormatVersionError, "format version 999999999, newer than 5, the newest"),
        ({"format_version": "9" * 10}, MetadataError, "expected a whole number from 1"),
        ({"format_version": "0"}, MetadataError, "format_version is '0'; expected a whole number from 1; export the"),
        ({"format_version": "-1"}, MetadataError, "is '-1'"),
        (_with("tokenizer", lambda v: v.update(suffixes=[1])), MetadataError, "other than strings"),
        ({"graph_form": "spiral"}, MetadataError, "expected one of reverse_sequence, sequence_lens, gate"),
        ({"graph_form": "scan_int8"}, MetadataError, "is scan_int8; scan_int8 and precision int8 go together"),
        (
            {"precision": "int8"},
            MetadataError,
            "graph_form is reverse_sequence; scan_int8 and precision int8 go together",
        ),
        ({"precision": "fp8"}, MetadataError, "precision is 'fp8'; expected one of fp32, fp16, rows8, int8"),
        (
            {"column": "segmentation"},
            MetadataError,
            "tokenizer is of kind words; characters and column segmentation go",
        ),
        ({"runtimes": [1]}, MetadataError, "other than str"),
        ({"column": "lemma"}, MetadataError, "expected one of upos, xpos, tag"),
        ({"words": "{"}, MetadataError, "is not JSON"),
        ({"words": "[" * 100_000}, MetadataError, "is not JSON"),
        ({"words": {"a": 1}}, MetadataError, "is a JSON dict; expected a list"),
        (
            _with("words", lambda v: v.append(7)),
            MetadataError,
            "words holds something other than words and nulls; export",
        ),
        (
            _with("words", lambda v: v.append("cat")),
            MetadataError,
            "inputs and words do not agree: the vocabulary holds",
        ),
        (_with("words", lambda v: v.pop()), MetadataError, "expected"),
        (_with("tags", lambda v: v.pop()), MetadataError, "4 tags, the graph gives 5"),
        (_with("tags", lambda v: v.append("B-X")), MetadataError, "6 tags, the graph gives 5"),
        (_with("tags", lambda v: v.__setitem__(0, v[1])), MetadataError, "tags is empty or holds a tag twice; export"),
        ({"tags": []}, MetadataError, "tags is empty or"),
        ({"tags": [1]}, MetadataError, "something other than str"),
        (_with("inputs", lambda v: v[0].update(unknown_id=99)), MetadataError, "unknown_id is 99"),
        (_with("inputs", lambda v: v[0].update(rows=99)), MetadataError, "expected"),
        (_with("inputs", lambda v: v[0].update(case="title")), MetadataError, "'title'"),
        (_with("inputs", lambda v: v[0].pop("case")), MetadataError, "'case' is missing"),
        (
            _with("inputs", lambda v: v[1].update(rows=65)),
            MetadataError,
            "table subword_table has the shape (64, ",
        ),
        (_with("inputs", lambda v: v[1].update(templates=["rhyme"])), MetadataError, "rhyme"),
        (_with("inputs", lambda v: v.pop(2)), MetadataError, "lacks the inputs ['lengths']"),
        (_with("inputs", lambda v: v[2].update(kind="characters")), MetadataError, "unknown kind ['characters']"),
        (_with("inputs", lambda v: v[2].update(kind=["x"])), MetadataError, "unknown kind"),
        (_with("inputs", lambda v: v.pop(1)), MetadataError, "the graph's inputs are"),
        (_with("outputs", lambda v: v.pop()), MetadataError, "expected"),
        (_with("tokenizer", lambda v: v.update(kind="bert")), MetadataError, "'bert'"),
        (_with("tokenizer", lambda v: v.pop("keep")), MetadataError, "'keep' is missing"),
        (_with("golden", lambda v: v[0].pop("tags")), MetadataError, "'tags'"),
        *[
            (
                _with("golden", lambda v, key=key: v[0][key].pop()),
                MetadataError,
                "golden is not usable: tokens, tag_ids, tags and scores differ in number; export",
            )
            for key in ("tokens", "tag_ids", "tags", "scores")
        ],
        (
            _with("golden", lambda v: v[0]["tokens"].__setitem__(0, 3)),
            MetadataError,
            ": tokens are no list, or hold something other than str;",
        ),
        (
            _with("golden", lambda v: v[0]["tags"].__setitem__(0, 3)),
            MetadataError,
            ": tags are no list, or hold something other than str;",
        ),
        (
            _with("golden", lambda v: v[0]["tag_ids"].__setitem__(0, "3")),
            MetadataError,
            ": tag_ids are no list, or hold something other than int",
        ),
        (
            _with("golden", lambda v: v[0]["tag_ids"].__setitem__(0, 5)),
            MetadataError,
            ": tag_ids are not those of the tags; ex",
        ),
        (_with("golden", lambda v: v[0]["scores"].__setitem__(0, "x")), MetadataError, "golden is not usable"),
        (_with("golden", lambda v: v[0].update(text=3)), MetadataError, ": text is neither null nor a string; export"),
    ],
)
def test_metadata_that_is_wrong_or_contradicts_the_graph(tmp_path, changes, kind, says):
    message = _error(kind, rewrite(SUBWORD, tmp_path / "m.onnx", **changes))
    assert says in message
    assert re.search(r": metadata lstm_deploy\.[a-z_]+ .*; export the model again$|--upgrade|graph", message)


def _decoder(change):
    return _with("decoder", change, CHARACTERS_CRF)


def _spec(change):
    return _with("inputs", lambda v: change(v[1]), CHARACTERS_CRF)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"decoder": []}, "is a JSON list"),
        (_decoder(lambda v: v.pop("kind")), "'kind' is missing"),
        (_decoder(lambda v: v.update(kind="beam")), "kind 'beam' is not known"),
        (_decoder(lambda v: v.pop("end")), "'end' is missing"),
        (_decoder(lambda v: v["start"].pop()), "expected (4, 4)"),
        (_decoder(lambda v: v["transitions"][0].pop()), "decoder is not usable"),
        (_decoder(lambda v: v["start"].__setitem__(0, "1")), "other than numbers"),
        (_decoder(lambda v: v["start"].__setitem__(0, float("nan"))), "is not JSON: it holds NaN"),
        (_decoder(lambda v: v["start"].__setitem__(0, 1e300)), "start holds inf"),
        (
            {"decoder": {"kind": "crf", "transitions": [[True]], "start": [1], "end": [1]}},
            "other than numbers: [[True]]",
        ),
        ({"decoder": {"kind": "crf", "transitions": [[0]], "start": [0], "end": [0]}}, "it has 1 tags, the file 5"),
        ({"notes": [1]}, "something other than str"),
        (_spec(lambda v: v["characters"].__setitem__(2, "ab")), "'ab' is not one character"),
        (_spec(lambda v: v.update(characters=7)), "no usable character spec"),
        (_spec(lambda v: v["characters"].append(v["characters"][2])), "a character twice"),
        (_spec(lambda v: v["characters"].append("q")), "expected"),
        (_spec(lambda v: v.update(unknown_id=99)), "unknown_id is 99"),
        (_spec(lambda v: v.pop("padding_id")), "'padding_id' is missing"),
        (_with("inputs", lambda v: v.pop(2), CHARACTERS_CRF), "lacks the inputs ['char_lengths']"),
        (_with("inputs", lambda v: (v.pop(1), v.pop(1)), CHARACTERS_CRF), "the graph's inputs are"),
        (_with("outputs", lambda v: v[1].update(kind="log_probs"), CHARACTERS_CRF), "outputs is"),
    ],
)
def test_a_decoder_or_characters_that_are_wrong(tmp_path, changes, says):
    message = _error(MetadataError, rewrite(CHARACTERS_CRF, tmp_path / "m.onnx", **changes))
    assert says in message
    assert re.search(rf": metadata lstm_deploy\.({'|'.join(changes)}) |the graph", message)


def test_characters_of_another_number_than_the_table_has(tmp_path):
    inputs = stored(CHARACTERS, "inputs")
    inputs[0]["characters"].append("q")
    inputs[0]["rows"] += 1
    message = _error(MetadataError, rewrite(CHARACTERS, tmp_path / "m.onnx", inputs=inputs))
    assert "counts 33 rows for char_ids, the graph's table character_table has the shape (32, 3)" in message


def test_a_decoder_that_the_graph_has_not_and_one_that_only_the_graph_has(tmp_path):
    crf = stored(CHARACTERS_CRF, "decoder")
    outputs = stored(CHARACTERS_CRF, "outputs")
    message = _error(MetadataError, rewrite(SUBWORD, tmp_path / "a.onnx", decoder=crf, outputs=outputs))
    assert "no form that the format knows for a file with a CRF (its control flow is none)" in message
    plain = {"decoder": {"kind": "argmax"}, "outputs": stored(SUBWORD, "outputs")}
    message = _error(MetadataError, rewrite(CHARACTERS_CRF, tmp_path / "b.onnx", **plain))
    assert "without a CRF (its control flow is {'Scan': 2})" in message


def test_a_number_too_large_is_refused_without_a_warning(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for source in (1e300, -1e300):
            decoder = stored(CHARACTERS_CRF, "decoder")
            decoder["start"][0] = source
            path = rewrite(CHARACTERS_CRF, tmp_path / "m.onnx", decoder=decoder)
            if source > 0:
                _error(MetadataError, path)
            else:
                assert Predictor.load(path).metadata.crf.start[0] == np.float32(-1e30)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": 3}, "inputs has no usable state: name or next is no string; export"),
        ({"next": 3}, "inputs has no usable state: name or next is no string; export"),
        ({"name": ""}, "the state '' has no name, no next or no size"),
        ({"next": ""}, "the state 'h_0' has no name, no next or no size"),
        ({"size": 0}, "the state 'h_0' has no name, no next or no size"),
        ({"initial": [1.0]}, "the state 'h_0' of size 4 starts from 1 numbers"),
        ({"next": "next_c_0"}, "inputs has no usable state: two have one name; export"),
        ({"name": "c_0"}, "inputs has no usable state: two have one name; export"),
    ],
)
def test_what_is_no_state_is_named(tmp_path, changes, says):
    inputs = stored(STREAMING, "inputs")
    next(spec for spec in inputs if spec["name"] == "h_0").update(changes)
    with pytest.raises(MetadataError) as caught:
        open_predictor(rewrite(STREAMING, tmp_path / "m.onnx", inputs=inputs))
    assert says in str(caught.value)


def test_states_beside_a_best_path_are_told_apart(tmp_path):
    tags = len(stored(STREAMING, "tags"))
    crf = {"kind": "crf", "transitions": [[0.0] * tags] * tags, "start": [0.0] * tags, "end": [0.0] * tags}
    with pytest.raises(MetadataError) as caught:
        open_predictor(rewrite(STREAMING, tmp_path / "m.onnx", decoder=crf))
    fact = "chooses among paths through a whole sentence; a file with states has chunks"
    assert f": metadata lstm_deploy.decoder {fact}; export the model again" in str(caught.value)


def test_the_smallest_state_is_one_number():
    state = State("h", 1, "next_h", (0.5,))
    assert state.rows(2).tolist() == [[0.5], [0.5]]
    assert state.rows(2).dtype == State("h", 3, "next_h").rows(2).dtype == np.float32
    assert State("h", 3, "next_h").rows(2).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_whether_a_file_takes_states_is_said_of_any_file():
    assert takes_states(read_model_file(STREAMING).properties)
    assert not takes_states(read_model_file(SUBWORD).properties)
    for broken in ("{", "[1]", "[{}]", "1", "[" * 100_000, '[{"kind": "lengths"}]'):
        assert not takes_states({"lstm_deploy.inputs": broken})
    assert not takes_states({})


def test_numbers_that_json_has_not_are_not_written():
    metadata = ModelMetadata.from_properties(read_model_file(SUBWORD).properties, source="x")
    metadata.training["loss"] = float("nan")
    with pytest.raises(ValueError, match="not JSON compliant"):
        metadata.to_properties()


def test_metadata_is_written_as_it_reads():
    properties = read_model_file(TUTORIAL).properties
    metadata = ModelMetadata.from_properties(properties | {"lstm_deploy.notes": '["é"]'}, source="x")
    assert metadata.to_properties()["lstm_deploy.notes"] == '["é"]'
    assert metadata.tolerance == 1e-5


def test_a_file_of_a_version_before_runtimes_claims_onnxruntimes():
    properties = read_model_file(SUBWORD).properties | {"lstm_deploy.format_version": "3"}
    del properties["lstm_deploy.runtimes"]
    runtimes = ModelMetadata.from_properties(properties, source="x").runtimes
    assert runtimes == ("onnxruntime", "onnxruntime-node", "onnxruntime-web")
    with pytest.raises(MetadataError, match=r"^x: metadata lstm_deploy\.runtimes is missing"):
        ModelMetadata.from_properties(properties | {"lstm_deploy.format_version": "4"}, source="x")


def _model(*graph, ir=8, opsets=((b"", 17),)):
    """Bytes of an ONNX file, by hand: fields of its graph after those of the file."""
    head = varint(1 << 3) + varint(ir) + field(2, b"by hand")
    for domain, version in opsets:
        head += field(8, field(1, domain) + varint(2 << 3) + varint(version))
    return head + field(7, b"".join(graph))


def _attribute(name, kind, number, payload):
    """An attribute of type ``kind``, its value in field ``number``."""
    return field(5, field(1, name) + field(number, payload) + varint(20 << 3) + varint(kind))


def test_every_field_of_a_graph_is_read(tmp_path):
    body = (
        field(1, field(4, b"Identity") + field(3, b"inside")) + field(11, field(1, b"in")) + field(12, field(1, b"out"))
    )
    node = field(1, b"x") + field(1, b"y") + field(2, b"z") + field(3, b"name") + field(4, b"If") + field(7, b"domain")
    numbers = _attribute(b"ints", 7, 8, b"\x01\x02") + _attribute(b"then_branch", 5, 6, body)
    packed = field(1, varint(1) + varint(3)) + varint(2 << 3) + varint(7) + field(8, b"packed") + field(9, bytes(24))
    plain = varint(1 << 3) + varint(2) + varint(2 << 3) + varint(1) + field(8, b"plain") + field(4, bytes(8))
    path = tmp_path / "m.onnx"
    path.write_bytes(_model(field(1, node + numbers), field(5, packed), field(5, plain), field(11, field(1, b"x"))))
    file = read_model_file(path)
    assert (file.path, file.size, file.ir_version, file.producer) == (path, path.stat().st_size, 8, "by hand")
    assert (file.data, file.forbidden) == (path.read_bytes(), "")
    assert file.opsets == {"": 17}
    (found,) = file.nodes
    assert found == Node("If", "domain", "name", ("x", "y"), ("z",))
    assert found.attributes == {"ints": (1, 2)}
    assert [node.name for node in file.inner_nodes] == ["inside"]
    assert (found.graphs["then_branch"].inputs, found.graphs["then_branch"].outputs) == ({"in": 0}, ["out"])
    assert file.graph.inputs == {"x": 0}
    assert {name: (each.dtype, each.shape) for name, each in file.initializers.items()} == {
        "packed": ("int64", (1, 3)),
        "plain": ("float32", (2,)),
    }
    assert (bytes(file.initializers["packed"].raw), file.initializers["plain"].numbers) == (bytes(24), (0.0, 0.0))
    assert [initializer.size for initializer in file.initializers.values()] == [3, 2]


def test_nodes_inside_control_flow_are_read_as_deep_as_the_format_goes(tmp_path):
    def nested(depth):
        node = field(4, b"LSTM")
        for _ in range(depth):
            node = field(4, b"Scan") + _attribute(b"body", 5, 6, field(1, node))
        return node

    path = tmp_path / "m.onnx"
    path.write_bytes(_model(field(1, nested(2)), field(1, nested(1))))
    file = read_model_file(path)
    assert [node.op_type for node in file.nodes] == ["Scan", "Scan"]
    assert [node.op_type for node in file.inner_nodes] == ["Scan", "LSTM", "LSTM"]
    assert not file.forbidden
    for depth in (3, 2000):
        path.write_bytes(_model(field(1, nested(depth))))
        assert read_model_file(path).forbidden == "control flow stands more than 2 deep in control flow"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (field(7, b""), "it has no graph"),
        (varint(1 << 3) + varint(8), "it has no graph"),
        (varint(1 << 3), "a number is cut off"),
        (b"\xff" * 11, "a number of more than 64 bits at byte 10"),
        (varint(1 << 3 | 3), "wire type 3 at byte 1"),
        (field(7, b"")[:-1] + varint(9), "a field ends 9 bytes past its message"),
        (varint(7 << 3 | 5) + b"12", "a field ends 2 bytes past its message"),
        (varint(7 << 3 | 1) + b"12", "a field ends 6 bytes past its message"),
        (_model(varint(1 << 3) + varint(5)), "node of a graph is encoded as wire type 0"),
        (_model(field(1, varint(4 << 3) + varint(5))), "op_type of an operator is encoded as wire type 0"),
    ],
)
def test_what_is_no_onnx_file_is_told_with_the_reason(tmp_path, content, says):
    (tmp_path / "m.onnx").write_bytes(content)
    message = _error(NotOnnxError, tmp_path / "m.onnx")
    assert f": not an ONNX model ({says}" in message
    assert "; expected a file made by `lstm-deploy export`" in message


def test_the_numbers_of_a_crf_are_exact():
    metadata = ModelMetadata.from_properties(read_model_file(CHARACTERS_CRF).properties, source="x")
    again = ModelMetadata.from_properties(metadata.to_properties(), source="x")
    for part in ("transitions", "start", "end"):
        assert getattr(metadata.crf, part).tobytes() == getattr(again.crf, part).tobytes()


def test_vocabulary_of_another_size_than_the_table(tmp_path):
    words, inputs = stored(SUBWORD, "words"), stored(SUBWORD, "inputs")
    inputs[0]["rows"] += 1
    path = rewrite(SUBWORD, tmp_path / "m.onnx", words=[*words, "more"], inputs=inputs)
    assert f"counts {len(words) + 1} rows for word_ids" in _error(MetadataError, path)


def test_unknown_keys_are_ignored(tmp_path):
    path = rewrite(SUBWORD, tmp_path / "m.onnx", golden=_with("golden", lambda v: v[0].update(later=1))["golden"])
    assert Predictor.load(path).predict(["Ann"]).tags


def test_missing_file_folder_and_empty_file(tmp_path):
    message = _error(ModelFileError, tmp_path / "none.onnx")
    assert "cannot open the model file (No such file or directory); make one with `lstm-deploy export`" in message
    assert _error(ModelFileError, tmp_path).endswith("(not a regular file); pass a readable file")
    (tmp_path / "empty.onnx").write_bytes(b"")
    message = _error(NotOnnxError, tmp_path / "empty.onnx")
    assert ": the file is empty; expected an ONNX model made by `lstm-deploy export`" in message


@pytest.mark.parametrize("content", [b"not a model", b"\x00" * 100, b"{}", b"PK\x03\x04" * 20, b"\x08\x08"])
def test_files_of_other_kinds(tmp_path, content):
    (tmp_path / "m.onnx").write_bytes(content)
    _error(NotOnnxError, tmp_path / "m.onnx")


def test_an_onnx_file_that_is_not_ours(tmp_path):
    from model_files import top_level_fields

    kept = b"".join(raw for number, raw in top_level_fields(SUBWORD.read_bytes()) if number != 14)
    (tmp_path / "m.onnx").write_bytes(kept)
    message = _error(MissingMetadataError, tmp_path / "m.onnx")
    assert ": an ONNX model without lstm-deploy metadata; make the file with `lstm-deploy export`" in message


def test_a_damaged_file_gives_an_error_of_ours_or_an_answer(tmp_path, capfd):
    """Bytes of graph and metadata flipped, one at a time: never another exception, never noise on standard output."""
    whole = TUTORIAL.read_bytes()
    for at in range(0, len(whole), 37):
        (tmp_path / "m.onnx").write_bytes(whole[:at] + bytes([whole[at] ^ 0x5A]) + whole[at + 1 :])
        try:
            assert len(Predictor.load(tmp_path / "m.onnx").predict(["They", "ate"]).tags) == 2
        except LstmDeployError as e:
            assert "\n" not in str(e)
    assert capfd.readouterr().out == ""


def test_what_rounding_cost_and_how_probabilities_were_corrected_is_shown(tmp_path):
    rounding = {"data": "dev", "exact": {"accuracy": 0.95}, "rounded": {"accuracy": 0.9475}, "same_tags": 0.999}
    calibration = {"temperature": 1.25, "tokens": 12_000, "log_loss_before": 0.5, "log_loss_after": 0.25}
    path = rewrite(SUBWORD_INT8, tmp_path / "m.onnx", rounding=rounding, training={"calibration": calibration})
    shown = describe(inspect_model(path))
    assert "int8, tolerance 0.15; on dev: accuracy 94.75 % (fp32 95.00 %), 99.90 % of tags the same\n" in shown
    assert "temperature 1.250, on 12,000 tokens of dev; log loss 0.5000 before, 0.2500 with it\n" in shown
    assert "characters: the tags say where words and sentences begin" in describe(inspect_model(SEGMENTER))


@pytest.mark.parametrize(
    ("key", "value"),
    [("training", {"data": 3}), ("training", {"scores": {"dev": {"accuracy": "x"}}}), ("proof", {"tokens": "x"})],
)
def test_provenance_that_cannot_be_shown(tmp_path, key, value):
    path = rewrite(SUBWORD, tmp_path / "m.onnx", **{key: value})
    assert Predictor.load(path).predict(["Ann"]).tags
    with pytest.raises(MetadataError, match="see it with --json"):
        describe(inspect_model(path))


@settings(max_examples=60)
@given(st.floats(0, 0.999))
def test_a_file_cut_off_anywhere_is_refused(tmp_path_factory, share):
    path = tmp_path_factory.mktemp("cut") / "m.onnx"
    whole = SUBWORD.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    _error(ModelFileError, path)


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_random_bytes_are_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("bytes") / "m.onnx"
    path.write_bytes(content)
    _error(NotOnnxError, path)
