"""Taggers with drawn weights: a complete model file of each graph form, and the same weights as a PyTorch module.

Needs numpy and torch, no onnx. The weights are drawn in ONNX's layout and turned into PyTorch's here, by code of its
own, so that a mistake in the exporter's would show.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from lstm_deploy.crf import Crf
from lstm_deploy.encoding import Encoder, Inputs, ragged_ids, row_of
from lstm_deploy.features import SubwordFeatures
from lstm_deploy.metadata import GoldenCase, GraphForm, ModelMetadata
from lstm_deploy.protobuf import Field, Message, Value, fields
from lstm_deploy.tokenizer import Tokenizer
from lstm_deploy.vocabulary import Vocabulary

Float = NDArray[np.float32]
GRAPHS = Path(__file__).resolve().parent / "graphs"
FORMS: tuple[GraphForm, ...] = ("reverse_sequence", "sequence_lens")
WORDS, EMBEDDING, BUCKETS = 20_000, 100, 2**14
_SKELETON: Message = {
    1: Field("ir_version", "int"),
    2: Field("producer_name", "bytes"),
    7: Field("graph", "bytes"),
    8: Field("opset_import", "bytes"),
}
_PROPERTY, _INITIALIZER = 14, 5
_DIMS, _TYPE, _NAME, _RAW, _FLOAT = 1, 2, 8, 9, 1
_GOLDEN_LENGTHS = (1, 2, 5, 12, 20, 33)
_UNKNOWN_RATE = 0.04
_HEAD_SCALE = 8.0
"""Of the head's weights, over the root of their number: logits of about 2, so that every tag comes up."""


@dataclass(frozen=True)
class Shape:
    """What a skeleton fixes."""

    layers: int
    hidden: int
    bidirectional: bool = True
    subwords: bool = False
    crf: bool = False

    @property
    def name(self) -> str:
        """For people and for the seed."""
        kind = "bidirectional" if self.bidirectional else "unidirectional"
        return f"{self.layers} x H{self.hidden} {kind}" + ", subwords" * self.subwords + ", CRF" * self.crf


@cache
def skeletons() -> dict[tuple[Shape, str], tuple[str, dict[str, Any]]]:
    """(shape, graph form) -> (name of the skeleton, its entry in the index)."""
    index = json.loads((GRAPHS / "index.json").read_text(encoding="utf-8"))
    fields = Shape.__dataclass_fields__
    return {(Shape(**{k: e[k] for k in fields}), e["form"]): (name, e) for name, e in index.items()}


