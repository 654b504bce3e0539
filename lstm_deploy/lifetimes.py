"""What must not be under way while the process forks, or when the interpreter ends.

A forked child has one thread, and locks as they stood: one that another thread held stays locked in it for ever. A
daemon thread that comes back from native code to an interpreter that has ended takes the process down. Here both wait
until nothing is under way.
"""

import atexit
import os
import threading

_PATIENCE = 10.0
"""Seconds that the interpreter's end waits for calls that have begun."""


def lock_across_forks() -> threading.Lock:
    """A lock that no other thread holds while the process forks, so that what it guards is whole in the child, too.

    For a module, not for an object: what is asked of forks is asked until the process ends. Whoever holds it takes no
    other one.
    """
    lock = threading.Lock()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)
    return lock


class NativeCalls:
    """A context for calls of code that has locks of its own, and lets other threads run meanwhile: onnxruntime's.

    Any number run beside each other. A fork waits for those under way, and those that come while it waits go on after
    it. So does the interpreter's end, for some seconds (a daemon thread that came back after it would abort the
    process: "terminate called without an active exception"); a daemon thread begins none after it.
    """

    def __init__(self) -> None:
        self._start_afresh()
        atexit.register(self._end)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=self._hold, after_in_parent=self._let_go, after_in_child=self._start_afresh)

    def _start_afresh(self) -> None:
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._under_way = 0
        self._forks = 0
        self._ended = False

    def __enter__(self) -> None:
        with self._lock:
            while self._forks:
                self._changed.wait()
            ended = self._ended and threading.current_thread() is not threading.main_thread()
            self._under_way += not ended
        if ended:
            threading.Event().wait()  # a daemon thread: the others have all ended by now

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._under_way -= 1
            if self._forks or self._ended:
                self._changed.notify_all()

    def _hold(self) -> None:
        self._changed.acquire()
        self._forks += 1
        while self._under_way:
            self._changed.wait()

    def _let_go(self) -> None:
        self._forks -= 1
        self._changed.notify_all()
        self._changed.release()

    def _end(self) -> None:
        with self._lock:
            self._ended = True
            self._changed.wait_for(lambda: not self._under_way, _PATIENCE)


native_calls = NativeCalls()
"""Those of onnxruntime."""
