"""Taggers that pack their batches, each in its own way."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils import rnn

from .case import KNOWN, LOWER, PADDED, TAGS, case


class SortedInForward(nn.Module):
    """Sorts by length before the LSTM and back after it; lengths as a tensor."""

    def __init__(self, vocab_size, out_size, emb_size=10, hidden_size=6):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, emb_size)
        self.bilstm = nn.LSTM(emb_size, hidden_size, batch_first=True, bidirectional=True)
        self.lin = nn.Linear(2 * hidden_size, out_size)

    def forward(self, sents, lengths):
        lengths, perm = lengths.sort(0, descending=True)
        emb = self.embedding(sents[perm])
        packed = rnn.pack_padded_sequence(emb, lengths, batch_first=True)
        rnn_out, _ = self.bilstm(packed)
        rnn_out, _ = rnn.pad_packed_sequence(rnn_out, batch_first=True)
        _, unsort = perm.sort(0)
        return self.lin(rnn_out[unsort])


class SortedByPython(nn.Module):
    """The order comes from Python, the start from randn, lengths from a list."""

    def __init__(self, n_vocab, n_class):
        super().__init__()
        self.hid = 5
        self.look_up = nn.Embedding(n_vocab, 8)
        self.lstm = nn.LSTM(8, self.hid, 2, batch_first=True, dropout=0.2)
        self.dropout = nn.Dropout(0.2)
        self.scorer = nn.Linear(self.hid, n_class)

    def init_hidden(self, batch_size):
        return torch.randn(2, batch_size, self.hid), torch.randn(2, batch_size, self.hid)

    def forward(self, batch, seq_lens):
        hidden = self.init_hidden(len(seq_lens))
        order = sorted(range(len(seq_lens)), key=lambda i: seq_lens[i], reverse=True)
        back = [order.index(i) for i in range(len(order))]
        sorted_lens = [seq_lens[i] for i in order]
        embs = self.look_up(batch.index_select(0, torch.tensor(order)))
        packed = rnn.pack_padded_sequence(embs, sorted_lens, batch_first=True)
        out, hidden = self.lstm(packed, hidden)
        out, _ = rnn.pad_packed_sequence(out, batch_first=True)
        out = out.index_select(0, torch.tensor(back))
        return F.log_softmax(self.scorer(self.dropout(out)), 2)


class SortedByNumpy(nn.Module):
    """Time first, a GRU, the order from numpy; the result is flattened for the loss."""

    def __init__(self, vocab_size, n_tags):
        super().__init__()
        self.n_tags = n_tags
        self.encoder = nn.Embedding(vocab_size, 6)
        self.rnn = nn.GRU(6, 7, bidirectional=True)
        self.decoder = nn.Linear(14, n_tags)

    def forward(self, seq, lengths):
        lens = np.array(lengths)
        idx_sort = np.argsort(-lens)
        idx_unsort = np.argsort(idx_sort)
        emb = self.encoder(seq).index_select(1, torch.from_numpy(idx_sort))
        packed = rnn.pack_padded_sequence(emb, lens[idx_sort])
        output = rnn.pad_packed_sequence(self.rnn(packed)[0])[0]
        output = output.index_select(1, torch.from_numpy(idx_unsort))
        return self.decoder(output.contiguous().view(-1, output.size(2)))


class PackedData(nn.Module):
    """Embedding and head work on the packed data itself."""

    def __init__(self, vocab_size, tagset_size):
        super().__init__()
        self.emb = nn.Embedding(vocab_size, 9)
        self.lstm = nn.LSTM(9, 6, num_layers=2, bidirectional=True, batch_first=True)
        self.fc = nn.Linear(12, tagset_size)

    def forward(self, x, lens):
        x = rnn.pack_padded_sequence(x, lens, batch_first=True, enforce_sorted=False)
        x = rnn.PackedSequence(self.emb(x.data), x.batch_sizes, x.sorted_indices, x.unsorted_indices)
        x, _ = self.lstm(x)
        x = x._replace(data=F.log_softmax(self.fc(x.data), dim=1))
        return rnn.pad_packed_sequence(x, batch_first=True)[0]


@dataclass
class TaggerOutput:
    """What LengthsFromPadding returns."""

    logits: torch.Tensor
    mask: torch.Tensor
    hidden: tuple


class LengthsFromPadding(nn.Module):
    """Counts what is not padding; answers with an object."""

    pad_id = 0

    def __init__(self, vocab_size, num_labels):
        super().__init__()
        self.embeddings = nn.Embedding(vocab_size, 8, padding_idx=self.pad_id)
        self.rnn = nn.LSTM(8, 6, batch_first=True, bidirectional=True)
        self.layer_norm = nn.LayerNorm(12)
        self.classifier = nn.Linear(12, num_labels)

    def forward(self, input_ids):
        mask = input_ids.ne(self.pad_id)
        lengths = mask.sum(dim=1).cpu()
        embedded = self.embeddings(input_ids)
        packed = rnn.pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
        packed_output, hidden = self.rnn(packed)
        output, _ = rnn.pad_packed_sequence(packed_output, batch_first=True, total_length=input_ids.size(1))
        return TaggerOutput(logits=self.classifier(self.layer_norm(output)), mask=mask, hidden=hidden)


def fake_glove(n_words, dim):
    """Stands for a table read from glove.6B.50d.txt; row 0 is padding."""
    table = np.random.default_rng(5).normal(scale=0.6, size=(n_words, dim)).astype(np.float32)
    table[0] = 0
    return torch.from_numpy(table)


class GloveTagger(nn.Module):
    """A frozen table, lengths from a mask, one direction."""

    def __init__(self, glove, hidden_dim, num_tags):
        super().__init__()
        self.glove = nn.Embedding.from_pretrained(glove, freeze=True)
        self.lstm = nn.LSTM(glove.shape[1], hidden_dim, batch_first=True)
        self.dropout = nn.Dropout(p=0.5)
        self.hidden2tag = nn.Linear(hidden_dim, num_tags)

    def forward(self, tokens, attention_mask):
        lengths = attention_mask.sum(-1)
        x = rnn.pack_padded_sequence(self.glove(tokens), lengths, batch_first=True, enforce_sorted=False)
        x, (_, _) = self.lstm(x)
        x, _ = rnn.pad_packed_sequence(x, batch_first=True)
        x = self.hidden2tag(self.dropout(x))
        return x * attention_mask.unsqueeze(2)


class FlattenedProbs(nn.Module):
    """Time first, lengths as a list, softmax over a flattened result, beside what it was made of."""

    def __init__(self, V, T, E=7, H=5):
        super().__init__()
        self.emb = nn.Embedding(V, E)
        self.fwd = nn.LSTM(E, H, num_layers=1, bidirectional=True, bias=True)
        self.relu_layer = nn.Linear(2 * H, 8)
        self.tag_layer = nn.Linear(8, T)

    def forward(self, x, lengths):
        x = x.transpose(0, 1)
        e = self.emb(x)
        p = rnn.pack_padded_sequence(e, lengths, enforce_sorted=False)
        o, (h, _c) = self.fwd(p)
        o, _ = rnn.pad_packed_sequence(o)
        o = o.transpose(0, 1).reshape(-1, o.shape[2])
        probs = F.softmax(self.tag_layer(F.relu(self.relu_layer(o))), dim=1)
        return probs, probs.argmax(dim=1), h


def columns_and_list(sentences):
    """(n, batch), lengths as a list."""
    ids, lengths = KNOWN.row_and_list(sentences)
    return ids.t(), lengths


CASES = [
    case(
        "sorted_in_forward",
        "packing, sorted by length, bidirectional",
        lambda: SortedInForward(len(PADDED), len(TAGS)),
        PADDED,
        encode=PADDED.row_and_lengths,
        pick=lambda out: out[0],
        batch=True,
    ),
    case(
        "sorted_by_python",
        "packing, sorted by length, random state, two layers, dropout, log-softmax",
        lambda: SortedByPython(len(LOWER), len(TAGS)),
        LOWER,
        kind="log_probs",
        encode=LOWER.row_and_list,
        pick=lambda out: out[0],
        batch=True,
    ),
    case(
        "sorted_by_numpy",
        "packing, sorted by length, GRU, bidirectional, structured output",
        lambda: SortedByNumpy(len(KNOWN), len(TAGS)),
        KNOWN,
        encode=columns_and_list,
        batch=True,
    ),
    case(
        "packed_data",
        "packing, two layers, bidirectional, log-softmax",
        lambda: PackedData(len(PADDED), len(TAGS)),
        PADDED,
        kind="log_probs",
        encode=PADDED.row_and_lengths,
        pick=lambda out: out[0],
        batch=True,
    ),
    case(
        "lengths_from_padding",
        "packing, bidirectional, LayerNorm, structured output",
        lambda: LengthsFromPadding(len(PADDED), len(TAGS)),
        PADDED,
        encode=PADDED.row,
        pick=lambda out: out.logits[0],
        batch=True,
    ),
    case(
        "glove_and_mask",
        "packing, frozen vectors, dropout",
        lambda: GloveTagger(fake_glove(len(PADDED), 12), 9, len(TAGS)),
        PADDED,
        encode=PADDED.row_and_mask,
        pick=lambda out: out[0],
        batch=True,
    ),
    case(
        "flattened_probs",
        "packing, bidirectional, deep head, softmax, structured output",
        lambda: FlattenedProbs(len(LOWER), len(TAGS)),
        LOWER,
        kind="probs",
        encode=LOWER.row_and_list,
        pick=lambda out: out[0],
        batch=True,
    ),
]
