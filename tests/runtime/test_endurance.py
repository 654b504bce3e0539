"""Many callers, many predictors, many loads, a short soak: nothing is wrong, nothing is left behind."""

import json
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from model_files import CHARACTERS, CHARACTERS_CRF, SEGMENTER, STREAMING, SUBWORD, SUBWORD_INT8

from lstm_deploy import Predictor, Segmenter
from lstm_deploy.streaming import open_predictor

ROOT = Path(__file__).parents[2]
SOAK = ROOT / "benchmarks" / "soak.py"
WORDS = ["the", "cat"]
"""Words that every model of the tests knows."""
PROC = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="this system has no /proc to count in")


def _sentences(seed, count, longest):
    draw = random.Random(seed)
    sizes = [1, longest, *(draw.randint(1, 40) for _ in range(count - 2))]
    return [[draw.choice(WORDS) for _ in range(size)] for size in sizes]


def _same(found, expected):
    assert found.tokens == expected.tokens
    assert found.tags == expected.tags
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("callers", [16, 64])
@pytest.mark.parametrize("path", [SUBWORD, CHARACTERS_CRF, STREAMING], ids=lambda path: path.stem)
def test_many_threads_on_one_predictor_get_the_answers_of_one(path, callers):
    predictor = open_predictor(path, threads=3, batch_tokens=128)
    sentences = _sentences(callers, 24, 400)
    expected = [predictor.predict(tokens) for tokens in sentences]
    all_there = threading.Barrier(callers, timeout=60)

    def call(number):
        draw = random.Random(number)
        all_there.wait()
        for _ in range(3):
            one = draw.randrange(len(sentences))
            _same(predictor.predict(sentences[one]), expected[one])
            some = draw.sample(range(len(sentences)), draw.randint(1, 20))
            batch = [sentences[i] for i in some]
            found = draw.choice([predictor.predict_batch, lambda each: list(predictor.predict_stream(iter(each)))])
            for i, result in zip(some, found(batch), strict=True):
                _same(result, expected[i])

    with ThreadPoolExecutor(callers) as pool:
        for done in [pool.submit(call, number) for number in range(callers)]:
            done.result(timeout=120)


def test_many_threads_on_one_int8_predictor_alone_get_the_very_same_and_in_a_batch_the_tags():
    predictor = Predictor.load(SUBWORD_INT8, threads=3)
    sentences = _sentences(3, 24, 200)
    alone, batched = [predictor.predict(tokens) for tokens in sentences], predictor.predict_batch(sentences)
    with ThreadPoolExecutor(32) as pool:
        assert list(pool.map(predictor.predict, sentences * 8)) == alone * 8
        for found in pool.map(predictor.predict_batch, [sentences] * 64):
            assert [each.tags for each in found] == [each.tags for each in batched]


def test_many_threads_on_one_segmenter_cut_as_one_does():
    segmenter = Segmenter.load(SEGMENTER, threads=2)
    texts = ["Ann went to Oslo. " * size + "\n\nThe end" for size in (1, 3, 60, 150)]
    expected = [segmenter.segment(text) for text in texts]
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(segmenter.segment, texts * 8)) == expected * 8


@PROC
def test_fifty_predictors_in_one_process_do_not_mix_and_leave_nothing_open():
    paths = [SUBWORD, SUBWORD_INT8, CHARACTERS, CHARACTERS_CRF, STREAMING]
    expected = {path: open_predictor(path).predict(WORDS) for path in paths}
    files, threads = _open_files(), threading.active_count()
    many = [open_predictor(paths[i % 5], threads=2) for i in range(50)]
    assert _open_files() == files  # a model in memory needs no open file
    with ThreadPoolExecutor(16) as pool:
        for i, found in enumerate(pool.map(lambda predictor: predictor.predict(WORDS), many * 4)):
            assert found == expected[paths[i % 5]]
        batches = pool.map(lambda predictor: predictor.predict_batch([WORDS * 20] * 20), many)
        for predictor, found in zip(many, batches, strict=True):
            for result in found:
                assert set(result.tags) <= set(predictor.metadata.tags)
                assert result.tags == found[0].tags
    predictor = found = batches = many = None
    _soon(lambda: threading.active_count() <= threads)
    assert _open_files() == files


