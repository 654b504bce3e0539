"""The best path in the graph: equal to all paths written out, and to numpy step by step."""

import itertools

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from lstm_deploy.crf import Crf
from lstm_deploy.export.viterbi import best_tag_ids, crf_tag_ids
from lstm_deploy.export.writer import GraphWriter


def _model(tags, crf=None):
    graph = GraphWriter()
    if crf:
        assert crf_tag_ids(graph, "emissions", "lengths", crf) == "tag_ids"
    else:
        assert best_tag_ids(graph, "emissions", "lengths") == "tag_ids"
    value = helper.make_tensor_value_info
    return graph.model(
        "decoder",
        [
            value("emissions", TensorProto.FLOAT, ["batch", "sequence", tags]),
            value("lengths", TensorProto.INT32, ["batch"]),
        ],
        [value("tag_ids", TensorProto.INT32, ["batch", "sequence"])],
    )


def _run(model, emissions, lengths):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"emissions": emissions, "lengths": np.array(lengths, np.int32)})[0]


def _random(seed, tags, lengths, forbidden=0.0):
    random = np.random.default_rng(seed)
    parts = [random.normal(scale=2, size=size) for size in ((tags, tags), tags, tags)]
    for part in parts:
        part[random.random(part.shape) < forbidden] = random.choice([-10000.0, -np.inf])
    emissions = random.normal(scale=3, size=(len(lengths), max(lengths), tags)).astype(np.float32)
    return Crf(*parts), emissions


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    tags=st.integers(1, 4),
    lengths=st.lists(st.integers(0, 5), min_size=1, max_size=5).filter(any),
    forbidden=st.sampled_from([0.0, 0.4]),
)
def test_the_path_is_the_best_of_all_paths(seed, tags, lengths, forbidden):
    crf, emissions = _random(seed, tags, lengths, forbidden)
    found = _run(_model(tags, crf), emissions, lengths)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, crf.viterbi(emissions, np.array(lengths)))
    for path, row, n in zip(found, emissions, lengths, strict=True):
        assert (path[n:] == -1).all()
        if n:
            every = [crf.path_score(row[:n], np.array(p)) for p in itertools.product(range(tags), repeat=n)]
            assert crf.path_score(row[:n], path[:n]) == pytest.approx(max(every), rel=1e-6, abs=1e-4)


@pytest.mark.parametrize("tags", [1, 2, 17, 60])
@pytest.mark.parametrize("lengths", [[1], [1, 1, 0], [200], [0, 3, 31, 17, 1, 31, 0]], ids=str)
def test_graph_and_numpy_agree_to_the_tag(tags, lengths):
    for seed in range(5):
        crf, emissions = _random(seed, tags, lengths, forbidden=0.1)
        found = _run(_model(tags, crf), emissions, lengths)
        np.testing.assert_array_equal(found, crf.viterbi(emissions, np.array(lengths)))


def test_equal_scores_are_decided_alike():
    """Whole numbers, of which many sums are equal."""
    random = np.random.default_rng(1)
    for _ in range(20):
        crf = Crf(*(random.integers(0, 2, size) for size in ((4, 4), 4, 4)))
        emissions = random.integers(0, 2, (9, 12, 4)).astype(np.float32)
        lengths = random.integers(0, 13, 9)
        np.testing.assert_array_equal(_run(_model(4, crf), emissions, lengths), crf.viterbi(emissions, lengths))


def test_what_stands_at_padding_changes_nothing():
    crf, emissions = _random(0, 5, [7, 2, 0, 4])
    other = emissions.copy()
    other[np.arange(7) >= np.array([7, 2, 0, 4])[:, None]] = 1e6
    model = _model(5, crf)
    np.testing.assert_array_equal(_run(model, emissions, [7, 2, 0, 4]), _run(model, other, [7, 2, 0, 4]))


def test_without_a_crf_the_first_of_the_best_tags_is_taken():
    emissions = np.array([[[0, 2, 2], [3, 3, 0]], [[1, 0, 0], [9, 9, 9]]], np.float32)
    assert _run(_model(3), emissions, [2, 1]).tolist() == [[1, 0], [0, -1]]


def test_standard_operators_of_the_pinned_opset_only():
    crf, _ = _random(0, 5, [1])
    model = _model(5, crf)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)]
    assert [node.op_type for node in model.graph.node].count("Scan") == 2
    onnx.checker.check_model(model, full_check=True)
