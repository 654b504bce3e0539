"""A linear-chain CRF's numbers: the best path, its score, marginal probabilities. Knows no files and no graphs.

The score of tags y for n tokens is ``start[y_1] + sum of emissions[t, y_t] + sum of
transitions[y_(t-1), y_t] + end[y_n]`` (Lafferty et al. 2001). Emissions are scores, not probabilities.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
FORBIDDEN = -1e30
"""The lowest score there is: what minus infinity is stored as, and far from the end of float32 in any sum."""


@dataclass(frozen=True, eq=False)
class Crf:
    """Scores of tag sequences, finite float32; anything below `FORBIDDEN` is kept as that.

    Attributes:
        transitions: (from, to).
        start: (tag,) of the first token's tag.
        end: (tag,) of the last token's tag.

    Raises:
        ValueError: shapes that do not go together, a number that is none, or one above 1e30.
    """

    transitions: Float
    start: Float
    end: Float

    def __post_init__(self) -> None:
        for name in ("transitions", "start", "end"):
            with np.errstate(over="ignore"):
                value = np.maximum(np.asarray(getattr(self, name)).astype(np.float32), np.float32(FORBIDDEN))
            expected = (len(self.start),) * (2 if name == "transitions" else 1)
            if value.shape != expected or not value.size:
                raise ValueError(f"{name} has the shape {value.shape}; expected {expected}, at least one tag")
            if not (value <= -FORBIDDEN).all():  # not-a-number compares false
                raise ValueError(f"{name} holds {value[~(value <= -FORBIDDEN)][0]}; expected numbers of at most 1e30")
            object.__setattr__(self, name, value)

    @property
    def tags(self) -> int:
        """How many tags there are."""
        return len(self.start)

    def viterbi(self, emissions: Float, lengths: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
        """The best path of each row: (batch, sequence), -1 from its length on.

        The file's graph does the same additions in the same order in float32, so for the same emissions
        it gives the same path. Of equal scores the lowest previous tag is taken at each
        token, and the lowest last tag.

        Args:
            emissions: (batch, sequence, tag).
            lengths: (batch,) from 0 to sequence.
        """
        batch, sequence, tags = emissions.shape
        paths = np.full((batch, sequence), -1, np.int32)
        if not batch or not sequence:
            return paths
        into = np.ascontiguousarray(self.transitions.T)  # (to, from)
        back = np.empty((sequence, batch, tags), np.int64)  # (step, batch, to) -> from
        score = self.start + emissions[:, 0]
        for step in range(1, sequence):
            sums = score[:, None, :] + into  # (batch, to, from)
            reached = sums.max(-1) + emissions[:, step]
            reached -= reached.max(-1, keepdims=True)  # long rows keep their precision
            moves = (step < lengths)[:, None]
            back[step] = np.where(moves, sums.argmax(-1), np.arange(tags))
            score = np.where(moves, reached, score)
        best = (score + self.end).argmax(-1)
        for step in range(sequence - 1, -1, -1):
            paths[:, step] = best
            if step:
                best = back[step, np.arange(batch), best]
        paths[np.arange(sequence) >= np.asarray(lengths)[:, None]] = -1
        return paths

    def path_score(self, emissions: Float, path: NDArray[np.integer[Any]]) -> float:
        """The score of one path, in float64.

        Args:
            emissions: (sequence, tag).
            path: (sequence,) tag ids.
        """
        if not len(path):
            return 0.0
        parts = (
            emissions[np.arange(len(path)), path],
            self.transitions[path[:-1], path[1:]],
            self.start[path[:1]],
            self.end[path[-1:]],
        )
        return float(sum(part.sum(dtype=np.float64) for part in parts))

    def path_tolerance(self, emissions: Float, path: NDArray[np.integer[Any]], tolerance: float) -> float:
        """How far the score of a path may be off where each emission may be by ``tolerance``, absolute and relative.

        Args:
            emissions: (sequence, tag).
            path: (sequence,) tag ids.
        """
        along = emissions[np.arange(len(path)), path].astype(np.float64)
        return float(tolerance * (1 + np.abs(along)).sum())

    def marginals(self, emissions: Float) -> NDArray[np.float64]:
        """(sequence, tag) probability of each tag at each token of one sentence, over all paths.

        Args:
            emissions: (sequence, tag).
        """
        return self._marginals(emissions[None], np.array([len(emissions)]))[0]

    def path_marginals(
        self, emissions: Float, lengths: NDArray[np.integer[Any]], paths: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        """(batch, sequence) marginal probability of each tag of ``paths``; unspecified at padding.

        Args:
            emissions: (batch, sequence, tag).
            lengths: (batch,) from 0 to sequence.
            paths: (batch, sequence) tag ids, as `viterbi` gives them.
        """
        marginals = self._marginals(emissions, lengths)
        return np.take_along_axis(marginals, np.maximum(paths, 0)[..., None], -1)[..., 0]

    def _marginals(self, emissions: Float, lengths: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        """Forward-backward in float64 logarithms: (batch, sequence, tag).

        The backward pass is the forward pass over the turned row with start and end, from and to
        exchanged, so both are one loop over steps. What they reach past a row's length is used by nobody.
        """
        batch, sequence, tags = emissions.shape
        if not batch or not sequence:
            return np.empty(emissions.shape)
        steps, last = np.arange(sequence), np.asarray(lengths)[:, None] - 1
        turned = np.where(steps <= last, last - steps, steps)[..., None]  # (batch, sequence, 1)
        own = emissions.astype(np.float64)
        both = np.stack([own, np.take_along_axis(own, turned, 1)])  # (direction, batch, sequence, tag)
        moves = np.stack([self.transitions, self.transitions.T], 1)[:, :, None].astype(np.float64)
        messages = np.empty((2, batch, sequence, tags))
        reached = np.stack([self.start, self.end])[:, None] + both[:, :, 0]
        messages[:, :, 0] = reached
        for step in range(1, sequence):
            sums = reached.transpose(2, 0, 1)[..., None] + moves  # (from, direction, batch, to)
            top = sums.max(0)
            sums -= top
            np.exp(sums, out=sums)
            reached = np.log(sums.sum(0))
            reached += top
            reached += both[:, :, step]
            messages[:, :, step] = reached
        scores = messages[0] + np.take_along_axis(messages[1], turned, 1) - own
        scores -= scores.max(-1, keepdims=True)
        np.exp(scores, out=scores)
        return scores / scores.sum(-1, keepdims=True)
