"""The model's typed metadata <-> the string map in the ONNX file. FORMAT.md is its specification.

Knows the names and types of what is written, not how a graph is made or run.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Literal, TypeVar

import numpy as np

from .card import read_fields
from .crf import Crf, Float
from .errors import FormatVersionError, MetadataError, MissingMetadataError
from .features import SubwordFeatures
from .segmentation import TAGS as SEGMENTATION_TAGS
from .tokenizer import Tokenizer
from .vocabulary import CharacterVocabulary, Vocabulary

PREFIX = "lstm_deploy."
FORMAT_VERSION = 5
"""1 had no precisions but fp32, and its graphs read the features of known words too. 2 had word ids in every
file, always an unknown word, and no decoder but argmax. 3 gave lengths to every recurrent operator and claimed no
runtime. 4 tagged words alone, and its tokenizers said nothing of sentences."""
_ADDED = {
    2: {"precision": "fp32", "rounding": "{}"},
    3: {"decoder": '{"kind": "argmax"}', "notes": "[]"},
    4: {"runtimes": '["onnxruntime", "onnxruntime-node", "onnxruntime-web"]'},
}
"""Version -> the keys it brought, with what they are in files older than that."""
GraphForm = Literal["reverse_sequence", "sequence_lens", "gate", "scan_int8"]
GRAPH_FORMS: tuple[GraphForm, ...] = ("reverse_sequence", "sequence_lens", "gate", "scan_int8")
"""How the recurrence is written. ``reverse_sequence``: LSTM, GRU or RNN operators that run forward, and each row turned
by its length for those that read backward. ``sequence_lens``: operators that are given the lengths, which some runtimes
ignore. ``gate``: operators whose gates are shut at padding. ``scan_int8``: those of the first for few rows, for many a
Scan over bytes that turns each row by its length."""

Precision = Literal["fp32", "fp16", "rows8", "int8"]
TOLERANCES: Mapping[Precision, float] = {"fp32": 1e-5, "fp16": 1e-5, "rows8": 1e-5, "int8": 0.15}
"""Absolute, and relative to the value: how far a log-probability or emission may be from PyTorch's on the stored
weights."""
Column = Literal["upos", "xpos", "tag", "segmentation"]
COLUMNS = ("upos", "xpos", "tag", "segmentation")
MAX_TAGS = 1 << 16
MAX_TEMPLATES = 64
MAX_STATE = 1 << 20
"""Numbers of one state of a stream, and likewise states of a file."""
MAX_JSON_DEPTH = 32
"""Lists and objects within each other."""
_MAX_TAG = 1024
"""Characters of a tag."""
_T = TypeVar("_T")


@dataclass(frozen=True)
class GoldenCase:
    """One sentence with everything a client should get for it.

    Attributes:
        text: what ``tokens`` were cut from by the model's tokenizer, or None.
        inputs: input kind -> ids of this sentence alone, nested lists: (sequence,), (sequence, feature) or,
            of characters, for each token as many as it has; without lengths, which are those of the lists.
        scores: probability of each chosen tag, from PyTorch; marginal where the file ends in a CRF.
    """

    tokens: tuple[str, ...]
    inputs: Mapping[str, Any]
    tag_ids: tuple[int, ...]
    tags: tuple[str, ...]
    scores: tuple[float, ...]
    text: str | None = None


@dataclass(frozen=True)
class State:
    """A recurrent state of a streaming file: an input and the output that feeds it at the next chunk.

    Attributes:
        name: of the input, float32 (batch, size).
        size: numbers of one stream.
        next: name of the output, likewise; a row without tokens keeps its state.
        initial: what a sentence starts from; None where that is zeros.
    """

    name: str
    size: int
    next: str
    initial: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not self.name or not self.next or not 1 <= self.size <= MAX_STATE:
            raise ValueError(f"the state {self.name!r:.60} has no name, no next or no size up to {MAX_STATE}")
        if self.initial is not None and len(self.initial) != self.size:
            raise ValueError(f"the state {self.name!r:.60} of size {self.size} starts from {len(self.initial)} numbers")

    def rows(self, batch: int) -> Float:
        """(batch, size) float32: what ``batch`` sentences start from."""
        start = np.zeros(self.size, np.float32) if self.initial is None else np.array(self.initial, np.float32)
        return np.tile(start, (batch, 1))


@dataclass(frozen=True)
class ModelMetadata:
    """All that a model file says of itself beside its graph.

    Attributes:
        vocabulary: words of ``word_ids``, or None for a model without them.
        tags: tag with id i at position i.
        features: hashed features of ``subword_ids``, if it has them.
        characters: those of ``char_ids``, if it has them.
        crf: what the best path of tags is chosen by; None where each token's best tag is taken.
        column: which column of a corpus the tags are; ``segmentation``: they say where its words and sentences begin.
        training: provenance: data, licence, settings, scores.
        versions: package -> version that made the file.
        golden: cases for a client to test itself with.
        proof: figures of the parity check that the file passed.
        precision: how weights are stored; ``int8`` also computes with whole numbers.
        rounding: for all but fp32: what the rounding cost on a development set.
        notes: what the exporter took for granted, a sentence each.
        states: of a streaming file, which runs on chunks of a sentence; empty for all others.
        graph_form: one of `GRAPH_FORMS`.
        runtimes: names of those that the file is claimed to be right in.
        card: what the model is for, what of and how good (`lstm_deploy.card`); empty where the file has none.
    """

    vocabulary: Vocabulary | None
    tags: tuple[str, ...]
    tokenizer: Tokenizer
    features: SubwordFeatures | None = None
    characters: CharacterVocabulary | None = None
    crf: Crf | None = None
    column: Column = "tag"
    precision: Precision = "fp32"
    training: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    golden: tuple[GoldenCase, ...] = ()
    proof: Mapping[str, Any] = field(default_factory=dict)
    rounding: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    states: tuple[State, ...] = ()
    graph_form: GraphForm = "sequence_lens"
    runtimes: tuple[str, ...] = ()
    card: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tolerance(self) -> float:
        """Of a log-probability or emission, absolute and relative to its value."""
        return TOLERANCES[self.precision]

    def inputs(self) -> list[dict[str, Any]]:
        """The graph's inputs in order, each with its kind and what a client needs to fill it."""
        found: list[dict[str, Any]] = []
        if words := self.vocabulary:
            found.append(_input("word_ids", ["batch", "sequence"], rows=len(words), **_lookup(words)))
        if features := self.features:
            found.append(
                _input(
                    "subword_ids",
                    ["batch", "sequence", "feature"],
                    rows=features.buckets,
                    padding_id=0,
                    hash="crc32",
                    templates=list(features.templates),
                )
            )
        if spelt := self.characters:
            axes = ["batch", "sequence", "character"]
            table = {"rows": len(spelt), **_lookup(spelt), "characters": list(spelt.characters)}
            found += [_input("char_ids", axes, **table), _input("char_lengths", axes[:2])]
        states = [
            _state(state.name) | {"size": state.size, "next": state.next, "initial": state.initial and [*state.initial]}
            for state in self.states
        ]
        return [*found, _input("lengths", ["batch"]), *states]

    def outputs(self) -> list[dict[str, Any]]:
        """The graph's outputs, each with its kind: tag ids, the scores of all tags, then the states to go on from."""
        axes = ["batch", "sequence"]
        scores = "emissions" if self.crf else "log_probs"
        return [
            {"name": "tag_ids", "kind": "tag_ids", "dtype": "int32", "axes": axes, "padding_id": -1},
            {"name": scores, "kind": scores, "dtype": "float32", "axes": [*axes, "tag"]},
            *(_state(state.next) | {"size": state.size} for state in self.states),
        ]

    def decoder(self) -> dict[str, Any]:
        """How tags are chosen: each token's best, or by the numbers of a CRF, exact in JSON."""
        if self.crf is None:
            return {"kind": "argmax"}
        return {"kind": "crf"} | {part: getattr(self.crf, part).tolist() for part in ("transitions", "start", "end")}

    def to_properties(self) -> dict[str, str]:
        """The string map that goes into the ONNX file."""
        values = {
            "inputs": self.inputs(),
            "outputs": self.outputs(),
            "decoder": self.decoder(),
            "words": self.vocabulary.words if self.vocabulary else (),
            "tags": self.tags,
            "tokenizer": self.tokenizer.to_json(),
            "training": dict(self.training),
            "versions": dict(self.versions),
            "golden": [vars(case) for case in self.golden],
            "proof": dict(self.proof),
            "rounding": dict(self.rounding),
            "notes": self.notes,
            "runtimes": self.runtimes,
            **({"card": dict(self.card)} if self.card else {}),
        }
        plain = {
            "format_version": str(FORMAT_VERSION),
            "graph_form": self.graph_form,
            "precision": self.precision,
            "column": self.column,
        }
        return {
            PREFIX + key: value
            for key, value in (
                plain | {k: json.dumps(v, ensure_ascii=False, allow_nan=False) for k, v in values.items()}
            ).items()
        }

    @classmethod
    def from_properties(cls, properties: Mapping[str, str], *, source: str) -> "ModelMetadata":
        """The metadata in an ONNX file's string map; ``source`` names the file in errors.

        Raises:
            MissingMetadataError: there is none.
            FormatVersionError: it is of a newer format than this package reads.
            MetadataError: it is incomplete, malformed or contradicts itself.
        """
        return _Reader(properties, source).read()


