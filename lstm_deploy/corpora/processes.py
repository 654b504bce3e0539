"""Parts shared out over processes of this machine: each tags whole parts, the largest first."""

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from ..errors import LstmDeployError, WorkerError
from .parts import Part
from .tagging import PartTagger, Record, Tagging

_ATTEMPTS = 3
"""How often a part is begun whose process dies, before the job ends."""


@dataclass(frozen=True)
class Task:
    """A part to tag, and where what comes out goes."""

    part: Part
    output: Path
    rejects: Path


Outcome = Record | LstmDeployError
Outcomes = Generator[tuple[Task, Outcome], None, None]
Progress = Callable[[str, int, int], None]
"""Called with a part's name, bytes read of it and tokens tagged of it."""


def tag_here(tagging: Tagging, tasks: Sequence[Task], progress: Progress) -> Outcomes:
    """Each task and what became of it, one after another in this process."""
    tagger = PartTagger(tagging)
    for task in tasks:
        name = task.part.name
        try:
            yield task, tagger.tag(task.part, task.output, task.rejects, lambda a, b, n=name: progress(n, a, b))
        except LstmDeployError as e:
            yield task, e


def tag_in_processes(tagging: Tagging, tasks: Sequence[Task], processes: int, progress: Progress) -> Outcomes:
    """Each task and what became of it, as they end. A process that dies is replaced, and its part begun anew.

    Raises:
        WorkerError: a part's process died each time.
    """
    left = deque((task, 1) for task in sorted(tasks, key=lambda task: -task.part.size))
    workers = [_Worker(tagging) for _ in range(min(processes, len(tasks)))]
    try:
        for worker in workers:
            worker.begin(*left.popleft())
        while busy := {worker.connection: worker for worker in workers if worker.task}:
            for connection in wait(list(busy)):
                worker = busy[connection]  # type: ignore[index]
                task, attempt = worker.task, worker.attempt
                assert task is not None
                message = worker.message()
                if message is None:
                    if attempt == _ATTEMPTS:
                        raise WorkerError(_death(task, worker.exit_code()))
                    worker.stop()
                    workers[workers.index(worker)] = fresh = _Worker(tagging)
                    fresh.begin(task, attempt + 1)
                elif isinstance(message, tuple):
                    progress(task.part.name, *message)
                else:
                    worker.task = None
                    yield task, message
                    if left:
                        worker.begin(*left.popleft())
    finally:
        for worker in workers:
            worker.stop()


def _death(task: Task, code: int | None) -> str:
    how = f"killed by {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"
    return (
        f"{task.part.path}: the process that tagged it died {_ATTEMPTS} times ({how}); what is done is kept: if memory "
        "ran out pass fewer --processes, then run the same command again"
    )


class _Worker:
    """A process that tags parts it is sent."""

    def __init__(self, tagging: Tagging) -> None:
        context = multiprocessing.get_context("spawn")  # onnxruntime's threads do not survive a fork
        self.connection, theirs = context.Pipe()
        self.task: Task | None = None
        self.attempt = 0
        self._process = context.Process(target=_work, args=(tagging, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def begin(self, task: Task, attempt: int) -> None:
        """Sends a task; if the process is dead, that shows when it is asked for a message."""
        self.task, self.attempt = task, attempt
        try:
            self.connection.send(task)
        except OSError:
            pass

    def message(self) -> Any:
        """Progress as a tuple, or an outcome; None: the process is dead."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            return None

    def exit_code(self) -> int | None:
        """How it ended."""
        self._process.join(5)
        return self._process.exitcode

    def stop(self) -> None:
        """Ends it; what it has half written goes."""
        self.connection.close()
        self._process.terminate()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()


def _work(tagging: Tagging, connection: Connection) -> None:
    """The process: tags what it is sent until nobody sends any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one that asked decides
    signal.signal(signal.SIGTERM, lambda *_: _leave())
    tagger: PartTagger | None = None

    def progress(read: int, tokens: int) -> None:
        connection.send((read, tokens))

    try:
        while True:
            task = connection.recv()
            try:
                tagger = tagger or PartTagger(tagging)
                outcome: Outcome = tagger.tag(task.part, task.output, task.rejects, progress)
            except LstmDeployError as e:
                outcome = e
            connection.send(outcome)
    except (EOFError, BrokenPipeError):  # whoever asked is gone
        pass
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # nothing is half written any more


def _leave() -> None:
    raise SystemExit(1)  # half files are removed on the way out
