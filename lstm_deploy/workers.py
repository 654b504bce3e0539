"""Threads that share work out, made when first used and made anew in a forked child."""

import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

from .lifetimes import lock_across_forks

_A = TypeVar("_A")
_B = TypeVar("_B")
_starting = lock_across_forks()
_Queue = SimpleQueue[tuple["Future[Any]", Callable[[], Any]] | None]


class Workers:
    """A thread pool that survives a fork, which its threads do not. Thread-safe.

    Its threads are daemons, unlike those of `concurrent.futures`: whoever waits for them keeps the interpreter alive
    while it must be, and is still served when the main thread has ended; what a daemon asked for is dropped then. Where
    no thread can be had, the one that asks does the work.

    Args:
        threads: how many.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._owner = 0
        self._started = 0
        self._queue: _Queue = SimpleQueue()

    def submit(self, run: Callable[[], _B]) -> "Future[_B]":
        """``run``, on a thread as soon as one is free."""
        future: Future[_B] = Future()
        with _starting:
            if self._owner != os.getpid():
                self._owner, self._started, self._queue = os.getpid(), 0, SimpleQueue()
                weakref.finalize(self, _dismiss, self._queue, self._threads).atexit = False
            if self._started < self._threads:
                self._started += _is_started(self._queue)
            if self._started:
                self._queue.put((future, run))
                return future
        _perform(future, run)
        return future

    def map(self, run: Callable[[_A], _B], groups: Iterable[_A]) -> Iterator[_B]:
        """``run`` of each group, in order; all are handed over at once."""
        futures = [self.submit(lambda group=group: run(group)) for group in groups]  # type: ignore[misc]
        return (future.result() for future in futures)


def _is_started(queue: _Queue) -> bool:
    """Whether a thread more could be started: memory, a limit or the interpreter's end may forbid it."""
    try:
        threading.Thread(target=_work, args=(queue,), name="lstm-deploy", daemon=True).start()
    except RuntimeError:
        return False
    return True


def _work(queue: _Queue) -> None:
    while task := queue.get():
        _perform(*task)
        del task  # which holds a batch and its answer


def _perform(future: "Future[Any]", run: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = run()
    except BaseException as e:  # noqa: BLE001 - raised where the result is asked for
        future.set_exception(e)
        del future, run  # which the traceback would keep, and they it
    else:
        future.set_result(result)


def _dismiss(queue: _Queue, threads: int) -> None:
    for _ in range(threads):
        queue.put(None)
