"""Sentences encoded once, cut into batches without a loop over tokens."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ..encoding import Encoder, Inputs

_BUCKET_BATCHES = 50  # batches whose sentences are sorted by length together
_ENCODED_TOGETHER = 256


class EncodedSentences:
    """Sentences as flat arrays of ids, one after another, by the predictor's own encoder.

    Attributes:
        lengths: (sentence,) tokens of each.
        starts: (sentence,) where each begins in an array over all tokens.
    """

    def __init__(self, encoder: Encoder, sentences: Sequence[Sequence[str]]) -> None:
        self.lengths = np.array([len(tokens) for tokens in sentences], np.int32)
        self.starts = np.cumsum(self.lengths, dtype=np.int64) - self.lengths
        parts = [
            _flat(encoder.encode(sentences[at : at + _ENCODED_TOGETHER]))
            for at in range(0, len(sentences), _ENCODED_TOGETHER)
        ]
        padding = _flat(encoder.encode([[], [""]]))  # any token's ids: they are never looked at
        # The last row stands at padding.
        self._flat = {kind: np.concatenate([part[kind] for part in [*parts, padding]]) for kind in padding}

    def __len__(self) -> int:
        return len(self.lengths)

    def batch(self, chosen: NDArray[np.int64]) -> tuple[Inputs, NDArray[np.int64]]:
        """The model inputs of some sentences, and the places of their tokens in an array over all tokens."""
        lengths = self.lengths[chosen]
        at = np.arange(lengths.max(), dtype=np.int64)
        valid = at < lengths[:, None]  # (batch, sequence)
        places = self.starts[chosen][:, None] + at
        rows = np.where(valid, places, -1)
        return {kind: ids[rows] for kind, ids in self._flat.items()} | {"lengths": lengths}, places[valid]

    def batches(self, size: int, random: np.random.Generator) -> Iterator[NDArray[np.int64]]:
        """Shuffled batches of ``size`` sentences of like length."""
        order = random.permutation(len(self))
        batches: list[NDArray[np.int64]] = []
        for start in range(0, len(order), size * _BUCKET_BATCHES):
            bucket = order[start : start + size * _BUCKET_BATCHES]
            bucket = bucket[np.argsort(self.lengths[bucket], kind="stable")]
            batches += [bucket[at : at + size] for at in range(0, len(bucket), size)]
        return (batches[i] for i in random.permutation(len(batches)))


def _flat(inputs: Inputs) -> Inputs:
    """The ids without padding: (token, ...)."""
    lengths = inputs["lengths"]
    valid = np.arange(inputs["word_ids"].shape[1]) < lengths[:, None]
    return {kind: ids[valid] for kind, ids in inputs.items() if kind != "lengths"}
