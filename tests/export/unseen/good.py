"""Taggers by someone who had read the docs only, and each is exported right."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from zlib import crc32

import torch
import torch.nn as nn
import torch.nn.functional as F
from gallery.case import ENTITIES, KNOWN, PADDED, TAGS, Case, Words, case
from gallery.characters import CHAR_ID, CHARSET, PADDED_WITH_CHARACTERS
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torchcrf import CRF

N, K, NER = len(PADDED), len(TAGS), len(ENTITIES)


@dataclass(frozen=True)
class Unseen(Case):
    """A case that nobody had seen before it was tried.

    Attributes:
        expected: "right": there is a file, and it answers as the module does; "refused": there is none.
        lengths: of sentences that are tried beside those of up to 70 words.
        sentences: that are tried, too.
    """

    expected: str = "right"
    lengths: tuple[int, ...] = ()
    sentences: tuple[list[str], ...] = ()


def drawn(build: Callable[[], nn.Module], seed: int, change: Callable[[nn.Module], nn.Module] | None) -> nn.Module:
    """A module with random weights that are large enough for each of them to matter, in evaluation mode."""
    torch.manual_seed(seed)
    module = build()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if "emb" in name and weight.dim() == 2:
                weight.copy_(noise)
            elif weight.dim() >= 2:
                weight.copy_(noise * 1.6 / math.sqrt(weight[0].numel()))
            elif "norm" in name:
                weight.add_(noise * 0.3)
            else:
                weight.copy_(noise * 0.5)
        return change(module.eval()) if change else module.eval()


def unseen(
    name: str,
    build: Callable[[], nn.Module],
    words: Words = PADDED,
    *,
    expected: str = "right",
    lengths: tuple[int, ...] = (),
    sentences: tuple[list[str], ...] = (),
    seed: int | None = None,
    change: Callable[[nn.Module], nn.Module] | None = None,
    **rest: Any,
) -> Unseen:
    """An `Unseen` from what differs; one sentence is a row, and the only one of its batch is picked.

    Args:
        change: what is done to the module after its weights are drawn.
        rest: goes to `gallery.case.case`.
    """
    rest.setdefault("encode", words.row)
    rest.setdefault("pick", first)
    made = vars(case(name, "unseen", build, words, **rest))
    make = partial(drawn, build, crc32(name.encode()) if seed is None else seed, change)
    return Unseen(**made | {"make": make}, expected=expected, lengths=lengths, sentences=sentences)


def decoder(name: str, build: Callable[[], nn.Module], words: Words = PADDED, **rest: Any) -> Unseen:
    """An `Unseen` that answers with a path, made of the scores of its ``scores``."""
    rest.setdefault("path", list)
    rest.setdefault("inner", lambda module, x, *_: module.scores(x))
    return unseen(name, build, words, **{"tags": ENTITIES, "kind": "emissions", **rest})


def first(out):
    """The only sentence of a batch."""
    return out[0]


class Tagger(nn.Module):
    """Embedding, BiLSTM and head: what most of these share."""

    def __init__(self, n_words=N, n_tags=K, dim=8, hidden=6):
        super().__init__()
        self.embedding = nn.Embedding(n_words, dim)
        self.lstm = nn.LSTM(dim, hidden, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * hidden, n_tags)

    def states(self, x):
        return self.lstm(self.embedding(x))[0]

    def scores(self, x):
        return self.head(self.states(x))

    def forward(self, x):
        return self.scores(x)


class WeightDrop(nn.Module):
    """Dropout on a recurrence's own weights, as AWD-LSTM has it."""

    def __init__(self, module, weights, p):
        super().__init__()
        self.module, self.weights, self.p = module, weights, p
        for weight in weights:
            self.register_parameter(f"{weight}_raw", nn.Parameter(getattr(module, weight).data))

    def forward(self, *args):
        for weight in self.weights:
            raw = getattr(self, f"{weight}_raw")
            self.module._parameters[weight] = F.dropout(raw, p=self.p, training=self.training)
        return self.module.forward(*args)