def takes_states(properties: Mapping[str, str]) -> bool:
    """Whether an ONNX file's string map is that of a streaming file; what is wrong with it is for the reader to say."""
    try:
        return any(spec["kind"] == "state" for spec in json.loads(properties[PREFIX + "inputs"]))
    except (KeyError, TypeError, ValueError, RecursionError):
        return False


class _Reader:
    """Takes the string map apart; every failure names the file and the key."""

    def __init__(self, properties: Mapping[str, str], source: str) -> None:
        self.properties = properties
        self.source = source

    def read(self) -> ModelMetadata:
        version = self._version()
        older = {PREFIX + key: text for at, keys in _ADDED.items() if at > version for key, text in keys.items()}
        self.properties = older | dict(self.properties)
        inputs = {str(spec.get("kind")): spec for spec in self._items("inputs", dict)}
        known = {"word_ids", "subword_ids", "char_ids", "char_lengths", "lengths", "state"}
        if unknown := set(inputs) - known:
            raise self._error("inputs", f"has inputs of unknown kind {sorted(unknown)}; known: {sorted(known)}")
        spelt = {"char_ids", "char_lengths"}
        needed = {"lengths"} | (spelt if spelt & set(inputs) else {"word_ids"})
        if missing := needed - set(inputs):
            raise self._error("inputs", f"lacks the inputs {sorted(missing)}")
        metadata = ModelMetadata(
            vocabulary=self._vocabulary(inputs.get("word_ids")),
            tags=self._tags(),
            tokenizer=self._tokenizer(),
            features=self._features(inputs.get("subword_ids")),
            characters=self._characters(inputs.get("char_ids")),
            crf=self._crf(len(self._tags())),
            column=self._choice("column", COLUMNS),  # type: ignore[arg-type]
            precision=self._choice("precision", tuple(TOLERANCES)),  # type: ignore[arg-type]
            training=self._json("training", dict),
            versions=self._json("versions", dict),
            golden=self._golden(self._tags()),
            proof=self._json("proof", dict),
            rounding=self._json("rounding", dict),
            notes=tuple(self._items("notes", str)),
            states=self._states(),
            graph_form=self._choice("graph_form", GRAPH_FORMS),  # type: ignore[arg-type]
            runtimes=tuple(self._items("runtimes", str)),
            card=self._card(),
        )
        if (metadata.column == "segmentation") != (metadata.tokenizer.kind == "characters"):
            raise self._error(
                "tokenizer", f"is of kind {metadata.tokenizer.kind}; characters and column segmentation go together"
            )
        if metadata.column == "segmentation" and not set(metadata.tags) <= set(SEGMENTATION_TAGS):
            raise self._error("tags", f"are {list(metadata.tags)!s:.100}; expected some of {SEGMENTATION_TAGS}")
        if (metadata.graph_form == "scan_int8") != (metadata.precision == "int8"):
            raise self._error("graph_form", f"is {metadata.graph_form}; scan_int8 and precision int8 go together")
        for key, found, expected in (
            ("inputs", self._json("inputs", list), metadata.inputs()),
            ("outputs", self._json("outputs", list), metadata.outputs()),
        ):
            if found != expected or any(map(_has_bools, (value for spec in found for value in spec.values()))):
                raise self._error(key, f"is {json.dumps(found):.200}; expected {json.dumps(expected):.200}")
        return metadata

    def _version(self) -> int:
        version = self.properties.get(PREFIX + "format_version")
        if version is None:
            raise MissingMetadataError(
                f"{self.source}: an ONNX model without lstm-deploy metadata; make the file with `lstm-deploy export`"
            )
        if not (version.isascii() and version.isdecimal()) or len(version) > 9 or int(version) < 1:
            raise self._error("format_version", f"is {version!r:.40}; expected a whole number from 1")
        if int(version) > FORMAT_VERSION:
            raise FormatVersionError(
                f"{self.source}: format version {version}, newer than {FORMAT_VERSION}, the newest that this "
                f"lstm-deploy reads; run `pip install --upgrade lstm-deploy`"
            )
        return int(version)

    def _vocabulary(self, spec: dict[str, Any] | None) -> Vocabulary | None:
        words = self._json("words", list)
        if not all(word is None or isinstance(word, str) for word in words):
            raise self._error("words", "holds something other than words and nulls")
        if spec is None:
            return None
        try:
            return Vocabulary(words, **_looked_up(spec))
        except (KeyError, TypeError, ValueError, OverflowError) as e:
            raise self._error("inputs", f"and words do not agree: {_reason(e)}") from e

    def _characters(self, spec: dict[str, Any] | None) -> CharacterVocabulary | None:
        if spec is None:
            return None
        try:
            return CharacterVocabulary(spec["characters"], **_looked_up(spec))
        except (KeyError, TypeError, ValueError, OverflowError) as e:
            raise self._error("inputs", f"has no usable character spec: {_reason(e)}") from e

    def _crf(self, tags: int) -> Crf | None:
        spec = self._json("decoder", dict)
        if spec.get("kind") == "argmax":
            return None
        try:
            if spec["kind"] != "crf":
                raise ValueError(f"kind {spec['kind']!r:.60} is not known (argmax, crf)")
            crf = Crf(*(_numbers(spec[part]) for part in ("transitions", "start", "end")))
            if crf.tags != tags:
                raise ValueError(f"it has {crf.tags} tags, the file {tags}")
        except (KeyError, TypeError, ValueError, OverflowError) as e:
            raise self._error("decoder", f"is not usable: {_reason(e)}") from e
        return crf

    def _card(self) -> dict[str, Any]:
        if PREFIX + "card" not in self.properties:
            return {}
        card = self._json("card", dict)
        try:
            return read_fields(card)
        except ValueError as e:
            raise self._error("card", str(e)) from e

    def _features(self, spec: dict[str, Any] | None) -> SubwordFeatures | None:
        if spec is None:
            return None
        try:
            templates = tuple(spec["templates"])
            if len(templates) > MAX_TEMPLATES:
                raise ValueError(f"{len(templates)} templates; expected at most {MAX_TEMPLATES}")
            return SubwordFeatures(templates, int(spec["rows"]))
        except (KeyError, TypeError, ValueError, OverflowError) as e:
            raise self._error("inputs", f"has no usable subword spec: {_reason(e)}") from e

    def _states(self) -> tuple[State, ...]:
        specs = [spec for spec in self._items("inputs", dict) if spec.get("kind") == "state"]
        try:
            states = tuple(_read_state(**spec) for spec in specs)
            if len({name for state in states for name in (state.name, state.next)}) != 2 * len(states):
                raise ValueError("two have one name")
        except (KeyError, TypeError, ValueError, OverflowError) as e:
            raise self._error("inputs", f"has no usable state: {_reason(e)}") from e
        if states and self._json("decoder", dict).get("kind") != "argmax":
            raise self._error("decoder", "chooses among paths through a whole sentence; a file with states has chunks")
        return states

    def _tags(self) -> tuple[str, ...]:
        tags = self._items("tags", str)
        if not tags or len(set(tags)) != len(tags):
            raise self._error("tags", "is empty or holds a tag twice")
        if len(tags) > MAX_TAGS:
            raise self._error("tags", f"holds {len(tags)} tags; expected at most {MAX_TAGS}")
        for tag in tags:
            if not tag.isprintable() or len(tag) > _MAX_TAG:  # tags go into tables, and onto terminals
                raise self._error("tags", f"holds {tag!r:.80}; expected at most {_MAX_TAG} printable characters")
        return tuple(tags)

    def _tokenizer(self) -> Tokenizer:
        spec = self._json("tokenizer", dict)
        try:
            return Tokenizer.from_json(spec)
        except (KeyError, TypeError, ValueError, OverflowError) as e:
            raise self._error("tokenizer", f"is not usable: {_reason(e)}") from e

    def _golden(self, names: tuple[str, ...]) -> tuple[GoldenCase, ...]:
        cases = self._items("golden", dict)
        try:
            return tuple(_golden_case(names, **case) for case in cases)
        except (KeyError, TypeError, ValueError, OverflowError) as e:
            raise self._error("golden", f"is not usable: {_reason(e)}") from e

    def _items(self, key: str, kind: type[_T]) -> list[_T]:
        items = self._json(key, list)
        if not all(isinstance(item, kind) for item in items):
            raise self._error(key, f"holds something other than {kind.__name__}")
        return items

    def _json(self, key: str, kind: type[_T]) -> _T:
        text = self._text(key)
        try:
            value = json.loads(text, parse_constant=_no_number, parse_float=_finite)
            _check_depth(value, MAX_JSON_DEPTH)
        except (ValueError, RecursionError) as e:
            raise self._error(key, f"is not JSON: {_reason(e)}") from e
        if not isinstance(value, kind):
            raise self._error(key, f"is a JSON {type(value).__name__}; expected a {kind.__name__}")
        return value

    def _choice(self, key: str, choices: tuple[str, ...]) -> str:
        text = self._text(key)
        if text not in choices:
            raise self._error(key, f"is {text!r:.60}; expected one of {', '.join(choices)}")
        return text

    def _text(self, key: str) -> str:
        if PREFIX + key not in self.properties:
            raise self._error(key, "is missing")
        return self.properties[PREFIX + key]

    def _error(self, key: str, fact: str) -> MetadataError:
        return MetadataError(f"{self.source}: metadata {PREFIX}{key} {fact}; export the model again")


