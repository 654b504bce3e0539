"""Runs ranges of cases in forked processes that may crash, hang or eat memory without any loss to the campaign."""

import contextlib
import faulthandler
import json
import mmap
import os
import resource
import signal
import struct
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .classes import FAILURES, OUTCOMES, FuzzClass, outcome

_HEAD = struct.Struct("<qd")
"""What a worker writes into the shared page: index of the case in hand, and when it began; then the counts."""
_COUNTS = struct.Struct(f"<{len(OUTCOMES)}q")
_STOP = mmap.PAGESIZE - 1
"""Where the page says whether to stop after the case in hand: what others write, the worker does not."""
_LAST_WORDS = 0.5
"""Seconds that a case without an answer has to say where it is."""
_MOST_NOTED = 50
"""Failures of one range that are written down; the rest are counted."""


@dataclass
class Found:
    """What became of a part of a range.

    Attributes:
        done: index of the first case that was not tried.
        counts: outcome -> cases.
        failures: ``index``, ``outcome`` and ``detail`` of each that is one.
    """

    done: int
    counts: dict[str, int] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)


class Worker:
    """A forked process at work on cases ``start`` to ``stop``."""

    def __init__(self, fuzzed: FuzzClass, start: int, stop: int, folder: Path) -> None:
        self.fuzzed, self.start, self.stop = fuzzed, start, stop
        self._page = mmap.mmap(-1, mmap.PAGESIZE)
        _HEAD.pack_into(self._page, 0, start, time.monotonic())
        _COUNTS.pack_into(self._page, _HEAD.size, *[0] * len(OUTCOMES))
        self._noise = [tempfile.TemporaryFile(dir=folder) for _ in range(2)]  # noqa: SIM115 - closed in `found`
        self._notes = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - likewise
        self._asked = self._hung = False
        self._seen = (-1, 0.0)
        self.pid = os.fork()
        if not self.pid:
            code = 70
            try:
                self._work()
                code = 0
            except BaseException as e:  # noqa: BLE001 - nothing of the parent's may run on in its child
                os.write(2, f"{type(e).__name__}: {e}\n".encode(errors="replace"))
            finally:
                os._exit(code)
        with contextlib.suppress(OSError):
            os.setpgid(self.pid, self.pid)

    def ask_to_stop(self) -> None:
        """After the case in hand."""
        self._page[_STOP] = 1

    def found(self) -> Found | None:
        """What was found, once it has ended; kills it where a case has taken too long."""
        pid, status, spent = os.wait4(self.pid, os.WNOHANG)
        index, began = _HEAD.unpack_from(self._page)
        if not pid:
            late = time.monotonic() - began - self.fuzzed.hang_s
            # What is read while it is being written is neither the last case nor this one: only what stays counts.
            if (index, began) != self._seen:
                late = 0.0
            if late > 0 and not self._asked:
                self._asked = True
                os.kill(self.pid, signal.SIGUSR1)  # it says where it is
            elif late > _LAST_WORDS:
                self._hung = True
                os.killpg(self.pid, signal.SIGKILL)
            self._seen = (index, began)
            return None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)  # what it started itself
        result = Found(index, dict(zip(OUTCOMES, _COUNTS.unpack_from(self._page, _HEAD.size), strict=True)))
        self._notes.seek(0)
        result.failures = [json.loads(line) for line in self._notes.read().splitlines()]
        if status:
            code = os.waitstatus_to_exitcode(status)
            self._noise[1].seek(max(self._noise[1].seek(0, os.SEEK_END) - 20_000, 0))
            said = self._noise[1].read().decode(errors="replace").strip()
            at = said.rfind("(most recent call first)")  # what follows begins with where it was
            said = said[at:][:800] if at >= 0 else said[-800:]
            how = "hang" if self._hung else "crash"
            ended = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit {code}"
            if self._hung:
                ended = (
                    f"no answer in {self.fuzzed.hang_s:g} s; {spent.ru_utime + spent.ru_stime:.1f} s of a core in all"
                )
            detail = f"{ended}; said {said!r}"
            result.counts[how] += 1
            result.failures.append({"index": index, "outcome": how, "detail": detail})
            result.done = index + 1
        for stream in (*self._noise, self._notes):
            stream.close()
        return result

    def _work(self) -> None:
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        faulthandler.register(signal.SIGUSR1, self._noise[1], all_threads=False)
        sys.stdout.flush()
        for number, stream in enumerate(self._noise, 1):
            os.dup2(stream.fileno(), number)
        sys.stdout, sys.stderr = (os.fdopen(os.dup(n), "w", errors="replace") for n in (1, 2))
        if self.fuzzed.memory is not None:
            pages = int(Path("/proc/self/statm").read_text().split()[0]) if sys.platform == "linux" else 0
            limit = pages * mmap.PAGESIZE + self.fuzzed.memory
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        counts = dict.fromkeys(OUTCOMES, 0)
        noise = noted = 0
        for index in range(self.start, self.stop):
            if self._page[_STOP]:
                break
            self._now_at(index)
            how, detail = outcome(self.fuzzed, self.fuzzed.case(index))
            sys.stdout.flush()
            size = os.fstat(1).st_size
            if size != noise and how not in FAILURES:
                how, detail = "wrong", f"{size - noise} bytes on standard output"
            noise = size
            counts[how] += 1
            _COUNTS.pack_into(self._page, _HEAD.size, *counts.values())
            if how in FAILURES and noted < _MOST_NOTED:
                noted += 1
                note = {"index": index, "outcome": how, "detail": detail}
                os.write(self._notes.fileno(), json.dumps(note).encode() + b"\n")
        else:
            index = self.stop
        self._now_at(index)

    def _now_at(self, index: int) -> None:
        _HEAD.pack_into(self._page, 0, index, time.monotonic())
