"""Files that are not what their names say: damaged, cut off, in other encodings, with rows that are none."""

import base64
import bz2
import contextlib
import csv
import gzip
import io
import json
import lzma
import os
import random
import re
from pathlib import Path
from typing import Any

from .classes import FuzzClass, Wrong

_TUTORIAL = Path(__file__).parents[2] / "exported" / "tutorial.onnx"
_CONLLU = (
    "# newdoc\n# sent_id = 1\n# text = vámonos al mar\n"
    "1-2\tvámonos\t_\t_\t_\t_\t_\t_\t_\t_\n"
    "1\tvamos\tir\tVERB\tV\t_\t0\troot\t_\t_\n"
    "2\tnos\tnosotros\tPRON\tP\t_\t1\tobj\t_\tSpaceAfter=No\n2.1\tya\t_\tADV\t_\t_\t_\t_\t_\t_\n\n# newpar\n"
    "1\tThe\tthe\tDET\tDT\t_\t2\tdet\t_\tSpacesAfter=\\s\\n\n2\tfish\tfish\tNOUN\tNN\t_\t0\troot\t_\tTag=x\n\n"
)
SEEDS = {
    "conllu": _CONLLU.encode(),
    "tsv": "EU\tB-ORG\nrejects\tO\n\nMr.\tO\n东京\tB-LOC\n\n".encode(),
    "conll": b"EU NNP B-ORG\nrejects VBZ O\n\nx y O\n",
    "jsonl": '{"tokens": ["They", "ate"], "tags": ["A", "B"], "id": 1}\n{"text": "naïve \\ud83d\\ude00 fish"}\n'
             '{"tokens": [], "tags": []}\n'.encode(),
    "txt": "They ate the fish.\n\nnaïve 東京 \u2028 x\n  \nlast".encode(),
    "csv": 'id,text,n\n1,"They ate, ""the"" fish",2\n2,naïve,3\n3,"two\nlines",4\n'.encode(),
    "ndjson": b'{"text": "a b"}\n{"text": null}\n{"tokens": ["a", null]}\n[1]\nnot\n',
}  # fmt: skip
NOISE = (
    b"\0",
    b"\xff",
    b"\xfe\xff",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xc0\xaf",
    b"\xe2\x80",
    b"\r",
    b"\r\n",
    b"\n",
    b"\n\n",
    b"\t",
    b" ",
    b"\xc2\x85",
    b"\xe2\x80\xa8",
    b"\x1c",
    b"\x0b",
    b"\x0c",
    b'"',
    b"'",
    b"\\",
    b"{",
    b"[" * 2000,
    b"]",
    b"}",
    b",",
    b":",
    b"#",
    b"_",
    b"-",
    b"1",
    b"0",
    b"1-2",
    b"1.1",
    b"9" * 5000,
    b"1e999",
    b"NaN",
    b"null",
    b'"\\ud800"',
    b"a" * 70_000,
    b"\xf0\x9f\x91\xa9\xe2\x80\x8d",
    b"\x1b[2J",
    b"SpaceAfter=No",
    b"# text = ",
)
PACKED = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress}


class _Files(FuzzClass):
    """A file a case: its name, and its bytes in base 64."""

    kinds: tuple[str, ...]
    memory = 2 << 30

    def case(self, index: int) -> dict[str, str]:
        """The file."""
        drawn = self.drawn(index)
        kind = drawn.choice(self.kinds)
        data = _mutated(drawn, SEEDS[kind])
        ending = drawn.choice(["", "", "", *PACKED])
        if ending:
            data = PACKED[ending](data)
            if drawn.random() < 0.5:
                data = _damaged(drawn, data)
        return {"name": f"x.{kind}{ending}", "data": base64.b64encode(data).decode()}

    def file(self, case: dict[str, str]) -> Path:
        """The case as a file, in a folder of this process."""
        folder = self.scratch / str(os.getpid())
        folder.mkdir(exist_ok=True)
        path = folder / case["name"]
        path.write_bytes(base64.b64decode(case["data"]))
        return path


