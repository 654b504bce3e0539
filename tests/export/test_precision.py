"""Rounded files: proved on the rounded weights, gated by accuracy, stamped with what the rounding cost."""

import os

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from test_graph import FORMS, _random_inputs, _row

from lstm_deploy import Predictor
from lstm_deploy.cli import main
from lstm_deploy.errors import AccuracyError, InputError, MetadataError, ParityError
from lstm_deploy.export import exporter
from lstm_deploy.export.cost import Rounding
from lstm_deploy.export.exporter import export_checkpoint, export_model
from lstm_deploy.export.parity import torch_log_probs
from lstm_deploy.export.rounding import store
from lstm_deploy.export.stored import StoredTagger
from lstm_deploy.golden import check_golden
from lstm_deploy.vocabulary import Vocabulary

GOLD = "the\tO\ncat\tNOUN\nate\tVERB\n\nMr.\tB-PER\nWell\tI-PER\nswam\tVERB\n\n"
MANY = 11  # rows: enough for the Scan of an int8 file


@pytest.fixture
def dev(tmp_path):
    path = tmp_path / "dev.conll"
    path.write_text(GOLD)
    return path


def _export(tagger, path, precision, dev, max_drop=100):
    export_model(*tagger, path, Rounding(precision, dev, max_drop))
    checkpoint, model = tagger
    oracle = StoredTagger(model, checkpoint.vocabulary, checkpoint.features, precision).oracle()
    return Predictor.load(path), oracle


@pytest.mark.parametrize("case", ["keep", "lower"])
@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize(("precision", "tolerance"), [("fp16", 1e-5), ("rows8", 1e-5), ("int8", 0.15)])
def test_few_and_many_ragged_rows_equal_pytorch_on_the_rounded_weights(
    make_tagger, tmp_path, dev, form, precision, tolerance, case
):
    predictor, oracle = _export(make_tagger(scale=2.0, case=case, **form), tmp_path / "m.onnx", precision, dev)
    assert predictor.metadata.precision == precision
    for lengths in ([1], [5, 0, 3], [3, 17, 1, 8, 17, 2, 2, 9, 0, 1, 30], [1] * MANY):
        inputs = _random_inputs(predictor.session, lengths)
        found = predictor.session.run(inputs)
        for i, n in enumerate(lengths):
            assert (found.tag_ids[i, n:] == -1).all()
            if n:
                expected = torch_log_probs(oracle, _row(inputs, i))[0]
                np.testing.assert_allclose(found.log_probs[i, :n], expected, atol=tolerance, rtol=tolerance)
    assert not check_golden(predictor).failures


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**31), lengths=st.lists(st.integers(1, 20), min_size=8, max_size=20), layers=st.integers(1, 2)
)
def test_an_int8_answer_does_not_depend_on_the_rest_of_a_large_batch(
    make_tagger, tmp_path_factory, seed, lengths, layers
):
    """The scale of the states is fixed, so nothing is measured over the batch; only additions may change order."""
    folder = tmp_path_factory.mktemp("alone")
    (folder / "dev.conll").write_text(GOLD)
    try:
        predictor, _ = _export(make_tagger(seed, 2.0, layers=layers), folder / "m.onnx", "int8", folder / "dev.conll")
    except ParityError:  # weights at random that do not bear int8: refused, so there is no file to look at
        assume(False)
    inputs = _random_inputs(predictor.session, lengths, seed)
    whole = predictor.session.run(inputs).log_probs
    for i, n in enumerate(lengths):
        copies = {name: np.repeat(value, MANY, axis=0) for name, value in _row(inputs, i).items()}
        np.testing.assert_allclose(predictor.session.run(copies).log_probs[0], whole[i, :n], atol=2e-6)


