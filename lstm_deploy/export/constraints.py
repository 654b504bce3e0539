"""Which tags may follow each other, for taggers that were trained without a CRF."""

from collections.abc import Sequence

import numpy as np

from ..crf import FORBIDDEN, Crf
from ..entities import is_iob2
from ..errors import InputError


def iob2_constraints(tags: Sequence[str]) -> Crf:
    """Every valid IOB2 sequence scores 0, so that the best valid one is chosen; nothing else can be.

    ``I-X`` stands only after ``B-X`` or ``I-X``, and never first.

    Raises:
        InputError: the tags are not IOB2; the text names those that are not.
    """
    inside = {tag: f"B-{tag[2:]}" for tag in tags if tag.startswith("I-")}
    odd = [tag for tag in tags if tag != "O" and not is_iob2(("O", tag))]
    odd += [tag for tag, begin in inside.items() if begin not in tags]
    if odd or not is_iob2(tags):
        found = (
            f"{', '.join(odd[:8])} {'is' if len(odd) == 1 else 'are'} not" if odd else "there is no O, or nothing else:"
        )
        raise InputError(
            f"the tags cannot be constrained to IOB2: {found}; expected O, B-X and, for each I-X, a B-X; export "
            "without --constrain"
        )
    count = len(tags)
    transitions, start = np.zeros((count, count), np.float32), np.zeros(count, np.float32)
    for to, tag in enumerate(tags):
        if tag in inside:
            start[to] = FORBIDDEN
            for from_, before in enumerate(tags):
                if before not in (tag, inside[tag]):
                    transitions[from_, to] = FORBIDDEN
    return Crf(transitions, start, np.zeros(count, np.float32))
