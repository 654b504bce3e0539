"""A treebank's documents as sequences of tagged characters, for a tagger that finds words and sentences.

Paragraphs are cut into windows at random places, so that a window may begin and end anywhere, as those of a long text
do; some have their lines broken, some are joined with the next one, as text outside treebanks comes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np

from ..formats import Sentence
from ..formats.documents import Document, SurfaceToken
from ..segmentation import OUTSIDE, SENTENCE, Span, character_tags, characters, paragraphs

WINDOW = 400
VARIANTS = 4
"""How often each text stands in the training data, each time cut and broken elsewhere."""
BROKEN, JOINED = 0.25, 0.15
"""How many paragraphs have broken lines, and how many breaks between paragraphs are taken away."""
_LINE = (40, 121)  # characters of a line, at most
_SEED = 1


@dataclass(frozen=True, slots=True)
class Tagged:
    """A paragraph's characters and their tags."""

    tokens: list[str]
    tags: list[str]


def word_spans(text: str, token: SurfaceToken) -> list[Span]:
    """Where the words of ``token`` stand in ``text``: if they do not make up its form, case aside, the whole token."""
    bounds = list(accumulate(map(len, token.words), initial=token.start))
    if bounds[-1] != token.end or "".join(token.words).lower() != text[token.start : token.end].lower():
        return [(token.start, token.end)]
    return list(pairwise(bounds))


def multiword_tokens(documents: Sequence[Document]) -> dict[str, int]:
    """How many multiword tokens there are, and how many are learnt as one word since no place in them parts two."""
    found = [
        len(word_spans(document.text, token))
        for document in documents
        for tokens in document.sentences
        for token in tokens
        if len(token.words) > 1
    ]
    return {"multiword_tokens": len(found), "multiword_tokens_kept_whole": found.count(1)}


def tagged_paragraphs(document: Document) -> Iterator[Tagged]:
    """The paragraphs of a document, tagged so that `lstm_deploy.segmentation.cut` gives its sentences and words."""
    spans = [[span for token in tokens for span in word_spans(document.text, token)] for tokens in document.sentences]
    at = 0
    for start, end in paragraphs(document.text):
        here: list[list[Span]] = []
        while at < len(spans):
            inside = [(a - start, b - start) for a, b in spans[at] if a < end]
            here += [inside] if inside else []
            if len(inside) < len(spans[at]):
                spans[at] = spans[at][len(inside) :]
                break
            at += 1
        found = characters(document.text[start:end])
        yield Tagged(found.tokens, character_tags(found, here))


def training_sequences(documents: Sequence[Document], *, seed: int = _SEED) -> list[Sentence]:
    """Windows of all documents, `VARIANTS` times; the same for the same ``seed``."""
    paragraphs_of = [list(tagged_paragraphs(document)) for document in documents]
    random = np.random.default_rng(seed)
    return [
        sequence
        for _ in range(VARIANTS)
        for document in paragraphs_of
        for paragraph in _joined(document, random)
        for sequence in _windows(_broken(paragraph, random), random)
    ]


def held_out_sequences(documents: Sequence[Document]) -> list[Sentence]:
    """All documents as they are, in windows where they are long."""
    return [
        Sentence(part.tokens[at : at + WINDOW], part.tags[at : at + WINDOW])
        for document in documents
        for part in tagged_paragraphs(document)
        for at in range(0, len(part.tokens), WINDOW)
    ]


def _joined(parts: Sequence[Tagged], random: np.random.Generator) -> Iterator[Tagged]:
    tokens: list[str] = []
    tags: list[str] = []
    for part in parts:
        if tokens and random.random() < JOINED:
            tokens, tags = [*tokens, " " if random.random() < 0.5 else "\n"], [*tags, OUTSIDE]
        elif tokens:
            yield Tagged(tokens, tags)
            tokens, tags = [], []
        tokens, tags = tokens + part.tokens, tags + part.tags
    if tokens:
        yield Tagged(tokens, tags)


def _broken(part: Tagged, random: np.random.Generator) -> Tagged:
    """Perhaps with line breaks for some of its spaces: between sentences, or before a line would become too long."""
    kind = random.random()
    if kind >= BROKEN:
        return part
    tokens = list(part.tokens)
    limit = int(random.integers(*_LINE))
    start = last = 0
    for i, token in enumerate(tokens):
        if kind < BROKEN / 2:
            if token == " " and tokens[i + 1 :] and part.tags[i + 1] == SENTENCE:
                tokens[i] = "\n"
            continue
        if i - start >= limit and last > start:
            tokens[last] = "\n"
            start = last
        if token == " " and part.tags[i] == OUTSIDE:
            last = i
    return Tagged(tokens, part.tags)


def _windows(part: Tagged, random: np.random.Generator) -> Iterator[Sentence]:
    at = 0
    while at < len(part.tokens):
        size = WINDOW
        if len(part.tokens) - at > WINDOW:
            size = int(random.integers(WINDOW // 4, WINDOW + 1))
        yield Sentence(part.tokens[at : at + size], part.tags[at : at + size])
        at += size
