"""Models by name, and which one is taken where none is named."""

import json
import shutil

import pytest
from click.testing import CliRunner
from model_files import SUBWORD, TUTORIAL

from lstm_deploy import models
from lstm_deploy.cli import main
from lstm_deploy.errors import ModelFileError
from lstm_deploy.models import default_model, find_model, installed_models

FISH = "They\tNN\nate\tV\nthe\tDET\nfish\tNN\n\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A package with two models, run in a folder without any."""
    (tmp_path / "package").mkdir()
    shutil.copy(TUTORIAL, tmp_path / "package" / "en-upos.onnx")
    shutil.copy(TUTORIAL, tmp_path / "package" / "tutorial.onnx")
    (tmp_path / "here").mkdir()
    monkeypatch.setattr(models, "_BUNDLED", (tmp_path / "package", tmp_path / "nowhere"))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def _export(folder, name, source=SUBWORD):
    (folder / "here" / "exported").mkdir(exist_ok=True)
    shutil.copy(source, folder / "here" / "exported" / name)


def _run(*arguments, **options):
    return CliRunner().invoke(main, list(map(str, arguments)), **options)


def test_without_a_name_it_is_what_was_exported_here_else_the_one_of_the_package(folder):
    assert default_model() == folder / "package" / "en-upos.onnx"
    done = _run("run", "They ate the fish")
    assert done.stdout == FISH
    assert done.stderr == f"model: {folder / 'package' / 'en-upos.onnx'}\n"
    _export(folder, "tagger.onnx")
    done = _run("run", "Ann ate")
    assert done.stderr == "model: exported/tagger.onnx\n"
    assert json.loads(_run("inspect", "--json").stdout)["file"] == "exported/tagger.onnx"


def test_without_any_model_the_cure_is_told(folder):
    (folder / "package" / "en-upos.onnx").unlink()
    for command in (["run", "x"], ["inspect"], ["verify"], ["bench"], ["conformance"]):
        done = _run(*command)
        assert done.exit_code == 1
        assert done.stderr.count("\n") == 1
        assert "none came with the package; name one with --model, or make one" in done.stderr


@pytest.mark.parametrize("command", [["run", "--model", "tutorial", "They ate the fish"], ["verify", "tutorial"]])
def test_commands_take_names(folder, command):
    done = _run(*command)
    assert done.exit_code == 0, done.stderr
    assert done.stderr == ""


def test_a_model_here_hides_one_of_the_package_of_the_same_name(folder):
    _export(folder, "tutorial.onnx")
    assert find_model("tutorial").read_bytes() == SUBWORD.read_bytes()
    assert [(m.name, m.bundled) for m in installed_models()] == [("en-upos", True), ("tutorial", False)]


def test_a_path_is_a_path(folder):
    _export(folder, "other.onnx")
    assert str(find_model("exported/other.onnx")) == "exported/other.onnx"
    assert str(find_model("gone.onnx")) == "gone.onnx"
    assert str(find_model("exported/gone")) == "exported/gone"
    (folder / "here" / "tutorial").write_text("no model")
    assert str(find_model("tutorial")) == "tutorial"


def test_an_unknown_name_is_told_with_those_there_are(folder):
    with pytest.raises(ModelFileError, match=r"nope: no model of that name .* one of en-upos, tutorial; list them"):
        find_model("nope")
    done = _run("run", "--model", "nope", "x")
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1


def test_models_lists_them_with_licence_and_size(folder):
    _export(folder, "mine.onnx")
    (folder / "here" / "exported" / "broken.onnx").write_bytes(b"no model")
    listed = {each["name"]: each for each in json.loads(_run("models", "--json").stdout)}
    assert list(listed) == ["broken", "en-upos", "mine", "tutorial"]
    assert "not an ONNX model" in listed["broken"]["about"]
    assert listed["tutorial"]["licence"] == "public domain"
    assert listed["mine"]["bytes"] == SUBWORD.stat().st_size
    assert [name for name, each in listed.items() if each["bundled"]] == ["en-upos", "tutorial"]
    lines = _run("models").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(listed)
    assert "licence public domain" in lines[3]


def test_an_error_before_the_first_answer_is_still_one_line(folder):
    (folder / "here" / "bad.txt").write_bytes(b"\xff\n")
    done = _run("run", "--input", "bad.txt")
    assert done.stderr.startswith("Error: bad.txt:1: not UTF-8")
    assert done.stderr.count("\n") == 1
