"""Somebody's tagger, unchanged -> one ONNX file, batched and proved against the module on single sentences."""

import math
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from .. import __version__
from ..card import card_to_write
from ..conformance.proof import Proof
from ..crf import Crf
from ..encoding import Encoder, Inputs
from ..errors import InputError, MetadataError, ModelFileError, ParityError, UnsafeModelError
from ..golden import check_golden
from ..metadata import ModelMetadata
from ..providers import import_onnxruntime
from ..session import TaggerSession
from ..streaming import open_predictor
from ..tokenizer import Tokenizer
from . import rules  # noqa: F401 - they register themselves
from .capture import LiftError, Line, Recording, Subject, Value, is_authors, replaced
from .crf_search import Decoder, Reading, find_reading, transition_parameters
from .escapes import check_escapes
from .exporter import Exported, check_weights, fact_of, with_metadata, write, write_draft
from .graph import signature
from .inputs import OwnInputs
from .lifting import Lifted, Lifter
from .module_proof import EVERY_LENGTH, Answer, golden_case, proof_lengths, prove_sentences
from .parity import prove_chunks
from .program import Aligner, Sizes, Term
from .results import Results, is_turned, token_major, uses
from .rolling import Roller
from .spec import Names, Spec, names_by_id
from .streaming import LiftedStreams, check_streams
from .targets import Target, targeted
from .thresholds import check_slices
from .viterbi import best_tag_ids, crf_tag_ids

_LENGTHS = (5, 7, 11, 5, 7, 11, 5, 7, 11)
"""Tokens of the sentences that are recorded: three of each length, so that content is told from length."""
_TINY = -69.0


def export_module(
    module: nn.Module,
    output: str | Path,
    *,
    vocabulary: Names,
    tags: Names,
    entry: str = "forward",
    encode: Callable[[list[list[str]]], Any] | None = None,
    spec: Spec | Mapping[str, Any] | None = None,
    streaming: bool = False,
    target: Target | None = None,
    card: Mapping[str, Any] | None = None,
) -> Exported:
    """Exports a tagger as it is: one sentence at a time or batched, packed or not, with its CRF.

    Args:
        module: answers one sentence when ``entry`` is called with ``encode([tokens])``.
        vocabulary: word -> id, or words in the order of their ids.
        tags: likewise.
        entry: the method that gives scores or tags.
        encode: makes the arguments of the entry for a list of sentences; default: one LongTensor (tokens,).
        spec: how ids are made; default: exact words, no unknown word.
        streaming: the file takes sentences in chunks, for `StreamingPredictor`.
        target: where it is to run; None is the most portable that it can be.
        card: what the file says that it is for (`lstm_deploy.card`).

    Returns:
        The figures of the proof, which also stand in the file's metadata.

    Raises:
        LiftError: the module does something that no graph for batches can do; the text names its line.
        ParityError: the weights are no numbers, or the file would not answer as the module does; nothing is written.
        InputError: the card is not a whole one, vocabulary, tags or spec contradict each other, a tagger that streams
            ends in a CRF, or there is no file for ``target``.
        OutputError: ``output`` cannot be written.
    """
    import_onnxruntime()
    card = card_to_write(card)
    if isinstance(spec, Mapping):
        spec = Spec.from_json(dict(spec), "spec")
    tagger = _Tagger(module, vocabulary, tags, entry, encode, spec or Spec(), streaming=streaming)
    check_weights(module, str(output))
    made = targeted(*tagger.lifted(), target)
    with TemporaryDirectory(prefix="lstm-deploy-") as scratch:
        draft = Path(scratch) / "draft.onnx"
        whole, proof = tagger.proved(made.graph, made.metadata, draft, str(output))
    write(whole, Path(output), card)
    return Exported(proof, {}, made.narrowed)


