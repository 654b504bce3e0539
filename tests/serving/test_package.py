"""The folder that `lstm-deploy package` writes, without any server."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner
from served import CLOSED, MODEL, SEGMENTER, STREAMING

from lstm_deploy.cli import main
from lstm_deploy.errors import InputError, ModelFileError, OutputError
from lstm_deploy.serving.package import TARGETS, Settings, package

SETTINGS = Settings("my-tagger", "cpu", 1, 16, 5)


def _run(*arguments):
    return CliRunner().invoke(main, ["package", *map(str, arguments)])


@pytest.mark.parametrize("target", TARGETS)
def test_folder_is_whole_and_has_the_model_as_it_was(target, tmp_path):
    files = package(MODEL, target, tmp_path / "new" / "served", SETTINGS)
    folder = tmp_path / "new" / "served"
    assert sorted(path.name for path in folder.iterdir()) == files
    assert [path.name for path in folder.parent.iterdir()] == ["served"]
    assert (folder / "model.onnx").read_bytes() == MODEL.read_bytes()
    requirements = (folder / "requirements.txt").read_text().splitlines()
    assert requirements[0].startswith("lstm-deploy[cpu]>=")
    assert all(">=" in line for line in requirements)
    readme = (folder / "README.md").read_text()
    assert "$" not in readme
    assert "pip install --requirement requirements.txt" in readme
    assert "curl " in readme


def test_settings_stand_where_mlserver_reads_them(tmp_path):
    package(MODEL, "mlserver", tmp_path / "served", SETTINGS)
    model = json.loads((tmp_path / "served" / "model-settings.json").read_bytes())
    assert (model["name"], model["max_batch_size"], model["max_batch_time"]) == ("my-tagger", 16, 0.005)
    assert json.loads((tmp_path / "served" / "settings.json").read_bytes())["parallel_workers"] == 0


def test_settings_stand_where_ray_serve_reads_them(tmp_path):
    yaml = pytest.importorskip("yaml")
    package(MODEL, "ray-serve", tmp_path / "served", Settings("on", "cuda", 3, 16, 0.5))
    config = yaml.safe_load((tmp_path / "served" / "serve_config.yaml").read_text())
    (app,) = config["applications"]
    (tagger,) = app["deployments"]
    assert (app["name"], app["args"]["name"], app["args"]["provider"]) == ("on", "on", "cuda")
    assert (tagger["num_replicas"], tagger["max_ongoing_requests"]) == (3, 32)
    assert tagger["user_config"] == {"max_batch_size": 16, "batch_wait_ms": 0.5}
    assert tagger["ray_actor_options"] == {"num_cpus": 1, "num_gpus": 1}
    assert (tmp_path / "served" / "requirements.txt").read_text().startswith("lstm-deploy[gpu]>=")


def test_nothing_is_written_over(tmp_path):
    kept = tmp_path / "kept"
    kept.write_text("mine")
    for output in (tmp_path, kept):
        with pytest.raises(OutputError, match="expected a new or an empty folder; pass another --output"):
            package(MODEL, "mlserver", output, SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert kept.read_text() == "mine"
    (tmp_path / "empty").mkdir()
    assert package(MODEL, "mlserver", tmp_path / "empty", SETTINGS)


def test_a_folder_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(OutputError, match="No space left on device"):
        package(MODEL, "ray-serve", tmp_path / "served", SETTINGS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("model", "error"), [(STREAMING, "a streaming file"), (SEGMENTER, "a segmenter"), ("absent.onnx", "absent.onnx")]
)
def test_models_that_no_server_can_ask_are_refused(model, error, tmp_path):
    done = _run(model, "--target", "ray-serve", "--output", tmp_path / "served")
    assert done.exit_code == 1
    assert error in done.output
    assert done.output.count("\n") == 1
    assert not (tmp_path / "served").exists()


def test_the_command_says_what_it_wrote(tmp_path):
    done = _run(CLOSED, "--target", "mlserver", "--output", tmp_path / "served")
    assert done.exit_code == 0, done.output
    assert "README.md says how to start" in done.output
    assert json.loads((tmp_path / "served" / "model-settings.json").read_bytes())["name"] == "characters-crf"


def test_names_and_replicas_that_cannot_be_are_refused(tmp_path):
    for name in ("", "a/b", "../x", "a b", "x" * 64, '"', "é"):
        with pytest.raises(InputError, match="pass --name"):
            package(MODEL, "mlserver", tmp_path / "served", Settings(name))
    with pytest.raises(InputError, match="use --target ray-serve"):
        package(MODEL, "mlserver", tmp_path / "served", Settings("x", replicas=2))
    with pytest.raises(ModelFileError):
        package(tmp_path / "absent.onnx", "mlserver", tmp_path / "served", Settings("x"))


def test_packaging_needs_no_server(tmp_path):
    block = (
        "import sys\nfor name in ('ray', 'starlette', 'mlserver', 'yaml', 'torch', 'onnx'): sys.modules[name] = None\n"
    )
    call = f"main(['package', {str(MODEL)!r}, '--target', 'ray-serve', '--output', 'served'])"
    code = f"{block}from lstm_deploy.cli import main\n{call}"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
