"""Reads off a corpus how it cuts text into words, so that the predictor cuts text likewise.

A treebank in CoNLL-U gives its text (``# text = ``); where it does, the rules are learnt from
text and tokens together. Token-per-line corpora have no text: there the plain rules apply, with
the corpus's own odd tokens kept whole.
"""

from collections import Counter
from collections.abc import Iterable

from ..formats import Sentence
from ..tokenizer import JOINERS, Tokenizer
from ..unicode14 import classes, lower

_MIN_COUNT = 2
_LETTERS = set("ulom")


def learn_tokenizer(sentences: Iterable[Sentence]) -> Tokenizer:
    """The ``words`` tokenizer whose lists agree best with the corpus.

    1. ``split``: joiners that stand between letters of one chunk more often as a token than inside one.
    2. ``suffixes``: ends with an apostrophe that are cut off the letters before them.
    3. ``keep``: tokens that the rules so far would cut, kept whole more often than cut.
    """
    sentences = [sentence for sentence in sentences if sentence.tokens]
    glued = [_glued(sentence) for sentence in sentences]
    inside, alone = Counter[str](), Counter[str]()
    suffixes: Counter[str] = Counter()
    for sentence, joined in zip(sentences, glued, strict=True):
        for i, token in enumerate(sentence.tokens):
            for char in set(token[1:-1]) & set(JOINERS):
                inside[char] += 1
            before, after = i > 0 and joined[i - 1], i < len(joined) and joined[i]
            if token in JOINERS and before and after and _wordy(sentence.tokens[i - 1][-1] + sentence.tokens[i + 1][0]):
                alone[token] += 1
            if before and _wordy(sentence.tokens[i - 1][-1]) and _is_suffix(token):
                suffixes[lower(token).replace("’", "'")] += 1
    split = "".join(char for char in JOINERS if alone[char] > inside[char])
    ends = tuple(sorted(suffix for suffix, count in suffixes.items() if count >= _MIN_COUNT))
    rules = Tokenizer("words", frozenset(), ends, split)
    return Tokenizer("words", _kept(sentences, rules), ends, split)


def _kept(sentences: list[Sentence], rules: Tokenizer) -> frozenset[str]:
    """Tokens that ``rules`` cut and the corpus mostly does not."""
    whole = Counter(token for sentence in sentences for token in sentence.tokens)
    suspects = {
        token for token, n in whole.items() if n >= _MIN_COUNT and len(rules.tokens(token)) > 1 and " " not in token
    }
    cut: Counter[str] = Counter()
    for sentence in sentences:
        text = sentence.text or ""
        for chunk in text.split():
            if chunk in suspects:
                cut[chunk] += 1
        for token in sentence.tokens:
            if token in suspects:
                cut[token] -= 1
    return frozenset(token for token in suspects if max(cut[token], 0) < whole[token])


def _glued(sentence: Sentence) -> list[bool]:
    """For each pair of neighbours: no space between them in the text; all False where there is no text."""
    text, at = sentence.text or "", 0
    joined: list[bool] = []
    for i, token in enumerate(sentence.tokens):
        found = text.find(token, at)
        if found < 0:
            return [False] * (len(sentence.tokens) - 1)
        if i:
            joined.append(found == at)
        at = found + len(token)
    return joined


def _is_suffix(token: str) -> bool:
    letters = token.replace("’", "'")
    return len(token) <= 4 and "'" in letters and _wordy(letters.replace("'", ""))


def _wordy(text: str) -> bool:
    return bool(text) and set(classes(text)) <= _LETTERS
