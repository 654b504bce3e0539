import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_deploy.batching import plan_batches

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
    with pytest.raises(ValueError, match="at least 1"):
        plan_batches([1], max_tokens=0)


def test_the_last_batches_are_small_so_that_workers_end_together():
    sizes = [len(batch) * 10 for batch in plan_batches([10] * 1000, max_tokens=2000, workers=2)]
    assert sum(sizes) == 10_000
    assert sizes[0] == 2000
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] <= 512
