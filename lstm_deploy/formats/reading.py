"""Streams sentences from CoNLL-U, token-per-line columns, JSON lines and plain text."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..errors import InputError, UnknownTagError
from ..metadata import Column
from ..tokenizer import Tokenizer
from ..unicode14 import classes
from .streams import COMPRESSIONS, LineReader

Format = Literal["text", "conllu", "columns", "jsonl"]
FORMATS: tuple[Format, ...] = ("text", "conllu", "columns", "jsonl")
_SUFFIXES: dict[str, Format] = {
    ".txt": "text",
    ".conllu": "conllu",
    ".conll": "columns",
    ".tsv": "columns",
    ".iob": "columns",
    ".iob2": "columns",
    ".bio": "columns",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
CONLLU_FIELD: dict[str, int] = {"upos": 3, "xpos": 4}
_ID = re.compile(r"(?P<word>[1-9][0-9]{0,8})(?:-(?P<last>[1-9][0-9]{0,8}))?|[0-9]{1,9}\.[1-9][0-9]{0,8}")


@dataclass(slots=True)
class Sentence:
    """One sentence as read.

    Attributes:
        tokens: the words, without CoNLL-U's multiword ranges and empty nodes.
        tags: the gold tags, one per token; empty where none were asked for or given.
        lines: the line number of each token, from 1.
        raw: the file's own lines, line feeds included (CoNLL-U only).
        words: which of ``raw`` are the tokens (CoNLL-U only).
        text: the sentence's text where the file gives one.
    """

    tokens: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    raw: list[str] = field(default_factory=list)
    words: list[int] = field(default_factory=list)
    text: str | None = None


def format_of(path: str | Path) -> Format:
    """The format that a file's name says, compression aside; standard input (``-``) is text.

    Raises:
        InputError: the name says nothing.
    """
    if str(path) == "-":
        return "text"
    suffixes = [s.lower() for s in Path(path).suffixes]
    if suffixes and suffixes[-1] in COMPRESSIONS:
        suffixes.pop()
    found = _SUFFIXES.get(suffixes[-1] if suffixes else "")
    if found is None:
        raise InputError(
            f"{path}: unknown kind of file; expected a name in {', '.join(_SUFFIXES)}, or compressed: .gz, .xz, .bz2"
        )
    return found


def default_column(path: str | Path) -> Column:
    """The column that holds the tags of such a file, where nothing else is said.

    Raises:
        InputError: the name says nothing, or it is plain text, which has no tags.
    """
    form = format_of(path)
    if form == "text":
        raise InputError(f"{path}: plain text has no tags; expected CoNLL-U, two columns or JSON lines with tags")
    return "upos" if form == "conllu" else "tag"


def read_sentences(lines: LineReader, form: Format, tokenizer: Tokenizer) -> Iterator[Sentence]:
    """Every sentence of the file to be tagged; gold tags are neither needed nor read.

    One sentence a line for ``text`` (an empty line is an empty sentence) and ``jsonl``
    (``{"tokens": [...]}`` or ``{"text": "..."}``).

    Raises:
        InputError: malformed, naming the line.
    """
    if form == "text":
        return _read_text(lines, tokenizer)
    if form == "jsonl":
        found = _read_jsonl(lines, tokenizer, gold=False)
    else:
        found = read_conllu(lines, None) if form == "conllu" else _read_columns(lines, gold=False)
    return found if tokenizer.kind != "characters" else (_spelt(sentence, tokenizer) for sentence in found)


def read_paragraphs(lines: LineReader) -> Iterator[str]:
    """The paragraphs of a plain text, line feeds included, as soon as a line of nothing but white space ends each."""
    paragraph: list[str] = []
    for number, line in lines:
        line = line.removeprefix("\ufeff") if number == 1 else line
        if classes(line).strip("s"):
            paragraph.append(line)
        elif paragraph:
            yield "".join(paragraph)
            paragraph = []
    if paragraph:
        yield "".join(paragraph)


def read_chunks(lines: LineReader, form: Format, tokenizer: Tokenizer) -> Iterator[Sentence]:
    """Every line of a text stream as a chunk of a sentence, as soon as it is there; a blank one is an empty chunk.

    A line is text that ``tokenizer`` cuts, a JSON object, or with ``columns`` one token in the first of them.

    Raises:
        InputError: malformed, naming the line; or CoNLL-U, which has no chunks.
    """
    if form == "conllu":
        raise InputError(f"{lines.name}: CoNLL-U comes by sentences; expected text, columns or JSON lines to stream")
    if form != "columns":
        return read_sentences(lines, form, tokenizer)
    return _read_tokens(lines)


def read_gold(path: str | Path, column: Column | None = None) -> Iterator[Sentence]:
    """Every sentence with words, and a tag for each word.

    Args:
        path: CoNLL-U, columns (token first, tag last) or JSON lines with ``tokens`` and ``tags``.
        column: ``upos`` or ``xpos`` of CoNLL-U, ``tag`` of the others; default what the file has.

    Raises:
        InputError: malformed, a word without a tag, or a column that such a file does not have.
    """
    default = default_column(path)
    column = column or default
    form = format_of(path)
    if column == "segmentation":
        raise InputError(f"{path}: characters are read off documents, not sentences; pass --column {default}")
    if (form == "conllu") != (column in CONLLU_FIELD):
        names = "upos or xpos" if form == "conllu" else "tag"
        raise InputError(f"{path}: a {form} file has no column {column}; pass --column {names}")
    lines = LineReader(path)
    if form == "jsonl":
        sentences = _read_jsonl(lines, Tokenizer("whitespace"), gold=True)
    elif form == "columns":
        sentences = _read_columns(lines, gold=True)
    else:
        sentences = read_conllu(lines, column)
    return (sentence for sentence in sentences if sentence.tokens)


def check_tags(path: str | Path, sentences: Iterable[Sentence], tags: Sequence[str]) -> Iterator[Sentence]:
    """The same sentences, each checked to have only tags among ``tags``.

    Raises:
        UnknownTagError: one has another; the text names its line.
    """
    known = set(tags)
    for sentence in sentences:
        if not known.issuperset(sentence.tags):
            line, tag = next(pair for pair in zip(sentence.lines, sentence.tags, strict=True) if pair[1] not in known)
            raise UnknownTagError(
                f"{path}:{line}: the tag {tag!r:.40} is not in the training data; expected one of "
                f"{', '.join(tags[:20])}{', ...' * (len(tags) > 20)}; mend the file, or count such words as wrong "
                "with --unseen-tags wrong"
            )
        yield sentence


def _spelt(sentence: Sentence, tokenizer: Tokenizer) -> Sentence:
    """A sentence of words as one of characters."""
    text = sentence.text if sentence.text is not None else " ".join(sentence.tokens)
    return Sentence(tokenizer.tokens(text), text=text)


def _read_text(lines: LineReader, tokenizer: Tokenizer) -> Iterator[Sentence]:
    for number, line in lines:
        text = line.removeprefix("\ufeff") if number == 1 else line
        text = text.rstrip("\r\n")
        tokens = tokenizer.tokens(text)
        yield Sentence(tokens, lines=[number] * len(tokens), text=text)


def _read_jsonl(lines: LineReader, tokenizer: Tokenizer, *, gold: bool) -> Iterator[Sentence]:
    for number, line in lines:
        where = f"{lines.name}:{number}"
        try:
            value = json.loads(line.removeprefix("\ufeff"))
        except (ValueError, RecursionError) as e:
            raise InputError(f"{where}: not JSON ({e}); expected one object a line") from e
        if not isinstance(value, dict):
            raise InputError(f"{where}: a JSON {type(value).__name__}; expected an object with tokens or text")
        tokens, text = value.get("tokens"), value.get("text")
        if tokens is None and isinstance(text, str) and not gold:
            tokens = tokenizer.tokens(text)
        tags = value.get("tags", []) if gold else []
        for name, items in (("tokens", tokens), ("tags", tags)):
            if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
                raise InputError(
                    f'{where}: no "{name}" that is a list of strings; expected {{"tokens": [...]}} or text'
                )
        if gold:
            _check_gold(tokens, tags, where)
        yield Sentence(tokens, tags, [number] * len(tokens), text=text if isinstance(text, str) else None)


def _check_gold(tokens: list[str], tags: list[str], where: str) -> None:
    """What columns cannot hold is no gold either."""
    if len(tags) != len(tokens):
        raise InputError(f"{where}: {len(tokens)} tokens but {len(tags)} tags; expected one tag a token")
    for token, tag in zip(tokens, tags, strict=True):
        if not token or tag.split() != [tag] or any("\ud800" <= char <= "\udfff" for char in token + tag):
            raise InputError(f"{where}: the pair {token!r:.40}, {tag!r:.40}; expected a word and a tag without spaces")


def _read_columns(lines: LineReader, *, gold: bool) -> Iterator[Sentence]:
    sentence = Sentence()
    width = 0
    for number, line in lines:
        line = line.removeprefix("\ufeff") if number == 1 else line
        if not line.strip():
            if sentence.tokens:
                yield sentence
                sentence = Sentence()
            continue
        _refuse_returns(line, f"{lines.name}:{number}")
        cells = line.rstrip("\r\n").split("\t") if "\t" in line else line.split()
        width = width or len(cells)
        if len(cells) != width or not all(cells) or (gold and width < 2):
            raise InputError(
                f"{lines.name}:{number}: found {_columns(cells)}; expected {max(width, 2 if gold else 1)} "
                f"(token first, tag last) or a blank line"
            )
        if width == 10 and gold and cells[0] == "1":
            raise InputError(f"{lines.name}:{number}: this looks like CoNLL-U; give the file a name in .conllu")
        sentence.tokens.append(cells[0])
        sentence.lines.append(number)
        if gold:
            sentence.tags.append(cells[-1])
    if sentence.tokens:
        yield sentence


def _refuse_returns(line: str, where: str) -> None:
    """A carriage return within a row, which would end up in a word, or part one that is not meant to be two.

    Raises:
        InputError: there is one.
    """
    if "\r" in line.rstrip("\r\n"):
        raise InputError(
            f"{where}: a carriage return within the line; only a line feed ends a line: convert the line ends "
            "(tr '\\r' '\\n')"
        )


def _read_tokens(lines: LineReader) -> Iterator[Sentence]:
    for number, line in lines:
        line = line.removeprefix("\ufeff") if number == 1 else line
        _refuse_returns(line, f"{lines.name}:{number}")
        cells = line.rstrip("\r\n").split("\t") if "\t" in line else line.split()
        if line.strip() and not cells[0]:
            raise InputError(f"{lines.name}:{number}: found an empty first column; expected a token or a blank line")
        tokens = cells[:1] if line.strip() else []
        yield Sentence(tokens, lines=[number] * len(tokens))


def read_conllu(lines: LineReader, column: str | None) -> Iterator[Sentence]:
    """Every sentence of a CoNLL-U file with its own lines; gold tags where a ``column`` is named.

    Raises:
        InputError: malformed, naming the line.
    """
    sentence = Sentence()
    ended = False
    for number, raw in lines:
        line = (raw.removeprefix("\ufeff") if number == 1 else raw).rstrip("\r\n")
        blank = not line.strip()
        if ended and not blank:
            yield sentence
            sentence, ended = Sentence(), False
        sentence.raw.append(raw)
        if blank:
            ended = True
        elif line.startswith("#"):
            if line.startswith("# text = "):
                sentence.text = line.removeprefix("# text = ")
        else:
            _refuse_returns(line, f"{lines.name}:{number}")
            _add_word(sentence, line, column, lambda fact, n=number: InputError(f"{lines.name}:{n}: {fact}"))
            sentence.lines += [number] * (len(sentence.tokens) - len(sentence.lines))
    if sentence.raw:
        yield sentence


def _add_word(sentence: Sentence, line: str, column: str | None, error: Callable[[str], InputError]) -> None:
    cells = line.split("\t")
    if len(cells) != 10:
        raise error(
            f"found {_columns(cells)}; expected the 10 tab-separated columns of CoNLL-U, a # comment or a blank line"
        )
    match = _ID.fullmatch(cells[0])
    if match is None:
        raise error(f"found the id {cells[0]!r:.40}; expected a number, a range like 3-4 or an empty node like 8.1")
    if match["last"] and int(match["last"]) < int(match["word"]):
        raise error(f"found the id {cells[0]}; expected a range from a word to one that is not before it")
    if match.group() != match["word"]:
        return
    if int(cells[0]) != len(sentence.tokens) + 1:
        raise error(f"found word id {cells[0]}; expected {len(sentence.tokens) + 1}: is a blank line missing?")
    if not cells[1]:
        raise error("the word's FORM (column 2) is empty; expected the word, or _ for an underscore")
    if column:
        tag = cells[CONLLU_FIELD[column]]
        if tag in ("", "_"):
            raise error(
                f"the word {cells[1]!r:.40} has no {column.upper()}; expected a tag: pick another --column, or mend it"
            )
        sentence.tags.append(tag)
    sentence.tokens.append(cells[1])
    sentence.words.append(len(sentence.raw) - 1)


def _columns(cells: list[str]) -> str:
    if not all(cells):
        return f"an empty column {cells.index('') + 1}"
    return f"{len(cells)} column{'s' * (len(cells) != 1)}"
