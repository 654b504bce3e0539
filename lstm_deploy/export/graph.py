"""The tagger's graph, written directly from the weights: small enough for a reader to follow.

Knows no text, no metadata's meaning and no files.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper

from ..metadata import ModelMetadata
from .int8 import int8_logits
from .recurrent import linear, stacked_lstm
from .rounding import CODE_ZERO
from .stored import StoredEmbedding, StoredTagger
from .streaming import streaming_lstm
from .viterbi import best_tag_ids, crf_tag_ids
from .writer import GraphWriter

_TYPES = {"int32": TensorProto.INT32, "float32": TensorProto.FLOAT}


def tagger_model(tagger: StoredTagger, metadata: ModelMetadata) -> onnx.ModelProto:
    """The ONNX model of ``tagger``, without its metadata; inputs and outputs as ``metadata`` names them."""
    graph = GraphWriter(half=tagger.precision == "fp16")
    embedded = _embedding(graph, tagger.embedding)  # (batch, sequence, embedding)
    x = graph.node("Transpose", [embedded], "time_first", perm=[1, 0, 2])
    if tagger.precision == "int8":
        logits = int8_logits(graph, x, tagger, "lengths")
    else:
        recurrence = streaming_lstm if metadata.states else stacked_lstm
        states = recurrence(graph, x, tagger.lstm, "lengths")  # (sequence, batch, directions * hidden)
        logits = linear(graph, "head", states, tagger.head)
    by_batch = graph.node("Transpose", [logits], "logits", perm=[1, 0, 2])
    scores = graph.node("LogSoftmax", [by_batch], metadata.outputs()[1]["name"], axis=-1)
    if metadata.crf:
        crf_tag_ids(graph, scores, "lengths", metadata.crf)
    else:
        best_tag_ids(graph, scores, "lengths")
    return graph.model(
        "lstm_tagger", *(signature(specs, metadata) for specs in (metadata.inputs(), metadata.outputs()))
    )


def _embedding(graph: GraphWriter, embedding: StoredEmbedding) -> str:
    """(batch, sequence, embedding): float32, or unsigned bytes around CODE_ZERO where there is a grid."""
    if embedding.subwords is None:
        return _finished_words(graph, embedding)
    if not embedding.folded:
        words = graph.look_up("word_table", embedding.vectors, "word_ids", "words")
        by_feature = graph.node("Transpose", ["subword_ids"], "ids_by_feature", perm=[2, 0, 1])
        features = graph.look_up("subword_table", embedding.subwords, by_feature, "features")
        return _normed_sum(graph, embedding, words, features)
    # Known words have their finished vector in the table; it is put right at the unknown ones.
    words = _finished_words(graph, embedding)
    unknown_id = graph.constant("unknown_id", np.array(embedding.unknown_id, np.int32))
    is_unknown = graph.node("Equal", ["word_ids", unknown_id], "is_unknown")
    coordinates = graph.node("NonZero", [is_unknown], "unknown_coordinates")  # (2, unknown)
    where = graph.node("Transpose", [coordinates], "unknown_where", perm=[1, 0])  # (unknown, 2)
    ids = graph.node("GatherND", ["subword_ids", where], "unknown_subword_ids")  # (unknown, feature)
    by_feature = graph.node("Transpose", [ids], "ids_by_feature", perm=[1, 0])
    features = graph.look_up("subword_table", embedding.subwords, by_feature, "features")
    unknown = graph.weight("unknown_vector", embedding.unknown)
    computed = _normed_sum(graph, embedding, unknown, features)
    return graph.node("ScatterND", [words, where, computed], "embedded")


def _finished_words(graph: GraphWriter, embedding: StoredEmbedding) -> str:
    vectors = embedding.vectors
    if embedding.grid is None:
        return graph.look_up("word_table", vectors, "word_ids", "words")
    codes = (vectors.codes.astype(np.int16) + CODE_ZERO).astype(np.uint8)
    return graph.node("Gather", [graph.constant("word_table", codes), "word_ids"], "words")


def _normed_sum(graph: GraphWriter, embedding: StoredEmbedding, words: str, features: str) -> str:
    """``words`` plus the sum of ``features`` over their first axis, normed, on the grid where there is one.

    Over the first axis onnxruntime adds in one order however many tokens there are; over another it takes one order
    for a single token and another for more, and a token's answer would depend on what else is in the batch.
    """
    axes = graph.constant("feature_axis", np.array([0], np.int64))
    total = graph.node("ReduceSum", [features, axes], "subwords", keepdims=0)
    both = graph.node("Add", [total, words], "words_and_subwords")
    norm = embedding.norm
    assert norm is not None
    scale, bias = (
        graph.weight(f"norm.{part}", getattr(norm, part).detach().numpy().astype(np.float32))
        for part in ("weight", "bias")
    )
    normed = graph.node("LayerNormalization", [both, scale, bias], "normed", axis=-1, epsilon=norm.eps)
    if embedding.grid is None:
        return normed
    steps = graph.node("Div", [normed, graph.constant("grid", embedding.grid)], "in_steps")
    one = graph.constant("one_step", np.array(1, np.float32))
    zero = graph.constant("code_zero", np.array(CODE_ZERO, np.uint8))
    return graph.node("QuantizeLinear", [steps, one, zero], "codes")


def signature(specs: list[dict[str, object]], metadata: ModelMetadata) -> list[onnx.ValueInfoProto]:
    """The graph's inputs or outputs as ``metadata`` describes them; symbolic axes but for features, tags and states."""
    sizes = {"tag": len(metadata.tags), "feature": len(metadata.features.templates) if metadata.features else 0}
    return [
        helper.make_tensor_value_info(
            str(spec["name"]),
            _TYPES[str(spec["dtype"])],
            [spec.get("size", axis) if axis == "state" else sizes.get(axis, axis) for axis in spec["axes"]],  # type: ignore[attr-defined]
        )
        for spec in specs
    ]
