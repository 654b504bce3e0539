import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_files import corpus

from lstm_deploy.formats import read_gold
from lstm_deploy.tokenizer import JOINERS, Tokenizer, _Shapes
from lstm_deploy.unicode14 import classes

ENGLISH = Tokenizer("words", frozenset({"Mr.", ":)", "o'clock"}), ("'s", "n't", "'ll"), "-")
ODD = st.text(st.sampled_from("aZß9.,'’-!@:/& \t\n()$🙂👩\u200d\u0301İ東\ud800\u200e\u00a0_·") | st.characters())


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("They ate the fish.", "They|ate|the|fish|."),
        ("  two\u00a0 spaces\t", "two|spaces"),
        ("I don't know", "I|do|n't|know"),
        ("I DON’T know", "I|DO|N’T|know"),
        ("Mr. Smith's", "Mr.|Smith|'s"),
        ("(Mr. Lee),", "(|Mr.|Lee|)|,"),
        ("he'll've", "he'll've"),
        ("5 o'clock!", "5|o'clock|!"),
        ("'s", "'s"),
        (" ’s", "’s"),
        (" U.S.", "U.S."),
        (" a@b.c", "a@b.c"),
        ("U.S. e.g. a.m.,", "U.S.|e.g.|a.m.|,"),
        ("see https://a.b/c?d=e-f. ok", "see|https://a.b/c?d=e-f|.|ok"),
        ("www.example.org/x!", "www.example.org/x|!"),
        ("<me.you+z@mail-x.com>", "<|me.you+z@mail-x.com|>"),
        ("3.14 1,000.5 10:30 9.", "3.14|1,000.5|10:30|9|."),
        ("$5 50% +1", "$|5|50|%|+|1"),
        ("well-known - x", "well|-|known|-|x"),
        ("wait... what?!", "wait|...|what|?|!"),
        ('"(hi)"', '"|(|hi|)|"'),
        ("AT&T a_b and/or", "AT&T|a_b|and/or"),
        ("so :) ok:)", "so|:)|ok|:|)"),
        ("👨\u200d👩\u200d👧!🙂🙂❤️", "👨\u200d👩\u200d👧|!|🙂🙂|❤️"),
        ("e\u0301te\u0301, naïve", "e\u0301te\u0301|,|naïve"),
        ("हिन्दी में।", "हिन्दी|में|।"),
        ("東京へ、行く。", "東京へ|、|行く|。"),
        ("لا، شكرا", "لا|،|شكرا"),
        ("¿Qué?", "¿|Qué|?"),
        ("", ""),
        (" \n ", ""),
    ],
)
def test_words(text, tokens):
    assert ENGLISH.tokens(text) == (tokens.split("|") if tokens else [])


def test_hyphens_stay_inside_words_unless_they_are_split():
    assert Tokenizer("words").tokens("a well-known 15-year") == ["a", "well-known", "15-year"]


def test_a_suffix_is_cut_off_only_from_something():
    tokens = Tokenizer("words", suffixes=("s", "es")).tokens("cats boxes es ss")
    assert tokens == ["cat", "s", "box", "es", "es", "s", "s"]


def test_what_a_suffix_leaves_is_kept_whole_if_it_is_to_be():
    tokenizer = Tokenizer("words", frozenset({"ma'am"}), ("'s", "'am"))
    assert tokenizer.tokens("ma'am's sir'am's") == ["ma'am", "'s", "sir", "'am", "'s"]


def test_a_lower_cased_form_of_another_length_stays_whole():
    assert Tokenizer("words", suffixes=("s",)).tokens("İs is") == ["İs", "i", "s"]


def test_white_space_kind_cuts_nothing_else():
    assert Tokenizer("whitespace").tokens("It's\u2003(fine) .\n\nOK") == ["It's", "(fine)", ".", "OK"]


def test_unknown_kind_is_refused():
    message = r"^tokenizer kind 'chars' is not known \(whitespace, words, characters\)$"
    with pytest.raises(ValueError, match=message):
        Tokenizer("chars")


def test_of_kind_characters_white_space_is_a_token_too():
    tokenizer = Tokenizer("characters")
    assert tokenizer.spans("a \n b") == [(0, 1), (1, 4), (4, 5)]
    assert tokenizer.cut("a \n b") == (tokenizer.tokens("a \n b"), tokenizer.spans("a \n b"))
    assert tokenizer.tokens("a \n b\u2003c") == ["a", "\n", "b", " ", "c"]