class _Tagger:
    """A module with everything needed to run it on tokens."""

    def __init__(
        self,
        module: nn.Module,
        vocabulary: Names,
        tags: Names,
        entry: str,
        encode: Any,
        spec: Spec,
        *,
        streaming: bool = False,
    ) -> None:
        if isinstance(module, torch.jit.ScriptModule):
            raise LiftError(
                f"{type(module).__name__} is a scripted or traced module, whose calls cannot be recorded; pass the "
                "module that it was made from"
            )
        if not callable(getattr(module, entry, None)):
            raise InputError(f"{type(module).__name__} has no method {entry!r}; pass the one that tags as entry")
        names = names_by_id(tags, "tags")
        if None in names:
            raise InputError(f"no tag has the id {names.index(None)}; expected ids 0 to {len(names) - 1}, one tag each")
        self.tags = tuple(name for name in names if name is not None)
        self.inputs = OwnInputs(vocabulary, spec)
        self.subject = Subject(module, entry, encode or self._one_tensor)
        self.inputs.arguments = self.subject.arguments
        self._parameters = transition_parameters(module, len(self.tags))
        self.results = Results(self.subject, self.tags, self._parameters)
        self._reading: Reading | None = None
        self._emissions: Value | None = None
        self._lines: set[Any] = set()
        self._kind = "logits"
        self._streaming = streaming
        self._turned = False

    def _one_tensor(self, sentences: list[list[str]]) -> Tensor:
        return torch.tensor([self.inputs.vocabulary.id(word) for word in sentences[0]], dtype=torch.long)

    # -- from module to graph

    def lifted(self) -> tuple[onnx.ModelProto, ModelMetadata]:
        """The graph, and the metadata without golden cases and proof."""
        sentences = [self.inputs.sentence(n) for n in _LENGTHS]
        self._check_runs(sentences[0])
        self.inputs.check_encode()
        recordings = [self._recording(tokens) for tokens in sentences]
        self._lines = {_way(op) for r in recordings for op in r.ops}
        check_slices(recordings)
        found = [self.results.of(r) for r in recordings]
        crf = None
        if all(isinstance(f, list) for f in found) and self._parameters and uses(recordings[0], self._parameters):
            crf = self._find_crf(recordings)
            decoders = [self._decoder(r) for r in recordings]
            roots: list[Any] = [d.emissions for d in decoders]
            self._kind = "emissions"
            check_escapes(recordings, [d.ops for d in decoders], self.results.path, self._aligner)
        else:
            check_escapes(recordings, [set() for _ in recordings], self.results.path, self._aligner)
            roots = [self.results.scores(r, f) for r, f in zip(recordings, found, strict=True)]
        if crf is None:
            self._turned = any(
                isinstance(root, Value) and is_turned(root.tensor, len(r.tokens), len(self.tags))
                for r, root in zip(recordings, roots, strict=True)
            )
        return self._graph(sentences, recordings, roots, crf)

    def _aligner(self, sentences: list[list[str]]) -> Aligner:
        return Aligner(sentences, self.inputs.leaf_kind, self.inputs.reachable())

    def _check_runs(self, tokens: list[str]) -> None:
        try:
            self.subject.find_state(tokens)
            self.subject.record(tokens)
            answers = [_flat(self.subject.answer(tokens)) for _ in range(4)]
            again = self.subject.changes(tokens)
        except LiftError:
            raise
        except Exception as e:
            name = f"{type(self.subject.module).__name__}.{self.subject.entry}"
            raise LiftError(
                f"{_failing_line(e) or name}: {name} does not run on one sentence of {len(tokens)} words "
                f"({type(e).__name__}: {' '.join(str(e).split()):.200}); encode (--encode package.module:function) "
                "has to make the arguments of the entry, one or a tuple, for a list of one sentence, unseen words "
                "included where there is an unknown word"
            ) from e
        if any(not _same_answers(answers[0], other) for other in answers[1:]):
            raise LiftError(
                f"{self._where_runs_differ(tokens)}: runs on one sentence give different answers; take out what is "
                "random or kept from call to call"
            )
        if again and (where := self._where_runs_differ(tokens)) != self.subject.source:
            raise LiftError(f"{where}: runs on one sentence give different answers; take out what is random")
        if again:
            raise LiftError(
                f"{again}: the answer depends on what earlier calls have left behind; answer each sentence by itself"
            )

    def _recording(self, tokens: list[str]) -> Recording:
        try:
            return self.subject.record(tokens)
        except LiftError:
            raise
        except Exception as e:
            raise LiftError(
                f"{_failing_line(e) or self.subject.source}: fails for a sentence of {len(tokens)} words "
                f"({type(e).__name__}: {' '.join(str(e).split()):.120}); the vocabulary must be the one it was "
                "trained with, and any length answered"
            ) from e

    def _where_runs_differ(self, tokens: list[str]) -> Any:
        first = self.subject.record(tokens)
        for _ in range(8):
            for a, b in zip(first.ops, self.subject.record(tokens).ops, strict=False):
                for x, y in zip(a.outputs, b.outputs, strict=False):
                    if a.name != b.name or not torch.equal(x.tensor, y.tensor):
                        return b.line
        return self.subject.source

    def _graph(
        self, sentences: list[list[str]], recordings: list[Recording], roots: list[Any], crf: Crf | None
    ) -> tuple[onnx.ModelProto, ModelMetadata]:
        rolled = []
        for recording, root in zip(recordings, roots, strict=True):
            roller = Roller(recording)
            rolled.append(roller.roll_list(root) if isinstance(root, list) else roller.roll_result(root))
        sizes = Sizes(sentences)
        term = self._aligner(sentences).align(rolled)
        if crf is None:
            term = self._unwrapped(term, sizes)
        lifter = Lifter(
            sizes,
            self.inputs.rows,
            self.inputs.spec.vectors,
            self.inputs.characters.padding_id if self.inputs.characters else 0,
            len(self.inputs.characters) if self.inputs.characters else 0,
        )
        if self._streaming:
            check_streams(bidirectional=False, precision="fp32", decodes_path=crf is not None)
            lifter.streams = LiftedStreams()
        scores = self._token_scores(lifter, lifter.lift(term), term)
        metadata = self._metadata(lifter, crf)
        graph = lifter.graph
        by_batch = graph.node("Transpose", [scores], "logits" if crf is None else "emissions", perm=[1, 0, 2])
        if crf is None:
            best_tag_ids(graph, graph.node("LogSoftmax", [by_batch], "log_probs", axis=-1), "lengths")
        else:
            crf_tag_ids(graph, by_batch, "lengths", crf)
        sides = (signature(specs, metadata) for specs in (metadata.inputs(), metadata.outputs()))
        return graph.model("lifted_tagger", *sides), metadata

    def _token_scores(self, lifter: Lifter, found: Lifted, term: Term) -> str:
        """(sequence, batch, tag)."""
        count = len(self.tags)
        if found.times != 1 or found.others != ([count] if count > 1 else []):
            raise LiftError(
                f"{term.line}: the result has the axes {found.dims}; expected a score for each token and each of "
                f"{count} tags; pass the tags that the module scores, or another entry"
            )
        return lifter.node("Unsqueeze", [found.name, lifter.ints(2)]) if count == 1 else found.name

    def _unwrapped(self, term: Term, sizes: Sizes) -> Term:
        """Scores before a final softmax over tags; says what the module's own scores are."""
        call = term.call
        if call is not None and call.name in ("softmax", "log_softmax"):
            dim = call.args[1] if len(call.args) > 1 else call.kwargs.get("dim")
            dims = sizes.dims(term)
            if isinstance(dim, int) and dims is not None and dims[dim] == (len(self.tags),):
                if call.name == "softmax":
                    self._kind = "probs"
                return call.args[0] if call.args else call.kwargs["input"]
        return term

    def _metadata(self, lifter: Lifter, crf: Crf | None) -> ModelMetadata:
        runtime = import_onnxruntime()
        notes = sorted(self.subject.notes | lifter.notes)
        uses_words = "word_ids" in lifter.used or not lifter.used
        return ModelMetadata(
            vocabulary=self.inputs.vocabulary if uses_words else None,
            tags=self.tags,
            tokenizer=Tokenizer(),
            characters=self.inputs.characters if lifter.used & {"char_ids", "char_lengths"} else None,
            crf=crf,
            training={"module": type(self.subject.module).__name__, "entry": self.subject.entry},
            versions={
                "lstm_deploy": __version__,
                "torch": torch.__version__,
                "onnx": onnx.__version__,
                "onnxruntime": runtime.__version__,
                "numpy": np.__version__,
            },
            notes=tuple(notes),
            states=tuple(lifter.streams.states) if lifter.streams else (),
        )

    def _prove_chunks(self, proof: Proof, session: TaggerSession, rows: list[Inputs]) -> None:
        if not session.metadata.states:
            raise LiftError(f"{self.subject.source}: no recurrence runs over the tokens; export without --streaming")
        prove_chunks(proof, session, rows)
        if not proof.holds:
            raise LiftError(
                f"{self.subject.source}: answers chunks otherwise than the whole sentence (largest difference "
                f"{proof.max_chunk_difference:.2g}): more than its recurrences looks at other tokens or counts them; "
                "export without --streaming"
            )

    def _find_crf(self, recordings: list[Recording]) -> Crf:
        n_tags = len(self.tags)
        first = Decoder(recordings[0], self._parameters, n_tags)
        if first.emissions is None:
            raise LiftError(
                f"{self.subject.source}: the transitions ({', '.join(sorted(self._parameters))}) meet no scores of "
                f"{n_tags} tags for each token; give the decoder one score per token and tag"
            )
        path_of = lambda r: self.results.path(r) or []  # noqa: E731
        self._emissions = first.emissions
        self._reading = find_reading(
            self.subject, self._parameters, n_tags, self.inputs.sentence, path_of, first.emissions
        )
        return first.crf(self._reading)

    def _decoder(self, recording: Recording) -> Decoder:
        found = Decoder(recording, self._parameters, len(self.tags), self._emissions)
        if found.emissions is None:
            raise LiftError(
                f"{self.subject.source}: a sentence of {len(recording.tokens)} words is decoded otherwise than longer "
                "ones; decode all alike"
            )
        return found

    # -- proof

    def answer(self, tokens: list[str]) -> Answer:
        """The module on one sentence, as its user runs it."""
        n, count = len(tokens), len(self.tags)
        if self._kind == "emissions" or self.results.gives_path:
            recording = self._recorded(tokens)
            path = self.results.path(recording)
            if path is None:
                raise LiftError(
                    f"{self.subject.source}: returns no {n} tag ids for {n} words; expected one tag per word"
                )
            if self._kind == "emissions":
                return Answer(self._decoder(recording).scores(), path)
            found = self.results.scores(recording, path)
            chosen = path
        else:
            recording = self._recorded(tokens)
            found = self.results.scores_in(recording.result, n, count)
            chosen = self.results.tags_beside(recording)
        scores = torch.stack([v.tensor.reshape(-1) for v in found]) if isinstance(found, list) else found.tensor
        scores = token_major(scores.double(), n, count, turned=self._turned)
        floor = math.exp(_TINY)
        log_probs = scores.clamp(min=floor).log() if self._kind == "probs" else scores.log_softmax(-1)
        return Answer(log_probs.numpy(), chosen or log_probs.argmax(-1).tolist())

    def _recorded(self, tokens: list[str]) -> Recording:
        """A run that takes no other way through the module than the recorded ones did."""
        recording = self.subject.record(tokens)
        if len(tokens) > 1:
            other = next((op.line for op in recording.ops if _way(op) not in self._lines), None)
            if other is not None:
                raise LiftError(
                    f"{other}: is reached for a sentence of {len(tokens)} words, not for those of {min(_LENGTHS)} to "
                    f"{max(_LENGTHS)}: Python decides by the sentence's length or content; treat all sentences alike"
                )
        return recording

    def _answered(self, lengths: Sequence[int]) -> tuple[list[list[str]], list[Answer]]:
        """Random sentences that the module has an answer to; beyond a length it may have none."""
        sentences, answers = [], []
        for n in lengths:
            tokens = self.inputs.sentence(n)
            try:
                answers.append(self.answer(tokens))
            except LiftError:
                raise
            except Exception as e:
                if n <= max(EVERY_LENGTH):
                    raise LiftError(
                        f"{_failing_line(e) or self.subject.source}: fails for a sentence of {n} words "
                        f"({type(e).__name__}: {' '.join(str(e).split()):.120}); make it answer sentences of any "
                        "length"
                    ) from e
                continue
            sentences.append(tokens)
        return sentences, answers

    def _unproved(
        self,
        proof: Proof,
        session: TaggerSession,
        encoder: Encoder,
        sentences: Sequence[list[str]],
        answers: Sequence[Answer],
        name: str,
    ) -> ParityError:
        """The error for a file that does not answer as the module does, with the first sentence that shows it."""
        where = "a batch of several sentences"
        for i in sorted(range(len(sentences)), key=lambda i: len(sentences[i])):
            if not prove_sentences(session, encoder, sentences[i : i + 1], answers[i : i + 1]).holds:
                where = f"{len(sentences[i])} words alone ({' '.join(sentences[i]):.60})"
                break
        return ParityError(
            f"{name}: not the same as {type(self.subject.module).__name__}.{self.subject.entry} ({proof.summary()}), "
            f"first for {where}; no file was written; the module decides in Python by a sentence's length or content, "
            "or mixes what a batch must keep apart: treat all sentences alike"
        )

    def proved(self, graph: onnx.ModelProto, metadata: ModelMetadata, draft: Path, name: str) -> tuple[bytes, Proof]:
        """The whole file and its proof, on sentences that the recording has not seen."""
        write_draft(draft, with_metadata(graph, metadata))
        try:
            session = TaggerSession(draft)
        except UnsafeModelError as e:
            raise LiftError(
                f"{self.subject.source}: its graph is one that no reader takes ({fact_of(e, draft)}); write that part "
                "of the module otherwise, or report this"
            ) from e
        except MetadataError as e:
            raise LiftError(
                f"{self.subject.source}: ids are computed with before they are looked up, which no client could check "
                f"({fact_of(e, draft)}); look up the ids as they are given"
            ) from e
        encoder = Encoder(metadata.vocabulary, metadata.features, metadata.characters)
        lengths = proof_lengths(self.subject.module, decodes=metadata.crf is not None)
        sentences, answers = self._answered(lengths)
        try:
            proof = prove_sentences(session, encoder, sentences, answers)
        except ModelFileError as e:
            raise ParityError(
                f"{name}: fails on sentences that {type(self.subject.module).__name__} answers "
                f"({fact_of(e, draft):.200}); no file was written; a table by position must be looked up by the "
                "position itself"
            ) from e
        if not proof.holds:
            raise self._unproved(proof, session, encoder, sentences, answers, name)
        if self._streaming:
            self._prove_chunks(proof, session, [encoder.encode([tokens]) for tokens in sentences])
        shown = sorted(range(len(sentences)), key=lambda i: len(sentences[i]))[1:8:2]
        cases = tuple(golden_case(metadata, encoder, sentences[i], answers[i]) for i in shown)
        metadata = replace(metadata, golden=cases, proof=proof.to_json())
        whole = with_metadata(graph, metadata)
        write_draft(draft, whole)
        report = check_golden(open_predictor(draft, threads=1))
        if report.failures:
            raise ParityError(f"{name}: {report.failures[0]}; no file was written; report this")
        return whole, proof


# -- names and trees


def _way(op: Any) -> Any:
    """What tells one way through a module from another: line, function, parameters."""
    return op.line, op.name, tuple(v.parameter for v in op.inputs() if v.parameter)


def _failing_line(error: Exception) -> Line | None:
    """The innermost line of somebody's code in a traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if is_authors(f.filename) and f.lineno]
    return Line(own[-1].filename, int(own[-1].lineno or 0)) if own else None


def _same_answers(a: list[Any], b: list[Any]) -> bool:
    return len(a) == len(b) and all(np.array_equal(x, y, equal_nan=True) for x, y in zip(a, b, strict=True))


def _flat(tree: Any) -> list[Any]:
    found: list[Any] = []
    replaced(
        tree,
        lambda x: (
            found.append(x.detach().numpy() if isinstance(x, Tensor) else np.asarray(x))
            if isinstance(x, (Tensor, int, float))
            else None
        ),
    )
    return found


__all__ = ["LiftError", "export_module"]
