"""Are scores and tags on CUDA those of PyTorch? Ragged batches from 1 x 1 to 4,096 x 256, with rows of no tokens.

The oracle is PyTorch on the CPU on each sentence alone, where nothing is padded and nothing packed; for the largest
batches PyTorch on the GPU, packed, and on the CPU as many rows as there is time for.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.measuring import SEED, Bench, tf32
from benchmarks.gpu.models import FORMS, Float, Shape
from lstm_deploy.conformance.proof import Proof
from lstm_deploy.encoding import Inputs
from lstm_deploy.errors import LstmDeployError, OutOfMemoryError
from lstm_deploy.golden import GoldenReport, check_golden
from lstm_deploy.metadata import GraphForm, ModelMetadata
from lstm_deploy.providers import CudaOptions
from lstm_deploy.session import Scores, TaggerSession

SHAPES = (
    *(Shape(layers, 128) for layers in (1, 2, 3)),
    *(Shape(layers, 128, bidirectional=False) for layers in (1, 2, 3)),
    Shape(1, 128, subwords=True),
    Shape(1, 128, crf=True),
    Shape(2, 512),
)
BATCHES = ((1, 1), (2, 1), (1, 2), (7, 13), (1, 200), (12, 200), (64, 50))
QUICK_BATCHES = ((1, 1), (2, 1), (7, 13))
LARGE = ((256, 256), (1024, 64), (4096, 16), (4096, 256))
QUICK_LARGE = ((16, 16),)
LARGE_SHAPES = (*(Shape(layers, 128) for layers in (1, 2, 3)), Shape(2, 512))
_EMPTY_RATE = 0.1
_CPU_TOKENS_BY_HIDDEN = {128: 150_000, 512: 15_000}
"""Tokens of a large batch that PyTorch on the CPU answers, too: a few seconds' worth."""
ALONE, ON_GPU, PACKED = "CPU, each sentence alone", "GPU, packed", "CPU, packed"


def moderate(bench: Bench) -> dict[str, Any]:
    """Every tagger and form on small and middling batches against both oracles."""
    cases: list[dict[str, Any]] = []
    for shape in SHAPES:
        sessions = {form: bench.session(shape, form) for form in FORMS}
        for inputs in _batches(bench.tagger(shape).metadata, QUICK_BATCHES if bench.quick else BATCHES):
            answers = {ALONE: bench.tagger(shape).oracle.alone(inputs), ON_GPU: bench.oracle(shape).scores(inputs)}
            for form, session in sessions.items():
                cases += _cases(shape, form, session, inputs, answers)
        bench.need(1)
    return _summary(cases)


def large(bench: Bench) -> dict[str, Any]:
    """Batches up to a million cells."""
    cases: list[dict[str, Any]] = []
    left_out = []
    for shape in LARGE_SHAPES:
        sessions = {form: bench.session(shape, form) for form in FORMS}
        for rows, length in QUICK_LARGE if bench.quick else LARGE:
            if bench.left < 15:
                left_out.append(f"{shape.name}, {rows} x {length}: no time left")
                continue
            try:
                cases += _large_cases(bench, shape, sessions, rows, length)
            except (OutOfMemoryError, torch.OutOfMemoryError) as e:
                left_out.append(f"{shape.name}, {rows} x {length}: {str(e)[:200]}")
            bench.memory_mb()  # gives back what PyTorch keeps
    return _summary(cases) | {"left_out": left_out}


def _large_cases(
    bench: Bench, shape: Shape, sessions: dict[GraphForm, TaggerSession], rows: int, length: int
) -> list[dict[str, Any]]:
    """One large batch in each form."""
    metadata = bench.tagger(shape).metadata
    inputs = _drawn(metadata, np.random.default_rng([SEED, rows, length]), rows, length)
    on_gpu = bench.oracle(shape).scores(inputs)
    some = _some_rows(inputs, _CPU_TOKENS_BY_HIDDEN[shape.hidden])
    on_cpu = bench.tagger(shape).oracle.scores(_rows_of(inputs, some))
    cases = []
    for form, session in sessions.items():
        found = session.run(inputs)
        tags = session.run_encoded(inputs, scores=False).tag_ids
        whole = _case(shape, form, found, inputs, ON_GPU, on_gpu, metadata)
        part = Scores(found.tag_ids[some], **{session.metadata.outputs()[1]["name"]: found.of_tags[some]})
        cases += [
            whole | {"other_tags_without_scores": int((tags != found.tag_ids).sum())},
            _case(shape, form, part, _rows_of(inputs, some), PACKED, on_cpu, metadata),
        ]
    return cases


def golden(bench: Bench) -> dict[str, Any]:
    """The golden cases of every file, alone and in a batch."""
    found = {}
    for shape in SHAPES:
        for form in FORMS:
            try:
                report = check_golden(bench.predictor(shape, form))
            except LstmDeployError as e:
                report = GoldenReport(failures=[str(e)[:300]])
            found[f"{shape.name}, {form}"] = {
                "cases": report.cases,
                "max_difference": report.max_difference,
                "failures": report.failures,
            }
    return {"files": found, "failures": sum(len(entry["failures"]) for entry in found.values())}


