"""`export_module` and `export --module` around the lifter: names, files, errors, what is kept and said."""

import json
import re
import sys
from itertools import pairwise, product

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

import torch
from click.testing import CliRunner
from torch import nn

from lstm_deploy import Predictor
from lstm_deploy.cli import main
from lstm_deploy.errors import CheckpointError, InputError, LstmDeployError, ParityError
from lstm_deploy.export.capture import LiftError
from lstm_deploy.export.loading import import_object, load_weights
from lstm_deploy.export.module import export_module
from lstm_deploy.export.spec import Spec, names_by_id
from lstm_deploy.export.thresholds import thresholds
from lstm_deploy.golden import check_golden

WORDS = {"they": 0, "ate": 1, "the": 2, "fish": 3, "UNK": 4}
TAGS = ["N", "V", "D"]


class Tagger(nn.Module):
    """One sentence, (tokens,) in."""

    def __init__(self, hidden=6):
        super().__init__()
        self.embedding = nn.Embedding(5, 8)
        self.lstm = nn.LSTM(8, hidden, bidirectional=True)
        self.head = nn.Linear(2 * hidden, 3)

    def forward(self, sentence):
        return self.head(self.lstm(self.embedding(sentence).view(len(sentence), 1, -1))[0].view(len(sentence), -1))


@pytest.fixture
def tagger():
    torch.manual_seed(3)
    return Tagger()


def test_the_same_module_gives_the_same_bytes(tagger, tmp_path):
    for name in ("a", "b"):
        export_module(tagger, tmp_path / f"{name}.onnx", vocabulary=WORDS, tags=TAGS, spec=Spec(unknown="UNK"))
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_the_module_is_left_as_it_was(tagger, tmp_path):
    tagger.train()
    before = {name: value.clone() for name, value in tagger.state_dict().items()}
    attributes = set(vars(tagger))
    export_module(tagger, tmp_path / "a.onnx", vocabulary=WORDS, tags=TAGS)
    assert tagger.training
    assert set(vars(tagger)) == attributes
    assert all(torch.equal(value, before[name]) for name, value in tagger.state_dict().items())


def test_the_graph_is_small_and_its_axes_free(tagger, tmp_path):
    export_module(tagger, tmp_path / "a.onnx", vocabulary=WORDS, tags=TAGS)
    import onnx

    graph = onnx.load(tmp_path / "a.onnx").graph
    assert sum(node.op_type == "LSTM" for node in graph.node) == 2  # a direction each
    assert len(graph.node) < 28
    for value in [*graph.input, *graph.output]:
        assert all(dim.dim_param for dim in value.type.tensor_type.shape.dim[:2])


def test_golden_cases_and_proof_stand_in_the_file(tagger, tmp_path):
    exported = export_module(tagger, tmp_path / "a.onnx", vocabulary=WORDS, tags=TAGS)
    predictor = Predictor.load(tmp_path / "a.onnx")
    report = check_golden(predictor)
    assert report.cases >= 3
    assert not report.failures
    assert predictor.metadata.proof["tokens"] == exported.proof.tokens > 1000


def test_without_an_unknown_word_an_unseen_one_is_an_error_that_names_it(tagger, tmp_path):
    export_module(tagger, tmp_path / "a.onnx", vocabulary=WORDS, tags=TAGS)
    with pytest.raises(LstmDeployError, match="whale"):
        Predictor.load(tmp_path / "a.onnx").predict(["the", "whale"])


class HandCrf(Tagger):
    """transitions[to, from], no start or end scores, paths by brute force: slow, and no Viterbi to be seen."""

    def __init__(self):
        super().__init__()
        self.transitions = nn.Parameter(torch.randn(3, 3))

    def forward(self, sentence):
        scores = super().forward(sentence)
        best = scores[0]
        back = []
        for row in scores[1:]:
            best, came = (best.unsqueeze(0) + self.transitions).max(1)
            best = best + row
            back.append(came)
        path = [int(best.argmax())]
        for came in reversed(back):
            path.append(int(came[path[-1]]))
        return path[::-1]


def test_a_crf_file_gives_the_best_of_all_paths(tmp_path):
    torch.manual_seed(5)
    module = HandCrf()
    export_module(module, tmp_path / "a.onnx", vocabulary=WORDS, tags=TAGS)
    predictor = Predictor.load(tmp_path / "a.onnx")
    random = np.random.default_rng(2)
    for n in (1, 2, 3, 5, 6):
        words = random.choice(["they", "ate", "the", "fish"], n).tolist()
        ids = torch.tensor([WORDS[word] for word in words])
        with torch.no_grad():
            emissions, moves = Tagger.forward(module, ids).numpy(), module.transitions.numpy()
        score = {
            path: sum(emissions[t, y] for t, y in enumerate(path)) + sum(moves[b, a] for a, b in pairwise(path))
            for path in product(range(3), repeat=n)
        }
        best = max(score, key=score.get)
        result = predictor.predict(words)
        assert result.tags == tuple(TAGS[y] for y in best)
        weights = np.exp(np.array(list(score.values()), np.float64))
        for t, (tag, probability) in enumerate(zip(result.tags, result.scores, strict=True)):
            through = [w for path, w in zip(score, weights, strict=True) if TAGS[path[t]] == tag]
            assert probability == pytest.approx(sum(through) / weights.sum(), abs=1e-5)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({}, "empty"),
        ({"a": 0, "b": 0}, "same id"),
        ({"a": -1}, "whole number"),
        (["a", "a"], "twice"),
        ({"a": 10**9}, "ids near"),
    ],
)
def test_names_that_are_no_vocabulary_are_refused(names, message):
    with pytest.raises(InputError, match=message):
        names_by_id(names, "words")


