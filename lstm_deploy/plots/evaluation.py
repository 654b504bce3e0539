"""What `lstm-deploy eval --plots` draws of a report of `lstm_deploy.scoring`."""

from pathlib import Path
from typing import Any

import numpy as np

from .picture import new_figure, write_picture

_MOST_TAGS = 40
"""More than that are no longer legible: then those with most words."""


def draw_evaluation(report: dict[str, Any], folder: Path) -> list[Path]:
    """A confusion matrix and, where the model gives probabilities, a reliability diagram; their files.

    Raises:
        MissingDependencyError: no matplotlib.
        OutputError: the folder cannot be written to.
    """
    written = [_confusion(report, folder / "confusion.png")]
    if "calibration" in report:
        written.append(_reliability(report["calibration"], folder / "reliability.png"))
    return written


def _confusion(report: dict[str, Any], path: Path) -> Path:
    """Rows are gold tags; each is coloured by the share of its words, and has their number where one fits."""
    support = {tag: rates["support"] for tag, rates in report["tags"].items()}
    tags = sorted(sorted(support, key=lambda tag: -support[tag])[:_MOST_TAGS])
    counts = np.array([[report["confusion"].get(gold, {}).get(found, 0) for found in tags] for gold in tags])
    shares = counts / np.maximum([[support[tag]] for tag in tags], 1)
    side = 2.5 + 0.34 * len(tags)
    figure = new_figure(side + 0.8, side)
    axes = figure.add_subplot()
    # The root shows what is rare: a confusion of 1 % is worth seeing beside 99 % that are right.
    image = axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(tags)), tags, rotation=90, fontsize=8)
    axes.set_yticks(range(len(tags)), tags, fontsize=8)
    axes.set_xlabel("predicted")
    axes.set_ylabel("gold")
    left_out = len(support) - len(tags)
    more = f", the {len(tags)} commonest tags of {len(support)}" if left_out else ""
    axes.set_title(f"{report['tokens']:,} words, {100 * report['accuracy']:.2f} % right{more}", fontsize=10)
    for row, column in zip(*np.nonzero(counts), strict=True):
        colour = "white" if shares[row, column] > 0.4 else "black"
        size = 6 if counts[row, column] < 1000 else 5
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=size, color=colour)
    bar = figure.colorbar(image, shrink=0.7, label="share of the gold tag's words")
    marks = [0, 0.01, 0.05, 0.2, 0.5, 1]
    bar.set_ticks(np.sqrt(marks), labels=[f"{100 * mark:g} %" for mark in marks])
    write_picture(figure, path)
    return path


def _reliability(calibration: dict[str, Any], path: Path) -> Path:
    """Accuracy against confidence, bin by bin, over how many words are in each."""
    bins = calibration["bins"]
    figure = new_figure(5.5, 6)
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    centres = [(b["from"] + b["to"]) / 2 for b in bins]
    widths = [b["to"] - b["from"] for b in bins]
    full = [b for b in bins if b["words"]]
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", label="as sure as right")
    axes.plot(
        [b["confidence"] for b in full], [b["accuracy"] for b in full], color="tab:blue", marker="o", label="the model"
    )
    axes.set_ylabel("share that is right")
    axes.set_title(f"expected calibration error {100 * calibration['expected_error']:.2f} %", fontsize=10)
    axes.legend(loc="upper left")
    axes.grid(alpha=0.3)
    below.bar(centres, [b["words"] for b in bins], width=widths, color="tab:blue", edgecolor="white")
    below.set_yscale("log")
    below.set_ylabel("words")
    below.set_xlabel("confidence: probability of the chosen tag")
    below.set_xlim(0, 1)
    write_picture(figure, path)
    return path
