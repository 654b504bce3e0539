"""Rows of text -> rows of tokens, each row one sentence or as many as are found in it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ..segmentation import Segments
from ..tokenizer import Tokenizer
from .rows import Chunk

_TOKENS = pa.list_(pa.string())


@dataclass(slots=True)
class Tokens:
    """The tokens of a chunk.

    Attributes:
        rows: list<string>, one a row; null where that is bad.
        sentences: list<string>, one a sentence, the same tokens in the same order.
        lengths: list<int32>, tokens of each sentence in the row; None where each row is one.
    """

    rows: pa.Array
    sentences: pa.Array
    lengths: pa.Array | None = None


def tokens_of(chunk: Chunk, tokenizer: Tokenizer, segments: Segments | None) -> Tokens:
    """The tokens that a chunk's rows give, or that are found in their texts.

    Args:
        segments: finds sentences in texts; None: a text is one.
    """
    if chunk.texts is None:
        rows = chunk.tokens if isinstance(chunk.tokens, pa.Array) else pa.array(chunk.tokens or [], _TOKENS)
        return Tokens(rows, rows)
    given: Any = chunk.tokens if isinstance(chunk.tokens, list) else [None] * len(chunk.texts)
    if segments is None:
        rows = pa.array(
            [
                tokens if text is None else tokenizer.tokens(text)
                for text, tokens in zip(chunk.texts, given, strict=True)
            ],
            _TOKENS,
        )
        return Tokens(rows, rows)
    found = segments.segment_stream(text for text in chunk.texts if text is not None)
    sentences: list[list[list[str]] | None] = [
        None if text is None and tokens is None else [tokens] if text is None else [list(s.tokens) for s in next(found)]
        for text, tokens in zip(chunk.texts, given, strict=True)
    ]
    flat = pa.array([tokens for row in sentences for tokens in row or ()], _TOKENS)
    lengths = pa.array([None if row is None else list(map(len, row)) for row in sentences], pa.list_(pa.int32()))
    return Tokens(_regrouped(flat, lengths), flat, lengths)


def _regrouped(sentences: pa.Array, lengths: pa.Array) -> pa.Array:
    counts = np.array([sum(row or ()) for row in lengths.to_pylist()], np.int64)
    return as_rows(sentences.flatten(), counts, lengths.is_null() if lengths.null_count else None)


def as_rows(values: pa.Array, counts: Any, nulls: pa.Array | None) -> pa.Array:
    """A list of ``values`` for each row, so many of them; null where ``nulls`` says so."""
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, mask=nulls)
