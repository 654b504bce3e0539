"""The proof: what is wrong does not get a file, and what is merely a tie does not count as wrong."""

import re

import numpy as np
import pytest
import torch

from lstm_deploy.conformance.proof import Proof
from lstm_deploy.errors import ParityError
from lstm_deploy.export import exporter
from lstm_deploy.export.cost import Rounding
from lstm_deploy.export.exporter import export_model
from lstm_deploy.export.graph import tagger_model
from lstm_deploy.session import Scores


def _spoil(monkeypatch, change):
    """Every graph built from now on passes through ``change(model)`` first."""

    def spoilt(tagger, metadata):
        model = tagger_model(tagger, metadata)
        change(model)
        return model

    monkeypatch.setattr(exporter, "tagger_model", spoilt)


def _edit(name, edit):
    from onnx import numpy_helper

    def change(model):
        for tensor in model.graph.initializer:
            if tensor.name == name:
                value = numpy_helper.to_array(tensor).copy()
                edit(value)
                tensor.CopyFrom(numpy_helper.from_array(value, name))

    return change


def _forget_lengths(model):
    for node in model.graph.node:
        if node.op_type == "LSTM":
            del node.input[4:]


def _swap_gates(value):
    value[:, [0, 5]] = value[:, [5, 0]]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_edit("head.bias", lambda v: v.__iadd__([1e-3, 0, 0, 0, 0])), id="a bias off by a thousandth"),
        pytest.param(_edit("lstm_0.w", _swap_gates), id="two gates swapped"),
        pytest.param(_edit("subword_table", lambda v: v.__setitem__((63, 0), 9)), id="the last row of a table"),
        pytest.param(_forget_lengths, id="lengths ignored"),
    ],
)
def test_a_wrong_graph_gets_no_file(make_tagger, tmp_path, monkeypatch, change):
    _spoil(monkeypatch, change)
    output = tmp_path / "m.onnx"
    output.write_bytes(b"an older file")
    with pytest.raises(ParityError, match="no file was written"):
        export_model(*make_tagger(layers=2), output)
    assert output.read_bytes() == b"an older file"
    assert list(tmp_path.iterdir()) == [output]


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        pytest.param(
            _edit("padding_tag", lambda v: v.__setitem__((), 0)),
            r"the model answered with tag ids from 0 to \d, not one for each token; expected 0 to 4, and -1 at padding",
            id="padding not marked",
        ),
        pytest.param(
            _edit("word_table", lambda v: v.__setitem__((3, 1), np.nan)),
            "refused before it was run: the constant word_table holds inf or nan",
            id="a number lost on the way",
        ),
    ],
)
def test_what_no_reader_takes_is_told_as_the_exporters_fault(make_tagger, tmp_path, monkeypatch, change, fact):
    _spoil(monkeypatch, change)
    output = tmp_path / "m.onnx"
    with pytest.raises(ParityError) as caught:
        export_model(*make_tagger(layers=2), output)
    assert re.fullmatch(f"{re.escape(str(output))}: {fact}; no file was written; report this", str(caught.value))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [np.nan, np.inf])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_weights_that_are_no_numbers_are_told_as_such(make_tagger, tmp_path, number, precision):
    checkpoint, model = make_tagger(layers=2)
    with torch.no_grad():
        model.head.bias[1] = number
    output = tmp_path / "m.onnx"
    with pytest.raises(ParityError) as caught:
        export_model(checkpoint, model, output, None if precision == "fp32" else Rounding(precision, tmp_path))
    assert str(caught.value) == (
        f"{output}: the weight head.bias holds {number}; expected finite numbers; no file was written; train again "
        "with a lower learning rate"
    )
    assert not list(tmp_path.iterdir())


def test_a_right_graph_passes_with_every_figure_in_place(make_tagger, tmp_path):
    proof = export_model(*make_tagger(layers=2), tmp_path / "m.onnx").proof
    assert proof.holds
    assert (proof.batches, proof.outside, proof.tag_differences) == (16, 0, 0)
    assert 0 < proof.max_difference < 1e-5
    assert proof.tokens > 1000


def _compare(oracle, found_ids, found=None):
    oracle = np.array([oracle], np.float32)
    proof = Proof()
    proof.compare(
        Scores(np.array([found_ids], np.int32), oracle if found is None else np.array([found], np.float32)),
        oracle,
        np.array([oracle.shape[1]], np.int32),
    )
    return proof


def test_a_tie_closer_than_the_tolerance_is_counted_and_passes():
    proof = _compare([[-1.0, -1.000001]], [1])
    assert (proof.ties, proof.tag_differences, proof.holds) == (1, 0, True)


def test_a_tag_that_differs_by_more_fails():
    proof = _compare([[-1.0, -1.1]], [1])
    assert (proof.ties, proof.tag_differences, proof.holds) == (0, 1, False)


def test_a_tag_outside_the_tag_set_fails():
    assert not _compare([[-1.0, -1.1]], [7]).holds


def test_nothing_compared_is_no_proof():
    assert not Proof().holds


def test_not_a_number_is_outside():
    assert _compare([[-1.0, -1.1]], [0], [[np.nan, -1.1]]).outside == 1
