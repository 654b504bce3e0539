"""Metadata of real files, spoilt: in the JSON that they hold, in its text, and in which keys there are."""

import copy
import json
import random
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[2]
SEEDS = (_ROOT / "exported" / "tutorial.onnx", *sorted((_ROOT / "tests" / "runtime" / "data").glob("*.onnx")))
HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 5, 7, 2**31 - 1, 2**31, 2**32, 2**53 + 1, -(2**63), 10**30, 0.5, -0.0, 1e308,
    1e-320, "", " ", "\0", "\x1b[2J", "a\nb", "\u202e", "\ud800", "é", "\U0001f642", "keep", "lower", "crf",
    "argmax", "upos", "state", "word_ids", "char_ids", "characters", "words", "whitespace", "suffix9", "x" * 5000,
    "__proto__", [], {}, [[]], [None], [0], [1.5], ["a", "a"], [[0.0] * 5] * 5, {"kind": "crf"}, {"kind": "argmax"},
    {"__proto__": 1},
)  # fmt: skip
RAW = ("NaN", "Infinity", "-Infinity", "1e999", "1" * 5000, "[" * 3000, "{" * 500, '"\\ud800"', '"\\u0000"', "1.0",
       "01", "\ufeff", "\u00a0", '"a', "nul", "{}", "[]", "//", ",", '{"a":1,"a":2}')  # fmt: skip
PREFIX = "lstm_deploy."


def load_seeds() -> list[dict[str, str]]:
    """The string maps of the models that the tests have."""
    from lstm_deploy.modelfile import read_model_file

    return [dict(read_model_file(path).properties) for path in SEEDS]


def mutated(drawn: random.Random, seeds: list[dict[str, str]]) -> dict[str, str]:
    """One of ``seeds`` with one to three things wrong with it, or right in another way."""
    found = dict(drawn.choice(seeds))
    for _ in range(drawn.choice((1, 1, 1, 2, 3))):
        key = drawn.choice(sorted(found)) if found else PREFIX + "tags"
        kind = drawn.random()
        if kind < 0.7 and key in found:
            found[key] = _of_value(drawn, found[key])
        elif kind < 0.9 and key in found:
            found[key] = _of_text(drawn, found[key])
        else:
            _of_keys(drawn, found, key, seeds)
    return found


def _of_value(drawn: random.Random, text: str) -> str:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return _of_text(drawn, text)
    if not isinstance(value, dict | list):
        return drawn.choice((str(drawn.choice((0, 1, 4, 5, 6, -1, 10**9, 10**20))), "v5", "５", " 5", "5.0", ""))
    value = copy.deepcopy(value)
    for _ in range(drawn.randint(1, 2)):
        _change(drawn, value)
    try:
        return json.dumps(value, ensure_ascii=drawn.random() < 0.5)
    except ValueError:
        return text


def _change(drawn: random.Random, value: Any) -> None:
    """One thing somewhere within, in place: deeper more often than not."""
    while isinstance(value, dict | list) and value:
        place = drawn.choice(sorted(value)) if isinstance(value, dict) else drawn.randrange(len(value))
        inner = value[place]
        if isinstance(inner, dict | list) and inner and drawn.random() < 0.75:
            value = inner
            continue
        kind = drawn.randrange(6)
        if kind == 0:
            del value[place]
        elif kind == 1 and isinstance(value, list):
            value.insert(place, copy.deepcopy(inner))
        elif kind == 1:
            value[drawn.choice(("name", "kind", "rows", "__proto__", "toString", "later", ""))] = copy.deepcopy(inner)
        elif kind == 2 and isinstance(inner, int | float) and not isinstance(inner, bool):
            value[place] = drawn.choice((inner + 1, -inner, float(inner), inner * 10**6, str(inner)))
        elif kind == 3 and isinstance(value, list):
            drawn.shuffle(value)
        else:
            value[place] = copy.deepcopy(drawn.choice(HOSTILE))
        return
    if isinstance(value, list):
        value.append(copy.deepcopy(drawn.choice(HOSTILE)))
    elif isinstance(value, dict):
        value["added"] = copy.deepcopy(drawn.choice(HOSTILE))


def _of_text(drawn: random.Random, text: str) -> str:
    at, size = drawn.randint(0, len(text)), drawn.choice((0, 1, 1, 2, 8, 100))
    put = drawn.choice(("", drawn.choice(RAW), chr(drawn.randint(0, 0x24F)), text[at : at + size] * 2))
    if drawn.random() < 0.1:
        return text[:at]
    return text[:at] + put + text[at + size :]


def _of_keys(drawn: random.Random, found: dict[str, str], key: str, seeds: list[dict[str, str]]) -> None:
    kind = drawn.randrange(4)
    if kind == 0:
        found.pop(key, None)
    elif kind == 1:
        other = drawn.choice(sorted(found)) if found else key
        found[key], found[other] = found.get(other, ""), found.get(key, "")
    elif kind == 2:
        found[key] = drawn.choice(seeds).get(key, "{}")
    else:
        found[drawn.choice((PREFIX + "card", PREFIX + "later", "", "\0", key.upper()))] = drawn.choice(RAW)
