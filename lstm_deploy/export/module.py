"""Somebody's tagger, unchanged -> one ONNX file, batched and proved against the module on single sentences."""

import math
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .. import __version__
from ..batching import plan_batches
from ..crf import Crf
from ..encoding import Encoder, Inputs, ragged_ids
from ..errors import InputError, MetadataError, ModelFileError, ParityError
from ..golden import check_golden
from ..metadata import GoldenCase, ModelMetadata
from ..providers import import_onnxruntime
from ..session import TaggerSession
from ..streaming import open_predictor
from ..tokenizer import Tokenizer
from ..vocabulary import CharacterVocabulary, Vocabulary
from . import indexing, ordering, recurrent_rules, rules  # noqa: F401 - they register the rules
from .capture import LiftError, Line, Recording, Subject, Value, is_authors, replaced
from .crf_search import Decoder, Reading, find_reading, transition_parameters
from .exporter import Exported, with_metadata, write
from .graph import signature
from .lifting import TIME, Lifted, Lifter
from .parity import Proof, prove_chunks
from .program import Aligner, Sizes, Term
from .rolling import Roller
from .spec import Names, Spec, names_by_id
from .streaming import LiftedStreams, check_streams
from .thresholds import check_slices, thresholds
from .viterbi import best_tag_ids, crf_tag_ids

_LENGTHS = (5, 7, 11, 5, 7, 11, 5, 7, 11)
"""Tokens of the sentences that are recorded: three of each length, so that content is told from length."""
_PROOF_LENGTHS = (1, 1, 2, 2, 3, 4, 5, 6, 8, 9, 12, 13, 17, 21, 26, 33, 40, 63)
_EVERY_LENGTH = (1, 2, *range(1, 65))
"""For modules that answer quickly: a decision by length hides between a few."""
_LONG = 200
_SLOW_PARAMETERS = 2_000_000
_SLOW_TOKENS, _QUICK_TOKENS = 1500, 8000
"""Tokens spent on lengths around numbers in the module's code."""
_SEED = 20_240_602
_TINY = -69.0
_UNKNOWN_WORDS = ("zxqv", "Qvuq", "77", "-", "unwortlich", "USA", "3.14", "co-op", "x")
_ODD = (
    "1999",
    "3.14",
    "7",
    "10,000",
    "A1",
    "U.S.",
    "-",
    "--",
    "!",
    "@x",
    "http://a.b",
    "e-mail",
    "ÄÖ",
    "naïve",
    "1st",
    "x" * 30,
)
_ENDS = ("s", "'s", "ing", "ed", "-like", "2", ".")
_SYLLABLES = ["ba", "no", "ri", "tel", "u", "xi", "zor", "quam", "ä", "ß"]