class AWD(nn.Module):
    """Two LSTMs with dropped weights, time first."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(N, 8)
        self.rnns = nn.ModuleList([WeightDrop(nn.LSTM(size, 9), ["weight_hh_l0"], 0.5) for size in (8, 9)])
        self.decoder = nn.Linear(9, K)

    def forward(self, x):
        h = self.embedding(x)
        for rnn in self.rnns:
            h, _ = rnn(h)
        return self.decoder(h)


class Highway(Tagger):
    """Highway layers on the embeddings; takes keywords, answers with a dict."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(8, 16) for _ in range(2)])

    def forward(self, tokens, **kwargs):
        x = self.embedding(tokens)
        for layer in self.layers:
            new, gate = layer(x).chunk(2, dim=-1)
            gate = torch.sigmoid(gate)
            x = gate * x + (1 - gate) * F.relu(new)
        y, _ = self.lstm(x)
        if kwargs.get("verbose", False):
            print(y.shape)
        assert y.shape[:2] == tokens.shape
        return {"logits": self.head(y), "hidden": y}


class MaskedMean(Tagger):
    """Each token sees the mean of all states that the mask leaves."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(24, K)

    def forward(self, x, mask):
        h = self.states(x)
        m = mask.unsqueeze(-1).float()
        context = (h * m).sum(1) / m.sum(1).clamp(min=1e-9)
        return self.head(torch.cat([h, context.unsqueeze(1).repeat(1, h.size(1), 1)], -1))


class LastState(nn.Module):
    """Each token sees the last hidden states of both directions; (loss, logits), time first."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(N, 8)
        self.lstm = nn.LSTM(8, 6, bidirectional=True)
        self.fc1 = nn.Linear(24, 10)
        self.fc2 = nn.Linear(10, K)

    def forward(self, x, tags=None, reduction="mean"):
        seq_len, bsz = x.size()
        out, (hn, _) = self.lstm(self.embedding(x))
        context = torch.cat((hn[-2], hn[-1]), dim=1).unsqueeze(0).expand(seq_len, bsz, -1)
        logits = self.fc2(torch.tanh(self.fc1(torch.cat((out, context), 2))))
        loss = None
        if tags is not None:
            loss = F.cross_entropy(logits.view(-1, logits.size(-1)), tags.view(-1), reduction=reduction)
        return loss, logits


class LearnedStart(nn.Module):
    """Two bidirectional GRU layers that start from what was learned."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(N, 8)
        self.gru = nn.GRU(8, 6, num_layers=2, bidirectional=True, batch_first=True)
        self.h0 = nn.Parameter(torch.randn(4, 1, 6))
        self.head = nn.Linear(12, K)

    def forward(self, x):
        h, _ = self.gru(self.embedding(x) * math.sqrt(8), self.h0.repeat(1, x.shape[0], 1))
        return self.head(h)


class PooledStart(nn.Module):
    """The LSTM starts from the maximum of the embeddings."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(N, 8)
        self.lstm = nn.LSTM(8, 6, batch_first=True)
        self.to_h = nn.Linear(8, 6)
        self.to_c = nn.Linear(8, 6)
        self.head = nn.Linear(6, K)

    def forward(self, x):
        e = self.embedding(x)
        pooled = e.max(dim=1)[0]
        start = torch.tanh(self.to_h(pooled)).unsqueeze(0), self.to_c(pooled).unsqueeze(0)
        y, _ = self.lstm(e, start)
        return self.head(y)


class Sinusoidal(Tagger):
    """The Transformer's positions from a buffer, added to the embeddings."""

    def __init__(self):
        super().__init__()
        table = torch.zeros(500, 8)
        position = torch.arange(0, 500).unsqueeze(1).float()
        rate = torch.exp(torch.arange(0, 8, 2).float() * -(math.log(10000.0) / 8))
        table[:, 0::2] = torch.sin(position * rate)
        table[:, 1::2] = torch.cos(position * rate)
        self.register_buffer("table", table.unsqueeze(0))

    def forward(self, x):
        e = self.embedding(x) * math.sqrt(8)
        e = e + self.table[:, : e.size(1)]
        return self.head(self.lstm(e)[0])


