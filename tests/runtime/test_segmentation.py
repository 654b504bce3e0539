"""Raw text to sentences of words: any text, by a segmenter and by the rule."""

import pickle
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from model_files import SEGMENTER, STREAMING, SUBWORD, TUTORIAL, rewrite

from lstm_deploy import Predictor, Segmenter, StreamingPredictor
from lstm_deploy.errors import MetadataError, ModelFileError
from lstm_deploy.segmentation import TAGS, TextSentence, character_tags, characters, cut, paragraphs
from lstm_deploy.segmenter import MARGIN, WINDOW
from lstm_deploy.sentence_rules import SentenceRules
from lstm_deploy.tokenizer import Tokenizer
from lstm_deploy.unicode14 import classes

RULES = SentenceRules(Tokenizer("words", frozenset({"Mr."}), ("n't",)))
ANY = st.text(
    st.sampled_from(" \n\r\t.!?\"'aZé9東\x00\ud800\x1c\x85\u2028\u2029\u00a0\u200d🙂") | st.characters(), max_size=80
)


@pytest.fixture(scope="module")
def segmenter():
    return Segmenter.load(SEGMENTER, threads=1)


def holds(text, sentences):
    """Spans ascend without overlap, none is empty or of white space at an end, and together they hold the rest."""
    kinds, at, covered = classes(text), 0, set()
    for sentence in sentences:
        assert sentence.offsets
        assert len(sentence.tokens) == len(sentence.offsets)
        for token, (start, end) in zip(sentence.tokens, sentence.offsets, strict=True):
            assert at <= start < end
            assert kinds[start] != "s" != kinds[end - 1]
            assert token.split() == text[start:end].split()
            covered |= set(range(start, end))
            at = end
    assert {i for i, kind in enumerate(kinds) if kind != "s"} <= covered


@settings(max_examples=300)
@given(ANY)
@example("")
@example(" \n\n ")
@example("\x00")
@example("\ud83d\ude42 \udc00")
@example("a\n \nb\r\n\r\nc\u2029\u2029d")
def test_any_text_is_held_whole(segmenter, text):
    for each in (segmenter, RULES):
        sentences = each.segment(text)
        holds(text, sentences)
        breaks = [end for _, end in paragraphs(text)]
        for sentence in sentences:  # no sentence goes across a blank line
            assert not any(sentence.offsets[0][0] < at < sentence.offsets[-1][1] for at in breaks)


@settings(max_examples=100)
@given(st.lists(ANY, max_size=6))
def test_many_texts_are_cut_as_each_alone(segmenter, texts):
    for each in (segmenter, RULES):
        assert list(each.segment_stream(texts)) == [each.segment(text) for text in texts]


@settings(max_examples=100)
@given(ANY, ANY)
def test_a_blank_line_parts_what_does_not_know_of_each_other(segmenter, first, second):
    text = first + "\n\n" + second
    shift = len(first) + 2
    behind = [
        TextSentence(s.tokens, tuple((a + shift, b + shift) for a, b in s.offsets)) for s in segmenter.segment(second)
    ]
    assert segmenter.segment(text) == segmenter.segment(first) + behind


def test_a_long_text_is_cut_as_its_windows_are(segmenter):
    """With margins wider than the memory of a tagger, windows are the whole; here memory is short by its weights."""
    text = "Ann went to Oslo. Mr. Lee didn't  go! " * 60
    assert len(text) > 2 * WINDOW + 2 * MARGIN
    sentences = segmenter.segment(text)
    holds(text, sentences)
    whole = segmenter._predictor.predict(characters(text.strip()).tokens, scores=False)
    assert [list(s.offsets) for s in sentences] == cut(characters(text.strip()), whole.tags)


@given(ANY.map(str.strip), st.data())
def test_any_tags_have_a_reading_and_tags_of_it_read_the_same(text, data):
    for start, end in paragraphs(text):
        found = characters(text[start:end])
        tags = data.draw(st.lists(st.sampled_from(TAGS), min_size=len(found.tokens), max_size=len(found.tokens)))
        sentences = cut(found, tags)
        holds(text[start:end], [TextSentence.of(text[start:end], spans) for spans in sentences])
        assert cut(found, character_tags(found, sentences)) == sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n\n ", []),
        ("one", ["one"]),
        ("  one  two\nthree \t", ["one  two\nthree"]),
        ("\n\n one\n\ntwo", ["one", "two"]),
        ("one\r\ntwo\r\n\r\nthree\u2029\u2029four\n x\n \ny", ["one\r\ntwo", "three", "four\n x", "y"]),
    ],
)
def test_two_line_breaks_part_paragraphs(text, expected):
    assert [text[start:end] for start, end in paragraphs(text)] == expected


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("sentence outside inside", [["a", "b"]]),
        ("inside outside outside", [["a", "b"]]),
        ("inside inside inside", [["a b"]]),
        ("inside inside outside", [["a", "b"]]),
        ("token inside token", [["a", "b"]]),
        ("token inside sentence", [["a"], ["b"]]),
    ],
)
def test_how_tags_around_white_space_are_read(tags, expected):
    text = "a b"
    sentences = cut(characters(text), tags.split())
    assert [[text[start:end] for start, end in sentence] for sentence in sentences] == expected