LOAD_AND_DROP = """
import ctypes, gc, json, os, sys, threading, time, weakref
from pathlib import Path
import numpy as np
from lstm_deploy.streaming import open_predictor

trim = getattr(ctypes.CDLL(None), "malloc_trim", lambda pad: None)  # glibc's: free pages go back

def state():
    gc.collect()  # empties CPython's lists of free tuples, which else fill up to 2,000 of a size
    trim(0)
    mb = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return mb, sys.getallocatedblocks(), len(os.listdir("/proc/self/fd")), threading.active_count()

def once(path, much):
    predictor = open_predictor(path, threads=2)
    predictor.predict_batch([["the"] * 20] * (40 if much else 1))
    gone = weakref.ref(predictor)
    del predictor
    assert gone() is None, "a predictor that nobody has is kept until the garbage collector comes"

paths, count, warm_up = sys.argv[2:], int(sys.argv[1]), 100
seen = np.zeros((count // 10, 4))  # now: a list of them would grow
for i in range(warm_up + count):
    once(paths[i % len(paths)], i % 10 < len(paths))
    if i >= warm_up and i % 10 == 9:
        time.sleep(0.01)  # for the threads of the last one
        seen[(i - warm_up) // 10] = state()
print(json.dumps(seen.tolist()))
"""


@PROC
@pytest.mark.parametrize("count", [200, pytest.param(1000, marks=pytest.mark.slow)])
def test_load_and_drop_leaves_nothing_behind(count):
    """Bounds: 1 MB of resident memory, though 200 loads read 4 MB; of one object kept for each load three quarters."""
    paths = [SUBWORD, CHARACTERS_CRF, STREAMING, SUBWORD_INT8]
    command = [sys.executable, "-c", LOAD_AND_DROP, str(count), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    resident, blocks, files, threads = np.array(json.loads(done.stdout)).T
    third = len(resident) // 3  # from the middle of the first to that of the last are two thirds of the loads
    assert np.median(resident[-third:]) - np.median(resident[:third]) <= 1
    assert np.median(blocks[-third:]) - np.median(blocks[:third]) <= count / 2
    assert set(files) == {files[0]}
    assert max(threads[-third:]) <= max(threads[:third])


def _soak(tmp_path, *options):
    if not SOAK.is_file():
        pytest.skip("the benchmarks are not beside the tests: this is the wheel's own run")
    models = [SUBWORD, SUBWORD_INT8, CHARACTERS_CRF, STREAMING, SEGMENTER]
    command = [
        sys.executable,
        str(SOAK),
        "--questions",
        "8",
        "--pause",
        "0.05",
        "--output",
        str(tmp_path / "soak.json"),
    ]
    return subprocess.Popen(
        [*command, *options, "--models", *map(str, models)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@PROC
def test_a_short_soak_finds_every_answer_right_and_nothing_left_open(tmp_path):
    process = _soak(tmp_path, "--minutes", "0.12", "--sample-seconds", "0.5", "--threads", "4")
    said, failed = process.communicate(timeout=120)
    assert process.returncode in (0, 1), failed  # 1 where the machine is too busy for an even speed
    result = json.loads((tmp_path / "soak.json").read_bytes())
    assert result["finished"] and json.loads(said)["counts"] == result["counts"]
    counts = result["counts"]
    assert (counts["wrong"], counts["errors"], counts["hung"]) == (0, 0, 0), (counts["said"], result["traces"])
    kinds = {
        "predict",
        "predict_batch",
        "predict_text",
        "predict_stream",
        "predict_flat",
        "push",
        "push_batch",
        "segment",
    }
    assert set(counts["of_kind"]) == kinds
    assert min(counts["loads"], counts["pickles"], counts["forks"]) > 0
    assert counts["answers"] > 100 and counts["int8"] > 0
    assert all(result["verdict"]["right"].values())
    assert result["verdict"]["flat"]["fds"] and result["verdict"]["flat"]["threads"], result["verdict"]


@PROC
def test_a_soak_that_is_stopped_is_a_result(tmp_path):
    process = _soak(tmp_path, "--minutes", "10", "--sample-seconds", "0.2", "--threads", "2")
    try:
        _soon(lambda: (tmp_path / "soak.json").is_file(), 60)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    finally:
        process.kill()
    result = json.loads((tmp_path / "soak.json").read_bytes())
    assert not result["finished"]
    assert 0 < result["seconds"] < 60 and result["samples"][-1]["s"] == result["seconds"]
    assert [path.name for path in tmp_path.iterdir()] == ["soak.json"]


def _open_files():
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def _soon(is_so, seconds=20):
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it does not come about"
        time.sleep(0.02)
