"""What is true or not, rather than fast or not: memory that runs out, import order, arena and TF32."""

import json
import os
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.measuring import SEED, Bench, in_turns, rates, tf32
from benchmarks.gpu.models import FORMS
from benchmarks.gpu.rivals import PyTorchSide, arranged
from benchmarks.gpu.speed import main_shape, tag_all, text_tokens
from lstm_deploy.errors import OutOfMemoryError, SmallerBatchesWarning
from lstm_deploy.providers import CudaOptions

ORDERS = {
    "PyTorch first": "import torch\nimport onnxruntime",
    "onnxruntime first": "import onnxruntime\nimport torch",
    "onnxruntime alone": "import onnxruntime",
    "onnxruntime alone, LD_LIBRARY_PATH with PyTorch's libraries": "import onnxruntime",
}
_CHILD = """
{order}
import json, sys
import numpy as np
from lstm_deploy.session import TaggerSession
session = TaggerSession({path!r}, {provider!r})
ids = np.arange(12, dtype=np.int32).reshape(3, 4)
inputs = {{"word_ids": ids, "lengths": np.array([4, 0, 2], np.int32)}}
found = {{"provider": session.provider, "tags": session.run(inputs).tag_ids.tolist()}}
if "torch" in sys.modules and {provider!r} == "cuda":
    import torch
    lstm = torch.nn.LSTM(8, 8).cuda()
    found["torch"] = bool(lstm(torch.ones(3, 2, 8, device="cuda"))[0].isfinite().all())
    found["tags_after_torch"] = session.run(inputs).tag_ids.tolist()
print(json.dumps(found))
"""
_CHILD_SECONDS = 60
_LIMIT = 2**29
_ROWS, _LENGTH = 1024, 128
"""One layer's output is as large as the limit: the batch cannot fit, an eighth of it can."""


def import_order(bench: Bench) -> dict[str, Any]:
    """A session in a fresh process for each order in which PyTorch and onnxruntime can be imported."""
    path = str(bench.path(main_shape(bench), FORMS[0]))
    found: dict[str, Any] = {}
    for name, order in ORDERS.items():
        bench.need(5)
        code = _CHILD.format(order=order, path=path, provider=bench.provider)
        try:
            done = subprocess.run(
                [sys.executable, "-c", code],
                capture_output=True,
                text=True,
                errors="replace",
                env=with_libraries() if "LD_LIBRARY_PATH" in name else None,
                timeout=min(_CHILD_SECONDS, max(bench.left, 1)),
            )
        except subprocess.TimeoutExpired as e:
            found[name] = {"works": False, "problem": f"no answer within {e.timeout:.0f} s"}
            continue
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}, without a word"])[-1]
            found[name] = {"works": False, "problem": last[:500]}
        else:
            found[name] = {"works": True, **json.loads(done.stdout.splitlines()[-1])}
    tags = [entry["tags"] for entry in found.values() if entry["works"]]
    return {"orders": found, "same_tags": all(t == tags[0] for t in tags)}


def with_libraries() -> dict[str, str]:
    """The environment of a process that finds the CUDA libraries that PyTorch was installed with."""
    packages = Path(torch.__file__).resolve().parents[1]
    folders = [*sorted(packages.glob("nvidia/**/lib")), packages / "torch" / "lib"]
    known = filter(None, [os.environ.get("LD_LIBRARY_PATH")])
    return dict(os.environ) | {"LD_LIBRARY_PATH": os.pathsep.join([*map(str, folders), *known])}


def out_of_memory(bench: Bench) -> dict[str, Any]:
    """A batch too large for a small limit: refused by the session, halved and run again by the predictor."""
    bench.need_cuda("a limit of memory")
    shape = main_shape(bench)
    random = np.random.default_rng(SEED)
    sentences = bench.tagger(shape).sentences(random, [_LENGTH] * _ROWS)
    right = bench.predictor(shape, FORMS[0]).predict_batch(sentences, scores=False)
    found: dict[str, Any] = {"limit_bytes": _LIMIT, "rows": _ROWS, "length": _LENGTH}
    for arena in ("same_as_requested", "next_power_of_two"):
        options = CudaOptions(memory_limit=_LIMIT, arena=arena)  # type: ignore[arg-type]
        predictor = bench.predictor(shape, FORMS[0], batch_tokens=_ROWS * _LENGTH, threads=1, cuda=options)
        try:
            predictor.session.run_encoded(predictor.encoder.encode(sentences), scores=False)
            refused = ""
        except OutOfMemoryError as e:
            refused = str(e)[:300]
        entry: dict[str, Any] = {"refused_whole": refused}
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            try:
                entry["same_tags"] = predictor.predict_batch(sentences, scores=False) == right
            except OutOfMemoryError as e:
                entry["problem"] = str(e)[:300]
        entry["warnings"] = [str(w.message)[:300] for w in told if issubclass(w.category, SmallerBatchesWarning)]
        entry["batch_tokens_after"] = predictor.batch_tokens
        entry["halved_and_retried"] = bool(refused and entry["warnings"] and entry.get("same_tags"))
        found[arena] = entry
    found["holds"] = any(found[arena]["halved_and_retried"] for arena in ("same_as_requested", "next_power_of_two"))
    return found


def arena_and_tf32(bench: Bench) -> dict[str, Any]:
    """How the arena grows, and TF32 on or off: rate of the stream and memory taken; PyTorch with TF32 beside."""
    bench.need_cuda("an arena of the GPU's memory")
    shape = main_shape(bench)
    text = bench.text(shape, text_tokens(bench))
    tokens = sum(map(len, text))
    jobs: dict[str, Any] = {}
    memory: dict[str, float] = {}
    for arena in ("same_as_requested", "next_power_of_two"):
        for rounded in (False, True):
            name = f"{arena}, TF32 {'on' if rounded else 'off'}"
            before = bench.memory_mb()
            options = CudaOptions(arena=arena, tf32=rounded)  # type: ignore[arg-type]
            jobs[name] = partial(tag_all, bench.predictor(shape, FORMS[0], cuda=options), text)
            jobs[name]()
            after = bench.memory_mb()
            memory[name] = (after or 0.0) - (before or 0.0)
    batches = arranged(bench.predictor(shape, FORMS[0]).encoder, text, "ragged", 65_536)
    side = PyTorchSide(bench.oracle(shape), batches, packed=True)

    def rival() -> None:
        tf32(True)
        try:
            side.queued()
        finally:
            tf32(False)

    jobs["PyTorch, ragged, TF32 on"] = rival
    return {
        "tagger": shape.name,
        "rates": rates(in_turns(jobs, 3), dict.fromkeys(jobs, tokens)),
        "memory_mb": memory,
    }
