"""Pretrained vectors: read, laid out, trained with, and folded into the exported file's words."""

import gzip
import hashlib

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from made_up_corpus import made_up

from lstm_deploy.cli import main
from lstm_deploy.errors import InputError
from lstm_deploy.formats import read_gold
from lstm_deploy.training.checkpoint import load_checkpoint
from lstm_deploy.training.trainer import evaluate
from lstm_deploy.training.vectors import WordVectors, read_vectors, with_vectors
from lstm_deploy.vocabulary import Vocabulary

TEXT = "the 0.5 -1 2\n. 1 1 1\nParis 0 0 3\nnew 1e-1 0 0\n"


def test_word2vec_and_glove_text_plain_and_compressed(tmp_path):
    (tmp_path / "glove.txt").write_text(TEXT)
    (tmp_path / "w2v.txt").write_text("4 3\n" + TEXT.replace("\n", " \n"))
    with gzip.open(tmp_path / "v.txt.gz", "wt") as stream:
        stream.write(TEXT)
    for name in ("glove.txt", "w2v.txt", "v.txt.gz"):
        vectors = read_vectors(str(tmp_path / name), "CC0")
        assert list(vectors.words) == ["the", ".", "Paris", "new"]
        np.testing.assert_array_equal(vectors.values[0], np.array([0.5, -1, 2], np.float32))
        digest = hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
        assert vectors.source == {"name": name, "sha256": digest, "licence": "CC0", "words": 4, "size": 3}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no vectors"),
        ("a 1 2\nb 1\n", ":2: 1 numbers, expected 2 finite"),
        ("a 1 2\nb 1 x\n", ":2: could not convert"),
        ("a 1 nan\n", ":1: 2 numbers, expected some finite"),
        ("a 1 2\nb\n", ":2: 0 numbers"),
    ],
)
def test_malformed_text_is_an_error_with_its_line(tmp_path, text, says):
    (tmp_path / "v.txt").write_text(text)
    with pytest.raises(InputError, match=says):
        read_vectors(str(tmp_path / "v.txt"))


def test_what_is_neither_a_file_nor_a_package():
    with pytest.raises(InputError, match="no such file, and no such package"):
        read_vectors("no-such-package-of-vectors")
    with pytest.raises(InputError, match=r"one \.npy and one \.parquet"):
        read_vectors("click")


