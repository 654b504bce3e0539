"""Opens a model file, checks that graph and metadata agree, and runs checked id arrays through it."""

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .encoding import Inputs
from .errors import IdRangeError, MetadataError, ModelFileError, OutOfMemoryError, ProviderError
from .lifetimes import native_call
from .memory import ran_out
from .metadata import ModelMetadata
from .modelfile import ModelFile, Node, read_model_file
from .providers import RECURRENT, CudaOptions, Placement, Provider, open_session, quiet_run

_CONTROL = {"If", "Loop", "Scan"}
_SELECTING = {
    "GatherND",
    "Concat",
    "Reshape",
    "Transpose",
    "Squeeze",
    "Unsqueeze",
    "Flatten",
    "Slice",
    "Cast",
    "Identity",
}
_FREE = {"batch", "sequence", "character"}
States = dict[str, NDArray[np.float32]]
"""Of a streaming file: name of each state -> (batch, size), or of one stream alone (size,)."""
_ORT_TYPES = {"int32": "tensor(int32)", "float32": "tensor(float)"}


@dataclass(frozen=True)
class Scores:
    """What the model says of a batch; only tags where only those were asked for.

    Attributes:
        tag_ids: (batch, sequence) int32, -1 at padding.
        log_probs: (batch, sequence, tags) float32, natural logarithms of probabilities; unspecified at
            padding. None for a file that ends in a CRF.
        emissions: (batch, sequence, tags) float32, what a CRF scores each tag with at each token, no
            probabilities; unspecified at padding. None for a file without a CRF.
    """

    tag_ids: NDArray[np.int32]
    log_probs: NDArray[np.float32] | None = None
    emissions: NDArray[np.float32] | None = None

    @property
    def of_tags(self) -> NDArray[np.float32]:
        """Whichever of ``log_probs`` and ``emissions`` there is.

        Raises:
            ValueError: neither, since only tags were asked for.
        """
        found = self.log_probs if self.emissions is None else self.emissions
        if found is None:
            raise ValueError("the answer has tags alone; expected the scores of all tags: run with scores=True")
        return found

    def of_rows(self, count: int) -> "Scores":
        """Those of the first ``count`` rows."""
        if count == len(self.tag_ids):
            return self
        parts = (self.tag_ids, self.log_probs, self.emissions)
        return Scores(*(None if part is None else part[:count] for part in parts))  # type: ignore[arg-type]


