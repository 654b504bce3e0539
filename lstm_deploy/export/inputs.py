"""What a tagger of somebody's own reads: its ids, and sentences to try it with.

Says which input of a file a value is that Python made from the words; makes random sentences of words that the tagger
has ids for, odd ones among them; and holds ``encode`` against vocabulary and spec.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..vocabulary import CharacterVocabulary, Vocabulary
from .capture import LiftError, replaced
from .program import Term
from .spec import Names, Spec, names_by_id

_SEED = 20_240_602
_UNKNOWN_WORDS = ("zxqv", "Qvuq", "77", "-", "unwortlich", "USA", "3.14", "co-op", "x")
_ODD = (
    "1999",
    "3.14",
    "7",
    "10,000",
    "A1",
    "U.S.",
    "-",
    "--",
    "!",
    "@x",
    "http://a.b",
    "e-mail",
    "ÄÖ",
    "naïve",
    "1st",
    "x" * 30,
)
_ENDS = ("s", "'s", "ing", "ed", "-like", "2", ".")
_SYLLABLES = ["ba", "no", "ri", "tel", "u", "xi", "zor", "quam", "ä", "ß"]


class OwnInputs:
    """The ids of a tagger.

    Args:
        vocabulary: word -> id.
        spec: how words and characters are looked up.

    Raises:
        InputError: they contradict each other.
    """

    def __init__(self, vocabulary: Names, spec: Spec) -> None:
        self.spec = spec
        self.vocabulary = _vocabulary(vocabulary, spec)
        self.characters = _characters(spec)
        self.rows = len(self.vocabulary)
        self.random = np.random.default_rng(_SEED)
        self._known = [word for word in self.vocabulary.words if word is not None]
        if not self._known:
            raise InputError("the vocabulary has no word beside unknown and padding; expected at least one")
        self.arguments: Callable[[list[str]], Any] = lambda tokens: ()

    def leaf_kind(self, term: Term) -> str | None:
        """Which input a value made from the words outside of torch is."""
        sentences = term.sentences
        if not sentences:
            return None
        for kind, expected in (
            ("word_ids", self._word_ids), ("char_ids", self._char_ids), ("char_lengths", _char_lengths),
            ("vectors", self._vectors),
        ):  # fmt: skip
            if all(_equal(expected(words, term, i), term, i) for i, words in enumerate(sentences)):
                return kind
        return "per_word" if self._tabulated(term) else None

    def _tabulated(self, term: Term) -> bool:
        """An argument that is a function of each word alone becomes a table over the vocabulary."""
        if not term.argument:
            return False
        rows = {}
        for word in [*self._known, *(_UNKNOWN_WORDS if self.vocabulary.unknown_id is not None else [])]:
            tensors: list[Tensor] = []
            replaced(self.arguments([word]), lambda x: tensors.append(x) if isinstance(x, Tensor) else None)  # noqa: B023
            if len(tensors) < term.argument:
                return False
            row = tensors[term.argument - 1].detach().numpy().reshape(-1)
            known = rows.setdefault(self.vocabulary.id(word), row)
            if not np.array_equal(known, row):
                return False
        if len({row.shape for row in rows.values()}) != 1:
            return False
        table = np.zeros((self.rows, next(iter(rows.values())).size), next(iter(rows.values())).dtype)
        for i, row in rows.items():
            table[i] = row
        for words, tensor in zip(term.sentences, term.tensors, strict=True):
            ids = [self.vocabulary.id(word) for word in words]
            if tensor.numel() != table[ids].size or not np.array_equal(
                tensor.numpy().reshape(-1), table[ids].reshape(-1)
            ):
                return False
        term.table = table
        return True

    def _word_ids(self, words: list[str], term: Term, i: int) -> Any:
        return [self.vocabulary.id(word) for word in words]

    def _char_ids(self, words: list[str], term: Term, i: int) -> Any:
        if self.characters is None:
            return None
        try:
            rows = [self.characters.ids(word) for word in words]
        except InputError:
            return None
        if term.rows is not None:
            return rows
        widths = {t.shape[-1] for t in term.tensors if t.dim()}
        width = widths.pop() if len(widths) == 1 else max(map(len, rows))  # a fixed width cuts long words
        rows = [row[:width] for row in rows]
        return np.array([row + [self.characters.padding_id] * (width - len(row)) for row in rows])

    def _vectors(self, words: list[str], term: Term, i: int) -> Any:
        if self.spec.vectors is None:
            return None
        return self.spec.vectors[[self.vocabulary.id(word) for word in words]]

    def reachable(self) -> dict[str, Tensor]:
        """Kind -> every id that text can give."""
        tables: list[tuple[str, Any, Any]] = [("word_ids", self.vocabulary.words, self.vocabulary.unknown_id)]
        if self.characters is not None:
            tables.append(("char_ids", self.characters.characters, self.characters.unknown_id))
        return {
            kind: torch.tensor([i for i, entry in enumerate(entries) if entry is not None or i == unknown])
            for kind, entries, unknown in tables
        }

    def sentence(self, n: int) -> list[str]:
        """``n`` random words that the tagger has ids for, a fifth of them unknown where it has an unknown word."""
        words = [self._known[i] for i in self.random.integers(len(self._known), size=n)]
        if self.vocabulary.unknown_id is not None:
            for i in np.flatnonzero(self.random.random(n) < 0.3):
                words[i] = self._unknown(words[i])
        if self.characters is not None and self.characters.unknown_id is None:
            words = [
                word if self._can_spell(word) else self._known[self.random.integers(len(self._known))] for word in words
            ]
        return words

    def _unknown(self, word: str) -> str:
        """A word that most vocabularies lack: another case of a known one, a number, an odd form, or made up."""
        forms: list[Callable[[], str]] = [
            lambda: "".join(self.random.choice(_SYLLABLES, self.random.integers(1, 4)).tolist()),
            lambda: str(self.random.choice(_ODD)),
            word.upper,
            word.lower,
            word.title,
            lambda: f"{word}{self.random.choice(_ENDS)}",
            lambda: f"-{word}-",
            lambda: str(self.random.integers(10_000)),
        ]
        return forms[self.random.integers(len(forms))]() or word

    def _can_spell(self, word: str) -> bool:
        assert self.characters is not None
        known = set(self.characters.characters)
        return all(c in known for c in (word.lower() if self.spec.case == "lower" else word))

    def check_encode(self) -> None:
        """The arguments' word ids are those of vocabulary and spec, for odd words too."""
        known = {word: self._encoded(word) for word in self._known[:200]}
        counts = [sum(self._at(row, i) == self.vocabulary.id(word) for word, row in known.items()) for i in range(8)]
        places = [i for i, count in enumerate(counts) if count > 1 and 2 * count > len(known)]
        words = list(self._known[:2000])
        if self.vocabulary.unknown_id is not None:
            some = self.random.choice(len(self._known), min(len(self._known), 100), replace=False)
            words += [*_UNKNOWN_WORDS, *(self._unknown(self._known[i]) for i in some for _ in range(4))]
        for word in words if places else ():
            row = known.get(word) or self._encoded(word)
            for place in places:
                found = self._at(row, place)
                if found is not None and found != self.vocabulary.id(word):
                    raise LiftError(
                        f"encode gives the word {word!r:.60} the id {found}, vocabulary and spec the id "
                        f"{self.vocabulary.id(word)}: the file would read other words than the module; say in the "
                        "spec how words are looked up (case, unknown), or make encode do just that"
                    )

    def _encoded(self, word: str) -> list[Any]:
        """The tensors among the arguments for one word, as lists."""
        tensors: list[Any] = []
        try:
            arguments = self.arguments([word])
        except Exception:  # noqa: BLE001 - sentences with such words, which are run unguarded, tell it
            return []
        replaced(arguments, lambda x: tensors.append(x.reshape(-1).tolist()) if isinstance(x, Tensor) else None)
        return tensors

    @staticmethod
    def _at(row: list[Any], place: int) -> Any:
        return row[place][0] if len(row) > place and len(row[place]) == 1 else None


