"""Ray Serve, really started from the packaged folder and asked over HTTP."""

import asyncio
import hashlib
import json

import pytest
from served import BAD, MODEL, TEXTS, load_benchmark, needs_ray

from lstm_deploy import Predictor
from lstm_deploy.serving.package import Settings, package

ALL = 32


@pytest.fixture(scope="module")
def benchmark_module():
    return load_benchmark()


@pytest.fixture(scope="module")
def server(benchmark_module, tmp_path_factory):
    needs_ray()
    folder = tmp_path_factory.mktemp("ray") / "served"
    package(MODEL, "ray-serve", folder, Settings("tiny", max_batch_size=16, batch_wait_ms=20))
    with benchmark_module.Server(folder, "ray-serve") as running:
        yield running


@pytest.fixture(scope="module")
def ask_all(benchmark_module, server):
    def ask_all(*requests):
        async def one(method, path, body):
            client = benchmark_module.Client(server.port)
            status, answer = await client.ask(method, path, body)
            client.close()
            return status, json.loads(answer)

        async def every():
            return await asyncio.gather(*[one(*request) for request in requests])

        return asyncio.run(every())

    return ask_all


def test_it_says_which_model_it_serves(ask_all):
    (status, about), (well, health) = ask_all(("GET", "/", b""), ("GET", "/health", b""))
    assert (status, well, health) == (200, 200, {"status": "ok"})
    assert about["sha256"] == hashlib.sha256(MODEL.read_bytes()).hexdigest()
    assert (about["name"], about["tags"]) == ("tiny", list(Predictor.load(MODEL).metadata.tags))


def test_concurrent_requests_get_the_predictors_answers_in_batches(ask_all):
    ((_, before),) = ask_all(("GET", "/", b""))
    texts = [TEXTS[i % len(TEXTS)] for i in range(ALL)]
    answers = ask_all(*(("POST", "/", json.dumps({"text": text, "scores": True}).encode()) for text in texts))
    predictor = Predictor.load(MODEL)
    for text, (status, answer) in zip(texts, answers, strict=True):
        result = predictor.predict_text(text)
        assert status == 200
        (found,) = answer["sentences"]
        assert (tuple(found["tokens"]), tuple(found["tags"])) == (result.tokens, result.tags)
        assert found["scores"] == pytest.approx(result.scores, abs=1e-5)
        assert tuple(map(tuple, found["offsets"])) == result.offsets
    ((_, after),) = ask_all(("GET", "/", b""))
    assert after["counts"]["requests"] - before["counts"]["requests"] == ALL
    assert after["counts"]["batches"] - before["counts"]["batches"] < ALL / 2
    assert 1 < after["counts"]["largest_batch"] <= 16


def test_bad_requests_fail_alone(ask_all):
    good = ("POST", "/", b'{"sentences": [["Ann", "saw"], ["Bob"]]}')
    answers = ask_all(*(request for body in BAD for request in (("POST", "/", body), good)))
    right = Predictor.load(MODEL).predict_batch([["Ann", "saw"], ["Bob"]])
    for text, (status, refused), (well, answer) in zip(BAD.values(), answers[::2], answers[1::2], strict=True):
        assert status == 400
        assert text in refused["error"]
        assert "\n" not in refused["error"]
        assert (well, [each["tags"] for each in answer["sentences"]]) == (200, [list(each.tags) for each in right])


def test_other_refusals(ask_all):
    long = json.dumps({"tokens": ["a"] * 20_000}).encode()
    large = json.dumps({"text": "a" * 1_100_000}).encode()
    found = ask_all(
        ("POST", "/", long), ("POST", "/", large), ("GET", "/nowhere", b""), ("POST", "/health", b""), ("PUT", "/", b"")
    )
    assert [status for status, _ in found] == [413, 413, 404, 404, 405]
    assert all(";" in answer["error"] for _, answer in found)


def test_a_killed_replica_costs_no_answer(benchmark_module, server):
    ((killed, _),) = server.taggers()
    asked = benchmark_module.questions(MODEL, "ray-serve", TEXTS)
    counts, memory = asyncio.run(benchmark_module.load(server, asked, 8, 8, "replica"))
    assert (counts.wrong, counts.lost) == (0, 0)
    assert len(counts.latencies) > 50
    assert killed not in [pid for pid, _ in server.taggers()]
    assert memory
