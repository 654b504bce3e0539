"""A contender's side of the benchmark: one process that works on command.

Standard library only, so that it runs in any environment. The benchmark writes one JSON object a
line to standard input and reads one a line from standard output. ``do`` names what to do:

    load        sentences: FILE of token lists, one JSON list a line
    tag         tag the sentences from ``start`` on, every ``step``-th, words in and tags out
    one_by_one  each sentence of FILE ``sentences`` by itself             -> seconds: [s, ...]
    answers     the tags of the last "tag"                                -> tags: [[...]]
    memory      peak and present resident size                            -> peak_mb, mb
    anything else is a method of the contender, with the other keys as its arguments

While it waits it uses no processor time.
"""

import json
import lzma
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

Sentences = list[list[str]]


class Contender(Protocol):
    """A tagger under test."""

    def tag(self, sentences: Sentences) -> list[Any]:
        """Tags of each sentence, many at once."""

    def tag_one(self, tokens: list[str]) -> Any:
        """Tags of one sentence."""


def serve(contender: Contender) -> None:
    """Answers commands until standard input ends."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # what a library prints must not mix with the replies
    worker = _Worker(contender)
    print(json.dumps({"ready": True}), file=replies)
    for line in sys.stdin:
        command = json.loads(line)
        name = command.pop("do")
        method = getattr(worker, name, None) or getattr(contender, name)
        print(json.dumps(method(**command)), file=replies)


class _Worker:
    def __init__(self, contender: Contender) -> None:
        self._contender = contender
        self._sentences: Sentences = []
        self._tags: list[Any] = []

    def load(self, sentences: str, start: int = 0, step: int = 1) -> dict[str, int]:
        self._sentences = read_sentences(sentences)[start::step]
        return {"sentences": len(self._sentences)}

    def tag(self) -> dict[str, float]:
        start = time.perf_counter()
        self._tags = self._contender.tag(self._sentences)
        return {"seconds": time.perf_counter() - start}

    def answers(self) -> dict[str, list[list[str]]]:
        return {"tags": [list(tags) for tags in self._tags]}

    def one_by_one(self, sentences: str) -> dict[str, list[float]]:
        seconds = []
        for tokens in read_sentences(sentences):
            start = time.perf_counter()
            self._contender.tag_one(tokens)
            seconds.append(time.perf_counter() - start)
        return {"seconds": seconds}

    def memory(self) -> dict[str, float]:
        return memory()


def memory() -> dict[str, float]:
    """Peak and present resident size of this process in MB (Linux)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines if line.startswith("Vm")}
    return {"peak_mb": sizes["VmHWM"], "mb": sizes["VmRSS"]}


def read_sentences(path: str) -> Sentences:
    """Token lists, one JSON list a line."""
    with Path(path).open(encoding="utf-8") as stream:
        return [json.loads(row) for row in stream]


def read_conllu(path: Path) -> Iterator[tuple[list[str], list[str]]]:
    """Forms and UPOS of each sentence's words."""
    tokens: list[str] = []
    tags: list[str] = []
    with (lzma.open if path.suffix == ".xz" else open)(path, "rt", encoding="utf-8") as stream:
        for line in stream:
            columns = line.rstrip("\n").split("\t")
            if len(columns) == 10 and columns[0].isdecimal():
                tokens.append(columns[1])
                tags.append(columns[3])
            elif not line.strip() and tokens:
                yield tokens, tags
                tokens, tags = [], []
    if tokens:
        yield tokens, tags
