"""The recipes' scripts as modules."""

import importlib.util
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

RECIPES = Path(__file__).parents[2] / "recipes"
sys.path.append(str(RECIPES))


@pytest.fixture(scope="session")
def scripts():
    """Name -> module; by path, since a package of the name build is installed."""

    def load(name):
        spec = importlib.util.spec_from_file_location(f"recipes_{name}", RECIPES / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module

    return load