class DilatedConvolutions(nn.Module):
    """Residual dilated convolutions, then a depthwise and a pointwise one, then the LSTM."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(N, 8)
        self.dilated = nn.ModuleList([nn.Conv1d(8, 8, 3, padding=d, dilation=d) for d in (1, 2, 4)])
        self.depthwise = nn.Conv1d(8, 8, 5, padding=2, groups=8)
        self.pointwise = nn.Conv1d(8, 8, 1)
        self.lstm = nn.LSTM(8, 6, bidirectional=True)
        self.head = nn.Linear(12, K)

    def forward(self, x):
        h = self.embedding(x).transpose(1, 2)
        for convolution in self.dilated:
            h = h + F.gelu(convolution(h))
        h = self.pointwise(self.depthwise(h)).permute(2, 0, 1)
        return self.head(self.lstm(h)[0]).transpose(0, 1)


class NormedWeights(Tagger):
    """Weight norm on a convolution, spectral norm on the head."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.utils.parametrizations.weight_norm(nn.Conv1d(8, 8, 3, padding=1))
        self.head = nn.utils.parametrizations.spectral_norm(nn.Linear(12, K))

    def forward(self, x):
        h = torch.relu(self.convolution(self.embedding(x).transpose(1, 2))).transpose(1, 2)
        return self.head(self.lstm(h)[0]) * 4


class Heads(Tagger):
    """Self-attention of three heads under a mask, by matmul and einsum, with a residual and LayerNorm."""

    def __init__(self):
        super().__init__()
        self.q = nn.Linear(12, 12)
        self.k = nn.Linear(12, 12)
        self.v = nn.Linear(12, 12)
        self.norm = nn.LayerNorm(12)

    def forward(self, x, mask):
        h = self.states(x)
        batch, n, _ = h.shape
        q, k, v = (f(h).view(batch, n, 3, 4).transpose(1, 2) for f in (self.q, self.k, self.v))
        scores = torch.matmul(q, k.transpose(-2, -1)) / math.sqrt(4)
        scores = scores.masked_fill(mask[:, None, None, :] == 0, float("-inf"))
        seen = torch.einsum("bhqk,bhkd->bhqd", F.softmax(scores, -1), v)
        return self.head(self.norm(h + seen.transpose(1, 2).contiguous().view(batch, n, -1)))


class MultiheadAttention(Tagger):
    """torch's own attention with a padding mask."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(12, 3, batch_first=True)

    def forward(self, x, mask):
        h = self.states(x)
        seen, _ = self.attention(h, h, h, key_padding_mask=mask == 0)
        return self.head(h + seen)


class DotAttention(Tagger):
    """Dot products between the states, weighted in a way of choice."""

    def __init__(self, weigh):
        super().__init__()
        self.weigh = weigh
        self.q = nn.Linear(12, 12)

    def forward(self, x):
        h = self.states(x)
        return self.head(h + self.weigh(self.q(h) @ h.transpose(1, 2)) @ h)


def causal(scores):
    """Each token looks back only."""
    n = scores.size(1)
    return torch.softmax(scores.masked_fill(torch.triu(torch.ones(n, n), 1).bool(), -1e9), 2)


def over_queries(scores):
    """The softmax runs over the axis that most people do not mean."""
    return torch.softmax(scores, 1)


class Bilinear(Tagger):
    """Forward and backward states meet in nn.Bilinear."""

    def __init__(self):
        super().__init__()
        self.bilinear = nn.Bilinear(6, 6, 7)
        self.head = nn.Linear(7, K)

    def forward(self, x):
        forwards, backwards = torch.split(self.states(x), 6, dim=-1)
        return self.head(F.leaky_relu(self.bilinear(forwards.contiguous(), backwards.contiguous())))


class NormedStack(nn.Module):
    """Two LSTMCells, each followed by LayerNorm, stepped together."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(N, 8)
        self.cells = nn.ModuleList([nn.LSTMCell(8, 6), nn.LSTMCell(6, 6)])
        self.norms = nn.ModuleList([nn.LayerNorm(6), nn.LayerNorm(6)])
        self.head = nn.Linear(6, K)

    def forward(self, x):
        batch, n = x.shape
        state = [(x.new_zeros(batch, 6, dtype=torch.float), torch.zeros(batch, 6)) for _ in self.cells]
        out = []
        for t in range(n):
            h = self.embedding(x[:, t])
            for i, (cell, norm) in enumerate(zip(self.cells, self.norms, strict=True)):
                state[i] = cell(h, state[i])
                h = norm(state[i][0])
            out.append(h)
        return self.head(torch.stack(out, dim=1))


