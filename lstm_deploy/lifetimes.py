"""What threads leave behind: locks at a fork, calls into onnxruntime at the interpreter's end."""

import atexit
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_PATIENCE = 10.0
"""Seconds that the interpreter's end waits for calls that have begun."""


def lock_across_forks() -> threading.Lock:
    """A lock that no other thread holds while the process forks, so that what it guards is whole in the child, too.

    A fork takes along only the thread that forks, and waits for whoever holds the lock. For a module, not for an
    object: what is asked of forks is asked until the process ends. Whoever holds it takes no other one.
    """
    lock = threading.Lock()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)
    return lock


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


atexit.register(_end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