def _golden_case(
    names: tuple[str, ...], *, tokens: Any, inputs: Any, tag_ids: Any, tags: Any, scores: Any, text: Any, **later: Any
) -> GoldenCase:
    """The case, if its parts have the types and the one length they should."""
    kinds: tuple[tuple[str, Any, Any], ...] = (
        ("tokens", tokens, str),
        ("tag_ids", tag_ids, int),
        ("tags", tags, str),
        ("scores", scores, int | float),
    )
    for name, items, kind in kinds:
        if not isinstance(items, list) or not all(isinstance(item, kind) for item in items) or _has_bools(items):
            raise TypeError(f"{name} are no list, or hold something other than {getattr(kind, '__name__', kind)}")
    if not isinstance(inputs, dict):
        raise TypeError("inputs are no object")
    if not len(tokens) == len(tag_ids) == len(tags) == len(scores):
        raise ValueError("tokens, tag_ids, tags and scores differ in number")
    if [names[i] if 0 <= i < len(names) else None for i in tag_ids] != list(tags):
        raise ValueError("tag_ids are not those of the tags")
    if not isinstance(text, str | None):
        raise TypeError("text is neither null nor a string")
    return GoldenCase(tuple(tokens), dict(inputs), tuple(tag_ids), tuple(tags), tuple(map(float, scores)), text)


