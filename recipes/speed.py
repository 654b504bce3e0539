"""Measures how fast the shipped models are on this machine, for exported/README.md; nothing of it goes into the files.

python recipes/speed.py
"""

import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import readme
import results

from lstm_deploy.benchmark import measure
from lstm_deploy.providers import available_cores

_SECONDS = 0.3


def speeds(exported: Path = readme.EXPORTED, path: Path = results.RESULTS) -> dict[str, Any]:
    """For each shipped model the best time of one sentence of 20 words and the best rate on much text."""
    names = [name for name, found in results.read_results(path)["models"].items() if found["ship"]]
    models = {}
    for name in names:
        cells = measure([exported / f"{name}.onnx"], "cpu", None, _SECONDS)
        models[name] = {"single_seconds": cells.single.seconds, "tokens_per_second": cells.bulk.tokens_per_second}
    return {
        "machine": f"{available_cores()} cores of {_processor()}",
        "date": datetime.now(UTC).date().isoformat(),
        "load": os.getloadavg()[0],
        "models": models,
    }


def _processor() -> str:
    about = Path("/proc/cpuinfo")
    lines = about.read_text(encoding="utf-8").splitlines() if about.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    results.write_results(speeds(), readme.SPEED)
    readme.write_readme()
