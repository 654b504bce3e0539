"""Figures of a comparison with an oracle: how far scores are from it, and which tags differ."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..crf import Crf
from ..metadata import TOLERANCES
from ..session import Scores


@dataclass
class Proof:
    """Figures of one parity check.

    Attributes:
        batches: batches run, each against PyTorch and against its rows run alone.
        tokens: real tokens compared in them.
        max_difference: largest |difference| of a log-probability or emission from PyTorch's.
        max_batch_difference: the same between a row in its batch and alone, both in onnxruntime.
        tag_differences: tags that differ where the two best scores are further apart than the tolerance; with
            a CRF where the two paths' are, than the tolerance of all tokens together.
        outside: scores beyond the tolerance, and tags at padding.
        ties: tags that differ where they are closer: either is right.
        tolerance: absolute, and relative to the value.
        max_chunk_difference: of a streaming file: the same between a sentence in chunks and the whole of it.
    """

    batches: int = 0
    tokens: int = 0
    max_difference: float = 0.0
    max_batch_difference: float = 0.0
    tag_differences: int = 0
    ties: int = 0
    outside: int = 0
    tolerance: float = TOLERANCES["fp32"]
    max_chunk_difference: float | None = None

    @property
    def holds(self) -> bool:
        """Nothing differs by more than it may."""
        return not self.tag_differences and not self.outside and self.tokens > 0

    def to_json(self) -> dict[str, Any]:
        """The figures as a JSON object; without that of chunks where there are none."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def summary(self) -> str:
        """The figures in one line."""
        chunks = self.max_chunk_difference
        return (
            f"{self.tokens:,} tokens in {self.batches:,} batches: largest difference {self.max_difference:.2g}, "
            f"{self.outside} outside {self.tolerance:g}, {self.tag_differences} tags differ, {self.ties} ties"
            + ("" if chunks is None else f", in chunks {chunks:.2g} from the whole")
        )

    def compare(
        self, found: Scores, oracle: NDArray[np.float32], lengths: NDArray[np.int32], crf: Crf | None = None
    ) -> None:
        """Adds one batch: what the file gives against (batch, sequence, tags) of the oracle."""
        valid = np.arange(found.tag_ids.shape[1]) < lengths[:, None]
        self.batches += 1
        self.tokens += int(valid.sum())
        self.max_difference = max(self.max_difference, self._differences(found.of_tags[valid], oracle[valid]))
        self.outside += int((found.tag_ids[~valid] != -1).sum())
        if crf:
            self._paths(found.tag_ids, oracle, lengths, crf)
        else:
            self._tags(found.tag_ids[valid], oracle[valid])

    def compare_alone(self, found: Scores, alone: Scores, row: int, crf: Crf | None = None) -> None:
        """Adds one row of a batch against the same row by itself."""
        length = alone.tag_ids.shape[1]
        difference = self._differences(found.of_tags[row, :length], alone.of_tags[0])
        self.max_batch_difference = max(self.max_batch_difference, difference)
        if crf:
            self._paths(found.tag_ids[row : row + 1, :length], alone.of_tags, np.array([length]), crf)
        else:
            self._tags(found.tag_ids[row, :length], alone.of_tags[0])

    def compare_chunks(self, chunks: Scores, whole: Scores) -> None:
        """Adds one sentence that went through a streaming file in chunks, against the whole of it."""
        difference = self._differences(chunks.of_tags[0], whole.of_tags[0])
        self.max_chunk_difference = max(self.max_chunk_difference or 0.0, difference)
        self._tags(chunks.tag_ids[0], whole.of_tags[0])

    def _differences(self, found: NDArray[np.float32], oracle: NDArray[np.float32]) -> float:
        difference = np.abs(found.astype(np.float64) - oracle)
        # Not-a-number compares false: it counts as outside.
        self.outside += int((~(difference <= self.tolerance + self.tolerance * np.abs(oracle))).sum())
        return float(np.nan_to_num(difference, nan=np.inf).max(initial=0.0))

    def _tags(self, found: NDArray[np.int32], oracle: NDArray[np.float32]) -> None:
        best = oracle.argmax(-1)
        for i in np.flatnonzero(found != best):
            chosen = oracle[i, found[i]] if 0 <= found[i] < oracle.shape[1] else -np.inf
            if oracle[i, best[i]] - chosen <= self.tolerance + self.tolerance * abs(oracle[i, best[i]]):
                self.ties += 1
            else:
                self.tag_differences += 1

    def _paths(
        self, found: NDArray[np.int32], oracle: NDArray[np.float32], lengths: NDArray[np.int32], crf: Crf
    ) -> None:
        best = crf.viterbi(oracle, lengths)
        for i in np.flatnonzero((found != best).any(-1)):
            path, right, emissions = (part[i, : lengths[i]] for part in (found, best, oracle))
            differing = int((path != right).sum())
            inside = ((path >= 0) & (path < crf.tags)).all()
            ahead = crf.path_score(emissions, right) - crf.path_score(emissions, path) if inside else np.inf
            if ahead <= crf.path_tolerance(emissions, right, self.tolerance):
                self.ties += differing
            else:
                self.tag_differences += differing