def test_what_stands_at_padding_changes_nothing_in_int8(make_tagger, tmp_path, dev):
    predictor, _ = _export(make_tagger(layers=2), tmp_path / "m.onnx", "int8", dev)
    lengths = [7, 3, 1, 5, 5, 2, 7, 6, 4]
    one, two = (_random_inputs(predictor.session, lengths, seed) for seed in (1, 2))
    valid = np.arange(7) < one["lengths"][:, None]
    for name in ("word_ids", "subword_ids"):
        two[name][valid] = one[name][valid]
    first, second = predictor.session.run(one), predictor.session.run(two)
    np.testing.assert_array_equal(first.log_probs[valid], second.log_probs[valid])
    np.testing.assert_array_equal(first.tag_ids, second.tag_ids)


@pytest.mark.parametrize("precision", ["fp16", "rows8", "int8"])
def test_standard_operators_small_files_and_figures_inside(make_tagger, tmp_path, dev, precision):
    tagger = make_tagger(embedding=64, hidden=64, buckets=2048)
    exact = export_model(*tagger, tmp_path / "exact.onnx")
    assert exact.rounding == {}
    predictor, _ = _export(tagger, tmp_path / "m.onnx", precision, dev)
    model = onnx.load(tmp_path / "m.onnx")
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)]
    share = (tmp_path / "m.onnx").stat().st_size / (tmp_path / "exact.onnx").stat().st_size
    assert share < {"fp16": 0.55, "rows8": 0.65, "int8": 0.4}[precision]
    cost = predictor.metadata.rounding
    assert {"data", "sha256", "tokens", "exact", "rounded", "drop", "max_drop", "same_tags"} == set(cost)
    assert (cost["data"], cost["tokens"]) == ("dev.conll", 6)
    assert set(cost["exact"]) == set(cost["rounded"]) == {"accuracy"}  # f1 where the tags are IOB2
    assert predictor.metadata.proof["tolerance"] == predictor.metadata.tolerance


def _gold_of(tagger, path):
    """A gold file that the exact model gets wholly right."""
    export_model(*tagger, path.with_suffix(".onnx"))
    predictor = Predictor.load(path.with_suffix(".onnx"))
    words = [word for word in predictor.metadata.vocabulary.words if word]
    result = predictor.predict(words * 9)
    path.write_text("".join(f"{a}\t{b}\n" for a, b in zip(result.tokens, result.tags, strict=True)) + "\n")
    return path


def test_a_fall_of_more_than_allowed_gets_no_file(make_tagger, tmp_path, monkeypatch):
    tagger = make_tagger(scale=3.0)
    gold = _gold_of(tagger, tmp_path / "gold.conll")

    def coarse(values, precision, **options):
        return store(np.round(values) if precision == "fp16" else values, precision, **options)

    monkeypatch.setattr("lstm_deploy.export.stored.store", coarse)
    with pytest.raises(AccuracyError, match=r"costs \d+\.\d\d points on .*gold.conll.*raise --max-drop"):
        export_model(*tagger, tmp_path / "m.onnx", Rounding("fp16", gold))
    assert not (tmp_path / "m.onnx").exists()


def test_a_wrong_int8_graph_gets_no_file(make_tagger, tmp_path, dev, monkeypatch):
    """The branch for many rows alone is spoilt: golden cases and proof both have to reach it."""
    right = exporter.tagger_model

    def spoilt(tagger, metadata):
        model = right(tagger, metadata)
        if metadata.precision == "int8":
            (branch,) = (
                a.g for n in model.graph.node if n.op_type == "If" for a in n.attribute if a.name == "else_branch"
            )
            (turn,) = (n for n in branch.node if n.output[0] == "scan_0.y_turned")
            turn.op_type = "Identity"
            del turn.attribute[:], turn.input[1:]
        return model

    monkeypatch.setattr(exporter, "tagger_model", spoilt)
    with pytest.raises(ParityError, match="no file was written"):
        export_model(*make_tagger(scale=3.0), tmp_path / "m.onnx", Rounding("int8", dev, 100))
    assert not (tmp_path / "m.onnx").exists()


