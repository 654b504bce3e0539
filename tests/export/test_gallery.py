"""Taggers as people write them, exported unchanged, and those that must be refused.

The oracle is the author's own module on one sentence alone.
"""

import functools
import inspect
import re
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("torchcrf")

from gallery.case import Case, draw, log_probs  # noqa: E402
from gallery.cases import BEYOND, CASES, REFUSED, SURVEY  # noqa: E402

from lstm_deploy import Predictor  # noqa: E402
from lstm_deploy.errors import LstmDeployError  # noqa: E402

TOLERANCE = 1e-5
TIE = 1e-6
needs_exporter = pytest.mark.skipif(
    find_spec("lstm_deploy.export.module") is None, reason="lstm_deploy.export.module is not written yet"
)
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
every_refused = pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)


def export(case: Case, output: Path):
    """The case through the exporter, as its author would call it."""
    from lstm_deploy.export.module import export_module

    return export_module(
        case.make(),
        output,
        vocabulary=case.vocabulary,
        tags=case.tags,
        entry=case.entry,
        encode=case.encode,
        spec=case.spec,
    )


@functools.cache
def trained(case_name: str):
    """The module of a case, made once."""
    return next(case for case in [*CASES, *REFUSED] if case.name == case_name).make()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Case -> predictor, each exported once."""
    folder = tmp_path_factory.mktemp("gallery")

    @functools.cache
    def load(number: int) -> Predictor:
        path = folder / f"{CASES[number].name}.onnx"
        export(CASES[number], path)
        return Predictor.load(path)

    return lambda case: load(CASES.index(case))


def answers(predictor: Predictor, case: Case, sentences: list[list[str]]):
    """(tag ids, scores) of each sentence, all in one batch."""
    found = predictor.session.run(predictor.encoder.encode(sentences))
    scores = found.emissions if case.kind == "emissions" else found.log_probs
    return [(found.tag_ids[i, : len(s)], scores[i, : len(s)]) for i, s in enumerate(sentences)]


@torch.no_grad()
def truth(case: Case, sentence: list[str]):
    """(path, scores as the file is to give them) of one sentence alone."""
    module = trained(case.name)
    scores = log_probs(case.scores(module, sentence), case.kind)
    return np.array(case.path(module, sentence)), scores.double().numpy()


def clear(case: Case, scores):
    """Which tokens have one best tag; a path has no such tokens."""
    best = np.sort(scores, axis=-1)
    return np.ones(len(scores), bool) if case.kind == "emissions" else best[:, -1] - best[:, -2] >= TIE


@needs_exporter
@every_case
def test_the_file_answers_as_the_module_does_on_one_sentence_alone(case, exported):
    sentences = draw(case, 40, seed=20261124)
    for sentence, (tag_ids, scores) in zip(sentences, answers(exported(case), case, sentences), strict=True):
        path, expected = truth(case, sentence)
        sure = clear(case, expected)
        assert tag_ids[sure].tolist() == path[sure].tolist()
        np.testing.assert_allclose(scores, expected, rtol=TOLERANCE, atol=TOLERANCE)


@needs_exporter
@every_case
def test_batched_is_one_by_one(case, exported):
    sentences = draw(case, 12, seed=7)
    for sentence, (tag_ids, scores) in zip(sentences, answers(exported(case), case, sentences), strict=True):
        ((alone_ids, alone_scores),) = answers(exported(case), case, [sentence])
        sure = clear(case, alone_scores)
        assert tag_ids[sure].tolist() == alone_ids[sure].tolist()
        np.testing.assert_allclose(scores, alone_scores, rtol=TOLERANCE, atol=TOLERANCE)


@needs_exporter
@every_case
def test_what_stands_at_padding_changes_nothing(case, exported):
    predictor = exported(case)
    inputs = predictor.encoder.encode(draw(case, 12, seed=3))
    random = np.random.default_rng(0)
    padding = np.arange(max(inputs["lengths"])) >= inputs["lengths"][:, None]
    other = {kind: ids.copy() for kind, ids in inputs.items()}
    rows = {spec["kind"]: spec["rows"] for spec in predictor.metadata.inputs() if "rows" in spec}
    for kind, ids in other.items():
        if kind != "lengths":
            limit = rows[kind] if kind in rows else inputs["char_ids"].shape[2] + 1
            ids[padding] = random.integers(0, limit, ids[padding].shape)
    found, expected = predictor.session.run(other), predictor.session.run(inputs)
    assert found.tag_ids.tolist() == expected.tag_ids.tolist()
    assert (found.of_tags[~padding] == expected.of_tags[~padding]).all()


@needs_exporter
@every_refused
def test_is_refused_with_its_line_and_no_file(case, tmp_path):
    with pytest.raises(LstmDeployError) as refusal:
        export(case, tmp_path / "tagger.onnx")
    source = Path(inspect.getsourcefile(type(trained(case.name))))
    lines = [int(number) for number in re.findall(rf"{re.escape(source.name)}:(\d+)", str(refusal.value))]
    assert lines, f"names no line of {source.name}: {refusal.value}"
    named = [source.read_text(encoding="utf-8").splitlines()[line - 1] for line in lines]
    assert any(case.line in line for line in named), f"{named}; expected the line with {case.line!r}"
    assert list(tmp_path.iterdir()) == []


@every_case
@torch.no_grad()
def test_case_is_sane(case):
    module = trained(case.name)
    assert not module.training
    tags, answers = len(case.tags), []
    sentences = draw(case, 12, seed=1)
    for sentence in sentences:
        scores, path = case.scores(module, sentence), case.path(module, sentence)
        assert scores.shape == (len(sentence), tags)
        assert scores.isfinite().all()
        assert len(path) == len(sentence)
        assert all(type(tag) is int and 0 <= tag < tags for tag in path)
        torch.testing.assert_close(case.scores(module, sentence), scores, rtol=0, atol=0)
        assert case.path(module, sentence) == path
        answers.append((scores, path))
    assert len({tuple(path[:1]) for _, path in answers}) > 1 or len({tag for _, path in answers for tag in path}) > 2
    assert not torch.allclose(answers[1][0][0], answers[3][0][0])
    best = [scores.argmax(-1).tolist() for scores, _ in answers]
    paths = [path for _, path in answers]
    assert (best != paths) == (case.kind == "emissions"), "a path of a CRF differs from the best of each token"
    if case.kind == "probs":
        assert all(torch.allclose(scores.sum(-1), torch.ones(len(scores), dtype=scores.dtype)) for scores, _ in answers)


@pytest.mark.parametrize("case", CASES[::10], ids=lambda case: case.name)
def test_case_trains_to_the_same_weights(case):
    first, second = case.make().state_dict(), trained(case.name).state_dict()
    assert first.keys() == second.keys() != set()
    assert all(torch.equal(first[name], second[name]) for name in second)


@every_refused
@torch.no_grad()
def test_refused_case_runs(case):
    module = case.make()
    for sentence in draw(case, 6, seed=2, longest=16):
        if len(sentence) > 1:
            assert len(case.path(module, sentence)) == len(sentence)
    source = inspect.getsource(type(module))
    assert case.line in source


def test_gallery_is_in_proportion_to_the_survey():
    assert len(CASES) >= 34
    assert len(REFUSED) >= 12
    names = [case.name for case in [*CASES, *REFUSED]]
    assert len(set(names)) == len(names)
    found = Counter(style for case in CASES for style in case.styles)
    missing = {style: (found[style], n) for style, n in (SURVEY | BEYOND).items() if found[style] < n}
    assert not missing
