"""Predicted against gold tags: accuracy, each tag's precision, recall and F1, entity F1."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .entities import entities, is_iob2
from .metadata import Column
from .segmentation import SENTENCE, TOKEN

_NAME = len("unknown words")
_BINS = 15
"""Of confidence, equally wide: as Guo et al. 2017, "On Calibration of Modern Neural Networks"."""


class Scorer:
    """Counts sentence by sentence, so that a corpus of any size takes constant memory.

    Args:
        tags: the model's tags; entity scores are given where they are IOB2.
    """

    def __init__(self, tags: Iterable[str]) -> None:
        self._iob2 = is_iob2(tags)
        self._pairs: Counter[tuple[str, str]] = Counter()  # (gold, predicted)
        self._unknown = Counter[bool]()  # of words not in the vocabulary: tagged right?
        self._gold: Counter[str] = Counter()  # entities by type
        self._found: Counter[str] = Counter()
        self._right: Counter[str] = Counter()
        self._sentences = 0
        self._sure = np.zeros((3, _BINS))  # by confidence: words, sum of the confidences, right ones

    def add(
        self,
        gold: Sequence[str],
        predicted: Sequence[str],
        unknown: Sequence[bool] | None = None,
        scores: Sequence[float] = (),
    ) -> None:
        """Counts one sentence.

        Args:
            gold: the right tags.
            predicted: as many predicted ones.
            unknown: whether each word is missing from the vocabulary.
            scores: the probability of each predicted tag, or none.

        Raises:
            ValueError: they differ in number.
        """
        if len(gold) != len(predicted):
            raise ValueError(f"{len(gold)} gold tags but {len(predicted)} predicted ones")
        self._sentences += 1
        self._pairs.update(zip(gold, predicted, strict=True))
        if unknown is not None:
            self._unknown.update(g == p for g, p, new in zip(gold, predicted, unknown, strict=True) if new)
        if len(scores):
            self._weigh(np.array(scores), np.array([g == p for g, p in zip(gold, predicted, strict=True)]))
        if self._iob2:
            right, found = set(entities(gold)), set(entities(predicted))
            self._gold.update(entity.type for entity in right)
            self._found.update(entity.type for entity in found)
            self._right.update(entity.type for entity in right & found)

    def _weigh(self, scores: NDArray[np.float64], right: NDArray[np.bool_]) -> None:
        bins = np.clip((scores * _BINS).astype(np.int64), 0, _BINS - 1)
        for row, weights in enumerate((None, scores, right)):
            self._sure[row] += np.bincount(bins, weights, _BINS)

    def report(self) -> dict[str, Any]:
        """All figures as a JSON object; rates are fractions from 0 to 1, None where there is nothing to count."""
        tokens = self._pairs.total()
        right = sum(n for (gold, predicted), n in self._pairs.items() if gold == predicted)
        gold, found = Counter[str](), Counter[str]()
        for (g, p), n in self._pairs.items():
            gold[g] += n
            found[p] += n
        report: dict[str, Any] = {
            "sentences": self._sentences,
            "tokens": tokens,
            "accuracy": right / tokens if tokens else None,
            "unknown_words": {
                "tokens": self._unknown.total(),
                "accuracy": self._unknown[True] / self._unknown.total() if self._unknown else None,
            },
            "tags": {
                tag: rates(self._pairs[tag, tag], found[tag], gold[tag]) for tag in sorted(gold.keys() | found.keys())
            },
            "confusion": {tag: {p: n for (g, p), n in sorted(self._pairs.items()) if g == tag} for tag in sorted(gold)},
        }
        if self._sure[0].any():
            report["calibration"] = self._calibration()
        if self._iob2:
            kinds = sorted(self._gold.keys() | self._found.keys())
            report["entities"] = rates(self._right.total(), self._found.total(), self._gold.total()) | {
                "types": {kind: rates(self._right[kind], self._found[kind], self._gold[kind]) for kind in kinds}
            }
        return report

    def _calibration(self) -> dict[str, Any]:
        """How far confidence is from accuracy, on average over words; and bin by bin."""
        words, confidences, right = self._sure
        bins = [
            {
                "from": i / _BINS,
                "to": (i + 1) / _BINS,
                "words": int(words[i]),
                "confidence": confidences[i] / words[i] if words[i] else None,
                "accuracy": right[i] / words[i] if words[i] else None,
            }
            for i in range(_BINS)
        ]
        return {
            "expected_error": float(np.abs(confidences - right).sum() / words.sum()),
            "confidence": float(confidences.sum() / words.sum()),
            "bins": bins,
        }


def headline(report: dict[str, Any], column: Column = "tag") -> float:
    """The figure by which models are chosen: entity F1 where there are entities, else accuracy.

    Of a segmenter, nearly all of whose characters begin nothing, the mean F1 of beginnings of words and of sentences.
    """
    if column == "segmentation":
        return sum(report["tags"][tag]["f1"] for tag in (SENTENCE, TOKEN) if tag in report["tags"]) / 2
    return report["entities"]["f1"] if "entities" in report else report["accuracy"] or 0.0


def rates(right: int, found: int, gold: int) -> dict[str, Any]:
    """Precision, recall, their harmonic mean, and the support; 0 where a division has no answer, as scikit-learn."""
    return {
        "precision": right / found if found else 0.0,
        "recall": right / gold if gold else 0.0,
        "f1": 2 * right / (found + gold) if found + gold else 0.0,
        "support": gold,
    }


def describe(report: dict[str, Any]) -> str:
    """`Scorer.report` for people, several lines."""
    unknown = report["unknown_words"]
    lines = [
        f"{'accuracy':<{_NAME}}  {_percent(report['accuracy'])} of {report['tokens']:,} words",
        f"{'unknown words':<{_NAME}}  {_percent(unknown['accuracy'])} of {unknown['tokens']:,}",
    ]
    if sure := report.get("calibration"):
        lines.append(
            f"{'confidence':<{_NAME}}  {_percent(sure['confidence'])} on average, expected calibration error "
            f"{_percent(sure['expected_error'])}"
        )
    if "entities" in report:
        lines.append(row("entities", report["entities"], _NAME))
        lines += [row(kind, rates, _NAME) for kind, rates in report["entities"]["types"].items()]
    width = max((len(tag) for tag in report["tags"]), default=0)
    lines += ["", *(row(tag, rates, width) for tag, rates in report["tags"].items())]
    return "\n".join(lines)


def row(name: str, rates: dict[str, Any], width: int) -> str:
    """`rates` for people, a line that starts with ``name``, filled up to ``width``."""
    figures = "  ".join(f"{key} {100 * rates[key]:6.2f}" for key in ("precision", "recall", "f1"))
    return f"{name:<{width}}  {figures}  of {rates['support']:,}"


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:.2f} %"