def _vocabulary(names: Names, spec: Spec) -> Vocabulary:
    words = names_by_id(names, "words")
    found = {}
    for role in ("unknown", "padding"):
        name = getattr(spec, role)
        if name is None:
            found[role] = None
        elif name not in words:
            raise InputError(
                f"the {role} word {name!r:.60} is not in the vocabulary; expected one of its {len(words):,} words"
            )
        else:
            found[role] = words.index(name)
    for i in found.values():
        if i is not None:
            words[i] = None
    if spec.case == "lower" and (cased := [w for w in words if w is not None and w != w.lower()]):
        words = [None if w in set(cased) else w for w in words]
    padding = found["padding"] if found["padding"] is not None else found["unknown"] or 0
    try:
        return Vocabulary(words, unknown_id=found["unknown"], padding_id=padding, case=spec.case)
    except ValueError as e:
        raise InputError(f"the vocabulary cannot be used ({e}); expected each word once") from e


def _characters(spec: Spec) -> CharacterVocabulary | None:
    if spec.characters is None:
        return None
    names = names_by_id(spec.characters, "characters")
    roles = {"unknown": spec.unknown_character, "padding": spec.padding_character}
    for role, name in roles.items():
        if name is not None and name not in names:
            raise InputError(f"the {role} character {name!r:.60} is not among the characters; expected one of them")
    ids = {role: names.index(name) if name is not None else None for role, name in roles.items()}
    names = [
        None if i in ids.values() or (name is not None and len(name) != 1) else name for i, name in enumerate(names)
    ]
    padding = ids["padding"] if ids["padding"] is not None else ids["unknown"] or 0
    return CharacterVocabulary(names, unknown_id=ids["unknown"], padding_id=padding, case=spec.case)


def _char_lengths(words: list[str], term: Term, i: int) -> Any:
    return [len(word) for word in words]


def _equal(expected: Any, term: Term, i: int) -> bool:
    """Whether a leaf holds just this in recording ``i``: the whole, or a row per token."""
    if expected is None:
        return False
    if term.rows is not None:
        rows = term.rows[i]
        return len(rows) == len(expected) and all(
            np.array_equal(np.asarray(r).reshape(-1), np.asarray(e).reshape(-1))
            for r, e in zip(rows, expected, strict=True)
        )
    found = term.tensors[i].detach().numpy()
    whole = np.asarray(expected)
    squeezed = [[s for s in a.shape if s != 1] for a in (found, whole)]
    return squeezed[0] == squeezed[1] and np.array_equal(found.reshape(-1), whole.reshape(-1).astype(found.dtype))
