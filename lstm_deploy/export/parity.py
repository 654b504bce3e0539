"""The proof that an exported file answers as PyTorch does, for every batch and length tried.

The oracle is the PyTorch module on single sentences, where nothing is padded. Inputs are drawn
over the whole word and subword tables, not from text, so that every row can be hit. For a file whose
weights are rounded it is the module with the rounded weights: the proof is that the graph is right, what
the rounding costs is measured beside it (`rounding_cost`).
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..batching import plan_batches
from ..conformance.drawing import draw
from ..conformance.proof import Proof
from ..encoding import Inputs, row_of
from ..errors import CheckpointError, InputError, ParityError
from ..formats import LineReader, format_of, read_sentences
from ..metadata import TOLERANCES, ModelMetadata
from ..modelfile import read_model_file
from ..session import Scores, TaggerSession
from ..streaming import AnyPredictor
from ..training.checkpoint import load_checkpoint
from ..training.model import LSTMTagger, model_inputs
from .stored import StoredTagger

BATCHES = (1, 2, 7, 12)
LENGTHS = (1, 2, 13, 200)
Oracle = Callable[[Inputs], NDArray[np.float32]]
"""PyTorch's answer to a batch of one sentence without padding: (1, sequence, tags), as the file gives its scores."""
_SEED = 20_240_601
_CORPUS_BATCH_TOKENS = 4096


def prove(session: TaggerSession, oracle: Oracle) -> Proof:
    """Runs every batch size and length, ragged, through ``session``, and each row alone through ``oracle``.

    Returns:
        The figures; `Proof.holds` says whether they pass.
    """
    random = np.random.default_rng(_SEED)
    crf = session.metadata.crf
    proof = Proof(tolerance=session.metadata.tolerance)
    for batch in BATCHES:
        for length in LENGTHS:
            inputs = draw(session.metadata, random, batch, length)
            found = session.run(inputs)
            rows = [row_of(inputs, i) for i in range(batch)]
            proof.compare(found, _answers(oracle, rows, found.of_tags.shape), inputs["lengths"], crf)
            alone = [session.run(row) for row in rows]
            for i, answer in enumerate(alone):
                proof.compare_alone(found, answer, i, crf)
            if session.metadata.states:
                prove_chunks(proof, session, rows)
    return proof


def prove_chunks(proof: Proof, session: TaggerSession, rows: Sequence[Inputs]) -> None:
    """Adds sentences that go through a streaming file in chunks of random lengths, against the whole of each.

    Args:
        rows: inputs of each sentence alone.
    """
    random = np.random.default_rng(_SEED)
    for chunks, row in zip(in_chunks(session, rows, random), rows, strict=True):
        proof.compare_chunks(chunks, session.run(row))


def in_chunks(session: TaggerSession, rows: Sequence[Inputs], random: np.random.Generator) -> list[Scores]:
    """The answer of a streaming file to each sentence, all of them advanced together by chunks of random lengths.

    Args:
        rows: inputs of each sentence alone.
        random: draws how many tokens of each go into each batch: 0 to 16, padding included.
    """
    lengths = np.array([int(row["lengths"][0]) for row in rows])
    at, states = np.zeros(len(rows), np.int64), session.initial_states(len(rows))
    found: list[list[Scores]] = [[] for _ in rows]
    while (at < lengths).any():
        step = np.minimum(random.choice([0, 1, 1, 2, 3, 7, 16], len(rows)), lengths - at)
        if not step.any():
            continue
        inputs = _chunk(rows, at, step, int(step.max()) + int(random.integers(2)))
        answer, states = session.run_chunk(inputs, states)
        for i in np.flatnonzero(step):
            found[i].append(Scores(answer.tag_ids[i, : step[i]], answer.of_tags[i, : step[i]]))
        at += step
    return [
        Scores(np.concatenate([p.tag_ids for p in parts])[None], np.concatenate([p.of_tags for p in parts])[None])
        for parts in found
    ]


