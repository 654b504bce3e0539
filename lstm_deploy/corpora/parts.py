"""Which files a corpus has, of which kind, and where each one's output goes."""

import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

from ..errors import InputError
from ..formats.streams import COMPRESSIONS, LineReader

Kind = Literal["text", "conllu", "columns", "jsonl", "csv", "tsv", "parquet", "arrow"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_SUFFIXES: dict[str, Kind] = {
    ".txt": "text",
    ".conllu": "conllu",
    ".conll": "columns",
    ".iob": "columns",
    ".iob2": "columns",
    ".bio": "columns",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".arrows": "arrow",
}
WHOLE: tuple[Kind, ...] = ("parquet", "arrow")
"""Kinds that compress within themselves."""
TABLES: tuple[Kind, ...] = ("parquet", "arrow", "csv")
"""Kinds that `lstm_deploy.formats` does not read."""
_MAGIC = "*?["


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a corpus.

    Attributes:
        name: its place below the corpus, with ``/``, which is that of its output below the output folder, too.
        path: the file.
        kind: what it is.
        size: bytes.
        modified: nanoseconds since 1970.
    """

    name: str
    path: Path
    kind: Kind
    size: int
    modified: int


def kind_of(path: Path, columns: tuple[str, ...]) -> Kind:
    """The kind that a file's name says, compression aside.

    ``.tsv`` is a table where its first line has one of ``columns`` in it, else a token a line.

    Raises:
        InputError: the name says nothing.
    """
    kind = kind_named(path)
    if kind is None:
        raise InputError(
            f"{path}: unknown kind of file; expected a name in {', '.join(_SUFFIXES)}, all but Parquet and Arrow also "
            f"compressed ({', '.join(COMPRESSIONS)}); pass --input-format, or leave it out of the input"
        )
    if kind == "tsv":
        _, first = next(LineReader(path).bytes(), (0, b""))
        cells = [cell.strip(b'"') for cell in first.removeprefix(b"\xef\xbb\xbf").strip().split(b"\t")]
        return "tsv" if any(name.encode() in cells for name in columns) else "columns"
    return kind


def kind_named(path: Path) -> Kind | None:
    """The kind that an ending stands for, compression aside; None: it stands for none."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packed = bool(suffixes) and suffixes[-1] in COMPRESSIONS
    if packed:
        suffixes.pop()
    kind = _SUFFIXES.get(suffixes[-1] if suffixes else "")
    return None if packed and kind in WHOLE else kind


def find_parts(source: str, kind: Kind | None, columns: tuple[str, ...]) -> list[Part]:
    """The files of a corpus, by name: a file, those below a folder, or those that a pattern matches.

    What begins with ``.`` or ``_`` in a folder is not part of it: such are manifests and half files.

    Args:
        source: path or pattern; ``**`` is any depth of folders.
        kind: of all; default: what each name says.
        columns: names that the column to tag may have.

    Raises:
        InputError: nothing is there, or a file is of no known kind.
    """
    path = Path(source)
    if path.is_file():
        base, found = path.parent, [path]
    elif path.is_dir():
        base, found = path, list(_below(path))
    else:
        base = _fixed(source)
        found = [Path(name) for name in glob.glob(source, recursive=True) if Path(name).is_file()]  # noqa: PTH207
    if not path.is_file():
        found = [each for each in found if not any(piece[0] in "._" for piece in each.relative_to(base).parts)]
    if not found:
        raise InputError(
            f"{source}: no files; expected a file, a folder with some, or a pattern in quotes that fits some"
        )
    parts = []
    for each in found:
        try:
            status = each.stat()
        except OSError as e:
            raise InputError(f"{each}: cannot read ({e.strerror}); pass existing, readable files") from e
        name = str(PurePosixPath(each.relative_to(base)))
        if not name.isascii() and any("\udc80" <= char <= "\udcff" for char in name):
            raise InputError(f"{name!a}: a file name that is not UTF-8, which no manifest can hold; rename it")
        parts.append(Part(name, each, kind or kind_of(each, columns), status.st_size, status.st_mtime_ns))
    return sorted(parts, key=lambda part: part.name)


def _below(folder: Path) -> Iterator[Path]:
    """Files at any depth; a folder that links lead to twice is read once."""
    seen = set()
    for here, folders, names in os.walk(folder, followlinks=True):
        status = Path(here).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()
        yield from (Path(here, name) for name in names)


def is_pattern(source: str) -> bool:
    """Whether it stands for files by a pattern."""
    return any(sign in source for sign in _MAGIC) and not Path(source).exists()


def _fixed(pattern: str) -> Path:
    """The folders before the first that is a pattern."""
    pieces = Path(pattern).parts
    fixed = [piece for i, piece in enumerate(pieces) if not any(sign in p for p in pieces[: i + 1] for sign in _MAGIC)]
    return Path(*fixed) if fixed else Path()
