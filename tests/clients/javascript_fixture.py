"""Writes what Python makes of many words and texts, for clients in other languages to be held against.

JSON lines: first the specs of two encoders and some tokenizers, then words with their ids, classes, lower case and
shapes, then texts with the spans of their tokens, in UTF-16 code units as JavaScript counts. Words: display names of
all CLDR locales (package babel), the treebanks' where they are there, and strings drawn from all code points.
"""

import json
import lzma
import os
import random
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lstm_deploy.encoding import Encoder, ragged_ids
from lstm_deploy.features import TEMPLATES, SubwordFeatures, shape
from lstm_deploy.tokenizer import Tokenizer
from lstm_deploy.unicode14 import classes, lower
from lstm_deploy.vocabulary import CharacterVocabulary, Vocabulary

DATA = Path(os.environ.get("LSTM_DEPLOY_DATA", Path(__file__).parents[3] / "shared" / "data"))
TREEBANKS = ("ud-english-ewt", "ud-turkish-imst", "ud-chinese-gsd-1.4")
NAMES = ("territories", "languages", "scripts", "variants", "currency_names")
TOKENIZERS = (
    Tokenizer("whitespace"),
    Tokenizer("characters"),
    Tokenizer("words"),
    Tokenizer("words", frozenset({"Mr.", ":)", "o'clock", "U.S.", "etc."}), ("'s", "n't", "'ll", "s"), "-"),
    Tokenizer("words", frozenset({"İst.", "東京"}), ("'da", "ı", "ği", "的", "\U00010428"), "'’/·"),
)
_ODD = (
    "aZß9.,'’-!@:/& \t\n()$🙂👩\u200d\u0301İIıΣσςǅⅧ½東的\u200e\u00a0_·+www\ud800\udc00\U00010400\U00010d50\u2028\u0600"
)
_AT_ONCE = 50
_SCRIPT_WORDS = 20


def write(path: Path) -> dict[str, int]:
    """Writes the fixture; how many distinct ``words``, ``texts``, ``tokens`` and ``scripts`` it has."""
    words, texts = _collect()
    drawn = random.Random(14)
    words |= {_paired("".join(_point(drawn) for _ in range(drawn.randrange(9)))) for _ in range(20_000)}
    texts += [_paired("".join(drawn.choice(_ODD) for _ in range(drawn.randrange(40)))) for _ in range(10_000)]
    ordered = sorted(words)
    drawn.shuffle(ordered)
    encoders = [_encoder(ordered, case) for case in ("keep", "lower")]
    cuts = [(text, [tokenizer.spans(text) for tokenizer in TOKENIZERS]) for text in texts]
    count = {
        "words": len(ordered),
        "texts": len(texts),
        "tokens": sum(len(spans) for _, spans_of in cuts for spans in spans_of),
    }
    with path.open("w", encoding="ascii") as stream:
        head = {"encoders": [_spec(e) for e in encoders], "tokenizers": [t.to_json() for t in TOKENIZERS]}
        print(json.dumps(head | {"count": count}), file=stream)
        for at in range(0, len(ordered), _AT_ONCE):
            print(json.dumps(_words(ordered[at : at + _AT_ONCE], encoders)), file=stream)
        for text, spans_of in cuts:
            units = _units(text)
            found = [[[units[start], units[end]] for start, end in spans] for spans in spans_of]
            print(json.dumps({"text": text, "cuts": found}), file=stream)
    return count | {"scripts": len(scripts(ordered))}


def scripts(words: list[str]) -> Counter[str]:
    """Script -> words whose first letter is of it, where those are more than a few; by the names of the letters."""
    found: Counter[str] = Counter()
    for word in words:
        letter = next((char for char in word if unicodedata.category(char) in ("Lu", "Ll", "Lt", "Lo")), None)
        if letter:
            found[unicodedata.name(letter, "?").split()[0]] += 1
    return Counter({script: n for script, n in found.items() if n >= _SCRIPT_WORDS and script != "?"})


def _collect() -> tuple[set[str], list[str]]:
    """All the real words, and of the real texts as many as can be cut in some seconds."""
    names = _display_names()
    words = {word for name in names for word in name.split()}
    texts = sorted(names)[::15]
    sentences: list[str] = []
    for treebank in TREEBANKS:
        for path in sorted((DATA / treebank).glob("*.conllu.xz")):
            with lzma.open(path, "rt", encoding="utf-8") as lines:
                for line in lines:
                    if line.startswith("# text = "):
                        sentences.append(line.removeprefix("# text = ").rstrip("\n"))
                    elif line[:1].isdigit():
                        words.add(line.split("\t")[1])
    return words, texts + sentences[::3]


def _display_names() -> set[str]:
    from babel import localedata

    found: set[str] = set()
    for locale in localedata.locale_identifiers():
        data = localedata.load(locale, merge_inherited=False)
        for kind in NAMES:
            found.update(name for name in (data.get(kind) or {}).values() if isinstance(name, str))
    return found


def _encoder(words: list[str], case: str) -> Encoder:
    """One that has an id for every third word and for most characters."""
    known = words[::3] if case == "keep" else sorted({lower(word) for word in words[::3]})
    counts = Counter(char for word in known for char in word)
    characters = sorted(char for char, n in counts.items() if n > 2 and not "\ud800" <= char <= "\udfff")
    lookup = {"unknown_id": 1, "padding_id": 0, "case": case}
    return Encoder(
        Vocabulary([None, None, *known], **lookup),
        SubwordFeatures(tuple(TEMPLATES), 1_000_003),
        CharacterVocabulary([None, None, *characters], **lookup),
    )


def _spec(encoder: Encoder) -> dict[str, Any]:
    words, characters, features = encoder.vocabulary, encoder.characters, encoder.features
    assert words and characters and features
    lookup = {"unknown_id": words.unknown_id, "padding_id": words.padding_id, "case": words.case}
    return {
        "words": words.words,
        "characters": characters.characters,
        "templates": features.templates,
        "buckets": features.buckets,
        "lookup": lookup,
    }


def _words(words: list[str], encoders: list[Encoder]) -> dict[str, Any]:
    return {
        "words": words,
        "ids": [ragged_ids(encoder.encode([words]), 0) for encoder in encoders],
        "lower": list(map(lower, words)),
        "classes": list(map(classes, words)),
        "shapes": list(map(shape, words)),
    }


def _point(drawn: random.Random) -> str:
    """A code point, half of the time of those that words are made of."""
    blocks = ((0, 0x250), (0x300, 0x36F), (0x370, 0x530), (0x1E00, 0x2000), (0x10400, 0x10500), (0xD800, 0xE000))
    return chr(drawn.randrange(*(drawn.choice(blocks) if drawn.random() < 0.5 else (0, 0x110000))))


def _paired(text: str) -> str:
    """Surrogates side by side as the code point they stand for, as they are in a JavaScript string."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _units(text: str) -> list[int]:
    """Code unit at which each code point begins, and the end."""
    return list(_running(text))


def _running(text: str) -> Iterator[int]:
    at = 0
    for char in text:
        yield at
        at += 2 if char > "\uffff" else 1
    yield at
