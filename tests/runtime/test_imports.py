"""What the runtime loads, in a fresh interpreter."""

import subprocess
import sys

import pytest
from model_files import SUBWORD

BLOCK = "import sys\nfor name in {blocked!r}: sys.modules[name] = None\n"
LOADED = """
import sys
loaded = {name.partition('.')[0] for name, module in sys.modules.items() if module is not None}
numpy_random = {'cython_runtime'}
builtin = set(sys.stdlib_module_names) | {'__main__', '__mp_main__', 'sitecustomize'} | numpy_random
print(*sorted(name for name in loaded - builtin if not name.startswith(('_', '__editable__'))))
"""
HEAVY = ["torch", "onnx", "safetensors", "matplotlib", "pyarrow", "pandas", "polars", "duckdb", "pyspark", "ray"]


def _python(code, blocked=(), **options):
    code = BLOCK.format(blocked=list(blocked)) + code
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, **options)


def test_predictor_loads_numpy_and_onnxruntime_only():
    code = (
        f"from lstm_deploy import Predictor\nassert Predictor.load({str(SUBWORD)!r}).predict(['Ann']).tags\n" + LOADED
    )
    done = _python(code, [*HEAVY, "click", "tqdm"])
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) <= {"lstm_deploy", "numpy", "onnxruntime"}


@pytest.mark.parametrize(
    "arguments",
    [["run", "Ann"], ["verify"], ["inspect"], ["conformance", "--runtime", "onnxruntime"]],
    ids=lambda a: a[0],
)
def test_commands_add_click_and_tqdm_only(arguments):
    model = ["--model", str(SUBWORD)] if arguments[0] == "run" else [str(SUBWORD)]
    code = f"from lstm_deploy.cli import main\nmain({[*arguments, *model]!r}, standalone_mode=False)\n" + LOADED
    done = _python(code, HEAVY)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.splitlines()[-1].split()) <= {"lstm_deploy", "numpy", "onnxruntime", "click", "tqdm"}


def test_without_onnxruntime_the_package_imports_and_says_what_to_install():
    code = f"from lstm_deploy import Predictor\nPredictor.load({str(SUBWORD)!r})"
    done = _python(code, ["onnxruntime"])
    assert "MissingDependencyError" in done.stderr
    assert "pip install 'lstm-deploy[cpu]'" in done.stderr


@pytest.mark.parametrize("command", ["train", "export"])
def test_without_torch_one_line_says_which_extra(command, tmp_path):
    done = _python(f"from lstm_deploy.cli import main\nmain([{command!r}])", HEAVY, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "pip install 'lstm-deploy[export]'" in done.stderr


def test_verify_with_a_checkpoint_needs_torch(tmp_path):
    code = f"from lstm_deploy.cli import main\nmain(['verify', {str(SUBWORD)!r}, '--checkpoint', 'x'])"
    done = _python(code, HEAVY, cwd=tmp_path)
    assert done.returncode == 1
    assert "pip install 'lstm-deploy[export]'" in done.stderr
