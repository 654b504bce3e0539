"""A loaded predictor across a fork of a process with threads, and threads that predict while the interpreter ends."""

import sys

import pytest
from fault_commands import ROOT, begin, end, wrong_unless
from record import Injection

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="fork, and how Linux ends a process")
MODEL = ROOT / "exported" / "en-upos.onnx"
FORK = """
import itertools, multiprocessing, os, signal, sys, threading
import warnings; warnings.simplefilter("ignore")
from lstm_deploy import Predictor
path, how, times = sys.argv[1], sys.argv[2], int(sys.argv[3])
predictor = Predictor.load(path, threads=2)
sentences = [f"They ate the fish w{i} .".split() * (1 + i % 5) for i in range(80)]
expected = [(r.tags, r.scores) for r in predictor.predict_batch(sentences)]
fresh = itertools.count()
def busy():  # ever new words, so that the cache of words grows, under its lock
    while True:
        predictor.predict_batch([[f"new{next(fresh)}" for _ in range(9)] for _ in range(80)])
for _ in range(2):
    threading.Thread(target=busy, daemon=True).start()
def check():
    signal.alarm(90)  # a lock that nobody lets go
    found = [(r.tags, r.scores) for r in predictor.predict_batch(sentences)]
    predictor.predict_batch([[f"child{i}"] for i in range(600)])
    os._exit(0 if found == expected else 1)
ended = []
for _ in range(times):
    if how == "os.fork":
        child = os.fork()
        if not child:
            check()
        ended.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    else:
        child = multiprocessing.get_context("fork").Process(target=check)
        child.start()
        child.join()
        ended.append(child.exitcode)
assert [(r.tags, r.scores) for r in predictor.predict_batch(sentences)] == expected
print(*ended)
"""
THREADS = """
import sys, threading, time
from lstm_deploy import Predictor
path, kind, how = sys.argv[1:4]
predictor = Predictor.load(path, threads=2)
sentences = [f"They ate the fish w{i} .".split() * 4 for i in range(150)]
expected = [r.tags for r in predictor.predict_batch(sentences)]
begun, done = threading.Barrier(3), []
def batches():
    begun.wait()
    for _ in range(10**9 if kind == "daemon" else 6):
        assert [r.tags for r in predictor.predict_batch(sentences)] == expected
    done.append("batches")
def singles():
    begun.wait()
    for i in range(10**9 if kind == "daemon" else 400):
        assert predictor.predict(sentences[i % 150]).tags == expected[i % 150]
    done.append("singles")
threads = [threading.Thread(target=target, daemon=kind == "daemon") for target in (batches, singles)]
for thread in threads:
    thread.start()
begun.wait()
if kind != "daemon":
    threading.Thread(target=lambda: ([t.join() for t in threads], print(*sorted(done), flush=True))).start()
time.sleep(float(sys.argv[4]))
if how == "exit":
    sys.exit(3)
if how == "exception":
    raise ValueError("of main")
"""
EXITS = {"end": 0, "exit": 3, "exception": 1}


@pytest.mark.parametrize("times", [pytest.param(15, id="15"), pytest.param(300, id="300", marks=pytest.mark.slow)])
@pytest.mark.parametrize("how", ["os.fork", "multiprocessing"])
def test_fork_of_a_process_whose_threads_predict(how, times):
    with Injection("fork after load", how, "parent and child give the same answers; no deadlock") as fault:
        code, out, err = end(begin(MODEL, how, times, program=[sys.executable, "-c", FORK]), timeout=600)
        assert code == 0, err[-900:]
        assert len(out.split()) == times
        for found in out.split():
            fault.count([wrong_unless(found == "0", f"the child ended with {found}")])


@pytest.mark.parametrize("times", [pytest.param(4, id="4"), pytest.param(40, id="40", marks=pytest.mark.slow)])
@pytest.mark.parametrize("how", EXITS)
@pytest.mark.parametrize("kind", ["daemon", "other"])
def test_threads_that_predict_while_the_interpreter_ends(kind, how, times):
    promise = {
        "daemon": "main's exit status, within seconds, nothing on standard error but main's",
        "other": "main's exit status, after the threads have their right answers",
    }[kind]
    with Injection(f"exit with {kind} threads predicting", f"main: {how}", promise) as fault:
        for i in range(times):
            child = begin(MODEL, kind, how, 0.003 * i, program=[sys.executable, "-c", THREADS])
            code, out, err = end(child, timeout=60)
            said = ["ValueError: of main"] if how == "exception" else []
            fault.count(
                [
                    wrong_unless(code == EXITS[how], f"exit {code}"),
                    wrong_unless(err.splitlines()[-1:] == said, err[-400:]),
                    wrong_unless(out == ("" if kind == "daemon" else "batches singles\n"), out),
                ]
            )
