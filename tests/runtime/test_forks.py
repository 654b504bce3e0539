"""A process forks while other threads tag: the child finds every lock free and every table whole."""

import os
import subprocess
import sys

import pytest
from model_files import SUBWORD

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

CHILD = """
import os, signal, sys, threading, time
from lstm_deploy import Predictor, encoding, engine, lifetimes, workers

def forked(job):
    "What job gives in a child that ends, as a return code, after 60 seconds."
    child = os.fork()
    if not child:
        signal.alarm(60)
        os._exit(0 if job() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

model = sys.argv[1]
"""


def _python(code):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CHILD + code, str(SUBWORD)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_child_tags_new_words_where_another_thread_was_noting_one():
    said = _python(
        """
predictor = Predictor.load(model, threads=1)
inside = threading.Event()
doubled = encoding._doubled

def slowly(table):
    inside.set()
    time.sleep(0.2)
    return doubled(table)

encoding._doubled = slowly
words = [f"new{i}" for i in range(1100)]  # more than the tables have room for at first
expected = predictor.predict(["other"]).tags
other = threading.Thread(target=predictor.predict, args=(words,))
other.start()
inside.wait()
encoding._doubled = doubled
print(forked(lambda: len(predictor.predict([*words, "newer"]).tags) == 1101), forked(
    lambda: predictor.predict(["other"]).tags == expected))
other.join()
"""
    )
    assert said == ["0", "0"]


@pytest.mark.parametrize("lock", ["encoding._growing", "engine._lowering", "workers._starting"])
def test_a_fork_waits_for_whoever_holds_a_lock(lock):
    said = _python(
        f"""
lock, inside, left = {lock}, threading.Event(), []

def hold():
    with lock:
        inside.set()
        time.sleep(0.3)
        left.append(True)

other = threading.Thread(target=hold)
other.start()
inside.wait()
print(forked(lambda: left and lock.acquire(timeout=5)), lock.acquire(timeout=5))
"""
    )
    assert said == ["0", "True"]


def test_a_fork_waits_for_native_calls_and_those_that_come_meanwhile_wait_for_it():
    said = _python(
        """
calls, inside, order = lifetimes.NativeCalls(), threading.Event(), []

def long():
    with calls, calls:  # several at a time
        inside.set()
        time.sleep(0.5)
        order.append("long")

def late():
    time.sleep(0.2)  # the fork waits by now
    with calls:
        order.append("late")

threads = [threading.Thread(target=job) for job in (long, late)]
for thread in threads:
    thread.start()
inside.wait()

def child():
    with calls:
        return order == ["long"]

print(forked(child), forked(child))
for thread in threads:
    thread.join()
print(*order, calls._under_way)
"""
    )
    assert said[0] == "0" and said[2:] == ["long", "late", "0"]


def test_two_threads_that_fork_at_once_do_not_wait_for_each_other():
    said = _python(
        """
codes = []

def fork_often():
    for _ in range(20):
        with lifetimes.native_calls:
            pass
        codes.append(forked(lambda: True))

threads = [threading.Thread(target=fork_often) for _ in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(60)
print(len(codes), *set(codes))
"""
    )
    assert said == ["60", "0"]
