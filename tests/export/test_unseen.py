"""Taggers that nobody had in mind when the exporter was written: those with a right file, and traps.

The oracle is the author's own module on one sentence alone.
"""

import functools
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("torchcrf")

from gallery.case import draw, log_probs  # noqa: E402
from unseen.good import GOOD, Unseen  # noqa: E402
from unseen.traps import TRAPS  # noqa: E402

from lstm_deploy import Predictor  # noqa: E402
from lstm_deploy.errors import LstmDeployError  # noqa: E402
from lstm_deploy.export.module import export_module  # noqa: E402

TOLERANCE = 1e-5
TIE = 1e-6
BATCHES = (1, 2, 7, 4, 3)


@functools.cache
def module_of(case_name: str):
    """The module of a case, made once: the oracle, which is never exported."""
    return next(case for case in [*GOOD, *TRAPS] if case.name == case_name).make()


def sentences_of(case: Unseen) -> list[list[str]]:
    """About 20 sentences of up to 70 words, and those that the case asks for."""
    long = [draw(case, 2, seed=length, longest=length)[1] for length in case.lengths]
    return [*draw(case, 18, seed=20261124, longest=70), *long, *case.sentences]


@torch.no_grad()
def truth(case: Unseen, sentence: list[str]):
    """(path, scores as the file is to give them) of one sentence alone."""
    module = module_of(case.name)
    scores = log_probs(case.scores(module, sentence), case.kind)
    return np.array(case.path(module, sentence)), scores.double().numpy()


def answers(predictor: Predictor, case: Unseen, sentences: list[list[str]]):
    """(tag ids, scores) of each sentence, all in one batch."""
    found = predictor.session.run(predictor.encoder.encode(sentences))
    scores = found.emissions if case.kind == "emissions" else found.log_probs
    return [(found.tag_ids[i, : len(s)], scores[i, : len(s)]) for i, s in enumerate(sentences)]


def ragged(sentences: list[list[str]]):
    """The sentences in batches of several sizes."""
    start = 0
    while start < len(sentences):
        size = BATCHES[start % len(BATCHES)]
        yield sentences[start : start + size]
        start += size


def same(case: Unseen, found, expected) -> None:
    """Scores within the tolerance, and every tag the same that is no tie."""
    (found_path, found_scores), (path, scores) = found, expected
    np.testing.assert_allclose(found_scores, scores, rtol=TOLERANCE, atol=TOLERANCE)
    best = np.sort(scores, axis=-1)
    sure = np.full(len(path), case.kind == "emissions") | (best[:, -1] - best[:, -2] >= TIE)
    assert np.asarray(found_path)[sure].tolist() == np.asarray(path)[sure].tolist()


def outcome(case: Unseen, folder: Path) -> str:
    """ "refused", with nothing left behind, or "right"; a file that is wrong fails the test."""
    path = folder / "tagger.onnx"
    try:
        export_module(
            case.make(),
            path,
            vocabulary=case.vocabulary,
            tags=case.tags,
            entry=case.entry,
            encode=case.encode,
            spec=case.spec,
        )
    except LstmDeployError:
        assert list(folder.iterdir()) == []
        return "refused"
    predictor = Predictor.load(path)
    for batch in ragged(sentences_of(case)):
        together = answers(predictor, case, batch)
        for sentence, found in zip(batch, together, strict=True):
            same(case, found, truth(case, sentence))
            same(case, found, answers(predictor, case, [sentence])[0])
    return "right"


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case.name)
def test_the_file_answers_as_the_module_does(case, tmp_path):
    assert outcome(case, tmp_path) == "right"


@pytest.mark.parametrize("case", TRAPS, ids=lambda case: case.name)
def test_a_trap_is_refused_or_right_but_never_wrong(case, tmp_path):
    assert outcome(case, tmp_path) == case.expected


@pytest.mark.parametrize("case", TRAPS, ids=lambda case: case.name)
@torch.no_grad()
def test_a_trap_is_a_tagger(case):
    module = case.make()
    for sentence in draw(case, 4, seed=3):
        scores, path = case.scores(module, sentence), case.path(module, sentence)
        assert scores.shape == (len(sentence), len(case.tags))
        assert len(path) == len(sentence)
        assert all(0 <= tag < len(case.tags) for tag in path)


def test_names_are_unique():
    names = [case.name for case in [*GOOD, *TRAPS]]
    assert len(set(names)) == len(names)
