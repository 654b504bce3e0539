"""A process in which native code may crash or hang, and what came of it."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_KEPT = 4000
"""Characters of what the process printed."""


@dataclass(frozen=True)
class Outcome:
    """What a process did.

    Attributes:
        facts: what it said, as JSON objects laid over each other.
        ended: how it ended, "" if in order.
        hung: it had to be killed.
        printed: the last of what it and native code in it printed.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    ended: str = ""
    hung: bool = False
    printed: str = ""

    @property
    def stage(self) -> str:
        """What it began last."""
        return self.facts.get("stage", "start")


def run_probe(request: dict[str, Any], search: Sequence[str | Path], timeout: float) -> Outcome:
    """`probe` in a process of its own.

    Args:
        request: see there.
        search: its ``sys.path``.
        timeout: seconds after which it is killed.
    """
    with tempfile.TemporaryDirectory(prefix="lstm-deploy-") as scratch:
        said, printed = Path(scratch) / "said.jsonl", Path(scratch) / "printed"
        asked = request | {"search": [str(folder) for folder in search], "said": str(said)}
        package = str(Path(__file__).parents[2])
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([*asked["search"], package])}
        command = [sys.executable, "-P", "-m", f"{__package__}.probe", json.dumps(asked)]
        with printed.open("wb") as output:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, cwd=scratch
            )
            hung = False
            try:
                process.wait(timeout)
            except subprocess.TimeoutExpired:
                hung = True
            finally:
                _kill(process)
        text = printed.read_text(encoding="utf-8", errors="replace")
        return Outcome(_said(said), _ended(process.returncode, hung, timeout), hung, text[-_KEPT:])


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    try:
        process.wait(2)
    except subprocess.TimeoutExpired:  # it hangs in the kernel, as broken drivers do: nothing ends it
        pass


def _said(path: Path) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                facts |= json.loads(line)
            except ValueError:  # killed in the middle of a line
                break
    return facts


def _ended(code: int | None, hung: bool, timeout: float) -> str:
    if hung:
        return f"no end after {timeout:g} seconds"
    if code is not None and code < 0:
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"
    return f"exit code {code}" if code else ""
