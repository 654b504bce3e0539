"""Spoilt metadata blocks through the reader; what it takes has to be of use, and come out as it went in."""

import json
from typing import Any

import numpy as np

from .classes import FuzzClass, Wrong
from .mutation import load_seeds, mutated

TEXT = "The cat didn't see Mr. Lee's 3 fish (twice!) naïve 東京 👩‍🚀 a.b"


class Metadata(FuzzClass):
    """A string map a case."""

    name = "metadata"
    about = (
        "the metadata of models, its JSON and its bytes changed, through the reader; what it takes is used and written"
    )
    wanted = 100_000
    memory = 2 << 30

    def prepare(self) -> None:
        """Reads the seeds."""
        import lstm_deploy.encoding
        import lstm_deploy.metadata  # noqa: F401 - imported before the fork

        self.seeds = load_seeds()

    def case(self, index: int) -> dict[str, str]:
        """The map."""
        return mutated(self.drawn(index), self.seeds)

    def one(self, case: dict[str, str]) -> str:
        """Refused, or of use."""
        from lstm_deploy.metadata import ModelMetadata

        metadata = ModelMetadata.from_properties(case, source="model.onnx")
        written = metadata.to_properties()
        again = ModelMetadata.from_properties(written, source="model.onnx").to_properties()
        if again != written:
            keys = [key for key in written if written[key] != again.get(key)]
            raise Wrong(f"what was read and written reads as something else: {keys}")
        self._use(metadata)
        return "answered"

    def _use(self, metadata: Any) -> None:
        from lstm_deploy.encoding import Encoder
        from lstm_deploy.errors import UnknownCharacterError, UnknownWordError
        from lstm_deploy.inspection import printable

        tokens, spans = metadata.tokenizer.cut(TEXT)
        if metadata.tokenizer.kind != "characters" and any(
            TEXT[a:b] != t for t, (a, b) in zip(tokens, spans, strict=True)
        ):
            raise Wrong("offsets are not those of the tokens")
        for name in metadata.tags:
            json.dumps(printable(name))
        try:
            inputs = Encoder(metadata.vocabulary, metadata.features, metadata.characters).encode([tokens, tokens[:1]])
        except (UnknownWordError, UnknownCharacterError):
            return
        for spec in metadata.inputs():
            if "rows" in spec:
                ids = np.asarray(inputs[spec["name"]])
                if ids.min() < 0 or ids.max() >= spec["rows"]:
                    raise Wrong(f"{spec['name']} from {ids.min()} to {ids.max()} of {spec['rows']} rows")


CLASSES = (Metadata(),)