class Oracle(nn.Module):
    """The tagger in PyTorch: scores of each tag, by packing or of full rows.

    Args:
        arrays: weights by the exporter's names, in ONNX's layout.
        shape: what the tagger is.
        unknown_id: the word whose vector is worked out from its features.
    """

    def __init__(self, arrays: Mapping[str, Float], shape: Shape, unknown_id: int) -> None:
        super().__init__()
        self._unknown_id = unknown_id
        self.words = nn.Embedding.from_pretrained(torch.from_numpy(arrays["word_table"]))
        size = arrays["word_table"].shape[1]
        self.subwords: nn.Embedding | None = None
        if shape.subwords:
            self.subwords = nn.Embedding.from_pretrained(torch.from_numpy(arrays["subword_table"]))
            self.norm = nn.LayerNorm(size)
            self.unknown = nn.Parameter(torch.from_numpy(arrays["unknown_vector"]))
        self.lstm = nn.LSTM(size, shape.hidden, shape.layers, batch_first=True, bidirectional=shape.bidirectional)
        self.head = nn.Linear(*arrays["head.weight"].shape)
        with torch.no_grad():
            if shape.subwords:
                self.norm.weight.copy_(torch.from_numpy(arrays["norm.weight"]))
                self.norm.bias.copy_(torch.from_numpy(arrays["norm.bias"]))
            self.head.weight.copy_(torch.from_numpy(arrays["head.weight"].T))
            self.head.bias.copy_(torch.from_numpy(arrays["head.bias"]))
            for name, value in _torch_weights(arrays, shape):
                getattr(self.lstm, name).copy_(torch.from_numpy(value))
        self.requires_grad_(False).eval()

    def embedded(self, word_ids: Tensor, subword_ids: Tensor | None = None) -> Tensor:
        """(batch, sequence, embedding)."""
        known = self.words(word_ids)
        if self.subwords is None or subword_ids is None:
            return known
        computed = self.norm(self.unknown + self.subwords(subword_ids).sum(-2))
        return torch.where((word_ids == self._unknown_id)[..., None], computed, known)

    def full(self, word_ids: Tensor, subword_ids: Tensor | None = None) -> Tensor:
        """Logits of rows without padding: (batch, sequence, tags)."""
        return self.head(self.lstm(self.embedded(word_ids, subword_ids))[0])

    def packed(self, word_ids: Tensor, lengths: Tensor, subword_ids: Tensor | None = None) -> Tensor:
        """Logits of ragged rows, longest first: (batch, sequence, tags).

        Args:
            lengths: int64 on the CPU, at least 1 each.
        """
        packed = pack_padded_sequence(self.embedded(word_ids, subword_ids), lengths, batch_first=True)
        states, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=word_ids.shape[1])
        return self.head(states)

    @torch.inference_mode()
    def scores(self, inputs: Inputs) -> Float:
        """(batch, sequence, tags) log-probabilities of a ragged batch, packed without its empty rows; 0 at padding."""
        lengths = inputs["lengths"]
        order = np.argsort(-lengths, kind="stable")[: np.count_nonzero(lengths)]
        batch, sequence = inputs["word_ids"].shape
        answer = np.zeros((batch, sequence, self.head.out_features), np.float32)
        if len(order):
            ids = [self._tensor(inputs, name, order) for name in ("word_ids", "subword_ids")]
            logits = self.packed(ids[0], torch.from_numpy(lengths[order].astype(np.int64)), ids[1])
            answer[order] = logits.log_softmax(-1).cpu().numpy()
        answer[np.arange(sequence) >= lengths[:, None]] = 0
        return answer

    @torch.inference_mode()
    def alone(self, inputs: Inputs) -> Float:
        """The same, each row by itself, with nothing padded and nothing packed."""
        batch, sequence = inputs["word_ids"].shape
        answer = np.zeros((batch, sequence, self.head.out_features), np.float32)
        for i in np.flatnonzero(inputs["lengths"]):
            row = row_of(inputs, i)
            ids = [self._tensor(row, name, slice(None)) for name in ("word_ids", "subword_ids")]
            answer[i, : row["lengths"][0]] = self.full(*ids)[0].log_softmax(-1).cpu().numpy()
        return answer

    def _tensor(self, inputs: Inputs, name: str, rows: Any) -> Tensor | None:
        if name not in inputs:
            return None
        return torch.from_numpy(np.ascontiguousarray(inputs[name][rows])).to(self.head.weight.device)


