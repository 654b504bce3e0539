"""The PyTorch tagger: padding changes nothing, whatever its form."""

import pytest
import torch

from lstm_deploy.training.config import ModelConfig
from lstm_deploy.training.model import LSTMTagger, SubwordEmbedding

FORMS = [(sub, bi, layers) for sub in (False, True) for bi in (False, True) for layers in (1, 2)]


def _tagger(subwords, bidirectional, layers):
    torch.manual_seed(0)
    config = ModelConfig(
        embedding=6, hidden=5, layers=layers, bidirectional=bidirectional, subwords=subwords, buckets=50
    )
    return LSTMTagger(config, words=30, tags=4)


def _batch(lengths, seed):
    generator = torch.Generator().manual_seed(seed)
    shape = (len(lengths), max(lengths))
    words = torch.randint(0, 30, shape, generator=generator)
    return words, torch.tensor(lengths), torch.randint(0, 50, (*shape, 9), generator=generator)


@pytest.mark.parametrize("form", FORMS)
def test_a_ragged_batch_is_its_sentences_one_by_one(form):
    tagger = _tagger(*form)
    words, lengths, subwords = _batch([7, 1, 4, 7], 1)
    together = tagger.log_probs(words, lengths, subwords if form[0] else None)
    for i, n in enumerate(lengths.tolist()):
        rows = subwords[i : i + 1, :n] if form[0] else None
        alone = tagger.log_probs(words[i : i + 1, :n], lengths[i : i + 1], rows)
        torch.testing.assert_close(together[i, :n], alone[0], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_what_stands_at_padding_changes_nothing(form):
    tagger = _tagger(*form)
    words, lengths, subwords = _batch([6, 2], 1)
    other_words, _, other_subwords = _batch([6, 2], 2)
    valid = torch.arange(6) < lengths[:, None]
    other_words[valid], other_subwords[valid] = words[valid], subwords[valid]
    one = tagger.log_probs(words, lengths, subwords if form[0] else None)
    two = tagger.log_probs(other_words, lengths, other_subwords if form[0] else None)
    assert torch.equal(one[valid], two[valid])


@pytest.mark.parametrize("form", FORMS)
def test_every_parameter_learns(form):
    tagger = _tagger(*form).train()
    words, lengths, subwords = _batch([6, 2], 1)
    tagger(words, lengths, subwords if form[0] else None).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in tagger.parameters())


def test_log_probs_are_probabilities_and_leave_the_mode_alone():
    tagger = _tagger(True, True, 2).train()
    batch = _batch([6, 2], 1)
    one, two = tagger.log_probs(*batch), tagger.log_probs(*batch)
    assert tagger.training
    assert torch.equal(one, two)
    torch.testing.assert_close(one.exp().sum(-1), torch.ones(2, 6))


def test_subword_embedding_is_the_normed_sum():
    torch.manual_seed(0)
    embedding = SubwordEmbedding(5, 11, 4)
    words, subwords = torch.tensor([[3, 1]]), torch.tensor([[[0, 10, 10], [4, 5, 6]]])
    summed = embedding.word.weight[words] + embedding.subword.weight[subwords].sum(2)
    expected = (summed - summed.mean(-1, keepdim=True)) / (summed.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(embedding(words, subwords), expected)
