"""onnxruntime tells nobody what it runs, and writes nothing into the home folder, unless its user asks for it."""

import os
import subprocess
import sys

import pytest
from model_files import SUBWORD

CODE = """
import os, sys
from lstm_deploy import Predictor
assert Predictor.load(sys.argv[1]).predict(["Ann"]).tags
print(os.environ["ORT_DISABLE_TELEMETRY"])
"""
SUPPRESS = ("CI", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS", "GITHUB_ACTIONS", "TF_BUILD")
"""What keeps onnxruntime quiet by itself."""


@pytest.mark.parametrize("asked", [None, "1"])
def test_nothing_is_written_into_the_home_folder(tmp_path, asked):
    environment = {name: value for name, value in os.environ.items() if name not in SUPPRESS}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "TMPDIR": str(tmp_path)}
    environment |= {"ORT_DISABLE_TELEMETRY": asked} if asked else {}
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(SUBWORD)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "1\n"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_who_wants_it_is_not_overruled():
    environment = os.environ | {"ORT_DISABLE_TELEMETRY": "0", "CI": "true"}
    code = "import os; from lstm_deploy import providers; providers.import_onnxruntime(); "
    code += "print(os.environ['ORT_DISABLE_TELEMETRY'])"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "0\n", done.stderr
