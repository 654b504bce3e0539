"""The targets of atheris take their seeds; and where atheris is installed, it finds nothing in a few seconds."""

import random
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from .coverage_guided import SEEDS, TARGETS, target

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def _seeds(name):
    folder = SEEDS.get(name, HERE / "corpus" / f"seeds-{name}")
    return [path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file() and path.suffix != ".py"]


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_targets_take_their_seeds_and_what_is_near_them(name, tmp_path):
    run = target(name, tmp_path)
    drawn = random.Random(name)
    assert _seeds(name)
    for data in _seeds(name):
        run(data)
        for _ in range(20):
            at = drawn.randrange(len(data))
            run(data[:at] + drawn.randbytes(drawn.randint(0, 3)) + data[at + drawn.randint(0, 3) :])


@pytest.mark.skipif(find_spec("atheris") is None, reason="no atheris: pip install -r tests/fuzz/requirements.txt")
@pytest.mark.parametrize("name", sorted(TARGETS))
def test_atheris_finds_nothing(name, tmp_path):
    command = [sys.executable, "-m", "tests.fuzz.coverage_guided", name, "--seconds", "4", "--found", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(("crash", "timeout", "oom"))], (
        done.stderr
    )
    assert not done.returncode, done.stderr[-2000:]
