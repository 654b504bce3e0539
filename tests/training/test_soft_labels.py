"""A teacher's labels: read and checked, laid beside gold tags, learnt from, and recorded."""

import hashlib
import json
import lzma

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from made_up_corpus import ENDINGS, made_up

from lstm_deploy.cli import main
from lstm_deploy.errors import InputError, UnknownTagError
from lstm_deploy.formats import read_gold
from lstm_deploy.training.checkpoint import load_checkpoint
from lstm_deploy.training.config import ModelConfig, Recipe, TrainingConfig
from lstm_deploy.training.corpus import tag_set
from lstm_deploy.training.pipeline import Data, train_tagger
from lstm_deploy.training.soft_labels import SoftLabels, join, read_soft_labels
from lstm_deploy.training.trainer import Trainer, evaluate

TAGS = ["VERB", "ADV", "NOUN", "ADJ"]


def write_labels(folder, sentences, log_probs, **changes):
    folder.mkdir(exist_ok=True)
    with lzma.open(folder / "sentences.jsonl.xz", "wt", encoding="utf-8") as stream:
        stream.writelines(json.dumps({"tokens": tokens}) + "\n" for tokens in sentences)
    np.save(folder / "log_probs.npy", np.asarray(log_probs, np.float16))
    about = {
        "tags": TAGS,
        "teacher": "a made-up teacher",
        "licence": "CC0",
        "sources": [{"name": "nowhere"}],
        "sha256": {
            name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
            for name in ("sentences.jsonl.xz", "log_probs.npy")
        },
    }
    (folder / "labels.json").write_text(json.dumps(about | changes))
    return folder


def _said(sentences, sure=0.9):
    """The teacher knows each ending."""
    rows = []
    for token in (token for tokens in sentences for token in tokens):
        right = next(tag for ending, tag in ENDINGS.items() if token.endswith(ending))
        rows.append([np.log(sure if tag == right else (1 - sure) / 3) for tag in TAGS])
    return rows


def test_columns_are_matched_by_name_and_a_missing_tag_has_no_probability(tmp_path):
    folder = write_labels(tmp_path / "l", [["xing"], ["yly", "zful"]], np.log([[0.7, 0.1, 0.1, 0.1]] * 3))
    soft = read_soft_labels(folder, ("ADJ", "ADV", "INTJ", "NOUN", "VERB"))
    assert [list(tokens) for tokens in soft.sentences] == [["xing"], ["yly", "zful"]]
    np.testing.assert_allclose(np.exp(soft.log_probs.astype(float))[0], [0.1, 0.1, 0, 0.1, 0.7], atol=1e-3)
    assert soft.source["teacher"] == "a made-up teacher"
    assert soft.source["tokens"] == 3


@pytest.mark.parametrize(
    ("log_probs", "changes", "says"),
    [
        ([[0.0] * 4] * 2, {}, "1 tokens in 1 sentences"),
        ([[0.0] * 3], {}, r"shape \(1, 3\)"),
        ([[np.nan] * 4], {}, "expected a number"),
        ([[0.0] * 4], {"sha256": {"sentences.jsonl.xz": "0", "log_probs.npy": "0"}}, "another file than labels.json"),
        ([[0.0] * 4], {"sha256": {}}, "not soft labels .KeyError"),
        ([[0.0] * 4], {"tags": 3}, "not soft labels .TypeError"),
    ],
)
def test_malformed_labels_are_refused(tmp_path, log_probs, changes, says):
    folder = write_labels(tmp_path / "l", [["xing"]], log_probs, **changes)
    with pytest.raises(InputError, match=says):
        read_soft_labels(folder, TAGS)


def test_a_folder_that_is_not_there_and_a_tag_that_training_lacks(tmp_path):
    with pytest.raises(InputError, match="no soft labels there"):
        read_soft_labels(tmp_path / "none", TAGS)
    folder = write_labels(tmp_path / "l", [["xing"]], [[0.0] * 4])
    with pytest.raises(UnknownTagError, match="'ADV' is none of"):
        read_soft_labels(folder, ["VERB", "NOUN", "ADJ"])


def test_sentences_that_both_have_are_one():
    log_probs = np.arange(12, dtype=np.float16).reshape(6, 2)
    soft = SoftLabels([["a"], ["b", "c"], ["d", "e", "f"]], log_probs, {})
    targets = join([["b", "c"], ["x"], ["b", "c"]], np.array([1, 0, 1, 0, 1]), soft)
    assert [list(tokens) for tokens in targets.sentences] == [["b", "c"], ["x"], ["b", "c"], ["a"], ["d", "e", "f"]]
    assert targets.gold.tolist() == [1, 0, 1, 0, 1, -1, -1, -1, -1]
    assert targets.rows.tolist() == [1, 2, -1, 1, 2, 0, 3, 4, 5]


