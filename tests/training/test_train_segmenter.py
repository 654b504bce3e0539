"""A segmenter is trained on a treebank's own text, exported like any tagger, and cuts text as the treebank does."""

import json
import random

import pytest
from click.testing import CliRunner

from lstm_deploy import Segmenter
from lstm_deploy.cli import main
from lstm_deploy.errors import InputError
from lstm_deploy.export.cost import Rounding
from lstm_deploy.export.exporter import export_checkpoint
from lstm_deploy.formats.documents import Document, SurfaceToken
from lstm_deploy.segmentation import characters, cut
from lstm_deploy.tagging import evaluate_raw
from lstm_deploy.training.config import ModelConfig, Recipe, TrainingConfig
from lstm_deploy.training.pipeline import Data, train_tagger
from lstm_deploy.training.segmentation import (
    WINDOW,
    held_out_sequences,
    multiword_tokens,
    tagged_paragraphs,
    training_sequences,
    word_spans,
)

RECIPE = Recipe(
    ModelConfig(embedding=16, hidden=24, subwords=False, dropout=0.1),
    TrainingConfig(epochs=6, batch_size=4, learning_rate=0.02, label_smoothing=0.0),
    column="segmentation",
)


def treebank(documents, seed):
    """Sentences of two-letter words, some joined by a hyphen that parts them, each with a capital and a full stop."""
    chance = random.Random(seed)
    lines = []
    for _ in range(documents):
        lines.append("# newdoc")
        for _ in range(chance.randint(4, 12)):
            words = []
            for i in range(chance.randint(2, 8)):
                word = "".join(chance.choices("abcdefg", k=chance.randint(2, 4)))
                words.append([word.capitalize() if not i else word, "_"])
                if chance.random() < 0.2:
                    words[-1][1] = "SpaceAfter=No"
                    words += [["-", "SpaceAfter=No"], ["x", "_"]]
            words[-1][1] = "SpaceAfter=No"
            words.append([".", "_"])
            lines += ["\t".join([str(i), form, *"_______", misc]) for i, (form, misc) in enumerate(words, 1)]
            lines.append("")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("segmenter")
    (folder / "train.conllu").write_text(treebank(40, 1), encoding="utf-8")
    (folder / "dev.conllu").write_text(treebank(8, 2), encoding="utf-8")
    train_tagger(RECIPE, Data([folder / "train.conllu"], folder / "dev.conllu"), folder / "checkpoint")
    export_checkpoint(folder / "checkpoint", folder / "segmenter.onnx")
    return folder


def test_it_cuts_as_the_treebank(folder):
    segmenter = Segmenter.load(folder / "segmenter.onnx")
    report = evaluate_raw(folder / "dev.conllu", segmenter)
    assert report["words"]["f1"] > 0.99
    assert report["sentences"]["f1"] > 0.97
    assert segmenter.metadata.column == "segmentation"
    assert segmenter.metadata.training["recipe"]["model"]["hidden"] == 24
    cases = segmenter.metadata.golden
    assert any(case.text and len(case.tokens) > 60 for case in cases)


def test_lines_may_end_within_and_between_sentences(folder):
    segmenter = Segmenter.load(folder / "segmenter.onnx")
    text = "Ab cd\nef. Gab\ncd-x. Ba\nbad."
    assert [s.tokens for s in segmenter.segment(text)] == [
        ("Ab", "cd", "ef", "."),
        ("Gab", "cd", "-", "x", "."),
        ("Ba", "bad", "."),
    ]


def test_rounding_is_measured_on_characters(folder):
    done = export_checkpoint(
        folder / "checkpoint", folder / "int8.onnx", Rounding("int8", folder / "dev.conllu", max_drop=2)
    )
    assert done.rounding["tokens"] > 1000
    report = evaluate_raw(folder / "dev.conllu", Segmenter.load(folder / "int8.onnx"))
    assert report["words"]["f1"] > 0.97


def test_only_conllu_has_text_to_learn_from(folder):
    path = folder / "train.jsonl"
    path.write_text(json.dumps({"tokens": ["a"], "tags": ["X"]}) + "\n")
    with pytest.raises(InputError, match="CoNLL-U alone"):
        train_tagger(RECIPE, Data([path]), folder / "other")


def document(text, sentences):
    at, found = 0, []
    for sentence in sentences:
        tokens = []
        for form, *words in sentence:
            at = text.index(form, at)
            tokens.append(SurfaceToken(at, at + len(form), tuple(words or [form])))
            at += len(form)
        found.append(tokens)
    return Document(text, found)


def test_multiword_tokens_are_cut_where_their_words_make_them_up():
    gold = document("I CAN'T du it", [[["I"], ["CAN'T", "ca", "n't"], ["du", "de", "le"], ["it"]]])
    assert multiword_tokens([gold]) == {"multiword_tokens": 2, "multiword_tokens_kept_whole": 1}
    spans = [word_spans(gold.text, token) for token in gold.sentences[0]]
    assert spans == [[(0, 1)], [(2, 4), (4, 7)], [(8, 10)], [(11, 13)]]


def test_a_sentence_across_a_blank_line_is_one_on_either_side():
    gold = document("One two\n\nthree. Four", [[["One"], ["two"], ["three"], ["."]], [["Four"]]])
    parts = list(tagged_paragraphs(gold))
    assert [cut(characters(text), part.tags) for text, part in zip(["One two", "three. Four"], parts, strict=True)] == [
        [[(0, 3), (4, 7)]],
        [[(0, 5), (5, 6)], [(7, 11)]],
    ]


def test_windows_hold_every_character_as_often_and_the_same_for_one_seed():
    words = [[f"w{i}"] for i in range(400)]
    text = " ".join(word for (word,) in words[:200]) + "\n\n" + " ".join(word for (word,) in words[200:])
    gold = document(text, [words[:100], words[100:200], words[200:]])
    plain = held_out_sequences([gold])
    assert [token for part in plain for token in part.tokens] == list(text.replace("\n\n", ""))
    drawn = training_sequences([gold])
    assert drawn == training_sequences([gold])
    assert drawn != training_sequences([gold], seed=2)
    assert max(len(part.tokens) for part in drawn) <= WINDOW
    letters = [c for part in drawn for c in part.tokens if c not in " \n"]
    assert len(letters) == 4 * sum(len(word) for (word,) in words)
    assert sum(tag == "sentence" for part in drawn for tag in part.tags) == 4 * 3
    assert any("\n" in part.tokens for part in drawn)


def test_the_tutorial_has_no_text_to_learn_from():
    done = CliRunner().invoke(main, ["train", "--column", "segmentation"])
    assert done.exit_code == 2
    assert "needs --train" in done.output
