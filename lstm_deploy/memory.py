"""Memory that runs out: how libraries say so, and limits under which they would end the process instead."""

import os
from pathlib import Path

from .errors import OutOfMemoryError

SIGNS = (
    "bad_alloc",  # C++
    "Failed to allocate memory",  # onnxruntime's arena on CUDA
    "Available memory of",  # the same under a limit
    "out of memory",  # CUDA
    "ALLOC_FAILED",  # cuBLAS, cuDNN 8
    "ALLOCATION_FAILED",  # cuDNN 9
    "not enough memory",  # PyTorch on the CPU
    "could not create a primitive",  # oneDNN
    "failed to map segment",  # the dynamic loader
    "annot allocate memory",  # the system
    "cannot enlarge memory",  # Arrow
    "can't start new thread",  # Python: its stack
)
"""What an error says, whatever its class, where memory ran out."""


RUNTIME = 240 << 20
"""Address space that onnxruntime takes with a model of some MB (measured, and as much again: docs/faults.md)."""
TORCH = 1200 << 20
"""Likewise PyTorch (its CPU build), onnx and onnxruntime, with little data."""
_THREAD = 80 << 20
"""What the C library sets aside for a thread: an arena of 64 MiB, and a stack."""


def ran_out(e: BaseException) -> bool:
    """Whether an error is one of memory."""
    return isinstance(e, MemoryError) or any(sign in str(e) for sign in SIGNS)


def require_address_space(what: str, base: int, threads: int) -> None:
    """Raises where a limit (``ulimit -v``) leaves too little: native libraries abort there, with no error to catch.

    Args:
        what: takes the room, for the message.
        base: bytes that it takes beside what this process has already.
        threads: that it starts.

    Raises:
        OutOfMemoryError: less is left.
    """
    limit = _limit()
    if limit is None:
        return
    left, room = limit - _taken(), base + threads * _THREAD
    if left < room:
        raise OutOfMemoryError(
            f"the address space is limited to {limit >> 20:,} MiB, of which {max(left, 0) >> 20:,} are left; {what} "
            f"takes {room >> 20:,}; raise the limit (`ulimit -v`), take fewer threads, or limit memory by a cgroup (a "
            "container) instead"
        )


def _limit() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    soft = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if soft == resource.RLIM_INFINITY else soft


def _taken() -> int:
    """Bytes of address space that this process has; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0
