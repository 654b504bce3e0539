"""What defines a model and a training run, as plain data."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ..features import DEFAULT_TEMPLATES
from ..metadata import Column
from ..vocabulary import Case

Optimizer = Literal["adamw", "sgd"]


@dataclass(frozen=True)
class ModelConfig:
    """The architecture of an `LSTMTagger`.

    Attributes:
        embedding: size E of the word embedding.
        hidden: size H of the LSTM, per direction.
        layers: LSTM layers.
        bidirectional: read both ways.
        dropout: on the embeddings, between layers and before the head; training only.
        subwords: add hashed subword features to the word embedding.
        templates: which features (`lstm_deploy.features.TEMPLATES`).
        buckets: rows of the feature table.
        case: how a word is looked up.
        crf: a CRF over tag sequences chooses the tags.
        vectors: size of the pretrained word vectors; 0 = there are none.
    """

    embedding: int = 100
    hidden: int = 128
    layers: int = 1
    bidirectional: bool = True
    dropout: float = 0.2
    subwords: bool = True
    templates: tuple[str, ...] = DEFAULT_TEMPLATES
    buckets: int = 2**14
    case: Case = "keep"
    crf: bool = False
    vectors: int = 0


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained.

    Attributes:
        epochs: passes over the training data, at most.
        batch_size: sentences a step.
        optimizer: ``adamw`` with a one-cycle schedule, or ``sgd`` at a constant rate.
        learning_rate: the peak rate.
        weight_decay: of AdamW.
        label_smoothing: probability mass spread over all tags.
        unknown_rate: how often a word seen once is replaced by the unknown id.
        word_dropout: how often any word is.
        soft_weight: the teacher's share of the loss at tokens that have a gold tag too.
        soft_temperature: both distributions are softened by it, as log-probabilities divided.
        max_gradient_norm: gradients are clipped to it.
        patience: epochs without a better dev accuracy after which training stops; 0 = never.
        seed: of weights, order, dropout and replacement.
    """

    epochs: int = 10
    batch_size: int = 32
    optimizer: Optimizer = "adamw"
    learning_rate: float = 8e-3
    weight_decay: float = 0.01
    label_smoothing: float = 0.05
    unknown_rate: float = 0.5
    word_dropout: float = 0.0
    soft_weight: float = 0.5
    soft_temperature: float = 1.0
    max_gradient_norm: float = 5.0
    patience: int = 4
    seed: int = 1


@dataclass(frozen=True)
class Recipe:
    """A whole training run.

    Attributes:
        column: which column of the corpus the tags are.
        licence: the training data's licence, carried into the model file.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    column: Column = "tag"
    licence: str = "not stated"

    def to_json(self) -> dict[str, Any]:
        """A JSON object from which `from_json` makes the same recipe."""
        return asdict(self) | {"model": asdict(self.model) | {"templates": list(self.model.templates)}}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Recipe":
        """The recipe that `to_json` wrote.

        Raises:
            KeyError, TypeError: it is not one.
        """
        model = ModelConfig(**{**value["model"], "templates": tuple(value["model"]["templates"])})
        return cls(model, TrainingConfig(**value["training"]), value["column"], value["licence"])


TREEBANK = Recipe()
"""The default for real data: words and subwords, one bidirectional layer."""

SEGMENTER = Recipe(
    ModelConfig(embedding=64, hidden=96, subwords=False),
    TrainingConfig(epochs=5, learning_rate=5e-3, label_smoothing=0.0),
    column="segmentation",
)
"""The default for column ``segmentation``: characters alone, an epoch of which is four passes over the text."""

TUTORIAL = Recipe(
    ModelConfig(embedding=10, hidden=3, bidirectional=False, dropout=0.0, subwords=False),
    TrainingConfig(
        epochs=400,
        batch_size=1,
        optimizer="sgd",
        learning_rate=0.1,
        weight_decay=0.0,
        label_smoothing=0.0,
        unknown_rate=0.0,
        max_gradient_norm=float(10**9),
        patience=0,
    ),
    licence="public domain",
)
"""The two-sentence tagger of the tutorial: plain SGD, one sentence a step."""
