"""Temperature scaling: found where labels are drawn from known probabilities, and never a tag changed."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from lstm_deploy import Predictor
from lstm_deploy.cli import main
from lstm_deploy.encoding import Encoder
from lstm_deploy.formats import Sentence, read_gold
from lstm_deploy.training.calibration import calibrate
from lstm_deploy.training.config import ModelConfig
from lstm_deploy.training.model import LSTMTagger, model_inputs
from lstm_deploy.vocabulary import Vocabulary

WORDS = [f"w{i}" for i in range(40)]
TAGS = {tag: i for i, tag in enumerate("ABCD")}
VOCABULARY = Vocabulary([None, None, *WORDS], unknown_id=0, padding_id=1, case="keep")
ENCODER = Encoder(VOCABULARY, None)


def _tagger(crf, sharpness=1.0):
    torch.manual_seed(3)
    config = ModelConfig(embedding=8, hidden=6, dropout=0.0, subwords=False, crf=crf)
    model = LSTMTagger(config, words=len(VOCABULARY), tags=len(TAGS)).eval()
    with torch.no_grad():
        model.head.weight.mul_(6 * sharpness)
        for parameter in model.crf.parameters() if crf else ():
            parameter.normal_().mul_(sharpness)
    return model


def _drawn(model, sentences=400):
    """Ragged sentences whose tags are drawn from what the model says of them."""
    random, names, drawn = np.random.default_rng(5), list(TAGS), []
    crf = model.crf.numbers() if model.crf else None
    for _ in range(sentences):
        tokens = [WORDS[i] for i in random.integers(0, len(WORDS), random.integers(1, 9))]
        scores = model.log_probs(*model_inputs(ENCODER.encode([tokens])))[0].double()
        if crf is None:
            tags = [random.choice(len(TAGS), p=row / row.sum()) for row in scores.exp().numpy()]
        else:  # forward filtering, backward sampling
            numbers = [torch.from_numpy(np.array(part)).double() for part in (crf.transitions, crf.start, crf.end)]
            reached = [numbers[1] + scores[0]]
            for row in scores[1:]:
                reached.append((reached[-1][:, None] + numbers[0]).logsumexp(0) + row)
            tags = [random.choice(len(TAGS), p=(reached[-1] + numbers[2]).softmax(0).numpy())]
            for at in reversed(reached[:-1]):
                tags.insert(0, random.choice(len(TAGS), p=(at + numbers[0][:, tags[0]]).softmax(0).numpy()))
        drawn.append(Sentence(tokens, [names[i] for i in tags]))
    return drawn


def _best_tags(model, inputs):
    """Of each token, or of a CRF the best path's."""
    lengths = inputs[1].numpy()
    scores = model(*inputs).detach().numpy()
    best = model.crf.numbers().viterbi(scores, lengths) if model.crf else scores.argmax(-1)
    return [row[:length].tolist() for row, length in zip(best, lengths, strict=True)]


@pytest.mark.parametrize("crf", [False, True])
@pytest.mark.parametrize("sharpness", [0.5, 1.0, 2.0])
def test_the_temperature_undoes_a_known_sharpening(crf, sharpness):
    sentences = _drawn(_tagger(crf))
    model = _tagger(crf, sharpness)
    inputs = model_inputs(ENCODER.encode([sentence.tokens for sentence in sentences]))
    before = model(*inputs)
    tags = _best_tags(model, inputs)
    found = calibrate(model, ENCODER, TAGS, sentences)
    assert found["temperature"] == pytest.approx(sharpness, rel=0.12)
    assert found["tokens"] == sum(len(sentence.tokens) for sentence in sentences)
    assert found["log_loss_after"] <= found["log_loss_before"] + 1e-12
    after = model(*inputs)
    torch.testing.assert_close(after * found["temperature"], before, atol=1e-4, rtol=1e-4)
    assert _best_tags(model, inputs) == tags
    again = calibrate(model, ENCODER, TAGS, sentences)
    assert again["temperature"] == pytest.approx(1, abs=1e-3)
    assert again["log_loss_before"] == pytest.approx(found["log_loss_after"], rel=1e-5)


@pytest.mark.parametrize("crf", [False, True])
def test_tags_of_no_training_data_are_left_out(crf):
    sentences = _drawn(_tagger(crf), 40)
    known = calibrate(_tagger(crf), ENCODER, TAGS, sentences)
    odd = Sentence(["w1", "w2"], ["A", "?"])
    more = calibrate(_tagger(crf), ENCODER, TAGS, [*sentences, odd])
    assert more["tokens"] == known["tokens"] + (0 if crf else 1)
    assert calibrate(_tagger(crf), ENCODER, TAGS, [Sentence(["w1"], ["?"])]) == {}
    assert calibrate(_tagger(crf), ENCODER, TAGS, []) == {}


def test_without_an_error_it_is_as_sure_as_it_may_be():
    model = _tagger(False)
    inputs = ENCODER.encode([WORDS])
    best = model.log_probs(*model_inputs(inputs)).argmax(-1)[0].tolist()
    found = calibrate(model, ENCODER, TAGS, [Sentence(WORDS, [list(TAGS)[i] for i in best])])
    assert found["temperature"] == pytest.approx(0.25, rel=1e-3)


def test_the_file_is_calibrated_and_says_so(tmp_path):
    random = np.random.default_rng(0)
    for part, count in (("train", 60), ("dev", 300)):
        with (tmp_path / f"{part}.jsonl").open("w") as stream:
            for _ in range(count):
                tokens = [WORDS[i] for i in random.integers(0, 30, random.integers(1, 9))]
                tags = ["AB"[(int(token[1:]) + (random.random() < 0.3)) % 2] for token in tokens]
                stream.write(json.dumps({"tokens": tokens, "tags": tags}) + "\n")
    folder, file = tmp_path / "c", tmp_path / "m.onnx"
    for command in (
        ["train", "--train", str(tmp_path / "train.jsonl"), "--dev", str(tmp_path / "dev.jsonl"), "--epochs", "40",
         "--output", str(folder), "--hidden", "8", "--embedding", "8", "--buckets", "64", "--patience", "0",
         "--label-smoothing", "0", "--dropout", "0", "--unknown-rate", "0"],
        ["export", str(folder), "--output", str(file)],
    ):  # fmt: skip
        done = CliRunner().invoke(main, command)
        assert done.exit_code == 0, done.output
    predictor = Predictor.load(file)
    said = SimpleNamespace(**predictor.metadata.training["calibration"])
    assert said.temperature > 1.2  # learnt by heart, so too sure of itself
    losses = []
    for sentence in read_gold(tmp_path / "dev.jsonl"):
        result = predictor.predict(sentence.tokens)
        losses += [
            -np.log(score if tag == gold else 1 - score)
            for tag, gold, score in zip(result.tags, sentence.tags, result.scores, strict=True)
        ]
    assert np.mean(losses) == pytest.approx(said.log_loss_after, rel=1e-4)
    assert said.log_loss_after < said.log_loss_before
    assert "temperature" in CliRunner().invoke(main, ["inspect", str(file)]).output
