"""What rounding the weights costs in accuracy, measured on a development set, and how much it may."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import AccuracyError, InputError
from ..scoring import Scorer
from ..streaming import AnyPredictor
from ..training.corpus import read_corpus

MAX_DROP = 0.1
"""Points (hundredths) of accuracy, and of entity F1 where the tags are IOB2."""


@dataclass(frozen=True)
class Rounding:
    """How to round, and what it may cost.

    Attributes:
        precision: any but ``fp32``.
        dev: gold file to measure the cost on.
        max_drop: points that accuracy (and entity F1) may fall by.
    """

    precision: Literal["fp16", "rows8", "int8"]
    dev: Path
    max_drop: float = MAX_DROP


def rounding_cost(exact: AnyPredictor, rounded: AnyPredictor, settings: Rounding, name: str) -> dict[str, Any]:
    """Scores of both files on the development set, and how far they agree.

    Returns:
        ``data``, ``sha256``, ``tokens``; ``exact`` and ``rounded``: scores as fractions; ``drop``: the
        largest fall, in points; ``max_drop``; ``same_tags``: fraction of tags that are equal.

    Raises:
        AccuracyError: a score falls by more than ``settings.max_drop``; ``name`` names the file.
        InputError: malformed, or no sentence in it.
    """
    if settings.dev.exists() and not settings.dev.is_file():
        raise InputError(f"{settings.dev}: not a regular file; expected one that can be read twice: save it first")
    column = exact.metadata.column
    gold = read_corpus([settings.dev], column, held_out=True).sentences
    scores, answers = {}, {}
    for kind, predictor in (("exact", exact), ("rounded", rounded)):
        scorer = Scorer(predictor.metadata.tags)
        answers[kind] = [r.tags for r in predictor.predict_batch([s.tokens for s in gold])]
        for sentence, tags in zip(gold, answers[kind], strict=True):
            scorer.add(sentence.tags, tags)
        scores[kind] = _headline(scorer.report())
    pairs = [pair for a, b in zip(answers["exact"], answers["rounded"], strict=True) for pair in zip(a, b, strict=True)]
    drop = max(100 * (scores["exact"][key] - scores["rounded"][key]) for key in scores["exact"])
    if drop > settings.max_drop:
        figures = ", ".join(f"{key} {100 * value:.2f} % from {100 * scores['exact'][key]:.2f} %"
                            for key, value in scores["rounded"].items())  # fmt: skip
        raise AccuracyError(
            f"{name}: {settings.precision} costs {drop:.2f} points on {settings.dev} ({figures}), expected at most "
            f"{settings.max_drop:g}; no file was written; raise --max-drop, or export fp16 or fp32"
        )
    return {
        "data": settings.dev.name,
        "sha256": hashlib.sha256(settings.dev.read_bytes()).hexdigest(),
        "tokens": len(pairs),
        **scores,
        "drop": drop,
        "max_drop": settings.max_drop,
        "same_tags": sum(a == b for a, b in pairs) / len(pairs),
    }


def _headline(report: dict[str, Any]) -> dict[str, float]:
    scores = {"accuracy": report["accuracy"]}
    if report.get("entities"):
        scores["f1"] = report["entities"]["f1"]
    return scores
