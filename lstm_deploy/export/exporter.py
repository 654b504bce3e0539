"""Checkpoint -> one ONNX file that has proved itself before it appears under its name."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import onnx
from torch import nn
from torch.nn.parameter import is_lazy

from .. import __version__
from ..card import card_to_write
from ..conformance.proof import Proof
from ..crf import FORBIDDEN, Crf
from ..encoding import Encoder, ragged_ids
from ..errors import ModelFileError, OutputError, ParityError
from ..formats import atomic_output
from ..golden import check_golden
from ..metadata import PREFIX, GoldenCase, ModelMetadata, Precision
from ..providers import import_onnxruntime
from ..session import TaggerSession
from ..streaming import open_predictor
from ..training.checkpoint import Checkpoint, load_checkpoint
from ..training.model import LSTMTagger
from .constraints import iob2_constraints
from .cost import Rounding, rounding_cost
from .graph import tagger_model
from .parity import Oracle, check, prove, torch_log_probs
from .stored import StoredTagger
from .streaming import check_streams, lstm_states
from .targets import Target, targeted

Constraint = Literal["iob2"]
_EDGE_TOKENS = ("Ünïcödé", "e\u0301te\u0301", "𝔘𝔫𝔨𝔫𝔬𝔴𝔫", "🙂", "İSTANBUL", "ΟΔΟΣ", "3,14", "zzyzx-word")
"""Words no training data is likely to hold: combining marks, astral characters, awkward case."""


@dataclass(frozen=True)
class Exported:
    """Figures of a finished export.

    Attributes:
        rounding: what it cost; empty for fp32.
        narrowed: why the file is for onnxruntime alone where no target was asked for, else "".
    """

    proof: Proof
    rounding: Mapping[str, Any]
    narrowed: str = ""


def export_checkpoint(
    folder: str | Path,
    output: str | Path,
    settings: Rounding | None = None,
    *,
    constrain: Constraint | None = None,
    streaming: bool = False,
    target: Target | None = None,
    card: Mapping[str, Any] | None = None,
) -> Exported:
    """Exports the checkpoint in ``folder`` to ``output``.

    Args:
        settings: how to round, if at all.
        constrain: ``iob2``: the file gives the best valid IOB2 sequence, not each token's best tag.
        streaming: the file takes sentences in chunks, for `StreamingPredictor`.
        target: where it is to run; None is the most portable that it can be.
        card: what the file says that it is for (`lstm_deploy.card`).

    Returns:
        The figures of the proof and of the rounding, which also stand in the file's metadata.

    Raises:
        CheckpointError: ``folder`` holds no finished checkpoint.
        ParityError: the weights are no numbers, or the file would not answer as PyTorch does; nothing is written.
        AccuracyError: rounding costs more accuracy than it may; nothing is written.
        InputError: the card is not a whole one, the development set is malformed, tags to be constrained to IOB2 are
            not IOB2, the tagger cannot stream, or there is no file for ``target``.
        OutputError: ``output`` cannot be written.
        MissingDependencyError: no onnxruntime to prove the file with.
    """
    import_onnxruntime()
    checkpoint, model = load_checkpoint(folder)
    return export_model(
        checkpoint, model, output, settings, constrain=constrain, streaming=streaming, target=target, card=card
    )


def export_model(
    checkpoint: Checkpoint,
    model: LSTMTagger,
    output: str | Path,
    settings: Rounding | None = None,
    *,
    constrain: Constraint | None = None,
    streaming: bool = False,
    target: Target | None = None,
    card: Mapping[str, Any] | None = None,
) -> Exported:
    """`export_checkpoint` for a tagger in memory."""
    output = Path(output)
    card = card_to_write(card)
    precision: Precision = settings.precision if settings else "fp32"
    if streaming:
        decodes_path = constrain is not None or model.crf is not None
        check_streams(bidirectional=model.lstm.bidirectional, precision=precision, decodes_path=decodes_path)
    check_weights(model, str(output))
    crf = _decoder(checkpoint, model, constrain)
    with TemporaryDirectory(prefix="lstm-deploy-") as scratch:
        draft = Path(scratch) / f"{precision}.onnx"
        whole, proof, metadata, narrowed = _draft(
            checkpoint, model, str(output), draft, precision, crf, streaming, target
        )
        if settings:
            exact = Path(scratch) / "exact.onnx"
            _draft(checkpoint, model, f"{output} in fp32, to compare with", exact, "fp32", crf, streaming, None)
            cost = rounding_cost(open_predictor(exact), open_predictor(draft), settings, str(output))
            metadata = replace(metadata, rounding=cost)
            whole = with_metadata(onnx.load_model_from_string(whole), metadata)
    write(whole, output, card)
    return Exported(proof, metadata.rounding, narrowed)


def _decoder(checkpoint: Checkpoint, model: LSTMTagger, constrain: Constraint | None) -> Crf | None:
    """What chooses the tags: the trained CRF, the constraints, the one within the other, or nothing."""
    trained = model.crf.numbers() if model.crf else None
    if not constrain:
        return trained
    valid = iob2_constraints(checkpoint.tags)
    if trained is None:
        return valid
    parts = ("transitions", "start", "end")
    return Crf(*(np.where(getattr(valid, part) < 0, FORBIDDEN, getattr(trained, part)) for part in parts))


def check_weights(module: nn.Module, name: str) -> None:
    """Raises where training has run out of numbers; -inf is let through, it can be a CRF's "never".

    Args:
        name: stands for the file in errors.

    Raises:
        ParityError: a weight is nan or inf.
    """
    for key, weight in module.named_parameters():
        if is_lazy(weight) or not weight.is_floating_point():
            continue
        wrong = weight.detach()[weight.isnan() | weight.isposinf()]
        if len(wrong):
            raise ParityError(
                f"{name}: the weight {key} holds {wrong[0].item()}; expected finite numbers; no file was written; "
                "train again with a lower learning rate"
            )


def write(whole: bytes, output: Path, card: Mapping[str, Any] | None = None) -> None:
    """Puts a finished file under its name, folders made.

    Args:
        card: goes into it in place of any that it had, if it is not empty; all else stays as it is.

    Raises:
        InputError: the card is not a whole one.
        OutputError: it cannot be written there.
    """
    card = card_to_write(card)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise OutputError(f"{output.parent}: cannot make the folder ({e.strerror}); pass another --output") from e
    with atomic_output(output) as stream:
        stream.write(_with_card(whole, card) if card else whole)


def write_draft(draft: Path, content: bytes) -> None:
    """Writes a file that is to be proved, in the system's folder for temporary ones.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        draft.write_bytes(content)
    except OSError as e:
        raise OutputError(
            f"{draft}: cannot write ({e.strerror or e}); make room there, or set TMPDIR to a folder on another disk"
        ) from e