@pytest.mark.parametrize("heat", [1.0, 2.5])
def test_the_loss_is_the_mixture_that_it_says(corpus, tmp_path, heat):
    train = list(read_gold(corpus / "train.conllu", "upos"))[:1]
    tags = tag_set(list(read_gold(corpus / "train.conllu", "upos")))
    train_tagger(
        Recipe(ModelConfig(embedding=4, hidden=3, buckets=16), TrainingConfig(epochs=1), "upos"),
        Data([corpus / "train.conllu"]),
        tmp_path / "c",
    )
    checkpoint = load_checkpoint(tmp_path / "c")[0]
    training = TrainingConfig(epochs=1, label_smoothing=0.1, soft_weight=0.3, soft_temperature=heat)
    checkpoint.recipe = Recipe(checkpoint.recipe.model, training, "upos")
    said = np.log(np.random.default_rng(0).dirichlet([1] * len(tags), 5)).astype(np.float16)
    soft = SoftLabels([train[0].tokens[:2], ["new", "words", "here"]], said, {})
    trainer = Trainer(checkpoint, tmp_path, singletons=set(), identity={}, soft=soft)
    trainer.run(train, [], lambda line: None)
    n = len(train[0].tokens)
    trainer._rows[0], trainer._rows[1] = 0, 1  # as if two tokens of the gold sentence had been labelled
    logits = torch.randn(n + 3, len(tags), generator=torch.Generator().manual_seed(1))
    found = trainer._token_losses(logits, torch.arange(n + 3))
    for i in range(n + 3):
        log_probs, at_heat = logits[i].log_softmax(-1), (logits[i] / heat).log_softmax(-1)
        hard = -0.9 * log_probs[trainer._gold[i]] - 0.1 * log_probs.mean() if i < n else 0
        row = int(trainer._rows[i])
        teacher = torch.tensor(said[row].astype(float) / heat).softmax(-1)
        easy = -(teacher * at_heat).sum() * heat**2
        expected = hard if row < 0 else easy if i >= n else 0.7 * hard + 0.3 * easy
        assert float(found[i]) == pytest.approx(float(expected), rel=1e-4)


def test_a_teacher_teaches_what_few_gold_sentences_do_not(corpus, tmp_path):
    (tmp_path / "few.conllu").write_text(made_up(4, 7))
    gold = list(read_gold(tmp_path / "few.conllu", "upos"))
    (tmp_path / "plain.conllu").write_text(made_up(200, 8))
    sentences = [s.tokens for s in read_gold(tmp_path / "plain.conllu", "upos")]
    folder = write_labels(tmp_path / "l", sentences, _said(sentences))
    assert set(tag_set(gold)) == set(TAGS)
    command = ["train", "--train", str(tmp_path / "few.conllu"), "--embedding", "12", "--hidden", "8", "--buckets",
               "256", "--epochs", "6", "--batch-size", "8", "--learning-rate", "0.02", "--column", "upos"]  # fmt: skip
    scores = []
    for name, more in (
        ("alone", []),
        ("taught", ["--soft-labels", str(folder)]),
        ("again", ["--soft-labels", str(folder)]),
    ):
        done = CliRunner().invoke(main, [*command, "--output", str(tmp_path / name), *more])
        assert done.exit_code == 0, done.output
        checkpoint, model = load_checkpoint(tmp_path / name)
        dev = list(read_gold(corpus / "dev.conllu", "upos"))
        scores.append(evaluate(model, checkpoint.encoder(), checkpoint.tags, dev)["accuracy"])
    assert scores[1] > 0.9 > scores[0]
    assert scores[2] == scores[1]
    source = checkpoint.provenance["data"]["soft_labels"][0]
    assert (source["teacher"], source["licence"], source["sources"]) == (
        "a made-up teacher",
        "CC0",
        [{"name": "nowhere"}],
    )
    assert source["sha256"].keys() == {"sentences.jsonl.xz", "log_probs.npy"}


def test_soft_labels_need_gold_sentences(tmp_path):
    assert "needs --train" in CliRunner().invoke(main, ["train", "--soft-labels", str(tmp_path)]).stderr
