"""Files that let only valid IOB2 sequences out, made of taggers that know no CRF."""

import itertools
import json

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from lstm_deploy import Predictor
from lstm_deploy.cli import main
from lstm_deploy.errors import InputError, ParityError
from lstm_deploy.export import exporter
from lstm_deploy.export.constraints import iob2_constraints
from lstm_deploy.export.cost import Rounding
from lstm_deploy.export.exporter import export_model
from lstm_deploy.export.parity import torch_log_probs
from lstm_deploy.golden import check_golden

TAGS = ("I-PER", "O", "B-LOC", "B-PER", "I-LOC", "B-DATE")


def _valid(tags):
    return all(
        not tag.startswith("I-") or before in (f"B-{tag[2:]}", tag) for before, tag in itertools.pairwise(("O", *tags))
    )


@pytest.fixture
def iob2_tagger(make_tagger):
    """A random tagger whose own best tags are mostly no valid IOB2."""

    def make(**options):
        checkpoint, model = make_tagger(scale=3.0, **options)
        checkpoint.tags = ("B-PER", "I-PER", "B-LOC", "I-LOC", "O")
        return checkpoint, model

    return make


@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_the_best_valid_sequence_is_found(seed, length):
    emissions = np.random.default_rng(seed).normal(scale=3, size=(1, length, len(TAGS))).astype(np.float32)
    path = iob2_constraints(TAGS).viterbi(emissions, np.array([length]))[0]
    assert _valid([TAGS[i] for i in path])
    valid = (p for p in itertools.product(range(len(TAGS)), repeat=length) if _valid([TAGS[i] for i in p]))
    best = max(emissions[0, np.arange(length), p].sum() for p in valid)
    assert emissions[0, np.arange(length), path].sum() == pytest.approx(best, rel=1e-5)


@pytest.mark.parametrize(
    ("tags", "says"),
    [
        (("NOUN", "VERB"), "NOUN, VERB are not"),
        (("O", "B-PER", "I-LOC"), "I-LOC is not"),
        (("O", "B-PER", "E-PER"), "E-PER is not"),
        (("O", "B-PER", "B-"), "B- is not"),
        (("B-PER", "I-PER"), "there is no O"),
        (("O",), "or nothing else"),
    ],
)
def test_other_tags_are_named(tags, says):
    with pytest.raises(InputError, match=says):
        iob2_constraints(tags)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_only_valid_sequences_come_out_and_all_else_works(iob2_tagger, tmp_path, precision):
    checkpoint, model = iob2_tagger()
    (tmp_path / "dev.conll").write_text("the\tO\ncat\tO\n\n")
    settings = None if precision == "fp32" else Rounding(precision, tmp_path / "dev.conll", 100)
    proof = export_model(checkpoint, model, tmp_path / "m.onnx", settings, constrain="iob2").proof
    assert proof.holds
    predictor = Predictor.load(tmp_path / "m.onnx")
    assert not check_golden(predictor).failures
    assert predictor.metadata.notes
    words = [word for word in checkpoint.vocabulary.words if word] + ["new", "Ünknown"]
    random = np.random.default_rng(0)
    batch = [random.choice(words, size).tolist() for size in random.integers(0, 20, 60)]
    results = predictor.predict_batch(batch)
    assert all(_valid(result.tags) for result in results)
    assert all(0 < score <= 1 for result in results for score in result.scores)
    found = predictor.session.run(predictor.encoder.encode(batch))
    assert found.log_probs is None
    if precision == "fp32":
        plain = [torch_log_probs(model, checkpoint.encoder().encode([tokens]))[0] for tokens in batch if tokens]
        assert not all(_valid([checkpoint.tags[i] for i in row.argmax(-1)]) for row in plain)
        rows = [i for i, tokens in enumerate(batch) if tokens]
        for i, expected in zip(rows, plain, strict=True):
            np.testing.assert_allclose(found.emissions[i, : len(expected)], expected, atol=1e-5, rtol=1e-5)


def test_every_command_takes_such_a_file(iob2_tagger, save_checkpoint, tmp_path):
    folder = str(save_checkpoint(tmp_path / "checkpoint", *iob2_tagger()))
    model, gold = str(tmp_path / "m.onnx"), tmp_path / "gold.conll"
    gold.write_text("the\tO\ncat\tB-PER\n\nMr.\tB-PER\ncat\tI-PER\n\n")

    def run(*arguments):
        done = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert done.exit_code == 0, done.output
        return done.stdout

    run("export", folder, "--output", model, "--constrain", "iob2")
    report = json.loads(run("verify", model, "--checkpoint", folder, "--input", gold, "--json"))
    assert report["ok"]
    assert "best path of a CRF" in run("inspect", model)
    assert "constrained to valid IOB2" in run("inspect", model)
    assert "entities" in json.loads(run("eval", model, gold, "--json"))
    tagged = json.loads(run("run", "--model", model, "--format", "jsonl", "the cat"))
    assert len(tagged["scores"]) == 2
    assert json.loads(run("bench", model, "--seconds", "0.001", "--threads", "1", "--json"))["single"]


def test_the_command_refuses_other_tags(make_tagger, save_checkpoint, tmp_path):
    folder = str(save_checkpoint(tmp_path / "checkpoint", *make_tagger()))
    done = CliRunner().invoke(main, ["export", folder, "--output", str(tmp_path / "m.onnx"), "--constrain", "iob2"])
    assert done.exit_code == 1
    assert "NOUN, VERB are not" in done.stderr
    assert not (tmp_path / "m.onnx").exists()


def _edit_constant(name, edit):
    def change(model):
        (tensor,) = (tensor for tensor in model.graph.initializer if tensor.name == name)
        value = exporter.onnx.numpy_helper.to_array(tensor).copy()
        edit(value)
        tensor.CopyFrom(exporter.onnx.numpy_helper.from_array(value, name))

    return change


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_edit_constant("crf.transitions_into", lambda v: v.__setitem__(..., v.T.copy())), id="turned"),
        pytest.param(_edit_constant("crf.start", lambda v: v.__setitem__(..., 0)), id="any start"),
        pytest.param(_edit_constant("crf.itself", lambda v: v.__setitem__(..., 0)), id="padding forgets the path"),
    ],
)
def test_a_wrong_decoder_gets_no_file(iob2_tagger, tmp_path, monkeypatch, change):
    right = exporter.tagger_model

    def spoilt(tagger, metadata):
        model = right(tagger, metadata)
        change(model)
        return model

    monkeypatch.setattr(exporter, "tagger_model", spoilt)
    with pytest.raises(ParityError, match="no file was written"):
        export_model(*iob2_tagger(), tmp_path / "m.onnx", constrain="iob2")
    assert not (tmp_path / "m.onnx").exists()
