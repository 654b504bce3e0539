"""What a teacher says of sentences: distributions over tags to learn from, beside gold tags or in their place.

Hinton et al. 2015, "Distilling the Knowledge in a Neural Network".
"""

import hashlib
import json
import lzma
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, UnknownTagError
from ..formats import LineReader

ABOUT, SENTENCES, LOG_PROBS = "labels.json", "sentences.jsonl.xz", "log_probs.npy"


@dataclass(frozen=True)
class SoftLabels:
    """Sentences and a teacher's log-probabilities.

    Attributes:
        log_probs: (token, tag) float16 of all sentences' tokens in order; tags in the order of the tagger's.
        source: teacher, licence, sources and hashes, for the provenance record.
    """

    sentences: Sequence[Sequence[str]]
    log_probs: NDArray[np.float16]
    source: dict[str, Any]


def read_soft_labels(folder: Path, tags: Sequence[str]) -> SoftLabels:
    """The labels in ``folder``: ``labels.json``, ``sentences.jsonl.xz``, ``log_probs.npy``.

    Args:
        tags: those of the tagger; one that the teacher lacks has probability 0.

    Raises:
        InputError: missing, malformed, or not the files whose hashes ``labels.json`` has.
        UnknownTagError: the teacher gives a tag that is not among ``tags``.
    """
    try:
        about = json.loads((folder / ABOUT).read_bytes())
        theirs, hashes = list(about["tags"]), dict(about["sha256"])
        for name in (SENTENCES, LOG_PROBS):
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != hashes[name]:
                raise InputError(f"{folder / name}: another file than {ABOUT} says; make the labels again")
        sentences = [json.loads(line)["tokens"] for _, line in LineReader(folder / SENTENCES)]
        found = np.load(folder / LOG_PROBS, mmap_mode="r")
    except OSError as e:
        raise InputError(f"{folder}: no soft labels there ({e}); pass a folder with {ABOUT}") from e
    except (ValueError, KeyError, TypeError, lzma.LZMAError) as e:
        if isinstance(e, InputError):
            raise
        raise InputError(f"{folder}: not soft labels ({type(e).__name__}: {e}); make them again") from e
    tokens = sum(map(len, sentences))
    if not sentences or not all(sentences) or found.shape != (tokens, len(theirs)) or np.isnan(found).any():
        raise InputError(
            f"{folder}: {tokens} tokens in {len(sentences)} sentences, {len(theirs)} tags, and log-probabilities of "
            f"shape {found.shape}; expected a number for each token and tag, and no empty sentence; make them again"
        )
    unknown = [tag for tag in theirs if tag not in tags]
    if unknown:
        raise UnknownTagError(f"{folder}: the teacher's tag {unknown[0]!r} is none of the training data's")
    ours = np.full((tokens, len(tags)), -np.inf, np.float16)
    ours[:, [tags.index(tag) for tag in theirs]] = found
    source = {key: about.get(key, "not stated") for key in ("teacher", "licence", "sources")}
    return SoftLabels(sentences, ours, source | {"sha256": hashes, "sentences": len(sentences), "tokens": tokens})


@dataclass(frozen=True)
class Targets:
    """What each token of the training sentences is to be.

    Attributes:
        sentences: those with gold tags first, then those that only a teacher has labelled.
        gold: (token,) tag ids, -1 where there are none.
        rows: (token,) rows of ``log_probs``, -1 where no teacher labelled the token.
        log_probs: (row, tag).
    """

    sentences: Sequence[Sequence[str]]
    gold: NDArray[np.int64]
    rows: NDArray[np.int64]
    log_probs: NDArray[np.float16]


def join(sentences: Sequence[Sequence[str]], gold: NDArray[np.int64], soft: SoftLabels | None) -> Targets:
    """Gold sentences with the teacher's rows for those that it labelled too, and the teacher's others."""
    rows = np.full(len(gold), -1, np.int64)
    if soft is None:
        return Targets(sentences, gold, rows, np.zeros((0, 0), np.float16))
    starts: dict[tuple[str, ...], int] = {}
    at = 0
    for tokens in soft.sentences:
        starts[tuple(tokens)] = at
        at += len(tokens)
    at = 0
    known = set()
    for tokens in sentences:
        key = tuple(tokens)
        known.add(key)
        if key in starts:
            rows[at : at + len(tokens)] = np.arange(len(tokens)) + starts[key]
        at += len(tokens)
    more = [(key, start) for key, start in starts.items() if key not in known]
    extra = [np.arange(len(key)) + start for key, start in more]
    none = np.full(sum(map(len, extra)), -1, np.int64)
    return Targets(
        [*sentences, *(key for key, _ in more)],
        np.concatenate([gold, none]),
        np.concatenate([rows, *extra]).astype(np.int64),
        soft.log_probs,
    )
