"""Small taggers with random weights, of every shape the exporter has to serve."""

import pytest
from hypothesis import settings

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from lstm_deploy.tokenizer import Tokenizer  # noqa: E402
from lstm_deploy.training.checkpoint import WEIGHTS, Checkpoint, save_tensors  # noqa: E402
from lstm_deploy.training.config import ModelConfig, Recipe  # noqa: E402
from lstm_deploy.vocabulary import Vocabulary  # noqa: E402

torch.set_num_threads(1)
WORDS = ["the", "cat", "ate", "fish", "Mr.", "n't", "do", ",", ".", "3", "Ünïcode", "well"]
TAGS = ("B-PER", "I-PER", "NOUN", "O", "VERB")


def build_tagger(seed=0, scale=1.0, **settings):
    """(checkpoint, model in evaluation mode) for settings of `ModelConfig`; ``scale`` multiplies the LSTM's weights."""
    torch.manual_seed(seed)
    config = ModelConfig(**{"embedding": 6, "hidden": 5, "buckets": 64, "dropout": 0.3} | settings)
    checkpoint = Checkpoint(
        Recipe(config),
        Vocabulary.from_words(WORDS, case=config.case),
        TAGS,
        Tokenizer("words", frozenset({"Mr."}), ("n't",)),
        provenance={"versions": {"torch": torch.__version__}, "licence": "none"},
        samples=[{"tokens": ["Mr.", "cat", "ate", "3", "fish", "."], "text": "Mr. cat ate 3 fish."}],
    )
    model = checkpoint.new_model()
    with torch.no_grad():
        for parameter in model.lstm.parameters():
            parameter.mul_(scale)
    return checkpoint, model.eval()


@pytest.fixture(scope="session")
def make_tagger():
    """`build_tagger`, as a fixture."""
    return build_tagger


@pytest.fixture
def save_checkpoint():
    """Writes (checkpoint, model) as a finished checkpoint folder."""

    def save(folder, checkpoint, model):
        folder.mkdir()
        save_tensors(folder / WEIGHTS, model.state_dict())
        checkpoint.save_description(folder)
        return folder

    return save


settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")
