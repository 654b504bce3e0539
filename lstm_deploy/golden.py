"""The golden cases of a model file: does this runtime give what the file says it should?"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from .decoding import TaggedSentence
from .metadata import GoldenCase
from .predictor import Predictor

TOLERANCE = 1e-5
"""Absolute, and relative to the value, on log-probabilities."""


@dataclass
class GoldenReport:
    """What checking the golden cases found.

    Attributes:
        cases: how many there are.
        tokens: in all of them.
        max_difference: largest difference of a log-probability.
        failures: one line per disagreement.
    """

    cases: int = 0
    tokens: int = 0
    max_difference: float = 0.0
    failures: list[str] = field(default_factory=list)


def check_golden(predictor: Predictor) -> GoldenReport:
    """Tokenizer, ids, tags and scores of each golden case, alone and all in one ragged batch."""
    cases = predictor.metadata.golden
    report = GoldenReport(len(cases), sum(len(case.tokens) for case in cases))
    for number, case in enumerate(cases, 1):
        _check_ids(predictor, case, f"case {number}", report)
    alone = [predictor.predict(case.tokens) for case in cases]
    together = predictor.predict_batch([case.tokens for case in cases])
    for how, results in (("alone", alone), ("in a batch", together)):
        for number, (case, result) in enumerate(zip(cases, results, strict=True), 1):
            _check_result(case, result, f"case {number} {how}", report)
    return report


def _check_ids(predictor: Predictor, case: GoldenCase, where: str, report: GoldenReport) -> None:
    if case.text is not None:
        tokens = predictor.metadata.tokenizer.tokens(case.text)
        if tuple(tokens) != case.tokens:
            report.failures.append(f"{where}: the tokenizer gives {tokens}; expected {list(case.tokens)}")
    inputs = predictor.encoder.encode([case.tokens])
    for kind, expected in case.inputs.items():
        if kind not in inputs or not np.array_equal(inputs[kind][0], expected):
            found = inputs[kind][0].tolist() if kind in inputs else None
            report.failures.append(f"{where}: {kind} are {found}; expected {expected}")


def _check_result(case: GoldenCase, result: TaggedSentence, where: str, report: GoldenReport) -> None:
    if result.tags != case.tags:
        report.failures.append(f"{where}: the tags are {list(result.tags)}; expected {list(case.tags)}")
        return
    for found, expected in _logs(zip(result.scores, case.scores, strict=True)):
        difference = abs(found - expected)
        report.max_difference = max(report.max_difference, difference)
        if not (math.isfinite(difference) and difference <= TOLERANCE + TOLERANCE * abs(expected)):
            report.failures.append(f"{where}: a log-probability is {found:.7f}; expected {expected:.7f}")


def _logs(pairs: Iterable[tuple[float, float]]) -> Iterable[tuple[float, float]]:
    return ((math.log(a) if a > 0 else -math.inf, math.log(b) if b > 0 else -math.inf) for a, b in pairs)
