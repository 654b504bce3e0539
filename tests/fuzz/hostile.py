"""Text of every kind that CPython can hold, drawn from a generator of numbers."""

import random

REAL = (
    "They ate the fish.",
    "The cat didn't see Mr. Lee's 3,000 fish in Oslo, Ann said (twice!).",
    "Visit https://example.org/a?b=c, www.example.com or ann.lee@example.org; it's 5:30 p.m.",
    "Ελλάδα naïve straße İstanbul'da 東京に行きました。 Привет, мир! שלום عليكم",
    "He said: “Don't -- ever -- do that…” #win @ann 👩‍👩‍👧‍👦 🏳️‍🌈 :) <3",
    "1.5e10 −3 ½ ² Ⅷ 12/31/1999 U.S.A. rock'n'roll mother-in-law's A&M x_1 C++",
)
ODD = (
    *"\0\x01\x07\x08\t\n\v\f\r\x1b\x1c\x1d\x1e\x1f \x7f\x85\xa0\xad",
    *"\u0300\u0301\u0338\u0489\u064b\u093f\u0e33\u1ab0\u20dd\ufe0f\ufe0e\u200b\u200c\u200d\u2060\ufeff\u034f",
    *"\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029\u1680\u2007\u202f\u3000",
    *"İıſßẞΣσςǅŉΐﬃⅧⅷ½²٣५๓𝟘０ａＡ𐐀𐐨𝔘🙂👩🏽🇳🇴🏴",
    *"\ud800\udbff\udc00\udfff\ufffd\uffff\ufffe\U0010ffff\ue000\U000f0000\u0378\U00050000",
    *".,:;!?…-–—'’‘\"“”()[]{}<>/\\@#$%^&*+=_|~`·•",
    *"aZz09eE東的ああ한अא",
    "\r\n", "\x1b[31m", "\x1b]0;x\x07", "e\u0301", "\ud83d\ude00", "👩\u200d🚀", "n't", "'s", "Mr.", "a.", "://",
    "www.", "@a.b",
)  # fmt: skip
UNITS = (
    ".", "a.", "a-", "'s", "n't", "a'", "!?", "(.", "._", "@", "a@", "a@a.", "://", "0,", "0.", "j\u200d", "\u0301",
    "\u200d", "!\u200d", "👩\u200d", "\u202e", "\ud800", "İ", " ", "\n", "a ", ". ", "-,", "\u0301\u200d", "A.b ",
)  # fmt: skip
RANGES = ((0, 0x7F), (0x80, 0x24F), (0x250, 0x6FF), (0x700, 0x1FFF), (0x2000, 0x2FFF), (0x3000, 0xD7FF),
          (0xD800, 0xDFFF), (0xE000, 0xFFFF), (0x10000, 0x1FFFF), (0x20000, 0x10FFFF))  # fmt: skip


def text(drawn: random.Random, known: str = "") -> str:
    """A text, mostly of some dozen code points; now and then a long one.

    Args:
        known: characters that some texts are made of alone.
    """
    kind = drawn.random()
    size = int(drawn.expovariate(1 / 25))
    if known and kind < 0.4:
        return "".join(drawn.choices(known, k=size))
    if kind < 0.55:
        return "".join(drawn.choices(ODD, k=size))
    if kind < 0.8:
        return _mutated(drawn)
    if kind < 0.9:
        return "".join(chr(drawn.randint(*drawn.choice(RANGES))) for _ in range(size))
    if kind < 0.9995:
        return "".join(drawn.choice(UNITS) * drawn.randint(1, 20) for _ in range(drawn.randint(1, 5)))
    return _long(drawn)


def _mutated(drawn: random.Random) -> str:
    """A real text, with some of it gone, doubled, turned or made odd."""
    found = list(drawn.choice(REAL))
    for _ in range(drawn.randint(1, 8)):
        at, size = drawn.randint(0, len(found)), drawn.randint(0, 6)
        part = found[at : at + size]
        found[at : at + size] = drawn.choice(
            ([], part * drawn.randint(2, 4), part[::-1], [drawn.choice(ODD)], "".join(part).swapcase(), [" ", *part])
        )
    return "".join(found)


def _long(drawn: random.Random) -> str:
    """A word of up to 10^5 characters, or some ten thousand tokens."""
    unit = drawn.choice((*UNITS, "a", "aé", "東", "".join(drawn.choices(ODD, k=5))))
    return unit * (10 ** drawn.choice((3, 4, 5)) // len(unit))
