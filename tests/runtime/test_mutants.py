"""No check of a provider may be taken away without a test that fails: each is, in a copy of the package."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lstm_deploy

PACKAGE = Path(lstm_deploy.__file__).parent
MUTANTS = {
    "a session that fell back to the CPU": ("if session.get_providers()[0] != _CUDA:", "if False:"),
    "operators that fell back to the CPU": ("    if elsewhere:", "    if False:"),
    "a recurrence that is nowhere": ("if not RECURRENT & on_cuda.keys():", "if False:"),
    "the check of the placement": ("return session, placement, _misplaced(placement)", 'return session, placement, ""'),
    "the names of providers": ("    if provider not in known:", "    if False:"),
    "a file that is damaged": ("_create(runtime, model, [_CPU])  # raises", "pass  # raises"),
}


def _tested(folder):
    command = [sys.executable, "-m", "pytest", "-qx", "-c", os.devnull, "tests/runtime/test_providers.py"]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mutants")
    shutil.copytree(PACKAGE, folder / "lstm_deploy", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(Path(__file__).parent, folder / "tests" / "runtime")
    (folder / "exported").mkdir()
    shutil.copy(Path(__file__).parents[2] / "exported" / "tutorial.onnx", folder / "exported")
    whole = _tested(folder)
    assert whole.returncode == 0, whole.stdout[-800:]
    return folder


@pytest.mark.parametrize("taken", MUTANTS)
def test_without_a_check_a_test_fails(copy, taken):
    source = copy / "lstm_deploy" / "providers.py"
    text, (before, after) = source.read_text(encoding="utf-8"), MUTANTS[taken]
    assert text.count(before) == 1
    source.write_text(text.replace(before, after), encoding="utf-8")
    try:
        mutant = _tested(copy)
    finally:
        source.write_text(text, encoding="utf-8")
    assert mutant.returncode == 1, mutant.stdout[-800:]
    assert "failed" in mutant.stdout
