"""What threads leave behind: locks at a fork, calls into onnxruntime at the interpreter's end."""

import atexit
import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

_PATIENCE = 10.0
"""Seconds that the interpreter's end waits for calls that have begun."""


class ForkLock:
    """A lock that is free in a forked child, whoever held it in the parent: that thread is not there to let it go."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def renew(self) -> None:
        """Lets go of it, whoever holds it."""
        self._lock = threading.Lock()


_locks: "weakref.WeakSet[ForkLock]" = weakref.WeakSet()
_changed = threading.Condition(threading.Lock())
_running = 0
_ended = False


@contextmanager
def native_call() -> Iterator[None]:
    """Around a call of onnxruntime that lets other threads run meanwhile.

    A daemon thread that comes back from C++ to an interpreter that has ended takes the whole process down (SIGABRT,
    "terminate called without an active exception"). So the end waits for calls that have begun, for some seconds, and
    a daemon thread begins none after it.
    """
    global _running
    with _changed:
        ended = _ended and threading.current_thread() is not threading.main_thread()
        _running += not ended
    if ended:
        threading.Event().wait()  # a daemon thread: the others have all ended by now
    try:
        yield
    finally:
        with _changed:
            _running -= 1
            if _ended:
                _changed.notify_all()


def _end() -> None:
    global _ended
    with _changed:
        _ended = True
        _changed.wait_for(lambda: not _running, _PATIENCE)


def _forked() -> None:
    """The parent's other threads are not here, nor are their calls."""
    global _changed, _running
    _changed, _running = threading.Condition(threading.Lock()), 0
    for lock in list(_locks):
        lock.renew()


atexit.register(_end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
