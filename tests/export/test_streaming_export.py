"""Streaming exports: chunks of any lengths equal the whole to the last bit, and PyTorch on the whole sentence."""

import numpy as np
import onnxruntime
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from torch import nn  # noqa: E402

from lstm_deploy import Predictor, StreamingPredictor  # noqa: E402
from lstm_deploy.cli import main  # noqa: E402
from lstm_deploy.errors import InputError  # noqa: E402
from lstm_deploy.export.capture import LiftError  # noqa: E402
from lstm_deploy.export.cost import Rounding  # noqa: E402
from lstm_deploy.export.exporter import export_checkpoint, export_model  # noqa: E402
from lstm_deploy.export.module import export_module  # noqa: E402
from lstm_deploy.export.recurrent import cell_model  # noqa: E402
from lstm_deploy.export.spec import Spec  # noqa: E402
from lstm_deploy.golden import check_golden  # noqa: E402
from lstm_deploy.training.checkpoint import load_checkpoint  # noqa: E402
from lstm_deploy.training.config import TUTORIAL  # noqa: E402
from lstm_deploy.training.pipeline import Data, train_tagger  # noqa: E402

ONE_WAY = {"bidirectional": False}


@pytest.mark.parametrize("subwords", [False, True])
@pytest.mark.parametrize(("layers", "hidden", "embedding"), [(1, 3, 10), (2, 33, 7), (3, 64, 16), (1, 128, 100)])
@pytest.mark.parametrize("case", ["keep", "lower"])
def test_chunks_are_the_whole_to_the_last_bit(make_tagger, tmp_path, subwords, layers, hidden, embedding, case):
    tagger = make_tagger(
        layers=layers, hidden=hidden, embedding=embedding, subwords=subwords, case=case, scale=2.0, **ONE_WAY
    )
    proof = export_model(*tagger, tmp_path / "m.onnx", streaming=True).proof
    assert proof.holds
    assert proof.max_chunk_difference == 0.0
    assert proof.max_batch_difference == 0.0
    predictor = StreamingPredictor.load(tmp_path / "m.onnx")
    assert predictor.metadata.proof["max_chunk_difference"] == 0.0
    assert not check_golden(predictor).failures


@pytest.mark.parametrize("sizes", [[1], [2], [7], [1, 2, 7, 31, 3], [200]])
def test_chunks_against_pytorch_on_the_whole_sentence(make_tagger, tmp_path, sizes):
    checkpoint, model = make_tagger(layers=2, hidden=20, scale=3.0, **ONE_WAY)
    export_model(checkpoint, model, tmp_path / "m.onnx", streaming=True)
    predictor = StreamingPredictor.load(tmp_path / "m.onnx")
    tokens = np.random.default_rng(1).choice(["the", "cat", "ate", "unheard", "Zz9", "."], 200).tolist()
    inputs = checkpoint.encoder().encode([tokens])
    ids = [torch.from_numpy(inputs[kind].astype(np.int64)) for kind in ("word_ids", "lengths", "subword_ids")]
    expected = model.log_probs(*ids)[0].numpy()
    stream, found, at, turn = predictor.stream(), [], 0, 0
    while at < len(tokens):
        size = sizes[turn % len(sizes)]
        found.append(stream.push(tokens[at : at + size]))
        at, turn = at + size, turn + 1
    tags = [tag for result in found for tag in result.tags]
    assert tags == [checkpoint.tags[i] for i in expected.argmax(-1)]
    scores = np.log([score for result in found for score in result.scores])
    np.testing.assert_allclose(scores, expected.max(-1), atol=1e-5, rtol=1e-5)


