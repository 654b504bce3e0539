"""What a file stores of a tagger's weights, and what those stored numbers are worth in PyTorch.

``fp32`` keeps them. ``fp16`` stores each as a half-precision number and computes in float32.
``rows8`` stores the rows of the tables as bytes with a scale each, and all else as it is; it computes in float32.
``int8`` stores whole numbers with scales and computes with them. The same object gives the graph
its constants and the proof its oracle, so that both speak of the same numbers.
"""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..features import SubwordFeatures
from ..metadata import Precision
from ..training.model import LSTMTagger, SubwordEmbedding, WordEmbedding
from ..vocabulary import Vocabulary
from .recurrent import array
from .rounding import ACTIVATION_LEVELS, WEIGHT_LEVELS, Float, Stored, store

_PART = 4096  # words at a time
_DRAWN = 1024
_SEED = 11


class StoredEmbedding(nn.Module):
    """Word vectors as the file has them.

    Where a word's features depend on nothing but its vocabulary entry (*folded*), the table holds
    the finished vector of each known word: features summed, normed. Only unknown words are still
    computed from their features.

    Attributes:
        vectors: (words, size); finished where there are no features or they are folded.
        subwords: (buckets, size), or None.
        unknown: (size,) the unknown word's part in the sum, where folded.
        grid: (size,) step between the values that a vector's component can take, for int8.
    """

    def __init__(
        self, source: WordEmbedding, vocabulary: Vocabulary, features: SubwordFeatures | None, precision: Precision
    ) -> None:
        super().__init__()
        table = array(source.word_rows())
        self.unknown_id = vocabulary.unknown_id
        self.folded = features is not None and (vocabulary.case == "keep" or "shape" not in features.templates)
        self.subwords: Stored | None = None
        self.norm: nn.LayerNorm | None = None
        finished = table
        if isinstance(source, SubwordEmbedding) and features is not None:
            finished = _finished(source, vocabulary, features)
            self.subwords = store(array(source.subword.weight), precision)
            self.norm = copy.deepcopy(source.norm)
        self.unknown = table[self.unknown_id]
        if precision == "fp16":
            self.unknown = store(self.unknown, precision).values
            _halve(self.norm)
        self.grid: Float | None = None
        if precision == "int8":
            reach = [finished]
            if isinstance(source, SubwordEmbedding) and features is not None:
                reach += _as_unknown(source, vocabulary, features)
            self.grid = _grid(np.concatenate(reach))
        if self.subwords is None or self.folded:
            self.vectors = store(finished, precision, scale=self.grid)
        else:
            self.vectors = store(table, precision)

    def forward(self, word_ids: Tensor, subword_ids: Tensor | None = None, vector_ids: None = None) -> Tensor:
        """(batch, sequence) and (batch, sequence, feature) ids -> (batch, sequence, size); the third is training's."""
        vectors = torch.from_numpy(self.vectors.values)[word_ids]
        if self.subwords is None or self.norm is None or subword_ids is None:
            return vectors
        features = torch.from_numpy(self.subwords.values)[subword_ids].sum(-2)
        if not self.folded:
            return self._on_grid(self.norm(vectors + features))
        computed = self._on_grid(self.norm(torch.from_numpy(self.unknown) + features))
        return torch.where((word_ids == self.unknown_id)[..., None], computed, vectors)

    def _on_grid(self, vectors: Tensor) -> Tensor:
        if self.grid is None:
            return vectors
        grid = torch.from_numpy(self.grid)
        return (vectors / grid).round().clamp(-ACTIVATION_LEVELS - 1, ACTIVATION_LEVELS) * grid


@dataclass(frozen=True)
class JointWeight:
    """Input and recurrent weights of one direction as one int8 matrix over ``[x codes, h codes]``.

    Attributes:
        codes: (input + hidden, 4 * hidden) int8, gates in PyTorch's order.
        scale: (4 * hidden,) float32: worth of one unit of ``codes @ activation codes``.
        bias: (4 * hidden,) float32.
    """

    codes: NDArray[np.int8]
    scale: Float
    bias: Float


