"""Temperature scaling: probabilities that are as often right as they say, on the development set.

Guo et al. 2017, "On Calibration of Modern Neural Networks". The temperature is divided into the head (and the CRF)
once training is over, so that every file and every client has it without knowing of it. No tag changes by it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ..batching import plan_batches
from ..encoding import Encoder
from ..formats import Sentence
from .model import LSTMTagger, model_inputs

_COLDEST, _HOTTEST = 0.25, 4.0
"""Beyond them stands no tagger that errs at all: where a development set has no error, colder is always better."""
_STEPS = 40
_TOKENS = 8192
_GOLDEN = (math.sqrt(5) - 1) / 2


@torch.no_grad()
def calibrate(
    model: LSTMTagger, encoder: Encoder, tag_ids: Mapping[str, int], sentences: Sequence[Sentence]
) -> dict[str, Any]:
    """Divides the temperature that is best for ``sentences`` into ``model``.

    Args:
        model: in evaluation mode; its head and CRF are changed.
        tag_ids: tokens with a tag that is none of these are left out, and for a CRF their sentences.
        sentences: gold, not those trained on.

    Returns:
        ``temperature``, ``tokens`` that it was found on, and the mean log loss of the gold tag (of a CRF: of the
        gold path, over its tokens), ``log_loss_before`` and ``log_loss_after``; nothing where there is no token.
    """
    batches = []
    for batch in plan_batches([len(sentence.tokens) for sentence in sentences], max_tokens=_TOKENS):
        chosen = [sentences[i] for i in batch]
        if model.crf:
            chosen = [sentence for sentence in chosen if set(sentence.tags) <= tag_ids.keys()]
        if chosen:
            batches.append(_losses(model, encoder, tag_ids, chosen))
    tokens = sum(n for _, n in batches)
    if not tokens:
        return {}

    def loss(temperature: float) -> float:
        return sum(total(temperature) for total, _ in batches) / tokens

    temperature = math.exp(_lowest(lambda heat: loss(math.exp(heat)), math.log(_COLDEST), math.log(_HOTTEST)))
    figures = {"log_loss_before": loss(1.0), "log_loss_after": loss(temperature)}
    for part in (model.head, model.crf):
        for parameter in part.parameters() if part else ():
            parameter.div_(temperature)
    return {"temperature": temperature, "tokens": tokens, **figures}


def _losses(
    model: LSTMTagger, encoder: Encoder, tag_ids: Mapping[str, int], sentences: Sequence[Sentence]
) -> tuple[Callable[[float], float], int]:
    """A function from the temperature to the loss summed over the sentences' tokens, and how many those are."""
    word_ids, lengths, subword_ids = model_inputs(encoder.encode([sentence.tokens for sentence in sentences]))
    logits = model(word_ids, lengths, subword_ids).double()  # (batch, sequence, tags)
    gold = nn.utils.rnn.pad_sequence(
        [torch.tensor([tag_ids.get(tag, -1) for tag in sentence.tags]) for sentence in sentences], True, -1
    )  # (batch, sequence)
    crf = model.crf
    if crf:
        return lambda heat: float(crf.losses(logits, gold.clamp(min=0), lengths, heat).sum()), int(lengths.sum())
    flat, right = logits[gold >= 0], gold[gold >= 0]
    return lambda heat: float(nn.functional.cross_entropy(flat / heat, right, reduction="sum")), len(right)


def _lowest(of: Callable[[float], float], low: float, high: float) -> float:
    """Where ``of``, which falls and then rises, is lowest: golden-section search (Kiefer 1953)."""
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = of(left), of(right)
    for _ in range(_STEPS):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = of(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = of(right)
    return (low + high) / 2
