"""Taggers whose authors mixed up the axes: what one sentence alone gives is the truth."""

import torch
import torch.nn as nn
import torch.nn.functional as F

from .case import KNOWN, LOWER, PADDED, TAGS, case


class ForgotBatchFirst(nn.Module):
    """(1, n, E) into an LSTM that wants time first: each token becomes a sentence of its own."""

    def __init__(self, vocab_size, n_tags, embedding_dim=8, hidden_dim=6):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embedding_dim)
        self.lstm = nn.LSTM(embedding_dim, hidden_dim, num_layers=2, bidirectional=True, dropout=0.2)
        self.fc = nn.Linear(hidden_dim * 2, n_tags)

    def forward(self, x):
        x = self.embedding(x)
        x, _ = self.lstm(x)
        return self.fc(x)


class SoftmaxOverTokens(nn.Module):
    """log_softmax over dim 1 of (1, n, tags), which are the tokens."""

    def __init__(self, vocab_size, target_size):
        super().__init__()
        self.word_embeddings = nn.Embedding(vocab_size, 9)
        self.lstm = nn.LSTM(9, 7, batch_first=True)
        self.hidden2tag = nn.Linear(7, target_size)

    def forward(self, sentence):
        embeds = self.word_embeddings(sentence)
        lstm_out, _ = self.lstm(embeds)
        tag_space = self.hidden2tag(lstm_out)
        return F.log_softmax(tag_space, dim=1)


class TimeIntoBatch(nn.Module):
    """(n, 1, E) into an LSTM that is batch first, its state kept in self and sized by the words."""

    def __init__(self, vocab_size, tagset_size, hidden=5):
        super().__init__()
        self.hidden_dim = hidden
        self.emb = nn.Embedding(vocab_size, 10)
        self.lstm = nn.LSTM(10, hidden, batch_first=True)
        self.hidden2out = nn.Linear(hidden, tagset_size)

    def init_hidden(self, n):
        return torch.randn(1, n, self.hidden_dim), torch.randn(1, n, self.hidden_dim)

    def forward(self, words):
        self.hidden = self.init_hidden(len(words))
        e = self.emb(words).view(len(words), 1, -1)
        out, self.hidden = self.lstm(e, self.hidden)
        return F.log_softmax(self.hidden2out(out.view(len(words), -1)), dim=1)


class ProbabilitiesOfTokens(nn.Module):
    """nn.Softmax(dim=0) on (n, tags): each column sums to one, not each row."""

    def __init__(self, n_words, n_tags):
        super().__init__()
        self.net_emb = nn.Embedding(n_words, 6)
        self.net_rnn = nn.LSTM(6, 6, bidirectional=True)
        self.net_out = nn.Sequential(nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, n_tags), nn.Softmax(dim=0))

    def forward(self, x):
        h, _ = self.net_rnn(self.net_emb(x.t()))
        return self.net_out(h[:, 0])


CASES = [
    case(
        "forgot_batch_first",
        "axes mixed up, two layers, bidirectional, dropout",
        lambda: ForgotBatchFirst(len(PADDED), len(TAGS)),
        PADDED,
        encode=PADDED.row,
        pick=lambda out: out[0],
    ),
    case(
        "softmax_over_tokens",
        "axes mixed up, log-softmax",
        lambda: SoftmaxOverTokens(len(PADDED), len(TAGS)),
        PADDED,
        encode=PADDED.row,
        pick=lambda out: out[0],
    ),
    case(
        "time_into_batch",
        "one sentence, view(len,1,-1), axes mixed up, state in self, random state, log-softmax",
        lambda: TimeIntoBatch(len(KNOWN), len(TAGS)),
        KNOWN,
        kind="log_probs",
    ),
    case(
        "probabilities_of_tokens",
        "axes mixed up, bidirectional, deep head, softmax",
        lambda: ProbabilitiesOfTokens(len(LOWER), len(TAGS)),
        LOWER,
        encode=LOWER.row,
    ),
]
