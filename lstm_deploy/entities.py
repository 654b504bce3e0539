"""IOB2 tags <-> entity spans. Follows conlleval, as seqeval's default mode does."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Entity(NamedTuple):
    """Tokens ``start`` to ``end`` (exclusive) of one sentence are a ``type``."""

    type: str
    start: int
    end: int


def is_iob2(tags: Iterable[str]) -> bool:
    """The tag set marks entities: ``O`` and at least one ``B-`` or ``I-``, nothing else."""
    found = set(tags)
    return "O" in found and len(found) > 1 and all(tag == "O" or (tag[:2] in ("B-", "I-") and tag[2:]) for tag in found)


def entities(tags: Sequence[str]) -> list[Entity]:
    """The entities of one sentence, in order.

    An ``I-`` that does not continue an entity of its type starts one, so that any sequence of
    tags has a reading (conlleval; Tjong Kim Sang and Buchholz 2000).
    """
    found: list[Entity] = []
    start, current = 0, ""
    for i, tag in enumerate([*tags, "O"]):
        kind = "" if tag == "O" else tag[2:]
        if kind != current or tag.startswith("B-"):
            if current:
                found.append(Entity(current, start, i))
            start, current = i, kind
    return found
