"""Pretrained word vectors: read, cut to what a tagger needs, hashed for the provenance record."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..formats import LineReader
from ..unicode14 import lower
from ..vocabulary import Vocabulary
from . import require

Float = NDArray[np.float32]


@dataclass(frozen=True)
class WordVectors:
    """Words, most frequent first, and their vectors.

    Attributes:
        values: (words, size).
        source: name, sha256, licence, words, size.
    """

    words: Sequence[str]
    values: Float
    source: dict[str, Any]


@dataclass(frozen=True)
class VocabularyVectors:
    """Vectors laid out as a vocabulary is.

    Attributes:
        rows: (words, size); zeros where there is none.
        first_extra: id of the first word that the training data lacks; all after it are such.
    """

    rows: Float
    first_extra: int


def read_vectors(source: str, licence: str | None = None) -> WordVectors:
    """The vectors in ``source``.

    Args:
        source: a text file of word2vec or GloVe (``word number number ...`` a line, a first line of two counts may
            stand before), compressed or not; or the name of an installed package that holds a matrix, ``.npy``,
            and its words, ``.parquet``.
        licence: stands for what the package says of itself.

    Raises:
        InputError: neither, or malformed.
        MissingDependencyError: the package's words need pyarrow.
    """
    path = Path(source)
    vectors = _read_text(path) if path.exists() else _read_package(_installed(source))
    if licence:
        vectors.source["licence"] = licence
    return vectors


def with_vectors(vocabulary: Vocabulary, vectors: WordVectors, extra: int) -> tuple[Vocabulary, VocabularyVectors]:
    """The vocabulary with words added that only the vectors have, and all its words' vectors.

    A word takes its own vector, else that of its lower-cased form. The ``extra`` most frequent words of the vectors
    are added; where look-up keeps case, those in lower case also with a capital, as they begin sentences and names.
    """
    places: dict[str, int] = {}
    for place, word in enumerate(vectors.words):
        places.setdefault(word, place)
    known = set(vocabulary.words)
    added: dict[str, None] = {}
    for word in vectors.words[:extra]:
        added |= {form: None for form in _forms(word, vocabulary) if form not in known}
    words = [*vocabulary.words, *added]
    rows = np.zeros((len(words), vectors.values.shape[1]), np.float32)
    for i, word in enumerate(words):
        place = None if word is None else places.get(word, places.get(lower(word)))
        if place is not None:
            rows[i] = vectors.values[place]
    whole = Vocabulary(words, unknown_id=vocabulary.unknown_id, padding_id=vocabulary.padding_id, case=vocabulary.case)
    return whole, VocabularyVectors(rows, len(vocabulary))


def _forms(word: str, vocabulary: Vocabulary) -> Iterator[str]:
    key = vocabulary.key(word)
    yield key
    if vocabulary.case == "keep" and key == lower(key):
        yield key[:1].upper() + key[1:]


def _read_text(path: Path) -> WordVectors:
    words: list[str] = []
    rows: list[Float] = []
    for number, line in LineReader(path):
        fields = line.rstrip("\n").rstrip(" ").split(" ")
        if number == 1 and len(fields) == 2:
            continue
        try:
            row = np.array(fields[1:], np.float32)
        except ValueError as e:
            raise InputError(f"{path}:{number}: {e}; expected a word and numbers, with single spaces between") from e
        if not row.size or (rows and row.size != rows[0].size) or not np.isfinite(row).all():
            size = rows[0].size if rows else "some"
            raise InputError(f"{path}:{number}: {row.size} numbers, expected {size} finite ones after the word")
        words.append(fields[0])
        rows.append(row)
    if not rows:
        raise InputError(f"{path}: no vectors; expected `word number number ...` lines")
    return _found(words, np.stack(rows), path.name, hashlib.sha256(path.read_bytes()).hexdigest(), "not stated")


def _installed(name: str) -> Distribution:
    try:
        return distribution(name)
    except (PackageNotFoundError, ValueError) as e:
        raise InputError(
            f"{name}: no such file, and no such package is installed; pass a file of word vectors, or install it"
        ) from e


def _read_package(package: Distribution) -> WordVectors:
    files = [Path(str(package.locate_file(file))) for file in package.files or ()]
    matrices, tables = ([file for file in files if file.suffix == suffix] for suffix in (".npy", ".parquet"))
    name = package.metadata["Name"]
    if len(matrices) != 1 or len(tables) != 1:
        raise InputError(f"{name}: expected a package with one .npy and one .parquet; pass a text file of vectors")
    require("pyarrow")
    from pyarrow import parquet

    words = parquet.read_table(tables[0]).column(0).to_pylist()
    values = np.load(matrices[0], mmap_mode="r")
    if values.ndim != 2 or len(values) != len(words):
        raise InputError(f"{name}: {len(words)} words and a matrix of {values.shape}; install the package again")
    digest = hashlib.sha256(matrices[0].read_bytes() + tables[0].read_bytes()).hexdigest()
    licence = package.metadata["License-Expression"] or package.metadata["License"] or "not stated"
    return _found(words, values, f"{name} {package.version}", digest, licence)


def _found(words: Sequence[str], values: Float, name: str, digest: str, licence: str) -> WordVectors:
    size = {"words": len(words), "size": values.shape[1]}
    return WordVectors(words, values, {"name": name, "sha256": digest, "licence": licence} | size)
