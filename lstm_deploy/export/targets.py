"""Where a file is to run: which graph form that takes, and which runtimes the file then claims to be right in.

The claims are what `lstm-deploy conformance` found: docs/runtimes.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import onnx

from ..errors import InputError
from ..metadata import GraphForm, ModelMetadata
from ..providers import RECURRENT
from .forms import hindrance, in_form

Target = Literal["portable", "onnxruntime", "tract"]


@dataclass(frozen=True)
class _Choice:
    form: GraphForm
    runtimes: tuple[str, ...]


_ONNXRUNTIME = ("onnxruntime", "onnxruntime-node", "onnxruntime-web")
TARGETS: Mapping[Target, _Choice] = {
    # About as fast on onnxruntime as lengths given to the operators (benchmarks/NOTES.md), and right in more runtimes.
    "portable": _Choice("reverse_sequence", (*_ONNXRUNTIME, "openvino")),
    # One operator a layer that reads both ways; the only form of what needs the last cell state.
    "onnxruntime": _Choice("sequence_lens", _ONNXRUNTIME),
    # tract has no ReverseSequence, and ignores lengths.
    "tract": _Choice("gate", (*_ONNXRUNTIME, "openvino", "tract")),
}


@dataclass(frozen=True)
class Targeted:
    """A graph in the form for a target.

    Attributes:
        metadata: says form and runtimes.
        narrowed: why the file is for onnxruntime alone where no target was asked for, "" where it is portable.
    """

    graph: onnx.ModelProto
    metadata: ModelMetadata
    narrowed: str = ""


def targeted(graph: onnx.ModelProto, metadata: ModelMetadata, target: Target | None) -> Targeted:
    """``graph`` in the form for ``target``, and ``metadata`` that says so.

    Args:
        graph: its recurrent operators are given lengths.
        metadata: of a file whose precision, states and decoder are known.
        target: None: portable, or for onnxruntime alone where the file can be for nothing else.

    Raises:
        InputError: such a file cannot be for ``target``.
    """
    against, cure = _against(graph, metadata, target or "portable")
    if against and target is not None:
        raise InputError(f"no file for {target}: {against}; export with {cure}")
    chosen: Target = "onnxruntime" if against else target or "portable"
    form = TARGETS[chosen].form
    if metadata.precision == "int8":
        # Few rows run through operators in float32: in the form that every runtime has right.
        graph, form = in_form(graph, "reverse_sequence"), "scan_int8"
    else:
        graph = in_form(graph, form)
    metadata = replace(metadata, graph_form=form, runtimes=TARGETS[chosen].runtimes)
    return Targeted(graph, metadata, against or "")


def _against(graph: onnx.ModelProto, metadata: ModelMetadata, target: Target) -> tuple[str | None, str]:
    """What stands against ``target``, or None; and the cure."""
    if target == "onnxruntime":
        return None, ""
    if metadata.precision == "int8":
        return "int8 runs in Scans that onnxruntime alone has right", "--precision fp32 or fp16"
    if metadata.states:
        why = "a streaming file hands on the states of each row, which has been tried in onnxruntime alone"
        return why, "--target onnxruntime"
    against = hindrance(graph, TARGETS[target].form)
    if target == "tract" and not against:
        return _not_for_tract(graph, metadata), "--target portable"
    return against, "--target onnxruntime" if target == "portable" else "--target portable or onnxruntime"


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
