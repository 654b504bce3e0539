"""Makes subword.onnx and subword-int8.onnx: a tiny two-layer bidirectional tagger, random weights, IOB2 tags.

    python tests/runtime/data/make_models.py

Needs torch and onnx; what it makes is committed, so that the runtime tests need neither.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from lstm_deploy.export.cost import Rounding
from lstm_deploy.export.exporter import export_model
from lstm_deploy.tokenizer import Tokenizer
from lstm_deploy.training.checkpoint import Checkpoint
from lstm_deploy.training.config import ModelConfig, Recipe
from lstm_deploy.vocabulary import Vocabulary

TEXT = "the cat ate fish Ann Lee went to Oslo in May . , ! n't do 's Mr. 3 straße Ελλάδα naïve 東京"
TAGS = ("B-LOC", "B-PER", "I-LOC", "I-PER", "O")


def main() -> None:
    """Writes the files beside this script."""
    torch.manual_seed(7)
    checkpoint = Checkpoint(
        Recipe(ModelConfig(embedding=6, hidden=4, layers=2, buckets=64)),
        Vocabulary.from_words(TEXT.split()),
        TAGS,
        Tokenizer("words", frozenset({"Mr.", ":)"}), ("'s", "n't"), "-"),
        provenance={"licence": "none: random weights", "versions": {"torch": torch.__version__}},
        samples=[{"tokens": ["Mr.", "Lee", "did", "n't", "go", "."], "text": "Mr. Lee didn't go."}],
    )
    model = checkpoint.new_model()
    with torch.no_grad():  # far from uniform, so that tags vary
        for parameter in (*model.lstm.parameters(), *model.head.parameters()):
            parameter.mul_(3)
    folder = Path(__file__).parent
    export_model(checkpoint, model, folder / "subword.onnx")
    with TemporaryDirectory() as scratch:
        dev = Path(scratch) / "dev.conll"
        dev.write_text("Ann\tB-PER\nwent\tO\n\n", encoding="utf-8")
        export_model(checkpoint, model, folder / "subword-int8.onnx", Rounding("int8", dev, max_drop=100))


if __name__ == "__main__":
    main()
