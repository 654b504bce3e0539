"""The script for a GPU machine: its graphs are ours, its models right, and torch and onnxruntime are all it needs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.gpu import graphs, models, targets  # noqa: E402
from lstm_deploy import Predictor  # noqa: E402
from lstm_deploy.conformance.proof import Proof  # noqa: E402
from lstm_deploy.golden import check_golden  # noqa: E402
from lstm_deploy.modelfile import read_model_file  # noqa: E402

SCRIPT = ROOT / "benchmarks" / "gpu" / "run.py"
SHAPES = sorted({shape for shape, _ in models.skeletons() if shape.hidden <= 128}, key=lambda shape: shape.name)
PARTS = [
    "parity: golden cases",
    "parity: small and middling batches",
    "speed: bare",
    "speed: threads and batches",
    "speed: stream",
    "speed: latency",
    "speed: graph forms",
    "parity: large batches",
    "speed: crossover",
    "probe: import order",
    "speed: subwords",
]
BLOCKED = (
    "import sys\nfor name in ('onnx', 'click', 'tqdm', 'safetensors', 'matplotlib'):\n    sys.modules[name] = None\n"
)


@pytest.fixture(scope="module", params=SHAPES, ids=lambda shape: shape.name)
def tagger(request):
    return models.Tagger(request.param, words=300, embedding=24, buckets=64)


@pytest.fixture
def bare_machine(tmp_path):
    """Runs the script where development's packages cannot be imported."""
    folder = tmp_path / "blocked"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(BLOCKED)

    def run(*arguments):
        command = [sys.executable, str(SCRIPT), *map(str, arguments)]
        environment = os.environ | {"PYTHONPATH": str(folder)}
        return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=240)

    return run


def test_graphs_are_those_that_the_exporter_makes_now():
    written = {path.name: path.read_bytes() for path in graphs.FOLDER.iterdir()}
    assert written == graphs.build()
    assert all(len(data) < 10_000 for data in written.values())


def test_every_number_of_layers_has_both_forms_and_both_directions():
    there = set(models.skeletons())
    for layers in (1, 2, 3):
        for both_ways in (True, False):
            assert {(models.Shape(layers, 128, both_ways), form) for form in models.FORMS} <= there


def _ragged(tagger, random, rows, length):
    inputs = {"word_ids": random.integers(1, len(tagger.metadata.vocabulary), (rows, length), dtype=np.int32)}
    if tagger.metadata.features:
        inputs["word_ids"][random.random((rows, length)) < 0.5] = tagger.metadata.vocabulary.unknown_id
        size = (rows, length, len(tagger.metadata.features.templates))
        inputs["subword_ids"] = random.integers(0, tagger.metadata.features.buckets, size, dtype=np.int32)
    lengths = random.integers(0, length + 1, rows).astype(np.int32)
    lengths[0], lengths[-1] = 0, length
    return inputs | {"lengths": lengths}


@pytest.mark.parametrize("form", models.FORMS)
def test_completed_files_answer_as_pytorch_does(tagger, form, tmp_path):
    predictor = Predictor.load(tagger.write(tmp_path, form))
    assert predictor.metadata.graph_form == form
    assert len(predictor.metadata.golden) == 6
    assert not check_golden(predictor).failures
    random, proof = np.random.default_rng(5), Proof()
    for rows, length in ((1, 1), (2, 1), (2, 7), (12, 60)):
        inputs = _ragged(tagger, random, rows, length)
        found = predictor.session.run(inputs)
        alone = tagger.oracle.alone(inputs)
        proof.compare(found, alone, inputs["lengths"], predictor.metadata.crf)
        np.testing.assert_allclose(tagger.oracle.scores(inputs), alone, rtol=1e-5, atol=1e-5)
    assert proof.holds, proof.summary()
    valid = found.tag_ids[found.tag_ids >= 0]
    assert np.bincount(valid).max() < 0.7 * len(valid)
    assert len(np.unique(valid)) > 4


def test_a_completed_file_lacks_nothing_and_is_read_without_onnx(tagger, tmp_path):
    file = read_model_file(tagger.write(tmp_path, "sequence_lens"))
    made = {name for node in file.nodes for name in node.outputs} | {"word_ids", "subword_ids", "lengths", ""}
    assert {name for node in file.nodes for name in node.inputs} <= made | set(file.initializers)
    assert file.initializers["word_table"].shape == (302, 24)


