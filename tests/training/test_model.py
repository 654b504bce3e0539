"""The PyTorch tagger: padding changes nothing, whatever its form."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from lstm_deploy.training.config import ModelConfig
from lstm_deploy.training.model import LSTMTagger, SubwordEmbedding
from lstm_deploy.training.recurrence import padded_lstm

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
    assert len(together) == 4
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
    parameters = list(tagger.parameters())
    assert len(parameters) > 4
    assert all(parameter.grad.abs().sum() > 0 for parameter in parameters)


@settings(max_examples=30, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    layers=st.integers(1, 3),
    bidirectional=st.booleans(),
    bias=st.booleans(),
    seed=st.integers(0, 99),
)
def test_padded_training_is_packed_training(lengths, layers, bidirectional, bias, seed):
    """States of all true tokens, and the gradients that come of them."""
    torch.manual_seed(seed)
    lstm = nn.LSTM(4, 5, layers, batch_first=True, bidirectional=bidirectional, bias=bias)
    x = torch.randn(len(lengths), max(lengths), 4, requires_grad=True)
    valid = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    weights = torch.randn(int(valid.sum()), 5 * (1 + bidirectional))
    packed = pack_padded_sequence(x, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
    whole = pad_packed_sequence(lstm(packed)[0], batch_first=True)[0]
    found = padded_lstm(lstm, x, torch.tensor(lengths), training=True)
    torch.testing.assert_close(found[valid], whole[valid])
    sources = [x, *lstm.parameters()]
    expected = torch.autograd.grad((whole[valid] * weights).sum(), sources)
    gradients = torch.autograd.grad((found[valid] * weights).sum(), sources)
    for one, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("subwords", [False, True])
def test_a_words_vector_is_projected_and_added(subwords):
    torch.manual_seed(0)
    config = ModelConfig(embedding=6, hidden=5, subwords=subwords, buckets=50, vectors=3)
    embedding = LSTMTagger(config, words=30, tags=4).embedding
    embedding.vectors.normal_()
    words, _, features = _batch([4, 2], 1)
    features = features if subwords else None
    plain = LSTMTagger(replace(config, vectors=0), words=30, tags=4).embedding
    plain.load_state_dict({k: v for k, v in embedding.state_dict().items() if k in plain.state_dict()})
    plain.word.weight.data = embedding.word.weight + embedding.vectors @ embedding.projection.weight.T
    torch.testing.assert_close(embedding(words, features), plain(words, features))
    torch.testing.assert_close(embedding.word_rows(), plain.word.weight)


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
