import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_deploy.batching import plan_batches, rounded_down, rounded_up

lengths = st.lists(st.integers(0, 60), max_size=80)


@given(lengths, st.integers(1, 200), st.integers(1, 4))
def test_every_sentence_is_in_one_batch_within_the_budget(lengths, budget, workers):
    batches = plan_batches(lengths, max_tokens=budget, workers=workers)
    assert sorted(i for batch in batches for i in batch) == [i for i, n in enumerate(lengths) if n]
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget


@given(lengths, st.integers(1, 200))
def test_longest_first(lengths, budget):
    order = [lengths[i] for batch in plan_batches(lengths, max_tokens=budget) for i in batch]
    assert order == sorted(order, reverse=True)


def test_work_is_shared_among_workers():
    assert len(plan_batches([10] * 8, max_tokens=1000)) == 1
    assert len(plan_batches([10] * 8, max_tokens=1000, workers=4)) == 4


def test_a_budget_below_one_is_refused():
    with pytest.raises(ValueError, match=r"^max_tokens is 0; at least 1 is needed$"):
        plan_batches([1], max_tokens=0)
    assert plan_batches([1, 1], max_tokens=1) == [[0], [1]]


def test_sentences_of_one_length_stay_in_order():
    lengths = [3, 2] * 50
    order = [i for batch in plan_batches(lengths, max_tokens=10) for i in batch]
    assert order == [*range(0, 100, 2), *range(1, 100, 2)]


def test_each_batch_is_an_equal_share_of_what_is_left_down_to_the_least():
    def sizes(number, **options):
        return [len(batch) for batch in plan_batches([1] * number, workers=4, **options)]

    assert sizes(4096, max_tokens=9999) == [1024, 768, 576, 512, 512, 512, 192]
    assert sizes(4096, max_tokens=700) == [700, 700, 674, 512, 512, 512, 486]
    assert sizes(42, max_tokens=9999) == [11, 11, 11, 9]  # nor so small that some have nothing to do
    assert sizes(42, max_tokens=9999, least=8) == [11, 8, 8, 8, 7]


def test_sizes_are_few_and_at_most_an_eighth_more():
    assert [rounded_up(n) for n in (0, 1, 15, 16, 17, 31, 32, 33, 100, 1000)] == [
        0,
        1,
        15,
        16,
        18,
        32,
        32,
        36,
        104,
        1024,
    ]
    assert [rounded_down(n) for n in (0, 1, 15, 16, 17, 31, 33, 100, 1000)] == [0, 1, 15, 16, 16, 30, 32, 96, 960]
    for size in range(1, 3000):
        assert rounded_down(size) <= size <= rounded_up(size) <= size + size // 8
        assert rounded_up(rounded_down(size)) == rounded_down(size)


def test_rounded_batches_stay_under_the_budget_when_both_axes_are_rounded_up():
    assert [len(batch) for batch in plan_batches([17] * 100, max_tokens=1000, rounded=True)] == [52, 48]
    assert [len(batch) for batch in plan_batches([17] * 3, max_tokens=1, rounded=True)] == [1, 1, 1]


def test_the_last_batches_are_small_so_that_workers_end_together():
    sizes = [len(batch) * 10 for batch in plan_batches([10] * 1000, max_tokens=2000, workers=2)]
    assert sum(sizes) == 10_000
    assert sizes[0] == 2000
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] <= 512
