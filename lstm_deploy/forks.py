"""A lock that a forked child finds free: of the threads of a process, a fork takes along only the one that forks."""

import os
import threading


def lock_across_forks() -> threading.Lock:
    """A lock that no other thread holds while the process forks, so that what it guards is whole in the child, too.

    A fork waits for whoever holds it. For a module, not for an object: what is asked of forks is asked until the
    process ends. Whoever holds it takes no other one.
    """
    lock = threading.Lock()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)
    return lock
