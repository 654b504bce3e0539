"""Words and tags as ids. Knows nothing of text, files or graphs."""

from collections.abc import Iterable, Sequence
from typing import Literal

from .unicode14 import lower

Case = Literal["keep", "lower"]


class Vocabulary:
    """Word -> id by exact match after the case policy; id = position in ``words``.

    ``words[i]`` is the word with id ``i``; None marks an id that no text maps to (the
    unknown word, padding), so a token that reads ``<unk>`` is a word like any other.

    Raises:
        ValueError: a word twice, or ``unknown_id``/``padding_id`` outside the table.
    """

    def __init__(self, words: Sequence[str | None], *, unknown_id: int, padding_id: int, case: Case = "keep") -> None:
        self.words = tuple(words)
        self.unknown_id = unknown_id
        self.padding_id = padding_id
        self.case: Case = case
        self._ids = {word: i for i, word in enumerate(self.words) if word is not None}
        if len(self._ids) != sum(word is not None for word in self.words):
            raise ValueError("the vocabulary holds a word twice")
        for name, value in (("unknown_id", unknown_id), ("padding_id", padding_id)):
            if not 0 <= value < len(self.words):
                raise ValueError(f"{name} is {value}, outside the {len(self.words)} rows of the vocabulary")
        if case not in ("keep", "lower"):
            raise ValueError(f"case policy {case!r} is not known (keep, lower)")

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
        """The id of ``token``, or ``unknown_id``."""
        return self._ids.get(self.key(token), self.unknown_id)

    def __contains__(self, token: str) -> bool:
        return self.key(token) in self._ids
