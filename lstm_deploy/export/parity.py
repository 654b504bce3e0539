"""The proof that an exported file answers as PyTorch does, for every batch and length tried.

The oracle is the PyTorch module on single sentences, where nothing is padded. Inputs are drawn
over the whole word and subword tables, not from text, so that every row can be hit. For a file whose
weights are rounded it is the module with the rounded weights: the proof is that the graph is right, what
the rounding costs is measured beside it (`rounding_cost`).
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..batching import plan_batches
from ..encoding import Inputs
from ..errors import CheckpointError, InputError, ParityError
from ..formats import LineReader, format_of, read_sentences
from ..metadata import TOLERANCES
from ..predictor import Predictor
from ..session import Scores, TaggerSession
from ..training.checkpoint import load_checkpoint
from ..training.model import LSTMTagger
from ..training.trainer import model_inputs
from .stored import StoredTagger

BATCHES = (1, 2, 7, 12)
LENGTHS = (1, 2, 13, 200)
_SEED = 20_240_601
_UNKNOWN_RATE = 0.5
_CORPUS_BATCH_TOKENS = 4096


@dataclass
class Proof:
    """Figures of one parity check.

    Attributes:
        batches: batches run, each against PyTorch and against its rows run alone.
        tokens: real tokens compared in them.
        max_difference: largest |difference| of a log-probability from PyTorch's.
        max_batch_difference: the same between a row in its batch and alone, both in onnxruntime.
        tag_differences: tags that differ where the two best scores are further apart than the tolerance.
        ties: tags that differ where they are closer: either is right.
        tolerance: absolute, and relative to the value.
    """

    batches: int = 0
    tokens: int = 0
    max_difference: float = 0.0
    max_batch_difference: float = 0.0
    tag_differences: int = 0
    ties: int = 0
    outside: int = 0
    tolerance: float = TOLERANCES["fp32"]

    @property
    def holds(self) -> bool:
        """Nothing differs by more than it may."""
        return not self.tag_differences and not self.outside and self.tokens > 0

    def to_json(self) -> dict[str, Any]:
        """The figures as a JSON object."""
        return asdict(self)

    def summary(self) -> str:
        """The figures in one line."""
        return (
            f"{self.tokens:,} tokens in {self.batches:,} batches: largest difference {self.max_difference:.2g}, "
            f"{self.outside} outside {self.tolerance:g}, {self.tag_differences} tags differ, {self.ties} ties"
        )

    def compare(self, found: Scores, oracle: NDArray[np.float32], lengths: NDArray[np.int32]) -> None:
        """Adds one batch: what the file gives against (batch, sequence, tags) of the oracle."""
        valid = np.arange(found.tag_ids.shape[1]) < lengths[:, None]
        self.batches += 1
        self.tokens += int(valid.sum())
        self.max_difference = max(self.max_difference, self._differences(found.log_probs[valid], oracle[valid]))
        self.outside += int((found.tag_ids[~valid] != -1).sum())
        self._tags(found.tag_ids[valid], oracle[valid])

    def compare_alone(self, found: Scores, alone: Scores, row: int) -> None:
        """Adds one row of a batch against the same row by itself."""
        length = alone.tag_ids.shape[1]
        difference = self._differences(found.log_probs[row, :length], alone.log_probs[0])
        self.max_batch_difference = max(self.max_batch_difference, difference)
        self._tags(found.tag_ids[row, :length], alone.log_probs[0])

    def _differences(self, found: NDArray[np.float32], oracle: NDArray[np.float32]) -> float:
        difference = np.abs(found.astype(np.float64) - oracle)
        # Not-a-number compares false: it counts as outside.
        self.outside += int((~(difference <= self.tolerance + self.tolerance * np.abs(oracle))).sum())
        return float(difference.max(initial=0.0))

    def _tags(self, found: NDArray[np.int32], oracle: NDArray[np.float32]) -> None:
        best = oracle.argmax(-1)
        for i in np.flatnonzero(found != best):
            chosen = oracle[i, found[i]] if 0 <= found[i] < oracle.shape[1] else -np.inf
            if oracle[i, best[i]] - chosen <= self.tolerance + self.tolerance * abs(oracle[i, best[i]]):
                self.ties += 1
            else:
                self.tag_differences += 1


def prove(session: TaggerSession, model: LSTMTagger) -> Proof:
    """Runs every batch size and length, ragged, through ``session`` and through PyTorch.

    Returns:
        The figures; `Proof.holds` says whether they pass.
    """
    random = np.random.default_rng(_SEED)
    proof = Proof(tolerance=session.metadata.tolerance)
    for batch in BATCHES:
        for length in LENGTHS:
            inputs = _draw(session, random, batch, length)
            found = session.run(inputs)
            rows = [_row(inputs, i) for i in range(batch)]
            proof.compare(found, _oracle(model, rows, found.log_probs.shape), inputs["lengths"])
            for i, row in enumerate(rows):
                proof.compare_alone(found, session.run(row), i)
    return proof


def verify_checkpoint(predictor: Predictor, folder: Path, source: Path | None = None) -> dict[str, Proof]:
    """The proof of a finished file once more, against the checkpoint it was made from.

    Args:
        source: a corpus or text whose every sentence is compared too: batched as the predictor
            batches it, against PyTorch on the sentence alone.

    Raises:
        CheckpointError: ``folder`` is no checkpoint, or of another tagger.
        InputError: ``source`` is malformed or empty.
    """
    checkpoint, model = load_checkpoint(folder)
    theirs = (checkpoint.tags, checkpoint.vocabulary.words, checkpoint.features)
    if theirs != (predictor.metadata.tags, predictor.metadata.vocabulary.words, predictor.metadata.features):
        raise CheckpointError(f"{folder}: another tagger than {predictor.path} (tags, words or features differ)")
    metadata = predictor.metadata
    oracle = StoredTagger(model, metadata.vocabulary, metadata.features, metadata.precision).oracle()
    proofs = {"proof": prove(predictor.session, oracle)}
    if source:
        proofs["corpus"] = prove_on(predictor, oracle, source)
    return proofs


def prove_on(predictor: Predictor, model: LSTMTagger, source: Path) -> Proof:
    """Compares every sentence of a file: in ragged batches through the file, alone through PyTorch.

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
        rows = [_row(inputs, i) for i in range(len(batch))]
        proof.compare(found, _oracle(model, rows, found.log_probs.shape), inputs["lengths"])
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


