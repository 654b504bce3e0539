"""The process that tries what can crash or hang: ``python -P -m lstm_deploy.doctor.probe REQUEST``.

The request is a JSON object: ``task`` (``driver`` or ``session``), ``search`` (its ``sys.path``), ``said`` (the file
for what it finds, a JSON object a line, written as soon as it is known), and for a session ``provider`` and ``model``.
"""

import faulthandler
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from ..admission import admit
from ..errors import LstmDeployError, MissingDependencyError
from ..golden import check_golden
from ..gpus import ask_driver
from ..providers import Provider, import_onnxruntime, open_session
from ..streaming import open_predictor
from .driver import loaded_libraries, with_place


def main(request: dict[str, Any]) -> None:
    """Does the task, and says each thing as soon as it is known."""
    said = Path(request["said"])

    def say(**facts: Any) -> None:
        with said.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(facts) + "\n")

    def fail(kind: type[BaseException], raised: BaseException, trace: TracebackType | None) -> None:
        say(error=_told(raised))
        sys.__excepthook__(kind, raised, trace)

    # A descriptor of its own: providers.py points number 2 elsewhere while a session on CUDA is made.
    faulthandler.enable(os.dup(2))
    sys.excepthook = fail
    sys.path[:] = request["search"]
    if request["task"] == "driver":
        say(stage="driver")
        say(**with_place(ask_driver()))
    else:
        _session(say, request["provider"], Path(request["model"]))
    say(stage="end")


def _session(say: Callable[..., None], provider: Provider, model: Path) -> None:
    say(stage="import")
    runtime = import_onnxruntime()
    say(
        version=runtime.__version__,
        file=runtime.__file__,
        package=getattr(runtime, "package_name", ""),
        cuda=getattr(runtime, "cuda_version", ""),
        available=runtime.get_available_providers(),
    )
    say(stage="session")
    opened = open_session(model, provider, data=admit(model)[0].data)
    say(got=opened.session.get_providers(), placement=opened.placement)
    say(stage="golden")
    report = check_golden(open_predictor(model, provider))
    say(
        cases=report.cases,
        tokens=report.tokens,
        max_difference=report.max_difference,
        failures=report.failures,
        loaded=loaded_libraries(),
    )


def _told(raised: BaseException) -> str:
    """What went wrong, without the cure: that is found with more knowledge."""
    if isinstance(raised, MissingDependencyError) and raised.__cause__:
        raised = raised.__cause__
    if isinstance(raised, LstmDeployError):
        return str(raised).partition("; ")[0]
    return " ".join(f"{type(raised).__name__}: {raised}".split())[:300]


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
