"""Runs the runtime tests against an installed wheel, away from the source tree, with no torch and no onnx."""

import importlib.util
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
DEFAULT = ROOT / "exported" / "en-upos.onnx"
ABSENT = ("torch", "onnx", "safetensors", "matplotlib", "pyarrow")


def main() -> int:
    present = [name for name in ABSENT if importlib.util.find_spec(name)]
    if present:
        sys.exit(f"this environment has {', '.join(present)}; expected the wheel with [cpu] alone")
    _default_model()
    with tempfile.TemporaryDirectory() as folder:
        away = Path(folder)
        shutil.copytree(ROOT / "tests" / "runtime", away / "tests" / "runtime")
        (away / "exported").mkdir()
        shutil.copy(ROOT / "exported" / "tutorial.onnx", away / "exported")
        shutil.copy(ROOT / "pyproject.toml", away)
        command = [sys.executable, "-P", "-m", "pytest", "-m", "not slow", "tests/runtime"]
        return subprocess.run(command, cwd=away, check=False).returncode


def _default_model() -> None:
    """In an empty folder the model that came with the wheel tags, and is named."""
    if not DEFAULT.is_file():
        print(f"{DEFAULT}: not there, so the wheel has no default model to try: `make models MODEL=en-upos` makes it")
        return
    with tempfile.TemporaryDirectory() as folder:
        command = [Path(sys.executable).with_name("lstm-deploy"), "run", "They ate the fish"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    words = [line.split("\t")[0] for line in done.stdout.split("\n") if line]
    carried = str(Path("lstm_deploy", "models", DEFAULT.name)) in done.stderr
    if done.returncode or words != ["They", "ate", "the", "fish"] or not carried:
        sys.exit(f"the wheel's own model does not tag: {done.stdout}{done.stderr}")


if __name__ == "__main__":
    sys.exit(main())