def _draw(session: TaggerSession, random: np.random.Generator, batch: int, length: int) -> Inputs:
    """A ragged batch whose longest row has ``length`` tokens; ids at padding are random too.

    Half the words are known, with their own features, half are unknown, with features from the whole table.
    """
    vocabulary, features = session.metadata.vocabulary, session.metadata.features
    lengths = random.integers(1, length + 1, batch).astype(np.int32)
    lengths[random.integers(batch)] = length
    word_ids = random.integers(0, len(vocabulary), (batch, length), dtype=np.int32)
    inputs = {"word_ids": word_ids}
    if features:
        word_ids[random.random(word_ids.shape) < _UNKNOWN_RATE] = vocabulary.unknown_id
        shape = (batch, length, len(features.templates))
        inputs["subword_ids"] = random.integers(0, features.buckets, shape, dtype=np.int32)
        for where in np.ndindex(word_ids.shape):
            word = vocabulary.words[word_ids[where]]
            if word is not None:
                inputs["subword_ids"][where] = features.ids(word)
            else:  # a row that no word has, padding say, is looked up by nobody
                word_ids[where] = vocabulary.unknown_id
    return inputs | {"lengths": lengths}


def _row(inputs: Inputs, i: int) -> Inputs:
    length = int(inputs["lengths"][i])
    return {
        name: value[i : i + 1] if name == "lengths" else np.ascontiguousarray(value[i : i + 1, :length])
        for name, value in inputs.items()
    }


def _oracle(model: LSTMTagger, rows: list[Inputs], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """PyTorch's answer to each row alone, laid out as the batch."""
    answer = np.zeros(shape, np.float32)
    for i, row in enumerate(rows):
        answer[i, : row["lengths"][0]] = torch_log_probs(model, row)[0]
    return answer
