"""Checkpoint -> one ONNX file that has proved itself before it appears under its name."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx

from .. import __version__
from ..encoding import Encoder
from ..errors import OutputError, ParityError
from ..formats import atomic_output
from ..golden import check_golden
from ..metadata import GoldenCase, ModelMetadata, Precision
from ..predictor import Predictor
from ..providers import import_onnxruntime
from ..session import TaggerSession
from ..training.checkpoint import Checkpoint, load_checkpoint
from ..training.model import LSTMTagger
from .cost import Rounding, rounding_cost
from .graph import tagger_model
from .parity import Proof, check, prove, torch_log_probs
from .stored import StoredTagger

_EDGE_TOKENS = ("Ünïcödé", "e\u0301te\u0301", "𝔘𝔫𝔨𝔫𝔬𝔴𝔫", "🙂", "İSTANBUL", "ΟΔΟΣ", "3,14", "zzyzx-word")
"""Words no training data is likely to hold: combining marks, astral characters, awkward case."""


@dataclass(frozen=True)
class Exported:
    """Figures of a finished export: its proof, and what rounding cost (nothing for fp32)."""

    proof: Proof
    rounding: Mapping[str, Any]


def export_checkpoint(folder: str | Path, output: str | Path, settings: Rounding | None = None) -> Exported:
    """Exports the checkpoint in ``folder`` to ``output``.

    Returns:
        The figures of the proof and of the rounding, which also stand in the file's metadata.

    Raises:
        CheckpointError: ``folder`` holds no finished checkpoint.
        ParityError: the file would not answer as PyTorch does; nothing is written.
        AccuracyError: rounding costs more accuracy than it may; nothing is written.
        InputError: the development set is malformed.
        OutputError: ``output`` cannot be written.
        MissingDependencyError: no onnxruntime to prove the file with.
    """
    import_onnxruntime()
    checkpoint, model = load_checkpoint(folder)
    return export_model(checkpoint, model, output, settings)


def export_model(
    checkpoint: Checkpoint, model: LSTMTagger, output: str | Path, settings: Rounding | None = None
) -> Exported:
    """`export_checkpoint` for a tagger in memory."""
    output = Path(output)
    precision: Precision = settings.precision if settings else "fp32"
    with TemporaryDirectory(prefix="lstm-deploy-") as scratch:
        draft = Path(scratch) / f"{precision}.onnx"
        whole, proof, metadata = _draft(checkpoint, model, str(output), draft, precision)
        if settings:
            exact = Path(scratch) / "exact.onnx"
            _draft(checkpoint, model, f"{output} in fp32, to compare with", exact, "fp32")
            cost = rounding_cost(Predictor.load(exact), Predictor.load(draft), settings, str(output))
            metadata = replace(metadata, rounding=cost)
            whole = _with_metadata(onnx.load_model_from_string(whole), metadata)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise OutputError(f"{output.parent}: cannot make the folder ({e.strerror}); pass another --output") from e
    with atomic_output(output) as stream:
        stream.write(whole)
    return Exported(proof, metadata.rounding)


def _draft(
    checkpoint: Checkpoint, model: LSTMTagger, name: str, draft: Path, precision: Precision
) -> tuple[bytes, Proof, ModelMetadata]:
    """Writes a proved file to ``draft``; its bytes, proof and metadata. ``name`` stands for it in errors."""
    metadata = _metadata(checkpoint, precision)
    tagger = StoredTagger(model, checkpoint.vocabulary, checkpoint.features, precision)
    oracle = tagger.oracle()
    graph = tagger_model(tagger, metadata)
    draft.write_bytes(_with_metadata(graph, metadata))
    proof = prove(TaggerSession(draft), oracle)
    check(proof, name)
    golden = tuple(_golden(checkpoint, oracle))
    metadata = replace(metadata, golden=golden, proof=proof.to_json())
    whole = _with_metadata(graph, metadata)
    draft.write_bytes(whole)
    report = check_golden(Predictor.load(draft, threads=1))
    if report.failures:
        raise ParityError(f"{name}: {report.failures[0]}; no file was written; export again from the checkpoint")
    return whole, proof, metadata


def _metadata(checkpoint: Checkpoint, precision: Precision) -> ModelMetadata:
    runtime = import_onnxruntime()
    recipe = checkpoint.recipe.to_json()
    return ModelMetadata(
        vocabulary=checkpoint.vocabulary,
        tags=checkpoint.tags,
        tokenizer=checkpoint.tokenizer,
        features=checkpoint.features,
        column=checkpoint.recipe.column,
        precision=precision,
        training=checkpoint.provenance | {"recipe": {"model": recipe["model"], "training": recipe["training"]}},
        versions=checkpoint.provenance["versions"]
        | {
            "lstm_deploy": __version__,
            "onnx": onnx.__version__,
            "onnxruntime": runtime.__version__,
            "numpy": np.__version__,
        },
    )


def _with_metadata(graph: onnx.ModelProto, metadata: ModelMetadata) -> bytes:
    model = onnx.ModelProto()
    model.CopyFrom(graph)
    onnx.helper.set_model_props(model, metadata.to_properties())
    model.producer_version = __version__
    return model.SerializeToString(deterministic=True)


def _golden(checkpoint: Checkpoint, model: LSTMTagger) -> list[GoldenCase]:
    """The checkpoint's samples, its first words, words it cannot know, and one word alone; answers by PyTorch."""
    words = [word for word in checkpoint.vocabulary.words if word is not None][:12]
    tokenizer = checkpoint.tokenizer
    sentences = [(sample["tokens"], sample["text"]) for sample in checkpoint.samples]
    sentences += [(words, None), (list(_EDGE_TOKENS), None), (words[:1], None), ([], "")]
    encoder = checkpoint.encoder()
    cases = [
        _case(encoder, model, checkpoint.tags, tokens, text if text and tokenizer.tokens(text) == tokens else None)
        for tokens, text in sentences
        if tokens
    ]
    # Texts are cut by the model's own tokenizer: these are the cases that test it.
    for _, text in sentences:
        if text and (tokens := tokenizer.tokens(text)) and not any(case.text == text for case in cases):
            cases.append(_case(encoder, model, checkpoint.tags, tokens, text))
    return cases


def _case(
    encoder: Encoder, model: LSTMTagger, tags: tuple[str, ...], tokens: list[str], text: str | None
) -> GoldenCase:
    inputs = encoder.encode([tokens])
    log_probs = torch_log_probs(model, inputs)[0]  # (sequence, tags)
    best = log_probs.argmax(-1)
    return GoldenCase(
        tokens=tuple(tokens),
        inputs={kind: ids[0].tolist() for kind, ids in inputs.items() if kind != "lengths"},
        tag_ids=tuple(best.tolist()),
        tags=tuple(tags[i] for i in best),
        scores=tuple(np.exp(log_probs.max(-1).astype(np.float64)).tolist()),
        text=text,
    )