def test_the_file_gives_what_the_one_for_whole_sentences_gives(make_tagger, tmp_path):
    tagger = make_tagger(layers=2, scale=3.0, **ONE_WAY)
    for name, streaming in (("whole", False), ("stream", True)):
        export_model(*tagger, tmp_path / f"{name}.onnx", streaming=streaming)
    whole, stream = Predictor.load(tmp_path / "whole.onnx"), StreamingPredictor.load(tmp_path / "stream.onnx")
    sentences = [["the", "cat", "x"][:n] * n for n in range(9)]
    assert stream.predict_batch(sentences) == whole.predict_batch(sentences)


def test_half_precision_streams(make_tagger, tmp_path):
    (tmp_path / "dev.conll").write_text("the\tO\ncat\tNOUN\n\n", encoding="utf-8")
    settings = Rounding("fp16", tmp_path / "dev.conll", max_drop=100)
    done = export_model(*make_tagger(scale=2.0, **ONE_WAY), tmp_path / "m.onnx", settings, streaming=True)
    assert done.proof.max_chunk_difference == 0.0
    assert done.rounding["tokens"] == 2
    assert StreamingPredictor.load(tmp_path / "m.onnx").metadata.precision == "fp16"


@pytest.mark.parametrize(
    ("settings", "options", "said"),
    [
        ({"bidirectional": True}, {}, "bidirectional"),
        (ONE_WAY, {"constrain": "iob2"}, "path"),
        (ONE_WAY, {"settings": "int8"}, "int8"),
    ],
)
def test_what_cannot_stream_is_refused_in_one_line(make_tagger, tmp_path, settings, options, said):
    if "settings" in options:
        options = {"settings": Rounding("int8", tmp_path / "dev.conll")}
    with pytest.raises(InputError, match=said) as e:
        export_model(*make_tagger(**settings), tmp_path / "m.onnx", streaming=True, **options)
    assert "\n" not in str(e.value)
    assert not list(tmp_path.iterdir())


def test_command_exports_and_verifies(make_tagger, save_checkpoint, tmp_path):
    folder, model = save_checkpoint(tmp_path / "c", *make_tagger(**ONE_WAY)), str(tmp_path / "m.onnx")
    done = CliRunner().invoke(main, ["export", str(folder), "--output", model, "--streaming"])
    assert done.exit_code == 0, done.output
    assert "in chunks 0 from the whole" in done.stderr
    (tmp_path / "a.txt").write_text("the cat ate\nfish\n", encoding="utf-8")
    done = CliRunner().invoke(main, ["verify", model, "--checkpoint", str(folder), "--input", str(tmp_path / "a.txt")])
    assert done.exit_code == 0, done.output
    other = save_checkpoint(tmp_path / "d", *make_tagger(bidirectional=True))
    done = CliRunner().invoke(main, ["export", str(other), "--output", model, "--streaming"])
    assert done.exit_code == 1
    assert "--unidirectional" in done.stderr


