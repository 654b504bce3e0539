"""Model files that need no torch to be made, and a way to spoil their metadata."""

import json
import os
from pathlib import Path

import pytest

from lstm_deploy.modelfile import read_model_file

TUTORIAL = Path(__file__).parents[2] / "exported" / "tutorial.onnx"
SUBWORD = Path(__file__).parent / "data" / "subword.onnx"
SUBWORD_INT8 = SUBWORD.with_name("subword-int8.onnx")
CHARACTERS = SUBWORD.with_name("characters.onnx")
"""Characters alone, all of them known, lower case."""
CHARACTERS_CRF = SUBWORD.with_name("characters-crf.onnx")
"""Words, all of them known, and characters; ends in a CRF."""
STREAMING = SUBWORD.with_name("streaming.onnx")
"""Words and hashed features, two forward layers, states in and out."""
SEGMENTER = SUBWORD.with_name("segmenter.onnx")
"""Characters as tokens, random tags: where it cuts means nothing, that it cuts well-formed does."""
PREFIX = "lstm_deploy."


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number, payload):
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def top_level_fields(data):
    """(number, all bytes of the field) of each field of a message whose fields are varints and byte strings."""
    at = 0
    while at < len(data):
        start = at
        numbers = []
        for _ in range(2):
            value = shift = 0
            while True:
                byte = data[at]
                at += 1
                value |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
            numbers.append(value)
        if numbers[0] & 7 == 2:
            at += numbers[1]
        yield numbers[0] >> 3, data[start:at]


def rewrite(source, target, **changes):
    """Copies a model file with metadata values replaced: text as it is, None removes, the rest as JSON."""
    properties = dict(read_model_file(source).properties)
    for key, value in changes.items():
        properties.pop(PREFIX + key)
        if value is not None:
            properties[PREFIX + key] = value if isinstance(value, str) else json.dumps(value)
    kept = b"".join(raw for number, raw in top_level_fields(Path(source).read_bytes()) if number != 14)
    added = b"".join(field(14, field(1, k.encode()) + field(2, v.encode())) for k, v in properties.items())
    Path(target).write_bytes(kept + added)
    return target


def stored(source, key):
    """The JSON value under ``key`` in a model file."""
    return json.loads(read_model_file(source).properties[PREFIX + key])


def corpus(name):
    """A real corpus file, or a skip."""
    default = Path(__file__).parents[3] / "shared" / "data"
    path = Path(os.environ.get("LSTM_DEPLOY_DATA", default)) / name
    if not path.exists():
        pytest.skip(f"{name} is not there: set LSTM_DEPLOY_DATA to the folder of corpora")
    return path
