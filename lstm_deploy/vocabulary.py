"""Words and characters as ids. Knows nothing of text, files or graphs."""

from collections.abc import Iterable, Sequence
from typing import Literal

from .errors import UnknownCharacterError, UnknownWordError
from .unicode14 import lower

Case = Literal["keep", "lower"]


class Vocabulary:
    """Word -> id by exact match after the case policy; id = position in ``words``.

    ``words[i]`` is the word with id ``i``; None marks an id that no text maps to (the
    unknown word, padding), so a token that reads ``<unk>`` is a word like any other.

    Args:
        words: one per row of the model's table.
        unknown_id: what stands for a word that is not there; None makes such a word an error.
        padding_id: a row of the table.
        case: ``lower`` looks words up in lower case.

    Raises:
        ValueError: a word twice, or ``unknown_id``/``padding_id`` outside the table.
    """

    def __init__(
        self, words: Sequence[str | None], *, unknown_id: int | None, padding_id: int, case: Case = "keep"
    ) -> None:
        self.words = tuple(words)
        self.unknown_id = unknown_id
        self.padding_id = padding_id
        self.case: Case = case
        self._ids = _positions(self.words, "word", unknown_id, padding_id, case)

    @classmethod
    def from_words(cls, words: Iterable[str], *, case: Case = "keep") -> "Vocabulary":
        """The vocabulary of ``words`` (cased as they will be looked up): padding 0, unknown 1, then the words."""
        return cls([None, None, *words], unknown_id=1, padding_id=0, case=case)

    def __len__(self) -> int:
        return len(self.words)

    def key(self, token: str) -> str:
        """The form of ``token`` that is looked up."""
        return lower(token) if self.case == "lower" else token

    def id(self, token: str) -> int:
        """The id of ``token``, or ``unknown_id``.

        Raises:
            UnknownWordError: it is not there, and there is no ``unknown_id``.
        """
        found = self._ids.get(self.key(token), self.unknown_id)
        if found is None:
            raise UnknownWordError(
                f"the model has no word {token!r:.60} and no unknown word to take for it; expected one of its "
                f"{len(self._ids):,} words; export again with --unknown WORD where the "
                "vocabulary has a word for unseen ones, else train with one"
            )
        return found

    def __contains__(self, token: str) -> bool:
        return self.key(token) in self._ids


class CharacterVocabulary:
    """Character -> id; the characters of a token are its code points after the case policy.

    Args:
        characters: the character with id i at position i; None for an id that no text maps to.
        unknown_id: what stands for a character that is not there; None makes such a one an error.
        padding_id: a row of the table; what stands after a token's characters.
        case: ``lower`` spells words in lower case.

    Raises:
        ValueError: an entry that is not one character, one twice, or ``unknown_id``/``padding_id``
            outside the table.
    """

    def __init__(
        self, characters: Sequence[str | None], *, unknown_id: int | None, padding_id: int, case: Case = "keep"
    ) -> None:
        self.characters = tuple(characters)
        self.unknown_id = unknown_id
        self.padding_id = padding_id
        self.case: Case = case
        self._ids = _positions(self.characters, "character", unknown_id, padding_id, case)
        for character in self._ids:
            if len(character) != 1:
                raise ValueError(f"{character!r:.60} is not one character")

    def __len__(self) -> int:
        return len(self.characters)

    def ids(self, token: str) -> list[int]:
        """The id of each character of ``token``, at least one: an empty token is one unknown (else padding) character.

        Raises:
            UnknownCharacterError: one is not there, and there is no ``unknown_id``.
        """
        unknown = self.unknown_id
        key = lower(token) if self.case == "lower" else token
        found = [self._ids.get(character, unknown) for character in key]
        if not found:
            return [self.padding_id if unknown is None else unknown]
        if unknown is None and None in found:
            character = key[found.index(None)]
            raise UnknownCharacterError(
                f"the model has no character {character!r} (U+{ord(character):04X}, in {token!r:.60}) and no unknown "
                f"character to take for it; expected one of its {len(self._ids):,} characters; export again with an "
                "unknown character in its spec"
            )
        return found  # type: ignore[return-value]


def _positions(
    entries: tuple[str | None, ...], what: str, unknown_id: int | None, padding_id: int, case: str
) -> dict[str, int]:
    """Entry -> id, where entries, ids and case policy go together."""
    ids = {entry: i for i, entry in enumerate(entries) if entry is not None}
    if len(ids) != sum(entry is not None for entry in entries):
        raise ValueError(f"the vocabulary holds a {what} twice")
    for name, value in (("unknown_id", unknown_id), ("padding_id", padding_id)):
        if value is not None and not 0 <= value < len(entries):
            raise ValueError(f"{name} is {value}, outside the {len(entries)} rows of the vocabulary")
    if case not in ("keep", "lower"):
        raise ValueError(f"case policy {case!r} is not known (keep, lower)")
    return ids