def test_token_by_token_is_the_tutorials_cell(tmp_path):
    train_tagger(TUTORIAL, Data(), tmp_path / "c")
    export_checkpoint(tmp_path / "c", tmp_path / "m.onnx", streaming=True)
    _, model = load_checkpoint(tmp_path / "c")
    predictor = StreamingPredictor.load(tmp_path / "m.onnx")
    step = onnxruntime.InferenceSession(
        cell_model(_gates(model.lstm), model.head).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    table = model.embedding.word.weight.detach().numpy()
    hidden = cell = np.zeros((1, model.lstm.hidden_size), np.float32)
    stream = predictor.stream()
    for word in ["Everybody", "read", "that", "book", "The", "dog", "ate", "the", "apple"]:
        x = table[[predictor.metadata.vocabulary.id(word)]]
        output, hidden, cell = step.run(None, {"input": x, "hidden": hidden, "cell": cell})
        found = stream.push([word])
        assert found.tags == (predictor.metadata.tags[output.argmax()],)
        np.testing.assert_allclose(found.scores, [np.exp(output.max())], rtol=1e-6)
        np.testing.assert_allclose(stream.state["h_0"], hidden[0], atol=1e-7)
        np.testing.assert_allclose(stream.state["c_0"], cell[0], atol=1e-7)


def _gates(lstm):
    """The cell's gates as linear layers over [input, hidden]."""
    found = {}
    for place, gate in enumerate("ifgo"):
        rows = slice(place * lstm.hidden_size, (place + 1) * lstm.hidden_size)
        found[gate] = torch.nn.Linear(lstm.input_size + lstm.hidden_size, lstm.hidden_size)
        with torch.no_grad():
            found[gate].weight.copy_(torch.cat([lstm.weight_ih_l0[rows], lstm.weight_hh_l0[rows]], 1))
            found[gate].bias.copy_(lstm.bias_ih_l0[rows] + lstm.bias_hh_l0[rows])
    return found


# -- taggers of one's own

VOCABULARY = {word: i for i, word in enumerate(["<unk>", "the", "cat", "ate", "fish", "dog", "Ann"])}
TAGS_OF_OWN = {"A": 0, "B": 1, "C": 2}


class Own(nn.Module):
    """One sentence at a time; ``kind`` says what it does with the tokens."""

    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(4)
        self.kind = kind
        self.embedding = nn.Embedding(len(VOCABULARY), 8)
        both = kind == "bidirectional"
        recurrence = {"gru": nn.GRU, "rnn": nn.RNN}.get(kind, nn.LSTM)
        self.recurrence = recurrence(8, 6, num_layers=2, bidirectional=both)
        self.second = nn.LSTM(6, 6)
        self.start = nn.Parameter(torch.randn(2, 1, 6))
        self.place = nn.Embedding(300, 6)
        self.beside = nn.Conv1d(6, 6, 3, padding=1)
        self.head = nn.Linear(12 if both else 6, 3)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.mul_(2)

    def forward(self, words):
        x = self.embedding(words).unsqueeze(1)
        if self.kind == "learned":
            x, _ = self.recurrence(x, (self.start, self.start.tanh()))
        else:
            x, state = self.recurrence(x)
        x = x.squeeze(1)
        if self.kind == "stacked":
            x = x + self.second(x.unsqueeze(1))[0].squeeze(1)
        if self.kind == "attention":
            x = (x @ x.T).softmax(-1) @ x
        if self.kind == "mean":
            x = x + x.mean(0)
        if self.kind == "last":
            x = x + state[0][-1]
        if self.kind == "convolution":
            x = self.beside(x.T.unsqueeze(0)).squeeze(0).T
        if self.kind == "positions":
            x = x + self.place(torch.arange(len(words)))
        if self.kind == "flip":
            x = x + x.flip(0)
        if self.kind == "softmax":
            x = x.softmax(0)
        if self.kind == "cumsum":
            x = x.cumsum(0)
        return self.head(x)


class OwnCell(nn.Module):
    """The tutorial's cell by hand, stepped over the tokens with its (hidden, cell) pair."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.embedding = nn.Embedding(len(VOCABULARY), 10)
        self.gates = nn.ModuleDict({gate: nn.Linear(10 + 20, 20) for gate in "ifgo"})
        self.head = nn.Linear(20, 3)

    def step(self, x, hidden, cell):
        both = torch.cat((x, hidden), 1)
        i, f, o = (torch.sigmoid(self.gates[gate](both)) for gate in "ifo")
        cell = f * cell + i * torch.tanh(self.gates["g"](both))
        hidden = o * torch.tanh(cell)
        return self.head(hidden), hidden, cell

    def forward(self, words):
        hidden, cell, scores = torch.zeros(1, 20), torch.zeros(1, 20), []
        for x in self.embedding(words):
            score, hidden, cell = self.step(x.unsqueeze(0), hidden, cell)
            scores.append(score)
        return torch.cat(scores)


def _export_own(module, path):
    spec = Spec(unknown="<unk>")
    return export_module(module.eval(), path, vocabulary=VOCABULARY, tags=TAGS_OF_OWN, spec=spec, streaming=True)


@pytest.mark.parametrize(("kind", "states"), [("plain", 4), ("gru", 2), ("rnn", 2), ("stacked", 6), ("learned", 4)])
def test_taggers_of_ones_own_stream_to_the_last_bit(tmp_path, kind, states):
    proof = _export_own(Own(kind), tmp_path / "m.onnx").proof
    assert proof.max_chunk_difference == 0.0
    predictor = StreamingPredictor.load(tmp_path / "m.onnx")
    assert len(predictor.metadata.states) == states
    assert any(stream.any() for stream in predictor.stream().state.values()) == (kind == "learned")
    assert not check_golden(predictor).failures
    tokens = np.random.default_rng(2).choice(["the", "cat", "ate", "x", "dog"], 50).tolist()
    stream = predictor.stream()
    found = [stream.push(tokens[i : i + 7]).tags for i in range(0, 50, 7)]
    ids = torch.tensor([predictor.metadata.vocabulary.id(token) for token in tokens])
    expected = Own(kind)(ids).argmax(-1)
    assert [tag for tags in found for tag in tags] == [predictor.metadata.tags[i] for i in expected]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("bidirectional", "from its end"),
        ("attention", "looks at all others"),
        ("mean", "make one value"),
        ("last", "last state"),
        ("convolution", "beside"),
        ("positions", "counts"),
        ("flip", "--streaming"),
        ("softmax", "counts"),
        ("cumsum", "counts"),
    ],
)
def test_what_looks_at_other_tokens_is_refused(tmp_path, kind, said):
    with pytest.raises(LiftError, match=said) as e:
        _export_own(Own(kind), tmp_path / "m.onnx")
    assert "\n" not in str(e.value)
    assert not list(tmp_path.iterdir())


def test_token_by_token_is_a_cell_by_hand(tmp_path):
    cell = OwnCell().eval()
    assert _export_own(cell, tmp_path / "m.onnx").proof.max_chunk_difference == 0.0
    predictor = StreamingPredictor.load(tmp_path / "m.onnx")
    stream, hidden, state = predictor.stream(), torch.zeros(1, 20), torch.zeros(1, 20)
    for word in ["the", "cat", "ate", "unheard", "fish", "dog", "Ann", "the"]:
        x = cell.embedding(torch.tensor([predictor.metadata.vocabulary.id(word)]))
        score, hidden, state = cell.step(x, hidden, state)
        assert stream.push([word]).tags == (predictor.metadata.tags[score.argmax()],)
        found = stream.state
        np.testing.assert_allclose(found["h_0"], hidden[0].detach().numpy(), atol=1e-6)
        np.testing.assert_allclose(found["c_0"], state[0].detach().numpy(), atol=1e-6)


SMALL = """
from torch import nn


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.lstm, self.head = nn.Embedding(3, 4), nn.LSTM(4, 5), nn.Linear(5, 2)

    def forward(self, words):
        states, _ = self.lstm(self.embedding(words).view(len(words), 1, -1))
        return self.head(states.view(len(words), -1))
"""


def test_command_streams_a_tagger_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small_streamed_tagger.py").write_text(SMALL, encoding="utf-8")
    (tmp_path / "words.json").write_text('["the", "cat", "ate"]', encoding="utf-8")
    (tmp_path / "tags.json").write_text('["A", "B"]', encoding="utf-8")
    options = ["--module", "small_streamed_tagger:Tagger", "--vocab", "words.json", "--tags", "tags.json"]
    done = CliRunner().invoke(main, ["export", *options, "--output", "m.onnx", "--streaming"])
    assert done.exit_code == 0, done.output
    assert "in chunks 0 from the whole" in done.stderr
    done = CliRunner().invoke(main, ["run", "--model", "m.onnx"], input="the\ncat\n")
    assert done.stdout.startswith("the\t")
