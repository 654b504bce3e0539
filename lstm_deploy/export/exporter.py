"""Checkpoint -> one ONNX file that has proved itself before it appears under its name."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx

from .. import __version__
from ..encoding import Encoder
from ..errors import OutputError, ParityError
from ..formats import atomic_output
from ..golden import check_golden
from ..metadata import GoldenCase, ModelMetadata
from ..predictor import Predictor
from ..providers import import_onnxruntime
from ..session import TaggerSession
from ..training.checkpoint import Checkpoint, load_checkpoint
from ..training.model import LSTMTagger
from .graph import tagger_model
from .parity import Proof, check, prove, torch_log_probs

_EDGE_TOKENS = ("Ünïcödé", "e\u0301te\u0301", "𝔘𝔫𝔨𝔫𝔬𝔴𝔫", "🙂", "İSTANBUL", "ΟΔΟΣ", "3,14", "zzyzx-word")
"""Words no training data is likely to hold: combining marks, astral characters, awkward case."""


def export_checkpoint(folder: str | Path, output: str | Path) -> Proof:
    """Exports the checkpoint in ``folder`` to ``output``.

    Returns:
        The figures of the proof, which also stand in the file's metadata.

    Raises:
        CheckpointError: ``folder`` holds no finished checkpoint.
        ParityError: the file would not answer as PyTorch does; nothing is written.
        OutputError: ``output`` cannot be written.
        MissingDependencyError: no onnxruntime to prove the file with.
    """
    import_onnxruntime()
    checkpoint, model = load_checkpoint(folder)
    return export_model(checkpoint, model, output)


def export_model(checkpoint: Checkpoint, model: LSTMTagger, output: str | Path) -> Proof:
    """`export_checkpoint` for a tagger in memory."""
    output = Path(output)
    metadata = _metadata(checkpoint)
    graph = tagger_model(model, metadata)
    with TemporaryDirectory(prefix="lstm-deploy-") as scratch:
        draft = Path(scratch) / "draft.onnx"
        draft.write_bytes(_with_metadata(graph, metadata))
        proof = prove(TaggerSession(draft), model)
        check(proof, str(output))
        golden = tuple(_golden(checkpoint, model))
        whole = _with_metadata(graph, replace(metadata, golden=golden, proof=proof.to_json()))
        draft.write_bytes(whole)
        report = check_golden(Predictor.load(draft, threads=1))
        if report.failures:
            raise ParityError(f"{output}: {report.failures[0]}; no file was written; export again from the checkpoint")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise OutputError(f"{output.parent}: cannot make the folder ({e.strerror}); pass another --output") from e
    with atomic_output(output) as stream:
        stream.write(whole)
    return proof


def _metadata(checkpoint: Checkpoint) -> ModelMetadata:
    runtime = import_onnxruntime()
    recipe = checkpoint.recipe.to_json()
    return ModelMetadata(
        vocabulary=checkpoint.vocabulary,
        tags=checkpoint.tags,
        tokenizer=checkpoint.tokenizer,
        features=checkpoint.features,
        column=checkpoint.recipe.column,
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
