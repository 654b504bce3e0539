"""What was injected and what came of it: counted by each test, written down where LSTM_DEPLOY_FAULTS names a file."""

import datetime
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path


class Injection:
    """Faults of one kind against one command, in a ``with`` block; a fault that was not survived fails it at the end.

    Where the variable LSTM_DEPLOY_FAULTS names a JSON file, a row is added to the ``rows`` in it: fault, command,
    injected, survived, promise. Beside them stand the ``date`` and the ``versions``.
    """

    def __init__(self, fault, command, promise):
        self.row = {"fault": fault, "command": command, "injected": 0, "survived": 0, "promise": promise}
        self.broken = []

    def count(self, problems, what=""):
        """One fault was injected; ``problems`` are the ways in which the promise was broken, none if it was kept."""
        found = [problem for problem in problems if problem]
        self.row["injected"] += 1
        self.row["survived"] += not found
        self.broken += [f"{what}: {problem}" for problem in found]

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None or self.row["injected"]:
            self._write()
        if kind is None:
            assert self.row["injected"], "nothing was injected"
            assert not self.broken, "\n".join(self.broken)

    def _write(self):
        path = os.environ.get("LSTM_DEPLOY_FAULTS")
        if not path:
            return
        path = Path(path)
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
        versions = {name: version(name) for name in ("lstm-deploy", "onnxruntime", "numpy", "torch", "click")}
        found = {
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "versions": versions | {"python": platform.python_version(), "system": platform.system()},
            "rows": [*rows, self.row],
        }
        path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
