"""On a GPU: the answers, the limits and the faults that no pretended CUDA can show."""

import json
import os
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from model_files import CHARACTERS, CHARACTERS_CRF, STREAMING, SUBWORD, SUBWORD_INT8, TUTORIAL

from lstm_deploy import Predictor, StreamingPredictor
from lstm_deploy.benchmark import measure_crossover
from lstm_deploy.errors import OutOfMemoryError, ProviderError, SmallerBatchesWarning
from lstm_deploy.golden import check_golden
from lstm_deploy.providers import CudaOptions
from lstm_deploy.session import TaggerSession

pytestmark = pytest.mark.gpu
ROOT = Path(__file__).parents[2]
WORDS = ["the", "cat", "ate", "fish", "Ann", "Lee", "Oslo", "Mr.", "東京", ".", "3", "new", "Zürich", "x1"]


def _sentences(count, longest=60, seed=3):
    random = np.random.default_rng(seed)
    return [list(random.choice(WORDS, n)) for n in random.integers(0, longest, count)]


def _same(found, expected, tolerance=1e-5):
    assert [r.tags for r in found] == [r.tags for r in expected]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.scores, other.scores, rtol=tolerance, atol=tolerance)


@pytest.fixture(scope="module")
def on_cuda():
    return Predictor.load(SUBWORD, "cuda")


@pytest.fixture(scope="module")
def on_cpu():
    return Predictor.load(SUBWORD)


@pytest.mark.parametrize("model", [TUTORIAL, SUBWORD, CHARACTERS, CHARACTERS_CRF], ids=lambda m: m.stem)
def test_golden_cases_hold_alone_and_in_ragged_batches(model):
    predictor = Predictor.load(model, "cuda")
    report = check_golden(predictor)
    assert report.cases
    assert not report.failures
    assert predictor.provider == "cuda"
    assert "LSTM" in predictor.session.placement["CUDAExecutionProvider"]


def test_an_int8_file_is_right_or_refused_with_its_operator():
    """onnxruntime's MatMulInteger on CUDA takes other kinds of bytes than the file has."""
    try:
        predictor = Predictor.load(SUBWORD_INT8, "cuda")
    except ProviderError as e:
        assert "MatMulInteger of this model would run on the CPU" in str(e)
        assert "an int8 file is for the CPU" in str(e)
        assert Predictor.load(SUBWORD_INT8, "auto").provider == "cpu"
    else:
        assert not check_golden(predictor).failures


def test_golden_cases_of_a_streaming_file_hold_in_chunks():
    assert not check_golden(StreamingPredictor.load(STREAMING, "cuda")).failures


def test_ragged_batches_give_the_answers_of_the_cpu(on_cuda, on_cpu):
    sentences = _sentences(3000)
    _same(on_cuda.predict_batch(sentences), on_cpu.predict_batch(sentences))
    _same(list(on_cuda.predict_stream(sentences)), on_cpu.predict_batch(sentences))
    _same([on_cuda.predict(s) for s in sentences[:50]], on_cpu.predict_batch(sentences[:50]))


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (17, 33), (4096, 256)])
def test_shapes_from_one_token_to_a_million(on_cpu, shape):
    predictor = Predictor.load(SUBWORD, "cuda", batch_tokens=shape[0] * shape[1])
    random = np.random.default_rng(7)
    lengths = random.integers(0, shape[1] + 1, shape[0])
    lengths[0] = shape[1]
    sentences = [list(random.choice(WORDS, n)) for n in lengths]
    inputs = predictor.encoder.encode(sentences)  # zero-length rows among them
    found = predictor.session.run(inputs)
    expected = on_cpu.predict_batch(sentences, scores=False)
    tags = np.array(predictor.metadata.tags)
    assert len(expected) == shape[0]
    for row, result in enumerate(expected):
        assert tuple(tags[found.tag_ids[row, : lengths[row]]]) == result.tags
        assert (found.tag_ids[row, lengths[row] :] == -1).all()


def test_nothing_to_tag_is_nothing(on_cuda):
    assert on_cuda.predict_batch([]) == []
    assert [len(r) for r in on_cuda.predict_batch([[], [], ["Ann"]])] == [0, 0, 1]
    assert on_cuda.predict([]).tags == ()


def test_threads_share_a_session(on_cuda, on_cpu):
    parts = [_sentences(200, seed=seed) for seed in range(16)]
    with ThreadPoolExecutor(8) as pool:
        for found, part in zip(pool.map(on_cuda.predict_batch, parts), parts, strict=True):
            _same(found, on_cpu.predict_batch(part))


