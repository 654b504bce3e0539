"""The benchmark's result for people: ratios against targets, a table, a picture."""

import json
import sys
from pathlib import Path
from typing import Any

OURS, INT8 = "lstm-deploy fp32", "lstm-deploy int8"


def ratios(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Each figure that is promised: what was reached, and what was aimed at."""
    rate = {name: v["median"] for name, v in result["tokens_per_second"].items()}
    p50 = {name: v["p50"] for name, v in result["latency"].items()}
    bare = {name: v["median"] for name, v in result["bare_tokens_per_second"].items()}
    cold = {name: v["seconds"]["median"] for name, v in result["cold"].items()}
    alone = result["predictor"]
    flop = result["lstm_flop_per_token"]
    streams = {name: {int(k): v for k, v in alone[name]["streams"].items()} for name in alone}
    callers = {name: {int(k): v["median"] for k, v in alone[name]["callers"].items()} for name in alone}

    def best(name: str, figures: dict[str, float], choose: Any = max) -> float | None:
        return choose((v for k, v in figures.items() if k.startswith(name)), default=None)

    def against(value: float, other: float | None) -> float | None:
        return value / other if other else None

    def faster(other: float | None, value: float) -> float | None:
        return other / value if other else None

    rows: list[tuple[str, float | None, float]] = [
        ("words to tags, int8 / spaCy", against(rate[INT8], best("spaCy", rate)), 18),
        ("words to tags, int8 / UDPipe", against(rate[INT8], best("UDPipe", rate)), 20),
        ("words to tags, fp32 / PyTorch's best", against(rate[OURS], best("PyTorch", rate)), 1.0),
        ("words to tags, int8 / PyTorch's best", against(rate[INT8], best("PyTorch", rate)), 1.6),
        ("LSTM's operations, fp32 end to end / GEMM rate",
         rate[OURS] * flop / 1e9 / result["roofline"]["fp32"]["giga_per_second"], 0.70),
        ("int8 / fp32", rate[INT8] / rate[OURS], 2.0),
        ("points of accuracy that int8 loses", 100 * (result["accuracy"][OURS] - result["accuracy"][INT8]), 0.1),
        ("one 20-word sentence, p50, spaCy / int8", faster(best("spaCy", p50, min), p50[INT8]), 10),
        ("one 20-word sentence, p50, PyTorch / int8", faster(best("PyTorch", p50, min), p50[INT8]), 4),
        ("fp32 end to end / bare session", rate[OURS] / bare[OURS], 0.85),
        ("int8 end to end / bare session", rate[INT8] / bare[INT8], 0.85),
        ("int8 tokens/s at 10^7 / at 10^5", streams["int8"][10**7]["tokens_per_second"]
         / streams["int8"][10**5]["tokens_per_second"], 0.95),
        ("MB of growth over 10^7 tokens, int8", streams["int8"][10**7]["growth_mb"], 20),
        ("single sentences, 2 callers / 1, fp32", callers["fp32"][2] / callers["fp32"][1], 1.7),
        ("single sentences, 2 callers / 1, int8", callers["int8"][2] / callers["int8"][1], 1.7),
        ("import, load, first answer, PyTorch / int8", cold["PyTorch"] / cold[INT8], 4),
    ]  # fmt: skip
    return [{"figure": name, "got": got, "target": target, "at_most": name.startswith(("points", "MB"))}
            for name, got, target in rows]  # fmt: skip


def table(result: dict[str, Any]) -> str:
    """Markdown."""
    facts = result["machine"]
    text = result["text"]
    lines = [
        f"{text['tokens']:,} tokens in {text['sentences']:,} sentences ({', '.join(text['files'])}), words in and tags "
        f"out, {result['rounds']} alternating rounds, {facts['date']}, {facts['cores']} cores of {facts['processor']}, "
        f"load {facts['load_before'][0]:.1f} before, {result['load_after'][0]:.1f} after; Python {facts['python']}, "
        + ", ".join(f"{name} {version}" for name, version in facts["versions"].items()),
        *[f"\nNot measured: {who}" for who in result["absent"]],
        "",
        "| contender | tokens/s, median | min | max | 20 words p50, ms | p99 | accuracy | as PyTorch | peak MB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, v in sorted(result["tokens_per_second"].items(), key=lambda item: -item[1]["median"]):
        one = result["latency"].get(name)
        times = f"{1e3 * one['p50']:.2f} | {1e3 * one['p99']:.2f}" if one else "- | -"
        lines.append(
            f"| {name} | {v['median']:,.0f} | {v['min']:,.0f} | {v['max']:,.0f} | {times} | "
            f"{100 * result['accuracy'][name]:.2f} % | {100 * result['same_tags_as_pytorch'][name]:.2f} % | "
            f"{result['peak_mb'][name]:.0f} |"
        )
    lines += ["", "| promise | got | at least |", "| --- | --- | --- |"]
    lines += [
        f"| {r['figure']} | {_number(r['got'])} | {'at most ' * r['at_most']}{r['target']:g} |"
        for r in result["ratios"]
    ]
    lines += ["", "| import, load, first answer | s, median | min | max | peak MB |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {name} | {v['seconds']['median']:.2f} | {v['seconds']['min']:.2f} | {v['seconds']['max']:.2f} | "
        f"{v['peak_mb']['median']:.0f} |"
        for name, v in result["cold"].items()
    ]
    sizes = list(result["predictor"]["fp32"]["streams"])
    lines += ["", _row("predictor", [f"{int(n):,} tokens" for n in sizes]), "| --- |" + " --- |" * len(sizes)]
    for name, found in result["predictor"].items():
        streams = found["streams"].values()
        lines.append(_row(f"{name}, tokens/s", [f"{v['tokens_per_second']:,.0f}" for v in streams]))
        lines.append(_row(f"{name}, growth in MB", [f"{v['growth_mb']:.1f}" for v in streams]))
    counts = list(result["predictor"]["fp32"]["callers"])
    lines += ["", _row("single sentences, tokens/s", [f"{n} callers" for n in counts])]
    lines.append("| --- |" + " --- |" * len(counts))
    for name, found in result["predictor"].items():
        lines.append(_row(name, [f"{v['median']:,.0f}" for v in found["callers"].values()]))
    rate = result["roofline"]["fp32"]["giga_per_second"]
    lines += ["", "| hidden x layers | fp32 tokens/s | int8 | PyTorch bucketed | fp32 / PyTorch | int8 / fp32 | "
              "fp32 of GEMM rate | fp32 MB | int8 MB |", "| --- |" + " --- |" * 8]  # fmt: skip
    for size in result["sizes"]:
        fp32, int8, torch = (size["tokens_per_second"][name] for name in ("fp32", "int8", "PyTorch"))
        lines.append(
            f"| {size['hidden']} x {size['layers']} | {fp32:,.0f} | {int8:,.0f} | {torch:,.0f} | {fp32 / torch:.2f} | "
            f"{int8 / fp32:.2f} | {100 * fp32 * size['lstm_flop_per_token'] / 1e9 / rate:.0f} % | "
            f"{size['file_mb']['fp32']:.1f} | {size['file_mb']['int8']:.1f} |"
        )
    roof = result["roofline"]
    lines += [
        "",
        "Matrix products on all cores: "
        + ", ".join(
            f"{kind} {roof[kind]['giga_per_second']:,.0f} G/s ({roof[kind]['reached_by'][0]}, "
            f"{'x'.join(map(str, roof[kind]['reached_by'][2]))})"
            for kind in ("fp32", "int8")
        )
        + f"; the LSTM takes {result['lstm_flop_per_token']:,} operations a token.",
        "",
        "Files: "
        + ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in result["files"].items())
        + "; installed: "
        + ", ".join(f"{name} {size:,.0f} MB" for name, size in facts["installed_mb"].items())
        + ".",
    ]
    return "\n".join(lines)


def summary(result: dict[str, Any]) -> str:
    """The part of the README that quotes the benchmark, as Markdown."""
    facts, rate, cold = result["machine"], result["tokens_per_second"], result["cold"]
    shown = [OURS, INT8, "PyTorch bucketed", "spaCy", "UDPipe"]
    lines = [
        f"On {facts['cores']} cores of an {facts['processor'].replace('(R)', '')} "
        f"({', '.join(facts['instructions'])}), load "
        f"{facts['load_before'][0]:.1f} before and {result['load_after'][0]:.1f} after, {facts['date']}; "
        + ", ".join(f"{name} {v}" for name, v in facts["versions"].items() if name != "lstm-deploy")
        + ". UD English EWT, test and dev,",
        f"{result['text']['tokens']:,} tokens, words in and tags out, all contenders trained on its train "
        f"part, each in its best arrangement on the same cores, in turns, medians of {result['rounds']} rounds",
        "(`make bench`; [all figures](benchmarks/results/bench.md), [what was tried](benchmarks/NOTES.md)):",
        "",
        "| | tokens/s | int8 is | one sentence of 20 words, ms | start to first answer, s | peak there, MB | UPOS |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in shown:
        alike = [k for k in rate if k == name or (name not in (OURS, INT8) and k.startswith(name.split()[0]))]
        if not alike:
            continue
        best = max(alike, key=lambda k: rate[k]["median"])
        first = cold.get(name) or cold.get(name.split()[0])
        start = f"{first['seconds']['median']:.2f} | {first['peak_mb']['median']:.0f}" if first else "- | -"
        lines.append(
            f"| {best} | {rate[best]['median']:,.0f} | {rate[INT8]['median'] / rate[best]['median']:.1f} x | "
            f"{1e3 * result['latency'][name]['p50']:.2f} | {start} | {100 * result['accuracy'][best]:.2f} % |"
        )
    size, installed = result["files"], facts["installed_mb"]
    lines += [
        "",
        f"fp32 gives PyTorch's tag on {100 * result['same_tags_as_pytorch'][OURS]:.2f} % of them, int8 on "
        f"{100 * result['same_tags_as_pytorch'][INT8]:.2f} %. Files: {size['fp32'] / 1e6:.1f} and "
        f"{size['int8'] / 1e6:.1f} MB; installed: {installed['lstm-deploy']:.0f} MB against "
        f"{installed['PyTorch']:.0f} for PyTorch (CPU build).",
    ]
    return "\n".join(lines)


def plot(result: dict[str, Any], path: Path) -> None:
    """Throughput, latency, scaling with work, with sentence length, with the batch."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(13, 9), layout="constrained")
    _bars(axes[0, 0], {k: v["median"] / 1e3 for k, v in result["tokens_per_second"].items()}, "thousand tokens/s")
    axes[0, 0].set_title(f"Words in, tags out, {result['machine']['cores']} cores (more is better)")
    _bars(axes[0, 1], {k: 1e3 * v["p50"] for k, v in result["latency"].items()}, "ms", least_first=True)
    axes[0, 1].set_title("One sentence of 20 words, median (less is better)")
    for name, times in result["latency_by_length"].items():
        axes[1, 0].plot([int(n) for n in times], [1e3 * t for t in times.values()], marker="o", label=name)
    axes[1, 0].set(xscale="log", yscale="log", xlabel="words", ylabel="ms", title="One sentence alone, by its length")
    for name, found in result["predictor"].items():
        axes[1, 1].plot([int(n) for n in found["batch_tokens"]], [v / 1e3 for v in found["batch_tokens"].values()],
                        marker="o", label=f"{name}, by cells a batch")  # fmt: skip
        axes[1, 1].plot([int(n) for n in found["streams"]],
                        [v["tokens_per_second"] / 1e3 for v in found["streams"].values()],
                        marker="s", linestyle="--", label=f"{name}, by tokens in all")  # fmt: skip
    axes[1, 1].set(xscale="log", ylim=(0, None), xlabel="tokens", ylabel="thousand tokens/s", title="The predictor")
    for axis in axes[1]:
        axis.legend(fontsize=8)
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _bars(axis: Any, values: dict[str, float], unit: str, *, least_first: bool = False) -> None:
    ordered = sorted(values.items(), key=lambda item: item[1], reverse=least_first)
    bars = axis.barh(
        [name for name, _ in ordered],
        [value for _, value in ordered],
        color=["#0b6e4f" if name.startswith("lstm-deploy") else "#9aa5b1" for name, _ in ordered],
    )
    axis.bar_label(
        bars, labels=[f"{value:,.3g}" if value < 100 else f"{value:,.0f}" for _, value in ordered], padding=3
    )
    axis.set_xlabel(unit)
    axis.margins(x=0.12)


def main() -> None:
    """Draws table and picture of a result again, and prints the README's part: report.py FOLDER."""
    folder = Path(sys.argv[1])
    result = json.loads((folder / "bench.json").read_text(encoding="utf-8"))
    (folder / "bench.md").write_text(table(result) + "\n", encoding="utf-8")
    plot(result, folder / "bench.png")
    print(summary(result))


def _row(head: str, cells: list[str]) -> str:
    return f"| {head} | {' | '.join(cells)} |"


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    main()
