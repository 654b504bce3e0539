"""What stands around the recurrence: attention and convolution over tokens, vectors for words."""

import math
from collections import namedtuple

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from .case import PADDED, TAGS, WORD_TAGS, Spec, Words, case

Prediction = namedtuple("Prediction", ["scores", "attention"])


class SelfAttention(nn.Module):
    """Scaled dot products between the tokens of a sentence, beside the LSTM's own states."""

    def __init__(self, vocab_size, n_tags, d=8):
        super().__init__()
        self.emb = nn.Embedding(vocab_size, d)
        self.lstm = nn.LSTM(d, d // 2, batch_first=True, bidirectional=True)
        self.query, self.key, self.value = nn.Linear(d, d), nn.Linear(d, d), nn.Linear(d, d)
        self.norm = nn.LayerNorm(d)
        self.out = nn.Linear(d, n_tags)

    def forward(self, x):
        h, _ = self.lstm(self.emb(x))
        q, k, v = self.query(h), self.key(h), self.value(h)
        scores = torch.bmm(q, k.transpose(1, 2)) / math.sqrt(q.size(-1))
        weights = F.softmax(scores, dim=-1)
        context = torch.bmm(weights, v)
        return Prediction(self.out(self.norm(h + context)), weights)


class ContextVector(nn.Module):
    """Additive attention sums a sentence up; every token sees the sum."""

    def __init__(self, vocab_size, tagset_size, embed_dim=6, hidden_dim=5):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embed_dim)
        self.lstm = nn.LSTM(embed_dim, hidden_dim, bidirectional=True)
        self.attn = nn.Linear(2 * hidden_dim, 4)
        self.v = nn.Linear(4, 1, bias=False)
        self.classifier = nn.Sequential(
            nn.Linear(4 * hidden_dim, 9), nn.ReLU(), nn.Dropout(0.2), nn.Linear(9, tagset_size)
        )

    def forward(self, sentence):
        outputs, _ = self.lstm(self.embedding(sentence).unsqueeze(1))
        outputs = outputs.squeeze(1)  # (n, 2H)
        alphas = torch.softmax(self.v(torch.tanh(self.attn(outputs))), dim=0)  # (n, 1)
        context = torch.sum(alphas * outputs, dim=0)
        repeated = context.unsqueeze(0).repeat(outputs.size(0), 1)
        return self.classifier(torch.cat([outputs, repeated], dim=1))


class ConvThenLSTM(nn.Module):
    """A convolution over neighbouring words under two LSTMs."""

    def __init__(self, vocab_size, n_tags):
        super().__init__()
        self.embed = nn.Embedding(vocab_size, 8, padding_idx=0)
        self.conv = nn.Conv1d(8, 10, kernel_size=3, padding=1)
        self.lstm1 = nn.LSTM(10, 5, batch_first=True, bidirectional=True)
        self.lstm2 = nn.LSTM(10, 6, batch_first=True)
        self.output = nn.Linear(6, n_tags)

    def forward(self, x):
        x = self.embed(x)
        x = F.relu(self.conv(x.permute(0, 2, 1))).permute(0, 2, 1)
        x, _ = self.lstm1(x)
        x, _ = self.lstm2(x)
        return F.log_softmax(self.output(x), dim=2)


class VectorsIn(nn.Module):
    """Takes word vectors, not ids; proj_size, no biases, nn.Sequential around it."""

    def __init__(self, dim, n_tags):
        super().__init__()
        self.before = nn.Sequential(nn.Linear(dim, 9), nn.ReLU())
        self.lstm = nn.LSTM(9, 8, proj_size=4, bidirectional=True, batch_first=True, bias=False)
        self.after = nn.Sequential(nn.Dropout(0.3), nn.Linear(8, n_tags))

    def forward(self, vectors):
        hidden, _ = self.lstm(self.before(vectors))
        return self.after(hidden)


class RNN(nn.Module):
    """One long list of layers, with one to drop the state."""

    def __init__(self, dim, n_tags):
        super().__init__()
        self.model = nn.Sequential(
            nn.LSTM(dim, 6, num_layers=2, bidirectional=True), First(), nn.Linear(12, n_tags), nn.LogSoftmax(dim=-1)
        )

    def forward(self, sentence):
        return self.model(sentence)


class First(nn.Module):
    """The first of a tuple."""

    def forward(self, pair):
        return pair[0]


def made_up_vectors(rows, dim, seed):
    """Stands for word2vec."""
    return np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)


NAMES = list(WORD_TAGS)
TABLE = made_up_vectors(len(NAMES), 10, 1)
WITH_VECTORS = Words(NAMES, Spec(vectors=TABLE))

OPEN_NAMES = ["UNK", *NAMES]
OPEN_TABLE = made_up_vectors(len(OPEN_NAMES), 7, 2)
OPEN_TABLE[0] = 0
WITH_OPEN_VECTORS = Words(OPEN_NAMES, Spec(unknown="UNK", vectors=OPEN_TABLE))
WORD2VEC = dict(zip(OPEN_NAMES, OPEN_TABLE, strict=True))


def vectors_batch_first(sentences):
    """(batch, n, 10), padded with zeros."""
    batch = np.zeros((len(sentences), max(map(len, sentences)), TABLE.shape[1]), dtype=np.float32)
    for row, words in zip(batch, sentences, strict=True):
        row[: len(words)] = TABLE[[NAMES.index(word) for word in words]]
    return (torch.from_numpy(batch),)


def vectors_of_one(sentences):
    """(n, 1, 7); zeros for a word without a vector."""
    rows = [WORD2VEC.get(word, np.zeros(7, dtype=np.float32)) for word in sentences[0]]
    return (torch.tensor(np.array(rows)).unsqueeze(1),)


CASES = [
    case(
        "self_attention",
        "attention, LayerNorm, residual, bidirectional, structured output",
        lambda: SelfAttention(len(PADDED), len(TAGS)),
        PADDED,
        encode=PADDED.row,
        pick=lambda out: out.scores[0],
        batch=True,
    ),
    case(
        "context_vector",
        "one sentence, attention, bidirectional, deep head",
        lambda: ContextVector(len(PADDED), len(TAGS)),
        PADDED,
    ),
    case(
        "conv_then_lstm",
        "Conv1d, stacked, bidirectional, log-softmax",
        lambda: ConvThenLSTM(len(PADDED), len(TAGS)),
        PADDED,
        kind="log_probs",
        encode=PADDED.row,
        pick=lambda out: out[0],
        batch=True,
    ),
    case(
        "vectors_and_projection",
        "vectors in, proj_size, no bias, bidirectional, Sequential",
        lambda: VectorsIn(10, len(TAGS)),
        WITH_VECTORS,
        encode=vectors_batch_first,
        pick=lambda out: out[0],
        batch=True,
    ),
    case(
        "vectors_in_sequence",
        "one sentence, vectors in, two layers, bidirectional, Sequential, log-softmax",
        lambda: RNN(7, len(TAGS)),
        WITH_OPEN_VECTORS,
        kind="log_probs",
        encode=vectors_of_one,
        pick=lambda out: out[:, 0],
    ),
]