def _input(kind: str, axes: list[str], **more: Any) -> dict[str, Any]:
    """An entry of ``inputs``; every input has its kind as its name."""
    return {"name": kind, "kind": kind, "dtype": "int32", "axes": axes, **more}


def _state(name: str) -> dict[str, Any]:
    """What an input and an output of kind ``state`` have in common."""
    return {"name": name, "kind": "state", "dtype": "float32", "axes": ["batch", "state"]}


def _read_state(*, name: Any, size: Any, next: Any, initial: Any, **fixed: Any) -> State:
    if not isinstance(name, str) or not isinstance(next, str):
        raise TypeError("name or next is no string")
    return State(name, int(size), next, None if initial is None else tuple(map(float, initial)))


def _lookup(table: Vocabulary | CharacterVocabulary) -> dict[str, Any]:
    """How text is looked up, as it stands in ``inputs``."""
    return {"unknown_id": table.unknown_id, "padding_id": table.padding_id, "case": table.case}


def _looked_up(spec: dict[str, Any]) -> dict[str, Any]:
    """`_lookup` read back."""
    unknown = spec["unknown_id"]
    return {
        "unknown_id": None if unknown is None else int(unknown),
        "padding_id": int(spec["padding_id"]),
        "case": spec["case"],
    }


def _has_bools(value: Any) -> bool:
    """Whether it is true or false, or has them at its first level: Python takes them for 1 and 0."""
    return isinstance(value, bool) or (isinstance(value, list) and any(isinstance(item, bool) for item in value))


