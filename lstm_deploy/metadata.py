"""The model's typed metadata <-> the string map in the ONNX file. FORMAT.md is its specification.

Knows the names and types of what is written, not how a graph is made or run.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from .errors import FormatVersionError, MetadataError, MissingMetadataError
from .features import SubwordFeatures
from .tokenizer import Tokenizer
from .vocabulary import Vocabulary

PREFIX = "lstm_deploy."
FORMAT_VERSION = 2
"""1 had no precisions but fp32, and its graphs read the features of known words too."""
GRAPH_FORMS = ("sequence_lens", "scan_int8")
"""How the recurrence is written. ``sequence_lens``: LSTM operators that are given the lengths.
``scan_int8``: those for few rows, for many a Scan over bytes that turns each row by its length."""

Precision = Literal["fp32", "fp16", "int8"]
TOLERANCES: Mapping[Precision, float] = {"fp32": 1e-5, "fp16": 1e-5, "int8": 0.15}
"""Absolute, and relative to the value: how far a log-probability may be from PyTorch's on the stored weights."""
Column = Literal["upos", "xpos", "tag"]
COLUMNS = ("upos", "xpos", "tag")
_T = TypeVar("_T")


@dataclass(frozen=True)
class GoldenCase:
    """One sentence with everything a client should get for it.

    Attributes:
        text: what ``tokens`` were cut from by the model's tokenizer, or None.
        inputs: input kind -> ids of this sentence alone: (sequence,) or (sequence, feature).
        scores: probability of each chosen tag, from PyTorch.
    """

    tokens: tuple[str, ...]
    inputs: Mapping[str, Any]
    tag_ids: tuple[int, ...]
    tags: tuple[str, ...]
    scores: tuple[float, ...]
    text: str | None = None