def test_tags_need_every_id(tagger, tmp_path):
    with pytest.raises(InputError, match="no tag has the id 1"):
        export_module(tagger, tmp_path / "a.onnx", vocabulary=WORDS, tags={"N": 0, "V": 2, "D": 3})


def test_fewer_tags_than_scores_are_refused(tagger, tmp_path):
    with pytest.raises(LstmDeployError, match="expected 5 x 2 scores"):
        export_module(tagger, tmp_path / "a.onnx", vocabulary=WORDS, tags=TAGS[:2])
    assert list(tmp_path.iterdir()) == []


def test_a_vocabulary_larger_than_the_table_is_refused(tagger, tmp_path):
    with pytest.raises(LstmDeployError):
        export_module(tagger, tmp_path / "a.onnx", vocabulary={**WORDS, "more": 5}, tags=TAGS)
    assert list(tmp_path.iterdir()) == []


def test_encode_that_reads_other_words_is_refused_and_the_word_named(tagger, tmp_path):
    def encode(sentences):
        return torch.tensor([WORDS.get(word.lower(), 4) for word in sentences[0]])

    with pytest.raises(LstmDeployError, match="encode gives the word"):
        export_module(tagger, tmp_path / "a.onnx", vocabulary=WORDS, tags=TAGS, encode=encode, spec=Spec(unknown="UNK"))


def test_weights_that_are_no_numbers_are_told_as_such(tagger, tmp_path):
    with torch.no_grad():
        tagger.head.bias[1] = float("nan")
    output = tmp_path / "m.onnx"
    with pytest.raises(ParityError) as caught:
        export_module(tagger, output, vocabulary=WORDS, tags=TAGS)
    assert str(caught.value) == (
        f"{output}: the weight head.bias holds nan; expected finite numbers; no file was written; train again with a "
        "lower learning rate"
    )
    assert not list(tmp_path.iterdir())


class Barred(Tagger):
    """A tag that no word ever gets."""

    def __init__(self):
        super().__init__()
        self.register_buffer("bar", torch.tensor([0, 0, -torch.inf]))

    def forward(self, sentence):
        return super().forward(sentence) + self.bar


def test_a_graph_that_no_reader_takes_is_not_written(tmp_path):
    with pytest.raises(LiftError) as caught:
        export_module(Barred(), tmp_path / "m.onnx", vocabulary=WORDS, tags=TAGS)
    place, _, fact = str(caught.value).partition("`: ")
    assert re.fullmatch(r"test_module\.py:\d+ `def forward\(self, sentence\):", place)
    assert re.fullmatch(
        r"its graph is one that no reader takes \(refused before it was run: the constant \w+ holds inf or nan\); "
        r"write that part of the module otherwise, or report this",
        fact,
    )
    assert not list(tmp_path.iterdir())


def test_a_scripted_module_is_refused(tagger, tmp_path):
    with pytest.raises(LstmDeployError, match="scripted"):
        export_module(torch.jit.script(tagger), tmp_path / "a.onnx", vocabulary=WORDS, tags=TAGS)


def test_numbers_in_code_attributes_and_closures_are_tried_as_lengths():
    limit = 345

    class Cut(nn.Module):
        longest = 222

        def __init__(self):
            super().__init__()
            self.most = 333
            self.cut = lambda x: x[:limit]

        def forward(self, x):
            return self.cut(x) if len(x) > 111 else x

    assert thresholds(Cut(), 12) == [111, 222, 333, 345]


