"""Whether a soak stayed as it began: figures of its samples, each against a stated bound, and a picture of them."""

import json
import statistics
import sys
from pathlib import Path
from typing import Any

WARM_UP = 0.1
"""Share of the run that is not judged: caches fill, the allocator takes what it will keep."""
MOST_GROWTH = 0.03
"""Of memory, resident and what the C heap has in use: from the middle third of the samples to the last, and over all of
them along the fitted line."""
LEAST_MB = 8.0
"""What the allocator may move by, however small the process is."""
LEAST_THROUGHPUT = 0.8
"""Of the slowest third against the fastest, on a machine that others may use."""
MOST_ROUNDED = 0.03
"""Of an int8 model's tokens in batches, those with another tag that alone is as good within the file's tolerance."""
PATIENCE = 60.0
"""Seconds within which every thread has to have had an answer."""


def verdict(samples: list[dict[str, Any]], counts: dict[str, Any]) -> dict[str, Any]:
    """Figures, the bound of each, and whether it is kept; ``flat`` and ``passed`` for all of them.

    Args:
        samples: in order, each with ``s`` since the start, ``tokens_per_second``, ``rss_mb``, ``fds``, ``threads`` and
            ``longest_wait_s``; ``heap_used_mb`` where it can be had.
        counts: ``wrong``, ``rounded``, ``int8``, ``errors``, ``hung`` of the whole run.
    """
    length = samples[-1]["s"]
    judged = [sample for sample in samples if sample["s"] >= WARM_UP * length]
    if len(judged) < 6:
        return {"passed": False, "why": f"{len(judged)} samples after warm-up; expected 6 or more: run it longer"}
    thirds = [judged[len(judged) * i // 3 : len(judged) * (i + 1) // 3] for i in range(3)]
    speed = [statistics.median(sample["tokens_per_second"] for sample in third) for third in thirds]
    measured = [name for name in ("rss", "heap_used") if f"{name}_mb" in judged[0]]
    grown = {name: _growth(name, judged, thirds) for name in measured}
    open_files = {sample["fds"] for sample in judged}
    threads = [max(sample["threads"] for sample in third) for third in thirds]
    rounded = counts["rounded"] / counts["int8"] if counts["int8"] else 0.0
    longest = max(sample["longest_wait_s"] for sample in samples)
    flat = {
        **{name: growth.pop("kept") for name, growth in grown.items()},
        "throughput": min(speed) >= LEAST_THROUGHPUT * max(speed),
        "fds": len(open_files) == 1,
        "threads": threads[2] <= threads[0] + 2,
    }
    right = {
        "wrong": counts["wrong"] == 0,
        "errors": counts["errors"] == 0,
        "hung": counts["hung"] == 0 and longest <= PATIENCE,
        "rounded": rounded <= MOST_ROUNDED,
    }
    return {
        "passed": all((flat | right).values()),
        "flat": flat,
        "right": right,
        "samples": len(judged),
        **{f"{name}_{figure}": value for name, growth in grown.items() for figure, value in growth.items()},
        "tokens_per_second_median_of_thirds": [round(value) for value in speed],
        "throughput_least_share": LEAST_THROUGHPUT,
        "fds": sorted(open_files),
        "threads_most_of_thirds": threads,
        "longest_wait_s": round(longest, 2),
        "rounded_share_of_int8_tokens_in_batches": rounded,
        "rounded_share_allowed": MOST_ROUNDED,
    }


def _growth(name: str, judged: list[dict[str, Any]], thirds: list[list[dict[str, Any]]]) -> dict[str, Any]:
    medians = [statistics.median(sample[f"{name}_mb"] for sample in third) for third in thirds]
    slope = statistics.linear_regression([s["s"] for s in judged], [s[f"{name}_mb"] for s in judged]).slope
    room = max(LEAST_MB, MOST_GROWTH * medians[1])
    fitted = slope * (judged[-1]["s"] - judged[0]["s"])
    return {
        "kept": medians[2] - medians[1] <= room and fitted <= room,
        "mb_median_of_thirds": [round(value, 1) for value in medians],
        "slope_mb_per_hour": round(3600 * slope, 2),
        "fitted_growth_mb": round(fitted, 2),
        "growth_allowed_mb": round(room, 1),
    }


def draw(result: dict[str, Any], path: Path) -> None:
    """Throughput and memory over the run, as a PNG."""
    from lstm_deploy.plots.picture import new_figure, write_picture

    samples = result["samples"]
    minutes = [sample["s"] / 60 for sample in samples]
    figure = new_figure(7, 4.5)
    above, below = figure.subplots(2, 1, sharex=True)
    above.plot(minutes, [sample["tokens_per_second"] / 1e3 for sample in samples], color="tab:blue")
    above.set_ylabel("thousand tokens/s")
    below.plot(minutes, [sample["rss_mb"] for sample in samples], color="tab:orange", label="resident")
    if "heap_used_mb" in samples[0]:
        below.plot(minutes, [sample["heap_used_mb"] for sample in samples], color="tab:green", label="C heap in use")
    below.plot(minutes, [sample["hwm_mb"] for sample in samples], color="grey", linestyle=":", label="highest so far")
    below.set_ylabel("MB")
    below.set_xlabel("minutes")
    below.legend(loc="lower right")
    for axes in (above, below):
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    above.set_title(
        f"{result['counts']['answers']:,} answers, {result['counts']['wrong']} wrong; "
        f"{len(result['models'])} models, {result['callers']} threads, {result['cores']} cores",
        fontsize=10,
    )
    write_picture(figure, path)


def main() -> None:
    """Draws a result again: soak_verdict.py RESULT.json PICTURE.png."""
    draw(json.loads(Path(sys.argv[1]).read_bytes()), Path(sys.argv[2]))


if __name__ == "__main__":
    main()