def test_a_device_that_is_not_there_is_an_error():
    with pytest.raises(ProviderError, match="CUDA is not available") as caught:
        Predictor.load(SUBWORD, "cuda", cuda=CudaOptions(devices=(63,)))
    assert "nvidia-smi" in str(caught.value)


def test_memory_that_runs_out_is_survived(on_cpu):
    sentences = [s for s in _sentences(60_000, longest=100) if s]
    predictor = Predictor.load(SUBWORD, "cuda", batch_tokens=10**7, cuda=CudaOptions(memory_limit=64 << 20))
    with pytest.warns(SmallerBatchesWarning):
        found = predictor.predict_batch(sentences, scores=False)
    assert [r.tags for r in found] == [r.tags for r in on_cpu.predict_batch(sentences, scores=False)]
    assert predictor.batch_tokens < 10**7
    with pytest.raises(OutOfMemoryError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        predictor.predict(["Ann"] * 3_000_000)
    assert predictor.predict(["Ann"]).tags == on_cpu.predict(["Ann"]).tags


def test_memory_does_not_grow_with_ever_new_shapes(on_cuda):
    torch = pytest.importorskip("torch")

    def used(seeds):
        for seed in seeds:
            on_cuda.predict_batch(_sentences(40 + 13 * seed % 900, longest=5 + 7 * seed % 200, seed=seed), scores=False)
        free, total = torch.cuda.mem_get_info()
        return total - free

    first = used(range(150))
    assert used(range(150, 450)) - first < 128 << 20


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_gets_an_error_not_a_crash(on_cuda):
    on_cuda.predict(["Ann"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        child = os.fork()
    if not child:
        try:
            on_cuda.predict(["Ann"])
        except ProviderError:
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


BESIDE_TORCH = """
import sys
{first}
{second}
import numpy as np
from lstm_deploy import Predictor
model = sys.argv[1]
expected = Predictor.load(model).predict(["the", "cat", "ate"]).tags
lstm = torch.nn.LSTM(8, 16, bidirectional=True)
x = torch.randn(5, 3, 8)
here = lstm(x)[0]
for _ in range(2):
    assert Predictor.load(model, "cuda").predict(["the", "cat", "ate"]).tags == expected
    there = lstm.cuda()(x.cuda())[0].cpu()
    np.testing.assert_allclose(here.detach(), there.detach(), atol=1e-3)
print("same")
"""


@pytest.mark.parametrize("order", [("import torch", "import onnxruntime"), ("import onnxruntime", "import torch")])
def test_pytorch_in_the_same_process(order):
    pytest.importorskip("torch")
    code = BESIDE_TORCH.format(first=order[0], second=order[1])
    done = subprocess.run([sys.executable, "-c", code, str(SUBWORD)], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.split() == ["same"], done.stderr[-800:]


def test_tf32_is_near_and_only_on_request(on_cpu):
    sentences = [s for s in _sentences(200) if s]
    rounded = TaggerSession(SUBWORD, "cuda", CudaOptions(tf32=True)).run(on_cpu.encoder.encode(sentences))
    exact = on_cpu.session.run(on_cpu.encoder.encode(sentences))
    valid = exact.tag_ids >= 0
    assert np.abs(rounded.of_tags[valid] - exact.of_tags[valid]).max() < 2e-2


def test_a_second_device_that_is_not_there_leaves_auto_the_cpu():
    predictor = Predictor.load(SUBWORD, "auto", cuda=CudaOptions(devices=(0, 63)))
    assert predictor.provider == "cpu"
    assert "CUDA is not available" in predictor.provider_reason


def test_several_devices_share_the_work(on_cpu):
    try:
        predictor = Predictor.load(SUBWORD, "cuda", batch_tokens=4096, cuda=CudaOptions(devices=(0, 1)))
    except ProviderError as e:
        pytest.skip(f"one GPU: {e}")
    sentences = _sentences(3000)
    _same(predictor.predict_batch(sentences), on_cpu.predict_batch(sentences))


def test_the_crossover_is_where_the_clock_says(on_cuda, on_cpu):
    found = measure_crossover(on_cpu, on_cuda, 0.05, (1, 64, 4096))
    assert [point.tokens for point in found.points] == [1, 64, 4096]
    assert all(point.cpu_seconds > 0 and point.cuda_seconds > 0 for point in found.points)


def test_doctor_finds_this_machine_healthy():
    command = "from lstm_deploy.doctor.report import diagnose; import json; print(json.dumps(diagnose().to_json()))"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, cwd=ROOT)
    report = json.loads(done.stdout)
    assert report["healthy"], report
