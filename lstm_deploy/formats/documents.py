"""CoNLL-U -> raw text with what stands where in it: documents as a tool gets them, before anything is cut.

As the raw files of the CoNLL 2018 shared task are made (conllu_to_text.pl of UD's tools, without its line breaks after
80 characters): forms one after another, a space after each but where ``SpaceAfter=No`` stands, a blank line before
``# newpar``, ``# newdoc`` and ``NewPar=Yes``. Unlike that script it reads ``SpacesAfter``, too, which says what white
space it was.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import InputError
from ..metadata import Column
from .reading import CONLLU_FIELD, format_of, read_conllu
from .streams import LineReader

_BOM = "\ufeff"
PARAGRAPH = "\n\n"
_MISC = 9
_ESCAPES = {"s": " ", "t": "\t", "n": "\n", "r": "\r", "p": "|", "\\": "\\"}
_BREAK = re.compile(r"#\s*new(?P<what>doc|par)(?:\s|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SurfaceToken:
    """A token as it stands in the text: ``text[start:end]``.

    Attributes:
        words: the forms of its words: itself, or of a multiword token each.
        tags: one a word; empty where no column was asked for.
    """

    start: int
    end: int
    words: tuple[str, ...]
    tags: tuple[str, ...] = ()


@dataclass(slots=True)
class Document:
    """A raw text and its sentences.

    Attributes:
        sentences: the tokens of each, in order.
    """

    text: str = ""
    sentences: list[list[SurfaceToken]] = field(default_factory=list)


def read_documents(path: str | Path, column: Column | None = None) -> Iterator[Document]:
    """The documents of a CoNLL-U file; a file without ``# newdoc`` is one.

    Args:
        column: ``upos`` or ``xpos``, whose tags the words are to have.

    Raises:
        InputError: malformed, naming the line; or no CoNLL-U, which alone says where white space was.
    """
    if format_of(path) != "conllu":
        raise InputError(f"{path}: raw text is read off CoNLL-U alone; expected a name in .conllu, or compressed")
    document = Document()
    parts: list[str] = []
    size, gap = 0, ""
    breaks: set[str] = set()
    for sentence in read_conllu(LineReader(path), column if column in CONLLU_FIELD else None):
        breaks |= {match["what"].lower() for line in sentence.raw if (match := _BREAK.match(line.removeprefix(_BOM)))}
        if not sentence.tokens:
            continue  # comments alone: what they begin, the next sentence does
        if "doc" in breaks and document.sentences:
            document.text = "".join(parts)
            yield document
            document, parts, size, gap = Document(), [], 0, ""
        elif breaks:
            gap = PARAGRAPH
        breaks = set()
        tokens: list[SurfaceToken] = []
        for form, words, tags, misc in _surface(sentence.raw, sentence.tokens, sentence.tags):
            if size:
                gap = PARAGRAPH if "NewPar=Yes" in misc else gap
                parts.append(gap)
                size += len(gap)
            tokens.append(SurfaceToken(size, size + len(form), words, tags))
            parts.append(form)
            size += len(form)
            gap = _space_after(misc)
        document.sentences.append(tokens)
    if document.sentences:
        document.text = "".join(parts)
        yield document


def _surface(
    raw: Sequence[str], words: Sequence[str], tags: Sequence[str]
) -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...], list[str]]]:
    """Form, words, tags and MISC of each surface token of a sentence."""
    done = 0
    for line in raw:
        line = line.removeprefix(_BOM)
        cells = line.rstrip("\r\n").split("\t")
        if line.startswith("#") or len(cells) <= _MISC or "." in cells[0]:
            continue
        first, _, last = cells[0].partition("-")
        if int(first) > done:
            done = int(last or first)
            part = slice(int(first) - 1, done)
            yield cells[1], tuple(words[part]), tuple(tags[part]), cells[_MISC].split("|")


def _space_after(misc: Iterable[str]) -> str:
    space = " "
    for item in misc:
        if item.startswith("SpacesAfter="):
            return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[0]), item.partition("=")[2])
        if item == "SpaceAfter=No":
            space = ""
    return space
