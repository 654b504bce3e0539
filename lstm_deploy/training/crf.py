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

    def losses(self, emissions: Tensor, tags: Tensor, lengths: Tensor, temperature: float = 1.0) -> Tensor:
        """(batch,): the negative log-likelihood of each row's tags.

        Args:
            emissions: (batch, sequence, tag); a number added to all of a token's changes nothing.
            tags: (batch, sequence) ids, any of them at padding.
            lengths: (batch,) each from 1 to sequence.
            temperature: all scores are divided by it.
        """
        colder = [part / temperature for part in (emissions, self.transitions, self.start, self.end)]
        return _all_paths(*colder, lengths) - _path(*colder, tags, lengths)

    def numbers(self) -> Crf:
        """What has been learnt."""
        return Crf(*(part.detach().cpu().numpy() for part in (self.transitions, self.start, self.end)))


def _all_paths(emissions: Tensor, transitions: Tensor, start: Tensor, end: Tensor, lengths: Tensor) -> Tensor:
    """(batch,): the logarithm of the sum of exponentiated scores over all paths."""
    reached = start + emissions[:, 0]  # (batch, tag)
    for step in range(1, emissions.shape[1]):
        sums = reached[:, :, None] + transitions  # (batch, from, to)
        moved = sums.logsumexp(1) + emissions[:, step]
        reached = torch.where((step < lengths)[:, None], moved, reached)
    return (reached + end).logsumexp(-1)


def _path(emissions: Tensor, transitions: Tensor, start: Tensor, end: Tensor, tags: Tensor, lengths: Tensor) -> Tensor:
    valid = torch.arange(tags.shape[1], device=tags.device) < lengths[:, None]  # (batch, sequence)
    along = emissions.gather(-1, tags[..., None])[..., 0] * valid
    moves = transitions[tags[:, :-1], tags[:, 1:]] * valid[:, 1:]
    last = tags.gather(1, lengths[:, None] - 1)[:, 0]
    return along.sum(1) + moves.sum(1) + start[tags[:, 0]] + end[last]
