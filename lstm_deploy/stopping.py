"""Signals that ask a command to end: it cleans up and ends, in seconds even inside native code."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

_GRACE = 5.0
"""Seconds in which a command cleans up; where it cannot, since native code does not come back, it ends all the same."""
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


class Stopped(BaseException):
    """A signal asked the command to end. Like KeyboardInterrupt no Exception, so that nothing takes it for an error.

    Attributes:
        name: the signal's.
        exit_code: 128 and its number, as shells count.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.name = signal.Signals(number).name
        self.exit_code = 128 + number


@dataclass
class Stop:
    """Whether a command was asked to stop.

    Attributes:
        asked: by which signal; None: it was not.
    """

    asked: Stopped | None = None

    def check(self) -> None:
        """Raises where it was: native code that Python code runs within makes an error of its own of `Stopped`.

        Raises:
            Stopped: it was.
        """
        if self.asked:
            raise self.asked


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Raises `Stopped` in the block at the first SIGINT, SIGTERM or SIGHUP; a second one ends the process at once.

    A signal that is ignored (``nohup``) or that the caller handles is left as it is, and all are in a thread that is
    not the main one.
    """
    defaults = (signal.SIG_DFL, signal.default_int_handler)
    numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    before = {number: handler for number in numbers if (handler := signal.getsignal(number)) in defaults}
    asked = Stop()
    if not before:
        yield asked
        return

    def stop(number: int, _: FrameType | None) -> None:
        for each in before:
            signal.signal(each, signal.SIG_DFL)
        asked.asked = Stopped(number)
        raise asked.asked

    told, wakened = socket.socketpair()
    wakened.setblocking(False)
    woken_before = signal.set_wakeup_fd(wakened.fileno(), warn_on_full_buffer=False)
    watch = threading.Thread(target=_watch, args=(told, frozenset(before)), name="lstm-deploy-signals", daemon=True)
    with suppress(RuntimeError):  # no memory for a thread: then without
        watch.start()
    try:
        for number in before:
            signal.signal(number, stop)
        yield asked
    finally:
        signal.set_wakeup_fd(woken_before)
        wakened.close()
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch(told: socket.socket, numbers: frozenset[int]) -> None:
    """Ends the process some seconds after a signal: Python's handlers wait for native code, this thread does not."""
    with told:
        while heard := told.recv(1):
            if heard[0] in numbers:
                threading.Event().wait(_GRACE)
                os._exit(128 + heard[0])
