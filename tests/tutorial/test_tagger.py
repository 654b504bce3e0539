"""The tutorial's third system: the two-sentence tagger, trained, exported and run."""

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

from lstm_deploy import Predictor
from lstm_deploy.export.exporter import export_checkpoint
from lstm_deploy.golden import check_golden
from lstm_deploy.training.checkpoint import load_checkpoint
from lstm_deploy.training.config import TUTORIAL
from lstm_deploy.training.model import model_inputs
from lstm_deploy.training.pipeline import Data, train_tagger
from lstm_deploy.training.tutorial import SENTENCES, UNSEEN

COMMITTED = Path(__file__).parents[2] / "exported" / "tutorial.onnx"


def _torch_tags(folder, tokens):
    checkpoint, model = load_checkpoint(folder)
    found = model.log_probs(*model_inputs(checkpoint.encoder().encode([tokens]))).argmax(-1)[0].tolist()
    return tuple(checkpoint.tags[i] for i in found)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tutorial")
    train_tagger(TUTORIAL, Data(), folder / "checkpoint")
    export_checkpoint(folder / "checkpoint", folder / "tagger.onnx")
    return folder


def test_the_recipe_is_the_tutorials():
    model, training = TUTORIAL.model, TUTORIAL.training
    assert (model.embedding, model.hidden, model.layers, model.bidirectional) == (10, 3, 1, False)
    assert (training.optimizer, training.learning_rate, training.epochs, training.batch_size) == ("sgd", 0.1, 400, 1)
    assert (training.weight_decay, training.label_smoothing, model.dropout, model.subwords) == (0, 0, 0, False)


@pytest.mark.parametrize(("tokens", "tags"), [*SENTENCES, UNSEEN])
def test_pytorch_and_the_exported_file_give_the_tutorials_tags(trained, tokens, tags):
    assert _torch_tags(trained / "checkpoint", tokens) == tags
    assert Predictor.load(trained / "tagger.onnx").predict(tokens).tags == tags


@pytest.mark.parametrize(("tokens", "tags"), [*SENTENCES, UNSEEN])
def test_the_committed_file_gives_the_tutorials_tags(tokens, tags):
    assert Predictor.load(COMMITTED).predict(tokens).tags == tags


def test_the_committed_file_passes_its_golden_cases():
    report = check_golden(Predictor.load(COMMITTED))
    assert report.cases >= 4
    assert not report.failures


@pytest.mark.slow
def test_most_seeds_learn_the_unseen_sentence_too(tmp_path):
    right = 0
    for seed in range(5):
        recipe = replace(TUTORIAL, training=replace(TUTORIAL.training, seed=seed))
        train_tagger(recipe, Data(), tmp_path / str(seed))
        for tokens, tags in SENTENCES:
            assert _torch_tags(tmp_path / str(seed), tokens) == tags
        right += _torch_tags(tmp_path / str(seed), UNSEEN[0]) == UNSEEN[1]
    assert right >= 3
