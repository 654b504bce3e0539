import hashlib
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_deploy.unicode14 import classes, lower

LETTERS = {
    "Lu": "u", "Lt": "u", "Ll": "l", "Lo": "o", "Lm": "o", "Mn": "m", "Mc": "m", "Me": "m",
    "Nd": "d", "Nl": "n", "No": "n", "Cf": "f",
}  # fmt: skip
EVERYTHING = "".join(map(chr, range(0x110000)))


def _class(char):
    category = unicodedata.category(char)
    if category[0] == "Z" or char in "\t\n\x0b\x0c\r\x85":
        return "s"
    return LETTERS.get(category) or {"P": "p", "S": "y"}.get(category[0], "x")


@pytest.mark.skipif(unicodedata.unidata_version != "14.0.0", reason="this Python's unicodedata is not Unicode 14.0")
def test_table_is_unicode_14s():
    assert classes(EVERYTHING) == "".join(map(_class, EVERYTHING))


@pytest.mark.skipif(unicodedata.unidata_version != "14.0.0", reason="this Python's unicodedata is not Unicode 14.0")
def test_lower_case_is_unicode_14s():
    assert lower(EVERYTHING) == "".join(char.lower() for char in EVERYTHING)


def test_every_python_lowers_alike():
    digest = hashlib.sha256(lower(EVERYTHING).encode("utf-8", "surrogatepass")).hexdigest()
    assert digest == "0b7ee85d925550d0a592bc89a1937d2a7a46a056610c45c7163d84a9f935491c"


@given(st.text())
def test_one_class_per_code_point(text):
    assert len(classes(text)) == len(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("THE Cat", "the cat"),
        ("ΟΔΟΣ", "οδοσ"),
        ("İ", "i̇"),
        ("ẞ", "ß"),
        ("𐐀", "𐐨"),
        ("ǅ", "ǆ"),
        ("Ⅷ", "ⅷ"),
        ("\U00010d50", "\U00010d50"),
        ("\ua7cb", "\ua7cb"),
        ("\ud800A", "\ud800a"),
    ],
)
def test_lower_case_of_each_code_point_alone(text, expected):
    assert lower(text) == expected
