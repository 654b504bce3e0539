"""Writes tagged sentences as text, JSON lines or CoNLL-U."""

import json
from collections.abc import Callable
from typing import Literal

from ..decoding import TaggedSentence
from ..errors import InputError
from ..metadata import Column
from .reading import CONLLU_FIELD, Sentence

OutputFormat = Literal["text", "conllu", "jsonl"]
OUTPUT_FORMATS: tuple[OutputFormat, ...] = ("text", "conllu", "jsonl")
Writer = Callable[[Sentence, TaggedSentence], bytes]
_MISC = 9
_SCORE_DIGITS = 6


def writer_for(form: OutputFormat, column: Column) -> Writer:
    """The function that turns one sentence, as read and as tagged, into the bytes of the output.

    Args:
        form: ``text``, ``conllu`` or ``jsonl``.
        column: where CoNLL-U takes the tags: UPOS, XPOS, or for other tags ``Tag=`` in MISC.
    """
    if form == "conllu":
        return lambda source, result: _conllu(source, result, column)
    return _text if form == "text" else _jsonl


def chunk_writer_for(form: OutputFormat) -> Callable[[TaggedSentence, bool], bytes]:
    """The function that turns a chunk of a sentence, and whether the sentence ends there, into the bytes of the output.

    Raises:
        InputError: ``conllu``, which numbers the words of whole sentences.
    """
    if form == "conllu":
        raise InputError("CoNLL-U comes by sentences; expected another form for a stream: pass --format text or jsonl")
    if form == "jsonl":
        return lambda result, ends: _jsonl(Sentence(), result)
    return lambda result, ends: _text(Sentence(), result)[:-1] + b"\n" * ends


def _text(source: Sentence, result: TaggedSentence) -> bytes:
    return _encode([f"{token}\t{tag}\n" for token, tag in zip(result.tokens, result.tags, strict=True)], 1) + b"\n"


def _jsonl(source: Sentence, result: TaggedSentence) -> bytes:
    scores = [round(score, _SCORE_DIGITS) for score in result.scores]
    value = {"tokens": result.tokens, "tags": result.tags, "scores": scores}
    try:
        return json.dumps(value, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:  # a lone surrogate, which JSON can carry only as an escape
        return json.dumps(value).encode() + b"\n"


def _conllu(source: Sentence, result: TaggedSentence, column: Column) -> bytes:
    if not source.raw:
        return _new_conllu(source, result, column)
    lines = list(source.raw)
    for i, tag in zip(source.words, result.tags, strict=True):
        body = lines[i].rstrip("\r\n")
        lines[i] = "\t".join(_filled(body.split("\t"), tag, column)) + lines[i][len(body) :]
    return "".join(lines).encode()


def _new_conllu(source: Sentence, result: TaggedSentence, column: Column) -> bytes:
    if not result.tokens:
        return b""  # CoNLL-U has no empty sentence
    rows = []
    for i, (token, tag) in enumerate(zip(result.tokens, result.tags, strict=True), 1):
        rows.append("\t".join(_filled([str(i), token or "_", *"________"], tag, column)) + "\n")
    text = source.text if source.text is not None else " ".join(result.tokens)
    return _encode([f"# text = {' '.join(text.split())}\n"], 0) + _encode(rows, 9) + b"\n"


def _filled(cells: list[str], tag: str, column: Column) -> list[str]:
    """The ten cells with the tag in its place."""
    if column in CONLLU_FIELD:
        cells[CONLLU_FIELD[column]] = tag
    else:
        others = [item for item in cells[_MISC].split("|") if item != "_" and not item.startswith("Tag=")]
        cells[_MISC] = "|".join([*others, f"Tag={tag}"])
    return cells


def _encode(rows: list[str], tabs: int) -> bytes:
    """UTF-8 of one-line rows.

    Raises:
        InputError: a token holds a tab or line feed, which would break the rows, or is not Unicode text.
    """
    for row in rows:
        if row.count("\n") != 1 or "\r" in row or row.count("\t") != tabs:
            raise InputError(
                f"a token with a tab or line break cannot be written in columns: {row!r:.80}; use --format jsonl"
            )
    try:
        return "".join(rows).encode()
    except UnicodeEncodeError as e:
        raise InputError(f"a token is not Unicode text ({e.reason}); use --format jsonl") from e
