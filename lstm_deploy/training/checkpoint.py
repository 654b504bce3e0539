"""A trained tagger as a folder without pickle: ``tagger.json`` and ``model.safetensors``.

Beside them: ``training-log.jsonl``, ``learning-curve.png`` and, while a run is unfinished,
``resume.safetensors``. Every file appears whole or not at all.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from ..encoding import Encoder
from ..errors import CheckpointError
from ..features import SubwordFeatures
from ..formats import atomic_output
from ..tokenizer import Tokenizer
from ..vocabulary import Vocabulary
from .config import Recipe
from .model import LSTMTagger

DESCRIPTION, WEIGHTS, RESUME, LOG, CURVE = (
    "tagger.json",
    "model.safetensors",
    "resume.safetensors",
    "training-log.jsonl",
    "learning-curve.png",
)


@dataclass
class Checkpoint:
    """Everything that defines a tagger, and where it came from.

    Attributes:
        provenance: data files with their hashes, scores, versions.
        samples: a few sentences (tokens, and text where there is one) for the golden cases.
        weights_sha256: of the weights' file that this was read beside; "" where that is not known.
    """

    recipe: Recipe
    vocabulary: Vocabulary
    tags: tuple[str, ...]
    tokenizer: Tokenizer
    provenance: dict[str, Any] = field(default_factory=dict)
    samples: list[dict[str, Any]] = field(default_factory=list)
    weights_sha256: str = ""

    @property
    def features(self) -> SubwordFeatures | None:
        """The feature spec, for a model with subwords."""
        model = self.recipe.model
        return SubwordFeatures(model.templates, model.buckets) if model.subwords else None

    def encoder(self) -> Encoder:
        """The predictor's own encoder, for this tagger."""
        return Encoder(self.vocabulary, self.features)

    def new_model(self) -> LSTMTagger:
        """The architecture with fresh weights.

        Raises:
            CheckpointError: it does not fit into memory.
        """
        try:
            return LSTMTagger(self.recipe.model, words=len(self.vocabulary), tags=len(self.tags))
        except (MemoryError, RuntimeError) as e:  # torch has no class of its own for a CPU out of memory
            reason = " ".join(str(e).split())
            raise CheckpointError(
                f"the model cannot be made ({reason:.160}); lower --hidden, --embedding, --layers or --buckets"
            ) from e

    def save_description(self, folder: Path) -> None:
        """Writes ``tagger.json``, which says what ``model.safetensors`` beside it is: that has to be written before."""
        value = {
            "recipe": self.recipe.to_json(),
            "words": self.vocabulary.words,
            "unknown_id": self.vocabulary.unknown_id,
            "padding_id": self.vocabulary.padding_id,
            "tags": self.tags,
            "tokenizer": self.tokenizer.to_json(),
            "provenance": self.provenance,
            "samples": self.samples,
            "weights_sha256": hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest(),
        }
        with atomic_output(folder / DESCRIPTION) as stream:
            stream.write(json.dumps(value, ensure_ascii=False, indent=1).encode())


def load_checkpoint(folder: str | Path) -> tuple[Checkpoint, LSTMTagger]:
    """The tagger in ``folder`` with its weights, in evaluation mode.

    Raises:
        CheckpointError: missing, unfinished or not a checkpoint.
    """
    folder = Path(folder)
    checkpoint = load_description(folder)
    try:
        model = checkpoint.new_model()
        content = (folder / WEIGHTS).read_bytes()  # a mapped file may be cut under us
        model.load_state_dict(load(content))
    except FileNotFoundError as e:
        raise CheckpointError(f"{folder}: no {WEIGHTS}; finish the run with `lstm-deploy train ... --resume`") from e
    except (SafetensorError, OSError, RuntimeError, TypeError, ValueError) as e:
        reason = " ".join(str(e).split())
        raise CheckpointError(f"{folder / WEIGHTS}: not the weights of this tagger ({reason:.200}); train again") from e
    if checkpoint.weights_sha256 not in ("", hashlib.sha256(content).hexdigest()):
        raise CheckpointError(
            f"{folder}: {WEIGHTS} and {DESCRIPTION} are of two runs, the later was stopped in between; finish it with "
            "`lstm-deploy train ... --resume`, or train again"
        )
    return checkpoint, model.eval()


def load_description(folder: Path) -> Checkpoint:
    """What ``tagger.json`` says.

    Raises:
        CheckpointError: missing or malformed.
    """
    path = folder / DESCRIPTION
    try:
        value = json.loads(path.read_bytes())
        recipe = Recipe.from_json(value["recipe"])
        return Checkpoint(
            recipe,
            Vocabulary(
                value["words"],
                unknown_id=value["unknown_id"],
                padding_id=value["padding_id"],
                case=recipe.model.case,
            ),
            tuple(value["tags"]),
            Tokenizer.from_json(value["tokenizer"]),
            {**value["provenance"], "versions": dict(value["provenance"]["versions"])},
            [{"tokens": list(sample["tokens"]), "text": sample["text"]} for sample in value["samples"]],
            value.get("weights_sha256", ""),  # earlier versions did not say
        )
    except OSError as e:
        raise CheckpointError(
            f"{folder}: no checkpoint there ({DESCRIPTION}: {e.strerror}); run `lstm-deploy train`"
        ) from e
    except (ValueError, KeyError, TypeError, RecursionError) as e:
        raise CheckpointError(f"{path}: not a tagger's description ({type(e).__name__}: {e}); train again") from e


def save_tensors(path: Path, tensors: Mapping[str, Tensor], about: Any = None) -> None:
    """Writes a safetensors file, ``about`` as JSON in its header."""
    metadata = None if about is None else {"about": json.dumps(about)}
    with atomic_output(path) as stream:
        stream.write(save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], Any]:
    """What `save_tensors` wrote.

    Raises:
        CheckpointError: damaged.
    """
    try:
        content = path.read_bytes()
        tensors = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return tensors, json.loads(header.get("__metadata__", {}).get("about", "null"))
    except (SafetensorError, OSError, ValueError) as e:
        raise CheckpointError(f"{path}: damaged ({e}); start the run again with --overwrite") from e


def versions() -> dict[str, str]:
    """Package -> version of what trains."""
    from .. import __version__

    return {"lstm_deploy": __version__, "torch": torch.__version__}