def _chunk(rows: Sequence[Inputs], at: NDArray[Any], step: NDArray[Any], width: int) -> Inputs:
    """One ragged batch: ``step`` tokens of each row from ``at`` on, zeros at padding."""
    inputs: Inputs = {}
    for kind in rows[0].keys() - {"lengths"}:
        shape = np.max([row[kind].shape[2:] for row in rows], axis=0).astype(int).tolist()
        inputs[kind] = np.zeros((len(rows), width, *shape), np.int32)
        for i, row in enumerate(rows):
            part = row[kind][0, at[i] : at[i] + step[i]]
            inputs[kind][(i, slice(len(part)), *map(slice, part.shape[1:]))] = part
    return inputs | {"lengths": step.astype(np.int32)}


def verify_checkpoint(predictor: AnyPredictor, folder: Path, source: Path | None = None) -> dict[str, Proof]:
    """The proof of a finished file once more, against the checkpoint it was made from.

    Args:
        source: a corpus or text whose every sentence is compared too: batched as the predictor
            batches it, against PyTorch on the sentence alone.

    Raises:
        CheckpointError: ``folder`` is no checkpoint, or of another tagger.
        InputError: ``source`` is malformed or empty.
    """
    oracle = _oracle(predictor.metadata, predictor.path, folder)
    proofs = {"proof": prove(predictor.session, oracle)}
    if source:
        proofs["corpus"] = prove_on(predictor, oracle, source)
    return proofs


def checkpoint_oracle(path: Path, folder: Path) -> Oracle:
    """PyTorch's answers for the file at ``path``, from the checkpoint that it was made of.

    Raises:
        CheckpointError: ``folder`` is no checkpoint, or of another tagger.
        ModelFileError: ``path`` is not one of our files.
    """
    return _oracle(ModelMetadata.from_properties(read_model_file(path).properties, source=str(path)), path, folder)


def _oracle(metadata: ModelMetadata, path: Path, folder: Path) -> Oracle:
    checkpoint, model = load_checkpoint(folder)
    words = metadata.vocabulary.words if metadata.vocabulary else ()
    theirs = (checkpoint.tags, checkpoint.vocabulary.words, checkpoint.features, None)
    if theirs != (metadata.tags, words, metadata.features, metadata.characters):
        raise CheckpointError(f"{folder}: another tagger than {path} (tags, words or features differ)")
    tagger = StoredTagger(model, checkpoint.vocabulary, checkpoint.features, metadata.precision)
    return partial(torch_log_probs, tagger.oracle())


def prove_on(predictor: AnyPredictor, oracle: Oracle, source: Path) -> Proof:
    """Compares every sentence of a corpus: in ragged batches through the file, alone through ``oracle``.

    Raises:
        InputError: malformed, or no sentence in it.
    """
    lines = LineReader(source)
    proof = Proof(tolerance=predictor.metadata.tolerance)
    sentences = [s.tokens for s in read_sentences(lines, format_of(source), predictor.metadata.tokenizer) if s.tokens]
    if not sentences:
        raise InputError(f"{source}: no sentences; expected at least one")
    for batch in plan_batches([len(tokens) for tokens in sentences], max_tokens=_CORPUS_BATCH_TOKENS):
        inputs = predictor.encoder.encode([sentences[i] for i in batch])
        found = predictor.session.run(inputs)
        rows = [row_of(inputs, i) for i in range(len(batch))]
        answers = _answers(oracle, rows, found.of_tags.shape)
        proof.compare(found, answers, inputs["lengths"], predictor.metadata.crf)
    return proof


def check(proof: Proof, name: str) -> None:
    """Raises unless the proof holds.

    Raises:
        ParityError: it does not; the text gives the figures.
    """
    cure = "install other versions of torch or onnxruntime"
    if proof.tolerance > TOLERANCES["fp32"]:
        cure = "its hidden states do not bear int8: export fp16 or fp32"
    if not proof.holds:
        raise ParityError(
            f"{name}: not the same as PyTorch ({proof.summary()}, batched against alone "
            f"{proof.max_batch_difference:.2g}); no file was written; {cure}"
        )


def torch_log_probs(model: LSTMTagger, inputs: Inputs) -> NDArray[np.float32]:
    """(batch, sequence, tags) log-probabilities of the PyTorch module."""
    return model.log_probs(*model_inputs(inputs)).numpy()


def _answers(oracle: Oracle, rows: list[Inputs], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """PyTorch's answer to each row alone, laid out as the batch."""
    answer = np.zeros(shape, np.float32)
    for i, row in enumerate(rows):
        answer[i, : row["lengths"][0]] = oracle(row)[0]
    return answer
