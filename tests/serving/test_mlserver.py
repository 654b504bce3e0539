"""MLServer, really started from the packaged folder and asked in the Open Inference Protocol."""

import asyncio
import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from served import MODEL, ROOT, TEXTS, load_benchmark, needs_mlserver

from lstm_deploy import Predictor
from lstm_deploy.serving.package import Settings, package

SIZE, WAIT = 8, 1.0


def _row(data, shape=None, name="text", datatype="BYTES", **others):
    row = {"name": name, "shape": shape or [len(data)], "datatype": datatype, "data": data, **others}
    return {"inputs": [row]}


BAD = {
    "shape larger than its data": _row(["a", "b"], [3]),
    "shape smaller": _row(["a", "b"], [1]),
    "negative": _row(["a"], [-1]),
    "nested": _row([["a", "b"]], [1, 2]),
    "other name": _row(["a"], name="texts"),
    "two inputs": {"inputs": _row(["a"])["inputs"] * 2},
    "none": {"inputs": []},
    "numbers": _row([1]),
    "floats": _row([1.5], datatype="FP32"),
    "base64": _row(["YQ=="], parameters={"content_type": "base64"}),
    "too long": _row(["a " * 20_000]),
}


@pytest.fixture(scope="module")
def benchmark_module():
    return load_benchmark()


@pytest.fixture(scope="module")
def server(benchmark_module, tmp_path_factory):
    needs_mlserver()
    folder = tmp_path_factory.mktemp("mlserver") / "served"
    package(MODEL, "mlserver", folder, Settings("tagger", max_batch_size=SIZE, batch_wait_ms=1000 * WAIT))
    with benchmark_module.Server(folder, "mlserver") as running:
        yield running


@pytest.fixture(scope="module")
def ask_all(benchmark_module, server):
    def ask_all(*requests, leave=0):
        async def one(number, request):
            client = benchmark_module.Client(server.port)
            asking = client.ask("POST", server.path, json.dumps(request).encode())
            if number < leave:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(asking, WAIT / 3)
                return None
            status, answer = await asking
            client.close()
            return status, json.loads(answer)

        async def every():
            return await asyncio.gather(*[one(*each) for each in enumerate(requests)])

        return asyncio.run(every())

    return ask_all


def _expected(texts):
    found = [Predictor.load(MODEL).predict_text(text) for text in texts]
    return [(list(each.tokens), list(each.tags)) for each in found]


def _check(answers, requests, benchmark_module):
    for request, (status, answer) in zip(requests, answers, strict=True):
        texts = request["inputs"][0]["data"]
        assert status == 200, answer
        assert [output["shape"] for output in answer["outputs"]] == [[len(texts)]] * 2
        assert benchmark_module.tags_of("mlserver", json.dumps(answer)) == _expected(texts)
        assert answer["id"] == request.get("id", answer["id"])


def test_the_metadata_name_inputs_and_outputs(benchmark_module, server):
    async def metadata():
        return await benchmark_module.Client(server.port).ask("GET", "/v2/models/tagger")

    status, body = asyncio.run(metadata())
    found = json.loads(body)
    assert status == 200
    assert [(each["name"], each["datatype"], each["shape"]) for each in found["inputs"]] == [("text", "BYTES", [-1])]
    assert [each["name"] for each in found["outputs"]] == ["tokens", "tags"]


def test_batched_requests_get_their_own_rows(ask_all, benchmark_module):
    requests = [{"id": str(i), **_row([TEXTS[(i + j) % len(TEXTS)] for j in range(i % 4)])} for i in range(4 * SIZE)]
    _check(ask_all(*requests), requests, benchmark_module)


def test_requests_wait_for_each_other_and_not_longer_than_a_batch_takes(ask_all):
    begun = time.monotonic()
    ask_all(*[_row(["Ann"])] * SIZE)
    full = time.monotonic()
    ask_all(_row(["Ann"]))
    assert full - begun < WAIT * 0.9
    assert time.monotonic() - full > WAIT * 0.9


def test_bad_requests_fail_alone(ask_all, benchmark_module):
    good = {"parameters": {"content_type": "str", "mine": 1}, **_row(["Ann saw", "Bob"], [2, 1], parameters={"x": "y"})}
    answers = ask_all(*(request for bad in BAD.values() for request in (bad, good)))
    for name, (status, answer) in zip(BAD, answers[::2], strict=True):
        assert status == (413 if name == "too long" else 400), (name, answer)
        assert "\n" not in answer["error"]
    _check(answers[1::2], [good] * len(BAD), benchmark_module)


def test_what_mlserver_itself_cannot_read_is_the_clients_error_too(ask_all):
    answers = ask_all(_row(["\ud800"]), {"inputs": 1}, [])
    assert [status for status, _ in answers] == [422] * 3


def test_a_client_that_goes_away_takes_no_answer_along(ask_all, benchmark_module):
    requests = [_row([text]) for text in TEXTS[:4]]
    _check(ask_all(*requests, leave=2)[2:], requests[2:], benchmark_module)
    _check(ask_all(*requests), requests, benchmark_module)


def test_a_request_that_is_cancelled_in_its_batch_takes_no_answer_along():
    python, script = needs_mlserver(), Path(__file__).with_name("cancelled_request.py")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([python, script, MODEL], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1:] == ["3"], done.stderr


def test_a_killed_and_restarted_server_costs_no_answer(benchmark_module, server):
    asked = benchmark_module.questions(MODEL, "mlserver", TEXTS)
    counts, _ = asyncio.run(benchmark_module.load(server, asked, SIZE, 8, "server"))
    assert (counts.wrong, counts.lost) == (0, 0)
    assert counts.retries
    assert len(counts.latencies) > 50
