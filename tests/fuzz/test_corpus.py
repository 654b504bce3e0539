"""What once crashed, hung or was answered wrongly, and has to come out as its file's name says, from now on."""

import json
from pathlib import Path

import pytest

from .campaign import load_classes
from .classes import outcome

CORPUS = Path(__file__).parent / "corpus"
FILES = sorted(path for path in CORPUS.glob("*/*") if len(path.suffixes) > 1)
"""``CLASS/WHAT.OUTCOME.json``, or with bytes ``CLASS/WHAT.OUTCOME.bin``."""
BOTH = {"metadata": ("metadata", "javascript")}
"""Inputs that two classes read."""


@pytest.fixture(scope="module")
def classes():
    return {fuzzed.name: fuzzed for fuzzed in load_classes()}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}: {path.stem}")
def test_what_once_failed_does_no_more(path, classes, tmp_path):
    data = path.read_bytes()
    case = json.loads(data) if path.suffix == ".json" else data
    found = {}
    for name in BOTH.get(path.parent.name, (path.parent.name,)):
        if not classes[name].absent():
            classes[name].scratch = tmp_path
            classes[name].prepare()
            found[name] = outcome(classes[name], case)
    if not found:
        pytest.skip(classes[path.parent.name].absent())
    assert {came_of_it for came_of_it, _ in found.values()} == {path.suffixes[-2].removeprefix(".")}, found


def test_the_corpus_stays_small():
    assert FILES
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < 200_000
