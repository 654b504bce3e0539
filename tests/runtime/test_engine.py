"""What the package does for CUDA, on a pretended one: few shapes, shared work, overlap, memory that runs out."""

import os
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_files import CHARACTERS, CHARACTERS_CRF, STREAMING, SUBWORD, SUBWORD_INT8, TUTORIAL
from pretended_cuda import pretend

from lstm_deploy import Predictor, StreamingPredictor
from lstm_deploy.batching import plan_batches, rounded_down, rounded_up
from lstm_deploy.encoding import row_of
from lstm_deploy.errors import OutOfMemoryError, ProviderError, SmallerBatchesWarning
from lstm_deploy.golden import check_golden
from lstm_deploy.providers import CudaOptions

KNOWN = ["the", "cat", "ate", "fish", "Ann", "Lee", "Oslo", "Mr.", "東京", ".", "3"]
TAUGHT = {TUTORIAL: ["They", "ate", "the", "fish"], CHARACTERS: ["the", "cat", "ate"], CHARACTERS_CRF: ["the", "cat"]}


def _sentences(count, seed=3, longest=60):
    random = np.random.default_rng(seed)
    return [list(random.choice([*KNOWN, "new", "Zürich"], n)) for n in random.integers(0, longest, count)]


def _same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert (one.tokens, one.tags) == (other.tokens, other.tags)
        np.testing.assert_allclose(one.scores, other.scores, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("model", [TUTORIAL, SUBWORD, SUBWORD_INT8, CHARACTERS, CHARACTERS_CRF])
def test_golden_cases_hold_with_bound_inputs_and_outputs(monkeypatch, model):
    made = pretend(monkeypatch).made
    report = check_golden(Predictor.load(model, "cuda"))
    assert report.cases
    assert not report.failures
    assert made[0].shapes


def test_streaming_goes_the_same_way(monkeypatch):
    made = pretend(monkeypatch).made
    predictor = StreamingPredictor.load(STREAMING, "cuda")
    assert not check_golden(predictor).failures
    assert made[0].shapes
    assert "CUDA" in StreamingPredictor.load(STREAMING, "auto").provider_reason
    assert StreamingPredictor.load(STREAMING, "auto").provider == "cpu"


@pytest.mark.parametrize("options", [{}, {"threads": 1}, {"batch_tokens": 64}, {"threads": 3, "batch_tokens": 300}])
@pytest.mark.parametrize("scores", [True, False])
def test_tags_and_order_are_those_of_the_cpu(monkeypatch, subword, options, scores):
    sentences = _sentences(300)
    pretend(monkeypatch)
    predictor = Predictor.load(SUBWORD, "cuda", **options)
    expected = subword.predict_batch(sentences, scores=scores)
    _same(predictor.predict_batch(sentences, scores=scores), expected)
    _same(list(predictor.predict_stream(iter(sentences), scores=scores)), expected)
    _same([predictor.predict(sentence, scores=scores) for sentence in sentences[:20]], expected[:20])


def test_only_tag_ids_cross_where_no_scores_are_asked_for(monkeypatch):
    made = pretend(monkeypatch).made
    Predictor.load(SUBWORD, "cuda").predict_batch(_sentences(50), scores=False)
    assert made[0].outputs == [["tag_ids"]]


def test_shapes_are_few_and_never_over_the_budget(monkeypatch):
    made = pretend(monkeypatch).made
    predictor = Predictor.load(SUBWORD, "cuda", batch_tokens=512)
    for seed in range(10):
        predictor.predict_batch(_sentences(100, seed), scores=False)
    assert len(made[0].shapes) > 10
    assert all(size == rounded_up(size) for shape in made[0].shapes for size in shape)
    assert all(rows * columns <= 512 for rows, columns in made[0].shapes)


def test_new_texts_bring_ever_fewer_new_shapes():
    random = np.random.default_rng(1)
    plain, rounded, half = set(), set(), 0
    for call in range(400):
        lengths = random.geometric(1 / 16, 3000).tolist()
        for batch in plan_batches(lengths, max_tokens=4096):
            plain.add((len(batch), lengths[batch[0]]))
        for batch in plan_batches(lengths, max_tokens=4096, rounded=True):
            rounded.add((rounded_up(len(batch)), rounded_up(lengths[batch[0]])))
        half = half or (len(rounded) if call == 199 else 0)
    assert 70 < len(rounded) < 90  # docs/cuda.md has both
    assert 400 < len(plain) < 490
    assert len(rounded) - half < half / 4


@given(st.integers(1, 10**6))
def test_rounded_sizes_are_few_and_near(size):
    up, down = rounded_up(size), rounded_down(size)
    assert down <= size <= up <= size * 9 / 8
    assert rounded_up(up) == up == rounded_down(up)
    assert up == down or size not in (up, down)


@given(st.lists(st.integers(0, 90), max_size=60), st.integers(1, 700), st.integers(1, 4))
def test_rounded_batches_hold_every_sentence_once(lengths, budget, workers):
    batches = plan_batches(lengths, max_tokens=budget, workers=workers, rounded=True)
    assert sorted(i for batch in batches for i in batch) == [i for i, n in enumerate(lengths) if n]
    for batch in batches:
        rows, columns = rounded_up(len(batch)), rounded_up(max(lengths[i] for i in batch))
        assert rows == 1 or rows * columns <= budget


@pytest.mark.parametrize("model", [SUBWORD, CHARACTERS, CHARACTERS_CRF])
def test_rounding_adds_padding_and_nothing_else(model):
    predictor = Predictor.load(model)
    words = TAUGHT.get(model, KNOWN)
    batch = [[words[(i + j) % len(words)] for j in range(i)] for i in (19, 3, 0, 21, 1, 7, 17, 2, 9) * 2]
    plain, rounded = predictor.encoder.encode(batch), predictor.encoder.encode(batch, rounded=True)
    assert next(rounded[kind].shape[:2] for kind in rounded if kind != "lengths") == (18, 22)
    assert rounded["lengths"].tolist() == [*map(len, batch)]
    for row in range(len(batch)):
        for one, other in zip(row_of(plain, row).values(), row_of(rounded, row).values(), strict=True):
            np.testing.assert_array_equal(one, other)
    many = predictor.encoder.encode(batch[:17], rounded=True)
    assert many["lengths"].tolist() == [*map(len, batch[:17]), 0]


def test_several_devices_share_the_work(monkeypatch, subword):
    barrier = threading.Barrier(3, timeout=20)
    met = []

    def on_run(session):  # each waits until all three have begun: they run at the same time
        if len(met) < 3:
            met.append(session.device)
            barrier.wait()

    made = pretend(monkeypatch, on_run=on_run).made
    predictor = Predictor.load(SUBWORD, "cuda", batch_tokens=256, cuda=CudaOptions(devices=(0, 2, 5)))
    assert [session.device for session in made] == [0, 2, 5]
    sentences = _sentences(400)
    _same(predictor.predict_batch(sentences), subword.predict_batch(sentences))
    assert all(len(session.shapes) > 3 for session in made)
    assert sorted(met) == [0, 2, 5]


def test_a_second_device_that_is_not_there_leaves_auto_the_cpu(monkeypatch):
    made = pretend(monkeypatch).made
    real = onnxruntime.InferenceSession

    def one_gpu(path, options, providers, **others):
        if isinstance(providers[0], tuple) and providers[0][1]["device_id"] == "7":
            raise RuntimeError("CUDA failure 101: invalid device ordinal")
        return real(path, options, providers=providers, **others)

    monkeypatch.setattr(onnxruntime, "InferenceSession", one_gpu)
    for devices in ((0, 7), (7, 0)):
        predictor = Predictor.load(SUBWORD, "auto", cuda=CudaOptions(devices=devices))
        assert predictor.provider == "cpu"
        assert "invalid device ordinal" in predictor.provider_reason
        with pytest.raises(ProviderError, match="invalid device ordinal"):
            Predictor.load(SUBWORD, "cuda", cuda=CudaOptions(devices=devices))
    del made[:]
    predictor = Predictor.load(SUBWORD, "auto", cuda=CudaOptions(devices=(0, 1)))
    assert [session.device for session in made] == [0, 1]
    assert predictor.provider == "auto"


def test_a_streaming_file_takes_one_device(monkeypatch):
    pretend(monkeypatch)
    with pytest.raises(ValueError, match="a streaming file runs on one"):
        StreamingPredictor.load(STREAMING, "cuda", cuda=CudaOptions(devices=(0, 1)))


@pytest.mark.parametrize("count", [1, 5, 17, 33])
def test_streams_on_cuda_are_of_few_shapes_and_the_same_answers(monkeypatch, count):
    chunks = [["Ann", "ate", "the", "cat"] * (i % 5 + 1) for i in range(count)]
    plain = StreamingPredictor.load(STREAMING)
    expected = [plain.predict_batch(chunks), [plain.stream().push(chunk + chunk) for chunk in chunks]]
    made = pretend(monkeypatch).made
    predictor = StreamingPredictor.load(STREAMING, "cuda")
    streams = [predictor.stream() for _ in chunks]
    _same(predictor.push_batch(streams, chunks), expected[0])
    again = predictor.push_batch(streams, chunks)
    _same([_joined(*pair) for pair in zip(expected[0], again, strict=True)], expected[1])
    assert all(size == rounded_up(size) for shape in made[0].shapes for size in shape)


def _joined(one, other):
    return type(one)(one.tokens + other.tokens, one.tags + other.tags, one.scores + other.scores)


def test_the_next_batch_is_encoded_while_the_device_works(monkeypatch):
    encoded, waited = threading.Event(), []

    def on_run(session):
        if len(session.shapes) == 1:
            waited.append(encoded.wait(20))

    pretend(monkeypatch, on_run=on_run)
    predictor = Predictor.load(SUBWORD, "cuda", batch_tokens=600)
    encode, calls = predictor.encoder.encode, []

    def counted(*arguments, **options):
        inputs = encode(*arguments, **options)
        calls.append(1)
        if len(calls) == 2:
            encoded.set()
        return inputs

    monkeypatch.setattr(predictor.encoder, "encode", counted)
    predictor.predict_batch(_sentences(100))
    assert waited == [True]


def test_batches_that_do_not_fit_are_halved_run_again_and_said(monkeypatch, subword):
    made = pretend(monkeypatch, most=200).made
    predictor = Predictor.load(SUBWORD, "cuda", batch_tokens=2000)
    sentences = _sentences(200)
    with pytest.warns(SmallerBatchesWarning, match=r"memory ran out: batches have at most \d+ tokens") as said:
        found = predictor.predict_batch(sentences)
    assert [Path(warning.filename).name for warning in said] == ["test_engine.py"]
    _same(found, subword.predict_batch(sentences))
    assert 100 <= predictor.batch_tokens <= 200
    failed = [shape for shape in made[0].shapes if shape[0] * shape[1] > 200]
    assert len(failed) <= 2 * 4 * 2, "what is known to be too large is not tried"  # twice each, 2000, 1000 ..., by 2
    made[0].shapes.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _same(list(predictor.predict_stream(sentences)), found)
    assert max(rows * columns for rows, columns in made[0].shapes) <= 200


def test_a_sentence_that_fits_alone_is_not_refused_because_of_another(monkeypatch, subword):
    """Two threads, memory for one batch at a time: what failed beside another is run again by itself."""
    running, lock, failed, crowds = [], threading.Lock(), [], []
    both = threading.Barrier(2)

    def on_run(session):
        if len(session.shapes) <= 2:
            both.wait(20)
            failed.append(session.shapes[-1])
            raise RuntimeError("CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED")
        with lock:
            running.append(1)
        time.sleep(0.05)
        crowds.append(len(running))
        with lock:
            running.pop()

    pretend(monkeypatch, on_run=on_run)
    predictor = Predictor.load(SUBWORD, "cuda", batch_tokens=10_000)
    sentences = [["Ann", "ate"] * 4500, ["the", "cat", "ate"] * 3000]
    _same(predictor.predict_batch(sentences), subword.predict_batch(sentences))
    assert len(failed) == 2
    assert crowds == [1, 1]


def test_a_single_sentence_that_does_not_fit_is_an_error(monkeypatch):
    pretend(monkeypatch, most=20)
    predictor = Predictor.load(SUBWORD, "cuda")
    with pytest.raises(OutOfMemoryError, match=r"a sentence of 25 tokens alone .* in windows, with") as caught:
        predictor.predict_batch([["Ann"] * 25])
    assert isinstance(caught.value.__cause__, OutOfMemoryError)
    assert caught.value.__cause__ is not caught.value
    assert predictor.predict_batch([["Ann"] * 5])[0].tokens == ("Ann",) * 5
    assert predictor.batch_tokens == 65_536


@pytest.mark.parametrize(
    "message",
    [
        "std::bad_alloc",
        "BFCArena: Failed to allocate memory for requested buffer of size 18446744073709551615",
        "Available memory of 0 is smaller than requested bytes of 67108864",
        "CUDA failure 2: out of memory ; GPU=0 ; hostname=x ; expr=cudaMalloc((void**)&p, size);",
        "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0",
        "CUDNN failure 4: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED ; GPU=0",
    ],
)
def test_what_says_that_memory_is_short(monkeypatch, message):
    def on_run(session):
        if len(session.shapes) == 1:
            raise RuntimeError(message)

    pretend(monkeypatch, on_run=on_run)
    predictor = Predictor.load(SUBWORD, "cuda")
    with pytest.warns(SmallerBatchesWarning):
        assert len(predictor.predict_batch([["Ann"], ["Ann", "ate"]])) == 2


def test_memory_that_runs_out_in_the_encoder_spoils_nothing(monkeypatch, subword):
    from lstm_deploy import encoding

    predictor = Predictor.load(SUBWORD, threads=1)
    doubled, calls = encoding._doubled, []

    def fails_once(table):
        calls.append(1)
        if len(calls) == 2:
            raise MemoryError
        return doubled(table)

    monkeypatch.setattr(encoding, "_doubled", fails_once)
    sentences = [[f"word{i}", f"word{i + 1}"] for i in range(3000)]
    with pytest.warns(SmallerBatchesWarning):
        found = predictor.predict_batch(sentences)
    monkeypatch.undo()
    _same(found, subword.predict_batch(sentences))
    assert len(calls) > 4


def test_who_stops_reading_a_stream_stops_its_batches(monkeypatch):
    made = pretend(monkeypatch, on_run=lambda session: time.sleep(0.02)).made
    predictor = Predictor.load(SUBWORD, "cuda", batch_tokens=100, threads=2)
    stream = predictor.predict_stream(iter(_sentences(2000)))
    next(stream)
    stream.close()
    ran = len(made[0].shapes)
    time.sleep(0.3)
    assert len(made[0].shapes) <= ran + 2


def test_other_failures_are_not_taken_for_memory(monkeypatch):
    def on_run(session):
        raise RuntimeError("CUDNN_STATUS_EXECUTION_FAILED")

    made = pretend(monkeypatch, on_run=on_run).made
    with pytest.raises(ProviderError, match=r"CUDA failed on a batch of .*CUDNN_STATUS_EXECUTION_FAILED"):
        Predictor.load(SUBWORD, "cuda", threads=1).predict_batch(_sentences(50))
    assert len(made[0].shapes) == 1


LIMITED = """
import json, resource, sys
from pathlib import Path
from lstm_deploy import Predictor
from lstm_deploy.cli import main
model, source, megabytes = sys.argv[1], sys.argv[2], int(sys.argv[3])
Predictor.load(model).predict(["a"])
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (megabytes << 20),) * 2)
main(["run", "--model", model, "--input", source, "--threads", "1", "--batch-tokens", "100000000"])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_AS and /proc")
def test_memory_that_really_runs_out_is_survived(tmp_path, subword):
    """On the CPU: the address space is limited, one batch of the whole text does not fit into it."""
    text = "".join(f"{' '.join(s)}\n" for s in _sentences(40_000, longest=40) if s)
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    command = [sys.executable, "-c", LIMITED, str(SUBWORD), str(tmp_path / "text.txt")]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    plain = subprocess.run([*command, "100000"], capture_output=True, text=True, env=environment)
    assert plain.returncode == 0
    assert not plain.stderr
    short = subprocess.run([*command, "450"], capture_output=True, text=True, env=environment)
    assert short.returncode == 0, short.stderr[-600:]
    assert short.stdout == plain.stdout
    assert all(line.startswith("Warning: memory ran out: batches have at most ") for line in short.stderr.splitlines())
    assert 1 <= len(short.stderr.splitlines()) <= 8


def test_a_stream_is_read_ahead_by_a_bounded_amount(monkeypatch):
    pretend(monkeypatch)
    predictor = Predictor.load(SUBWORD, "cuda", batch_tokens=100)
    read = 0

    def endless():
        nonlocal read
        while True:
            read += 1
            yield ["Ann", "ate"] * 5

    next(predictor.predict_stream(endless()))
    assert 10 * read <= 2 * 100 * 4 * 2 + 20
