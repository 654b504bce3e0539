"""The graph forms: the same answers as operators that are given lengths, at every real token and in the last states."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from lstm_deploy.cli import main
from lstm_deploy.errors import InputError, MetadataError
from lstm_deploy.export.exporter import export_checkpoint, export_model
from lstm_deploy.export.forms import hindrance, in_form
from lstm_deploy.export.targets import TARGETS
from lstm_deploy.export.writer import GraphWriter
from lstm_deploy.modelfile import read_model_file
from lstm_deploy.session import TaggerSession

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
INPUT, HIDDEN = 3, 4
FLOAT = TensorProto.FLOAT


def recurrent(op, direction="bidirectional", outputs=("y", "h"), *, initial=False, flat=False, scale=1.0, seed=0):
    """A graph of one operator over x (sequence, batch, 3) with lengths."""
    random = np.random.default_rng(seed)
    count = 2 if direction == "bidirectional" else 1
    rows = GATES[op] * HIDDEN
    graph = GraphWriter()
    names = ["x"]
    for name, shape in (("w", (rows, INPUT)), ("r", (rows, HIDDEN)), ("b", (2 * rows,))):
        names.append(graph.constant(name, (scale * random.normal(size=(count, *shape))).astype(np.float32)))
    names.append("lengths")
    inputs = [helper.make_tensor_value_info("x", FLOAT, ["sequence", "batch", INPUT])]
    if initial:
        states = ["h0", "c0"] if op == "LSTM" else ["h0"]
        names += states
        inputs += [helper.make_tensor_value_info(name, FLOAT, [count, "batch", HIDDEN]) for name in states]
    found = [name if name in outputs else "" for name in ("y", "h", "c")[: max("yhc".index(o) for o in outputs) + 1]]
    extra = {"linear_before_reset": 1} if op == "GRU" else {}
    if flat:
        found[0] = "stacked"
    graph.nodes_out(op, names, found, hidden_size=HIDDEN, direction=direction, **extra)
    shapes = {"y": ["sequence", count, "batch", HIDDEN], "h": [count, "batch", HIDDEN], "c": [count, "batch", HIDDEN]}
    if flat:
        graph.node("Transpose", ["stacked"], "turned", perm=[0, 2, 1, 3])
        graph.node("Reshape", ["turned", graph.constant("join", np.array([0, 0, count * HIDDEN], np.int64))], "y")
        shapes["y"] = ["sequence", "batch", count * HIDDEN]
    lengths = helper.make_tensor_value_info("lengths", TensorProto.INT32, ["batch"])
    return graph.model("one", [*inputs, lengths], [helper.make_tensor_value_info(o, FLOAT, shapes[o]) for o in outputs])


def run(model, feeds):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds), strict=True))


def feeds_for(model, lengths, seed=0):
    random = np.random.default_rng(seed)
    sizes = {"sequence": max(max(lengths), 1) + 2, "batch": len(lengths)}  # two columns of nothing but padding
    found = {"lengths": np.array(lengths, np.int32)}
    for value in model.graph.input:
        if value.name != "lengths":
            shape = [d.dim_value or sizes[d.dim_param] for d in value.type.tensor_type.shape.dim]
            found[value.name] = random.normal(size=shape).astype(np.float32)
    return found


def assert_same(model, rewritten, feeds):
    expected, found = run(model, feeds), run(rewritten, feeds)
    lengths = feeds["lengths"]
    for name, values in expected.items():
        if name == "y":
            rows = np.arange(len(values))[:, None] < lengths  # (sequence, batch)
            batch_axis = values.ndim - 2
            a, b = (np.moveaxis(v, batch_axis, 1)[rows] for v in (values, found["y"]))
        else:
            a, b = values[:, lengths > 0], found[name][:, lengths > 0]
        np.testing.assert_allclose(b, a, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("form", ["reverse_sequence", "gate"])
@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
@settings(max_examples=25)
@given(
    direction=st.sampled_from(["forward", "reverse", "bidirectional"]),
    outputs=st.sampled_from([("y",), ("h",), ("y", "h")]),
    initial=st.booleans(),
    flat=st.booleans(),
    scale=st.sampled_from([0.3, 1.0, 5.0]),
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=6),
    seed=st.integers(0, 1000),
)
def test_the_forms_answer_as_the_operator_with_lengths(
    form, op, direction, outputs, initial, flat, scale, lengths, seed
):
    if form == "gate":
        direction = "bidirectional" if op == "LSTM" and direction != "forward" else "forward"
        initial = initial and direction == "forward"
    model = recurrent(op, direction, outputs, initial=initial, flat=flat and "y" in outputs, scale=scale, seed=seed)
    rewritten = in_form(model, form)
    assert not any(len(node.input) > 4 and node.input[4] for node in rewritten.graph.node if node.op_type == op)
    assert_same(model, rewritten, feeds_for(model, lengths, seed))


def test_directions_that_are_laid_side_by_side_take_no_detour():
    ops = Counter(
        node.op_type for node in in_form(recurrent("LSTM", outputs=("y",), flat=True), "reverse_sequence").graph.node
    )
    assert ops == {"Cast": 1, "LSTM": 2, "Squeeze": 2, "ReverseSequence": 2, "Concat": 1}


def test_weights_are_not_stored_twice():
    model = recurrent("LSTM", outputs=("y",), flat=True)
    size = lambda m: sum(len(c.raw_data) for c in m.graph.initializer)  # noqa: E731
    assert size(in_form(model, "reverse_sequence")) <= size(model) + 64


def test_what_has_no_other_form_says_why():
    assert "last cell state" in hindrance(recurrent("LSTM", outputs=("y", "c")), "reverse_sequence")
    for op in ("RNN", "GRU"):
        assert f"a {op} that reads backward" in hindrance(recurrent(op), "gate")
        assert hindrance(recurrent(op, "forward", ("y",)), "gate") is None
    assert "reads backward only" in hindrance(recurrent("LSTM", "reverse"), "gate")
    assert hindrance(recurrent("LSTM", outputs=("y", "c")), "sequence_lens") is None
    with pytest.raises(ValueError, match="last cell state"):
        in_form(recurrent("LSTM", outputs=("y", "c")), "gate")


def test_initial_states_have_no_gate():
    assert "initial state" in hindrance(recurrent("LSTM", initial=True), "gate")
    assert hindrance(recurrent("LSTM", "forward", initial=True), "gate") is None


def _node_of(model, op):
    return next(node for node in model.graph.node if node.op_type == op)


@pytest.mark.parametrize("form", ["reverse_sequence", "gate"])
def test_what_the_forms_do_not_know_is_refused(form):
    clipped, peeped = recurrent("LSTM"), recurrent("LSTM")
    _node_of(clipped, "LSTM").attribute.append(helper.make_attribute("clip", 3.0))
    assert "attribute clip" in hindrance(clipped, form)
    _node_of(peeped, "LSTM").input.extend(["", "", "b"])
    assert "peepholes" in hindrance(peeped, form)


def test_computed_weights_have_no_gate():
    model = recurrent("LSTM", outputs=("y",))
    model.graph.node.insert(0, helper.make_node("Mul", ["w", "w"], ["squared"]))
    _node_of(model, "LSTM").input[1] = "squared"
    assert "weights" in hindrance(model, "gate")
    assert_same(model, in_form(model, "reverse_sequence"), feeds_for(model, [4, 2, 0, 6]))


@pytest.mark.parametrize("form", ["reverse_sequence", "gate"])
def test_what_stands_at_padding_changes_nothing(form):
    """A word of no letters can be worth anything there, not-a-number too."""
    model = recurrent("LSTM", outputs=("y", "h"))
    rewritten, feeds = in_form(model, form), feeds_for(model, [4, 2, 6])
    expected = run(rewritten, feeds)
    for value in (np.nan, np.inf, 1e30):
        feeds["x"][4:, 0] = feeds["x"][2:, 1] = feeds["x"][6:, 2] = value
        found = run(rewritten, feeds)
        for i, n in enumerate([4, 2, 6]):
            np.testing.assert_array_equal(found["y"][:n, :, i], expected["y"][:n, :, i])
        np.testing.assert_array_equal(found["h"], expected["h"])


@pytest.mark.parametrize("form", ["reverse_sequence", "gate"])
def test_names_that_the_form_would_give_may_be_taken(form):
    model = recurrent("LSTM", outputs=("y",))
    constants = ["w.0", "w.1", "w.gated", "form.axis_one", "form.zero"]
    values = ["x.turned", "lengths.long", "x.steps", "x.clean", "x.with_padding"]
    for name in constants:
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.full(3, 7, np.float32), name))
        model.graph.node.append(helper.make_node("Identity", [name], [f"kept.{name}"]))
        model.graph.output.append(helper.make_tensor_value_info(f"kept.{name}", FLOAT, [3]))
    for name in values:
        model.graph.node.append(helper.make_node("Identity", ["x"], [name]))
        model.graph.output.append(helper.make_tensor_value_info(name, FLOAT, ["sequence", "batch", INPUT]))
    feeds = feeds_for(model, [4, 2, 6])
    expected, found = run(model, feeds), run(in_form(model, form), feeds)
    for name in expected.keys() - {"y"}:
        np.testing.assert_array_equal(found[name], expected[name])
    for i, n in enumerate([4, 2, 6]):
        np.testing.assert_allclose(found["y"][:n, :, i], expected["y"][:n, :, i], atol=1e-6)


@pytest.mark.parametrize("form", ["reverse_sequence", "gate"])
def test_two_operators_share_what_they_read(form):
    model = recurrent("LSTM", outputs=("y",))
    model.graph.node.append(
        helper.make_node(
            "LSTM", ["x", "w", "r", "b", "lengths"], ["again"], hidden_size=HIDDEN, direction="bidirectional"
        )
    )
    model.graph.output.append(helper.make_tensor_value_info("again", FLOAT, ["sequence", 2, "batch", HIDDEN]))
    found = run(in_form(model, form), feeds_for(model, [4, 2, 6]))
    np.testing.assert_array_equal(found["y"], found["again"])


def test_a_graph_without_lengths_stays_as_it_is():
    model = in_form(recurrent("GRU"), "reverse_sequence")
    assert in_form(model, "gate") is model


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_target_chooses_form_and_claims(make_tagger, tmp_path, target, layers, precision):
    from lstm_deploy.export.cost import Rounding

    dev = tmp_path / "dev.conll"
    dev.write_text("cat\tNOUN\n\n")
    rounding = Rounding(precision, dev, 100) if precision != "fp32" else None
    export_model(*make_tagger(layers=layers), tmp_path / "m.onnx", rounding, target=target)
    session = TaggerSession(tmp_path / "m.onnx")
    assert (session.metadata.graph_form, session.metadata.runtimes) == (TARGETS[target].form, TARGETS[target].runtimes)
    assert session.metadata.proof["outside"] == 0


def test_int8_says_its_own_form_and_claims_onnxruntime_alone(make_tagger, tmp_path):
    from lstm_deploy.export.cost import Rounding

    (tmp_path / "dev.conll").write_text("cat\tNOUN\n\n")
    export_model(*make_tagger(), tmp_path / "m.onnx", Rounding("int8", tmp_path / "dev.conll", 100))
    metadata = TaggerSession(tmp_path / "m.onnx").metadata
    assert metadata.graph_form == "scan_int8"
    assert metadata.runtimes == ("onnxruntime", "onnxruntime-node", "onnxruntime-web")
    file = read_model_file(tmp_path / "m.onnx")
    assert not any(n.op_type == "LSTM" and len(n.inputs) > 4 and n.inputs[4] for n in file.inner_nodes)


def test_a_streaming_file_is_for_onnxruntime_unless_another_is_asked_for(make_tagger, tmp_path):
    tagger = make_tagger(bidirectional=False)
    export_model(*tagger, tmp_path / "m.onnx", streaming=True)
    assert TaggerSession(tmp_path / "m.onnx").metadata.graph_form == "sequence_lens"
    for target in ("portable", "tract"):
        with pytest.raises(
            InputError, match=rf"no file for {target}: a streaming file hands on .*--target onnxruntime"
        ):
            export_model(*tagger, tmp_path / "n.onnx", streaming=True, target=target)
    assert not (tmp_path / "n.onnx").exists()


@pytest.mark.parametrize("target", ["tract", "portable"])
def test_int8_is_for_onnxruntime_alone(make_tagger, tmp_path, target):
    from lstm_deploy.export.cost import Rounding

    (tmp_path / "dev.conll").write_text("cat\tNOUN\n\n")
    rounding = Rounding("int8", tmp_path / "dev.conll", 100)
    with pytest.raises(InputError, match=rf"no file for {target}: int8 .* --precision fp32 or fp16"):
        export_model(*make_tagger(), tmp_path / "m.onnx", rounding, target=target)


def test_the_command_says_where_a_file_is_not_portable(make_tagger, save_checkpoint, tmp_path):
    folder = save_checkpoint(tmp_path / "checkpoint", *make_tagger(bidirectional=False))
    plain, streaming = (
        CliRunner().invoke(main, ["export", str(folder), "--output", str(tmp_path / "m.onnx"), *more])
        for more in ([], ["--streaming"])
    )
    assert "onnxruntime alone" not in plain.stderr
    assert "for onnxruntime alone, not portable: a streaming file" in streaming.stderr


def test_the_command_takes_a_target(make_tagger, save_checkpoint, tmp_path):
    folder = save_checkpoint(tmp_path / "checkpoint", *make_tagger())
    done = CliRunner().invoke(main, ["export", str(folder), "--output", str(tmp_path / "m.onnx"), "--target", "tract"])
    assert done.exit_code == 0, done.output
    assert TaggerSession(tmp_path / "m.onnx").metadata.graph_form == "gate"


def test_a_file_that_says_another_form_than_its_graph_is_refused(make_tagger, save_checkpoint, tmp_path):
    folder = save_checkpoint(tmp_path / "checkpoint", *make_tagger())
    export_checkpoint(folder, tmp_path / "m.onnx", target="onnxruntime")
    model = onnx.load(tmp_path / "m.onnx")
    for entry in model.metadata_props:
        if entry.key == "lstm_deploy.graph_form":
            entry.value = "reverse_sequence"
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(MetadataError, match="operators know no lengths"):
        TaggerSession(tmp_path / "m.onnx")