@pytest.mark.parametrize("case", ["keep", "lower"])
def test_layout(case):
    vectors = WordVectors(["the", "Rome", "cat", "ox"], np.arange(1, 9, dtype=np.float32).reshape(4, 2), {})
    vocabulary = Vocabulary.from_words(["The", "dog"] if case == "keep" else ["the", "dog"], case=case)
    whole, found = with_vectors(vocabulary, vectors, 3)
    added = {"keep": ("the", "Rome", "cat", "Cat"), "lower": ("rome", "cat")}[case]
    assert whole.words == (*vocabulary.words, *added)
    assert found.first_extra == len(vocabulary)
    assert found.rows.shape == (len(whole), 2)
    row = {word: found.rows[i].tolist() for i, word in enumerate(whole.words) if word}
    assert row["dog"] == [0, 0]
    assert not found.rows[:2].any()
    if case == "keep":
        assert row["The"] == row["the"] == [1, 2]
        assert row["Rome"] == [3, 4]
    assert row["cat"] == [5, 6]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A checkpoint whose dev words occur neither in training nor by their endings, but among the vectors."""
    folder = tmp_path_factory.mktemp("vectors")
    chance = np.random.default_rng(3)
    tags = {"A": [1.0, 0, 0], "B": [0, 1.0, 0], "C": [0, 0, 1.0]}
    words = {f"w{''.join(chance.choice(list('bcdfg'), 6))}": list(tags)[i % 3] for i in range(240)}
    known, unseen = list(words)[:150], list(words)[150:]
    rows = [f"{word} " + " ".join(map(str, np.array(tags[words[word]]) + chance.normal(0, 0.1, 3))) for word in words]
    (folder / "v.txt").write_text("\n".join(rows) + "\n")
    for name, pool, sentences in (("train", known, 200), ("dev", unseen, 60)):
        lines = []
        for _ in range(sentences):
            lines += [f"{word}\t{words[word]}" for word in chance.choice(pool, 5)] + [""]
        (folder / f"{name}.conll").write_text("\n".join(lines) + "\n")
    done = CliRunner().invoke(
        main,
        [
            "train", "--train", str(folder / "train.conll"), "--dev", str(folder / "dev.conll"),
            "--vectors", str(folder / "v.txt"), "--vectors-licence", "CC0", "--vector-words", "200",
            "--output", str(folder / "c"), "--embedding", "8", "--hidden", "6", "--buckets", "64", "--epochs", "30",
            "--batch-size", "8", "--learning-rate", "0.02", "--word-dropout", "0.85",
        ],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    return folder


def test_words_that_only_the_vectors_have_are_tagged_by_them(trained):
    checkpoint, model = load_checkpoint(trained / "c")
    gold = list(read_gold(trained / "dev.conll"))
    assert sum(token in checkpoint.vocabulary for s in gold for token in s.tokens) > 100
    report = evaluate(model, checkpoint.encoder(), checkpoint.tags, gold)
    assert report["accuracy"] > 0.7  # a third by chance
    assert checkpoint.provenance["data"]["vectors"][0]["licence"] == "CC0"
    assert checkpoint.provenance["data"]["vectors"][0]["added"] == 200


def test_their_rows_are_not_trained_and_the_vectors_stay(trained):
    checkpoint, model = load_checkpoint(trained / "c")
    seen = {token for s in read_gold(trained / "train.conll") for token in s.tokens}
    extra = [i for i, word in enumerate(checkpoint.vocabulary.words) if word and word not in seen]
    assert extra
    assert not model.embedding.word.weight[extra].any()
    vectors = read_vectors(str(trained / "v.txt"))
    row = checkpoint.vocabulary.id(vectors.words[0])
    np.testing.assert_array_equal(model.embedding.vectors[row].numpy(), vectors.values[0])


@pytest.mark.parametrize("case", ["keep", "lower"])
def test_the_exported_file_answers_as_the_model_on_words_of_the_vectors(trained, tmp_path, case):
    pytest.importorskip("onnx")
    from lstm_deploy import Predictor
    from lstm_deploy.export.exporter import export_checkpoint

    folder = trained / "c"
    if case == "lower":
        folder = tmp_path / "c"
        settings = ["--embedding", "8", "--hidden", "6", "--buckets", "64", "--epochs", "1", "--case", "lower"]
        files = ["--train", str(trained / "train.conll"), "--vectors", str(trained / "v.txt"), "--output", str(folder)]
        assert CliRunner().invoke(main, ["train", *files, *settings]).exit_code == 0
    export_checkpoint(folder, tmp_path / "m.onnx")
    checkpoint, model = load_checkpoint(folder)
    predictor = Predictor.load(tmp_path / "m.onnx")
    sentences = [s.tokens for s in read_gold(trained / "dev.conll")] + [["nie", "gesehen", "Wörter"]]
    report = evaluate(model, checkpoint.encoder(), checkpoint.tags, list(read_gold(trained / "dev.conll")))
    found = [tag for result in predictor.predict_batch(sentences) for tag in result.tags][: report["tokens"]]
    gold = [tag for s in read_gold(trained / "dev.conll") for tag in s.tags]
    assert np.mean([a == b for a, b in zip(found, gold, strict=True)]) == pytest.approx(report["accuracy"])
    assert predictor.metadata.training["data"]["vectors"][0]["name"] == "v.txt"


def test_a_resumed_run_needs_the_same_vectors(corpus, tmp_path):
    (tmp_path / "v.txt").write_text(TEXT)
    (tmp_path / "other.txt").write_text(TEXT.replace("3", "4"))
    command = ["train", "--train", str(corpus / "train.conllu"), "--output", str(tmp_path / "c"), "--epochs", "1",
               "--hidden", "4", "--embedding", "4", "--buckets", "16"]  # fmt: skip
    done = CliRunner().invoke(main, [*command, "--vectors", str(tmp_path / "v.txt")])
    assert done.exit_code == 0, done.output
    refused = CliRunner().invoke(main, [*command, "--vectors", str(tmp_path / "other.txt")])
    assert "checkpoint of another run" in refused.stderr
    assert "need --vectors" in CliRunner().invoke(main, [*command, "--vector-words", "3"]).stderr


def test_the_same_seed_gives_the_same_weights(tmp_path):
    (tmp_path / "t.conllu").write_text(made_up(40, 5))
    (tmp_path / "v.txt").write_text("".join(f"{w} 1 2\n" for w in ("bing", "cly", "fful")))
    for name in ("a", "b"):
        done = CliRunner().invoke(
            main,
            ["train", "--train", str(tmp_path / "t.conllu"), "--vectors", str(tmp_path / "v.txt"), "--epochs", "2",
             "--output", str(tmp_path / name), "--hidden", "4", "--embedding", "4", "--buckets", "16"],
        )  # fmt: skip
        assert done.exit_code == 0, done.output
    one, two = (load_checkpoint(tmp_path / name)[1].state_dict() for name in ("a", "b"))
    assert all(torch.equal(one[key], two[key]) for key in one)
