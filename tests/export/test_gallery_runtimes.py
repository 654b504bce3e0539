"""Taggers as people write them, in runtimes that ignore lengths: right, or refused before a file appears."""

from importlib.util import find_spec

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchcrf")

from gallery.case import Case  # noqa: E402
from gallery.cases import CASES  # noqa: E402

from lstm_deploy.conformance.suite import conformance  # noqa: E402
from lstm_deploy.errors import InputError  # noqa: E402
from lstm_deploy.export.module import export_module  # noqa: E402

pytestmark = pytest.mark.slow


def _export(case: Case, output, target):
    settings = {name: getattr(case, name) for name in ("vocabulary", "tags", "entry", "encode", "spec")}
    export_module(case.make(), output, **settings, target=target)


@pytest.mark.skipif(not find_spec("openvino"), reason="openvino is not installed")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_portable_file_is_right_in_openvino(case, tmp_path):
    _export(case, tmp_path / "m.onnx", None)
    matrix = conformance(tmp_path / "m.onnx", runtimes=["openvino"])
    assert matrix.runtimes[0].claimed == (matrix.graph_form == "reverse_sequence")
    assert not matrix.failures()


@pytest.mark.skipif(not find_spec("tract"), reason="tract is not installed")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_file_for_tract_is_right_there(case, tmp_path):
    try:
        _export(case, tmp_path / "m.onnx", "tract")
    except InputError as e:
        assert "no file for tract: " in str(e)
        assert not (tmp_path / "m.onnx").exists()
        pytest.skip(str(e))
    assert not conformance(tmp_path / "m.onnx", runtimes=["tract"]).failures(["tract"])