class SummedDirections(nn.Module):
    """Residual BiLSTM layers whose directions are summed by a view."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(N, 8)
        self.first = nn.LSTM(8, 8, bidirectional=True, batch_first=True)
        self.second = nn.LSTM(8, 8, bidirectional=True, batch_first=True)
        self.head = nn.Linear(8, K)

    def forward(self, x):
        e = self.embedding(x)
        for layer in (self.first, self.second):
            h, _ = layer(e)
            e = e + h.view(h.size(0), h.size(1), 2, 8).sum(2)
        return self.head(e)


class CosineToTags(Tagger):
    """How near each state is to an embedding of each tag."""

    def __init__(self):
        super().__init__()
        self.tag_embedding = nn.Embedding(K, 12)

    def forward(self, x):
        h = F.normalize(self.states(x), dim=-1)
        return 5 * torch.einsum("bnh,kh->bnk", h, F.normalize(self.tag_embedding.weight, dim=-1))


class SortsByMask(Tagger):
    """AllenNLP's way: lengths from the mask, sorted, packed, restored, and padding masked in the scores."""

    def forward(self, x):
        mask = x.ne(0)
        lengths, order = mask.sum(dim=-1).sort(0, descending=True)
        _, restore = order.sort(0)
        packed = pack_padded_sequence(self.embedding(x)[order], lengths.cpu().numpy(), batch_first=True)
        y, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=x.size(1))
        return self.head(y.index_select(0, restore)).masked_fill(~mask.unsqueeze(-1), -1e9)


class FlipsByLengths(nn.Module):
    """One LSTM for each direction and layer; what the backward one reads is flipped in place."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(N, 8)
        self.forwards = nn.ModuleList([nn.LSTM(size, 5, batch_first=True) for size in (8, 10)])
        self.backwards = nn.ModuleList([nn.LSTM(size, 5, batch_first=True) for size in (8, 10)])
        self.head = nn.Linear(10, K)

    def flipped(self, x, lengths):
        y = x.clone()
        for i, length in enumerate(lengths.tolist()):
            y[i, :length] = x[i, :length].flip(0)
        return y

    def forward(self, x, lengths):
        x = self.embedding(x)
        for forwards, backwards in zip(self.forwards, self.backwards, strict=True):
            a, _ = forwards(x)
            b, _ = backwards(self.flipped(x, lengths))
            x = torch.cat([a, self.flipped(b, lengths)], dim=2)
        return self.head(x)


class CumulativeMean(Tagger):
    """Each token sees the mean of the states up to it."""

    def forward(self, x):
        h = self.states(x)
        n = h.size(1)
        return self.head(torch.cumsum(h, 1) / torch.arange(1, n + 1).view(1, -1, 1))


class MeanAndSum(Tagger):
    """Mean and sum of a sentence, without any mask."""

    def forward(self, x):
        h = self.states(x)
        return self.head(h - h.mean(1, keepdim=True) + h.sum(1, keepdim=True) / 50)


class Pools(Tagger):
    """Pools the states with those of their neighbours."""

    def __init__(self, pool):
        super().__init__()
        self.pool = pool

    def forward(self, x):
        return self.head(self.pool(self.states(x).transpose(1, 2)).transpose(1, 2))


class OneHot(Tagger):
    """Looks embeddings up by a product with what scatter made."""

    def forward(self, x):
        one_hot = torch.zeros(*x.shape, self.embedding.num_embeddings).scatter_(2, x.unsqueeze(2), 1.0)
        return self.head(self.lstm(one_hot @ self.embedding.weight)[0])


class BlankedUnknown(Tagger):
    """The embeddings of unknown words are set to zero in place."""

    def forward(self, x):
        e = self.embedding(x)
        e[x == 1] = 0.0
        return self.head(self.lstm(e)[0])


class EncoderDecoder(Tagger):
    """An LSTMCell goes over the BiLSTM's states, from where that one ended."""

    def __init__(self):
        super().__init__()
        self.cell = nn.LSTMCell(12, 12)

    def forward(self, x):
        h, (hn, cn) = self.lstm(self.embedding(x))
        state = torch.cat([hn[0], hn[1]], 1), torch.cat([cn[0], cn[1]], 1)
        out = []
        for t in range(h.size(1)):
            state = self.cell(h[:, t], state)
            out.append(self.head(state[0]))
        return torch.stack(out, 1)


