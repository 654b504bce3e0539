"""A card travels in the file, and the same checkpoint with the same card gives the same bytes."""

import hashlib
import json
import math
import os
import subprocess
import sys

import onnx
import pytest
import torch
from click.testing import CliRunner

from lstm_deploy import Predictor
from lstm_deploy.cli import main
from lstm_deploy.errors import InputError
from lstm_deploy.export.exporter import export_model, write
from lstm_deploy.export.module import export_module
from lstm_deploy.golden import check_golden
from lstm_deploy.modelfile import read_model_file

CARD = """
description = "Tags."
licence = "CC0-1.0"
[[data]]
name = "Pets"
licence = "CC BY 4.0"
"""


NEW = {"name": "pet", "description": "Tags.", "licence": "MIT", "data": [{"name": "Pets", "licence": "MIT"}]}


@pytest.fixture
def checkpoint(tmp_path, make_tagger, save_checkpoint):
    (tmp_path / "card.toml").write_text(CARD)
    return save_checkpoint(tmp_path / "checkpoint", *make_tagger())


def _export(checkpoint, output, card):
    return CliRunner().invoke(
        main, list(map(str, ["export", checkpoint, "--output", output, "--card", card])), catch_exceptions=False
    )


def test_export_puts_the_card_in_and_changes_nothing_else(checkpoint, tmp_path):
    done = _export(checkpoint, tmp_path / "pet.onnx", tmp_path / "card.toml")
    assert done.exit_code == 0, done.stderr
    assert (
        CliRunner().invoke(main, ["export", str(checkpoint), "--output", str(tmp_path / "plain.onnx")]).exit_code == 0
    )
    card, plain = (onnx.load(tmp_path / name) for name in ("pet.onnx", "plain.onnx"))
    assert card.graph == plain.graph
    properties = read_model_file(tmp_path / "pet.onnx").properties
    added = {"lstm_deploy.card": properties["lstm_deploy.card"]}
    assert properties == read_model_file(tmp_path / "plain.onnx").properties | added
    assert json.loads(added["lstm_deploy.card"])["name"] == "pet"


@pytest.mark.parametrize("line", ['licence = "CC BY 4.0"\n', 'licence = "CC0-1.0"\n'])
def test_without_a_licence_nothing_is_exported(checkpoint, tmp_path, line):
    (tmp_path / "card.toml").write_text(CARD.replace(line, ""))
    done = _export(checkpoint, tmp_path / "pet.onnx", tmp_path / "card.toml")
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
    assert "has no licence" in done.stderr
    assert not (tmp_path / "pet.onnx").exists()


def test_a_new_card_takes_the_place_of_the_old(checkpoint, tmp_path):
    path = tmp_path / "pet.onnx"
    _export(checkpoint, path, tmp_path / "card.toml")
    before = onnx.load(path)
    new = NEW | {"name": "new"}
    write(path.read_bytes(), path, new)
    after = onnx.load(path)
    assert after.graph == before.graph
    predictor = Predictor.load(path)
    assert predictor.metadata.card == new
    assert not check_golden(predictor).failures
    first = path.read_bytes()
    write(first, path, new)
    assert path.read_bytes() == first


def test_what_is_no_whole_card_is_refused_before_anything_is_made(tmp_path, make_tagger):
    output, broken = tmp_path / "pet.onnx", {**NEW, "scores": [{"split": "x", "gold": "X", "figures": {"f": math.nan}}]}
    for make in (
        lambda card: write(b"", output, card),
        lambda card: export_model(None, None, output, card=card),
        lambda card: export_module(torch.nn.Linear(1, 1), output, vocabulary=[], tags=[], card=card),
    ):
        for card, reason in (({"name": "new"}, "has no description"), (broken, "not finite numbers")):
            with pytest.raises(InputError, match=f"^the card .*{reason}.*; see FORMAT.md, section 11$"):
                make(card)
    assert not output.exists()


def test_the_same_checkpoint_gives_the_same_bytes_wherever_and_whenever(checkpoint, tmp_path):
    """In processes with other hash seeds, times, zones, working folders, homes and paths of input and output."""
    script = "from lstm_deploy.cli import main; main()"
    hashes = set()
    for run, zone in (("1", "UTC"), ("2", "Asia/Tokyo")):
        folder = tmp_path / f"run {run}"
        folder.mkdir()
        (tmp_path / "checkpoint").rename(folder / "checkpoint")
        (tmp_path / "card.toml").rename(folder / "card.toml")
        command = ["export", "checkpoint", "--output", "pet.onnx", "--card", "card.toml"]
        environment = os.environ | {"PYTHONHASHSEED": run, "TZ": zone, "HOME": str(folder)}
        subprocess.run([sys.executable, "-c", script, *command], cwd=folder, env=environment, check=True)
        hashes.add(hashlib.sha256((folder / "pet.onnx").read_bytes()).hexdigest())
        (folder / "checkpoint").rename(tmp_path / "checkpoint")
        (folder / "card.toml").rename(tmp_path / "card.toml")
    assert len(hashes) == 1
