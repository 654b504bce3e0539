"""The CRF that learns: its losses against every path counted and against pytorch-crf; its file against PyTorch."""

from itertools import product

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_deploy.cli import main
from lstm_deploy.entities import is_iob2
from lstm_deploy.formats import read_gold
from lstm_deploy.training.checkpoint import load_checkpoint
from lstm_deploy.training.crf import LinearChainCrf
from lstm_deploy.training.model import model_inputs
from lstm_deploy.training.trainer import evaluate

LENGTHS = st.lists(st.integers(1, 5), min_size=1, max_size=4)


def _case(lengths, tags, seed):
    torch.manual_seed(seed)
    crf = LinearChainCrf(tags)
    with torch.no_grad():
        for parameter in crf.parameters():
            parameter.normal_()
    emissions = torch.randn(len(lengths), max(lengths), tags, requires_grad=True)
    return crf, emissions, torch.randint(0, tags, (len(lengths), max(lengths))), torch.tensor(lengths)


@settings(max_examples=30, deadline=None)
@given(LENGTHS, st.integers(1, 3), st.integers(0, 99))
def test_losses_are_those_of_every_path_counted(lengths, tags, seed):
    crf, emissions, gold, of = _case(lengths, tags, seed)
    numbers, losses = crf.numbers(), crf.losses(emissions, gold, of)
    for i, n in enumerate(lengths):
        own = emissions[i, :n].detach().numpy()
        scores = [numbers.path_score(own, np.array(path)) for path in product(range(tags), repeat=n)]
        expected = np.log(np.exp(scores).sum()) - numbers.path_score(own, gold[i, :n].numpy())
        assert losses[i].item() == pytest.approx(expected, abs=1e-4)


@settings(max_examples=30, deadline=None)
@given(LENGTHS, st.integers(1, 6), st.integers(0, 99))
def test_losses_and_gradients_are_pytorch_crfs(lengths, tags, seed):
    theirs = pytest.importorskip("torchcrf").CRF(tags, batch_first=True)
    crf, emissions, gold, of = _case(lengths, tags, seed)
    with torch.no_grad():
        theirs.transitions.copy_(crf.transitions)
        theirs.start_transitions.copy_(crf.start)
        theirs.end_transitions.copy_(crf.end)
    mask = torch.arange(max(lengths)) < of[:, None]
    reference = -theirs(emissions, gold, mask=mask, reduction="sum")
    ours = crf.losses(emissions, gold, of).sum()
    torch.testing.assert_close(ours, reference, atol=1e-4, rtol=1e-4)
    own = torch.autograd.grad(ours, [emissions, crf.transitions, crf.start, crf.end], materialize_grads=True)
    other = torch.autograd.grad(
        reference,
        [emissions, theirs.transitions, theirs.start_transitions, theirs.end_transitions],
        materialize_grads=True,
    )
    for one, two in zip(own, other, strict=True):
        torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-4)


