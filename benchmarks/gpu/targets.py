"""What was asked of CUDA, what was predicted before anything ran there, what a run got; the table for people."""

from collections.abc import Callable
from typing import Any

# Predicted before the first run, from arithmetic alone. Two bidirectional layers of 512 on vectors of 100 take 17.6
# million operations a token: half in products with the input, which a GPU of 60 TFLOP/s in fp32 does at about 40, half
# in the recurrence, step by step, at about 20. That is 0.65 us a token, 1.5 million tokens/s, for PyTorch and
# onnxruntime alike, since both call cuDNN. onnxruntime adds two copies of each layer's output (2 %) and a wait after
# each batch (3 %): 0.95. `reverse_sequence` runs the two directions one after the other instead of side by side: 0.8
# of `sequence_lens` where a step does not fill the GPU, 0.95 where it does. Encoding and decoding take 0.3 us a token
# of one core, on a second thread while the GPU works: 0.85 of bare. A core does about 70 GFLOP/s, 16 of them 64,000
# tokens/s: 20 times less. One sentence is 40 steps of small products, about 20 us each: 1 ms, against 6 on the CPU,
# which reads 17 MB of recurrent weights for each of 20 words. So at H512 CUDA wins from one sentence on; at H128 the
# CPU takes 0.2 ms for one, and 16 cores do 2 million tokens/s: not below 10,000 tokens a call. onnxruntime's LSTM asks
# cuDNN for plain fp32 whatever is said of TF32: next to no gain. Memory: 65,536 cells x 30 kB (one layer's gates,
# output and two copies of it) x 2 threads = 4 GB, in an arena that grows by powers of two.
PREDICTED: dict[str, float | str] = {
    "outside": 0,
    "tags": 0,
    "of_pytorch": 0.95,
    "of_bare": 0.85,
    "of_cpu": 20,
    "latency": "H512: 1 on CUDA, 6 on the CPU; H128: 0.6, 0.2",
    "busy": 90,
    "form": 0.85,
    "taken": 5000,
    "tf32": 1.02,
    "crossover": "H512: 20 or fewer; H128: 10,000 or more",
    "order": "PyTorch first alone",
    "memory": 1,
    "tests": 0,
}


def rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    """An entry for each thing asked: ``asked``, ``predicted``, ``got`` (None: not measured), ``met`` (None: stated)."""
    parts = result["parts"]

    def entry(
        key: str, figure: str, asked: str, read: Callable[[], Any], met: Callable[[Any], bool] | None = None
    ) -> dict[str, Any]:
        try:
            got = read()
        except KeyError:  # a part that was not run
            got = None
        verdict = None if got is None or met is None else met(got)
        return {"figure": figure, "asked": asked, "predicted": PREDICTED[key], "got": got, "met": verdict}

    def both(name: str) -> int:
        found = [parts["parity: small and middling batches"], parts.get("parity: large batches", {})]
        return sum(part.get(name, 0) for part in found)

    def tf32_gain() -> float:
        rate = {name: v["median"] for name, v in parts["speed: arena and TF32"]["rates"].items()}
        return rate["next_power_of_two, TF32 on"] / rate["next_power_of_two, TF32 off"]

    return [
        entry("outside", "scores beyond 1e-5 + 1e-5 |value| from PyTorch's", "0", lambda: both("outside"), _none),
        entry(
            "tags",
            "tags that differ from PyTorch's, ties apart",
            "0",
            lambda: both("tag_differences") + both("other_tags_without_scores"),
            _none,
        ),
        entry(
            "of_pytorch",
            "bare session / PyTorch's cuDNN LSTM, best of each",
            "at least 0.9",
            lambda: parts["speed: bare"]["of_pytorch"],
            lambda got: got >= 0.9,
        ),
        entry(
            "of_bare",
            "words to tags / bare session",
            "at least 0.7",
            lambda: parts["speed: stream"]["of_bare"],
            lambda got: got >= 0.7,
        ),
        entry(
            "of_cpu",
            "words to tags / the same on all cores of the CPU",
            "at least 10",
            lambda: parts["speed: stream"]["of_cpu"],
            lambda got: got >= 10,
        ),
        entry("latency", "one sentence of 20 words, p50 in ms", "stated", lambda: _latency(parts)),
        entry(
            "busy",
            "percent of the time that the GPU is busy in the stream",
            "stated",
            lambda: parts["speed: stream"]["gpu_meanwhile"]["busy_percent"],
        ),
        entry("form", "reverse_sequence / sequence_lens, bare, least of all sizes", "stated", lambda: _form(parts)),
        entry("taken", "GPU memory of the predictor at its defaults, MB", "stated", lambda: _taken(parts)),
        entry("tf32", "words to tags, TF32 on / off", "stated", tf32_gain),
        entry("crossover", "tokens a call from which it beats the CPU", "stated", lambda: _crossover(parts)),
        entry("order", "orders of import that work", "stated", lambda: _orders(parts)),
        entry(
            "memory",
            "a batch beyond the memory is halved and run again",
            "1",
            lambda: int(parts["probe: memory runs out"]["holds"]),
            lambda got: got == 1,
        ),
        entry("tests", "tests marked gpu that fail", "0", lambda: parts["tests"]["failed"], _none),
    ]


