"""Finds the models that the runtime tests are about; the folder is skipped where pyarrow is absent."""

import sys
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parents[1] / "runtime"))

from model_files import SUBWORD

from lstm_deploy import Predictor

try:
    import pyarrow  # noqa: F401
except ImportError:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def subword():
    return Predictor.load(SUBWORD)


settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")
