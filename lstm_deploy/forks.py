"""What must not be under way while the process forks: the child has one thread, and locks as they stood.

A lock that another thread held stays locked in the child for ever. Here a fork waits until nobody holds one.
"""

import os
import threading


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
    """A context for calls of code that has locks of its own, such as onnxruntime's: a fork waits for those under way.

    Any number run beside each other; those that come while a fork waits go on after it.
    """

    def __init__(self) -> None:
        self._start_afresh()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=self._hold, after_in_parent=self._let_go, after_in_child=self._start_afresh)

    def _start_afresh(self) -> None:
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._under_way = 0
        self._forks = 0

    def __enter__(self) -> None:
        with self._lock:
            while self._forks:
                self._changed.wait()
            self._under_way += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._under_way -= 1
            if self._forks:
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


native_calls = NativeCalls()
"""Those of onnxruntime."""