class Tagger:
    """One tagger: its files, its oracle, its words.

    Attributes:
        oracle: on the CPU.
        metadata: of any of its files, but for the form and the golden cases.
    """

    def __init__(
        self, shape: Shape, *, words: int = WORDS, embedding: int = EMBEDDING, buckets: int = BUCKETS, seed: int = 1
    ) -> None:
        self.shape = shape
        random = np.random.default_rng([seed, *shape.name.encode()])
        vocabulary = Vocabulary.from_words(made_up_words(words, random))
        features = SubwordFeatures(buckets=buckets) if shape.subwords else None
        self._entries = {form: skeletons()[shape, form] for form in FORMS}
        tags = int(self._entries[FORMS[0]][1]["tags"])
        self.arrays = _draw(shape, random, len(vocabulary), embedding, buckets, tags)
        crf = None
        if shape.crf:
            crf = Crf(*(self.arrays[f"crf.{part}"] for part in ("transitions", "start", "end")))
            self.arrays["crf.transitions_into"] = np.ascontiguousarray(crf.transitions.T)
        self.metadata = ModelMetadata(
            vocabulary=vocabulary,
            tags=tuple(f"T{i}" for i in range(tags)),
            tokenizer=Tokenizer("whitespace"),
            features=features,
            crf=crf,
            training={"data": "none: the weights are drawn at random"},
            versions={"numpy": np.__version__, "torch": torch.__version__},
            runtimes=("onnxruntime",),
        )
        assert vocabulary.unknown_id is not None
        self.oracle = Oracle(self.arrays, shape, vocabulary.unknown_id)
        sentences = [self.sentence(random, length) for length in _GOLDEN_LENGTHS]
        self._golden = tuple(self._case(sentence) for sentence in sentences)

    def sentence(self, random: np.random.Generator, length: int) -> list[str]:
        """Words that the vocabulary has, and some that it has not."""
        return self.sentences(random, [length])[0]

    def sentences(self, random: np.random.Generator, lengths: list[int]) -> list[list[str]]:
        """Likewise, many; frequent words are frequent, as in text."""
        assert self.metadata.vocabulary is not None
        known = self.metadata.vocabulary.words[2:]
        total = sum(lengths)
        # Zipf's law: of the ranks up to n, uniform on a logarithmic scale.
        ranks = np.exp(random.random(total) * np.log(len(known))).astype(np.int64) - 1
        words = [known[i] for i in ranks.tolist()]
        for i in np.flatnonzero(random.random(total) < _UNKNOWN_RATE).tolist():
            words[i] = f"{words[i]}-{words[i][:3]}"
        ends = np.cumsum(lengths).tolist()
        return [words[end - length : end] for end, length in zip(ends, lengths, strict=True)]

    def file(self, form: GraphForm) -> bytes:
        """The complete model file in one form."""
        name, entry = self._entries[form]
        tensors = {weight: _array(self.arrays, weight) for weight in entry["weights"]}
        metadata = replace(self.metadata, graph_form=form, golden=self._golden)
        return complete((GRAPHS / f"{name}.onnx").read_bytes(), tensors, metadata.to_properties())

    def write(self, folder: Path, form: GraphForm) -> Path:
        """The file, under the skeleton's name in ``folder``."""
        path = folder / f"{self._entries[form][0]}.onnx"
        path.write_bytes(self.file(form))
        return path

    def _case(self, tokens: list[str]) -> GoldenCase:
        metadata = self.metadata
        inputs = Encoder(metadata.vocabulary, metadata.features).encode([tokens])
        scores = self.oracle.alone(inputs)[0]
        if metadata.crf:
            best = metadata.crf.viterbi(scores[None], inputs["lengths"])[0]
            chances = metadata.crf.marginals(scores)
        else:
            best, chances = scores.argmax(-1), np.exp(scores.astype(np.float64))
        return GoldenCase(
            tokens=tuple(tokens),
            inputs=ragged_ids(inputs, 0),
            tag_ids=tuple(best.tolist()),
            tags=tuple(metadata.tags[i] for i in best),
            scores=tuple(chances[np.arange(len(best)), best].tolist()),
        )


def complete(skeleton: bytes, tensors: Mapping[str, Float], properties: Mapping[str, str]) -> bytes:
    """A skeleton with its constants, at the end of its one graph, and its metadata, at the end of the file."""
    parts = dict(fields(memoryview(skeleton), _SKELETON, "a skeleton"))
    initializers = (_field(_INITIALIZER, _tensor(name, value)) for name, value in tensors.items())
    parts["graph"] = memoryview(b"".join([parts["graph"], *initializers]))  # type: ignore[list-item]
    entries = (
        _field(_PROPERTY, _field(1, key.encode()) + _field(2, text.encode())) for key, text in properties.items()
    )
    return b"".join([*(_part(number, parts[field.name]) for number, field in _SKELETON.items()), *entries])


