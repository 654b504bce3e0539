"""Makes the models beside it: tiny, random weights, one of each form that a file can have.

    python tests/runtime/data/make_models.py

``subword.onnx`` and ``subword-int8.onnx``: two bidirectional layers, words and hashed features.
``characters-crf.onnx``: words, none of them unknown, and characters through an LSTM; ends in a CRF.
``characters.onnx``: characters alone, all of them known, an Elman RNN over the tokens.
``streaming.onnx``: two forward layers, words and hashed features, states in and out.
``segmenter.onnx``: characters as tokens, tags that say where words and sentences begin.
``lstm_deploy/doctor/probe.onnx``: as ``subword.onnx``, with longer golden cases; part of the package.

Needs torch and onnx; what it makes is committed, so that the runtime tests need neither.
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import nn

from lstm_deploy import segmentation
from lstm_deploy.crf import FORBIDDEN, Crf
from lstm_deploy.export.cost import Rounding
from lstm_deploy.export.exporter import export_model, proved_file
from lstm_deploy.export.graph import signature
from lstm_deploy.export.recurrent import array, layer_weights, linear, stacked_lstm
from lstm_deploy.export.targets import targeted
from lstm_deploy.export.viterbi import best_tag_ids, crf_tag_ids
from lstm_deploy.export.writer import GraphWriter
from lstm_deploy.metadata import ModelMetadata
from lstm_deploy.tokenizer import Tokenizer
from lstm_deploy.training.checkpoint import Checkpoint
from lstm_deploy.training.config import ModelConfig, Recipe
from lstm_deploy.training.model import LSTMTagger
from lstm_deploy.vocabulary import CharacterVocabulary, Vocabulary

TEXT = "the cat ate fish Ann Lee went to Oslo in May . , ! n't do 's Mr. 3 straße Ελλάδα naïve 東京"
TAGS = ("B-LOC", "B-PER", "I-LOC", "I-PER", "O")
TOKENIZER = Tokenizer("words", frozenset({"Mr.", ":)"}), ("'s", "n't"), "-")
FOLDER = Path(__file__).parent
PROBE = FOLDER.parents[2] / "lstm_deploy" / "doctor" / "probe.onnx"
SAMPLE = {"tokens": ["Mr.", "Lee", "did", "n't", "go", "."], "text": "Mr. Lee didn't go."}


def main() -> None:
    """Writes the files beside this script."""
    checkpoint, model = _tagger(bidirectional=True)
    export_model(checkpoint, model, FOLDER / "subword.onnx")
    with TemporaryDirectory() as scratch:
        dev = Path(scratch) / "dev.conll"
        dev.write_text("Ann\tB-PER\nwent\tO\n\n", encoding="utf-8")
        export_model(checkpoint, model, FOLDER / "subword-int8.onnx", Rounding("int8", dev, max_drop=100))
    _make_streaming()
    _make_probe()
    _make_characters_crf()
    _make_characters()
    _make_segmenter()


def _make_streaming() -> None:
    export_model(*_tagger(bidirectional=False), FOLDER / "streaming.onnx", streaming=True)


def _make_probe() -> None:
    """Cases of 1 to 33 tokens: what pads and what is padded, in one batch."""
    words = TEXT.split()
    samples = [SAMPLE, *({"tokens": [*words, *reversed(words)][:n], "text": None} for n in (1, 33))]
    export_model(*_tagger(bidirectional=True, samples=samples), PROBE)


def _tagger(*, bidirectional: bool, samples: Sequence[dict[str, Any]] = (SAMPLE,)) -> tuple[Checkpoint, LSTMTagger]:
    torch.manual_seed(7)
    checkpoint = Checkpoint(
        Recipe(ModelConfig(embedding=6, hidden=4, layers=2, buckets=64, bidirectional=bidirectional)),
        Vocabulary.from_words(TEXT.split()),
        TAGS,
        TOKENIZER,
        provenance={"licence": "none: random weights", "versions": {"torch": torch.__version__}},
        samples=list(samples),
    )
    model = checkpoint.new_model()
    with torch.no_grad():  # far from uniform, so that tags vary
        for parameter in (*model.lstm.parameters(), *model.head.parameters()):
            parameter.mul_(3)
    return checkpoint, model


def _make_segmenter() -> None:
    torch.manual_seed(17)
    cut = Tokenizer("characters").tokens
    texts = ["Ann went to Oslo. Mr. Lee\n\tdidn't  go!", "東京"]
    checkpoint = Checkpoint(
        Recipe(ModelConfig(embedding=6, hidden=4, subwords=False), column="segmentation"),
        Vocabulary.from_words(sorted({*TEXT, "\n"})),
        segmentation.TAGS,
        Tokenizer("characters"),
        provenance={"licence": "none: random weights", "versions": {"torch": torch.__version__}},
        samples=[{"tokens": cut(text), "text": text} for text in texts],
    )
    model = checkpoint.new_model()
    with torch.no_grad():
        for parameter in (*model.lstm.parameters(), *model.head.parameters()):
            parameter.mul_(6)
    export_model(checkpoint, model, FOLDER / "segmenter.onnx")


class SpeltTagger(nn.Module):
    """Words and their characters, or characters alone: the last state of an LSTM over a word's characters."""

    def __init__(self, words: int, characters: int, recurrent: type[nn.RNNBase]) -> None:
        super().__init__()
        self.word = nn.Embedding(words, 4) if words else None
        self.character = nn.Embedding(characters, 3)
        self.speller = nn.LSTM(3, 4, batch_first=True)
        self.recurrent = recurrent(8 if words else 4, 4, bidirectional=True, batch_first=True)
        self.head = nn.Linear(8, len(TAGS))
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.mul_(2)

    @torch.inference_mode()
    def emissions(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """(1, sequence, tags) of one sentence, word by word."""
        ids = {kind: torch.from_numpy(value) for kind, value in inputs.items()}
        spelt = []
        for characters, count in zip(ids["char_ids"][0], ids["char_lengths"][0].tolist(), strict=True):
            _, (h, _) = self.speller(self.character(characters[None, :count]))
            spelt.append(h[0, 0])
        x = torch.stack(spelt)
        if self.word:
            x = torch.cat([self.word(ids["word_ids"][0]), x], -1)
        return self.head(self.recurrent(x[None])[0]).numpy()


def _make_characters_crf() -> None:
    torch.manual_seed(11)
    vocabulary = Vocabulary([None, *TEXT.split()], unknown_id=None, padding_id=0)
    letters = sorted(set("".join(TEXT.split())))
    characters = CharacterVocabulary([None, None, *letters], unknown_id=1, padding_id=0)
    transitions, start, end = (3 * torch.randn(size) for size in ((5, 5), (5,), (5,)))
    transitions[0, 3] = transitions[4, 2] = start[2] = FORBIDDEN
    metadata = ModelMetadata(
        vocabulary,
        TAGS,
        TOKENIZER,
        characters=characters,
        crf=Crf(transitions.numpy(), start.numpy(), end.numpy()),
        training={"licence": "none: random weights"},
        versions={"torch": torch.__version__},
        notes=("random weights, random transitions",),
    )
    tagger = SpeltTagger(len(vocabulary), len(characters), nn.LSTM).eval()
    _write(tagger, metadata, tagger.emissions, "characters-crf.onnx", ["Mr. Ann Lee do n't", "東京", TEXT])


def _make_characters() -> None:
    torch.manual_seed(13)
    characters = CharacterVocabulary(
        [*sorted(set("".join(TEXT.split()).lower())), None], unknown_id=None, padding_id=0, case="lower"
    )
    metadata = ModelMetadata(
        None, TAGS, Tokenizer("whitespace"), characters=characters, versions={"torch": torch.__version__}
    )
    tagger = SpeltTagger(0, len(characters), nn.RNN).eval()

    def log_probs(inputs: dict[str, np.ndarray]) -> np.ndarray:
        return torch.from_numpy(tagger.emissions(inputs)).log_softmax(-1).numpy()

    _write(tagger, metadata, log_probs, "characters.onnx", ["MAY cats eat mice", "naïve", TEXT])


def _write(tagger: SpeltTagger, metadata: ModelMetadata, oracle, name: str, texts: list[str]) -> None:
    cut = metadata.tokenizer.tokens
    sentences = [(cut(text), text) for text in texts]
    with TemporaryDirectory() as scratch:
        made = targeted(_graph(tagger, metadata), metadata, None)
        whole, *_ = proved_file(made.graph, made.metadata, oracle, sentences, Path(scratch) / name, name)
    (FOLDER / name).write_bytes(whole)


def _graph(tagger: SpeltTagger, metadata: ModelMetadata):
    graph = GraphWriter()
    x = _spelt(graph, tagger)  # (batch, sequence, 4)
    if tagger.word:
        words = graph.node("Gather", [graph.constant("word_table", array(tagger.word.weight)), "word_ids"], "words")
        x = graph.node("Concat", [words, x], "words_and_characters", axis=2)
    x = graph.node("Transpose", [x], "time_first", perm=[1, 0, 2])
    if isinstance(tagger.recurrent, nn.LSTM):
        states = stacked_lstm(graph, x, tagger.recurrent, "lengths")
    else:
        states = _elman(graph, x, tagger.recurrent)
    logits = linear(graph, "head", states, tagger.head)
    if metadata.crf:
        crf_tag_ids(graph, graph.node("Transpose", [logits], "emissions", perm=[1, 0, 2]), "lengths", metadata.crf)
    else:
        by_batch = graph.node("Transpose", [logits], "logits", perm=[1, 0, 2])
        best_tag_ids(graph, graph.node("LogSoftmax", [by_batch], "log_probs", axis=-1), "lengths")
    return graph.model("spelt_tagger", signature(metadata.inputs(), metadata), signature(metadata.outputs(), metadata))


def _spelt(graph: GraphWriter, tagger: SpeltTagger) -> str:
    flat = graph.node("Flatten", ["char_ids"], "words_of_characters", axis=2)  # (batch * sequence, character)
    steps = graph.node("Transpose", [flat], "characters_first", perm=[1, 0])
    table = graph.constant("character_table", array(tagger.character.weight))
    x = graph.node("Gather", [table, steps], "characters")
    counts = graph.node("Reshape", ["char_lengths", graph.constant("flat", np.array([-1], np.int64))], "counts")
    weights = layer_weights(tagger.speller, 0)
    names = [graph.weight(f"speller.{part}", getattr(weights, part)) for part in ("w", "r", "b")]
    _, h = graph.nodes_out("LSTM", [x, *names, counts], ["speller.y", "speller.h"], hidden_size=weights.hidden)
    shape = graph.node("Shape", ["char_lengths"], "char_shape")
    width = graph.constant("speller.hidden", np.array([weights.hidden], np.int64))
    return graph.node("Reshape", [h, graph.node("Concat", [shape, width], "spelt_shape", axis=0)], "spelt")


def _elman(graph: GraphWriter, x: str, rnn: nn.RNNBase) -> str:
    both = ("", "_reverse")
    w, r = (np.stack([array(getattr(rnn, f"weight_{part}_l0{d}")) for d in both]) for part in ("ih", "hh"))
    b = np.stack([np.concatenate([array(getattr(rnn, f"bias_{part}_l0{d}")) for part in ("ih", "hh")]) for d in both])
    names = [graph.weight(f"rnn.{name}", value) for name, value in (("w", w), ("r", r), ("b", b))]
    y = graph.node("RNN", [x, *names, "lengths"], "rnn.y", hidden_size=rnn.hidden_size, direction="bidirectional")
    side_by_side = graph.node("Transpose", [y], "rnn.by_batch", perm=[0, 2, 1, 3])
    shape = graph.constant("rnn.shape", np.array([0, 0, 2 * rnn.hidden_size], np.int64))
    return graph.node("Reshape", [side_by_side, shape], "rnn.states")


if __name__ == "__main__":
    main()