def _mutated(drawn: random.Random, data: bytes) -> bytes:
    for _ in range(drawn.choice((0, 1, 1, 2, 3, 8))):
        at, size = drawn.randint(0, len(data)), drawn.choice((0, 0, 1, 1, 4, 30))
        put = drawn.choice((b"", drawn.choice(NOISE), drawn.randbytes(2), data[at : at + size] * 2))
        data = data[:at] + put + data[at + size :]
    whole = drawn.random()
    if whole < 0.05:
        return data.replace(b"\n", drawn.choice((b"\r\n", b"\r", b"\n\r", b"\xe2\x80\xa8")))
    if whole < 0.1:
        with contextlib.suppress(UnicodeError):
            return data.decode().encode(drawn.choice(("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "latin-1")))
    if whole < 0.12:
        return data[: drawn.randint(0, len(data))]
    return data


def _damaged(drawn: random.Random, data: bytes) -> bytes:
    at = drawn.randint(0, len(data))
    kind = drawn.randrange(3)
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data + drawn.randbytes(drawn.randint(1, 40))
    return data[:at] + drawn.randbytes(drawn.randint(1, 4)) + data[at + 2 :]


class Readers(_Files):
    """Each reader that takes such a file, one after another."""

    name = "readers"
    about = (
        "CoNLL-U, columns, JSON lines and text, damaged, packed, in other encodings: as sentences, gold, chunks, "
        "paragraphs and documents"
    )
    wanted = 100_000
    kinds = ("conllu", "tsv", "conll", "jsonl", "txt", "ndjson")

    def prepare(self) -> None:
        """Imports."""
        import lstm_deploy.formats.documents
        import lstm_deploy.formats.writing
        import lstm_deploy.streaming  # noqa: F401 - imported before the fork

    def one(self, case: dict[str, str]) -> str:
        """Refused with file and line, or taken, by each; what counts is the first."""
        from lstm_deploy.errors import InputError
        from lstm_deploy.formats import LineReader, format_of, read_chunks, read_gold, read_paragraphs, read_sentences
        from lstm_deploy.formats.documents import read_documents
        from lstm_deploy.tokenizer import Tokenizer

        path = self.file(case)
        form, words = format_of(path), Tokenizer("words")
        refused: list[int] = []
        for number, reader in enumerate(
            (
                lambda: self._sentences(form, read_sentences(LineReader(path), form, words)),
                lambda: self._sentences(form, read_sentences(LineReader(path), form, Tokenizer("characters"))),
                lambda: self._gold(read_gold(path)),
                lambda: self._sentences(form, read_chunks(LineReader(path), form, words)),
                lambda: [self._text(paragraph) for paragraph in read_paragraphs(LineReader(path))],
                lambda: self._documents(read_documents(path, "upos")),
            )
        ):
            try:
                reader()
            except InputError as e:
                refused.append(number)
                if not re.match(re.escape(str(path)) + r"(:[0-9]+)?: ", str(e)) or not str(e).isprintable():
                    raise Wrong(
                        f"an error that does not begin with the file, or is not one line: {str(e)!r:.300}"
                    ) from e
        return "refused" if 0 in refused else "answered"

    def _sentences(self, form: str, sentences: Any) -> None:
        from lstm_deploy.decoding import TaggedSentence
        from lstm_deploy.formats import writer_for

        write = writer_for("conllu", "upos")
        for sentence in sentences:
            if not all(isinstance(token, str) and token for token in sentence.tokens) and form != "jsonl":
                raise Wrong(f"a token that is none: {sentence.tokens!r:.200}")
            if form == "conllu":
                tags = tuple("X" for _ in sentence.tokens)
                if not sentence.raw:
                    continue  # characters of it
                written = write(sentence, TaggedSentence(tuple(sentence.tokens), tags, ())).decode()
                if written.count("\n") != "".join(sentence.raw).count("\n"):
                    raise Wrong("CoNLL-U written back has another number of lines")

    def _gold(self, sentences: Any) -> None:
        for sentence in sentences:
            if not len(sentence.tokens) == len(sentence.tags) == len(sentence.lines) or not all(sentence.tags):
                raise Wrong(f"{len(sentence.tokens)} tokens, {len(sentence.tags)} tags, {len(sentence.lines)} lines")

    def _documents(self, documents: Any) -> None:
        for document in documents:
            at = 0
            for sentence in document.sentences:
                for token in sentence:
                    if token.start < at or token.end <= token.start or token.end > len(document.text):
                        raise Wrong(f"a token at {token.start}, {token.end} after {at} of {len(document.text)}")
                    at = token.end

    def _text(self, paragraph: str) -> None:
        from lstm_deploy.unicode14 import classes

        if not classes(paragraph).strip("s"):
            raise Wrong(f"a paragraph of white space: {paragraph!r:.100}")


class Corpora(_Files):
    """The file as a part of a corpus, tagged; rows that cannot be are left without tags."""

    name = "corpora"
    about = "the same and CSV as parts of a corpus, through a job that leaves bad rows without tags"
    wanted = 10_000
    kinds = ("conllu", "tsv", "conll", "jsonl", "txt", "csv", "ndjson")

    def absent(self) -> str:
        """Without pyarrow."""
        from importlib.util import find_spec

        return "" if find_spec("pyarrow") else "no pyarrow: pip install 'lstm-deploy[data]'"

    def prepare(self) -> None:
        """Opens the model."""
        from lstm_deploy.corpora.tagging import PartTagger, Tagging

        self.tagger = PartTagger(Tagging(_TUTORIAL, threads=1, on_error="null"))

    def one(self, case: dict[str, str]) -> str:
        """Refused with the file's name, or a row for each row."""
        from lstm_deploy.corpora.parts import Part, kind_of
        from lstm_deploy.errors import InputError

        path = self.file(case)
        kind = kind_of(path, ())
        part = Part(path.name, path, kind, path.stat().st_size, 0)
        output, rejects = path.with_name(f"out-{path.name}"), path.with_name("rejects.jsonl")
        for old in (output, rejects):
            old.unlink(missing_ok=True)
        try:
            record = self.tagger.tag(part, output, rejects)
        except InputError as e:
            if path.name not in str(e):
                raise Wrong(f"an error that does not name the file: {str(e)!r:.300}") from e
            if output.exists():
                raise Wrong("a part that was refused has an output") from e
            raise
        self._check(kind, output, record)
        return "answered"

    def _check(self, kind: str, output: Path, record: Any) -> None:
        openers = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}
        with openers.get(output.suffix, open)(output, "rb") as stream:
            data = stream.read()
        if kind == "jsonl":
            rows = [json.loads(line) for line in data.splitlines()] if b"\r" not in data else None
            if rows is not None and len(rows) != record.rows:
                raise Wrong(f"{record.rows} rows, {len(rows)} of output")
            for row in rows or ():
                if row.get("tags") is not None and isinstance(row.get("tokens"), list):
                    _same_number(row["tokens"], row["tags"])
        elif kind == "csv" and b"\0" not in data:
            text = io.StringIO(data.decode("utf-8", "surrogateescape"), newline="")
            found = [row for row in csv.reader(text) if row]
            if len(found) - 1 != record.rows and found:
                raise Wrong(f"{record.rows} rows, {len(found) - 1} of output")


def _same_number(tokens: list[Any], tags: list[Any]) -> None:
    if len(tokens) != len(tags):
        raise Wrong(f"{len(tokens)} tokens, {len(tags)} tags")


CLASSES = (Readers(), Corpora())
