"""What the exporter has to be told about a tagger that it did not train: how its ids are made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..vocabulary import Case

Names = Mapping[str, int] | Sequence[str]
"""A vocabulary as people have it: name -> id, or a list whose positions are the ids."""


@dataclass(frozen=True)
class Spec:
    """How the arguments of a tagger are made from tokens.

    Attributes:
        case: how a word is looked up.
        unknown: the vocabulary entry whose id unseen words get; without it they are an error.
        padding: the vocabulary entry that stands for padding: no text maps to it.
        characters: character -> id, for a tagger that spells words.
        unknown_character: the entry whose id unseen characters get.
        padding_character: the entry that fills up short words.
        vectors: (words, size), for a tagger that is given vectors: row i belongs to word id i.
    """

    case: Case = "keep"
    unknown: str | None = None
    padding: str | None = None
    characters: Names | None = None
    unknown_character: str | None = None
    padding_character: str | None = None
    vectors: NDArray[Any] | None = None

    @classmethod
    def from_json(cls, value: Any, source: str) -> "Spec":
        """The spec in a JSON object.

        Raises:
            InputError: an unknown key, or not an object.
        """
        if not isinstance(value, dict) or (unknown := set(value) - set(cls.__dataclass_fields__)):
            found = sorted(unknown) if isinstance(value, dict) else type(value).__name__
            raise InputError(f"{source}: holds {found}; expected an object with {', '.join(cls.__dataclass_fields__)}")
        if value.get("vectors") is not None:
            value = value | {"vectors": np.asarray(value["vectors"], np.float32)}
        return cls(**value)


def names_by_id(names: Names, what: str) -> list[str | None]:
    """The name with id i at position i; None where no name has that id.

    Raises:
        InputError: two names of one id, a name twice, or an id that is no whole number from 0.
    """
    pairs = list(names.items()) if isinstance(names, Mapping) else [(name, i) for i, name in enumerate(names)]
    if not pairs:
        raise InputError(f"the {what} are empty; expected a mapping name -> id, or a list of names")
    if len({name for name, _ in pairs}) != len(pairs):
        raise InputError(f"the {what} hold a name twice; expected each name once")
    found: list[str | None] = []
    for name, i in pairs:
        if not isinstance(name, str) or isinstance(i, bool) or not isinstance(i, int) or i < 0:
            raise InputError(f"the {what} map {name!r:.60} to {i!r:.60}; expected text and a whole number from 0")
        if i > 10 * len(pairs) + 1000:
            raise InputError(f"the {what} map {name!r:.60} to {i}; expected ids near 0 to {len(pairs) - 1}")
        found += [None] * (i + 1 - len(found))
        if found[i] is not None:
            raise InputError(f"the {what} give {found[i]!r:.60} and {name!r:.60} the same id {i}; expected one each")
        found[i] = name
    return found