def made_up_words(count: int, random: np.random.Generator) -> list[str]:
    """``count`` different words of two to five syllables."""
    syllables = [c + v for c in "bdfghklmnprstvz" for v in "aeiou"]
    words: dict[str, None] = {}
    while len(words) < count:
        sizes = random.integers(2, 6, count).tolist()
        drawn = random.integers(len(syllables), size=(count, 5)).tolist()
        words.update(
            dict.fromkeys("".join(syllables[i] for i in row[:size]) for row, size in zip(drawn, sizes, strict=True))
        )
    return list(words)[:count]


def _draw(
    shape: Shape, random: np.random.Generator, words: int, embedding: int, buckets: int, tags: int
) -> dict[str, Float]:
    """All weights in ONNX's layout, gates ``[i, o, f, c]``, of a scale at which states are far from 0 and from 1."""

    def normal(scale: float, *size: int) -> Float:
        return scale * random.standard_normal(size, np.float32)

    hidden, ways = shape.hidden, 1 + shape.bidirectional
    arrays = {"word_table": normal(1, words, embedding)}
    if shape.subwords:
        arrays |= {
            "subword_table": normal(0.5, buckets, embedding),
            "unknown_vector": normal(1, embedding),
            "norm.weight": 1 + normal(0.1, embedding),
            "norm.bias": normal(0.1, embedding),
        }
    for layer in range(shape.layers):
        width, scale = (ways * hidden, 2.0) if layer else (embedding, 1.0)
        arrays[f"lstm_{layer}.w"] = normal(scale / width**0.5, ways, 4 * hidden, width)
        arrays[f"lstm_{layer}.r"] = normal(1 / hidden**0.5, ways, 4 * hidden, hidden)
        arrays[f"lstm_{layer}.b"] = normal(0.1, ways, 8 * hidden)
    arrays["head.weight"] = normal(_HEAD_SCALE / (ways * hidden) ** 0.5, ways * hidden, tags)
    arrays["head.bias"] = normal(0.1, tags)
    if shape.crf:
        arrays |= {"crf.transitions": normal(1, tags, tags), "crf.start": normal(1, tags), "crf.end": normal(1, tags)}
    return arrays


def _torch_weights(arrays: Mapping[str, Float], shape: Shape) -> Iterator[tuple[str, Float]]:
    """(name in ``nn.LSTM``, value): gates from ONNX's ``[i, o, f, c]`` to PyTorch's ``[i, f, c, o]``."""

    def turned(stacked: Float) -> Float:
        i, o, f, c = np.split(stacked, 4)
        return np.concatenate([i, f, c, o])

    for layer in range(shape.layers):
        for way, suffix in enumerate(("", "_reverse")[: 1 + shape.bidirectional]):
            w, r, b = (arrays[f"lstm_{layer}.{part}"][way] for part in ("w", "r", "b"))
            yield f"weight_ih_l{layer}{suffix}", turned(w)
            yield f"weight_hh_l{layer}{suffix}", turned(r)
            yield f"bias_ih_l{layer}{suffix}", turned(b[: 4 * shape.hidden])
            yield f"bias_hh_l{layer}{suffix}", turned(b[4 * shape.hidden :])


def _array(arrays: Mapping[str, Float], name: str) -> Float:
    """A weight by its name in a graph; one direction of it where that is what the name says."""
    if name in arrays:
        return arrays[name]
    whole, _, way = name.rpartition(".")
    return arrays[whole][int(way) : int(way) + 1]


def _tensor(name: str, value: Float) -> bytes:
    dims = b"".join(_varint(_DIMS << 3) + _varint(size) for size in value.shape)
    raw = _field(_RAW, np.ascontiguousarray(value, "<f4").tobytes())
    return dims + _varint(_TYPE << 3) + _varint(_FLOAT) + _field(_NAME, name.encode()) + raw


def _part(number: int, value: Value) -> bytes:
    """A field of a skeleton as it was: a number or bytes."""
    return _varint(number << 3) + _varint(value) if isinstance(value, int) else _field(number, bytes(value))


def _field(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
