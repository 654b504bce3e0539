"""Gold sentences for training: read, counted, hashed for the provenance record."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..formats import Sentence, read_gold
from ..formats.documents import read_documents
from ..metadata import Column
from ..vocabulary import Case, Vocabulary
from . import tutorial
from .segmentation import held_out_sequences, multiword_tokens, training_sequences


@dataclass
class Corpus:
    """Gold sentences and where they came from.

    Attributes:
        sources: name, sha256, sentences and tokens of each file; for a segmenter windows and characters.
    """

    sentences: list[Sentence]
    sources: list[dict[str, Any]] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        """How many tokens there are."""
        return sum(len(sentence.tokens) for sentence in self.sentences)


def read_corpus(paths: Sequence[str | Path], column: Column | None, *, held_out: bool = False) -> Corpus:
    """All sentences of the files; of column ``segmentation`` their characters, in windows.

    Args:
        held_out: the files are to score by: windows are neither drawn nor broken.

    Raises:
        InputError: malformed or empty.
    """
    corpus = Corpus([])
    for path in paths:
        about: dict[str, Any] = {}
        if column == "segmentation":
            documents = list(read_documents(path))
            sentences = held_out_sequences(documents) if held_out else training_sequences(documents)
            about = multiword_tokens(documents)
        else:
            sentences = list(read_gold(path, column))
        if not sentences:
            raise InputError(f"{path}: no sentences; expected at least one tagged sentence")
        source = {
            "name": Path(path).name,
            "sha256": hashlib.sha256(Path(path).read_bytes()).hexdigest(),
            "sentences": len(sentences),
            "tokens": sum(len(s.tokens) for s in sentences),
            **about,
        }
        corpus.sentences += sentences
        corpus.sources.append(source)
    return corpus


def tutorial_corpus() -> Corpus:
    """The tutorial's two sentences."""
    sentences = [Sentence(list(tokens), list(tags)) for tokens, tags in tutorial.SENTENCES]
    size = sum(len(s.tokens) for s in sentences)
    return Corpus(sentences, [{"name": "tutorial", "sentences": len(sentences), "tokens": size}])


def tag_set(sentences: Iterable[Sentence]) -> tuple[str, ...]:
    """The tags that occur, sorted."""
    return tuple(sorted({tag for sentence in sentences for tag in sentence.tags}))


def vocabulary_of(sentences: Iterable[Sentence], case: Case) -> tuple[Vocabulary, set[int]]:
    """The words that occur, most frequent first, and the ids of those that occur once."""
    keyed = Vocabulary([None], unknown_id=0, padding_id=0, case=case).key
    counts = Counter(keyed(token) for sentence in sentences for token in sentence.tokens)
    vocabulary = Vocabulary.from_words((word for word, _ in counts.most_common()), case=case)
    return vocabulary, {vocabulary.id(word) for word, count in counts.items() if count == 1}
