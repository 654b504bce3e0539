"""Other sizes of the same architecture, with random weights: speed does not depend on what was learnt."""

from dataclasses import replace
from pathlib import Path

import torch

from lstm_deploy.export.cost import Rounding
from lstm_deploy.export.exporter import export_model
from lstm_deploy.training.checkpoint import WEIGHTS, load_description, save_tensors

SIZES = ((64, 1), (128, 1), (256, 1), (512, 1), (128, 2), (256, 2))
"""(hidden size per direction, layers)."""


def make(source: Path, folder: Path, hidden: int, layers: int, gold: Path) -> None:
    """Writes a checkpoint, fp32.onnx and int8.onnx into ``folder``: the tagger in ``source`` with another LSTM."""
    torch.manual_seed(0)
    checkpoint = load_description(source)
    recipe = checkpoint.recipe
    checkpoint.recipe = replace(recipe, model=replace(recipe.model, hidden=hidden, layers=layers))
    model = checkpoint.new_model().eval()
    folder.mkdir()
    save_tensors(folder / WEIGHTS, model.state_dict())
    checkpoint.save_description(folder)
    export_model(checkpoint, model, folder / "fp32.onnx")
    export_model(checkpoint, model, folder / "int8.onnx", Rounding("int8", gold, max_drop=100))