@given(LENGTHS, st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_what_stands_at_padding_and_what_is_added_to_a_token_change_nothing(lengths, seed):
    crf, emissions, gold, of = _case(lengths, 3, seed)
    padding = torch.arange(max(lengths)) >= of[:, None]
    other = emissions.detach() + torch.randn(len(lengths), max(lengths), 1)
    other[padding] = 7
    tags = torch.where(padding, 2, gold)
    shifted = crf.losses(other.log_softmax(-1), tags, of)
    torch.testing.assert_close(crf.losses(emissions, gold, of), shifted, atol=1e-4, rtol=1e-4)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Entities of two or three words: that a word goes on one is told by what stands before it."""
    folder = tmp_path_factory.mktemp("crf")
    chance = np.random.default_rng(1)
    for name, sentences in (("train", 250), ("dev", 50)):
        lines = []
        for _ in range(sentences):
            for _ in range(3):
                lines += [f"{chance.choice(['saw', 'the', 'and'])}\tO"] * int(chance.integers(1, 3))
                kind = chance.choice(["PER", "LOC"])
                lines += [
                    f"{'Ms' if kind == 'PER' else 'Mt'}\tB-{kind}",
                    *[f"Lee\tI-{kind}"] * int(chance.integers(1, 3)),
                ]
            lines.append("")
        (folder / f"{name}.conll").write_text("\n".join(lines) + "\n")
    done = CliRunner().invoke(main, _command(folder, folder / "c"))
    assert done.exit_code == 0, done.output
    return folder


def _command(folder, output, *more):
    return [
        "train", "--train", str(folder / "train.conll"), "--dev", str(folder / "dev.conll"), "--output", str(output),
        "--crf", "--embedding", "8", "--hidden", "8", "--buckets", "64", "--epochs", "4", "--batch-size", "8",
        "--learning-rate", "0.03", *more,
    ]  # fmt: skip


def test_it_learns_and_the_file_decodes_with_what_was_learnt(trained, tmp_path):
    pytest.importorskip("onnx")
    from lstm_deploy import Predictor
    from lstm_deploy.export.exporter import export_checkpoint

    checkpoint, model = load_checkpoint(trained / "c")
    gold = list(read_gold(trained / "dev.conll"))
    report = evaluate(model, checkpoint.encoder(), checkpoint.tags, gold)
    assert report["entities"]["f1"] > 0.95
    assert model.crf.transitions.abs().max() > 0.05
    export_checkpoint(trained / "c", tmp_path / "m.onnx")
    predictor = Predictor.load(tmp_path / "m.onnx")
    np.testing.assert_array_equal(predictor.metadata.crf.transitions, model.crf.numbers().transitions)
    assert predictor.metadata.notes == ()
    words = ["Lee", "Ms", "saw", "Mt", "Lee", "the", "Lee", "Ms", "Ms", "Mt"]
    chance = np.random.default_rng(0)
    sentences = [chance.choice(words, n).tolist() for n in (1, 9, 30, 2, 17)]
    inputs = checkpoint.encoder().encode(sentences)
    expected = model.crf.numbers().viterbi(model.log_probs(*model_inputs(inputs)).numpy(), inputs["lengths"])
    for result, row in zip(predictor.predict_batch(sentences), expected, strict=True):
        assert list(result.tags) == [checkpoint.tags[i] for i in row if i >= 0]
    verified = CliRunner().invoke(
        main,
        ["verify", str(tmp_path / "m.onnx"), "--checkpoint", str(trained / "c"), "--input", str(trained / "dev.conll")],
    )
    assert verified.exit_code == 0, verified.output


def test_constraints_go_on_top_of_what_was_learnt(trained, tmp_path):
    pytest.importorskip("onnx")
    from lstm_deploy import Predictor
    from lstm_deploy.export.exporter import export_checkpoint

    export_checkpoint(trained / "c", tmp_path / "m.onnx", constrain="iob2")
    predictor, model = Predictor.load(tmp_path / "m.onnx"), load_checkpoint(trained / "c")[1]
    allowed = predictor.metadata.crf.transitions > -1e29
    learnt = model.crf.numbers().transitions
    np.testing.assert_array_equal(predictor.metadata.crf.transitions[allowed], learnt[allowed])
    tags = predictor.metadata.tags
    assert not allowed[tags.index("O"), tags.index("I-PER")]
    result = predictor.predict(["Lee", "Lee", "Ms", "Mt", "Lee"])
    assert is_iob2(("O", *result.tags))
    assert not result.tags[0].startswith("I-")


def test_a_crf_neither_streams_nor_learns_from_single_tokens(trained, tmp_path):
    pytest.importorskip("onnx")
    folder = tmp_path / "c"
    assert CliRunner().invoke(main, [*_command(trained, folder, "--unidirectional"), "--epochs", "1"]).exit_code == 0
    refused = CliRunner().invoke(main, ["export", str(folder), "--streaming", "--output", str(tmp_path / "m.onnx")])
    assert refused.exit_code == 1
    assert "stream" in refused.output
    from test_soft_labels import write_labels

    labels = write_labels(tmp_path / "l", [["Lee"]], [[0.0] * 2], tags=["O", "B-PER"])
    refused = CliRunner().invoke(main, _command(trained, tmp_path / "d", "--soft-labels", str(labels)))
    assert "with --soft-labels or with --crf" in refused.output
