"""A small corpus that a tagger with subwords can learn: the tag is told by the ending of a made-up word."""

import random

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("matplotlib")

torch.set_num_threads(1)
ENDINGS = {"ing": "VERB", "ness": "NOUN", "ly": "ADV", "ful": "ADJ"}


def made_up(sentences, seed, name="upos"):
    """CoNLL-U text of random words, each tagged by its ending."""
    chance = random.Random(seed)
    lines = []
    for _ in range(sentences):
        for i in range(1, chance.randint(2, 9)):
            ending = chance.choice(list(ENDINGS))
            word = "".join(chance.choices("bcdfgaeiou", k=chance.randint(2, 5))) + ending
            lines.append("\t".join([str(i), word, "_", ENDINGS[ending], *"______"]))
        lines.append("")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """Folder with train.conllu and dev.conllu."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "train.conllu").write_text(made_up(300, 1))
    (folder / "dev.conllu").write_text(made_up(60, 2))
    return folder
