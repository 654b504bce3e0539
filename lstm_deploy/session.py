"""Opens a model file, checks that graph and metadata agree, and runs checked id arrays through it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .admission import admit
from .encoding import Inputs
from .errors import IdRangeError, MetadataError, ModelFileError, OutOfMemoryError, ProviderError
from .lifetimes import native_calls
from .memory import ran_out
from .metadata import ModelMetadata
from .modelfile import ModelFile
from .providers import CudaOptions, Placement, Provider, open_session, quiet_run

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
        source: the model file, or where it is.
        provider: see `lstm_deploy.providers`.
        cuda: how, on CUDA; the session runs on the first of its devices.
        sha256: what the SHA-256 of the file has to be.

    Attributes:
        metadata: what the file says of itself.
        sha256: of the bytes that were loaded, in hexadecimal. What becomes of the file later changes nothing.
        provider: what it really runs on, ``cpu`` or ``cuda``.
        provider_reason: why that one.
        placement: on CUDA: which operators run where.

    Raises:
        ModelFileError: the file is not one of ours, contradicts itself, or breaks a rule of FORMAT.md (section 12).
        DigestError: it is another file than ``sha256`` is of.
        ProviderError: see `lstm_deploy.providers`.
    """

    def __init__(
        self,
        source: str | Path | ModelFile,
        provider: Provider = "cpu",
        cuda: CudaOptions | None = None,
        *,
        sha256: str | None = None,
    ) -> None:
        file, self.metadata = admit(source, sha256)
        path = file.path
        self.sha256 = file.sha256
        opened = open_session(path, provider, cuda, file.data)
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
        tag_ids, *found = self._run(["tag_ids", *([self._scores] if scores else [])], inputs)
        return self._answer(inputs, tag_ids, found)

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
        answer = self._answer(inputs, tag_ids, [found.pop(0)] if scores else [])
        return answer, {state.name: rows for state, rows in zip(self._states, found, strict=True)}

    def _answer(self, inputs: Inputs, tag_ids: NDArray[np.int32], found: list[NDArray[np.float32]]) -> Scores:
        """What the graph gave, if it is an answer to ``inputs``: a tag for each token, none for padding.

        A graph can be well-formed and give anything, and a device that fails may give numbers all the same; what is
        decoded relies on this.
        """
        lengths, shape, tags = inputs["lengths"], inputs[self._first].shape[:2], len(self.metadata.tags)
        wanted = lengths[:, None] > np.arange(shape[1], dtype=np.int32)
        problem = ""
        if tag_ids.shape != shape or any(each.shape != (*shape, tags) for each in found):
            problem = f"tag ids of shape {tag_ids.shape}; expected {shape}, and scores of {tags} tags"
        elif tag_ids.max() >= tags or not np.array_equal(tag_ids >= 0, wanted):
            problem = (
                f"tag ids from {tag_ids.min()} to {tag_ids.max()}, not one for each token; expected 0 to {tags - 1}, "
                "and -1 at padding"
            )
        elif self.provider == "cuda" and found and np.isnan(found[0].max(-1)[wanted]).any():
            problem = "scores that are no numbers"
        if problem:
            raise self._no_answer(problem)
        return Scores(tag_ids, **{self._scores: found[0]} if found else {})

    def _no_answer(self, problem: str) -> ModelFileError | ProviderError:
        if self.provider == "cuda":
            return ProviderError(
                f"{self._path}: {self.provider} answered with {problem}; see with `lstm-deploy doctor --provider cuda` "
                "whether the GPU is sound, or use --provider cpu"
            )
        return ModelFileError(
            f"{self._path}: the model answered with {problem}; get the file again from where it was made, or export "
            "the model again"
        )

    def _run(self, outputs: list[str], feeds: Mapping[str, NDArray[Any]]) -> list[Any]:
        try:
            if self.provider == "cuda":
                return self._run_bound(outputs, feeds)
            with native_calls:
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
        with native_calls:
            self._session.run_with_iobinding(binding, self._quiet)
        return binding.copy_outputs_to_cpu()

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


def _check_signature(session: Any, metadata: ModelMetadata, source: str) -> None:
    """Names, types and ranks of inputs and outputs are those of the metadata; as many outputs as tags."""
    for what, specs, found in (
        ("input", metadata.inputs(), session.get_inputs()),
        ("output", metadata.outputs(), session.get_outputs()),
    ):
        expected = [(spec["name"], _ORT_TYPES[spec["dtype"]], len(spec["axes"])) for spec in specs]
        got = [(arg.name, arg.type, len(arg.shape)) for arg in found]
        if got != expected:
            raise MetadataError(
                f"{source}: the graph's {what}s are {got!s:.300}; the metadata says {expected!s:.300}; export again"
            )
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
