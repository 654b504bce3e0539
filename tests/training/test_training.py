"""Runs: they learn, repeat, stop early, keep the best epoch, and refuse what they should."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from lstm_deploy.cli import main
from lstm_deploy.encoding import Encoder
from lstm_deploy.errors import CheckpointError, DivergedError, InputError, UnknownTagError
from lstm_deploy.formats import read_gold
from lstm_deploy.tokenizer import Tokenizer
from lstm_deploy.training.checkpoint import DESCRIPTION, RESUME, WEIGHTS, load_checkpoint, save_tensors
from lstm_deploy.training.config import ModelConfig, Recipe, TrainingConfig
from lstm_deploy.training.corpus import read_corpus, vocabulary_of
from lstm_deploy.training.pipeline import Data, train_tagger
from lstm_deploy.training.trainer import evaluate

SMALL = Recipe(
    ModelConfig(embedding=12, hidden=8, buckets=256),
    TrainingConfig(epochs=3, batch_size=8, learning_rate=0.02),
    column="upos",
)


def _data(corpus):
    return Data([corpus / "train.conllu"], corpus / "dev.conllu")


def _log(folder):
    return [json.loads(line) for line in (folder / "training-log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def trained(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "checkpoint"
    train_tagger(SMALL, _data(corpus), folder)
    return folder


def test_subwords_carry_over_to_words_never_seen(trained, corpus):
    checkpoint, model = load_checkpoint(trained)
    report = evaluate(model, checkpoint.encoder(), checkpoint.tags, list(read_gold(corpus / "dev.conllu")))
    assert report["unknown_words"]["tokens"] > 100
    assert report["unknown_words"]["accuracy"] > 0.95


def test_a_checkpoint_holds_no_pickle_and_nothing_half_done(trained):
    names = sorted(path.name for path in trained.iterdir())
    assert names == ["learning-curve.png", "model.safetensors", "tagger.json", "training-log.jsonl"]
    assert (trained / "learning-curve.png").read_bytes().startswith(b"\x89PNG")
    header = int.from_bytes((trained / WEIGHTS).read_bytes()[:8], "little")
    assert "lstm.weight_ih_l0" in json.loads((trained / WEIGHTS).read_bytes()[8 : 8 + header])


def test_the_log_has_a_line_an_epoch(trained):
    log = _log(trained)
    assert [entry["epoch"] for entry in log] == [1, 2, 3]
    assert log[-1]["loss"] < log[0]["loss"]
    assert all(entry["tokens_per_second"] > 0 and 0 <= entry["dev"]["accuracy"] <= 1 for entry in log)


def test_provenance_names_data_licence_and_scores(trained, corpus):
    provenance = load_checkpoint(trained)[0].provenance
    assert provenance["data"]["train"][0]["name"] == "train.conllu"
    assert len(provenance["data"]["dev"][0]["sha256"]) == 64
    assert provenance["licence"] == "not stated"
    assert provenance["scores"]["dev"]["accuracy"] == max(entry["dev"]["accuracy"] for entry in _log(trained))
    assert str(corpus) not in (trained / DESCRIPTION).read_text()


def test_training_encodes_as_the_predictor_does(trained):
    checkpoint = load_checkpoint(trained)[0]
    assert type(checkpoint.encoder()) is Encoder


def test_the_same_seed_gives_the_same_bytes(trained, corpus, tmp_path):
    train_tagger(SMALL, _data(corpus), tmp_path / "same")
    assert (tmp_path / "same" / WEIGHTS).read_bytes() == (trained / WEIGHTS).read_bytes()
    other = replace(SMALL, training=replace(SMALL.training, seed=2))
    train_tagger(other, _data(corpus), tmp_path / "other")
    assert (tmp_path / "other" / WEIGHTS).read_bytes() != (trained / WEIGHTS).read_bytes()


def test_the_best_epoch_is_kept_and_a_stalled_run_stops(corpus, tmp_path):
    # A rate this high ruins the model after a good start.
    wild = replace(SMALL, training=replace(SMALL.training, epochs=30, optimizer="sgd", learning_rate=9.0, patience=3))
    train_tagger(wild, _data(corpus), tmp_path / "wild")
    log, provenance = _log(tmp_path / "wild"), load_checkpoint(tmp_path / "wild")[0].provenance
    scores = [entry["dev"]["accuracy"] for entry in log]
    assert len(log) < 30
    assert provenance["kept_epoch"] == scores.index(max(scores)) + 1 == len(log) - 3
    assert provenance["scores"]["dev"]["accuracy"] == max(scores)


def test_without_dev_the_last_epoch_is_kept(corpus, tmp_path):
    train_tagger(SMALL, Data([corpus / "train.conllu"]), tmp_path / "c")
    assert load_checkpoint(tmp_path / "c")[0].provenance["kept_epoch"] == 3


def test_entity_f1_chooses_the_epoch_for_iob2(tmp_path):
    rows = ["Ann\tB-PER", "Lee\tI-PER", "saw\tO", "Oslo\tB-LOC", "", "Oslo\tB-LOC", "saw\tO", "Ann\tB-PER", ""]
    (tmp_path / "x.conll").write_text("\n".join(rows * 10))
    recipe = replace(SMALL, column="tag", training=replace(SMALL.training, epochs=2))
    train_tagger(recipe, Data([tmp_path / "x.conll"], tmp_path / "x.conll"), tmp_path / "c")
    entries = _log(tmp_path / "c")
    assert len(entries) == 2
    for entry in entries:
        assert entry["dev"]["score"] == entry["dev"]["entity_f1"]


def test_several_training_files_are_one_corpus(corpus, tmp_path):
    one = read_corpus([corpus / "train.conllu", corpus / "dev.conllu"], "upos")
    assert len(one.sentences) == sum(source["sentences"] for source in one.sources)
    assert [source["name"] for source in one.sources] == ["train.conllu", "dev.conllu"]


def test_vocabulary_is_by_frequency_with_the_words_seen_once(tmp_path):
    (tmp_path / "x.tsv").write_text("b\tX\na\tX\nb\tX\nC\tX\n")
    vocabulary, singletons = vocabulary_of(read_gold(tmp_path / "x.tsv"), "keep")
    assert vocabulary.words == (None, None, "b", "a", "C")
    assert {vocabulary.words[i] for i in singletons} == {"a", "C"}
    assert "c" in vocabulary_of(read_gold(tmp_path / "x.tsv"), "lower")[0].words


def test_a_dev_tag_that_training_lacks(corpus, tmp_path):
    (tmp_path / "dev.conllu").write_text((corpus / "dev.conllu").read_text() + "1\tx\t_\tINTJ\t_\t_\t_\t_\t_\t_\n")
    line = len((tmp_path / "dev.conllu").read_text().splitlines())
    data = Data([corpus / "train.conllu"], tmp_path / "dev.conllu")
    with pytest.raises(UnknownTagError, match=f"dev.conllu:{line}: the tag 'INTJ'"):
        train_tagger(SMALL, data, tmp_path / "c")
    train_tagger(SMALL, data, tmp_path / "c", unseen_tags="wrong")
    assert "INTJ" not in load_checkpoint(tmp_path / "c")[0].tags


def test_an_empty_corpus_is_refused(tmp_path):
    (tmp_path / "x.conllu").write_text("\n\n")
    with pytest.raises(InputError, match="no sentences"):
        train_tagger(SMALL, Data([tmp_path / "x.conllu"]), tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_another_runs_checkpoint_is_left_alone_unless_told(trained, corpus, tmp_path):
    other = replace(SMALL, training=replace(SMALL.training, epochs=1))
    before = {path.name: path.read_bytes() for path in trained.iterdir()}
    with pytest.raises(CheckpointError, match="another run; pass another --output, or replace it with --overwrite"):
        train_tagger(other, _data(corpus), trained)
    with pytest.raises(CheckpointError, match="another run"):
        train_tagger(other, _data(corpus), trained, resume=True)
    assert {path.name: path.read_bytes() for path in trained.iterdir()} == before
    train_tagger(SMALL, _data(corpus), tmp_path / "c")
    train_tagger(SMALL, _data(corpus), tmp_path / "c")  # the same run may be made again
    train_tagger(other, _data(corpus), tmp_path / "c", overwrite=True)
    assert len(_log(tmp_path / "c")) == 1


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        (DESCRIPTION, b"{}", "not a tagger's description"),
        (DESCRIPTION, b"[", "not a tagger's description"),
        (DESCRIPTION, b"\xff", "not a tagger's description"),
        (DESCRIPTION, None, "run `lstm-deploy train`"),
        (WEIGHTS, b"", "not the weights of this tagger"),
        (WEIGHTS, b"x" * 100, "not the weights of this tagger"),
        (WEIGHTS, None, "--resume"),
    ],
)
def test_broken_checkpoints_are_one_line(trained, tmp_path, name, content, says):
    for path in trained.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(tmp_path)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda value: value["recipe"]["model"].update(hidden="many"),
        lambda value: value["recipe"]["model"].update(buckets=0),
        lambda value: value.update(tags=7),
        lambda value: value.update(samples=[{}]),
        lambda value: value.update(provenance={}),
        lambda value: value.update(words=["a", "a"]),
        lambda value: value["tokenizer"].update(kind="other"),
    ],
)
def test_descriptions_with_wrong_parts_are_one_line(trained, tmp_path, spoil):
    description = json.loads((trained / DESCRIPTION).read_text())
    spoil(description)
    (tmp_path / DESCRIPTION).write_text(json.dumps(description))
    (tmp_path / WEIGHTS).write_bytes((trained / WEIGHTS).read_bytes())
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_resume_file_of_something_else_is_one_line(corpus, tmp_path):
    (tmp_path / "c").mkdir()
    save_tensors(tmp_path / "c" / RESUME, {"a": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="not the state of a run; start the run again with --overwrite"):
        train_tagger(SMALL, _data(corpus), tmp_path / "c", resume=True)


def test_a_model_that_does_not_fit_is_one_line(tmp_path):
    done = CliRunner().invoke(main, ["train", "--hidden", "2000000000", "--output", str(tmp_path / "c")])
    assert done.exit_code == 1
    assert "lower --hidden" in done.stderr


def test_a_run_that_diverges_stops_and_says_why(corpus, tmp_path):
    wild = replace(SMALL, training=replace(SMALL.training, optimizer="sgd", learning_rate=1e30))
    with pytest.raises(DivergedError, match="lower --learning-rate 1e"):
        train_tagger(wild, _data(corpus), tmp_path / "c")
    assert not (tmp_path / "c" / WEIGHTS).exists()


@pytest.mark.parametrize(
    "option",
    ["--learning-rate=nan", "--dropout=nan", "--seed=-1", "--dropout=1", "--epochs=0",
     "--templates=lower,suffix7", "--templates=suffix1-3,suffix2", "--templates="],
)  # fmt: skip
def test_values_out_of_range_are_wrong_usage(option):
    assert CliRunner().invoke(main, ["train", option]).exit_code == 2


def test_weights_of_another_shape_are_refused(trained, tmp_path):
    description = json.loads((trained / DESCRIPTION).read_text())
    description["recipe"]["model"]["hidden"] = 9
    (tmp_path / DESCRIPTION).write_text(json.dumps(description))
    (tmp_path / WEIGHTS).write_bytes((trained / WEIGHTS).read_bytes())
    with pytest.raises(CheckpointError, match="not the weights of this tagger"):
        load_checkpoint(tmp_path)


def test_a_checkpoint_folder_that_is_a_file(tmp_path):
    (tmp_path / "c").write_text("")
    done = CliRunner().invoke(main, ["train", "--output", str(tmp_path / "c")])
    assert done.exit_code == 1
    assert "cannot make the checkpoint folder" in done.stderr
    assert done.stderr.count("\n") == 1


def test_options_reach_the_recipe(corpus, tmp_path):
    done = CliRunner().invoke(
        main,
        [
            "train", "--train", str(corpus / "train.conllu"), "--output", str(tmp_path / "c"), "--column", "upos",
            "--embedding", "7", "--hidden", "5", "--layers", "2", "--unidirectional", "--dropout", "0.1",
            "--no-subwords", "--case", "lower", "--epochs", "1", "--batch-size", "50", "--optimizer", "sgd",
            "--learning-rate", "0.5", "--weight-decay", "0", "--label-smoothing", "0.1", "--unknown-rate", "0.25",
            "--word-dropout", "0.125", "--patience", "0", "--seed", "9", "--licence", "CC0", "--buckets", "32",
            "--templates", "lower,suffix2-4",
        ],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert load_checkpoint(tmp_path / "c")[0].recipe == Recipe(
        ModelConfig(7, 5, 2, False, 0.1, False, ("lower", "suffix2", "suffix3", "suffix4"), 32, "lower"),
        TrainingConfig(1, 50, "sgd", 0.5, 0.0, 0.1, 0.25, 0.125, patience=0, seed=9),
        "upos",
        "CC0",
    )
    assert "epoch 1: loss" in done.stderr


def test_the_tokenizer_is_learnt_from_text_and_tokens(tmp_path):
    from lstm_deploy.training.tokenization import learn_tokenizer

    def block(text, tokens):
        rows = ["\t".join([str(i), token, "_", "X", *"______"]) for i, token in enumerate(tokens.split(), 1)]
        return "\n".join([f"# text = {text}", *rows, "", ""])

    blocks = block("Dr. No can't stay.", "Dr. No ca n't stay .") + block("A well-known one :)", "A well - known one :)")
    (tmp_path / "x.conllu").write_text(blocks * 3)
    tokenizer = learn_tokenizer(read_gold(tmp_path / "x.conllu"))
    assert tokenizer == Tokenizer("words", frozenset({"Dr.", ":)"}), ("n't",), "-")
    assert tokenizer.tokens("Dr. Who won't go half-way :)") == [
        "Dr.",
        "Who",
        "wo",
        "n't",
        "go",
        "half",
        "-",
        "way",
        ":)",
    ]


def test_the_tokenizer_learnt_from_a_treebank_cuts_its_dev_text():
    from lstm_deploy.training.tokenization import learn_tokenizer

    folder = Path(__file__).parents[3] / "shared" / "data" / "ud-english-ewt"
    if not folder.exists():
        pytest.skip(f"{folder} is not there")
    tokenizer = learn_tokenizer(read_gold(folder / "en_ewt-ud-train.conllu.xz"))
    right = found = gold = 0
    for sentence in read_gold(folder / "en_ewt-ud-dev.conllu.xz"):
        at, spans = 0, set()
        for token in sentence.tokens:
            start = sentence.text.index(token, at)
            at = start + len(token)
            spans.add((start, at))
        cut = tokenizer.spans(sentence.text)
        right, found, gold = right + len(spans & set(cut)), found + len(cut), gold + len(spans)
    assert 2 * right / (found + gold) > 0.98
