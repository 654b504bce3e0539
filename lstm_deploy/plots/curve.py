"""The learning curve as a picture."""

from pathlib import Path
from typing import Any

from .picture import new_figure, write_picture


def draw_curve(history: list[dict[str, Any]], path: Path) -> None:
    """Loss, and dev score where there is one, against epochs, as a PNG."""
    epochs = [entry["epoch"] for entry in history]
    figure = new_figure(7, 4)
    axes = figure.add_subplot()
    marker = "o" if len(epochs) <= 40 else None
    axes.plot(epochs, [entry["loss"] for entry in history], color="tab:blue", marker=marker, label="training loss")
    axes.set_xlabel("epoch")
    axes.set_ylabel("training loss", color="tab:blue")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    scored = [entry for entry in history if entry.get("dev")]
    if scored:
        other = axes.twinx()
        for name, color in (("accuracy", "tab:orange"), ("entity_f1", "tab:green")):
            points = [(entry["epoch"], 100 * entry["dev"][name]) for entry in scored if name in entry["dev"]]
            if points:
                other.plot(
                    *zip(*points, strict=True), color=color, marker=marker, label=f"dev {name.replace('_', ' ')}"
                )
        best = max(scored, key=lambda entry: entry["dev"]["score"])
        other.axvline(best["epoch"], color="grey", linestyle=":", label=f"kept: epoch {best['epoch']}")
        other.set_ylabel("dev score, %")
        other.legend(loc="center right")
    write_picture(figure, path)
