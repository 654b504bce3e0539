"""Each model of docs/upstream.md, which would end the process, is refused before onnxruntime sees it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="onnx writes the models")

from lstm_deploy import graph_rules
from lstm_deploy.modelfile import ModelFile, parse_model_file

PAGE = Path(__file__).parents[2] / "docs" / "upstream.md"
FIRST, *CASES = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
SAYS = (
    "an input of the operator LayerNormalization is left out",
    "the attribute batch_dims of GatherND is (-3,)",
    "an input of the operator LSTM may be empty",
    "the attribute group of Conv is (0,)",
)


def model(case):
    """The bytes that a block of the page makes."""
    names = {}
    exec(FIRST + case, names)
    return names["case"]


@pytest.mark.parametrize(("case", "says"), list(zip(CASES, SAYS, strict=True)), ids=[s.split()[-1] for s in SAYS])
def test_a_model_of_the_page_is_refused(case, says):
    assert says in graph_rules.problem(parse_model_file(ModelFile(Path("m.onnx"), model(case), "")))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=[s.split()[-1] for s in SAYS])
def test_the_page_is_still_right_of_the_installed_onnxruntime(case, tmp_path):
    """Where this fails the page wants a line: the release that mended it."""
    (tmp_path / "m.onnx").write_bytes(model(case))
    run = """
import sys, numpy as np, onnxruntime as ort
session = ort.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
(x,) = session.get_inputs()
session.run(None, {"x": np.ones([size if isinstance(size, int) else 2 for size in x.shape], np.float32)})
"""
    done = [
        subprocess.run([sys.executable, "-c", run, str(tmp_path / "m.onnx")], capture_output=True) for _ in range(5)
    ]
    assert any(each.returncode < 0 for each in done)