class TaggerSession:
    """One open model file. Thread-safe.

    Args:
        path: the model file.
        provider: see `lstm_deploy.providers`.
        cuda: how, on CUDA; the session runs on the first of its devices.

    Attributes:
        metadata: what the file says of itself.
        provider: what it really runs on, ``cpu`` or ``cuda``.
        provider_reason: why that one.
        placement: on CUDA: which operators run where.

    Raises:
        ModelFileError: the file is not one of ours, or contradicts itself.
        ProviderError: see `lstm_deploy.providers`.
    """

    def __init__(self, path: str | Path, provider: Provider = "cpu", cuda: CudaOptions | None = None) -> None:
        path = Path(path)
        file = read_model_file(path)
        self.metadata = ModelMetadata.from_properties(file.properties, source=str(path))
        _check_form(file, self.metadata)
        _check_tables(file, self.metadata)
        opened = open_session(path, provider, cuda)
        self.provider = opened.provider
        self.placement: Placement = opened.placement
        self.provider_reason = opened.reason
        self._session = opened.session
        self._process = os.getpid()
        self._quiet = quiet_run()
        self._path = path
        _check_signature(self._session, self.metadata, str(path))
        self._limits = {spec["name"]: spec["rows"] for spec in self.metadata.inputs() if "rows" in spec}
        self._first = next(iter(self._limits))
        self._axes = {spec["name"]: spec["axes"] for spec in self.metadata.inputs() if spec["kind"] != "state"}
        self._scores = self.metadata.outputs()[1]["name"]
        self._states = self.metadata.states

    def run(self, inputs: Inputs) -> Scores:
        """Scores for a batch of ids from anywhere: they are checked first.

        An empty batch, or one of empty rows, never reaches onnxruntime (which would end the process). A streaming
        file takes each row for a whole sentence.

        Raises:
            IdRangeError: an id outside its table, a length below 0 or above its axis, or arrays
                whose batch and sequence axes differ.
            OutOfMemoryError: it does not fit into the memory there is.
            ModelFileError: onnxruntime fails on it.
            ProviderError: CUDA fails, or answers with what cannot be an answer.
        """
        self._check(inputs)
        return self.run_encoded(inputs)

    def run_encoded(self, inputs: Inputs, *, scores: bool = True) -> Scores:
        """Scores for a batch of whole sentences that the model's own `Encoder` made, whose ids need no check.

        Args:
            scores: whether to give the scores of all tags too; without, tag ids alone leave a GPU.

        Raises:
            OutOfMemoryError: it does not fit into the memory there is.
            ModelFileError: onnxruntime fails on it.
            ProviderError: CUDA fails, or answers with what cannot be an answer.
        """
        batch, sequence = inputs[self._first].shape[:2]
        if not batch or not sequence:
            none = np.empty((batch, sequence, len(self.metadata.tags)), np.float32)
            return Scores(np.empty((batch, sequence), np.int32), **{self._scores: none})
        if self._states:
            return self.run_chunk(inputs, self.initial_states(batch), scores=scores)[0]
        if scores:
            tag_ids, found = self._run(["tag_ids", self._scores], inputs)
            return Scores(tag_ids, **{self._scores: found})
        return Scores(self._run(["tag_ids"], inputs)[0])

    def initial_states(self, batch: int) -> States:
        """What ``batch`` sentences start from; nothing for a file that is not a streaming one."""
        return {state.name: state.rows(batch) for state in self._states}

    def run_chunk(self, inputs: Inputs, states: States, *, scores: bool = True) -> tuple[Scores, States]:
        """Scores for the next tokens of many streams, and the states from which each goes on.

        Args:
            inputs: made by the model's own `Encoder`; a chunk a row, at least one of them with a token.
            states: name -> (batch, size), of each row.
            scores: whether to give the scores of all tags too.

        Raises:
            OutOfMemoryError: it does not fit into the memory there is.
            ModelFileError: onnxruntime fails on it.
            ProviderError: CUDA fails, or answers with what cannot be an answer.
        """
        wanted = ["tag_ids", *([self._scores] if scores else []), *(state.next for state in self._states)]
        tag_ids, *found = self._run(wanted, {**inputs, **states})
        answer = Scores(tag_ids, **{self._scores: found.pop(0)}) if scores else Scores(tag_ids)
        return answer, {state.name: rows for state, rows in zip(self._states, found, strict=True)}

    def _run(self, outputs: list[str], feeds: Mapping[str, NDArray[Any]]) -> list[Any]:
        try:
            if self.provider == "cuda":
                return self._run_bound(outputs, feeds)
            with native_call():
                return self._session.run(outputs, feeds)
        except ProviderError:
            raise
        except Exception as e:  # onnxruntime has a dozen classes for this, with no base of their own
            reason, (batch, sequence) = " ".join(str(e).split()), feeds[self._first].shape[:2]
            if ran_out(e):
                raise OutOfMemoryError(
                    f"{self._path}: a batch of {batch} x {sequence} tokens does not fit into the memory on "
                    f"{self.provider} ({reason:.300}); lower batch_tokens (--batch-tokens), and cut long sentences "
                    "(--window)"
                ) from e
            if self.provider == "cuda":
                raise ProviderError(
                    f"{self._path}: CUDA failed on a batch of {batch} x {sequence} ({reason:.300}); see with "
                    "`lstm-deploy doctor --provider cuda` whether the GPU is sound, or use --provider cpu"
                ) from e
            raise ModelFileError(
                f"{self._path}: onnxruntime cannot run the model on a batch of {batch} x {sequence} ({reason:.300}); "
                "export the model again"
            ) from e

    def _run_bound(self, outputs: list[str], feeds: Mapping[str, NDArray[Any]]) -> list[Any]:
        """`run` of onnxruntime in two steps: inputs go to the device before another thread's run has ended."""
        if os.getpid() != self._process:
            raise ProviderError(
                f"{self._path}: CUDA does not survive a fork; start processes with "
                'multiprocessing.get_context("spawn"), or load the model in them alone'
            )
        binding = self._session.io_binding()
        for name, values in feeds.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(values))
        for name in outputs:
            binding.bind_output(name, "cpu")
        with native_call():
            self._session.run_with_iobinding(binding, self._quiet)
        found = binding.copy_outputs_to_cpu()
        self._check_answer(found, feeds["lengths"])
        return found

    def _check_answer(self, found: list[Any], lengths: NDArray[np.int32]) -> None:
        """A device that fails may give numbers all the same; those of the CPU are the ones that were proved."""
        tag_ids, valid = found[0], found[0] >= 0
        wrong = valid.sum(1) != lengths
        if wrong.any() or tag_ids.max(initial=0) >= len(self.metadata.tags):
            problem = f"tag ids from {tag_ids.min()} to {tag_ids.max()}, not one for each token"
        elif len(found) > 1 and found[1].ndim == 3 and np.isnan(found[1].max(-1)[valid]).any():
            problem = "scores that are no numbers"
        else:
            return
        raise ProviderError(
            f"{self._path}: {self.provider} answered with {problem}; see with `lstm-deploy doctor --provider cuda` "
            "whether the GPU is sound, or use --provider cpu"
        )

    def _check(self, inputs: Inputs) -> None:
        first = self._first
        shape = inputs[first].shape[:2]
        for name, axes in self._axes.items():
            found = inputs[name].shape
            if len(found) != len(axes) or found[:2] != shape[: len(axes)]:
                cure = "one length a row" if name == "lengths" else "pad all inputs alike"
                raise IdRangeError(f"{name} has shape {found}; expected {shape[: len(axes)]} as {first}: {cure}")
        for name, rows in self._limits.items():
            ids = inputs[name]
            if ids.size and (ids.min() < 0 or ids.max() >= rows):
                raise IdRangeError(
                    f"{name} holds ids from {ids.min()} to {ids.max()}; the model has 0 to {rows - 1}; "
                    "encode with the model's own vocabulary"
                )
        _check_lengths("lengths", inputs["lengths"], shape[1], "sequence")
        if "char_ids" in self._limits:
            characters = inputs["char_ids"].shape[2]
            if not characters:
                raise IdRangeError(f"char_ids has shape {inputs['char_ids'].shape}; expected at least one column; pad")
            _check_lengths("char_lengths", inputs["char_lengths"], characters, "character")


