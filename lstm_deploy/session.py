"""Opens a model file, checks that graph and metadata agree, and runs checked id arrays through it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .encoding import Inputs
from .errors import IdRangeError, MetadataError, ModelFileError
from .metadata import ModelMetadata
from .modelfile import ModelFile, Node, read_model_file
from .providers import Provider, open_session

_TAGS, _BOTH = ["tag_ids"], ["tag_ids", "log_probs"]
_ORT_TYPES = {"int32": "tensor(int32)", "float32": "tensor(float)"}


@dataclass(frozen=True)
class Scores:
    """What the model says of a batch.

    Attributes:
        tag_ids: (batch, sequence) int32, -1 at padding.
        log_probs: (batch, sequence, tags) float32, natural logarithms; unspecified at padding. None
            where only tags were asked for.
    """

    tag_ids: NDArray[np.int32]
    log_probs: NDArray[np.float32] | None


class TaggerSession:
    """One open model file. Thread-safe.

    Attributes:
        metadata: what the file says of itself.
        provider: what it really runs on, ``cpu`` or ``cuda``.
        provider_reason: why that one.

    Raises:
        ModelFileError: the file is not one of ours, or contradicts itself.
        ProviderError: see `lstm_deploy.providers`.
    """

    def __init__(self, path: str | Path, provider: Provider = "cpu") -> None:
        path = Path(path)
        file = read_model_file(path)
        self.metadata = ModelMetadata.from_properties(file.properties, source=str(path))
        _check_form(file, self.metadata)
        _check_tables(file, self.metadata)
        opened = open_session(path, provider)
        self.provider = opened.provider
        self.provider_reason = opened.reason
        self._session = opened.session
        self._path = path
        _check_signature(self._session, self.metadata, str(path))
        self._limits = {spec["name"]: spec["rows"] for spec in self.metadata.inputs() if "rows" in spec}

    def run(self, inputs: Inputs) -> Scores:
        """Scores for a batch of ids from anywhere: they are checked first.

        An empty batch, or one of empty rows, never reaches onnxruntime (which would end the process).

        Raises:
            IdRangeError: an id outside its table, a length below 0 or above the sequence axis, or
                arrays whose batch and sequence axes differ.
            ModelFileError: onnxruntime fails on it.
        """
        self._check(inputs)
        return self.run_encoded(inputs)

    def run_encoded(self, inputs: Inputs, *, scores: bool = True) -> Scores:
        """Scores for a batch that the model's own `Encoder` made, whose ids need no check.

        Args:
            scores: whether to give ``log_probs`` too.

        Raises:
            ModelFileError: onnxruntime fails on it.
        """
        batch, sequence = inputs["word_ids"].shape
        if not batch or not sequence:
            tags = len(self.metadata.tags)
            return Scores(np.empty((batch, sequence), np.int32), np.empty((batch, sequence, tags), np.float32))
        try:
            if scores:
                return Scores(*self._session.run(_BOTH, inputs))
            return Scores(self._session.run(_TAGS, inputs)[0], None)
        except Exception as e:  # onnxruntime has a dozen classes for this, with no base of their own
            reason = " ".join(str(e).split())
            raise ModelFileError(
                f"{self._path}: onnxruntime cannot run the model on a batch of {batch} x {sequence} ({reason:.300}); "
                "if memory is short lower batch_tokens, else export the model again"
            ) from e

    def _check(self, inputs: Inputs) -> None:
        shape = inputs["word_ids"].shape
        lengths = inputs["lengths"]
        for name, rows in self._limits.items():
            ids = inputs[name]
            if ids.shape[:2] != shape:
                raise IdRangeError(f"{name} has shape {ids.shape}; expected {shape} as word_ids; pad all inputs alike")
            if ids.size and (ids.min() < 0 or ids.max() >= rows):
                raise IdRangeError(
                    f"{name} holds ids from {ids.min()} to {ids.max()}; the model has 0 to {rows - 1}; "
                    "encode with the model's own vocabulary"
                )
        if lengths.shape != shape[:1]:
            raise IdRangeError(f"lengths has shape {lengths.shape}; expected {shape[:1]}: one length a row")
        if lengths.size and (lengths.min() < 0 or lengths.max() > shape[1]):
            raise IdRangeError(
                f"lengths run from {lengths.min()} to {lengths.max()}; expected 0 to {shape[1]}, the sequence axis"
            )


def _check_form(file: ModelFile, metadata: ModelMetadata) -> None:
    """The graph is of the form and the numbers of the precision that the metadata names."""
    outer = {node.op_type for node in file.nodes}
    inner = {node.op_type for node in file.inner_nodes}
    form = "scan_int8" if "If" in outer and {"Scan", "MatMulInteger", "LSTM"} <= inner else "sequence_lens"
    if form == "sequence_lens" and ("LSTM" not in outer or inner):
        raise MetadataError(f"{file.path}: the graph is of no form that the format knows; export the model again")
    halves = any(value.dtype == "float16" for value in file.initializers.values())
    precision = "int8" if form == "scan_int8" else "fp16" if halves else "fp32"
    if precision != metadata.precision:
        raise MetadataError(
            f"{file.path}: the metadata says precision {metadata.precision}, the graph is {precision}; export again"
        )


def _check_tables(file: ModelFile, metadata: ModelMetadata) -> None:
    """The table that each id input selects from has as many rows as the metadata counts."""
    for spec in metadata.inputs():
        if "rows" not in spec:
            continue
        name = spec["name"]
        selected = {name}.union(*(node.outputs for node in file.nodes if _selects(node, name)))
        tables = [
            file.initializers[node.inputs[0]]
            for node in file.nodes
            if node.op_type == "Gather" and set(node.inputs[1:]) & selected and node.inputs[0] in file.initializers
        ]
        if not tables:
            raise MetadataError(f"{file.path}: no table in the graph is looked up by {name}; export the model again")
        for table in tables:
            if table.shape[:1] != (spec["rows"],):
                raise MetadataError(
                    f"{file.path}: the metadata counts {spec['rows']} rows for {name}, the graph's table "
                    f"{table.name} has the shape {table.shape}; export the model again"
                )


def _selects(node: Node, name: str) -> bool:
    """Whether the operator picks some of the ids of input ``name``, and nothing else."""
    return node.op_type == "GatherND" and node.inputs[:1] == (name,)


def _check_signature(session: Any, metadata: ModelMetadata, source: str) -> None:
    """Names, types and ranks of inputs and outputs are those of the metadata; as many outputs as tags."""
    for what, specs, found in (
        ("input", metadata.inputs(), session.get_inputs()),
        ("output", metadata.outputs(), session.get_outputs()),
    ):
        expected = [(spec["name"], _ORT_TYPES[spec["dtype"]], len(spec["axes"])) for spec in specs]
        got = [(arg.name, arg.type, len(arg.shape)) for arg in found]
        if got != expected:
            raise MetadataError(f"{source}: the graph's {what}s are {got}; the metadata says {expected}; export again")
        for arg in found:
            fixed = [size for size in arg.shape[:2] if isinstance(size, int)]
            if fixed:
                raise MetadataError(f"{source}: {what} {arg.name} has fixed axes {arg.shape}; export the model again")
    outputs = session.get_outputs()[1].shape[2]
    if outputs != len(metadata.tags):
        raise MetadataError(
            f"{source}: the metadata has {len(metadata.tags)} tags, the graph gives {outputs} scores a token; "
            "export the model again"
        )
