"""Tags out of the scores of a batch, in the graph: each token's best, or the best path of a CRF.

The best path (Viterbi 1967) is two Scans of standard operators. The first goes through the tokens and
keeps the score of the best path that ends in each tag, and where it came from; the second goes back
from the best last tag. Past a row's length its scores stay and each tag comes from itself, so that
the second Scan arrives at the row's last token with its best tag. Both Scans run over all tokens, the
first one doing nothing at token 0, because a Scan over no steps is refused. `Crf.viterbi` is
the same in numpy, addition by addition.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper

from ..crf import Crf
from .writer import GraphWriter


def best_tag_ids(graph: GraphWriter, scores: str, lengths: str) -> str:
    """``tag_ids`` int32 (batch, sequence): the first of the best tags of each token, -1 from each row's length on.

    Args:
        scores: (batch, sequence, tag).
        lengths: int32 (batch,).
    """
    best = graph.node("ArgMax", [scores], "tags.best", axis=-1, keepdims=0)
    return _valid_only(graph, best, _valid(graph, scores, lengths))


def crf_tag_ids(graph: GraphWriter, emissions: str, lengths: str, crf: Crf) -> str:
    """``tag_ids`` int32 (batch, sequence): the best path of each row, -1 from its length on.

    Args:
        emissions: (batch, sequence, tag) float32.
        lengths: int32 (batch,).
    """
    valid = _valid(graph, emissions, lengths)
    zero = graph.constant("tags.long_zero", np.array(0, np.int64))
    by_step = graph.node("Transpose", [emissions], "crf.emissions", perm=[1, 0, 2])
    first = graph.node("Gather", [by_step, zero], "crf.first_emissions", axis=0)
    start = graph.node("Add", [graph.constant("crf.start", crf.start), first], "crf.first_scores")
    graph.constant("crf.transitions_into", np.ascontiguousarray(crf.transitions.T))
    graph.constant("crf.itself", np.arange(crf.tags, dtype=np.int64))
    scores, back = graph.nodes_out(
        "Scan",
        [start, by_step, _moves(graph, valid)],
        ["crf.last_scores", "crf.back"],
        body=_forward(graph.inner(), crf.tags),
        num_scan_inputs=2,
    )
    ended = graph.node("Add", [scores, graph.constant("crf.end", crf.end)], "crf.ended")
    last = graph.node("ArgMax", [ended], "crf.last_tag", axis=-1, keepdims=1)
    _, path = graph.nodes_out(
        "Scan",
        [last, back],
        ["crf.before_first", "crf.path"],
        body=_backward(graph.inner(), crf.tags),
        num_scan_inputs=1,
        scan_input_directions=[1],
        scan_output_directions=[1],
    )
    by_row = graph.node("Transpose", [path], "crf.path_by_row", perm=[1, 0, 2])
    best = graph.node("Squeeze", [by_row, graph.constant("tags.tag_axis", np.array([2], np.int64))], "crf.best")
    return _valid_only(graph, best, valid)


def _moves(graph: GraphWriter, valid: str) -> str:
    """(sequence, batch, 1) bool: whether the first Scan takes a step here: at real tokens but the first."""
    zero, one = (graph.constant(f"tags.long_{name}", np.array(i, np.int64)) for i, name in enumerate(("zero", "one")))
    steps = graph.node("Range", [zero, "tags.sequence", one], "crf.steps")
    later = graph.node("Greater", [steps, zero], "crf.later")
    moves = graph.node("And", [valid, later], "crf.row_moves")
    by_step = graph.node("Transpose", [moves], "crf.step_moves", perm=[1, 0])
    return graph.node("Unsqueeze", [by_step, graph.constant("tags.tag_axis", np.array([2], np.int64))], "crf.moves")


def _forward(graph: GraphWriter, tags: int) -> onnx.GraphProto:
    """One token: (batch, tag) scores in and out; (batch, tag) the tag before each, as output."""
    row = graph.node("Unsqueeze", ["crf.score", _axis_1(graph)], "crf.score_from")  # (batch, 1, from)
    sums = graph.node("Add", [row, "crf.transitions_into"], "crf.sums")  # (batch, to, from)
    best = graph.node("ReduceMax", [sums], "crf.best_sum", axes=[2], keepdims=0)
    whence = graph.node("ArgMax", [sums], "crf.whence", axis=2, keepdims=0)
    reached = graph.node("Add", [best, "crf.emission"], "crf.reached")
    top = graph.node("ReduceMax", [reached], "crf.top", axes=[1], keepdims=1)
    level = graph.node("Sub", [reached, top], "crf.level")  # long rows keep their precision
    graph.node("Where", ["crf.move", level, "crf.score"], "crf.next_score")
    graph.node("Where", ["crf.move", whence, "crf.itself"], "crf.from")
    return graph.subgraph(
        "best_path_to_each_tag",
        [
            _value("crf.score", TensorProto.FLOAT, tags),
            _value("crf.emission", TensorProto.FLOAT, tags),
            _value("crf.move", TensorProto.BOOL, 1),
        ],
        [_value("crf.next_score", TensorProto.FLOAT, tags), _value("crf.from", TensorProto.INT64, tags)],
    )


def _backward(graph: GraphWriter, tags: int) -> onnx.GraphProto:
    """One token: its tag in, the tag before it out, and its tag once more as output; each (batch, 1)."""
    graph.node("GatherElements", ["crf.step_back", "crf.tag"], "crf.tag_before", axis=1)
    graph.node("Identity", ["crf.tag"], "crf.tag_here")
    return graph.subgraph(
        "back_along_the_best_path",
        [_value("crf.tag", TensorProto.INT64, 1), _value("crf.step_back", TensorProto.INT64, tags)],
        [_value("crf.tag_before", TensorProto.INT64, 1), _value("crf.tag_here", TensorProto.INT64, 1)],
    )


def _valid(graph: GraphWriter, scores: str, lengths: str) -> str:
    """(batch, sequence) bool: where there are tokens."""

    shape = graph.node("Shape", [scores], "tags.shape")
    axis = graph.constant("tags.sequence_axis", np.array(1, np.int64))
    sequence = graph.node("Gather", [shape, axis], "tags.sequence")
    stop = graph.node("Cast", [sequence], "tags.stop", to=TensorProto.INT32)
    zero, one = (graph.constant(f"tags.{name}", np.array(i, np.int32)) for i, name in enumerate(("zero", "one")))
    positions = graph.node("Range", [zero, stop, one], "tags.positions")
    column = graph.node("Unsqueeze", [lengths, _axis_1(graph)], "tags.lengths")
    return graph.node("Less", [positions, column], "tags.valid")


def _valid_only(graph: GraphWriter, best: str, valid: str) -> str:
    ids = graph.node("Cast", [best], "tags.best_ids", to=TensorProto.INT32)
    return graph.node("Where", [valid, ids, graph.constant("padding_tag", np.array(-1, np.int32))], "tag_ids")


def _axis_1(graph: GraphWriter) -> str:
    return graph.constant("tags.axis_1", np.array([1], np.int64))


def _value(name: str, type_: int, size: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, type_, ["batch", size])
