"""Words whose tags are told by their endings."""

import random

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