class BackwardsGRU(nn.Module):
    """A GRUCell from the last token to the first."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(N, 8)
        self.cell = nn.GRUCell(8, 12)
        self.head = nn.Linear(12, K)

    def forward(self, x):
        e = self.embedding(x)
        h = torch.zeros(1, 12)
        out = []
        for t in reversed(range(e.size(1))):
            h = self.cell(e[:, t], h)
            out.insert(0, h)
        return self.head(torch.stack(out, 1))


def hooked(module):
    """A hook changes what the embedding gives."""
    module.embedding.register_forward_hook(lambda layer, inputs, output: output * 1.7 + 0.1)
    return module


def characters(sentences):
    """(n, longest word), padded, and the words' lengths."""
    rows = [[CHAR_ID.get(letter, 1) for letter in word] for word in sentences[0]]
    longest = max(map(len, rows))
    return torch.tensor([row + [0] * (longest - len(row)) for row in rows]), torch.tensor([len(row) for row in rows])


def words_and_characters(sentences):
    """(1, n), (1, n, longest word), (1, n)."""
    letters, lengths = characters(sentences)
    return *PADDED.row(sentences), letters.unsqueeze(0), lengths.unsqueeze(0)


class GatheredCharacters(nn.Module):
    """A character LSTM over the padding, too; the state at the word's last letter is gathered."""

    def __init__(self):
        super().__init__()
        self.word_embedding = nn.Embedding(N, 6)
        self.letter_embedding = nn.Embedding(len(CHARSET), 5)
        self.letters = nn.LSTM(5, 4, batch_first=True)
        self.lstm = nn.LSTM(10, 6, batch_first=True, bidirectional=True)
        self.head = nn.Linear(12, K)

    def forward(self, words, letters, lengths):
        batch, n, longest = letters.size()
        out, _ = self.letters(self.letter_embedding(letters.view(batch * n, longest)))
        last = (lengths.view(-1) - 1).view(-1, 1, 1).expand(-1, 1, out.size(2))
        spelling = out.gather(1, last).squeeze(1).view(batch, n, -1)
        return self.head(self.lstm(torch.cat([self.word_embedding(words), spelling], 2))[0])


class BagOfCharacters(nn.Module):
    """The masked mean of a word's letters."""

    def __init__(self):
        super().__init__()
        self.word_embedding = nn.Embedding(N, 6)
        self.letter_embedding = nn.Embedding(len(CHARSET), 5, padding_idx=0)
        self.lstm = nn.LSTM(11, 6, batch_first=True, bidirectional=True)
        self.head = nn.Linear(12, K)

    def forward(self, words, letters, lengths):
        mask = (letters != 0).float().unsqueeze(-1)
        spelling = (self.letter_embedding(letters) * mask).sum(2) / lengths.unsqueeze(-1).float()
        return self.head(self.lstm(torch.cat([self.word_embedding(words), spelling], 2))[0])


class OnlyCharacters(nn.Module):
    """No words: a packed bidirectional GRU over letters, and the tagger on its last states."""

    def __init__(self):
        super().__init__()
        self.letter_embedding = nn.Embedding(len(CHARSET), 5)
        self.letters = nn.GRU(5, 5, bidirectional=True, batch_first=True)
        self.lstm = nn.LSTM(10, 6, batch_first=True, bidirectional=True)
        self.head = nn.Linear(12, K)

    def forward(self, letters, lengths):
        embedded = self.letter_embedding(letters)
        _, h = self.letters(pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False))
        h = h.transpose(0, 1).reshape(letters.size(0), -1)
        return self.head(self.lstm(h.unsqueeze(0))[0][0])


SUFFIXES = {suffix: number for number, suffix in enumerate(sorted({word[-2:] for word in KNOWN.vocabulary}))}


def suffixes_and_shapes(sentences):
    """Ids of words and of their last two letters, and two numbers for each word."""
    shapes = [[float(word[0].isupper()), len(word) / 10] for word in sentences[0]]
    return *KNOWN.row(sentences), torch.tensor([[SUFFIXES[word[-2:]] for word in sentences[0]]]), torch.tensor([shapes])


class SuffixesAndShapes(nn.Module):
    """A closed vocabulary with features that the author computes for each word."""

    def __init__(self):
        super().__init__()
        self.word_embedding = nn.Embedding(len(KNOWN), 8)
        self.suffix_embedding = nn.Embedding(len(SUFFIXES), 4)
        self.lstm = nn.LSTM(14, 6, batch_first=True, bidirectional=True)
        self.head = nn.Linear(12, K)

    def forward(self, words, suffixes, shapes):
        parts = self.word_embedding(words), self.suffix_embedding(suffixes), shapes
        return self.head(self.lstm(torch.cat(parts, -1))[0])


