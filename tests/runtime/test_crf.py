"""The CRF in numpy, against all paths written out."""

import itertools
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_deploy.crf import FORBIDDEN, Crf


def random_crf(random, tags, forbidden=0.0):
    """With a share of its scores forbidden, in each of the ways that models do it."""
    parts = [random.normal(scale=2, size=size) for size in ((tags, tags), tags, tags)]
    for part in parts:
        part[random.random(part.shape) < forbidden] = random.choice([-10000.0, -np.inf])
    return Crf(*parts)


def all_paths(crf, emissions):
    """(path, score) of every path of one sentence."""
    paths = itertools.product(range(crf.tags), repeat=len(emissions))
    return [(path, crf.path_score(emissions, np.array(path))) for path in paths]


CASES = {
    "seed": st.integers(0, 2**32 - 1),
    "tags": st.integers(1, 4),
    "lengths": st.lists(st.integers(0, 5), min_size=1, max_size=4),
    "forbidden": st.sampled_from([0.0, 0.3]),
}


@given(**CASES)
def test_viterbi_is_the_best_of_all_paths(seed, tags, lengths, forbidden):
    random = np.random.default_rng(seed)
    crf = random_crf(random, tags, forbidden)
    emissions = random.normal(scale=3, size=(len(lengths), max(lengths), tags)).astype(np.float32)
    paths = crf.viterbi(emissions, np.array(lengths, np.int32))
    assert paths.dtype == np.int32
    for row, path, length in zip(emissions, paths, lengths, strict=True):
        assert (path[length:] == -1).all()
        if length:
            best = max(score for _, score in all_paths(crf, row[:length]))
            assert crf.path_score(row[:length], path[:length]) == pytest.approx(best, rel=1e-6, abs=1e-4)


@given(**CASES)
def test_marginals_are_sums_over_all_paths(seed, tags, lengths, forbidden):
    random = np.random.default_rng(seed)
    crf = random_crf(random, tags, forbidden)
    emissions = random.normal(scale=3, size=(len(lengths), max(lengths), tags)).astype(np.float32)
    paths = crf.viterbi(emissions, np.array(lengths))
    chosen = crf.path_marginals(emissions, np.array(lengths), paths)
    assert np.isfinite(chosen).all()
    for i, length in enumerate(lengths):
        if not length:
            continue
        found = all_paths(crf, emissions[i, :length])
        scores = np.array([score for _, score in found])
        if scores.max() < -5000:  # nothing is allowed: the sums have no digits left to compare
            continue
        weights = np.exp(scores - scores.max())
        expected = np.zeros((length, tags))
        for (path, _), weight in zip(found, weights / weights.sum(), strict=True):
            expected[np.arange(length), path] += weight
        marginals = crf.marginals(emissions[i, :length])
        np.testing.assert_allclose(marginals, expected, atol=1e-6)
        np.testing.assert_allclose(chosen[i, :length], marginals[np.arange(length), paths[i, :length]])


def test_of_equal_scores_the_lowest_previous_tag_and_the_lowest_last_tag_are_taken():
    crf = Crf(np.zeros((3, 3)), np.zeros(3), np.zeros(3))
    emissions = np.array([[[0, 1, 1], [2, 0, 2], [0, 0, 0]]], np.float32)
    assert crf.viterbi(emissions, np.array([3])).tolist() == [[1, 0, 0]]


def test_long_rows_keep_their_precision():
    """At 30,000 tokens of emissions near 1,000 a plain sum in float32 could not tell tags apart that differ by 0.5."""
    random = np.random.default_rng(5)
    right = random.integers(0, 3, 30_000)
    emissions = np.full((1, 30_000, 3), 1000, np.float32)
    emissions[0, np.arange(30_000), right] += 0.5
    crf = Crf(np.zeros((3, 3)), np.zeros(3), np.zeros(3))
    assert (crf.viterbi(emissions, np.array([30_000]))[0] == right).all()
    marginals = crf.marginals(emissions[0])
    np.testing.assert_allclose(marginals[np.arange(30_000), right], np.exp(0.5) / (np.exp(0.5) + 2), rtol=1e-6)


