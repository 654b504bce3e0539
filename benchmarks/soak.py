"""Predictors under full load for as long as is asked: every answer checked, speed, memory and open files sampled.

Many threads ask several models in one process, in every way there is; one more loads and drops predictors, another
pickles them and forks. The result is written anew at each sample, so that a run that was stopped is a result, too.

    python benchmarks/soak.py --minutes 60
"""

import argparse
import ctypes
import gc
import json
import os
import pickle
import platform
import random
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any

from soak_questions import Counts, Subject
from soak_verdict import draw, verdict

from lstm_deploy.formats import atomic_output
from lstm_deploy.providers import available_cores
from lstm_deploy.streaming import open_predictor

ROOT = Path(__file__).parents[1]
SMALL = ROOT / "tests" / "runtime" / "data"
MODELS = [
    *(ROOT / "exported" / f"{name}.onnx" for name in ("en-upos", "en-upos-int8", "en-disease", "en-segmenter")),
    *(SMALL / f"{name}.onnx" for name in ("subword", "characters", "characters-crf", "streaming")),
]
"""float32 words over int8 tables, int8, CRF, segmenter; words, characters alone, characters with a CRF, streaming."""
LONG = 5
"""Minutes from which a run is long enough to meet as many new words as an encoder keeps."""
FIRST = 1 << 20
"""Seed of the threads' questions: those that subjects are made with are small."""


