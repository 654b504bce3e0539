"""Checkpoint to file: complete metadata, same bytes twice, clear refusals, verification afterwards."""

import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from lstm_deploy import Predictor
from lstm_deploy.cli import main
from lstm_deploy.errors import CheckpointError, OutputError
from lstm_deploy.export.exporter import export_checkpoint, export_model
from lstm_deploy.golden import check_golden


def test_metadata_is_complete(make_tagger, tmp_path):
    checkpoint, model = make_tagger(layers=2)
    proof = export_model(checkpoint, model, tmp_path / "m.onnx").proof
    metadata = Predictor.load(tmp_path / "m.onnx").metadata
    assert metadata.vocabulary.words == checkpoint.vocabulary.words
    assert metadata.tags == checkpoint.tags
    assert metadata.tokenizer == checkpoint.tokenizer
    assert metadata.features == checkpoint.features
    assert metadata.proof == proof.to_json()
    assert {"lstm_deploy", "torch", "onnx", "onnxruntime", "numpy"} <= set(metadata.versions)
    assert metadata.training["licence"] == "none"
    assert metadata.training["recipe"]["model"]["hidden"] == 5


def test_golden_cases_hold_texts_unknown_words_and_a_single_word(make_tagger, tmp_path):
    export_model(*make_tagger(), tmp_path / "m.onnx")
    predictor = Predictor.load(tmp_path / "m.onnx")
    cases = predictor.metadata.golden
    unknown = predictor.metadata.vocabulary.unknown_id
    assert any(case.text for case in cases)
    assert any(set(case.inputs["word_ids"]) == {unknown} for case in cases)
    assert any(len(case.tokens) == 1 for case in cases)
    assert any(any(ord(char) > 0xFFFF for token in case.tokens for char in token) for case in cases)
    assert not check_golden(predictor).failures


def test_the_same_checkpoint_gives_the_same_bytes(make_tagger, save_checkpoint, tmp_path):
    folder = save_checkpoint(tmp_path / "checkpoint", *make_tagger())
    for name in ("a.onnx", "b.onnx"):
        export_checkpoint(folder, tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_folders_are_made_for_the_output(make_tagger, tmp_path):
    export_model(*make_tagger(), tmp_path / "new" / "folder" / "m.onnx")
    assert (tmp_path / "new" / "folder" / "m.onnx").exists()


def test_unwritable_output_is_one_clear_error(make_tagger, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot make the folder"):
        export_model(*make_tagger(), tmp_path / "file" / "m.onnx")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="cannot write"):
        export_model(*make_tagger(), tmp_path / "folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_missing_checkpoint_says_what_to_run(tmp_path):
    with pytest.raises(CheckpointError, match="lstm-deploy train"):
        export_checkpoint(tmp_path / "nothing", tmp_path / "m.onnx")


def test_without_onnxruntime_one_line_says_what_to_install(tmp_path):
    code = "import sys; sys.modules['onnxruntime'] = None; from lstm_deploy.cli import main; main(['export'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "pip install 'lstm-deploy[cpu]'" in done.stderr


def test_verify_with_the_checkpoint_and_a_corpus(make_tagger, save_checkpoint, tmp_path):
    folder = save_checkpoint(tmp_path / "checkpoint", *make_tagger())
    export_checkpoint(folder, tmp_path / "m.onnx")
    (tmp_path / "text.txt").write_text("The cat ate fish.\n\nDon't!\n" * 20, encoding="utf-8")
    arguments = [str(tmp_path / "m.onnx"), "--checkpoint", str(folder), "--input", str(tmp_path / "text.txt"), "--json"]
    done = CliRunner().invoke(main, ["verify", *arguments])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["ok"]
    assert report["proof"]["tag_differences"] == report["corpus"]["tag_differences"] == 0
    assert report["corpus"]["tokens"] == 20 * 8


def test_verify_fails_where_the_weights_are_others(make_tagger, save_checkpoint, tmp_path):
    export_model(*make_tagger(seed=1), tmp_path / "m.onnx")
    other = save_checkpoint(tmp_path / "other", *make_tagger(seed=2))
    done = CliRunner().invoke(main, ["verify", str(tmp_path / "m.onnx"), "--checkpoint", str(other)])
    assert done.exit_code == 1
    assert "not verified" in done.stderr


def test_verify_refuses_a_checkpoint_of_another_tagger(make_tagger, save_checkpoint, tmp_path):
    export_model(*make_tagger(subwords=True), tmp_path / "m.onnx")
    other = save_checkpoint(tmp_path / "other", *make_tagger(subwords=False))
    done = CliRunner().invoke(main, ["verify", str(tmp_path / "m.onnx"), "--checkpoint", str(other)])
    assert done.exit_code == 1
    assert "another tagger" in done.stderr


def test_train_export_verify_and_run_need_no_path(tmp_path):
    def command(*arguments):
        code = f"from lstm_deploy.cli import main; main({list(arguments)!r})"
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )

    command("train")
    command("export")
    command("verify")
    assert command("run", "They ate the fish").stdout == "They\tNN\nate\tV\nthe\tDET\nfish\tNN\n\n"
