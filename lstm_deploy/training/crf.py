"""A linear-chain CRF that learns; `lstm_deploy.crf` has its numbers, paths and probabilities once it has learnt."""

import torch
from torch import Tensor, nn

from ..crf import Crf


class LinearChainCrf(nn.Module):
    """Scores of tag sequences (Lafferty et al. 2001), at first all alike."""

    def __init__(self, tags: int) -> None:
        super().__init__()
        self.transitions = nn.Parameter(torch.zeros(tags, tags))  # (from, to)
        self.start = nn.Parameter(torch.zeros(tags))
        self.end = nn.Parameter(torch.zeros(tags))

    def losses(self, emissions: Tensor, tags: Tensor, lengths: Tensor) -> Tensor:
        """(batch,): the negative log-likelihood of each row's tags.

        Args:
            emissions: (batch, sequence, tag); a number added to all of a token's changes nothing.
            tags: (batch, sequence) ids, any of them at padding.
            lengths: (batch,) each from 1 to sequence.
        """
        return self._all_paths(emissions, lengths) - self._path(emissions, tags, lengths)

    def numbers(self) -> Crf:
        """What has been learnt."""
        return Crf(*(part.detach().cpu().numpy() for part in (self.transitions, self.start, self.end)))

    def _all_paths(self, emissions: Tensor, lengths: Tensor) -> Tensor:
        """(batch,): the logarithm of the sum of exponentiated scores over all paths."""
        reached = self.start + emissions[:, 0]  # (batch, tag)
        for step in range(1, emissions.shape[1]):
            sums = reached[:, :, None] + self.transitions  # (batch, from, to)
            moved = sums.logsumexp(1) + emissions[:, step]
            reached = torch.where((step < lengths)[:, None], moved, reached)
        return (reached + self.end).logsumexp(-1)

    def _path(self, emissions: Tensor, tags: Tensor, lengths: Tensor) -> Tensor:
        valid = torch.arange(tags.shape[1], device=tags.device) < lengths[:, None]  # (batch, sequence)
        along = emissions.gather(-1, tags[..., None])[..., 0] * valid
        moves = self.transitions[tags[:, :-1], tags[:, 1:]] * valid[:, 1:]
        last = tags.gather(1, lengths[:, None] - 1)[:, 0]
        return along.sum(1) + moves.sum(1) + self.start[tags[:, 0]] + self.end[last]
