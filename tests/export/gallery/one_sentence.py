"""Taggers that take one sentence at a time, as tutorials write them."""

import torch
import torch.nn.functional as F
from torch import nn

from .case import KNOWN, LOWER, PADDED, TAGS, case


class LSTMTagger(nn.Module):
    """The tagger of the PyTorch tutorial."""

    def __init__(self, embedding_dim, hidden_dim, vocab_size, tagset_size):
        super().__init__()
        self.hidden_dim = hidden_dim
        self.word_embeddings = nn.Embedding(vocab_size, embedding_dim)
        self.lstm = nn.LSTM(embedding_dim, hidden_dim)
        self.hidden2tag = nn.Linear(hidden_dim, tagset_size)

    def forward(self, sentence):
        embeds = self.word_embeddings(sentence)
        lstm_out, _ = self.lstm(embeds.view(len(sentence), 1, -1))
        tag_space = self.hidden2tag(lstm_out.view(len(sentence), -1))
        return F.log_softmax(tag_space, dim=1)


class LSTMTaggerWithHidden(nn.Module):
    """The older form of the tutorial: the state lives in the module."""

    def __init__(self, embedding_dim, hidden_dim, vocab_size, tagset_size):
        super().__init__()
        self.hidden_dim = hidden_dim
        self.word_embeddings = nn.Embedding(vocab_size, embedding_dim)
        self.lstm = nn.LSTM(embedding_dim, hidden_dim)
        self.hidden2tag = nn.Linear(hidden_dim, tagset_size)
        self.hidden = self.init_hidden()

    def init_hidden(self):
        # (num_layers, minibatch_size, hidden_dim)
        return (torch.zeros(1, 1, self.hidden_dim), torch.zeros(1, 1, self.hidden_dim))

    def forward(self, sentence):
        embeds = self.word_embeddings(sentence)
        lstm_out, self.hidden = self.lstm(embeds.view(len(sentence), 1, -1), self.hidden)
        tag_space = self.hidden2tag(lstm_out.view(len(sentence), -1))
        return F.log_softmax(tag_space, dim=1)


class RandomStart(nn.Module):
    """A fresh random state for every sentence, sizes written out by hand."""

    def __init__(self, n_words, n_tags, emb=9, hid=6):
        super().__init__()
        self.emb_dim, self.hid_dim, self.batch_size = emb, hid, 1
        self.embed = nn.Embedding(n_words, emb)
        self.rnn = nn.LSTM(emb, hid, num_layers=1, bidirectional=True)
        self.fc = nn.Linear(hid * 2, n_tags)

    def forward(self, x):
        h0 = torch.randn(2, self.batch_size, self.hid_dim)
        c0 = torch.randn(2, self.batch_size, self.hid_dim)
        x = self.embed(x).view(len(x), self.batch_size, self.emb_dim)
        x, (_h, _c) = self.rnn(x, (h0, c0))
        return self.fc(x.view(-1, self.hid_dim * 2))


class PosModel(nn.Module):
    """Trained through forward, used through predict, which gives tags alone."""

    def __init__(self, vocab, tags):
        super().__init__()
        self.emb = nn.Embedding(len(vocab), 8)
        self.drop = nn.Dropout(0.3)
        self.lstm = nn.LSTM(input_size=8, hidden_size=7, num_layers=2, dropout=0.2, bidirectional=True)
        self.out = nn.Linear(14, len(tags))

    def forward(self, inputs):
        emb = self.drop(self.emb(inputs))
        h, _ = self.lstm(emb.view(len(inputs), 1, -1))
        return self.out(self.drop(h.view(len(inputs), -1)))

    def predict(self, inputs):
        self.eval()
        with torch.no_grad():
            probs = F.softmax(self.forward(inputs), dim=1)
            _, best = torch.max(probs, 1)
        return best


class UnsqueezeGRU(nn.Module):
    """A GRU with a batch axis put in and taken out, and probabilities for a result."""

    def __init__(self):
        super().__init__()
        self.lookup = nn.Embedding(len(PADDED), 7, padding_idx=0)
        self.gru = nn.GRU(7, 5, bidirectional=True)
        self.tag = nn.Linear(10, len(TAGS))

    def forward(self, word_ids):
        x = self.lookup(word_ids).unsqueeze(1)
        output, _hn = self.gru(x)
        return torch.softmax(self.tag(output.squeeze(1)), dim=-1)