def test_command_needs_a_tagged_file_and_writes_what_it_cost(make_tagger, save_checkpoint, tmp_path, dev):
    folder = str(save_checkpoint(tmp_path / "checkpoint", *make_tagger()))

    def run(*arguments):
        return CliRunner().invoke(main, ["export", folder, "--output", str(tmp_path / "m.onnx"), *arguments])

    assert "give --dev FILE" in run("--precision", "int8").output
    assert "give --precision fp16, rows8 or int8" in run("--dev", str(dev)).output
    assert "give --precision fp16, rows8 or int8" in run("--max-drop", "1").output
    done = run("--precision", "int8", "--dev", str(dev), "--max-drop", "100")
    assert done.exit_code == 0, done.output
    assert "int8 on dev.conll: accuracy" in done.output
    assert "on the rounded weights" in done.output
    shown = CliRunner().invoke(main, ["inspect", str(tmp_path / "m.onnx")]).output
    assert "int8, tolerance 0.15" in shown
    assert "on dev.conll" in shown
    verified = CliRunner().invoke(
        main, ["verify", str(tmp_path / "m.onnx"), "--checkpoint", folder, "--input", str(dev)]
    )
    assert verified.exit_code == 0, verified.output


def test_an_empty_development_set_is_refused(make_tagger, save_checkpoint, tmp_path):
    (tmp_path / "empty.conll").write_text("")
    folder = save_checkpoint(tmp_path / "checkpoint", *make_tagger())
    with pytest.raises(InputError, match="no sentences"):
        export_checkpoint(folder, tmp_path / "m.onnx", Rounding("int8", tmp_path / "empty.conll"))


def test_precision_and_graph_form_must_agree(make_tagger, tmp_path):
    export_model(*make_tagger(), tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    for entry in model.metadata_props:
        if entry.key == "lstm_deploy.precision":
            entry.value = "int8"
    onnx.save(model, tmp_path / "lying.onnx")
    with pytest.raises(MetadataError, match="graph_form"):
        Predictor.load(tmp_path / "lying.onnx")


@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=30), st.sampled_from([64, 127]))
def test_rounding_is_within_half_a_step_and_zero_stays_zero(values, levels):
    array = np.array([values, [0.0] * len(values)], np.float32)
    stored = store(array, "int8", levels=levels)
    assert np.abs(stored.codes.astype(int)).max() <= levels
    assert (np.abs(stored.values - array) <= stored.scale * 0.5001 + 1e-37).all()
    assert not stored.values[1].any()