def test_words_are_different_and_the_same_again():
    words = models.made_up_words(5000, np.random.default_rng(1))
    assert len(set(words)) == 5000
    assert words == models.made_up_words(5000, np.random.default_rng(1))


def test_a_rehearsal_needs_numpy_torch_and_onnxruntime_alone(bare_machine, tmp_path):
    done = bare_machine("--provider", "cpu", "--quick", "--only", "parity,speed", "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["cpu-rehearsal.json", "cpu-rehearsal.md"]
    text = (tmp_path / "out" / "cpu-rehearsal.json").read_text()
    result = json.loads(text)
    assert str(tmp_path) not in text
    assert str(ROOT) not in text
    assert list(result["parts"]) == PARTS
    assert {entry["part"] for entry in result["not_run"]} == {
        "tests",
        "probe: memory runs out",
        "speed: arena and TF32",
        "parity: TF32",
    }
    assert not result["failed"]
    assert set(result["unproved"]) > {"tests", "several GPUs"}
    assert "rehearsal" in result["rehearsal"]
    figures = {row["figure"]: row for row in result["targets"]}
    assert all(row["predicted"] is not None for row in figures.values())
    assert figures["tags that differ from PyTorch's, ties apart"]["got"] == 0
    assert figures["scores beyond 1e-5 + 1e-5 |value| from PyTorch's"]["met"] is True
    assert figures["words to tags / bare session"]["got"] > 0
    assert figures["tests marked gpu that fail"] | {"predicted": 0} == {
        "figure": "tests marked gpu that fail",
        "asked": "0",
        "predicted": 0,
        "got": None,
        "met": None,
    }
    parity = result["parts"]["parity: small and middling batches"]
    assert {case["empty_rows"] > 0 for case in parity["cases"]} == {True, False}
    assert max(case["kinds_of_tags"] for case in parity["cases"]) > 4
    assert result["parts"]["probe: import order"]["same_tags"]
    table = (tmp_path / "out" / "cpu-rehearsal.md").read_text()
    assert table == targets.table(result) + "\n"
    assert "says nothing of a GPU" in table


def test_tests_for_a_gpu_are_found_and_told_as_skipped_without_one(bare_machine, tmp_path):
    if not (ROOT / "tests" / "gpu").is_dir():
        pytest.skip("there is no folder tests/gpu")
    done = bare_machine("--provider", "cpu", "--quick", "--only", "tests", "--output", tmp_path)
    result = json.loads((tmp_path / "cpu-rehearsal.json").read_text())
    assert not result["failed"]
    assert "tests" not in result["parts"], result["parts"]["tests"]
    assert next(e["why"] for e in result["not_run"] if e["part"] == "tests").startswith("all were skipped")
    assert done.returncode == 0


def test_what_does_not_fit_into_the_time_is_told_and_not_invented(bare_machine, tmp_path):
    done = bare_machine("--provider", "cpu", "--only", "speed", "--seconds", "1", "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "cpu-rehearsal.json").read_text())
    assert result["parts"] == {}
    assert all(row["got"] is None and row["met"] is None for row in result["targets"])
    assert "were left of the time" in {e["part"]: e["why"] for e in result["not_run"]}["speed: bare"]


@pytest.mark.parametrize("output", [[], ["--output", str(ROOT / "benchmarks" / "results")]])
def test_a_rehearsal_is_no_result_to_keep(bare_machine, output):
    done = bare_machine("--provider", "cpu", "--quick", *output)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "pass an --output" in done.stderr


def test_without_cuda_it_says_why_in_one_line_and_writes_nothing(bare_machine, tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    out = tmp_path / "out"
    done = bare_machine("--output", out)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "CUDA is not available: " in done.stderr
    assert not out.exists()


def test_a_wheel_that_cannot_be_installed_is_one_line(bare_machine, tmp_path):
    wheel = tmp_path / "onnxruntime_gpu-1.0-py3-none-any.whl"
    wheel.write_bytes(b"no zip")
    done = bare_machine("--wheel", wheel, "--output", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"pip cannot install {wheel}" in done.stderr
    assert not (tmp_path / "out").exists()