class Soak:
    """The threads, and what they have found so far.

    Args:
        subjects: what they ask.
        callers: how many threads ask.
        pause: seconds between two predictors that are loaded and dropped; forks come ten times as seldom.
    """

    def __init__(self, subjects: list[Subject], callers: int, pause: float) -> None:
        self.subjects, self.callers, self.pause = subjects, callers, pause
        self.stop = threading.Event()
        self.quiet = threading.Lock()
        """Held by what opens files or starts threads for a moment, and while those are counted."""
        self.counts = [Counts() for _ in range(callers + 2)]
        self.asked = [time.monotonic()] * callers
        self.done = {"loads": 0, "pickles": 0, "forks": 0, "hung": 0, "errors": 0}
        self.traces: list[str] = []
        jobs: list[Callable[[], None]] = [lambda i=i: self._call(i) for i in range(callers)]  # type: ignore[misc]
        jobs += [self._load_and_drop, self._fork]
        self.threads = [threading.Thread(target=self._guarded, args=(job,), daemon=True) for job in jobs]
        for thread in self.threads:
            thread.start()

    def total(self) -> Counts:
        """Of all threads."""
        total = Counts()
        for counts in self.counts:
            total.add(counts)
        return total

    def figures(self) -> dict[str, Any]:
        """The counts of all threads as JSON has them."""
        return vars(self.total()) | self.done

    def longest_wait(self) -> float:
        """Seconds for which the thread that waits longest has had no answer."""
        return time.monotonic() - min(self.asked)

    def end(self) -> None:
        """Stops all threads; one that does not stop hangs."""
        self.stop.set()
        for thread in self.threads:
            thread.join(60)
            self.done["hung"] += thread.is_alive()

    def _guarded(self, job: Callable[[], None]) -> None:
        while not self.stop.is_set():
            try:
                job()
            except Exception:  # noqa: BLE001 - whatever it is, it counts, and the load goes on
                self.done["errors"] += 1
                self.traces = [*self.traces, traceback.format_exc(limit=-4)][:5]
                self.stop.wait(0.1)

    def _call(self, number: int) -> None:
        caller = random.Random(FIRST + number)
        while not self.stop.is_set():
            subject = caller.choice(self.subjects)
            if subject is self.subjects[0] and caller.random() < 0.1:
                with self.quiet:  # the reference is for one at a time
                    subject.fresh(caller, self.counts[number])
            else:
                subject.ask(caller, self.counts[number])
            self.asked[number] = time.monotonic()

    def _load_and_drop(self) -> None:
        counts, caller = self.counts[-2], random.Random(FIRST - 1)
        while not self.stop.wait(self.pause):
            with self.quiet:
                _one_more(caller.choice(self.subjects), caller, counts)
                self.done["loads"] += 1

    def _fork(self) -> None:
        counts, caller = self.counts[-1], random.Random(FIRST - 2)
        while not self.stop.wait(10 * self.pause):
            subject = caller.choice([each for each in self.subjects if hasattr(each, "questions")])
            with self.quiet:
                copy = pickle.loads(pickle.dumps(subject.predictor))
                question = caller.choice(subject.questions)
                subject.check(question, copy.predict(question.tokens), counts)
                del copy
                self.done["pickles"] += 1
                if hasattr(os, "fork"):
                    self._in_a_child(subject, caller)
                    self.done["forks"] += 1

    def _in_a_child(self, subject: Subject, caller: random.Random) -> None:
        asked = [caller.choice(subject.questions) for _ in range(4)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forks where there are threads
            child = os.fork()
        if not child:
            code = 2
            try:
                counts = Counts()
                subject.check(asked[0], subject.predictor.predict(asked[0].tokens), counts)
                for each, found in zip(asked, subject.predictor.predict_batch([q.tokens for q in asked]), strict=True):
                    subject.check(each, found, counts, batch=True)
                code = int(counts.wrong > 0)
            finally:
                os._exit(code)
        end = time.monotonic() + 60
        while not (ended := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < end:
            time.sleep(0.01)
        if not ended[0]:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            self.done["hung"] += 1
        elif ended[1]:
            self.counts[-1].mistake(f"{subject.name}: a forked child ended with status {ended[1]}")


def _one_more(subject: Subject, caller: random.Random, counts: Counts) -> None:
    """A predictor that is made, asked and dropped; now and then with so much that its threads start."""
    predictor = open_predictor(subject.path)
    if not hasattr(subject, "questions"):
        return
    asked = caller.choices(subject.questions, k=40 if caller.random() < 0.1 else 1)
    for question, found in zip(asked, predictor.predict_batch([each.tokens for each in asked]), strict=True):
        subject.check(question, found, counts, batch=True)


class _Mallinfo2(ctypes.Structure):
    """What glibc's mallinfo2(3) gives, in bytes and counts."""

    _names = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
    _fields_ = [(name, ctypes.c_size_t) for name in _names]


def heap() -> dict[str, float]:
    """Of the C heap, in MB: what is in use, and what the allocator keeps though it is free.

    Nothing without glibc 2.33 or newer. A leak is in use; what is resident and free is the allocator's fragmentation.
    """
    try:
        mallinfo2 = ctypes.CDLL(None).mallinfo2
    except AttributeError:
        return {}
    mallinfo2.restype = _Mallinfo2
    found = mallinfo2()
    return {
        "heap_used_mb": round((found.uordblks + found.hblkhd) / 1e6, 1),
        "heap_free_mb": round(found.fordblks / 1e6, 1),
    }


def sample(soak: Soak, start: float, last: dict[str, Any] | None) -> dict[str, Any]:
    """The process now. Files and threads are counted while none comes or goes."""
    with soak.quiet:
        time.sleep(0.05)  # for the threads of a predictor that was just dropped
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        files = len(os.listdir("/proc/self/fd")) - 1  # noqa: PTH208 - one of them is the listing's
    total = soak.total()
    now = time.monotonic() - start
    since = last or {"s": 0.0, "tokens": 0}
    return {
        "s": round(now, 2),
        "tokens": total.tokens,
        "tokens_per_second": round((total.tokens - since["tokens"]) / max(now - since["s"], 1e-9)),
        "answers": total.answers,
        "wrong": total.wrong,
        "rss_mb": round(int(status["VmRSS"].split()[0]) / 1e3, 1),
        "hwm_mb": round(int(status["VmHWM"].split()[0]) / 1e3, 1),
        "fds": files,
        "threads": int(status["Threads"]),
        **heap(),
        "python_blocks": sys.getallocatedblocks(),
        "load": round(os.getloadavg()[0], 2),
        "longest_wait_s": round(soak.longest_wait(), 2),
        "loads": soak.done["loads"],
        "forks": soak.done["forks"],
    }


def write(path: Path, result: dict[str, Any]) -> None:
    """The result, whole or as it was."""
    with atomic_output(path) as stream:
        stream.write((json.dumps(result, indent=1) + "\n").encode())


def facts(given: argparse.Namespace, subjects: list[Subject]) -> dict[str, Any]:
    """What the figures depend on."""
    found = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "minutes_asked": given.minutes,
        "cores": available_cores(),
        "callers": given.threads,
        "affinity": given.affinity,
        "malloc": {name: value for name, value in os.environ.items() if name.startswith(("MALLOC_", "GLIBC_TUNABLES"))},
        "processor": found[0].partition(":")[2].strip() if found else platform.machine(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_before": round(os.getloadavg()[0], 2),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("lstm-deploy", "onnxruntime", "numpy")},
        "models": {subject.name: subject.metadata.precision for subject in subjects},
        "questions": given.questions,
    }


def run(given: argparse.Namespace, asked_to_stop: threading.Event) -> dict[str, Any]:
    """Soaks, writes at each sample, gives the result."""
    known = [path for path in given.models if path.is_file()]
    subjects = [Subject(path, given.questions) for path in known]
    if given.minutes >= LONG:
        subjects[0].fill(2**16)
    result = facts(given, subjects)
    gc.collect()
    start, samples, last = time.monotonic(), [], None
    soak = Soak(subjects, given.threads, given.pause)
    while not asked_to_stop.wait(min(given.sample_seconds, max(start + 60 * given.minutes - time.monotonic(), 0.01))):
        last = sample(soak, start, last)
        samples.append(last)
        over = time.monotonic() - start >= 60 * given.minutes - 0.5 * given.sample_seconds
        if over:
            soak.end()
        counts = soak.figures()
        result |= {"finished": over, "seconds": last["s"], "verdict": verdict(samples, counts), "counts": counts,
                   "traces": soak.traces, "samples": samples}  # fmt: skip
        write(given.output, result)
        if over:
            return result
    soak.end()
    return result


def main() -> None:
    """Soaks and says whether all stayed as it began; exits with 1 where it did not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--threads", type=int, help="that ask; default: two for each core")
    parser.add_argument("--affinity", type=int, help="the one core to stay on, beside another job; default: all")
    parser.add_argument("--models", type=Path, nargs="+", default=MODELS)
    parser.add_argument("--questions", type=int, default=200, help="for each model")
    parser.add_argument("--pause", type=float, default=0.5, help="seconds between predictors that are dropped")
    parser.add_argument("--sample-seconds", type=float, default=60)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "soak.json")
    parser.add_argument("--picture", type=Path, help="where to draw it; needs matplotlib")
    given = parser.parse_args()
    if given.affinity is not None and os.sched_getaffinity(0) != {given.affinity}:
        os.sched_setaffinity(0, {given.affinity})
        os.execv(sys.executable, [sys.executable, *sys.argv])  # so that libraries start with one core, too
    given.threads = given.threads or 2 * available_cores()
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    result = run(given, stopped)
    if given.picture and result.get("samples"):
        draw(result, given.picture)
    print(json.dumps({key: value for key, value in result.items() if key != "samples"}, indent=1))
    sys.exit(0 if result.get("verdict", {}).get("passed") else 1)


if __name__ == "__main__":
    main()
