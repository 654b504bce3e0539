"""Writes graphs/: what our exporter makes of taggers of several shapes, without weights, a few kB each.

    python benchmarks/gpu/graphs.py

For development only: needs onnx and torch. `models.complete` puts weights and metadata back without either: a
skeleton is a whole ONNX file that lacks constants, which go to the end of its graph, and graphs/index.json says which.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx

from lstm_deploy.crf import Crf
from lstm_deploy.export.graph import tagger_model
from lstm_deploy.export.stored import StoredTagger
from lstm_deploy.export.targets import TARGETS, targeted
from lstm_deploy.features import SubwordFeatures
from lstm_deploy.metadata import ModelMetadata
from lstm_deploy.tokenizer import Tokenizer
from lstm_deploy.training.config import ModelConfig
from lstm_deploy.training.model import LSTMTagger
from lstm_deploy.vocabulary import Vocabulary

FOLDER = Path(__file__).resolve().parent / "graphs"
INDEX = "index.json"
TAGS, CRF_TAGS = 17, 9
_FORMS = {TARGETS[target].form: target for target in ("portable", "onnxruntime")}


@dataclass(frozen=True)
class Shape:
    """What is fixed in a graph; the numbers of words, features and of the embedding's components are not."""

    layers: int
    hidden: int
    bidirectional: bool = True
    subwords: bool = False
    crf: bool = False

    def name(self, form: str) -> str:
        """Name of the skeleton in a form."""
        parts = [form, f"l{self.layers}", f"h{self.hidden}"]
        flags = [("uni", not self.bidirectional), ("sub", self.subwords), ("crf", self.crf)]
        return "-".join(parts + [flag for flag, there in flags if there])


SHAPES = (
    *(Shape(layers, 128) for layers in (1, 2, 3)),
    *(Shape(layers, 128, bidirectional=False) for layers in (1, 2, 3)),
    Shape(1, 128, subwords=True),
    Shape(1, 128, crf=True),
    Shape(2, 512),
    Shape(2, 512, subwords=True),
)


def build() -> dict[str, bytes]:
    """Every file of the folder: name -> bytes, the same whenever the exporter is."""
    index: dict[str, object] = {}
    files: dict[str, bytes] = {}
    for shape in SHAPES:
        for form, model in _models(shape):
            name = shape.name(form)
            weights = _strip(model)
            index[name] = {"form": form, **asdict(shape), "tags": CRF_TAGS if shape.crf else TAGS, "weights": weights}
            files[f"{name}.onnx"] = model.SerializeToString(deterministic=True)
    lines = [f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in index.items()]
    return files | {INDEX: ("{\n" + ",\n".join(lines) + "\n}\n").encode()}


def _models(shape: Shape) -> Iterator[tuple[str, onnx.ModelProto]]:
    """(form, model as the exporter makes it, but for its metadata) in each form."""
    config = ModelConfig(
        layers=shape.layers, hidden=shape.hidden, bidirectional=shape.bidirectional, subwords=shape.subwords, buckets=2
    )
    vocabulary = Vocabulary.from_words(["word"], case=config.case)
    features = SubwordFeatures(config.templates, config.buckets) if config.subwords else None
    tags = tuple(f"T{i}" for i in range(CRF_TAGS if shape.crf else TAGS))
    none = np.zeros(len(tags), np.float32)
    crf = Crf(np.zeros((len(tags), len(tags)), np.float32), none, none) if shape.crf else None
    metadata = ModelMetadata(vocabulary, tags, Tokenizer(), features=features, crf=crf)
    tagger = StoredTagger(LSTMTagger(config, words=len(vocabulary), tags=len(tags)), vocabulary, features, "fp32")
    for form, target in _FORMS.items():
        yield form, targeted(tagger_model(tagger, metadata), metadata, target).graph


def _strip(model: onnx.ModelProto) -> list[str]:
    """Takes every float32 constant out; their names."""
    weights = [c.name for c in model.graph.initializer if c.data_type == onnx.TensorProto.FLOAT]
    kept = [c for c in model.graph.initializer if c.data_type != onnx.TensorProto.FLOAT]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    return weights


def main() -> None:
    """Writes the folder anew."""
    FOLDER.mkdir(exist_ok=True)
    files = build()
    for path in FOLDER.iterdir():
        if path.name not in files:
            path.unlink()
    for name, data in files.items():
        (FOLDER / name).write_bytes(data)
        print(name, f"{len(data):,} bytes", sep="\t")


if __name__ == "__main__":
    main()
