"""Threads that share work out, made when first used and made anew in a forked child."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from .forks import lock_across_forks

_A = TypeVar("_A")
_B = TypeVar("_B")
_starting = lock_across_forks()


class Workers:
    """A thread pool that survives a fork, which its threads do not. Thread-safe.

    Args:
        threads: how many.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._owner = 0
        self._executor: ThreadPoolExecutor | None = None

    def submit(self, run: Callable[[], _B]) -> "Future[_B]":
        """``run``, on a thread as soon as one is free."""
        return self._pool().submit(run)

    def map(self, run: Callable[[_A], _B], groups: Iterable[_A]) -> Iterator[_B]:
        """``run`` of each group, in order; all are handed over at once."""
        return self._pool().map(run, groups)

    def _pool(self) -> ThreadPoolExecutor:
        with _starting:
            if self._executor is None or self._owner != os.getpid():
                self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix="lstm-deploy")
                self._owner = os.getpid()
            return self._executor