class TwoDimensions(nn.Module):
    """No batch axis at all: nn.LSTM takes (n, features) too."""

    def __init__(self, V, T, E=10, H=6):
        super().__init__()
        self.E = nn.Embedding(V, E)
        self.lstm = nn.LSTM(E, H, 2, bidirectional=True, dropout=0.2)
        self.mlp = nn.Sequential(nn.Linear(2 * H, H), nn.Tanh(), nn.Dropout(0.2), nn.Linear(H, T))

    def forward(self, s):
        return self.mlp(self.lstm(self.E(s))[0])


class CellLoop(nn.Module):
    """An LSTMCell, word by word."""

    def __init__(self, vocab_size, n_tags, dim=8, hidden_size=7):
        super().__init__()
        self.hidden_size = hidden_size
        self.embedding = nn.Embedding(vocab_size, dim)
        self.cell = nn.LSTMCell(dim, hidden_size)
        self.decoder = nn.Linear(hidden_size, n_tags)

    def forward(self, sentence):
        hx = torch.zeros(1, self.hidden_size)
        cx = torch.zeros(1, self.hidden_size)
        scores = []
        for word in sentence:
            emb = self.embedding(word).view(1, -1)
            hx, cx = self.cell(emb, (hx, cx))
            scores.append(self.decoder(hx))
        return F.log_softmax(torch.cat(scores, dim=0), dim=1)


class ResetInside(nn.Module):
    """The state is kept in the module, for a batch of one, and started anew by forward."""

    def __init__(self, vocab_size, tag_size, batch_size=1):
        super().__init__()
        self.batch_size = batch_size
        self.hidden_dim = 6
        self.num_layers = 2
        self.embedding = nn.Embedding(vocab_size, 10)
        self.lstm = nn.LSTM(10, self.hidden_dim, num_layers=self.num_layers)
        self.hidden = None
        self.linear1 = nn.Linear(self.hidden_dim, 12)
        self.linear2 = nn.Linear(12, tag_size)

    def init_hidden(self):
        self.hidden = (
            torch.zeros(self.num_layers, self.batch_size, self.hidden_dim),
            torch.zeros(self.num_layers, self.batch_size, self.hidden_dim),
        )

    def forward(self, sentence):
        self.init_hidden()
        seq_len = sentence.size(0)
        embeds = self.embedding(sentence).view(seq_len, self.batch_size, -1)
        out, self.hidden = self.lstm(embeds, self.hidden)
        out = F.relu(self.linear1(out.view(seq_len * self.batch_size, self.hidden_dim)))
        return F.log_softmax(self.linear2(out), dim=-1)


def start_anew(model):
    """What the tutorial's loop does before each sentence."""
    model.hidden = model.init_hidden()


CASES = [
    case(
        "tutorial_tagger",
        "one sentence, view(len,1,-1), log-softmax",
        lambda: LSTMTagger(6, 6, len(KNOWN), len(TAGS)),
        KNOWN,
        kind="log_probs",
    ),
    case(
        "tutorial_tagger_hidden",
        "one sentence, view(len,1,-1), state in self, log-softmax",
        lambda: LSTMTaggerWithHidden(7, 5, len(KNOWN), len(TAGS)),
        KNOWN,
        kind="log_probs",
        reset=start_anew,
    ),
    case(
        "random_start",
        "one sentence, view(len,1,-1), random state, fixed batch, bidirectional",
        lambda: RandomStart(len(LOWER), len(TAGS)),
        LOWER,
    ),
    case(
        "predict_gives_tags",
        "one sentence, view(len,1,-1), entry not forward, two layers, bidirectional, dropout",
        lambda: PosModel(KNOWN.vocabulary, TAGS),
        KNOWN,
        entry="predict",
        inner=lambda model, ids: model(ids),
        path=lambda best: best.tolist(),
        loss=lambda model, tags, ids: F.cross_entropy(model(ids), tags),
    ),
    case(
        "unsqueeze_gru",
        "one sentence, GRU, bidirectional, softmax",
        UnsqueezeGRU,
        PADDED,
        kind="probs",
    ),
    case(
        "two_dimensions",
        "one sentence, two layers, bidirectional, dropout, deep head",
        lambda: TwoDimensions(len(LOWER), len(TAGS)),
        LOWER,
    ),
    case(
        "lstmcell_loop",
        "one sentence, LSTMCell, log-softmax",
        lambda: CellLoop(len(PADDED), len(TAGS)),
        PADDED,
        kind="log_probs",
    ),
    case(
        "reset_inside",
        "one sentence, view(len,1,-1), state in self, fixed batch, two layers, deep head, log-softmax",
        lambda: ResetInside(len(KNOWN), len(TAGS)),
        KNOWN,
        kind="log_probs",
    ),
]