class Flair(Tagger):
    """flair's decoder: transitions[to, from], START and STOP among the tags, START popped off the path."""

    def __init__(self):
        super().__init__(n_tags=NER + 2)
        self.transitions = nn.Parameter(torch.randn(NER + 2, NER + 2))

    def forward(self, x, lengths):
        return [self.viterbi(scores[:length]) for scores, length in zip(self.scores(x), lengths.tolist(), strict=True)]

    def viterbi(self, scores):
        start, stop = NER, NER + 1
        back = []
        best = torch.full((1, NER + 2), -10000.0)
        best[0][start] = 0
        for score in scores:
            candidates = best.view(1, -1).expand(NER + 2, NER + 2) + self.transitions
            _, pointers = torch.max(candidates, dim=1)
            best = candidates[range(len(pointers)), pointers] + score
            back.append(pointers.numpy())
        last = best + self.transitions[stop]
        last.detach()[stop] = -10000.0
        last.detach()[start] = -10000.0
        tag = int(last.argmax())
        path = [tag]
        for pointers in reversed(back):
            tag = int(pointers[tag])
            path.append(tag)
        assert path.pop() == start
        path.reverse()
        return path


def into_start_and_from_stop_forbidden(module):
    """What flair's constructor does to the transitions."""
    module.transitions[NER, :] = -10000.0
    module.transitions[:, NER + 1] = -10000.0
    return module


class HMM(Tagger):
    """Everything is a log-probability: the scores, the rows of the transitions, the start."""

    def __init__(self):
        super().__init__(n_tags=NER)
        self.transitions = nn.Parameter(torch.randn(NER, NER))
        self.start = nn.Parameter(torch.randn(NER))

    def scores(self, x):
        return super().scores(x).log_softmax(-1)

    def forward(self, x):
        e = self.scores(x)[0]
        transitions = torch.log_softmax(self.transitions, 1)
        delta = torch.log_softmax(self.start, 0) + e[0]
        psi = []
        for t in range(1, e.shape[0]):
            delta, pointers = torch.max(delta.view(-1, 1) + transitions, dim=0)
            delta = delta + e[t]
            psi.append(pointers)
        path = [torch.argmax(delta)]
        for pointers in reversed(psi):
            path.insert(0, pointers[path[0]])
        return torch.stack(path)


class EmbeddingTransitions(Tagger):
    """The transitions are the weight of an nn.Embedding."""

    def __init__(self):
        super().__init__(n_tags=NER)
        self.transitions = nn.Embedding(NER, NER)

    def forward(self, x):
        scores = self.scores(x)[0]
        best, back = scores[0], []
        for t in range(1, scores.size(0)):
            best, pointers = (best.view(NER, 1) + self.transitions.weight).max(0)
            best = best + scores[t]
            back.append(pointers)
        tag = best.argmax().item()
        path = [tag]
        for pointers in back[::-1]:
            tag = pointers[tag].item()
            path.append(tag)
        return list(reversed(path))


class NamedTags(Tagger):
    """What BIO forbids is in buffers, added to the transitions; answers with the names of tags."""

    def __init__(self):
        super().__init__(n_tags=NER)
        allowed = [[i % 2 == 1 or i == 0 or j in (i, i - 1) for i in range(NER)] for j in range(NER)]
        self.register_buffer("forbidden", torch.where(torch.tensor(allowed), 0.0, -1e4))
        self.register_buffer("forbidden_first", self.forbidden[0].clone())
        self.transitions = nn.Parameter(torch.randn(NER, NER))

    def forward(self, x):
        scores = self.scores(x)[0]
        transitions = self.transitions + self.forbidden
        best, back = scores[0] + self.forbidden_first, []
        for score in scores[1:]:
            best, pointers = (best.unsqueeze(1) + transitions).max(0)
            best = best + score
            back.append(pointers)
        tag = best.argmax()
        path = [tag]
        for pointers in reversed(back):
            tag = pointers[tag]
            path.append(tag)
        return [ENTITIES[int(tag)] for tag in reversed(path)]


class TwoHeadsAveraged(Tagger):
    """The scores are the mean of two heads; transitions[to, from]; lengths as a list."""

    def __init__(self):
        super().__init__(n_tags=NER)
        self.other = nn.Linear(12, NER)
        self.transitions = nn.Parameter(torch.randn(NER, NER))

    def scores(self, x):
        h = self.states(x)
        return (self.head(h) + self.other(h.relu())) / 2

    def forward(self, x, lengths):
        scores, paths = self.scores(x), []
        for b in range(scores.size(0)):
            best, back = scores[b, 0], []
            for t in range(1, lengths[b]):
                best, pointers = (best.unsqueeze(0) + self.transitions).max(1)
                best = best + scores[b, t]
                back.append(pointers)
            tag = torch.argmax(best).item()
            path = [tag]
            for pointers in reversed(back):
                tag = pointers[tag].item()
                path.append(tag)
            paths.append(path[::-1])
        return paths


