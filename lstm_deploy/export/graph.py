"""The tagger's graph, written directly from the weights: about twenty nodes a reader can follow.

Graph form ``sequence_lens``: the LSTM operator gets the lengths, so that what stands at padding
never reaches a real token. Knows no text, no metadata and no files.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper

from ..metadata import ModelMetadata
from ..training.model import LSTMTagger, SubwordEmbedding
from .recurrent import GraphWriter, array, linear, stacked_lstm

_TYPES = {"int32": TensorProto.INT32, "float32": TensorProto.FLOAT}


def tagger_model(tagger: LSTMTagger, metadata: ModelMetadata) -> onnx.ModelProto:
    """The ONNX model of ``tagger``, without its metadata; inputs and outputs as ``metadata`` names them."""
    graph = GraphWriter()
    embedded = _embedding(graph, tagger)  # (batch, sequence, embedding)
    x = graph.node("Transpose", [embedded], "time_first", perm=[1, 0, 2])
    states = stacked_lstm(graph, x, tagger.lstm, "lengths")  # (sequence, batch, directions * hidden)
    hidden = graph.node("Transpose", [states], "batch_first", perm=[1, 0, 2])
    logits = linear(graph, "head", hidden, tagger.head)
    log_probs = graph.node("LogSoftmax", [logits], "log_probs", axis=-1)
    best = graph.node("ArgMax", [log_probs], "best", axis=-1, keepdims=0)
    _mask(graph, graph.node("Cast", [best], "best_ids", to=TensorProto.INT32))
    return graph.model(
        "lstm_tagger", *(_signature(specs, metadata) for specs in (metadata.inputs(), metadata.outputs()))
    )


def _embedding(graph: GraphWriter, tagger: LSTMTagger) -> str:
    embedding = tagger.embedding
    words = graph.node("Gather", [graph.constant("word_table", array(embedding.word.weight)), "word_ids"], "words")
    if not isinstance(embedding, SubwordEmbedding):
        return words
    table = graph.constant("subword_table", array(embedding.subword.weight))
    features = graph.node("Gather", [table, "subword_ids"], "features")  # (batch, sequence, feature, embedding)
    total = graph.node(
        "ReduceSum", [features, graph.constant("feature_axis", np.array([2], np.int64))], "subwords", keepdims=0
    )
    both = graph.node("Add", [words, total], "words_and_subwords")
    norm = embedding.norm
    scale, bias = (graph.constant(f"norm.{part}", array(getattr(norm, part))) for part in ("weight", "bias"))
    return graph.node("LayerNormalization", [both, scale, bias], "embedded", axis=-1, epsilon=norm.eps)


def _mask(graph: GraphWriter, tag_ids: str) -> None:
    """``tag_ids`` with -1 from each row's length on."""

    def scalar(name: str, value: int, dtype: type[np.generic]) -> str:
        return graph.constant(name, np.array(value, dtype))

    shape = graph.node("Shape", ["word_ids"], "shape")
    sequence = graph.node("Gather", [shape, scalar("sequence_axis", 1, np.int64)], "sequence")
    stop = graph.node("Cast", [sequence], "stop", to=TensorProto.INT32)
    positions = graph.node("Range", [scalar("zero", 0, np.int32), stop, scalar("one", 1, np.int32)], "positions")
    column = graph.node("Unsqueeze", ["lengths", graph.constant("last_axis", np.array([1], np.int64))], "row_lengths")
    valid = graph.node("Less", [positions, column], "valid")
    graph.node("Where", [valid, tag_ids, scalar("padding_tag", -1, np.int32)], "tag_ids")


def _signature(specs: list[dict[str, object]], metadata: ModelMetadata) -> list[onnx.ValueInfoProto]:
    sizes = {"tag": len(metadata.tags), "feature": len(metadata.features.templates) if metadata.features else 0}
    return [
        helper.make_tensor_value_info(
            str(spec["name"]),
            _TYPES[str(spec["dtype"])],
            [sizes.get(axis, axis) for axis in spec["axes"]],  # type: ignore[attr-defined]
        )
        for spec in specs
    ]
