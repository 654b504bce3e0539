"""The proof of a lifted tagger: the module on single sentences against the file, alone and in ragged batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ..batching import plan_batches
from ..conformance.proof import Proof
from ..crf import Crf
from ..encoding import Encoder, ragged_ids
from ..metadata import GoldenCase, ModelMetadata
from ..session import TaggerSession
from .thresholds import thresholds

_PROOF_LENGTHS = (1, 1, 2, 2, 3, 4, 5, 6, 8, 9, 12, 13, 17, 21, 26, 33, 40, 63)
EVERY_LENGTH = (1, 2, *range(1, 65))
"""For modules that answer quickly: a decision by length hides between a few."""
_LONG = 200
_SLOW_PARAMETERS = 2_000_000
_SLOW_TOKENS, _QUICK_TOKENS = 1500, 8000
"""Tokens spent on lengths around numbers in the module's code."""
_SEED = 20_240_602


@dataclass(frozen=True)
class Answer:
    """What a module says of one sentence.

    Attributes:
        scores: (tokens, tags): log-probabilities, or with a CRF emissions.
        path: the tag ids that it chooses.
    """

    scores: NDArray[Any]
    path: list[int]


def proof_lengths(module: nn.Module, *, decodes: bool) -> list[int]:
    """Lengths to prove at: many for a quick module, and those around numbers that its code could compare with."""
    slow = sum(p.numel() for p in module.parameters()) > _SLOW_PARAMETERS
    if decodes:  # decoders in Python are slow
        found, left = list(_PROOF_LENGTHS), _SLOW_TOKENS
    else:
        found, left = [*(_PROOF_LENGTHS if slow else EVERY_LENGTH), _LONG], _SLOW_TOKENS if slow else _QUICK_TOKENS
    for number in thresholds(module, 12):
        for n in (number, number + 1, number + 7):
            if n not in found and n <= left:
                found.append(n)
                left -= n
    return found


def prove_sentences(
    session: TaggerSession, encoder: Encoder, sentences: Sequence[list[str]], answers: Sequence[Answer]
) -> Proof:
    """Every sentence in ragged batches of several sizes, against the module and against the sentence alone."""
    crf = session.metadata.crf
    proof = Proof(tolerance=session.metadata.tolerance)
    order = np.random.default_rng(_SEED).permutation(len(sentences)).tolist()
    batches = [order, order[: len(order) // 2], *[order[i : i + 3] for i in range(0, len(order), 3)]]
    batches += plan_batches([len(s) for s in sentences], max_tokens=64)
    for batch in filter(None, batches):
        found = session.run(encoder.encode([sentences[i] for i in batch]))
        oracle = np.zeros(found.of_tags.shape, np.float32)
        for row, i in enumerate(batch):
            oracle[row, : len(sentences[i])] = answers[i].scores
        proof.compare(found, oracle, np.array([len(sentences[i]) for i in batch], np.int32), crf)
        for row, i in enumerate(batch):
            _compare_path(proof, found.tag_ids[row, : len(sentences[i])], answers[i], crf)
    for tokens in sentences:
        alone = session.run(encoder.encode([tokens]))
        first = session.run(encoder.encode([tokens, *sentences[:2]]))
        proof.compare_alone(first, alone, 0, crf)
    return proof


def _compare_path(proof: Proof, found: NDArray[np.int32], answer: Answer, crf: Crf | None) -> None:
    """The module's own choice; where it differs the two must be as good, within the tolerance."""
    differing = int((found != np.array(answer.path)).sum())
    if not differing:
        return
    t = proof.tolerance
    if crf is None:
        rows = np.arange(len(found))
        a, b = answer.scores[rows, answer.path], answer.scores[rows, found]
        good = bool((np.abs(a - b) <= t + t * np.abs(a)).all())
    else:
        path = np.array(answer.path, np.int32)
        ahead = crf.path_score(answer.scores, path) - crf.path_score(answer.scores, found)
        good = abs(ahead) <= crf.path_tolerance(answer.scores, path, t)
    if good:
        proof.ties += differing
    else:
        proof.tag_differences += differing


def golden_case(metadata: ModelMetadata, encoder: Encoder, tokens: list[str], answer: Answer) -> GoldenCase:
    """One sentence as the module answers it."""
    probabilities = metadata.crf.marginals(answer.scores.astype(np.float32)) if metadata.crf else np.exp(answer.scores)
    return GoldenCase(
        tokens=tuple(tokens),
        inputs=ragged_ids(encoder.encode([tokens]), 0),
        tag_ids=tuple(answer.path),
        tags=tuple(metadata.tags[i] for i in answer.path),
        scores=tuple(float(probabilities[t, i]) for t, i in enumerate(answer.path)),
    )