def _with_card(whole: bytes, card: Mapping[str, Any]) -> bytes:
    model = onnx.load_model_from_string(whole)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    properties[PREFIX + "card"] = json.dumps(card, ensure_ascii=False, allow_nan=False)
    onnx.helper.set_model_props(model, properties)
    return model.SerializeToString(deterministic=True)


def _draft(
    checkpoint: Checkpoint,
    model: LSTMTagger,
    name: str,
    draft: Path,
    precision: Precision,
    crf: Crf | None,
    streaming: bool,
    target: Target | None,
) -> tuple[bytes, Proof, ModelMetadata, str]:
    metadata = replace(_metadata(checkpoint, precision, crf), states=lstm_states(model.lstm) if streaming else ())
    tagger = StoredTagger(model, checkpoint.vocabulary, checkpoint.features, precision)
    oracle = partial(torch_log_probs, tagger.oracle())
    made = targeted(tagger_model(tagger, metadata), metadata, target)
    return *proved_file(made.graph, made.metadata, oracle, _sentences(checkpoint), draft, name), made.narrowed


def proved_file(
    graph: onnx.ModelProto,
    metadata: ModelMetadata,
    oracle: Oracle,
    sentences: Sequence[tuple[Sequence[str], str | None]],
    draft: Path,
    name: str,
) -> tuple[bytes, Proof, ModelMetadata]:
    """Writes ``graph`` with its metadata to ``draft``, proves it, adds proof and golden cases, and checks those.

    Args:
        metadata: all but golden cases and proof.
        sentences: for the golden cases: tokens, at least one, and None or the text that they are cut from.
        name: stands for the file in errors.

    Returns:
        The whole file, which is also what ``draft`` holds now; the proof; the metadata in it.

    Raises:
        ParityError: it does not answer as ``oracle`` does, or no reader would take it.
    """
    write_draft(draft, with_metadata(graph, metadata))
    try:
        proof = prove(TaggerSession(draft), oracle)
    except ModelFileError as e:
        raise ParityError(f"{name}: {fact_of(e, draft)}; no file was written; report this") from e
    check(proof, name)
    golden = tuple(_case(metadata, oracle, tokens, text) for tokens, text in sentences)
    metadata = replace(metadata, golden=golden, proof=proof.to_json())
    whole = with_metadata(graph, metadata)
    write_draft(draft, whole)
    report = check_golden(open_predictor(draft, threads=1))
    if report.failures:
        raise ParityError(f"{name}: {report.failures[0]}; no file was written; export again from the checkpoint")
    return whole, proof, metadata


