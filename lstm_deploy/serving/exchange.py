"""JSON in, JSON out: what a client may ask over HTTP, and what it gets.

Knows no server. Whatever a client sends ends in a `Question` or in an `InputError`, so that a bad request is the
client's error, never the server's.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..decoding import TaggedSentence
from ..errors import InputError, LstmDeployError, OutOfMemoryError, RequestTooLargeError
from ..predictor import Predictor
from ..tokenizer import Tokenizer

MAX_BYTES = 1 << 20
"""Of a request's body."""
MAX_TOKENS = 16_384
"""Of all of a request's sentences: what keeps one client from taking the memory of all."""
_KINDS = ("tokens", "sentences", "text")
_CURE = 'send {"text": "They ate"}, {"tokens": ["They", "ate"]} or {"sentences": [["They", "ate"]]}'

Offsets = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Question:
    """One request.

    Attributes:
        sentences: tokens of each.
        offsets: of the tokens in the text, where a text was sent.
        scores: whether the client wants probabilities.
    """

    sentences: tuple[tuple[str, ...], ...]
    offsets: Offsets | None = None
    scores: bool = False


def read_question(
    body: bytes, tokenizer: Tokenizer, *, max_bytes: int = MAX_BYTES, max_tokens: int = MAX_TOKENS
) -> Question:
    """What the body of a request asks.

    Raises:
        InputError: it is not JSON, or not a question.
        RequestTooLargeError: it is larger than a request may be.
    """
    if len(body) > max_bytes:
        raise RequestTooLargeError(
            f"the request has {len(body)} bytes; expected at most {max_bytes}; send it in several"
        )
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError) as e:
        raise InputError(f"the request is not JSON ({e}); {_CURE}") from e
    if not isinstance(asked, dict):
        raise InputError(f"the request is a JSON {_kind(asked)}; expected an object; {_CURE}")
    if unknown := sorted(set(asked) - {*_KINDS, "scores"}):
        raise InputError(f"the request has the field {_shown(unknown[0])}, which is unknown; {_CURE}")
    given = [kind for kind in _KINDS if kind in asked]
    if len(given) != 1:
        raise InputError(f"the request has {' and '.join(given) or 'nothing to tag'}; expected one thing; {_CURE}")
    scores = asked.get("scores", False)
    if not isinstance(scores, bool):
        raise InputError(f"scores is a {_kind(scores)}; expected true or false; leave it out for tags alone")
    sentences, offsets = _sentences(given[0], asked[given[0]], tokenizer)
    return Question(check_size(sentences, max_tokens), offsets, scores)


def read_tokens(value: Any, name: str) -> tuple[str, ...]:
    """A JSON list of tokens.

    Raises:
        InputError: it is something else; the text calls it ``name``.
    """
    if not isinstance(value, list):
        raise InputError(f"{name} is a {_kind(value)}; expected a list of tokens; send a whole sentence as text")
    for i, token in enumerate(value):
        if not isinstance(token, str):
            raise InputError(f"{name}[{i}] is a {_kind(token)}; expected a string; send each token as one")
        check_text(token, f"{name}[{i}]")
    return tuple(value)


def check_text(text: str, name: str) -> str:
    """The text, if it is one: JSON can hold halves of characters, which no encoding can.

    Raises:
        InputError: it does.
    """
    try:
        text.encode()
    except UnicodeEncodeError as e:
        raise InputError(
            f"{name} has a lone surrogate at {e.start}; expected whole characters; send both halves, or UTF-8"
        ) from e
    return text


def check_size(sentences: Sequence[tuple[str, ...]], max_tokens: int) -> tuple[tuple[str, ...], ...]:
    """The sentences, if they are not too many.

    Raises:
        RequestTooLargeError: they are.
    """
    tokens = sum(map(len, sentences))
    if tokens > max_tokens or len(sentences) > max_tokens:
        raise RequestTooLargeError(
            f"the request has {tokens} tokens in {len(sentences)} sentences; expected at most {max_tokens} of either; "
            "send it in several"
        )
    return tuple(sentences)


def warm_up(predictor: Predictor) -> None:
    """Runs the model once, on words that it is sure to know, so that no client waits for what is done but once."""
    for case in predictor.metadata.golden[:1]:
        predictor.predict(case.tokens)


def tag_all(predictor: Predictor, questions: Sequence[Question]) -> list[list[TaggedSentence] | LstmDeployError]:
    """The answers to many questions, tagged in one batch; a question that the model cannot answer fails alone."""
    try:
        return list(_tagged(predictor, questions))
    except LstmDeployError as e:
        if len(questions) == 1:
            return [e]
    return [answer for question in questions for answer in tag_all(predictor, [question])]


def to_json(question: Question, tagged: Sequence[TaggedSentence]) -> dict[str, Any]:
    """What the client gets."""
    sentences: list[dict[str, Any]] = []
    for each in tagged:
        found: dict[str, Any] = {"tokens": each.tokens, "tags": each.tags}
        if question.scores:
            found["scores"] = [round(score, 6) for score in each.scores]
        if question.offsets is not None:
            found["offsets"] = question.offsets
        sentences.append(found)
    return {"sentences": sentences}


def status_of(error: LstmDeployError) -> int:
    """The HTTP status that says whose error it is."""
    if isinstance(error, RequestTooLargeError | OutOfMemoryError):
        return 413
    return 400 if isinstance(error, InputError) else 500


def one_line(error: Exception) -> str:
    """The text of an error in one line."""
    return " ".join(str(error).split())


def _tagged(predictor: Predictor, questions: Sequence[Question]) -> list[list[TaggedSentence]]:
    flat = [sentence for question in questions for sentence in question.sentences]
    results = iter(predictor.predict_batch(flat, scores=any(question.scores for question in questions)))
    return [[next(results) for _ in question.sentences] for question in questions]


def _sentences(kind: str, value: Any, tokenizer: Tokenizer) -> tuple[list[tuple[str, ...]], Offsets | None]:
    if kind == "tokens":
        return [read_tokens(value, "tokens")], None
    if kind == "sentences":
        if not isinstance(value, list):
            raise InputError(f"sentences is a {_kind(value)}; expected a list of lists of tokens; {_CURE}")
        return [read_tokens(each, f"sentences[{i}]") for i, each in enumerate(value)], None
    if not isinstance(value, str):
        raise InputError(f"text is a {_kind(value)}; expected a string, one sentence; {_CURE}")
    tokens, offsets = tokenizer.cut(check_text(value, "text"))
    return [tuple(tokens)], tuple(offsets)


def _kind(value: Any) -> str:
    names = {dict: "object", list: "list", str: "string", bool: "boolean", int: "number", float: "number"}
    return names.get(type(value), "null")


def _shown(text: str) -> str:
    return json.dumps(text[:40])