def rounded_products(bench: Bench) -> dict[str, Any]:
    """How far TF32 takes scores and tags from the same oracle; no promise, a figure to choose by."""
    bench.need_cuda("TF32")
    found = {}
    for shape in (Shape(1, 128), Shape(2, 512)):
        metadata = bench.tagger(shape).metadata
        inputs = _drawn(metadata, np.random.default_rng(SEED), 64, 50)
        answer = bench.tagger(shape).oracle.alone(inputs)
        for form in FORMS:
            session = bench.session(shape, form, CudaOptions(tf32=True))
            found[f"{shape.name}, {form}"] = _case(shape, form, session.run(inputs), inputs, ALONE, answer, metadata)
        tf32(True)
        try:
            rival = bench.oracle(shape).scores(inputs)
        finally:
            tf32(False)
        found[f"{shape.name}, PyTorch"] = {"max_difference": float(np.abs(rival - answer).max())}
    return found


def _batches(metadata: ModelMetadata, sizes: Sequence[tuple[int, int]]) -> Iterator[Inputs]:
    """A ragged batch of each size, one of full rows, one of nothing but empty rows."""
    random = np.random.default_rng(SEED)
    for rows, length in sizes:
        yield _drawn(metadata, random, rows, length)
    yield _drawn(metadata, random, 5, 9) | {"lengths": np.full(5, 9, np.int32)}
    yield _drawn(metadata, random, 3, 4) | {"lengths": np.zeros(3, np.int32)}


def _drawn(metadata: ModelMetadata, random: np.random.Generator, rows: int, length: int) -> Inputs:
    """Ids over the whole tables, at padding, too; one row is full, of the others one in ten is empty."""
    lengths = random.integers(1, length + 1, rows).astype(np.int32)
    lengths[random.random(rows) < _EMPTY_RATE] = 0
    if rows > 1:
        lengths[random.integers(rows)] = 0
    lengths[random.integers(rows)] = length
    assert metadata.vocabulary is not None
    inputs: Inputs = {"word_ids": random.integers(1, len(metadata.vocabulary), (rows, length), dtype=np.int32)}
    if metadata.features:
        inputs["word_ids"][random.random((rows, length)) < 0.5] = metadata.vocabulary.unknown_id
        size = (rows, length, len(metadata.features.templates))
        inputs["subword_ids"] = random.integers(0, metadata.features.buckets, size, dtype=np.int32)
    return inputs | {"lengths": lengths}


def _some_rows(inputs: Inputs, tokens: int) -> Any:
    """Numbers of the first rows with about so many tokens in all, the full row among them."""
    counts = np.cumsum(inputs["lengths"])
    rows = np.flatnonzero(counts <= tokens)
    return np.union1d(rows, [int(inputs["lengths"].argmax())])


def _rows_of(inputs: Inputs, rows: Any) -> Inputs:
    return {kind: np.ascontiguousarray(ids[rows]) for kind, ids in inputs.items()}


def _cases(
    shape: Shape, form: str, session: TaggerSession, inputs: Inputs, answers: dict[str, Float]
) -> list[dict[str, Any]]:
    try:
        found = session.run(inputs)
    except LstmDeployError as e:  # one batch that does not run must not cost the figures of the others
        none = Scores(np.full(inputs["word_ids"].shape, -1, np.int32))
        failed = _figures(shape, form, ALONE, inputs, Proof(outside=1), none, session.metadata)
        return [failed | {"problem": str(e)[:300]}]
    cases = [_case(shape, form, found, inputs, oracle, answer, session.metadata) for oracle, answer in answers.items()]
    tags = session.run_encoded(inputs, scores=False).tag_ids
    cases[0]["other_tags_without_scores"] = int((tags != found.tag_ids).sum())
    return cases


def _case(
    shape: Shape, form: str, found: Scores, inputs: Inputs, oracle: str, answer: Float, metadata: ModelMetadata
) -> dict[str, Any]:
    """Figures of one batch against one oracle."""
    proof = Proof()
    proof.compare(found, answer, inputs["lengths"], metadata.crf)
    return _figures(shape, form, oracle, inputs, proof, found, metadata)


def _figures(
    shape: Shape, form: str, oracle: str, inputs: Inputs, proof: Proof, found: Scores, metadata: ModelMetadata
) -> dict[str, Any]:
    rows, length = inputs["word_ids"].shape
    valid = np.arange(length) < inputs["lengths"][:, None]
    tags = np.bincount(found.tag_ids[valid].clip(0), minlength=len(metadata.tags))
    return {
        "tagger": shape.name,
        "form": form,
        "oracle": oracle,
        "rows": rows,
        "length": length,
        "empty_rows": int((inputs["lengths"] == 0).sum()),
        "tokens": proof.tokens,
        "max_difference": proof.max_difference,
        "outside": proof.outside,
        "tag_differences": proof.tag_differences,
        "ties": proof.ties,
        "kinds_of_tags": int((tags > 0).sum()),
    }


def _summary(cases: list[dict[str, Any]]) -> dict[str, Any]:
    """All cases, and over them the largest difference and what is outside or other."""

    def over(name: str, choose: Any) -> Any:
        return choose([case[name] for case in cases])

    oracles = sorted({case["oracle"] for case in cases})
    return {
        "tolerance": Proof().tolerance,
        "cases": cases,
        "tokens": over("tokens", sum),
        "max_difference": over("max_difference", max),
        "max_difference_by_oracle": {
            oracle: max(case["max_difference"] for case in cases if case["oracle"] == oracle) for oracle in oracles
        },
        "outside": over("outside", sum),
        "tag_differences": over("tag_differences", sum),
        "ties": over("ties", sum),
        "other_tags_without_scores": sum(case.get("other_tags_without_scores", 0) for case in cases),
    }
