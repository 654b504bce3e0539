"""The golden cases of a model file: does this runtime give what the file says it should?"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .crf import Crf
from .encoding import ragged_ids
from .metadata import GoldenCase, ModelMetadata
from .session import Scores
from .streaming import AnyPredictor, StreamingPredictor

GoldenAnswer = tuple[NDArray[np.int32], NDArray[np.float32]]
"""Of one sentence: (sequence,) tag ids and (sequence, tags) log-probabilities or emissions."""
_ROWS = 16
"""Rows of the batch that all cases are run in, repeated: enough for what a graph does with many rows."""


@dataclass
class GoldenReport:
    """What checking the golden cases found.

    Attributes:
        cases: how many there are.
        tokens: in all of them.
        max_difference: largest difference of a log-probability, with a CRF of a marginal one.
        failures: one line per disagreement.
    """

    cases: int = 0
    tokens: int = 0
    max_difference: float = 0.0
    failures: list[str] = field(default_factory=list)


def check_golden(predictor: AnyPredictor) -> GoldenReport:
    """Tokenizer, ids, tags and scores of each golden case, alone and all in one ragged batch of many rows.

    Through a streaming file each case goes once more in chunks of 1, 2, 3 ... tokens.
    """
    cases = predictor.metadata.golden
    report = GoldenReport(len(cases), sum(len(case.tokens) for case in cases))
    for number, case in enumerate(cases, 1):
        _check_ids(predictor, case, f"case {number}", report)
    for number, case in enumerate(cases, 1):
        check_answer(predictor.metadata, case, _rows(predictor, [case])[0], f"case {number} alone", report)
    numbered = [(number, case) for number, case in enumerate(cases, 1) if case.tokens]
    many = numbered * -(-_ROWS // max(len(numbered), 1))
    for (number, case), answer in zip(many, _rows(predictor, [case for _, case in many]), strict=True):
        check_answer(predictor.metadata, case, answer, f"case {number} in a batch", report)
    if isinstance(predictor, StreamingPredictor):
        for number, case in enumerate(cases, 1):
            check_answer(predictor.metadata, case, _in_chunks(predictor, case), f"case {number} in chunks", report)
    return report


def _rows(predictor: AnyPredictor, cases: list[GoldenCase]) -> list[GoldenAnswer]:
    """The model's answer to each case, all in one batch."""
    if not cases:
        return []
    found = predictor.session.run(predictor.encoder.encode([case.tokens for case in cases]))
    lengths = [len(case.tokens) for case in cases]
    return [(found.tag_ids[i, :n], found.of_tags[i, :n]) for i, n in enumerate(lengths)]


def _in_chunks(predictor: StreamingPredictor, case: GoldenCase) -> GoldenAnswer:
    """The answer to a case that is handed over in chunks of 1, 2, 3 ... tokens."""
    states, at, size = predictor.session.initial_states(1), 0, 1
    parts: list[Scores] = []
    while at < len(case.tokens):
        inputs = predictor.encoder.encode([case.tokens[at : at + size]])
        found, states = predictor.session.run_chunk(inputs, states)
        parts.append(found)
        at, size = at + size, size + 1
    if not parts:
        return np.empty(0, np.int32), np.empty((0, len(predictor.metadata.tags)), np.float32)
    return tuple(np.concatenate([getattr(p, name)[0] for p in parts]) for name in ("tag_ids", "of_tags"))  # type: ignore[return-value]


def _check_ids(predictor: AnyPredictor, case: GoldenCase, where: str, report: GoldenReport) -> None:
    if case.text is not None:
        tokens = predictor.metadata.tokenizer.tokens(case.text)
        if tuple(tokens) != case.tokens:
            report.failures.append(f"{where}: the tokenizer gives {tokens}; expected {list(case.tokens)}")
    found = ragged_ids(predictor.encoder.encode([case.tokens]), 0)
    for kind in found.keys() - case.inputs.keys():
        report.failures.append(f"{where}: has no {kind}; expected the ids of every input")
    for kind, expected in case.inputs.items():
        if found.get(kind) != expected:
            report.failures.append(f"{where}: {kind} are {found.get(kind)}; expected {expected}")


def check_answer(
    metadata: ModelMetadata, case: GoldenCase, answer: GoldenAnswer, where: str, report: GoldenReport
) -> None:
    """Adds the comparison of one answer with what the file says PyTorch gives.

    Args:
        answer: (sequence,) tag ids and (sequence, tags) log-probabilities or emissions.
        where: names the case in failures.
    """
    if not case.tokens:
        return
    crf, tolerance = metadata.crf, metadata.tolerance
    expected = np.array([math.log(score) if score > 0 else -math.inf for score in case.scores])
    if crf:
        values, allowed, tied = _against_path(crf, case, answer, tolerance)
    else:
        allowed = tolerance + tolerance * np.abs(expected)
        values, tied = _against_tags(case, answer, allowed)
    if not tied:
        tags = [metadata.tags[i] for i in answer[0].tolist()]
        report.failures.append(f"{where}: the tags are {tags}; expected {list(case.tags)}")
        return
    differences = np.abs(values - expected)
    report.max_difference = max(report.max_difference, float(differences.max()))
    for i in np.flatnonzero(~(np.isfinite(differences) & (differences <= allowed))):
        report.failures.append(f"{where}: a log-probability is {values[i]:.7f}; expected {expected[i]:.7f}")


def _against_tags(
    case: GoldenCase, answer: GoldenAnswer, allowed: NDArray[np.float64]
) -> tuple[NDArray[np.float64], bool]:
    """(sequence,) log-probabilities of the expected tags; whether the tags are those, or about as good."""
    tag_ids, log_probs = answer
    expected, token = np.array(case.tag_ids), np.arange(len(tag_ids))
    values = log_probs[token, expected].astype(np.float64)
    ahead = log_probs[token, tag_ids] - values
    return values, bool(((tag_ids == expected) | (ahead <= allowed)).all())


def _against_path(
    crf: Crf, case: GoldenCase, answer: GoldenAnswer, tolerance: float
) -> tuple[NDArray[np.float64], float, bool]:
    """(sequence,) logarithms of the expected tags' marginals; how far they may be off; whether the path is as good."""
    tag_ids, emissions = answer
    expected = np.array(case.tag_ids)
    allowed = crf.path_tolerance(emissions, expected, tolerance)
    with np.errstate(divide="ignore"):
        values = np.log(crf.marginals(emissions)[np.arange(len(expected)), expected])
    ahead = crf.path_score(emissions, tag_ids) - crf.path_score(emissions, expected)
    return values, allowed, bool((tag_ids == expected).all() or ahead <= allowed)