@pytest.mark.parametrize("key", ["keep", "suffixes", "split", "ends", "closers"])
def test_lists_of_other_things_than_strings_are_refused(key):
    spec = ENGLISH.to_json()
    spec[key] = [1] if key in ("keep", "suffixes") else 1
    with pytest.raises(TypeError, match=r"^the tokenizer's lists hold something other than strings$"):
        Tokenizer.from_json(spec)


def test_a_spec_older_than_sentences_has_the_usual_ends_and_closers():
    spec = ENGLISH.to_json()
    del spec["ends"], spec["closers"]
    assert Tokenizer.from_json(spec) == ENGLISH
    other = Tokenizer("words", ends="。", closers="」")
    assert Tokenizer.from_json(other.to_json()) == other


tokenizers = st.builds(
    Tokenizer,
    st.sampled_from(["words", "whitespace"]),
    st.frozensets(ODD.filter(bool), max_size=3),
    st.lists(st.sampled_from(["'s", "n't", "a", "ß"]), max_size=3).map(tuple),
    st.text(st.sampled_from(JOINERS), max_size=4),
)


@given(tokenizers, ODD)
def test_every_visible_character_is_in_exactly_one_token(tokenizer, text):
    spans = tokenizer.spans(text)
    covered = [i for start, end in spans for i in range(start, end)]
    assert covered == [i for i, kind in enumerate(classes(text)) if kind != "s"]
    assert all(start < end for start, end in spans)
    assert tokenizer.tokens(text) == [text[start:end] for start, end in spans]


@given(tokenizers)
def test_spec_survives_json(tokenizer):
    assert Tokenizer.from_json(tokenizer.to_json()) == tokenizer


def test_real_text_is_covered():
    sentences = list(read_gold(corpus("ud-english-ewt/en_ewt-ud-dev.conllu.xz")))
    assert len(sentences) > 1000
    for sentence in sentences:
        assert "".join(ENGLISH.tokens(sentence.text)) == "".join(sentence.text.split())


PLAIN = re.compile(r"(?:a+://|aaa\.(?=a+\.))[^s]+|[a0._+&\-]+@[a0\-]+(?:\.[a0\-]+)+"), re.compile(r"(?:a\.){2,}")
"""Addresses and initials as FORMAT.md has them: one pattern each for the whole of a part."""


@given(st.text("aaa0.@-_:/w,!", min_size=1, max_size=14), st.data())
def test_shapes_of_parts_that_shrink_are_those_of_the_plain_patterns(letters, data):
    address, initials = PLAIN
    start, end = 0, len(letters)
    shapes = _Shapes(letters, end)
    while start < end:
        edge = letters[end - 1] not in "a0mj"
        whole = initials.fullmatch(letters, start, end) or (address.fullmatch(letters, start, end) and not edge)
        assert shapes.hold(start, end) == bool(whole)
        if letters[start] not in "a0mj" and data.draw(st.booleans()):
            start += 1  # as the tokenizer peels: off the front only what is no letter
        else:
            end -= 1


UNITS = [".", "a.", "a-", "'s", "n't", "!?", "(.", "._", "._@", "a@a.", "://", "0,", "s", "(a", "a)", "\u0301\u200d",
         "!\u0301", "👩\u200d", "\u202e", "İ"]  # fmt: skip


@pytest.mark.parametrize(
    ("tokenizer", "tail"),
    [(ENGLISH, ""), (ENGLISH, ",;"), (Tokenizer("words", frozenset(), ("'s", "s", "a"), "'"), "")],
    ids=["alone", "with a tail", "suffixes"],
)
@pytest.mark.parametrize("unit", UNITS)
def test_time_grows_with_a_text_not_with_its_square(tokenizer, unit, tail):
    def seconds(size):
        text = unit * (size // len(unit)) + tail * (size // 2 if tail else 0)
        start = time.process_time()
        assert tokenizer.spans(text)[-1][1] == len(text)
        return time.process_time() - start

    short, long = (min(seconds(size) for _ in range(3)) for size in (2_000, 20_000))
    assert long < 30 * short + 0.05  # a hundred times, if it grew with the square