@pytest.mark.parametrize("precision", ["fp16", "rows8", "int8"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_weight_that_is_no_number_is_refused_before_it_is_rounded_away(make_tagger, tmp_path, dev, precision, bad):
    checkpoint, model = make_tagger()
    where = model.embedding.subword.weight if precision == "rows8" else model.lstm.weight_hh_l0
    where.data[3, 1] = bad
    with pytest.raises(ParityError, match=r"holds (nan|inf); expected finite numbers"):
        export_model(checkpoint, model, tmp_path / "m.onnx", Rounding(precision, dev))


def test_no_weight_code_can_saturate_any_processor(make_tagger, tmp_path, dev):
    """Codes of all matrices are at most 64, so that two products with unsigned bytes fit into 16 bits."""
    _export(make_tagger(scale=4.0, layers=2), tmp_path / "m.onnx", "int8", dev)
    model = onnx.load(tmp_path / "m.onnx")

    def constants(graph):
        yield from graph.initializer
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    yield from constants(attribute.g)

    matrices = [c for c in constants(model.graph) if c.data_type == onnx.TensorProto.INT8 and c.name != "subword_table"]
    assert len(matrices) == 2 * 4 + 1
    for matrix in matrices:
        assert np.abs(onnx.numpy_helper.to_array(matrix).astype(int)).max() == 64


def test_a_component_that_is_always_zero_costs_the_others_nothing(make_tagger, tmp_path, dev):
    worst = []
    for dead in (False, True):
        checkpoint, model = make_tagger(embedding=12, hidden=16, scale=3.0)
        if dead:
            model.embedding.norm.weight.data[0] = model.embedding.norm.bias.data[0] = 0
        predictor, _ = _export((checkpoint, model), tmp_path / "m.onnx", "int8", dev)
        inputs = _random_inputs(predictor.session, [9] * MANY)
        worst.append(np.abs(predictor.session.run(inputs).log_probs - torch_log_probs(model, inputs)).max())
    assert worst[1] < 3 * worst[0], worst


def test_vectors_of_unknown_words_are_not_cut_short_by_a_small_vocabulary(make_tagger, tmp_path, dev):
    checkpoint, model = make_tagger(embedding=12, hidden=16, scale=3.0)
    checkpoint.vocabulary = Vocabulary.from_words(["the"])
    model.embedding.word.weight.data = model.embedding.word.weight.data[:3]
    predictor, _ = _export((checkpoint, model), tmp_path / "m.onnx", "int8", dev)
    inputs = _random_inputs(predictor.session, [9] * MANY)
    assert np.abs(predictor.session.run(inputs).log_probs - torch_log_probs(model, inputs)).max() < 0.1


def test_a_development_set_that_can_be_read_only_once_is_refused(make_tagger, tmp_path):
    os.mkfifo(tmp_path / "pipe.conll")
    with pytest.raises(InputError, match="not a regular file"):
        export_model(*make_tagger(), tmp_path / "m.onnx", Rounding("int8", tmp_path / "pipe.conll"))


@pytest.mark.parametrize(
    ("source", "says"),
    [("fp32", "fp16"), ("fp32", "int8"), ("fp16", "fp32"), ("int8", "fp32"), ("rows8", "fp32"), ("fp32", "rows8")],
)
def test_a_file_that_claims_another_precision_is_refused(make_tagger, tmp_path, dev, source, says):
    tagger = make_tagger()
    export_model(*tagger, tmp_path / "m.onnx", None if source == "fp32" else Rounding(source, dev, 100))
    model = onnx.load(tmp_path / "m.onnx")
    form = "scan_int8" if says == "int8" else "sequence_lens"
    for entry in model.metadata_props:
        lies = {"lstm_deploy.precision": says, "lstm_deploy.graph_form": form}
        entry.value = lies.get(entry.key, entry.value)
    onnx.save(model, tmp_path / "lying.onnx")
    with pytest.raises(MetadataError, match=f"says precision {says}, the graph is {source}"):
        Predictor.load(tmp_path / "lying.onnx")


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_rows8_rounds_the_tables_alone_and_stays_portable(make_tagger, tmp_path, dev, form):
    checkpoint, model = make_tagger(**form)
    stored = StoredTagger(model, checkpoint.vocabulary, checkpoint.features, "rows8")
    for part in ("lstm", "head"):
        for one, other in zip(getattr(stored, part).parameters(), getattr(model, part).parameters(), strict=True):
            assert (one == other).all()
    predictor, _ = _export((checkpoint, model), tmp_path / "m.onnx", "rows8", dev)
    export_model(checkpoint, model, tmp_path / "exact.onnx")
    exact = Predictor.load(tmp_path / "exact.onnx")
    assert predictor.metadata.runtimes == exact.metadata.runtimes
    assert predictor.metadata.graph_form == exact.metadata.graph_form
    tables = [c for c in onnx.load(tmp_path / "m.onnx").graph.initializer if c.data_type == onnx.TensorProto.INT8]
    assert {c.name for c in tables} == {"word_table"} | ({"subword_table"} if form["subwords"] else set())
    inputs = _random_inputs(exact.session, [9, 4, 1])
    difference = np.abs(predictor.session.run(inputs).log_probs - exact.session.run(inputs).log_probs)
    assert difference.max() < 0.05