class StoredTagger:
    """A tagger rounded to a precision.

    Attributes:
        embedding: its word vectors.
        lstm: the recurrence with the values that the file has.
        head: likewise.
        joint: for int8: layer -> direction -> matrix.
        head_codes: for int8.
    """

    def __init__(
        self, tagger: LSTMTagger, vocabulary: Vocabulary, features: SubwordFeatures | None, precision: Precision
    ) -> None:
        self.precision: Precision = precision
        self.embedding = StoredEmbedding(tagger.embedding, vocabulary, features, precision)
        self.lstm = copy.deepcopy(tagger.lstm)
        self.head = copy.deepcopy(tagger.head)
        self.joint: list[list[JointWeight]] = []
        self.head_codes: Stored | None = None
        with torch.no_grad():
            if precision == "fp16":
                _halve(self.lstm)
                _halve(self.head)
            elif precision == "int8":
                self.joint = [self._round_layer(layer) for layer in range(self.lstm.num_layers)]
                self.head_codes = store(array(self.head.weight), precision, levels=WEIGHT_LEVELS)
                self.head.weight.copy_(torch.from_numpy(self.head_codes.values))
        self._source = tagger

    def oracle(self) -> LSTMTagger:
        """The tagger as a PyTorch module: the source itself for fp32, else one with the rounded numbers.

        For int8 it rounds weights and word vectors as the file does, but not the hidden states.
        """
        if self.precision == "fp32":
            return self._source
        module = copy.copy(self._source)
        module._modules = dict(self._source._modules)
        module.embedding, module.lstm, module.head = self.embedding, self.lstm, self.head  # type: ignore[assignment]
        return module

    def _round_layer(self, layer: int) -> list[JointWeight]:
        """Rounds one layer to int8 in place; its matrices."""
        lstm = self.lstm
        hidden_step = np.float32(1 / ACTIVATION_LEVELS)
        found = []
        for suffix in ("", "_reverse")[: 1 + lstm.bidirectional]:
            w, r = (getattr(lstm, f"weight_{part}_l{layer}{suffix}") for part in ("ih", "hh"))
            steps = self.embedding.grid if layer == 0 else np.full(w.shape[1], hidden_step)
            stored = store(np.concatenate([array(w) * steps, array(r) * hidden_step], 1), "int8", levels=WEIGHT_LEVELS)
            w.copy_(torch.from_numpy(stored.values[:, : w.shape[1]] / steps))
            r.copy_(torch.from_numpy(stored.values[:, w.shape[1] :] / hidden_step))
            bias = np.zeros(len(stored.codes), np.float32)
            if lstm.bias:
                bias = sum(array(getattr(lstm, f"bias_{part}_l{layer}{suffix}")) for part in ("ih", "hh"))
            found.append(JointWeight(stored.codes.T, stored.scale[:, 0], bias))  # type: ignore[index, arg-type]
        return found


def _as_unknown(source: SubwordEmbedding, vocabulary: Vocabulary, features: SubwordFeatures) -> list[Float]:
    """Vectors such as unknown words can have: known words' features, and features from the whole table."""
    drawn = np.random.default_rng(_SEED).integers(0, features.buckets, (_DRAWN, len(features.templates)))
    own = [features.ids(word) for word in vocabulary.words if word is not None]
    found = []
    with torch.inference_mode():
        for ids in (drawn, np.array(own, np.int64).reshape(-1, len(features.templates))):
            for part in np.array_split(ids, max(1, -(-len(ids) // _PART))):
                words = torch.full((1, len(part)), vocabulary.unknown_id)
                found.append(source(words, torch.from_numpy(part)[None])[0].numpy())
    return found


def _grid(vectors: Float) -> Float:
    """A step for each component: 1/127 of its largest value; for one that is always 0 a step like the others'.

    The steps are multiplied into the weights, which share a scale: an odd one would cost the others their precision.
    """
    steps = store(vectors, "int8", scale_axis=0).scale[0]  # type: ignore[index]
    used = np.abs(vectors).max(axis=0) > 0
    return np.where(used, steps, np.median(steps[used]) if used.any() else 1).astype(np.float32)


@torch.no_grad()
def _halve(module: nn.Module | None) -> None:
    for parameter in module.parameters() if module else ():
        parameter.copy_(torch.from_numpy(store(array(parameter), "fp16").values))


def _finished(source: SubwordEmbedding, vocabulary: Vocabulary, features: SubwordFeatures) -> Float:
    """(words, size) vector of each vocabulary row from its word's own features; rows without a word have none."""
    rows = np.zeros((len(vocabulary), source.word.embedding_dim), np.float32)
    known = [i for i, word in enumerate(vocabulary.words) if word is not None]
    with torch.inference_mode():
        for start in range(0, len(known), _PART):
            ids = known[start : start + _PART]
            subword_ids = torch.tensor([[features.ids(vocabulary.words[i]) for i in ids]])  # type: ignore[arg-type]
            rows[ids] = source(torch.tensor([ids]), subword_ids)[0].numpy()
    return rows