def test_rows_keep_their_precision_whatever_stands_beside_them():
    random = np.random.default_rng(5)
    crf = Crf(random.normal(size=(4, 4)), random.normal(size=4), random.normal(size=4))
    emissions = random.normal(size=(2, 9, 4)).astype(np.float32)
    alone = crf.viterbi(emissions[:1], np.array([9]))
    emissions[1] += 1e20
    assert crf.viterbi(emissions, np.array([9, 9]))[0].tolist() == alone[0].tolist()


def test_what_stands_at_padding_changes_nothing():
    random = np.random.default_rng(3)
    crf = random_crf(random, 4)
    lengths = np.array([3, 0, 7])
    emissions = random.normal(size=(3, 7, 4)).astype(np.float32)
    other = emissions.copy()
    valid = np.arange(7) < lengths[:, None]
    other[~valid] = random.normal(scale=50, size=other[~valid].shape)
    paths = crf.viterbi(emissions, lengths)
    np.testing.assert_array_equal(paths, crf.viterbi(other, lengths))
    one, two = (crf.path_marginals(e, lengths, paths)[valid] for e in (emissions, other))
    np.testing.assert_array_equal(one, two)


def test_empty_batches_and_sentences():
    crf = Crf(np.zeros((2, 2)), np.zeros(2), np.zeros(2))
    for batch, sequence in ((0, 0), (0, 3), (2, 0)):
        emissions = np.zeros((batch, sequence, 2), np.float32)
        assert crf.viterbi(emissions, np.zeros(batch, np.int32)).shape == (batch, sequence)
        paths = np.zeros((batch, sequence), np.int32)
        assert crf.path_marginals(emissions, np.zeros(batch, np.int32), paths).shape == (batch, sequence)
    assert crf.marginals(np.zeros((0, 2), np.float32)).shape == (0, 2)
    assert crf.path_score(np.zeros((0, 2), np.float32), np.zeros(0, int)) == 0


def test_minus_infinity_is_kept_as_a_finite_number():
    with warnings.catch_warnings():  # a model's numbers are not the caller's to be warned of
        warnings.simplefilter("error")
        crf = Crf(np.array([[0, -np.inf], [-1e300, 1]]), np.array([0, -np.inf]), np.zeros(2))
    assert crf.transitions.tolist() == [[0, np.float32(FORBIDDEN)], [np.float32(FORBIDDEN), 1]]
    assert crf.start[1] == np.float32(FORBIDDEN)
    assert crf.transitions.dtype == crf.start.dtype == np.float32


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ((np.zeros((2, 3)), np.zeros(2), np.zeros(2)), r"transitions has the shape \(2, 3\); expected \(2, 2\)"),
        ((np.zeros((2, 2)), np.zeros(2), np.zeros(3)), r"end has the shape \(3,\); expected \(2,\)"),
        ((np.zeros((0, 0)), np.zeros(0), np.zeros(0)), "at least one tag"),
        (
            (np.full((1, 1), np.nan), np.zeros(1), np.zeros(1)),
            "transitions holds nan; expected numbers of at most 1e30",
        ),
        ((np.zeros((1, 1)), np.array([np.inf]), np.zeros(1)), "start holds inf"),
        ((np.array([[1, 2e30], [3, 4]]), np.zeros(2), np.zeros(2)), r"transitions holds 2.*e\+30"),
    ],
)
def test_numbers_that_are_no_crf(parts, says):
    with pytest.raises(ValueError, match=says):
        Crf(*parts)


def test_the_largest_number_is_one():
    largest = np.float32(-FORBIDDEN)
    assert Crf(np.full((1, 1), largest), np.zeros(1), np.zeros(1)).transitions == largest


def test_how_far_a_path_may_be_off_grows_with_its_emissions():
    crf = Crf(np.zeros((2, 2)), np.zeros(2), np.zeros(2))
    emissions = np.array([[3, 9], [9, -5]], np.float32)
    assert crf.path_tolerance(emissions, np.array([0, 1]), 0.5) == 0.5 * (1 + 3 + 1 + 5)
