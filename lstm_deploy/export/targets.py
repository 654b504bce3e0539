"""Where a file is to run: which graph form that takes, and which runtimes the file then claims to be right in.

The claims are what `lstm-deploy conformance` found: docs/runtimes.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import onnx

from ..errors import InputError
from ..metadata import GraphForm, ModelMetadata
from .forms import RECURRENT, hindrance, in_form

Target = Literal["portable", "onnxruntime", "tract"]


@dataclass(frozen=True)
class _Choice:
    form: GraphForm
    runtimes: tuple[str, ...]


_ONNXRUNTIME = ("onnxruntime", "onnxruntime-node", "onnxruntime-web")
TARGETS: Mapping[Target, _Choice] = {
    # As fast on onnxruntime as lengths given to the operators (benchmarks/NOTES.md), and right in more runtimes.
    "portable": _Choice("reverse_sequence", (*_ONNXRUNTIME, "openvino")),
    # One operator a layer that reads both ways; the only form of what needs the last cell state.
    "onnxruntime": _Choice("sequence_lens", _ONNXRUNTIME),
    # tract has no ReverseSequence, and ignores lengths.
    "tract": _Choice("gate", (*_ONNXRUNTIME, "openvino", "tract")),
}


def targeted(
    graph: onnx.ModelProto, metadata: ModelMetadata, target: Target | None
) -> tuple[onnx.ModelProto, ModelMetadata]:
    """``graph`` in the form for ``target``, and ``metadata`` that says so.

    Args:
        graph: its recurrent operators are given lengths.
        metadata: of a file whose precision, states and decoder are known.
        target: None: portable, or for onnxruntime alone where the file can be for nothing else.

    Raises:
        InputError: such a file cannot be for ``target``.
    """
    if metadata.precision == "int8":
        if target not in (None, "onnxruntime"):
            raise _none(target, "int8 runs in Scans that onnxruntime alone has right", "--precision fp32 or fp16")
        # Few rows run through operators in float32: in the form that every runtime has right.
        graph = in_form(graph, "reverse_sequence")
        return graph, replace(metadata, graph_form="scan_int8", runtimes=_ONNXRUNTIME)
    if metadata.states:
        if target not in (None, "onnxruntime"):
            why = "a streaming file hands on the states of each row, which has been tried in onnxruntime alone"
            raise _none(target, why, "--target onnxruntime")
        target = "onnxruntime"
    choice = TARGETS[target or "portable"]
    against = hindrance(graph, choice.form)
    if target == "tract":
        against = against or _not_for_tract(graph, metadata)
    if against and target is not None:
        raise _none(target, against, "--target onnxruntime" if target == "portable" else "another --target")
    if against:
        choice = TARGETS["onnxruntime"]
    return in_form(graph, choice.form), replace(metadata, graph_form=choice.form, runtimes=choice.runtimes)


def _not_for_tract(graph: onnx.ModelProto, metadata: ModelMetadata) -> str | None:
    """What stands against tract beside the form, or None."""
    if metadata.crf:
        return "tract does not run the Scans of a best path"
    for node in graph.graph.node:
        if node.op_type == "ReverseSequence":
            return f"tract does not know ReverseSequence ({node.name})"
        if node.op_type in RECURRENT and list(node.input[4:5]) != ["lengths"]:
            return f"{node.name} has as many rows as there are words, a number that tract has to know before"
    return None


def _none(target: Target, why: str, cure: str) -> InputError:
    return InputError(f"no file for {target}: {why}; expected a tagger that can do without; export with {cure}")