def fact_of(error: ModelFileError, draft: Path) -> str:
    """What an error says of a draft, without its name, and without the cure: nobody but the exporter has the file."""
    return str(error).removeprefix(f"{draft}: ").rpartition("; ")[0]


def _metadata(checkpoint: Checkpoint, precision: Precision, crf: Crf | None) -> ModelMetadata:
    runtime = import_onnxruntime()
    recipe = checkpoint.recipe.to_json()
    untrained = crf is not None and not checkpoint.recipe.model.crf
    return ModelMetadata(
        vocabulary=checkpoint.vocabulary,
        tags=checkpoint.tags,
        tokenizer=checkpoint.tokenizer,
        features=checkpoint.features,
        crf=crf,
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
        notes=("tags are constrained to valid IOB2; the transitions are not trained",) if untrained else (),
    )


def with_metadata(graph: onnx.ModelProto, metadata: ModelMetadata) -> bytes:
    """The file: graph and metadata, the same bytes for the same of both."""
    model = onnx.ModelProto()
    model.CopyFrom(graph)
    onnx.helper.set_model_props(model, metadata.to_properties())
    model.producer_version = __version__
    return model.SerializeToString(deterministic=True)


def _sentences(checkpoint: Checkpoint) -> list[tuple[list[str], str | None]]:
    """For the golden cases: the checkpoint's samples, its first words, words it cannot know, one word alone."""
    words = [word for word in checkpoint.vocabulary.words if word is not None][:12]
    cut = checkpoint.tokenizer.tokens
    samples = [(list(sample["tokens"]), sample["text"]) for sample in checkpoint.samples]
    found = [(tokens, text if text and cut(text) == tokens else None) for tokens, text in samples if tokens]
    found += [(tokens, None) for tokens in (words, list(_EDGE_TOKENS), words[:1]) if tokens]
    # Texts are cut by the model's own tokenizer: these are the cases that test it.
    there = {text for _, text in found}
    more = dict.fromkeys(text for _, text in samples if text and text not in there)
    return found + [(tokens, text) for text in more if (tokens := cut(text))]


def _case(metadata: ModelMetadata, oracle: Oracle, tokens: Sequence[str], text: str | None) -> GoldenCase:
    """One sentence as ``oracle`` answers it."""
    inputs = Encoder(metadata.vocabulary, metadata.features, metadata.characters).encode([tokens])
    scores = oracle(inputs)[0]  # (sequence, tags)
    if metadata.crf:
        best = metadata.crf.viterbi(scores[None], inputs["lengths"])[0]
        probabilities = metadata.crf.marginals(scores)
    else:
        best = scores.argmax(-1)
        probabilities = np.exp(scores.astype(np.float64))
    return GoldenCase(
        tokens=tuple(tokens),
        inputs=ragged_ids(inputs, 0),
        tag_ids=tuple(best.tolist()),
        tags=tuple(metadata.tags[i] for i in best),
        scores=tuple(probabilities[np.arange(len(best)), best].tolist()),
        text=text,
    )
