"""The golden cases of a model file: does this runtime give what the file says it should?"""

import math
from dataclasses import dataclass, field

import numpy as np

from .metadata import GoldenCase
from .predictor import Predictor
from .session import Scores

_ROWS = 16
"""Rows of the batch that all cases are run in, repeated: enough for what a graph does with many rows."""


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
    """Tokenizer, ids, tags and scores of each golden case, alone and all in one ragged batch of many rows."""
    cases = predictor.metadata.golden
    report = GoldenReport(len(cases), sum(len(case.tokens) for case in cases))
    for number, case in enumerate(cases, 1):
        _check_ids(predictor, case, f"case {number}", report)
    for number, case in enumerate(cases, 1):
        _check_scores(predictor, case, _rows(predictor, [case])[0], f"case {number} alone", report)
    numbered = [(number, case) for number, case in enumerate(cases, 1) if case.tokens]
    many = numbered * -(-_ROWS // max(len(numbered), 1))
    for (number, case), scores in zip(many, _rows(predictor, [case for _, case in many]), strict=True):
        _check_scores(predictor, case, scores, f"case {number} in a batch", report)
    return report


def _rows(predictor: Predictor, cases: list[GoldenCase]) -> list[Scores]:
    """The model's answer to each case, all in one batch: (sequence,) ids and (sequence, tags) log-probabilities."""
    if not cases:
        return []
    answer = predictor.session.run(predictor.encoder.encode([case.tokens for case in cases]))
    assert answer.log_probs is not None
    lengths = [len(case.tokens) for case in cases]
    return [Scores(answer.tag_ids[i, :n], answer.log_probs[i, :n]) for i, n in enumerate(lengths)]


def _check_ids(predictor: Predictor, case: GoldenCase, where: str, report: GoldenReport) -> None:
    if case.text is not None:
        tokens = predictor.metadata.tokenizer.tokens(case.text)
        if tuple(tokens) != case.tokens:
            report.failures.append(f"{where}: the tokenizer gives {tokens}; expected {list(case.tokens)}")
    inputs = predictor.encoder.encode([case.tokens])
    for kind in inputs.keys() - case.inputs.keys() - {"lengths"}:
        report.failures.append(f"{where}: has no {kind}; expected the ids of every input")
    for kind, expected in case.inputs.items():
        if kind not in inputs or not np.array_equal(inputs[kind][0], expected):
            found = inputs[kind][0].tolist() if kind in inputs else None
            report.failures.append(f"{where}: {kind} are {found}; expected {expected}")


def _check_scores(predictor: Predictor, case: GoldenCase, found: Scores, where: str, report: GoldenReport) -> None:
    names, tolerance = predictor.metadata.tags, predictor.metadata.tolerance
    for token, (tag_id, log_probs) in enumerate(zip(found.tag_ids.tolist(), found.log_probs.tolist(), strict=True)):
        expected = math.log(case.scores[token]) if case.scores[token] > 0 else -math.inf
        value = log_probs[case.tag_ids[token]]
        # Where the two best are closer than the tolerance, either tag is right.
        if tag_id != case.tag_ids[token] and not log_probs[tag_id] - value <= tolerance + tolerance * abs(expected):
            tags = [names[i] for i in found.tag_ids.tolist()]
            report.failures.append(f"{where}: the tags are {tags}; expected {list(case.tags)}")
            return
        difference = abs(value - expected)
        report.max_difference = max(report.max_difference, difference)
        if not (math.isfinite(difference) and difference <= tolerance + tolerance * abs(expected)):
            report.failures.append(f"{where}: a log-probability is {value:.7f}; expected {expected:.7f}")
