"""Modules that have no right file: each must be refused with the line that is to blame."""

import random

import torch
import torch.nn as nn
import torch.nn.functional as F

from .case import ENTITIES, KNOWN, PADDED, TAGS, refused

N, T = len(KNOWN), len(TAGS)


class Base(nn.Module):
    """Embedding, BiLSTM and head, as all of these have them."""

    def __init__(self, n_words=N, n_tags=T, dim=8, hidden=6):
        super().__init__()
        self.embedding = nn.Embedding(n_words, dim)
        self.lstm = nn.LSTM(dim, hidden, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(2 * hidden, n_tags)

    def states(self, x):
        return self.lstm(self.embedding(x))[0]


class BatchStatistics(Base):
    """The mean and variance of the tokens at hand."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(12, track_running_stats=False)

    def forward(self, x):
        h = self.states(x)
        h = self.norm(h.transpose(1, 2)).transpose(1, 2)
        return self.fc(h)


class AttendsOverBatch(Base):
    """nn.MultiheadAttention wants (n, batch, E): given (batch, n, E), sentences attend to each other."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(12, 2)

    def forward(self, x):
        h = self.states(x)
        h, _ = self.attention(h, h, h)
        return self.fc(h)


class RemembersSentences(Base):
    """Attention over all sentences seen so far."""

    def __init__(self):
        super().__init__()
        self.memory = None

    def forward(self, x):
        h = self.states(x)
        memory = h if self.memory is None else torch.cat([self.memory, h], dim=1)
        self.memory = memory.detach()
        weights = torch.softmax(h @ memory.transpose(1, 2), dim=-1)
        return self.fc(h + weights @ memory)


class BranchOnValue(Base):
    """Another head where the sentence looks positive."""

    def __init__(self):
        super().__init__()
        self.other = nn.Linear(12, T)

    def forward(self, x):
        h = self.states(x)
        if h.mean() > 0:
            return self.other(h)
        return self.fc(h)


class BranchOnLength(Base):
    """Long sentences have an LSTM of their own."""

    def __init__(self):
        super().__init__()
        self.long = nn.LSTM(8, 6, batch_first=True, bidirectional=True)

    def forward(self, x):
        h = self.embedding(x)
        h = self.long(h)[0] if x.size(1) > 17 else self.lstm(h)[0]
        return self.fc(h)


class BranchOnWord(Base):
    """One word changes everything, by way of Python."""

    def forward(self, x):
        h = self.states(x)
        if 3 in x[0].tolist():
            h = -h
        return self.fc(h)


class WhileItem(Base):
    """Refines as often as the sentence itself says."""

    def __init__(self):
        super().__init__()
        self.refine = nn.Linear(12, 12)

    def forward(self, x):
        h = self.states(x)
        steps = 0
        while h.abs().sum().item() > 4 and steps < 5:
            h = torch.tanh(self.refine(h)) * 0.7
            steps += 1
        return self.fc(h)


class SineRNN(Base):
    """A recurrence with a sine in it."""

    def __init__(self):
        super().__init__()
        self.W = nn.Linear(8, 12)
        self.U = nn.Linear(12, 12)

    def forward(self, x):
        e = self.embedding(x)
        h = torch.zeros(x.size(0), 12)
        out = []
        for t in range(x.size(1)):
            h = torch.tanh(self.W(e[:, t])) * torch.sin(self.U(h) + 1)
            out.append(h)
        return self.fc(torch.stack(out, 1))


class MultiplicativeLSTM(Base):
    """Gates of a product of input and state: not affine."""

    def __init__(self):
        super().__init__()
        self.wmx = nn.Linear(8, 12, bias=False)
        self.wmh = nn.Linear(12, 12, bias=False)
        self.gates = nn.Linear(8 + 12, 48)

    def forward(self, x):
        hx = cx = torch.zeros(x.size(0), 12)
        out = []
        for word in self.embedding(x).unbind(1):
            m = self.wmx(word) * self.wmh(hx + 0.5)
            i, f, o, g = self.gates(torch.cat([word, m], 1)).chunk(4, 1)
            cx = torch.sigmoid(f) * cx + torch.sigmoid(i) * torch.tanh(g)
            hx = torch.sigmoid(o) * torch.tanh(cx)
            out.append(hx)
        return self.fc(torch.stack(out, 1))


class StopsEarly(Base):
    """Stops at the first token it is sure of; the rest are tag 0."""

    def forward(self, x):
        scores = self.fc(self.states(x))[0]
        tags = [0] * len(scores)
        for t, row in enumerate(scores):
            if row.softmax(0).max() > 0.3:
                break
            tags[t] = int(row.argmax())
        return torch.tensor(tags)


class ThroughNumpy(Base):
    """Scales its states in numpy by what they are."""

    def forward(self, x):
        h = self.states(x)
        scale = 1 + h.detach().numpy().max()
        return self.fc(h * float(scale))


class BackFromNumpy(Base):
    """Goes through numpy and comes back as a tensor."""

    def forward(self, x):
        h = self.states(x)
        a = h.detach().numpy()
        a = a - a.mean(axis=1, keepdims=True)
        h = torch.from_numpy(a).float()
        return self.fc(h)


class PythonRandom(Base):
    """Python's dice decide."""

    def forward(self, x):
        h = self.states(x)
        h = h * random.choice([0.5, 1.0, 2.0])
        return self.fc(h)


class SortsTokens(Base):
    """Reorders the tokens by how much they matter."""

    def __init__(self):
        super().__init__()
        self.second = nn.LSTM(12, 6, batch_first=True, bidirectional=True)

    def forward(self, x):
        h = self.states(x)
        order = h.sum(dim=2).argsort(dim=1, descending=True)
        h = torch.gather(h, 1, order.unsqueeze(2).expand(-1, -1, h.size(2)))
        return self.fc(self.second(h)[0])


class TopTokens(Base):
    """Only the three strongest tokens are kept."""

    def forward(self, x):
        h = self.states(x)
        best = h.norm(dim=2).topk(min(3, x.size(1)), dim=1).indices
        kept = torch.zeros_like(h)
        kept[:, best[0]] = h[:, best[0]]
        return self.fc(kept)


class DropoutLeftOn(Base):
    """Monte Carlo dropout: never the same answer."""

    def forward(self, x):
        h = self.states(x)
        h = F.dropout(h, p=0.5, training=True)
        return self.fc(h)


class FeedsBackTags(Base):
    """The tag just chosen goes into the next step."""

    def __init__(self):
        super().__init__()
        self.tag_embedding = nn.Embedding(T + 1, 4)
        self.cell = nn.LSTMCell(8 + 4, 6)
        self.decoder = nn.Linear(6, T)

    def forward(self, sentence):
        h, c = torch.zeros(1, 6), torch.zeros(1, 6)
        last = torch.tensor([T])
        scores = []
        for word in sentence:
            x = torch.cat([self.embedding(word).view(1, -1), self.tag_embedding(last)], dim=1)
            h, c = self.cell(x, (h, c))
            score = self.decoder(h)
            last = score.argmax(dim=1)
            scores.append(score)
        return torch.cat(scores)


class GreedyCRF(Base):
    """Has transitions, but decodes greedily: not the Viterbi path."""

    def __init__(self):
        super().__init__(n_tags=len(ENTITIES))
        self.transitions = nn.Parameter(torch.randn(len(ENTITIES), len(ENTITIES)) * 2)

    def decode(self, x):
        previous, path = 0, []
        for emission in self.fc(self.states(x))[0]:
            previous = int((emission + self.transitions[previous]).argmax())
            path.append(previous)
        return path


class FixedLength(Base):
    """Cuts and pads to 20 tokens inside forward; the 21st word has no tag."""

    def __init__(self):
        super().__init__(n_words=len(PADDED))

    def forward(self, x):
        n = x.size(1)
        x = F.pad(x, (0, 20 - n))
        return self.fc(self.states(x))[:, :n]


class PositionTable(Base):
    """Learned positions, enough for 24 words and not one more."""

    def __init__(self):
        super().__init__()
        self.positions = nn.Embedding(24, 8)

    def forward(self, x):
        where = torch.arange(x.size(1)).unsqueeze(0)
        h = self.embedding(x) + self.positions(where)
        return self.fc(self.lstm(h)[0])


class CountsCalls(Base):
    """Answers by how often it was asked."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        h = self.states(x) * (1 + 1 / self.calls)
        return self.fc(h)


def first(out):
    """The only sentence of a batch."""
    return out[0]


REFUSED = [
    refused("batch_statistics", "batch statistics", BatchStatistics, KNOWN, "self.norm(", encode=KNOWN.row, pick=first),
    refused(
        "attends_over_batch",
        "attention over the batch",
        AttendsOverBatch,
        KNOWN,
        "self.attention(",
        encode=KNOWN.row,
        pick=first,
        batch=True,
    ),
    refused(
        "remembers_sentences",
        "state from sentence to sentence",
        RemembersSentences,
        KNOWN,
        "memory",
        encode=KNOWN.row,
        pick=first,
    ),
    refused("branch_on_value", "Python branch", BranchOnValue, KNOWN, "if h.mean()", encode=KNOWN.row, pick=first),
    refused("branch_on_length", "Python branch", BranchOnLength, KNOWN, "self.long(h)", encode=KNOWN.row, pick=first),
    refused("branch_on_word", "Python branch", BranchOnWord, KNOWN, ".tolist()", encode=KNOWN.row, pick=first),
    refused("while_item", "Python loop", WhileItem, KNOWN, ".item()", encode=KNOWN.row, pick=first),
    refused("sine_rnn", "recurrence not affine", SineRNN, KNOWN, "torch.sin(", encode=KNOWN.row, pick=first),
    refused(
        "multiplicative_lstm",
        "recurrence not affine",
        MultiplicativeLSTM,
        KNOWN,
        "self.wmx(word) * self.wmh",
        encode=KNOWN.row,
        pick=first,
    ),
    refused(
        "stops_early",
        "Python branch",
        StopsEarly,
        KNOWN,
        "row.softmax(0).max()",
        encode=KNOWN.row,
        path=lambda tags: tags.tolist(),
        inner=lambda model, x: model.fc(model.states(x))[0],
    ),
    refused("through_numpy", "numpy", ThroughNumpy, KNOWN, ".numpy()", encode=KNOWN.row, pick=first),
    refused("back_from_numpy", "numpy", BackFromNumpy, KNOWN, "numpy", encode=KNOWN.row, pick=first),
    refused("python_random", "chance", PythonRandom, KNOWN, "random.choice", encode=KNOWN.row, pick=first),
    refused("sorts_tokens", "tokens change places", SortsTokens, KNOWN, "argsort", encode=KNOWN.row, pick=first),
    refused("top_tokens", "tokens change places", TopTokens, KNOWN, "topk", encode=KNOWN.row, pick=first),
    refused("dropout_left_on", "chance", DropoutLeftOn, KNOWN, "F.dropout(", encode=KNOWN.row, pick=first),
    refused("feeds_back_tags", "decisions fed back", FeedsBackTags, KNOWN, "score.argmax"),
    refused(
        "greedy_crf",
        "decisions fed back",
        GreedyCRF,
        KNOWN,
        "self.transitions[previous]",
        tags=ENTITIES,
        entry="decode",
        encode=KNOWN.row,
        path=list,
        inner=lambda model, x: model.fc(model.states(x))[0],
        kind="emissions",
    ),
    refused("fixed_length", "fixed length", FixedLength, PADDED, "F.pad(", encode=PADDED.row, pick=first),
    refused("position_table", "fixed length", PositionTable, KNOWN, "self.positions(", encode=KNOWN.row, pick=first),
    refused(
        "counts_calls",
        "state from sentence to sentence",
        CountsCalls,
        KNOWN,
        "self.calls",
        encode=KNOWN.row,
        pick=first,
    ),
]
