"""The proof that an exported file answers as PyTorch does, for every batch and length tried.

The oracle is the PyTorch module on single sentences, where nothing is padded. Inputs are drawn
over the whole word and subword tables, not from text, so that every row can be hit. For a file whose
weights are rounded it is the module with the rounded weights: the proof is that the graph is right, what
the rounding costs is measured beside it (`rounding_cost`).
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..batching import plan_batches
from ..crf import Crf
from ..encoding import Inputs, row_of
from ..errors import CheckpointError, InputError, ParityError
from ..formats import LineReader, format_of, read_sentences
from ..metadata import TOLERANCES, ModelMetadata
from ..session import Scores, TaggerSession
from ..streaming import AnyPredictor
from ..training.checkpoint import load_checkpoint
from ..training.model import LSTMTagger
from ..training.trainer import model_inputs
from ..vocabulary import CharacterVocabulary, Vocabulary
from .stored import StoredTagger

BATCHES = (1, 2, 7, 12)
LENGTHS = (1, 2, 13, 200)
Oracle = Callable[[Inputs], NDArray[np.float32]]
"""PyTorch's answer to a batch of one sentence without padding: (1, sequence, tags), as the file gives its scores."""
_SEED = 20_240_601
_UNKNOWN_RATE = 0.5
_MAX_CHARACTERS = 12
_CORPUS_BATCH_TOKENS = 4096


