"""Files that one build at a time may change: locks beside them, which end with the process that has them."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lstm_deploy.errors import InputError


@contextmanager
def locked(path: Path, taken: str | None = None) -> Iterator[int]:
    """Holds ``path``, a file made for that alone; gives its descriptor, for a child that is to hold it, too.

    Args:
        taken: what to say if another process has it; None waits for that one.

    Raises:
        InputError: it is taken.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | (fcntl.LOCK_NB if taken else 0))
        except BlockingIOError as e:
            raise InputError(f"{path}: {taken}") from e
        yield stream.fileno()