def export_module(
    module: nn.Module,
    output: str | Path,
    *,
    vocabulary: Names,
    tags: Names,
    entry: str = "forward",
    encode: Callable[[list[list[str]]], Any] | None = None,
    spec: Spec | None = None,
    streaming: bool = False,
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

    Returns:
        The figures of the proof, which also stand in the file's metadata.

    Raises:
        LiftError: the module does something that no graph for batches can do; the text names its line.
        ParityError: the file would not answer as the module does; nothing is written.
        InputError: vocabulary, tags or spec contradict each other, or a tagger that streams ends in a CRF.
        OutputError: ``output`` cannot be written.
    """
    import_onnxruntime()
    tagger = _Tagger(module, vocabulary, tags, entry, encode, spec or Spec(), streaming=streaming)
    graph, metadata = tagger.lifted()
    with TemporaryDirectory(prefix="lstm-deploy-") as scratch:
        draft = Path(scratch) / "draft.onnx"
        whole, proof = tagger.proved(graph, metadata, draft, str(output))
    write(whole, Path(output))
    return Exported(proof, {})


@dataclass(frozen=True)
class Answer:
    """What a module says of one sentence.

    Attributes:
        scores: (tokens, tags): log-probabilities, or with a CRF emissions.
        path: the tag ids that it chooses.
    """

    scores: NDArray[Any]
    path: list[int]


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
                "module that "
                "it was made from"
            )
        if not callable(getattr(module, entry, None)):
            raise InputError(f"{type(module).__name__} has no method {entry!r}; pass the one that tags as entry")
        names = names_by_id(tags, "tags")
        if None in names:
            raise InputError(f"no tag has the id {names.index(None)}; expected ids 0 to {len(names) - 1}, one tag each")
        self.tags = tuple(name for name in names if name is not None)
        self.spec = spec
        self.vocabulary = _vocabulary(vocabulary, spec)
        self.characters = _characters(spec)
        self.rows = len(self.vocabulary)
        self.subject = Subject(module, entry, encode or self._one_tensor)
        self.random = np.random.default_rng(_SEED)
        self._known = [word for word in self.vocabulary.words if word is not None]
        if not self._known:
            raise InputError("the vocabulary has no word beside unknown and padding; expected at least one")
        self._parameters = transition_parameters(module, len(self.tags))
        self._reading: Reading | None = None
        self._emissions: Value | None = None
        self._lines: set[Any] = set()
        self._kind = "logits"
        self._gives_path = False
        self._streaming = streaming
        self._turned = False

    def _one_tensor(self, sentences: list[list[str]]) -> Tensor:
        return torch.tensor([self.vocabulary.id(word) for word in sentences[0]], dtype=torch.long)

    # -- from module to graph

    def lifted(self) -> tuple[onnx.ModelProto, ModelMetadata]:
        """The graph, and the metadata without golden cases and proof."""
        sentences = [self.sentence(n) for n in _LENGTHS]
        self._check_runs(sentences[0])
        self._check_encode()
        recordings = [self._recording(tokens) for tokens in sentences]
        self._lines = {_way(op) for r in recordings for op in r.ops}
        check_slices(recordings)
        found = [self._result(r) for r in recordings]
        crf = None
        if all(isinstance(f, list) for f in found) and self._parameters and _uses(recordings[0], self._parameters):
            crf = self._find_crf(recordings)
            decoders = [self._decoder(r) for r in recordings]
            roots: list[Any] = [d.emissions for d in decoders]
            self._kind = "emissions"
            self._check_escapes(recordings, [d.ops for d in decoders])
        else:
            self._check_escapes(recordings, [set() for _ in recordings])
            roots = [self._scores(r, f) for r, f in zip(recordings, found, strict=True)]
        if crf is None:
            self._turned = any(
                isinstance(root, Value) and _is_turned(root.tensor, len(r.tokens), len(self.tags))
                for r, root in zip(recordings, roots, strict=True)
            )
        return self._graph(sentences, recordings, roots, crf)

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
                f"{name} does not run on one sentence of {len(tokens)} words ({type(e).__name__}: "
                f"{' '.join(str(e).split()):.200}); "
                "pass encode, which makes its arguments for [tokens]"
            ) from e
        if any(not _same_answers(answers[0], other) for other in answers[1:]):
            raise LiftError(
                f"{self._where_runs_differ(tokens)}: runs on one sentence give different answers; take out what is "
                "random or kept "
                "from "
                "call to call"
            )
        if again and (where := self._where_runs_differ(tokens)) != self.subject.source:
            raise LiftError(f"{where}: runs on one sentence give different answers; take out what is random")
        if again:
            raise LiftError(
                f"{again}: the answer depends on what earlier calls have left behind; answer each sentence by itself"
            )

    def _check_encode(self) -> None:
        """The arguments' word ids are those of vocabulary and spec, for odd words too."""
        known = {word: self._encoded(word) for word in self._known[:200]}
        counts = [sum(self._at(row, i) == self.vocabulary.id(word) for word, row in known.items()) for i in range(8)]
        places = [i for i, count in enumerate(counts) if count > 1 and 2 * count > len(known)]
        words = list(self._known[:2000])
        if self.vocabulary.unknown_id is not None:
            some = self.random.choice(len(self._known), min(len(self._known), 100), replace=False)
            words += [*_UNKNOWN_WORDS, *(self._unknown(self._known[i]) for i in some for _ in range(4))]
        for word in words if places else ():
            row = known.get(word) or self._encoded(word)
            for place in places:
                found = self._at(row, place)
                if found is not None and found != self.vocabulary.id(word):
                    raise LiftError(
                        f"encode gives the word {word!r:.60} the id {found}, vocabulary and spec the id "
                        f"{self.vocabulary.id(word)}: the file would read other words than the module; say in the "
                        "spec how "
                        "words are looked up (case, unknown), or make encode do just that"
                    )

    def _encoded(self, word: str) -> list[Any]:
        """The tensors among the arguments for one word, as lists."""
        tensors: list[Any] = []
        try:
            arguments = self.subject.arguments([word])
        except Exception:  # noqa: BLE001 - somebody's code, which may know no such word
            return []
        replaced(arguments, lambda x: tensors.append(x.reshape(-1).tolist()) if isinstance(x, Tensor) else None)
        return tensors

    @staticmethod
    def _at(row: list[Any], place: int) -> Any:
        return row[place][0] if len(row) > place and len(row[place]) == 1 else None

    def _recording(self, tokens: list[str]) -> Recording:
        try:
            return self.subject.record(tokens)
        except LiftError:
            raise
        except Exception as e:
            raise LiftError(
                f"{_failing_line(e) or self.subject.source}: fails for a sentence of {len(tokens)} words "
                f"({type(e).__name__}: "
                f"{' '.join(str(e).split()):.120}); the vocabulary must be the one it was trained with, and any "
                "length answered"
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
        aligner = Aligner(sentences, self.leaf_kind, self._reachable())
        term = aligner.align(rolled)
        if crf is None:
            term = self._unwrapped(term, sizes)
        lifter = Lifter(sizes, self.rows, self.spec.vectors, self.characters.padding_id if self.characters else 0)
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
                f"{count} tags; "
                "pass the tags that the module scores, or another entry"
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
            vocabulary=self.vocabulary if uses_words else None,
            tags=self.tags,
            tokenizer=Tokenizer(),
            characters=self.characters if lifter.used & {"char_ids", "char_lengths"} else None,
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
                f"{proof.max_chunk_difference:.2g}): more than its recurrences looks at other tokens or counts "
                "them; export without --streaming"
            )

    # -- what a recording returned

    def _result(self, recording: Recording) -> Any:
        """The value of the scores; or the path, as a list, where only that is returned."""
        n, count = len(recording.tokens), len(self.tags)
        found = self._scores_in(recording.result, n, count)
        if found is not None:
            self._check_alone(recording, found)
        if found is not None and not (
            self._parameters and _uses(recording, self._parameters) and self._path(recording)
        ):
            return found
        path = self._path(recording)
        if path is not None:
            return path
        raise LiftError(
            f"{self.subject.source}: returns {_described(recording.result)} for {n} words; expected {n} x {count} "
            "scores "
            f"or {n} tag ids; pass the entry that tags, and the tags that it scores"
        )

    def _tags_beside(self, recording: Recording) -> list[int] | None:
        """Tag ids that are returned beside scores, computed in the run: they are the module's choice."""
        beside: list[Value] = []
        n = len(recording.tokens)
        replaced(
            recording.result,
            lambda x: (
                beside.append(x)
                if isinstance(x, Value) and x.op is not None and x.tensor.dtype == torch.int64 and x.tensor.numel() == n
                else None
            ),
        )
        paths = [p for v in beside if (p := _path_in(v, n, len(self.tags))) is not None]
        return paths[0] if len(paths) == 1 and n > 1 else None

    def _check_alone(self, recording: Recording, found: Any) -> None:
        """No second set of scores in the result that would choose other tags."""
        if not isinstance(found, Value) or len(recording.tokens) == len(self.tags):
            return
        others: list[Value] = []
        shape = [s for s in found.tensor.shape if s != 1]
        replaced(
            recording.result,
            lambda x: (
                others.append(x)
                if isinstance(x, Value) and x is not found and x.tensor.is_floating_point() and _shape(x) == shape
                else None
            ),
        )
        axis = -1 if found.tensor.shape[-1] == len(self.tags) else None
        for other in others:
            if axis is None or not torch.equal(found.tensor.argmax(axis), other.tensor.argmax(axis)):
                raise LiftError(
                    f"{self.subject.source}: returns two sets of {len(recording.tokens)} x {len(self.tags)} scores "
                    "that choose other "
                    "tags; export a method that returns the one to use (entry=...)"
                )

    def _path(self, recording: Recording) -> list[int] | None:
        """Tag ids in a result, one per token; tags may be given by name."""
        ids = {name: i for i, name in enumerate(self.tags)}
        tree = replaced(recording.result, lambda x: ids.get(x, x) if isinstance(x, str) else x)
        return _path_in(tree, len(recording.tokens), len(self.tags))

    def _scores_in(self, tree: Any, n: int, count: int) -> Any:
        if isinstance(tree, Value):
            shape = [s for s in tree.tensor.shape if s != 1]
            fits = sorted(shape) == sorted(s for s in (n, count) if s != 1) or shape == [n * count]
            return tree if fits and tree.tensor.is_floating_point() else None
        if (
            isinstance(tree, list)
            and len(tree) == n
            and n > 1
            and all(isinstance(v, Value) and v.tensor.numel() == count and v.tensor.is_floating_point() for v in tree)
        ):
            return tree
        items = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, (list, tuple)) else ()
        return next((f for item in items if (f := self._scores_in(item, n, count)) is not None), None)

    def _scores(self, recording: Recording, found: Any) -> Any:
        """The scores behind a result: of a path, what its best were chosen from."""
        if isinstance(found, Value) or (isinstance(found, list) and found and isinstance(found[0], Value)):
            return found
        n, count = len(recording.tokens), len(self.tags)
        self._gives_path = True
        for op in reversed(recording.ops):
            if op.name in ("argmax", "max", "topk", "sort") and isinstance(op.args[0], Value):
                chosen = [v for v in op.outputs if not v.tensor.is_floating_point()]
                if (
                    chosen
                    and chosen[0].tensor.reshape(-1).tolist()[:n] == found
                    and op.args[0].tensor.numel() == n * count
                ):
                    return op.args[0]
        per_token = [
            (op, op.args[0])
            for op in recording.ops
            if op.name in ("argmax", "max") and isinstance(op.args[0], Value) and op.args[0].tensor.numel() == count
        ]
        best = [int(op.outputs[-1].tensor) for op, _ in per_token]
        if best == found:
            return [scores for _, scores in per_token]
        raise LiftError(
            f"{self.subject.source}: returns tags whose scores cannot be found (they are neither the best of {n} x "
            f"{count} scores nor "
            "a CRF's best path); export a method that returns scores, or name it as entry"
        )

    def _find_crf(self, recordings: list[Recording]) -> Crf:
        n_tags = len(self.tags)
        first = Decoder(recordings[0], self._parameters, n_tags)
        if first.emissions is None:
            raise LiftError(
                f"{self.subject.source}: the transitions ({', '.join(sorted(self._parameters))}) meet no scores of "
                f"{n_tags} tags "
                "for each token; give the decoder one score per token and tag"
            )
        path_of = lambda r: self._path(r) or []  # noqa: E731
        self._emissions = first.emissions
        self._reading = find_reading(self.subject, self._parameters, n_tags, self.sentence, path_of, first.emissions)
        return first.crf(self._reading)

    def _decoder(self, recording: Recording) -> Decoder:
        found = Decoder(recording, self._parameters, len(self.tags), self._emissions)
        if found.emissions is None:
            raise LiftError(
                f"{self.subject.source}: a sentence of {len(recording.tokens)} words is decoded otherwise than longer "
                "ones; decode "
                "all alike"
            )
        return found

    def _check_escapes(self, recordings: list[Recording], decoders: list[set[int]]) -> None:
        """Numbers that went to Python may decide nothing: they follow from the length, or are the finished tags."""
        groups: dict[int, list[int]] = {}
        for i, recording in enumerate(recordings):
            groups.setdefault(len(recording.tokens), []).append(i)
        for members in groups.values():
            kept = []
            for i in members:
                path = self._path(recordings[i])
                kept.append([e for e in recordings[i].escapes if not _excused(e, decoders[i], path)])
            aligner = Aligner([recordings[i].tokens for i in members], self.leaf_kind, self._reachable())
            for escapes in zip(*kept, strict=False):
                term = aligner.align([e.value for e in escapes])
                lengths_alone = escapes[0].how != "__bool__" and _follows_lengths(term)
                if not term.is_static and not lengths_alone:
                    raise self._escape_error(escapes[0])
            if len({len(k) for k in kept}) > 1:
                raise self._escape_error(max(kept, key=len)[-1])

    def _escape_error(self, escape: Any) -> LiftError:
        how = {"__bool__": "`if` or `while`", "__array__": "numpy"}.get(escape.how, escape.how)
        return LiftError(
            f"{escape.line}: a value computed from the words goes to Python ({how}), which decides or computes with "
            "it; a file for "
            "batches cannot: use torch.where or other tensor operations"
        )

    # -- inputs

    def leaf_kind(self, term: Term) -> str | None:
        """Which input a value made from the words outside of torch is."""
        sentences = self._current(term)
        if sentences is None:
            return None
        for kind, expected in (
            ("word_ids", self._word_ids), ("char_ids", self._char_ids), ("char_lengths", _char_lengths),
            ("vectors", self._vectors),
        ):  # fmt: skip
            if all(_equal(expected(words, term, i), term, i) for i, words in enumerate(sentences)):
                return kind
        return "per_word" if self._tabulated(term) else None

    def _tabulated(self, term: Term) -> bool:
        """An argument that is a function of each word alone becomes a table over the vocabulary."""
        if not term.argument:
            return False
        rows = {}
        for word in [*self._known, *(_UNKNOWN_WORDS if self.vocabulary.unknown_id is not None else [])]:
            tensors: list[Tensor] = []
            replaced(self.subject.arguments([word]), lambda x: tensors.append(x) if isinstance(x, Tensor) else None)  # noqa: B023
            if len(tensors) < term.argument:
                return False
            row = tensors[term.argument - 1].detach().numpy().reshape(-1)
            known = rows.setdefault(self.vocabulary.id(word), row)
            if not np.array_equal(known, row):
                return False
        if len({row.shape for row in rows.values()}) != 1:
            return False
        table = np.zeros((self.rows, next(iter(rows.values())).size), next(iter(rows.values())).dtype)
        for i, row in rows.items():
            table[i] = row
        for words, tensor in zip(term.sentences, term.tensors, strict=True):
            ids = [self.vocabulary.id(word) for word in words]
            if tensor.numel() != table[ids].size or not np.array_equal(
                tensor.numpy().reshape(-1), table[ids].reshape(-1)
            ):
                return False
        term.table = table
        return True

    def _current(self, term: Term) -> list[list[str]] | None:
        return term.sentences if term.sentences else None

    def _word_ids(self, words: list[str], term: Term, i: int) -> Any:
        return [self.vocabulary.id(word) for word in words]

    def _char_ids(self, words: list[str], term: Term, i: int) -> Any:
        if self.characters is None:
            return None
        try:
            rows = [self.characters.ids(word) for word in words]
        except InputError:
            return None
        if term.rows is not None:
            return rows
        widths = {t.shape[-1] for t in term.tensors if t.dim()}
        width = widths.pop() if len(widths) == 1 else max(map(len, rows))  # a fixed width cuts long words
        rows = [row[:width] for row in rows]
        return np.array([row + [self.characters.padding_id] * (width - len(row)) for row in rows])

    def _vectors(self, words: list[str], term: Term, i: int) -> Any:
        if self.spec.vectors is None:
            return None
        return self.spec.vectors[[self.vocabulary.id(word) for word in words]]

    def _reachable(self) -> dict[str, Tensor]:
        """Kind -> every id that text can give."""
        tables: list[tuple[str, Any, Any]] = [("word_ids", self.vocabulary.words, self.vocabulary.unknown_id)]
        if self.characters is not None:
            tables.append(("char_ids", self.characters.characters, self.characters.unknown_id))
        return {
            kind: torch.tensor([i for i, entry in enumerate(entries) if entry is not None or i == unknown])
            for kind, entries, unknown in tables
        }

    def sentence(self, n: int) -> list[str]:
        """``n`` random words that the tagger has ids for, a fifth of them unknown where it has an unknown word."""
        words = [self._known[i] for i in self.random.integers(len(self._known), size=n)]
        if self.vocabulary.unknown_id is not None:
            for i in np.flatnonzero(self.random.random(n) < 0.3):
                words[i] = self._unknown(words[i])
        if self.characters is not None and self.characters.unknown_id is None:
            words = [
                word if self._can_spell(word) else self._known[self.random.integers(len(self._known))] for word in words
            ]
        return words

    def _unknown(self, word: str) -> str:
        """A word that most vocabularies lack: another case of a known one, a number, an odd form, or made up."""
        forms: list[Callable[[], str]] = [
            lambda: "".join(self.random.choice(_SYLLABLES, self.random.integers(1, 4)).tolist()),
            lambda: str(self.random.choice(_ODD)),
            word.upper,
            word.lower,
            word.title,
            lambda: f"{word}{self.random.choice(_ENDS)}",
            lambda: f"-{word}-",
            lambda: str(self.random.integers(10_000)),
        ]
        return forms[self.random.integers(len(forms))]() or word

    def _can_spell(self, word: str) -> bool:
        assert self.characters is not None
        known = set(self.characters.characters)
        return all(c in known for c in (word.lower() if self.spec.case == "lower" else word))

    # -- proof

    def answer(self, tokens: list[str]) -> Answer:
        """The module on one sentence, as its user runs it."""
        n, count = len(tokens), len(self.tags)
        if self._kind == "emissions" or self._gives_path:
            recording = self._recorded(tokens)
            path = self._path(recording)
            if path is None:
                raise LiftError(
                    f"{self.subject.source}: returns no {n} tag ids for {n} words; expected one tag per word"
                )
            if self._kind == "emissions":
                return Answer(self._decoder(recording).scores(), path)
            found = self._scores(recording, path)
            chosen = path
        else:
            recording = self._recorded(tokens)
            found = self._scores_in(recording.result, n, count)
            chosen = self._tags_beside(recording)
        scores = torch.stack([v.tensor.reshape(-1) for v in found]) if isinstance(found, list) else found.tensor
        scores = _token_major(scores.double(), n, count, turned=self._turned)
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
                    f"{max(_LENGTHS)}: "
                    "Python decides by the sentence's length or content; treat all sentences alike"
                )
        return recording

    def _answered(self, lengths: Sequence[int]) -> tuple[list[list[str]], list[Answer]]:
        """Random sentences that the module has an answer to; beyond a length it may have none."""
        sentences, answers = [], []
        for n in lengths:
            tokens = self.sentence(n)
            try:
                answers.append(self.answer(tokens))
            except LiftError:
                raise
            except Exception as e:
                if n <= max(_EVERY_LENGTH):
                    raise LiftError(
                        f"{_failing_line(e) or self.subject.source}: fails for a sentence of {n} words "
                        f"({type(e).__name__}: "
                        f"{' '.join(str(e).split()):.120}); make it answer sentences of any length"
                    ) from e
                continue
            sentences.append(tokens)
        return sentences, answers

    def _proof_lengths(self, metadata: ModelMetadata) -> list[int]:
        """Lengths to prove at: many for a quick module, and those around numbers that its code could compare with."""
        slow = sum(p.numel() for p in self.subject.module.parameters()) > _SLOW_PARAMETERS
        if metadata.crf is not None:  # decoders in Python are slow
            found, left = list(_PROOF_LENGTHS), _SLOW_TOKENS
        else:
            found, left = [*(_PROOF_LENGTHS if slow else _EVERY_LENGTH), _LONG], _SLOW_TOKENS if slow else _QUICK_TOKENS
        for number in thresholds(self.subject.module, 12):
            for n in (number, number + 1, number + 7):
                if n not in found and n <= left:
                    found.append(n)
                    left -= n
        return found

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
            "first for "
            f"{where}; no file was written; the module decides in Python by a sentence's length or content, or mixes "
            "what a batch "
            "must keep apart: treat all sentences alike"
        )

    def proved(self, graph: onnx.ModelProto, metadata: ModelMetadata, draft: Path, name: str) -> tuple[bytes, Proof]:
        """The whole file and its proof, on sentences that the recording has not seen."""
        draft.write_bytes(with_metadata(graph, metadata))
        try:
            session = TaggerSession(draft)
        except MetadataError as e:
            raise LiftError(
                f"{self.subject.source}: ids are computed with before they are looked up, which no client could check "
                f"({e}); "
                "look up the ids as they are given"
            ) from e
        encoder = Encoder(metadata.vocabulary, metadata.features, metadata.characters)
        lengths = self._proof_lengths(metadata)
        sentences, answers = self._answered(lengths)
        try:
            proof = prove_sentences(session, encoder, sentences, answers)
        except ModelFileError as e:
            raise ParityError(
                f"{name}: fails on sentences that {type(self.subject.module).__name__} answers ({e!s:.200}); no "
                "file was "
                "written; a table by position must be looked up by the position itself"
            ) from e
        if not proof.holds:
            raise self._unproved(proof, session, encoder, sentences, answers, name)
        if self._streaming:
            self._prove_chunks(proof, session, [encoder.encode([tokens]) for tokens in sentences])
        shown = sorted(range(len(sentences)), key=lambda i: len(sentences[i]))[1:8:2]
        cases = tuple(_case(metadata, encoder, sentences[i], answers[i]) for i in shown)
        metadata = replace(metadata, golden=cases, proof=proof.to_json())
        whole = with_metadata(graph, metadata)
        draft.write_bytes(whole)
        report = check_golden(open_predictor(draft, threads=1))
        if report.failures:
            raise ParityError(f"{name}: {report.failures[0]}; no file was written; report this")
        return whole, proof


