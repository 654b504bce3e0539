"""How fast: bare sessions against PyTorch's cuDNN LSTM, words to tags against the bare session and the CPU, latency."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.gpu.measuring import SEED, Bench, GpuSampler, in_turns, rates, seconds
from benchmarks.gpu.models import FORMS, Shape
from benchmarks.gpu.rivals import Arrangement, PyTorchSide, arranged, run_bound, run_plain, run_shared
from lstm_deploy import Predictor
from lstm_deploy.metadata import GraphForm
from lstm_deploy.providers import available_cores

MAIN, DEFAULT = Shape(2, 512), Shape(1, 128)
"""The tagger that the promises are about, and the size that is trained by default."""
SUBWORDS = Shape(2, 512, subwords=True)
BUDGETS = (4096, 16_384, 65_536, 262_144)
THREADS = (1, 2, 3)
ROUNDS = 5
SENTENCE = 20
_ALONE = 200
_STREAM_SECONDS = 6.0
_CALLS = ((1, 5), *((rows, SENTENCE) for rows in (1, 2, 4, 8, 16, 32, 64, 128, 512, 2048)))
_SURE = 4
"""CUDA this many times faster than the CPU: larger calls are not measured."""


def main_shape(bench: Bench) -> Shape:
    """The tagger of the promises; in a rehearsal a small one."""
    return DEFAULT if bench.quick else MAIN


def text_tokens(bench: Bench) -> int:
    """Of the text of most measurements: a few hundred milliseconds on a large GPU."""
    return 3000 if bench.quick else 400_000


def _rounds(bench: Bench) -> int:
    return 2 if bench.quick else ROUNDS


def _budgets(bench: Bench) -> tuple[int, ...]:
    return (256, 1024) if bench.quick else BUDGETS


def bare(bench: Bench) -> dict[str, Any]:
    """Sessions and PyTorch on the same weights and batches: first each arrangement once, then the best in turns."""
    shape = main_shape(bench)
    text = bench.text(shape, text_tokens(bench))
    tokens = sum(map(len, text))
    sessions = {form: bench.session(shape, form) for form in FORMS}
    encoder = bench.predictor(shape, FORMS[0], threads=1).encoder
    ours: dict[tuple[str, str, int], float] = {}
    theirs: dict[tuple[str, str, int], float] = {}
    batches = {}
    arrangements: tuple[Arrangement, ...] = ("ragged", "equal", "few shapes")
    for arrangement in arrangements:
        for budget in _budgets(bench):
            found = batches[arrangement, budget] = arranged(encoder, text, arrangement, budget)
            for form, session in sessions.items():
                ours[form, arrangement, budget] = _once(partial(run_plain, session, found), tokens)
            if arrangement == "few shapes":  # what it adds are rows of no tokens, which PyTorch refuses
                continue
            side = PyTorchSide(bench.oracle(shape), found, packed=arrangement == "ragged")
            for way in ("fetched", "queued"):
                theirs[way, arrangement, budget] = _once(getattr(side, way), tokens)
    jobs: dict[str, Callable[[], object]] = {}
    for arrangement in arrangements:
        form, _, budget = max((key for key in ours if key[1] == arrangement), key=ours.__getitem__)
        taken, name = batches[arrangement, budget], f"onnxruntime, {arrangement}, {budget}, {form}"
        jobs[f"{name}, run"] = partial(run_plain, sessions[form], taken)  # type: ignore[index]
        jobs[f"{name}, bound"] = partial(run_bound, sessions[form], taken)  # type: ignore[index]
        if arrangement != "equal":
            for threads in THREADS[1:]:
                jobs[f"{name}, {threads} threads"] = run_shared(sessions[form], taken, threads)  # type: ignore[index]
    for arrangement in arrangements[:2]:
        way, _, budget = max((key for key in theirs if key[1] == arrangement), key=theirs.__getitem__)
        side = PyTorchSide(bench.oracle(shape), batches[arrangement, budget], packed=arrangement == "ragged")
        jobs[f"PyTorch, {arrangement}, {budget}, {way}"] = getattr(side, way)
    measured = rates(in_turns(jobs, _rounds(bench)), dict.fromkeys(jobs, tokens))
    medians = {name: rate["median"] for name, rate in measured.items()}
    # "few shapes" has other batches than PyTorch's: it says how to set the predictor, not who is faster.
    best = max((n for n in medians if n.startswith("onnxruntime") and "few" not in n), key=medians.__getitem__)
    rival = max((n for n in medians if n.startswith("PyTorch")), key=medians.__getitem__)
    return {
        "tagger": shape.name,
        "tokens": tokens,
        "swept": {", ".join(map(str, key)): rate for key, rate in (ours | theirs).items()},
        "rates": measured,
        "best": best,
        "best_rate": medians[best],
        "best_of_any_batches": max((n for n in medians if n.startswith("onnxruntime")), key=medians.__getitem__),
        "rival": rival,
        "rival_rate": medians[rival],
        "of_pytorch": medians[best] / medians[rival],
    }


def sweep(bench: Bench, form: GraphForm) -> dict[str, Any]:
    """The stream by threads that share the session and by cells a batch, each in a fresh predictor; its memory.

    Args:
        form: what the grid is measured with; the defaults are measured in each.
    """
    shape = main_shape(bench)
    text = bench.text(shape, text_tokens(bench))
    tokens = sum(map(len, text))
    grid: list[tuple[GraphForm, int | None, int | None]] = [(each, None, None) for each in FORMS]
    grid += [(form, threads, budget) for threads in THREADS for budget in _budgets(bench)]
    cells = []
    for each, threads, budget in grid:
        bench.need(5)
        before = bench.memory_mb()
        predictor = bench.predictor(shape, each, threads=threads, batch_tokens=budget)
        job = partial(tag_all, predictor, text)
        job()
        taken = min(seconds(job) for _ in range(2))
        cells.append(
            {
                "form": each,
                "threads": predictor.threads,
                "batch_tokens": predictor.batch_tokens,
                "by_default": threads is None,
                "tokens_per_second": tokens / taken,
            }
        )
        after = bench.memory_mb()
        cells[-1]["memory_mb"] = None if before is None or after is None else after - before
        del predictor, job  # and with them the memory that the next one is measured in
    best = max(cells, key=lambda cell: cell["tokens_per_second"])
    return {"tagger": shape.name, "tokens": tokens, "cells": cells, "best": best}


def stream(bench: Bench, swept: dict[str, Any], bare_best: str) -> dict[str, Any]:
    """Words in, tags out: at the best settings of ``swept`` and at the defaults, in turns with the best bare session.

    Then the same file on all cores of the CPU, and the GPU's samples while the stream runs.
    """
    shape = main_shape(bench)
    text = bench.text(shape, 3 * text_tokens(bench))
    tokens = sum(map(len, text))
    best = swept["best"]
    predictors = {
        "best settings": bench.predictor(
            shape, best["form"], threads=best["threads"], batch_tokens=best["batch_tokens"]
        ),
        **{f"defaults, {form}": bench.predictor(shape, form) for form in FORMS},
    }
    _, arrangement, budget, form, way = bare_best.split(", ")
    batches = arranged(predictors["best settings"].encoder, text, arrangement, int(budget))  # type: ignore[arg-type]
    session = bench.session(shape, form)  # type: ignore[arg-type]
    jobs: dict[str, Callable[[], object]] = {"bare": _bare_job(session, batches, way)}
    jobs |= {name: partial(tag_all, predictor, text) for name, predictor in predictors.items()}
    measured = rates(in_turns(jobs, _rounds(bench)), dict.fromkeys(jobs, tokens))
    share, few = text[: len(text) // 16], _on_cpu(bench, shape)
    of_cpu = sum(map(len, share))
    with_all = {f"CPU, all cores, {form}": partial(tag_all, predictor, share) for form, predictor in few.items()}
    measured |= rates(in_turns(with_all, 3), dict.fromkeys(with_all, of_cpu))
    with GpuSampler() as gpu:
        repeats = 0
        took = 0.0
        while took < (0.1 if bench.quick else _STREAM_SECONDS):
            took += seconds(partial(tag_all, predictors["best settings"], text))
            repeats += 1
    medians = {name: rate["median"] for name, rate in measured.items()}
    words_to_tags = max(rate for name, rate in medians.items() if name not in ("bare", *with_all))
    on_cpu = max(medians[name] for name in with_all)
    return {
        "tagger": shape.name,
        "tokens": tokens,
        "cores": available_cores(),
        "rates": measured,
        "rate": words_to_tags,
        "rate_by_default": max(rate for name, rate in medians.items() if name.startswith("defaults")),
        "of_bare": words_to_tags / medians["bare"],
        "of_cpu": words_to_tags / on_cpu,
        "gpu_meanwhile": gpu.to_json() | {"seconds": took, "repeats": repeats, "rate": tokens * repeats / took},
    }


def with_subwords(bench: Bench) -> dict[str, Any]:
    """The same with hashed features for unknown words, as taggers are trained by default."""
    shape = Shape(1, 128, subwords=True) if bench.quick else SUBWORDS
    text = bench.text(shape, text_tokens(bench))
    tokens = sum(map(len, text))
    jobs = {form: partial(tag_all, bench.predictor(shape, form), text) for form in FORMS}
    return {
        "tagger": shape.name,
        "tokens": tokens,
        "rates": rates(in_turns(jobs, _rounds(bench)), dict.fromkeys(jobs, tokens)),
    }


def latency(bench: Bench) -> dict[str, Any]:
    """One sentence, words in and tags out, call by call in turns: here, on the CPU, in PyTorch. Milliseconds."""
    found = {}
    for shape in dict.fromkeys((DEFAULT, main_shape(bench))):
        sentence = bench.tagger(shape).sentence(np.random.default_rng(SEED), SENTENCE)
        here: dict[str, Predictor] = {f"{bench.provider}, {form}": bench.predictor(shape, form) for form in FORMS}
        here |= {f"all on the CPU, {form}": predictor for form, predictor in _on_cpu(bench, shape).items()}
        jobs: dict[str, Callable[[], object]] = {
            name: partial(predictor.predict, sentence, scores=False) for name, predictor in here.items()
        }
        inputs = next(iter(here.values())).encoder.encode([sentence])
        jobs["PyTorch, from ids"] = PyTorchSide(bench.oracle(shape), [inputs], packed=False).fetched
        for _ in range(5):
            for job in jobs.values():
                job()
        times: dict[str, list[float]] = {name: [] for name in jobs}
        for _ in range(10 if bench.quick else _ALONE):
            for name, job in jobs.items():
                times[name].append(1e3 * seconds(job))
        found[shape.name] = {
            name: {"p50": float(np.percentile(t, 50)), "p99": float(np.percentile(t, 99))} for name, t in times.items()
        }
    return {"words": SENTENCE, "milliseconds": found}


def forms(bench: Bench) -> dict[str, Any]:
    """The graph forms against each other in bare runs: ``reverse_sequence`` over ``sequence_lens``."""
    found: dict[str, Any] = {}
    for shape in dict.fromkeys((DEFAULT, Shape(3, 128), main_shape(bench))):
        text = bench.text(shape, text_tokens(bench))
        tokens = sum(map(len, text))
        sessions = {form: bench.session(shape, form) for form in FORMS}
        encoder = bench.predictor(shape, FORMS[0], threads=1).encoder
        for budget in _budgets(bench)[1:3]:
            bench.need(5)
            batches = arranged(encoder, text, "few shapes", budget)
            jobs = {form: partial(run_bound, session, batches) for form, session in sessions.items()}
            times = in_turns(jobs, _rounds(bench))
            found[f"{shape.name}, {budget}"] = {
                "rates": rates(times, dict.fromkeys(jobs, tokens)),
                "reverse_sequence_over_sequence_lens": times["sequence_lens"]["median"]
                / times["reverse_sequence"]["median"],
            }
    return found


def crossover(bench: Bench) -> dict[str, Any]:
    """From how many tokens a call one caller is served faster here than by the CPU's cores."""
    found: dict[str, Any] = {}
    for shape in dict.fromkeys((DEFAULT, main_shape(bench))):
        random = np.random.default_rng(SEED)
        for form in FORMS:
            here, cpu = bench.predictor(shape, form), _on_cpu(bench, shape)[form]
            points = []
            for rows, length in _CALLS[:4] if bench.quick else _CALLS:
                bench.need(3)
                sentences = bench.tagger(shape).sentences(random, [length] * rows)
                jobs = {
                    name: partial(predictor.predict_batch, sentences, scores=False)
                    for name, predictor in (("here", here), ("cpu", cpu))
                }
                times = in_turns(jobs, 3 if bench.quick or rows > 100 else 11)
                points.append(
                    {
                        "rows": rows,
                        "tokens": rows * length,
                        "ms": 1e3 * times["here"]["median"],
                        "cpu_ms": 1e3 * times["cpu"]["median"],
                    }
                )
                if points[-1]["cpu_ms"] > _SURE * points[-1]["ms"]:
                    break
            found[f"{shape.name}, {form}"] = {"points": points, "tokens": _from_where(points)}
    return found


def _from_where(points: list[dict[str, Any]]) -> int | None:
    """Tokens of the smallest call from which on it is faster here; None where it is not at the largest."""
    where = None
    for point in points[::-1]:
        if point["ms"] >= point["cpu_ms"]:
            break
        where = point["tokens"]
    return where


def _on_cpu(bench: Bench, shape: Shape) -> dict[GraphForm, Predictor]:
    """Predictors on all cores."""
    return {form: Predictor.load(bench.path(shape, form), "cpu") for form in FORMS}


def tag_all(predictor: Predictor, sentences: list[list[str]]) -> None:
    """The stream, words in and tags out, to its end."""
    for _ in predictor.predict_stream(iter(sentences), scores=False):
        pass


def _bare_job(session: Any, batches: list[Any], way: str) -> Callable[[], object]:
    if way.endswith("threads"):
        return run_shared(session, batches, int(way.split()[0]))
    return partial(run_plain if way == "run" else run_bound, session, batches)


def _once(job: Callable[[], object], tokens: int) -> float:
    """Tokens a second of one run after one that warms up."""
    job()
    return tokens / seconds(job)
