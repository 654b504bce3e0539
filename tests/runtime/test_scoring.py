"""Metrics against the libraries that define them."""

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_deploy.entities import Entity, entities, is_iob2
from lstm_deploy.scoring import Scorer, describe, headline

IOB2 = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
pairs = st.integers(1, 12).flatmap(
    lambda n: st.tuples(*[st.lists(st.sampled_from(IOB2), min_size=n, max_size=n) for _ in range(2)])
)


def test_entities_of_a_sentence():
    tags = ["B-PER", "I-PER", "O", "I-LOC", "B-LOC", "I-PER"]
    assert entities(tags) == [Entity("PER", 0, 2), Entity("LOC", 3, 4), Entity("LOC", 4, 5), Entity("PER", 5, 6)]
    assert entities([]) == []


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (IOB2, True),
        (["O", "I-X"], True),
        (["O"], False),
        (["B-X"], False),
        (["O", "NOUN"], False),
        (["O", "B-"], False),
    ],
)
def test_which_tag_sets_are_iob2(tags, expected):
    assert is_iob2(tags) is expected


@given(st.lists(st.sampled_from(IOB2), max_size=15))
def test_entities_are_seqevals(tags):
    labeling = pytest.importorskip("seqeval.metrics.sequence_labeling")
    expected = [(kind, start, end + 1) for kind, start, end in labeling.get_entities(tags)]
    assert entities(tags) == expected


@given(st.lists(pairs, min_size=1, max_size=6))
@pytest.mark.filterwarnings("ignore")
def test_scores_are_scikit_learns_and_seqevals(sentences):
    sklearn = pytest.importorskip("sklearn.metrics")
    seqeval = pytest.importorskip("seqeval.metrics")
    gold, found = [list(side) for side in zip(*sentences, strict=True)]
    scorer = Scorer(IOB2)
    for one, other in sentences:
        scorer.add(one, other)
    report = scorer.report()
    flat_gold, flat_found = (list(chain.from_iterable(side)) for side in (gold, found))
    assert report["accuracy"] == pytest.approx(sklearn.accuracy_score(flat_gold, flat_found))
    labels = sorted({*flat_gold, *flat_found})
    expected = sklearn.precision_recall_fscore_support(flat_gold, flat_found, labels=labels, zero_division=0)
    for i, label in enumerate(labels):
        rates = report["tags"][label]
        for key, values in zip(("precision", "recall", "f1", "support"), expected, strict=True):
            assert rates[key] == pytest.approx(values[i])
    assert report["entities"]["f1"] == pytest.approx(seqeval.f1_score(gold, found, zero_division=0))
    assert report["entities"]["precision"] == pytest.approx(seqeval.precision_score(gold, found, zero_division=0))
    assert report["entities"]["recall"] == pytest.approx(seqeval.recall_score(gold, found, zero_division=0))


def test_unknown_words_are_scored_apart():
    scorer = Scorer(["A", "B"])
    scorer.add(["A", "B", "A"], ["A", "A", "A"], [False, True, True])
    report = scorer.report()
    assert report["unknown_words"] == {"tokens": 2, "accuracy": 0.5}
    assert "entities" not in report
    assert headline(report) == report["accuracy"] == pytest.approx(2 / 3)


def test_a_tag_named_sentence_makes_no_segmenter():
    scorer = Scorer(["sentence", "word"])
    scorer.add(["sentence", "word", "word"], ["word", "word", "word"])
    report = scorer.report()
    assert headline(report) == headline(report, "upos") == pytest.approx(2 / 3)
    assert headline(report, "segmentation") == 0.0


def test_nothing_to_score():
    report = Scorer(IOB2).report()
    assert report["accuracy"] is None
    assert "accuracy" in describe(report)


def test_sides_of_different_length_are_refused():
    with pytest.raises(ValueError, match="2 gold tags but 1"):
        Scorer(IOB2).add(["O", "O"], ["O"])


def test_description_has_a_row_for_each_tag_and_entity_type():
    scorer = Scorer(IOB2)
    scorer.add(["B-PER", "O"], ["B-PER", "B-LOC"])
    text = describe(scorer.report())
    assert all(name in text for name in ("accuracy", "entities", "PER", "LOC", "B-LOC"))


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60))
def test_calibration_is_its_definition(words):
    """Guo et al. 2017: the mean over words of how far accuracy is from confidence in the word's bin."""
    scorer = Scorer(["A", "B"])
    for start in range(0, len(words), 7):
        part = words[start : start + 7]
        scorer.add(["A"] * len(part), ["A" if right else "B" for _, right in part], None, [score for score, _ in part])
    found = scorer.report()["calibration"]
    bins = [[w for w in words if min(int(w[0] * 15), 14) == i] for i in range(15)]
    expected = sum(abs(sum(score for score, _ in b) - sum(right for _, right in b)) for b in bins) / len(words)
    assert found["expected_error"] == pytest.approx(expected)
    assert [b["words"] for b in found["bins"]] == list(map(len, bins))
    assert found["confidence"] == pytest.approx(sum(score for score, _ in words) / len(words))


def test_without_probabilities_there_is_no_calibration():
    scorer = Scorer(["A", "B"])
    scorer.add(["A"], ["A"])
    assert "calibration" not in scorer.report()
    assert "confidence" not in describe(scorer.report())


def test_confusions_are_counted_by_gold_tag():
    scorer = Scorer(["A", "B"])
    scorer.add(["A", "A", "B", "A"], ["A", "B", "B", "B"])
    assert scorer.report()["confusion"] == {"A": {"A": 1, "B": 2}, "B": {"B": 1}}