def _check_lengths(name: str, lengths: NDArray[np.int32], most: int, axis: str) -> None:
    if lengths.size and (lengths.min() < 0 or lengths.max() > most):
        raise IdRangeError(
            f"{name} run from {lengths.min()} to {lengths.max()}; expected 0 to {most}, the {axis} axis; "
            "count what stands before the padding"
        )


def _check_form(file: ModelFile, metadata: ModelMetadata) -> None:
    """The graph is of the form and the numbers of the precision that the metadata names."""
    outer = Counter(node.op_type for node in file.nodes)
    inner = {node.op_type for node in file.inner_nodes}
    decoding = 2 if metadata.crf else 0  # Scans
    in_bytes = "If" in outer and {"Scan", "MatMulInteger", "LSTM"} <= inner
    control = {op: n for op, n in outer.items() if op in _CONTROL}
    expected = {"If": 1} if in_bytes else {}
    if control != expected | ({"Scan": decoding} if decoding else {}) or (
        not in_bytes and not RECURRENT & outer.keys()
    ):
        decoder = "with a CRF" if decoding else "without a CRF"
        raise MetadataError(
            f"{file.path}: the graph is of no form that the format knows for a file {decoder} (its control flow is "
            f"{control or 'none'}); export the model again"
        )
    halves = any(value.dtype == "float16" for value in file.initializers.values())
    rows = any(value.dtype == "int8" for value in file.initializers.values())
    precision = "int8" if in_bytes else "fp16" if halves else "rows8" if rows else "fp32"
    if precision != metadata.precision:
        raise MetadataError(
            f"{file.path}: the metadata says precision {metadata.precision}, the graph is {precision}; export again"
        )
    if metadata.graph_form in ("reverse_sequence", "gate") and any(map(_given_lengths, file.nodes)):
        raise MetadataError(
            f"{file.path}: the metadata says graph form {metadata.graph_form}, whose operators know no lengths; the "
            "graph has one with sequence_lens; export again"
        )


def _given_lengths(node: Node) -> bool:
    return node.op_type in RECURRENT and len(node.inputs) > 4 and bool(node.inputs[4])


def _check_tables(file: ModelFile, metadata: ModelMetadata) -> None:
    """The table that each id input selects from has as many rows as the metadata counts."""
    for spec in metadata.inputs():
        if "rows" not in spec:
            continue
        name = spec["name"]
        ids = _arranged(file.nodes, name)
        tables = [
            file.initializers[node.inputs[0]]
            for node in file.nodes
            if node.op_type == "Gather" and set(node.inputs[1:]) & ids and node.inputs[0] in file.initializers
        ]
        if not tables:
            raise MetadataError(f"{file.path}: no table in the graph is looked up by {name}; export the model again")
        for table in tables:
            if table.shape[:1] != (spec["rows"],):
                raise MetadataError(
                    f"{file.path}: the metadata counts {spec['rows']} rows for {name}, the graph's table "
                    f"{table.name} has the shape {table.shape}; export the model again"
                )


def _arranged(nodes: list[Node], name: str) -> set[str]:
    """Values that hold ids of input ``name`` and nothing else: itself, and what only picks or lays out some of it."""
    found = {name}
    for node in nodes:  # each stands after what it reads
        if node.op_type in _SELECTING and found.intersection(node.inputs[:1]):
            found.update(node.outputs)
    return found


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
        for arg, spec in zip(found, specs, strict=True):
            if any(isinstance(size, int) for size, axis in zip(arg.shape, spec["axes"], strict=True) if axis in _FREE):
                raise MetadataError(f"{source}: {what} {arg.name} has fixed axes {arg.shape}; export the model again")
            if spec["kind"] == "state" and arg.shape[1] != spec["size"]:
                raise MetadataError(
                    f"{source}: the metadata says {spec['size']} numbers for the state {arg.name}, the graph has "
                    f"{arg.shape[1]}; export the model again"
                )
    outputs = session.get_outputs()[1].shape[2]
    if outputs != len(metadata.tags):
        raise MetadataError(
            f"{source}: the metadata has {len(metadata.tags)} tags, the graph gives {outputs} scores a token; "
            "export the model again"
        )
