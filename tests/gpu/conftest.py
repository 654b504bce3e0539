"""Tests that need CUDA: skipped, with onnxruntime's own reason, where it does not load."""

import sys
from pathlib import Path

import pytest

RUNTIME = Path(__file__).parents[1] / "runtime"
sys.path.insert(0, str(RUNTIME))  # model_files


@pytest.fixture(scope="session", autouse=True)
def _cuda():
    from model_files import TUTORIAL

    from lstm_deploy.providers import open_session

    opened = open_session(TUTORIAL, "auto")
    if opened.provider != "cuda":
        pytest.skip(opened.reason)