def prove_sentences(
    session: TaggerSession, encoder: Encoder, sentences: Sequence[list[str]], answers: Sequence[Answer]
) -> Proof:
    """Every sentence in ragged batches of several sizes, against the module and against the sentence alone."""
    crf = session.metadata.crf
    proof = Proof(tolerance=session.metadata.tolerance)
    order = np.random.default_rng(_SEED).permutation(len(sentences)).tolist()
    batches = [order, order[: len(order) // 2], *[order[i : i + 3] for i in range(0, len(order), 3)]]
    batches += plan_batches([len(s) for s in sentences], max_tokens=64)
    for batch in filter(None, batches):
        found = session.run(encoder.encode([sentences[i] for i in batch]))
        oracle = np.zeros(found.of_tags.shape, np.float32)
        for row, i in enumerate(batch):
            oracle[row, : len(sentences[i])] = answers[i].scores
        proof.compare(found, oracle, np.array([len(sentences[i]) for i in batch], np.int32), crf)
        for row, i in enumerate(batch):
            _compare_path(proof, found.tag_ids[row, : len(sentences[i])], answers[i], crf)
    for tokens in sentences:
        alone = session.run(encoder.encode([tokens]))
        first = session.run(encoder.encode([tokens, *sentences[:2]]))
        proof.compare_alone(first, alone, 0, crf)
    return proof


def _compare_path(proof: Proof, found: NDArray[np.int32], answer: Answer, crf: Crf | None) -> None:
    """The module's own choice; where it differs the two must be as good, within the tolerance."""
    differing = int((found != np.array(answer.path)).sum())
    if not differing:
        return
    t = proof.tolerance
    if crf is None:
        rows = np.arange(len(found))
        a, b = answer.scores[rows, answer.path], answer.scores[rows, found]
        good = bool((np.abs(a - b) <= t + t * np.abs(a)).all())
    else:
        path = np.array(answer.path, np.int32)
        ahead = crf.path_score(answer.scores, path) - crf.path_score(answer.scores, found)
        good = abs(ahead) <= crf.path_tolerance(answer.scores, path, t)
    if good:
        proof.ties += differing
    else:
        proof.tag_differences += differing


def _case(metadata: ModelMetadata, encoder: Encoder, tokens: list[str], answer: Answer) -> GoldenCase:
    probabilities = metadata.crf.marginals(answer.scores.astype(np.float32)) if metadata.crf else np.exp(answer.scores)
    return GoldenCase(
        tokens=tuple(tokens),
        inputs=ragged_ids(encoder.encode([tokens]), 0),
        tag_ids=tuple(answer.path),
        tags=tuple(metadata.tags[i] for i in answer.path),
        scores=tuple(float(probabilities[t, i]) for t, i in enumerate(answer.path)),
    )


# -- names and trees


def _vocabulary(names: Names, spec: Spec) -> Vocabulary:
    words = names_by_id(names, "words")
    found = {}
    for role in ("unknown", "padding"):
        name = getattr(spec, role)
        if name is None:
            found[role] = None
        elif name not in words:
            raise InputError(
                f"the {role} word {name!r:.60} is not in the vocabulary; expected one of its {len(words):,} words"
            )
        else:
            found[role] = words.index(name)
    for i in found.values():
        if i is not None:
            words[i] = None
    if spec.case == "lower" and (cased := [w for w in words if w is not None and w != w.lower()]):
        words = [None if w in set(cased) else w for w in words]
    padding = found["padding"] if found["padding"] is not None else found["unknown"] or 0
    try:
        return Vocabulary(words, unknown_id=found["unknown"], padding_id=padding, case=spec.case)
    except ValueError as e:
        raise InputError(f"the vocabulary cannot be used ({e}); expected each word once") from e


def _characters(spec: Spec) -> CharacterVocabulary | None:
    if spec.characters is None:
        return None
    names = names_by_id(spec.characters, "characters")
    roles = {"unknown": spec.unknown_character, "padding": spec.padding_character}
    for role, name in roles.items():
        if name is not None and name not in names:
            raise InputError(f"the {role} character {name!r:.60} is not among the characters; expected one of them")
    ids = {role: names.index(name) if name is not None else None for role, name in roles.items()}
    names = [
        None if i in ids.values() or (name is not None and len(name) != 1) else name for i, name in enumerate(names)
    ]
    padding = ids["padding"] if ids["padding"] is not None else ids["unknown"] or 0
    return CharacterVocabulary(names, unknown_id=ids["unknown"], padding_id=padding, case=spec.case)


def _char_lengths(words: list[str], term: Term, i: int) -> Any:
    return [len(word) for word in words]


def _equal(expected: Any, term: Term, i: int) -> bool:
    """Whether a leaf holds just this in recording ``i``: the whole, or a row per token."""
    if expected is None:
        return False
    if term.rows is not None:
        rows = term.rows[i]
        return len(rows) == len(expected) and all(
            np.array_equal(np.asarray(r).reshape(-1), np.asarray(e).reshape(-1))
            for r, e in zip(rows, expected, strict=True)
        )
    found = term.tensors[i].detach().numpy()
    whole = np.asarray(expected)
    squeezed = [[s for s in a.shape if s != 1] for a in (found, whole)]
    return squeezed[0] == squeezed[1] and np.array_equal(found.reshape(-1), whole.reshape(-1).astype(found.dtype))


def _path_in(tree: Any, n: int, count: int) -> list[int] | None:
    """``n`` tag ids in a result: a list, or a tensor of whole numbers."""
    if isinstance(tree, Value):
        tensor = tree.tensor
        if tensor.numel() == n and not tensor.is_floating_point() and tensor.dtype != torch.bool:
            ids = tensor.reshape(-1).tolist()
            return ids if all(0 <= i < count for i in ids) else None
        return None
    if isinstance(tree, np.ndarray):
        tree = tree.reshape(-1).tolist()
    if isinstance(tree, (list, tuple)) and len(tree) == n:
        ids = [_whole(item) for item in tree]
        if all(i is not None and 0 <= i < count for i in ids):
            return [int(i) for i in ids]  # type: ignore[arg-type]
    items = tree.values() if isinstance(tree, Mapping) else tree if isinstance(tree, (list, tuple)) else ()
    return next((f for item in items if (f := _path_in(item, n, count)) is not None), None)


def _whole(item: Any) -> int | None:
    if isinstance(item, Value) and item.tensor.numel() == 1 and not item.tensor.is_floating_point():
        return int(item.tensor)
    if isinstance(item, (int, np.integer)) and not isinstance(item, bool):
        return int(item)
    if isinstance(item, (list, tuple)) and len(item) == 1:
        return _whole(item[0])
    return None


def _shape(value: Value) -> list[int]:
    return [s for s in value.tensor.shape if s != 1]


def _is_turned(scores: Tensor, n: int, count: int) -> bool:
    """(tags, tokens) rather than (tokens, tags)."""
    return n != count and [s for s in scores.shape if s != 1] == [count, n]


def _token_major(scores: Tensor, n: int, count: int, *, turned: bool) -> Tensor:
    return scores.reshape(count, n).T if turned else scores.reshape(n, count)


def _uses(recording: Recording, parameters: set[str]) -> bool:
    values = [v for op in recording.ops for v in op.inputs()] + [e.value for e in recording.escapes]
    return any(v.parameter in parameters for v in values)


def _way(op: Any) -> Any:
    """What tells one way through a module from another: line, function, parameters."""
    return op.line, op.name, tuple(v.parameter for v in op.inputs() if v.parameter)


def _follows_lengths(term: Term) -> bool:
    """Worked out from the lengths of the words alone."""
    if term.call is None:
        return term.is_static or term.kind == "char_lengths"
    if term.call.name == "_pack_padded_sequence" and term.output == 1:
        return True
    inputs = term.call.inputs()
    return bool(inputs) and all(_follows_lengths(t) for t in inputs)


def _excused(escape: Any, decoder: set[int], path: list[int] | None) -> bool:
    """Within a decoder, or the finished tags on their way out."""
    op = escape.value.op
    if id(escape) in decoder:
        return True
    if op is not None and (id(op) in decoder or _within(escape.value, decoder)):
        return True
    if path is None or escape.how == "__bool__":
        return False
    values = np.asarray(escape.result).reshape(-1).tolist()
    return values == path or (
        len(values) == 1
        and op is not None
        and op.name in ("argmax", "max", "__getitem__", "unbind")
        and _is_choice(escape.value)
    )


def _is_choice(value: Value) -> bool:
    op = value.op
    while op is not None and op.name in ("__getitem__", "unbind", "squeeze", "view", "select"):
        value = op.args[0]
        op = value.op
    return op is not None and op.name in ("argmax", "max")


def _within(value: Value, ops: set[int]) -> bool:
    seen: set[int] = set()
    stack = [value]
    while stack:
        current = stack.pop()
        if current.op is None or id(current) in seen:
            continue
        seen.add(id(current))
        if id(current.op) in ops:
            return True
        stack += current.op.inputs()
    return False


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


def _described(tree: Any) -> str:
    if isinstance(tree, Value):
        return f"a tensor {tuple(tree.tensor.shape)}"
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{k}: {_described(v)}" for k, v in list(tree.items())[:4]) + "}"
    if isinstance(tree, (list, tuple)):
        return f"[{', '.join(_described(v) for v in tree[:3])}{', ...' if len(tree) > 3 else ''}] of {len(tree)}"
    return type(tree).__name__


__all__ = ["TIME", "LiftError", "export_module", "prove_sentences"]