SOURCE = """
import torch
from torch import nn

class T(nn.Module):
    def __init__(self):
        super().__init__()
        self.e, self.l, self.h = nn.Embedding(5, 8), nn.LSTM(8, 6, batch_first=True), nn.Linear(6, 3)
    def tag(self, x):
        return self.h(self.l(self.e(x))[0])

def tagger():
    return T()

def encode(sentences):
    index = {"they": 0, "ate": 1, "the": 2, "fish": 3}
    return torch.tensor([[index.get(word, 4) for word in sentences[0]]])

def number():
    return 3
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    name = f"own_{abs(hash(tmp_path)) % 10**9}"
    (tmp_path / f"{name}.py").write_text(SOURCE)
    (tmp_path / "words.json").write_text(json.dumps(WORDS))
    (tmp_path / "tags.json").write_text(json.dumps(TAGS))
    module = import_object(f"{name}:tagger")()
    torch.save(module.state_dict(), "w.pt")
    return name, module


def _export(name, *more):
    command = [
        "export",
        "--module",
        f"{name}:tagger",
        "--vocab",
        "words.json",
        "--tags",
        "tags.json",
        "--output",
        "o.onnx",
    ]
    return CliRunner().invoke(main, [*command, *more])


def test_the_command_exports_with_weights_entry_encode_and_unknown(folder, tmp_path):
    name, module = folder
    done = _export(name, "--weights", "w.pt", "--entry", "tag", "--encode", f"{name}:encode", "--unknown", "UNK")
    assert done.exit_code == 0, done.output
    result = Predictor.load(tmp_path / "o.onnx").predict(["they", "whale", "fish"])
    with torch.no_grad():
        expected = module.tag(torch.tensor([[0, 4, 3]])).argmax(-1)[0].tolist()
    assert result.tags == tuple(TAGS[i] for i in expected)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--weights", "words.json"], "no state dict"),
        (["--weights", "absent.pt"], "cannot read the weights"),
        (["--entry", "absent"], "no method"),
        (["--unknown", "absent", "--entry", "tag"], "not in the vocabulary"),
        (["--entry", "tag", "--encode", "nowhere:f"], "cannot be imported"),
        (["--entry", "tag", "--spec", "tags.json"], "expected an object"),
        (["--entry", "zero_grad"], "returns NoneType"),
    ],
)
def test_the_command_fails_in_one_line_and_leaves_no_file(folder, tmp_path, more, message):
    done = _export(folder[0], *more)
    assert done.exit_code == 1
    assert message in done.output
    assert done.output.strip().count("\n") == 0
    assert not (tmp_path / "o.onnx").exists()


def test_without_weights_it_says_so(folder):
    done = _export(folder[0], "--entry", "tag", "--encode", f"{folder[0]}:encode", "--unknown", "UNK")
    assert done.exit_code == 0
    assert "no --weights" in done.output


def test_a_spec_may_be_a_dictionary(tagger, tmp_path):
    export_module(tagger, tmp_path / "a.onnx", vocabulary=WORDS, tags=TAGS, spec={"unknown": "UNK"})
    assert Predictor.load(tmp_path / "a.onnx").predict(["whale"]).tags


def test_rows_that_no_word_reaches_are_left_out_and_said(tagger, tmp_path):
    export_module(tagger, tmp_path / "a.onnx", vocabulary=list(WORDS)[:3], tags=TAGS)
    assert any("5 rows" in note for note in Predictor.load(tmp_path / "a.onnx").metadata.notes)


def test_a_model_file_given_as_a_text_is_wrong_usage(tagger, tmp_path):
    export_module(tagger, tmp_path / "a.onnx", vocabulary=WORDS, tags=TAGS)
    done = CliRunner().invoke(main, ["run", str(tmp_path / "a.onnx"), "the fish"])
    assert done.exit_code == 2
    assert "--model" in done.output


def test_a_pickle_that_is_no_state_dict_is_never_run(folder, tmp_path):
    import pickle

    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    (tmp_path / "bomb.pt").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(InputError):
        load_weights(Tagger(), tmp_path / "bomb.pt")
    assert not (tmp_path / "exploded").exists()


def test_weights_of_another_module_are_refused(tmp_path):
    torch.save(Tagger(hidden=7).state_dict(), tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="not the weights of Tagger"):
        load_weights(Tagger(), tmp_path / "w.pt")


@pytest.mark.parametrize(
    "arguments",
    [["--vocab", "words.json"], ["--module", "a:b", "--tags", "tags.json"], ["--module", "a:b", "--precision", "int8"]],
)
def test_options_that_do_not_go_together_are_wrong_usage(folder, arguments):
    assert CliRunner().invoke(main, ["export", *arguments]).exit_code == 2


@pytest.mark.slow
def test_ten_million_parameters_are_exported_and_proved_in_20_seconds(tmp_path):
    import time

    class Large(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(60_000, 100)
            self.lstm = nn.LSTM(100, 400, num_layers=2, batch_first=True, bidirectional=True)
            self.head = nn.Linear(800, 50)

        def forward(self, x):
            return self.head(self.lstm(self.embedding(x.unsqueeze(0)))[0])

    module = Large()
    assert sum(p.numel() for p in module.parameters()) > 10_000_000
    start = time.perf_counter()
    words, tags = [f"w{i}" for i in range(60_000)], [f"t{i}" for i in range(50)]
    export_module(module, tmp_path / "a.onnx", vocabulary=words, tags=tags)
    assert time.perf_counter() - start < 20
