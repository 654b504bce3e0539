"""The benchmark's server and clients, which tests start too; and which python has MLServer."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "tests" / "runtime" / "data" / "subword.onnx"
CLOSED = MODEL.with_name("characters-crf.onnx")
"""Without an unknown word."""
STREAMING = MODEL.with_name("streaming.onnx")
SEGMENTER = MODEL.with_name("segmenter.onnx")
TEXTS = [
    "Ann saw Bob",
    "They ate the fish",
    "the cat saw a bird.",
    "Zoë wrote to naïve 東京 🦊 readers",
    "no",
    "",
    "a b c d e f g h i j k l m n o p q r s t u v w x y z",
]
BAD = {
    b"": "is not JSON",
    b"\xff": "is not JSON",
    b"{": "is not JSON",
    b"[" * 100_000: "is not JSON",
    b"9" * 5000: "is not JSON",
    b"[]": "is a JSON list",
    b"null": "is a JSON null",
    b"{}": "nothing to tag",
    b'{"text": "a", "tokens": ["a"]}': "tokens and text",
    b'{"text": "a", "extra": 1}': "extra",
    b'{"text": ["a"]}': "text is a list",
    b'{"tokens": "They ate"}': "tokens is a string",
    b'{"tokens": ["a", 1]}': "tokens[1] is a number",
    b'{"tokens": ["a", null]}': "tokens[1] is a null",
    b'{"tokens": ["\\ud800"]}': "lone surrogate",
    b'{"text": "a \\udfff"}': "lone surrogate",
    b'{"sentences": ["They ate"]}': "sentences[0] is a string",
    b'{"sentences": [["a"], [["b"]]]}': "sentences[1][0] is a list",
    b'{"sentences": {}}': "sentences is a object",
    b'{"text": "a", "scores": 1}': "scores is a number",
}


def load_benchmark():
    """benchmarks/serving.py as a module."""
    path = ROOT / "benchmarks" / "serving.py"
    spec = importlib.util.spec_from_file_location("serving_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def needs_ray():
    """Skips where Ray Serve is not installed."""
    pytest.importorskip("ray.serve", reason="Ray Serve is not installed: pip install 'lstm-deploy[serve]'")


def needs_mlserver():
    """This python, or the one in LSTM_DEPLOY_MLSERVER; skips where it has no MLServer."""
    python = os.environ.get("LSTM_DEPLOY_MLSERVER", sys.executable)
    done = subprocess.run([python, "-c", "import mlserver, onnxruntime"], capture_output=True, text=True)
    if done.returncode:
        why = done.stderr.strip().splitlines()[-1]
        pytest.skip(
            f"{python} has no MLServer ({why}): pip install 'lstm-deploy[cpu,mlserver]', or name a python that has it "
            "in LSTM_DEPLOY_MLSERVER"
        )
    return python