def _no_number(name: str) -> None:
    raise ValueError(f"it holds {name}")


def _finite(digits: str) -> float:
    number = float(digits)
    if not isfinite(number):  # 1e999 is JSON; no reader gets the number that it says
        raise ValueError(f"it holds {digits:.40}, more than a number can be")
    return number


def _check_depth(value: Any, left: int) -> None:
    """Raises where more than ``left`` lists and objects stand in each other: what reads them again recurses."""
    if isinstance(value, (list, dict)):
        if not left:
            raise ValueError(f"it is nested more than {MAX_JSON_DEPTH} deep")
        for item in value.values() if isinstance(value, dict) else value:
            if isinstance(item, (list, dict)):
                _check_depth(item, left - 1)


def _numbers(value: Any) -> Float:
    rows = value if isinstance(value, list) else [value]
    flat = [item for row in rows for item in (row if isinstance(row, list) else [row])]
    if not all(isinstance(item, int | float) for item in flat) or _has_bools(flat):
        raise TypeError(f"it holds something other than numbers: {value!r:.60}")
    found = np.array(value, np.float64)
    with np.errstate(over="ignore"):
        return found.astype(np.float32)


def _reason(e: Exception) -> str:
    return f"{e.args[0]!r} is missing" if isinstance(e, KeyError) else str(e)