def test_each_character_of_a_token_is_tagged_and_what_lies_between_is_outside():
    tags = character_tags(characters("1 0 men. x"), [[(0, 3), (4, 7), (7, 8)], [(9, 10)]])
    assert " ".join(tags) == "sentence inside inside outside token inside inside token outside sentence"
    assert character_tags(characters("a b"), [[(2, 3)]]) == ["outside", "outside", "sentence"]


def test_tags_of_another_number_than_the_characters_are_refused():
    with pytest.raises(ValueError, match="zip"):
        cut(characters("ab"), ["sentence"])


def test_white_space_within_a_word_is_one_space():
    text = "1\n 000 men"
    found = characters(text)
    assert found.tokens == ["1", "\n", "0", "0", "0", " ", "m", "e", "n"]
    sentences = cut(found, ["sentence", "inside", "inside", "inside", "inside", "outside", "token", "inside", "inside"])
    assert TextSentence.of(text, sentences[0]) == TextSentence(("1 000", "men"), ((0, 6), (7, 10)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two", ["One .", "Two"]),
        ("One.\nTwo", ["One .", "Two"]),
        ("One\nline. two", ["One line . two"]),
        ("One\n\ntwo", ["One", "two"]),
        ('He said "go." Then', ['He said " go . "', "Then"]),
        ("J. R. Lee and Mr. X ate.", ["J . R . Lee and Mr. X ate ."]),
        ("What?! Yes...  No", ["What ? !", "Yes ...", "No"]),
        ("a.b c.d", ["a.b c.d"]),
        ("! Go D", ["!", "Go D"]),
        ("J. Lee", ["J . Lee"]),
        ("He ate j. She", ["He ate j . She"]),
        ("He ate 5. She", ["He ate 5 .", "She"]),
        ("One. “two”", ["One .", "“ two ”"]),
        ('One. " two', ["One .", '" two']),
        ("Yes.) No", ["Yes . )", "No"]),
    ],
)
def test_the_rule(text, expected):
    assert [" ".join(sentence.tokens) for sentence in RULES.segment(text)] == expected


def test_ends_and_closers_are_the_tokenizers():
    rules = SentenceRules(Tokenizer("words", ends="。", closers="」"))
    assert [s.tokens for s in rules.segment("東。 京. x")] == [("東", "。"), ("京", ".", "x")]


def test_a_document_is_tagged_with_offsets_of_the_whole_text(subword, segmenter):
    text = "Ann Lee went to Oslo.\n\n  Mr. Lee\ndidn't go."
    for by in (None, segmenter):
        results = subword.predict_document(text, by)
        cuts = (by or SentenceRules(subword.metadata.tokenizer)).segment(text)
        assert [r.offsets for r in results] == [s.offsets for s in cuts]
        for result in results:
            assert [text[a:b] for a, b in result.offsets] == list(result.tokens)
            alone = subword.predict(result.tokens)
            assert (result.tags, result.text) == (alone.tags, text)
    assert [r.tokens for r in subword.predict_document(text, scores=False)][1][:2] == ("Mr.", "Lee")
    assert subword.predict_document("") == []


def test_a_segmenter_is_pickled_by_its_path(segmenter):
    assert pickle.loads(pickle.dumps(segmenter)).segment("Ann went.") == segmenter.segment("Ann went.")


def test_what_tags_words_is_no_segmenter_nor_the_other_way():
    with pytest.raises(ModelFileError, match="expected a segmenter"):
        Segmenter.load(TUTORIAL)
    with pytest.raises(ValueError, match="load it with Segmenter"):
        Predictor.load(SEGMENTER).predict_document("Ann went.")


@pytest.mark.parametrize(
    ("source", "changes", "match"),
    [
        (SEGMENTER, {"column": "upos"}, "go together"),
        (SUBWORD, {"column": "segmentation"}, "go together"),
        (SEGMENTER, {"tags": ["inside", "outside", "sentence", "word"], "golden": []}, "expected some of"),
    ],
)
def test_files_whose_column_and_tokenizer_disagree_are_refused(tmp_path, source, changes, match):
    with pytest.raises(MetadataError, match=match):
        Predictor.load(rewrite(source, tmp_path / "spoilt.onnx", **changes))


def test_a_text_is_given_to_the_model_as_its_tokenizer_spells_it():
    predictor, text = Predictor.load(SEGMENTER, threads=1), "a  \n b\tc"
    found = predictor.predict_text(text)
    assert found.tokens == ("a", "\n", "b", " ", "c")
    assert found.offsets == ((0, 1), (1, 5), (5, 6), (6, 7), (7, 8))
    assert found.scores == predictor.predict(characters(text).tokens).scores
    streaming = StreamingPredictor.load(STREAMING, threads=1)
    streaming.metadata = replace(streaming.metadata, tokenizer=Tokenizer("characters"))
    assert streaming.predict_text(text).tokens == found.tokens


def test_a_streaming_file_is_no_segmenter():
    streaming = StreamingPredictor.load(STREAMING, threads=1)
    streaming.metadata = replace(streaming.metadata, column="segmentation")
    with pytest.raises(ModelFileError, match=r"a streaming file, .* expected one for whole paragraphs"):
        Segmenter.of(streaming)
