"""What a client may send, and that nothing it sends is anything but an answer or one line of error."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from served import BAD, CLOSED, MODEL, TEXTS

from lstm_deploy import Predictor
from lstm_deploy.errors import InputError, RequestTooLargeError, UnknownCharacterError, UnknownWordError
from lstm_deploy.serving.exchange import one_line, read_question, status_of, tag_all, to_json, warm_up


@pytest.fixture(scope="module")
def predictor():
    return Predictor.load(MODEL)


@pytest.mark.parametrize("body", BAD, ids=lambda body: body[:30])
def test_bad_requests_say_in_one_line_what_to_send(predictor, body):
    with pytest.raises(InputError) as error:
        read_question(body, predictor.metadata.tokenizer)
    assert BAD[body] in str(error.value)
    assert ";" in str(error.value)
    assert "\n" not in one_line(error.value)
    assert status_of(error.value) == 400


def test_too_much_is_told_from_wrong(predictor):
    cut = predictor.metadata.tokenizer
    for body in (b'{"tokens": ["a", "b", "c"]}', b'{"text": "a b c"}', b'{"sentences": [[], [], []]}'):
        with pytest.raises(RequestTooLargeError) as error:
            read_question(body, cut, max_tokens=2)
        assert status_of(error.value) == 413
        with pytest.raises(RequestTooLargeError):
            read_question(body, cut, max_bytes=5)
        assert read_question(body, cut, max_bytes=len(body), max_tokens=3)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)
ASKED = st.fixed_dictionaries({}, optional={name: JSON for name in ("text", "tokens", "sentences", "scores")})


@settings(max_examples=300, deadline=None)
@given(value=JSON | ASKED)
def test_whatever_is_sent_is_answered_or_refused(predictor, value):
    try:
        question = read_question(json.dumps(value).encode(), predictor.metadata.tokenizer)
    except InputError as e:
        assert status_of(e) in (400, 413)
        return
    (answer,) = tag_all(predictor, [question])
    assert len(json.loads(json.dumps(to_json(question, answer)))["sentences"]) == len(question.sentences)


def test_answers_are_the_predictors(predictor):
    cut = predictor.metadata.tokenizer
    asked = [read_question(json.dumps({"text": text, "scores": True}).encode(), cut) for text in TEXTS]
    asked.append(read_question(b'{"sentences": [["Ann", "saw"], [], ["Bob"]]}', cut))
    answers = tag_all(predictor, asked)
    for text, question, answer in zip(TEXTS, asked, answers, strict=False):
        (found,) = to_json(question, answer)["sentences"]
        result = predictor.predict_text(text)
        assert (found["tokens"], found["tags"], found["offsets"]) == (result.tokens, result.tags, result.offsets)
        assert found["scores"] == pytest.approx(result.scores, abs=1e-5)
    several = to_json(asked[-1], answers[-1])["sentences"]
    assert [each["tags"] for each in several] == [
        predictor.predict(tokens).tags for tokens in (["Ann", "saw"], [], ["Bob"])
    ]
    assert set(several[0]) == {"tokens", "tags"}


def test_a_word_that_the_model_lacks_fails_its_own_request_alone():
    predictor = Predictor.load(CLOSED)
    warm_up(predictor)
    known = predictor.metadata.golden[0].tokens
    cut = predictor.metadata.tokenizer
    asked = [read_question(json.dumps({"tokens": tokens}).encode(), cut) for tokens in (known, ["qqq☃"], known)]
    first, second, third = tag_all(predictor, asked)
    assert [[each.tags for each in answer] for answer in (first, third)] == [[predictor.predict(known).tags]] * 2
    assert isinstance(second, UnknownWordError | UnknownCharacterError)
    assert status_of(second) == 400
