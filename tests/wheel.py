"""Runs the runtime tests against an installed wheel, away from the source tree, with no torch and no onnx."""

import importlib.util
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
ABSENT = ("torch", "onnx", "safetensors", "matplotlib")


def main() -> int:
    present = [name for name in ABSENT if importlib.util.find_spec(name)]
    if present:
        sys.exit(f"this environment has {', '.join(present)}; expected the wheel with [cpu] alone")
    with tempfile.TemporaryDirectory() as folder:
        away = Path(folder)
        shutil.copytree(ROOT / "tests" / "runtime", away / "tests" / "runtime")
        (away / "exported").mkdir()
        shutil.copy(ROOT / "exported" / "tutorial.onnx", away / "exported")
        shutil.copy(ROOT / "pyproject.toml", away)
        command = [sys.executable, "-P", "-m", "pytest", "-m", "not slow", "tests/runtime"]
        return subprocess.run(command, cwd=away, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
