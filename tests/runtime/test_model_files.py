"""Reading a model file's own words: metadata, graph summary, and everything that can be wrong with them."""

import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_files import CHARACTERS, CHARACTERS_CRF, SUBWORD, SUBWORD_INT8, TUTORIAL, rewrite, stored

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
from lstm_deploy.metadata import ModelMetadata
from lstm_deploy.modelfile import read_model_file


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
    "path", [TUTORIAL, SUBWORD, SUBWORD_INT8, CHARACTERS, CHARACTERS_CRF], ids=lambda path: path.stem
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
    ["format_version", "words", "tags", "inputs", "outputs", "decoder", "tokenizer", "golden", "column", "notes"],
)
def test_each_missing_key_is_named(tmp_path, key):
    kind = MissingMetadataError if key == "format_version" else MetadataError
    message = _error(kind, rewrite(SUBWORD, tmp_path / "m.onnx", **{key: None}))
    assert "export" in message
    assert key == "format_version" or f"{key} is missing" in message


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
        (_with("tokenizer", lambda v: v.update(suffixes=[1])), MetadataError, "other than strings"),
        ({"graph_form": "spiral"}, MetadataError, "expected one of reverse_sequence, sequence_lens, gate"),
        ({"runtimes": [1]}, MetadataError, "other than str"),
        ({"column": "lemma"}, MetadataError, "expected one of upos, xpos, tag"),
        ({"words": "{"}, MetadataError, "is not JSON"),
        ({"words": "[" * 100_000}, MetadataError, "is not JSON"),
        ({"words": {"a": 1}}, MetadataError, "is a JSON dict; expected a list"),
        (_with("words", lambda v: v.append(7)), MetadataError, "something other than words"),
        (_with("words", lambda v: v.append("cat")), MetadataError, "a word twice"),
        (_with("words", lambda v: v.pop()), MetadataError, "expected"),
        (_with("tags", lambda v: v.pop()), MetadataError, "4 tags, the graph gives 5"),
        (_with("tags", lambda v: v.append("B-X")), MetadataError, "6 tags, the graph gives 5"),
        (_with("tags", lambda v: v.__setitem__(0, v[1])), MetadataError, "holds a tag twice"),
        ({"tags": []}, MetadataError, "empty"),
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
        (_with("golden", lambda v: v[0]["tags"].pop()), MetadataError, "differ in number"),
        (_with("golden", lambda v: v[0]["tokens"].__setitem__(0, 3)), MetadataError, "other than str"),
        (_with("golden", lambda v: v[0].update(text=3)), MetadataError, "text is neither"),
    ],
)
def test_metadata_that_is_wrong_or_contradicts_the_graph(tmp_path, changes, kind, says):
    assert says in _error(kind, rewrite(SUBWORD, tmp_path / "m.onnx", **changes))


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
    assert says in _error(MetadataError, rewrite(CHARACTERS_CRF, tmp_path / "m.onnx", **changes))


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
    assert "lstm-deploy export" in _error(ModelFileError, tmp_path / "none.onnx")
    assert "cannot open" in _error(ModelFileError, tmp_path)
    (tmp_path / "empty.onnx").write_bytes(b"")
    assert "empty" in _error(NotOnnxError, tmp_path / "empty.onnx")


@pytest.mark.parametrize("content", [b"not a model", b"\x00" * 100, b"{}", b"PK\x03\x04" * 20, b"\x08\x08"])
def test_files_of_other_kinds(tmp_path, content):
    (tmp_path / "m.onnx").write_bytes(content)
    _error(NotOnnxError, tmp_path / "m.onnx")


def test_an_onnx_file_that_is_not_ours(tmp_path):
    from model_files import top_level_fields

    kept = b"".join(raw for number, raw in top_level_fields(SUBWORD.read_bytes()) if number != 14)
    (tmp_path / "m.onnx").write_bytes(kept)
    assert "without lstm-deploy metadata" in _error(MissingMetadataError, tmp_path / "m.onnx")


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