class PathsAndLogZ(TwoHeadsAveraged):
    """The paths, and beside them the logarithm of the sum over all paths."""

    def forward(self, x, lengths):
        paths, scores = super().forward(x, lengths), self.scores(x)
        alpha = scores[:, 0]
        for t in range(1, scores.size(1)):
            alpha = torch.logsumexp(alpha.unsqueeze(1) + self.transitions, 2) + scores[:, t]
        return paths, torch.logsumexp(alpha, 1)


class TimeFirstGRU(nn.Module):
    """A GRU and a decoder over the batch, time first; the end scores are a column; (score, path)."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(N, 8)
        self.gru = nn.GRU(8, 6, bidirectional=True)
        self.head = nn.Linear(12, NER)
        self.transitions = nn.Parameter(torch.randn(NER, NER))
        self.begin = nn.Parameter(torch.randn(1, NER))
        self.end = nn.Parameter(torch.randn(NER, 1))

    def scores(self, x):
        return self.head(self.gru(self.embedding(x))[0])

    def forward(self, x, tags=None):
        scores = self.scores(x)
        if tags is not None:
            raise NotImplementedError
        best, back = self.begin + scores[0], []
        for i in range(1, scores.shape[0]):
            candidates = best.unsqueeze(2) + self.transitions.unsqueeze(0) + scores[i].unsqueeze(1)
            best, pointers = candidates.max(dim=1)
            back.append(pointers)
        score, last = (best + self.end.t()).max(dim=-1)
        path = [last]
        for pointers in back[::-1]:
            last = pointers.gather(1, last.unsqueeze(1)).squeeze(1)
            path.append(last)
        return score, torch.stack(path[::-1])


class Preallocated(Tagger):
    """delta, psi and the path are made beforehand and filled token by token."""

    def __init__(self):
        super().__init__(n_tags=NER)
        self.transitions = nn.Parameter(torch.randn(NER, NER))
        self.start = nn.Parameter(torch.randn(NER))
        self.end = nn.Parameter(torch.randn(NER))

    def forward(self, x):
        scores = self.scores(x).squeeze(0)
        n = len(scores)
        delta = torch.zeros(n, NER)
        psi = torch.zeros(n, NER, dtype=torch.long)
        delta[0] = self.start + scores[0]
        for t in range(1, n):
            best, pointers = torch.max(delta[t - 1].unsqueeze(1) + self.transitions, dim=0)
            psi[t] = pointers
            delta[t] = best + scores[t]
        path = torch.zeros(n, dtype=torch.long)
        path[-1] = torch.argmax(delta[-1] + self.end)
        for t in range(n - 2, -1, -1):
            path[t] = psi[t + 1, path[t + 1]]
        return path


class PythonLists(Tagger):
    """Everything is a list of floats; max with a key; the path grows at its front."""

    def __init__(self):
        super().__init__(n_tags=NER)
        self.between = nn.Parameter(torch.randn(NER, NER))
        self.first = nn.Parameter(torch.randn(NER))
        self.last = nn.Parameter(torch.randn(NER))

    def predict(self, x):
        scores, between = self.scores(x)[0].tolist(), self.between.tolist()
        first, last = self.first.tolist(), self.last.tolist()
        best = [first[tag] + scores[0][tag] for tag in range(NER)]
        back = []
        for score in scores[1:]:
            row, pointers = [], []
            for to in range(NER):
                origin = max(range(NER), key=lambda tag: best[tag] + between[tag][to])
                row.append(best[origin] + between[origin][to] + score[to])
                pointers.append(origin)
            best = row
            back.append(pointers)
        tag = max(range(NER), key=lambda tag: best[tag] + last[tag])
        path = [tag]
        for pointers in reversed(back):
            tag = pointers[tag]
            path.insert(0, tag)
        return path


class PackageCRF(Tagger):
    """pytorch-crf without a mask."""

    def __init__(self, n_words=N):
        super().__init__(n_words, NER)
        self.crf = CRF(NER, batch_first=True)

    def forward(self, x):
        return self.crf.decode(self.scores(x))[0]


def with_weak_ends(module):
    """Start and end scores that hardly ever decide: a decoder read without them seems right for long."""
    module.crf.start_transitions.mul_(0.2)
    module.crf.end_transitions.mul_(0.2)
    return module


NUMBERED = Words(["<pad>", "<unk>", *(f"w{number}" for number in range(2, 46))], PADDED.spec)
WHERE_THE_START_DECIDES = ["w5", "w45", *["w5"] * 12, "w44", *["w5"] * 7]

GOOD = [
    unseen("awd_weight_drop", AWD, encode=PADDED.column, pick=lambda out: out[:, 0]),
    unseen("highway", Highway, pick=lambda out: out["logits"][0]),
    unseen("masked_mean", MaskedMean, encode=PADDED.row_and_mask),
    unseen("last_state", LastState, encode=PADDED.column, pick=lambda out: out[1][:, 0]),
    unseen("learned_start", LearnedStart),
    unseen("pooled_start", PooledStart),
    unseen("sinusoidal", Sinusoidal),
    unseen("dilated_convolutions", DilatedConvolutions),
    unseen("normed_weights", NormedWeights),
    unseen("heads", Heads, encode=PADDED.row_and_mask),
    unseen("multihead_attention", MultiheadAttention, encode=PADDED.row_and_mask),
    unseen("causal_attention", lambda: DotAttention(causal)),
    unseen("attention_over_queries", lambda: DotAttention(over_queries)),
    unseen("bilinear", Bilinear),
    unseen("normed_stack", NormedStack),
    unseen("summed_directions", SummedDirections),
    unseen("cosine_to_tags", CosineToTags),
    unseen("sorts_by_mask", SortsByMask),
    unseen("flips_by_lengths", FlipsByLengths, encode=PADDED.row_and_lengths),
    unseen("cumulative_mean", CumulativeMean),
    unseen("mean_and_sum", MeanAndSum),
    unseen("max_pool", lambda: Pools(partial(F.max_pool1d, kernel_size=3, stride=1, padding=1))),
    unseen("mean_pool", lambda: Pools(partial(F.avg_pool1d, kernel_size=3, stride=1, padding=1))),
    unseen("one_hot", OneHot),
    unseen("blanked_unknown", BlankedUnknown),
    unseen("encoder_decoder", EncoderDecoder),
    unseen("backwards_gru", BackwardsGRU),
    unseen("forward_hook", Tagger, change=hooked),
    unseen("gathered_characters", GatheredCharacters, PADDED_WITH_CHARACTERS, encode=words_and_characters),
    unseen("bag_of_characters", BagOfCharacters, PADDED_WITH_CHARACTERS, encode=words_and_characters),
    unseen("only_characters", OnlyCharacters, PADDED_WITH_CHARACTERS, encode=characters, pick=lambda out: out),
    unseen("suffixes_and_shapes", SuffixesAndShapes, KNOWN, encode=suffixes_and_shapes),
    decoder(
        "flair",
        Flair,
        tags=[*ENTITIES, "<START>", "<STOP>"],
        encode=PADDED.row_and_lengths,
        path=first,
        change=into_start_and_from_stop_forbidden,
    ),
    decoder("hmm", HMM, path=lambda out: out.tolist()),
    decoder("embedding_transitions", EmbeddingTransitions),
    decoder("named_tags", NamedTags, path=lambda out: [ENTITIES.index(tag) for tag in out]),
    decoder("two_heads_averaged", TwoHeadsAveraged, encode=PADDED.row_and_list, path=first),
    decoder("paths_and_log_z", PathsAndLogZ, encode=PADDED.row_and_list, path=lambda out: out[0][0]),
    decoder(
        "time_first_gru",
        TimeFirstGRU,
        encode=PADDED.column,
        pick=lambda scores: scores[:, 0],
        path=lambda out: out[1].view(-1).tolist(),
    ),
    decoder("preallocated", Preallocated, path=lambda out: out.tolist()),
    decoder("python_lists", PythonLists, entry="predict"),
    decoder(
        "package_with_weak_ends",
        lambda: PackageCRF(len(NUMBERED)),
        NUMBERED,
        seed=crc32(b"g_tcrf_small_25"),
        change=with_weak_ends,
        sentences=(WHERE_THE_START_DECIDES,),
    ),
]