def table(result: dict[str, Any]) -> str:
    """Markdown: where it ran, what was asked and got, what was not run, the rates."""
    machine, versions = result["machine"], result["versions"]
    load = f"{machine['load_before']:.1f} before, {result['load_after']:.1f} after"
    where = machine["gpu"] or "no GPU"
    lines = [
        f"{where}, driver {machine['driver'] or 'none'}, {machine['cores']} cores of {machine['processor']}, "
        f"load {load}, {result['date']}; Python {machine['python']}, "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + f"; {result['seconds']:.0f} s in all.",
        *(["", f"**{result['rehearsal']}**"] if result["rehearsal"] else []),
        "",
        "| figure | asked | predicted | got | met |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {_cell(r['figure'])} | {r['asked']} | {r['predicted']} | {_cell(_number(r['got']))} | {_verdict(r)} |"
        for r in result["targets"]
    ]
    for name in ("speed: bare", "speed: stream"):
        if name in result["parts"]:
            part = result["parts"][name]
            lines += ["", f"| {name.removeprefix('speed: ')}, {part['tagger']} | tokens/s, median | min | max |"]
            lines.append("| --- | --- | --- | --- |")
            ordered = sorted(part["rates"].items(), key=lambda item: -item[1]["median"])
            lines += [f"| {n} | {v['median']:,.0f} | {v['min']:,.0f} | {v['max']:,.0f} |" for n, v in ordered]
    if "speed: threads and batches" in result["parts"]:
        lines += _sweep(result["parts"]["speed: threads and batches"])
    lines += ["", "Not run: " + ("; ".join(f"{e['part']} ({e['why']})" for e in result["not_run"]) or "nothing") + "."]
    lines += [
        "",
        "Failed: " + ("; ".join(f"{e['part']} ({e['problem']})" for e in result["failed"]) or "nothing") + ".",
    ]
    lines += ["", "Unproved on a GPU: " + "; ".join(result["unproved"]) + "."]
    return "\n".join(lines)


def _sweep(part: dict[str, Any]) -> list[str]:
    lines = ["", "| form | threads | cells a batch | tokens/s | GPU memory, MB |", "| --- | --- | --- | --- | --- |"]
    for c in part["cells"]:
        memory = "-" if c["memory_mb"] is None else f"{c['memory_mb']:,.0f}"
        defaults = " (defaults)" * c["by_default"]
        lines.append(
            f"| {c['form']} | {c['threads']}{defaults} | {c['batch_tokens']:,} | {c['tokens_per_second']:,.0f} "
            f"| {memory} |"
        )
    return lines


def _none(got: int) -> bool:
    return got == 0


def _latency(parts: dict[str, Any]) -> str:
    found = parts["speed: latency"]["milliseconds"]
    return "; ".join(
        f"{tagger}: " + ", ".join(f"{name} {times['p50']:.2f}" for name, times in each.items())
        for tagger, each in found.items()
    )


def _form(parts: dict[str, Any]) -> float:
    return min(each["reverse_sequence_over_sequence_lens"] for each in parts["speed: graph forms"].values())


def _taken(parts: dict[str, Any]) -> float | None:
    cells = parts["speed: threads and batches"]["cells"]
    return max((c["memory_mb"] for c in cells if c["by_default"] and c["memory_mb"] is not None), default=None)


def _crossover(parts: dict[str, Any]) -> str:
    return "; ".join(f"{name}: {each['tokens'] or 'none'}" for name, each in parts["speed: crossover"].items())


def _orders(parts: dict[str, Any]) -> str:
    orders = parts["probe: import order"]["orders"]
    return ", ".join(name for name, each in orders.items() if each["works"]) or "none"


def _number(got: Any) -> str:
    if got is None:
        return "not measured"
    if isinstance(got, float):
        return f"{got:,.0f}" if got >= 1000 else f"{got:.3g}"
    return str(got)


def _verdict(row: dict[str, Any]) -> str:
    if row["got"] is None:
        return "-"
    return {None: "stated", True: "yes", False: "NO"}[row["met"]]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