@dataclass
class Proof:
    """Figures of one parity check.

    Attributes:
        batches: batches run, each against PyTorch and against its rows run alone.
        tokens: real tokens compared in them.
        max_difference: largest |difference| of a log-probability or emission from PyTorch's.
        max_batch_difference: the same between a row in its batch and alone, both in onnxruntime.
        tag_differences: tags that differ where the two best scores are further apart than the tolerance; with
            a CRF where the two paths' are, than the tolerance of all tokens together.
        ties: tags that differ where they are closer: either is right.
        tolerance: absolute, and relative to the value.
        max_chunk_difference: of a streaming file: the same between a sentence in chunks and the whole of it.
    """

    batches: int = 0
    tokens: int = 0
    max_difference: float = 0.0
    max_batch_difference: float = 0.0
    tag_differences: int = 0
    ties: int = 0
    outside: int = 0
    tolerance: float = TOLERANCES["fp32"]
    max_chunk_difference: float | None = None

    @property
    def holds(self) -> bool:
        """Nothing differs by more than it may."""
        return not self.tag_differences and not self.outside and self.tokens > 0

    def to_json(self) -> dict[str, Any]:
        """The figures as a JSON object; without that of chunks where there are none."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def summary(self) -> str:
        """The figures in one line."""
        chunks = self.max_chunk_difference
        return (
            f"{self.tokens:,} tokens in {self.batches:,} batches: largest difference {self.max_difference:.2g}, "
            f"{self.outside} outside {self.tolerance:g}, {self.tag_differences} tags differ, {self.ties} ties"
            + ("" if chunks is None else f", in chunks {chunks:.2g} from the whole")
        )

    def compare(
        self, found: Scores, oracle: NDArray[np.float32], lengths: NDArray[np.int32], crf: Crf | None = None
    ) -> None:
        """Adds one batch: what the file gives against (batch, sequence, tags) of the oracle."""
        valid = np.arange(found.tag_ids.shape[1]) < lengths[:, None]
        self.batches += 1
        self.tokens += int(valid.sum())
        self.max_difference = max(self.max_difference, self._differences(found.of_tags[valid], oracle[valid]))
        self.outside += int((found.tag_ids[~valid] != -1).sum())
        if crf:
            self._paths(found.tag_ids, oracle, lengths, crf)
        else:
            self._tags(found.tag_ids[valid], oracle[valid])

    def compare_alone(self, found: Scores, alone: Scores, row: int, crf: Crf | None = None) -> None:
        """Adds one row of a batch against the same row by itself."""
        length = alone.tag_ids.shape[1]
        difference = self._differences(found.of_tags[row, :length], alone.of_tags[0])
        self.max_batch_difference = max(self.max_batch_difference, difference)
        if crf:
            self._paths(found.tag_ids[row : row + 1, :length], alone.of_tags, np.array([length]), crf)
        else:
            self._tags(found.tag_ids[row, :length], alone.of_tags[0])

    def compare_chunks(self, chunks: Scores, whole: Scores) -> None:
        """Adds one sentence that went through a streaming file in chunks, against the whole of it."""
        difference = self._differences(chunks.of_tags[0], whole.of_tags[0])
        self.max_chunk_difference = max(self.max_chunk_difference or 0.0, difference)
        self._tags(chunks.tag_ids[0], whole.of_tags[0])

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

    def _paths(
        self, found: NDArray[np.int32], oracle: NDArray[np.float32], lengths: NDArray[np.int32], crf: Crf
    ) -> None:
        best = crf.viterbi(oracle, lengths)
        for i in np.flatnonzero((found != best).any(-1)):
            path, right, emissions = (part[i, : lengths[i]] for part in (found, best, oracle))
            differing = int((path != right).sum())
            inside = ((path >= 0) & (path < crf.tags)).all()
            ahead = crf.path_score(emissions, right) - crf.path_score(emissions, path) if inside else np.inf
            if ahead <= crf.path_tolerance(emissions, right, self.tolerance):
                self.ties += differing
            else:
                self.tag_differences += differing


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
            inputs = _draw(session.metadata, random, batch, length)
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
    checkpoint, model = load_checkpoint(folder)
    metadata = predictor.metadata
    words = metadata.vocabulary.words if metadata.vocabulary else ()
    theirs = (checkpoint.tags, checkpoint.vocabulary.words, checkpoint.features, None)
    if theirs != (metadata.tags, words, metadata.features, metadata.characters):
        raise CheckpointError(f"{folder}: another tagger than {predictor.path} (tags, words or features differ)")
    tagger = StoredTagger(model, checkpoint.vocabulary, checkpoint.features, metadata.precision)
    oracle = partial(torch_log_probs, tagger.oracle())
    proofs = {"proof": prove(predictor.session, oracle)}
    if source:
        proofs["corpus"] = prove_on(predictor, oracle, source)
    return proofs


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


def _draw(metadata: ModelMetadata, random: np.random.Generator, batch: int, length: int) -> Inputs:
    """A ragged batch whose longest row has ``length`` tokens; ids and lengths at padding are random too.

    Only ids that text can map to are drawn.
    """
    lengths = random.integers(1, length + 1, batch).astype(np.int32)
    lengths[random.integers(batch)] = length
    inputs: Inputs = {}
    if metadata.vocabulary:
        inputs["word_ids"] = _draw_words(metadata.vocabulary, random, (batch, length))
    if metadata.features and metadata.vocabulary:
        shape = (batch, length, len(metadata.features.templates))
        inputs["subword_ids"] = random.integers(0, metadata.features.buckets, shape, dtype=np.int32)
        for where in np.ndindex(batch, length):
            word = metadata.vocabulary.words[inputs["word_ids"][where]]
            if word is not None:  # a known word has its own features, an unknown one any
                inputs["subword_ids"][where] = metadata.features.ids(word)
    if characters := metadata.characters:
        inputs["char_lengths"] = random.integers(1, _MAX_CHARACTERS + 1, (batch, length), dtype=np.int32)
        inputs["char_ids"] = random.choice(_reachable(characters), (batch, length, _MAX_CHARACTERS))
    return inputs | {"lengths": lengths}


def _draw_words(vocabulary: Vocabulary, random: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.int32]:
    """Half of them known, half unknown, if there is an unknown word."""
    word_ids = random.choice(_reachable(vocabulary), shape)
    if vocabulary.unknown_id is not None:
        word_ids[random.random(shape) < _UNKNOWN_RATE] = vocabulary.unknown_id
    return word_ids


def _reachable(table: Vocabulary | CharacterVocabulary) -> NDArray[np.int32]:
    """The ids that some text maps to."""
    entries = table.words if isinstance(table, Vocabulary) else table.characters
    return np.array([i for i, entry in enumerate(entries) if entry is not None or i == table.unknown_id], np.int32)


def _answers(oracle: Oracle, rows: list[Inputs], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """PyTorch's answer to each row alone, laid out as the batch."""
    answer = np.zeros(shape, np.float32)
    for i, row in enumerate(rows):
        answer[i, : row["lengths"][0]] = oracle(row)[0]
    return answer
