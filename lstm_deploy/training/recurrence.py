"""An `nn.LSTM` over padded batches, for training: what packing does, with PyTorch's faster kernels.

On a packed batch PyTorch computes every step from small operators; on a padded one it calls a fused kernel, forward and
backward. Padding stands at the end, so reading forward never meets it before a sentence is over. Reading backward
is reading forward a batch whose sentences are turned around and whose padding stays where it is.
"""

import torch
from torch import Tensor, nn


def padded_lstm(lstm: nn.LSTM, x: Tensor, lengths: Tensor, *, training: bool) -> Tensor:
    """The states of ``lstm`` as if the batch were packed; whatever at padding.

    Args:
        lstm: ``batch_first``, without projections.
        x: (batch, sequence, input).
        lengths: (batch,) each from 1 to sequence.
        training: whether its dropout between layers acts.

    Returns:
        (batch, sequence, directions * hidden).
    """
    directions = 1 + lstm.bidirectional
    turned = _turned(lengths.to(x.device), x.shape[1]) if lstm.bidirectional else None  # (batch, sequence)
    for layer in range(lstm.num_layers):
        if layer:
            x = nn.functional.dropout(x, lstm.dropout, training)
        forward, *backward = lstm.all_weights[layer * directions : (layer + 1) * directions]
        states = [_read(lstm, x, forward)]
        if turned is not None:
            states.append(_taken(_read(lstm, _taken(x, turned), backward[0]), turned))
        x = torch.cat(states, -1)
    return x


def _read(lstm: nn.LSTM, x: Tensor, weights: list[Tensor]) -> Tensor:
    zeros = x.new_zeros(1, x.shape[0], lstm.hidden_size)
    return torch.lstm(x, (zeros, zeros), weights, lstm.bias, 1, 0.0, False, False, True)[0]  # type: ignore[attr-defined]


def _turned(lengths: Tensor, width: int) -> Tensor:
    """(batch, sequence): where each sentence's tokens stand from its last to its first; padding where it is."""
    at = torch.arange(width, device=lengths.device)
    last = lengths[:, None] - 1
    return torch.where(at <= last, last - at, at)


def _taken(x: Tensor, at: Tensor) -> Tensor:
    return x.gather(1, at[..., None].expand(*at.shape, x.shape[-1]))