@dataclass(frozen=True)
class ModelMetadata:
    """All that a model file says of itself beside its graph.

    Attributes:
        tags: tag with id i at position i.
        column: which column of a corpus the tags are.
        training: provenance: data, licence, settings, scores.
        versions: package -> version that made the file.
        golden: cases for a client to test itself with.
        proof: figures of the parity check that the file passed.
        precision: how weights are stored; ``int8`` also computes with whole numbers.
        rounding: for fp16 and int8: what the rounding cost on a development set.
    """

    vocabulary: Vocabulary
    tags: tuple[str, ...]
    tokenizer: Tokenizer
    features: SubwordFeatures | None = None
    column: Column = "tag"
    precision: Precision = "fp32"
    training: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    golden: tuple[GoldenCase, ...] = ()
    proof: Mapping[str, Any] = field(default_factory=dict)
    rounding: Mapping[str, Any] = field(default_factory=dict)

    @property
    def graph_form(self) -> str:
        """One of `GRAPH_FORMS`."""
        return "scan_int8" if self.precision == "int8" else "sequence_lens"

    @property
    def tolerance(self) -> float:
        """Of a log-probability, absolute and relative to its value."""
        return TOLERANCES[self.precision]

    def inputs(self) -> list[dict[str, Any]]:
        """The graph's inputs in order, each with its kind and what a client needs to fill it."""
        word_ids = {
            "name": "word_ids",
            "kind": "word_ids",
            "dtype": "int32",
            "axes": ["batch", "sequence"],
            "rows": len(self.vocabulary),
            "unknown_id": self.vocabulary.unknown_id,
            "padding_id": self.vocabulary.padding_id,
            "case": self.vocabulary.case,
        }
        lengths = {"name": "lengths", "kind": "lengths", "dtype": "int32", "axes": ["batch"]}
        if self.features is None:
            return [word_ids, lengths]
        subword_ids = {
            "name": "subword_ids",
            "kind": "subword_ids",
            "dtype": "int32",
            "axes": ["batch", "sequence", "feature"],
            "rows": self.features.buckets,
            "padding_id": 0,
            "hash": "crc32",
            "templates": list(self.features.templates),
        }
        return [word_ids, subword_ids, lengths]

    def outputs(self) -> list[dict[str, Any]]:
        """The graph's outputs, each with its kind."""
        axes = ["batch", "sequence"]
        return [
            {"name": "tag_ids", "kind": "tag_ids", "dtype": "int32", "axes": axes, "padding_id": -1},
            {"name": "log_probs", "kind": "log_probs", "dtype": "float32", "axes": [*axes, "tag"]},
        ]

    def to_properties(self) -> dict[str, str]:
        """The string map that goes into the ONNX file."""
        values = {
            "inputs": self.inputs(),
            "outputs": self.outputs(),
            "words": self.vocabulary.words,
            "tags": self.tags,
            "tokenizer": self.tokenizer.to_json(),
            "training": dict(self.training),
            "versions": dict(self.versions),
            "golden": [vars(case) for case in self.golden],
            "proof": dict(self.proof),
            "rounding": dict(self.rounding),
        }
        plain = {
            "format_version": str(FORMAT_VERSION),
            "graph_form": self.graph_form,
            "precision": self.precision,
            "column": self.column,
        }
        return {
            PREFIX + key: value
            for key, value in (plain | {k: json.dumps(v, ensure_ascii=False) for k, v in values.items()}).items()
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


class _Reader:
    """Takes the string map apart; every failure names the file and the key."""

    def __init__(self, properties: Mapping[str, str], source: str) -> None:
        self.properties = properties
        self.source = source

    def read(self) -> ModelMetadata:
        if self._version() == 1:
            self.properties = {PREFIX + "precision": "fp32", PREFIX + "rounding": "{}", **self.properties}
        inputs = {str(spec.get("kind")): spec for spec in self._items("inputs", dict)}
        known = {"word_ids", "subword_ids", "lengths"}
        if unknown := set(inputs) - known:
            raise self._error("inputs", f"has inputs of unknown kind {sorted(unknown)}; known: {sorted(known)}")
        if missing := {"word_ids", "lengths"} - set(inputs):
            raise self._error("inputs", f"lacks the inputs {sorted(missing)}")
        metadata = ModelMetadata(
            vocabulary=self._vocabulary(inputs["word_ids"]),
            tags=self._tags(),
            tokenizer=self._tokenizer(),
            features=self._features(inputs.get("subword_ids")),
            column=self._choice("column", COLUMNS),  # type: ignore[arg-type]
            precision=self._choice("precision", tuple(TOLERANCES)),  # type: ignore[arg-type]
            training=self._json("training", dict),
            versions=self._json("versions", dict),
            golden=self._golden(self._tags()),
            proof=self._json("proof", dict),
            rounding=self._json("rounding", dict),
        )
        if self._choice("graph_form", GRAPH_FORMS) != metadata.graph_form:
            raise self._error("graph_form", f"is not that of precision {metadata.precision}, {metadata.graph_form}")
        for key, found, expected in (
            ("inputs", self._json("inputs", list), metadata.inputs()),
            ("outputs", self._json("outputs", list), metadata.outputs()),
        ):
            if found != expected:
                raise self._error(key, f"is {json.dumps(found):.200}; expected {json.dumps(expected):.200}")
        return metadata

    def _version(self) -> int:
        version = self.properties.get(PREFIX + "format_version")
        if version is None:
            raise MissingMetadataError(
                f"{self.source}: an ONNX model without lstm-deploy metadata; make the file with `lstm-deploy export`"
            )
        if not version.isdecimal() or len(version) > 9 or int(version) < 1:
            raise self._error("format_version", f"is {version!r:.40}; expected a whole number from 1")
        if int(version) > FORMAT_VERSION:
            raise FormatVersionError(
                f"{self.source}: format version {version}, newer than {FORMAT_VERSION}, the newest that this "
                f"lstm-deploy reads; run `pip install --upgrade lstm-deploy`"
            )
        return int(version)

    def _vocabulary(self, spec: dict[str, Any]) -> Vocabulary:
        words = self._json("words", list)
        if not all(word is None or isinstance(word, str) for word in words):
            raise self._error("words", "holds something other than words and nulls")
        try:
            return Vocabulary(
                words, unknown_id=int(spec["unknown_id"]), padding_id=int(spec["padding_id"]), case=spec["case"]
            )
        except (KeyError, TypeError, ValueError, OverflowError) as e:
            raise self._error("inputs", f"and words do not agree: {_reason(e)}") from e

    def _features(self, spec: dict[str, Any] | None) -> SubwordFeatures | None:
        if spec is None:
            return None
        try:
            return SubwordFeatures(tuple(spec["templates"]), int(spec["rows"]))
        except (KeyError, TypeError, ValueError, OverflowError) as e:
            raise self._error("inputs", f"has no usable subword spec: {_reason(e)}") from e

    def _tags(self) -> tuple[str, ...]:
        tags = self._items("tags", str)
        if not tags or len(set(tags)) != len(tags):
            raise self._error("tags", "is empty or holds a tag twice")
        return tuple(tags)

    def _tokenizer(self) -> Tokenizer:
        spec = self._json("tokenizer", dict)
        try:
            return Tokenizer.from_json(spec)
        except (KeyError, TypeError, ValueError, OverflowError) as e:
            raise self._error("tokenizer", f"is not usable: {_reason(e)}") from e

    def _golden(self, names: tuple[str, ...]) -> tuple[GoldenCase, ...]:
        try:
            return tuple(_golden_case(names, **case) for case in self._items("golden", dict))
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
            value = json.loads(text)
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
    for name, items, kind in (("tokens", tokens, str), ("tag_ids", tag_ids, int), ("tags", tags, str)):
        if not all(isinstance(item, kind) for item in items):
            raise TypeError(f"{name} hold something other than {kind.__name__}")
    if not len(tokens) == len(tag_ids) == len(tags) == len(scores):
        raise ValueError("tokens, tag_ids, tags and scores differ in number")
    if [names[i] if 0 <= i < len(names) else None for i in tag_ids] != list(tags):
        raise ValueError("tag_ids are not those of the tags")
    if not isinstance(text, str | None):
        raise TypeError("text is neither null nor a string")
    return GoldenCase(tuple(tokens), dict(inputs), tuple(tag_ids), tuple(tags), tuple(map(float, scores)), text)


def _reason(e: Exception) -> str:
    return f"{e.args[0]!r} is missing" if isinstance(e, KeyError) else str(e)
