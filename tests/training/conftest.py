"""A small corpus that a tagger with subwords can learn: the tag is told by the ending of a made-up word."""

import pytest
from made_up_corpus import made_up

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("matplotlib")

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """Folder with train.conllu and dev.conllu."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "train.conllu").write_text(made_up(300, 1))
    (folder / "dev.conllu").write_text(made_up(60, 2))
    return folder
