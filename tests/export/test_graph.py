"""The authored graph: small, dynamic in both axes, exact on ragged batches."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from lstm_deploy.export.exporter import export_model
from lstm_deploy.export.parity import torch_log_probs
from lstm_deploy.export.targets import TARGETS
from lstm_deploy.session import TaggerSession

FORMS = [
    {"subwords": subwords, "bidirectional": bidirectional, "layers": layers}
    for subwords in (False, True)
    for bidirectional in (False, True)
    for layers in (1, 2, 3)
]


def _random_inputs(session, lengths, seed=0):
    random = np.random.default_rng(seed)
    lengths = np.array(lengths, np.int32)
    shape = (len(lengths), int(lengths.max()))
    vocabulary, features = session.metadata.vocabulary, session.metadata.features
    inputs = {"word_ids": random.integers(0, len(vocabulary), shape, dtype=np.int32)}
    if features:
        inputs["word_ids"][random.random(shape) < 0.4] = vocabulary.unknown_id
        inputs["subword_ids"] = random.integers(0, features.buckets, (*shape, len(features.templates)), dtype=np.int32)
        for where in np.ndindex(shape):  # a known word has its own features; an unknown one may have any
            if word := vocabulary.words[inputs["word_ids"][where]]:
                inputs["subword_ids"][where] = features.ids(word)
            else:
                inputs["word_ids"][where] = vocabulary.unknown_id
    return inputs | {"lengths": lengths}


def _row(inputs, i):
    n = int(inputs["lengths"][i])
    return {k: v[i : i + 1] if k == "lengths" else np.ascontiguousarray(v[i : i + 1, :n]) for k, v in inputs.items()}


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_graph_is_small_pinned_and_dynamic(make_tagger, tmp_path, form):
    export_model(*make_tagger(**form), tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert len(model.graph.node) <= 28 + (7 if form["bidirectional"] else 3) * form["layers"]
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)]
    assert model.ir_version == 8
    assert not any(node.domain for node in model.graph.node)
    for value in [*model.graph.input, *model.graph.output]:
        axes = [dim.dim_param for dim in value.type.tensor_type.shape.dim][:2]
        assert axes == ["batch", "sequence"][: len(axes)]


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_ragged_batches_of_every_size_equal_pytorch_on_single_sentences(make_tagger, tmp_path, form):
    checkpoint, tagger = make_tagger(**form)
    export_model(checkpoint, tagger, tmp_path / "m.onnx")
    session = TaggerSession(tmp_path / "m.onnx")
    for lengths in ([1], [9], [1, 1], [3, 17, 1, 8, 17], [40, 2], [5, 0, 3]):
        inputs = _random_inputs(session, lengths)
        found = session.run(inputs)
        for i, n in enumerate(lengths):
            assert (found.tag_ids[i, n:] == -1).all()
            if n:
                expected = torch_log_probs(tagger, _row(inputs, i))[0]
                np.testing.assert_allclose(found.log_probs[i, :n], expected, atol=1e-5, rtol=1e-5)
                np.testing.assert_array_equal(found.tag_ids[i, :n], found.log_probs[i, :n].argmax(-1))
        assert found.tag_ids.dtype == np.int32
        assert found.log_probs.dtype == np.float32


def test_what_stands_at_padding_changes_nothing(make_tagger, tmp_path):
    export_model(*make_tagger(layers=2), tmp_path / "m.onnx")
    session = TaggerSession(tmp_path / "m.onnx")
    one, two = _random_inputs(session, [7, 3, 1], seed=1), _random_inputs(session, [7, 3, 1], seed=2)
    valid = np.arange(7) < one["lengths"][:, None]
    for name in ("word_ids", "subword_ids"):
        two[name][valid] = one[name][valid]
    first, second = session.run(one), session.run(two)
    np.testing.assert_array_equal(first.log_probs[valid], second.log_probs[valid])
    np.testing.assert_array_equal(first.tag_ids, second.tag_ids)


@settings(max_examples=20)
@given(
    seed=st.integers(0, 2**31),
    form=st.sampled_from(FORMS),
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=5),
    scale=st.floats(0.2, 3),
    target=st.sampled_from(sorted(TARGETS)),
)
def test_random_weights_and_batches_agree_with_pytorch(
    make_tagger, tmp_path_factory, seed, form, lengths, scale, target
):
    """Scaled weights saturate the gates: a wrong gate order or bias could not hide."""
    checkpoint, tagger = make_tagger(seed, scale, **form)
    path = tmp_path_factory.mktemp("random") / "m.onnx"
    export_model(checkpoint, tagger, path, target=target)
    session = TaggerSession(path)
    inputs = _random_inputs(session, lengths, seed)
    found = session.run(inputs)
    for i, n in enumerate(lengths):
        expected = torch_log_probs(tagger, _row(inputs, i))[0]
        np.testing.assert_allclose(found.log_probs[i, :n], expected, atol=1e-5, rtol=1e-5)


def test_reference_evaluator_ignores_lengths_so_it_is_no_oracle(make_tagger, tmp_path):
    checkpoint, tagger = make_tagger(subwords=False, seed=3, scale=3.0)
    export_model(checkpoint, tagger, tmp_path / "m.onnx", target="onnxruntime")
    session = TaggerSession(tmp_path / "m.onnx")
    inputs = _random_inputs(session, [9, 2, 4])
    found = session.run(inputs).log_probs
    reference = ReferenceEvaluator(str(tmp_path / "m.onnx")).run(["log_probs"], dict(inputs))[0]
    np.testing.assert_allclose(reference[0], found[0], atol=1e-5)
    if np.allclose(reference[1, :2], found[1, :2], atol=1e-5):
        pytest.skip(f"onnx {onnx.__version__} has learnt sequence_lens")
