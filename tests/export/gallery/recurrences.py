"""Recurrences beyond one plain nn.LSTM: stacked, stepped by hand, written by hand."""

import torch
import torch.nn as nn
import torch.nn.functional as F

from .case import KNOWN, LOWER, PADDED, TAGS, case


class OneHotRNN(nn.Module):
    """A plain RNN without biases on one-hot words."""

    def __init__(self, n_words, hidden_size, n_tags):
        super().__init__()
        self.n_words = n_words
        self.rnn = nn.RNN(n_words, hidden_size, nonlinearity="tanh", bias=False, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * hidden_size, n_tags, bias=False)

    def forward(self, x):
        one_hot = F.one_hot(x, num_classes=self.n_words).float()
        y, _ = self.rnn(one_hot)
        return self.out(y)


class ResidualStack(nn.Module):
    """LSTM blocks with LayerNorm, dropout and residuals; the answer is a dict."""

    def __init__(self, vocab_size, n_labels, d=8, n_blocks=3):
        super().__init__()
        self.embed_tokens = nn.Embedding(vocab_size, d)
        self.layers = nn.ModuleList(
            nn.ModuleDict({"rnn": nn.LSTM(d, d // 2, batch_first=True, bidirectional=True), "norm": nn.LayerNorm(d)})
            for _ in range(n_blocks)
        )
        self.dropout = nn.Dropout(0.2)
        self.final_norm = nn.LayerNorm(d)
        self.score = nn.Linear(d, n_labels)

    def forward(self, input_ids, labels=None):
        x = self.embed_tokens(input_ids)
        for layer in self.layers:
            residual = x
            x, _ = layer["rnn"](layer["norm"](x))
            x = residual + self.dropout(x)
        logits = self.score(self.final_norm(x))
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten())
        return {"loss": loss, "logits": logits, "predictions": logits.argmax(-1)}


class LSTMThenGRU(nn.Module):
    """A BiLSTM, a GRU on top, both of them seen by the head."""

    def __init__(self, vocab_size, tags_size):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, 9)
        self.lstm1 = nn.LSTM(9, 5, bidirectional=True)
        self.gru2 = nn.GRU(10, 7)
        self.act = nn.LeakyReLU()
        self.fc = nn.Linear(17, tags_size)

    def forward(self, text):
        # text (n, batch)
        embedded = self.embedding(text)
        first, (_hidden, _cell) = self.lstm1(embedded)
        second, _hidden = self.gru2(torch.tanh(first))
        return self.act(self.fc(torch.cat([first, second], dim=2)))


class HandMadeBiLSTM(nn.Module):
    """Two LSTMCells, one from each end."""

    def __init__(self, vocab_size, dim, units, n_tags):
        super().__init__()
        self.units = units
        self.emb = nn.Embedding(vocab_size, dim)
        self.forward_cell = nn.LSTMCell(dim, units)
        self.backward_cell = nn.LSTMCell(dim, units)
        self.dense = nn.Linear(2 * units, n_tags)

    def forward(self, x):
        x = self.emb(x)  # (batch, n, dim)
        batch, n, _ = x.shape
        hf = cf = hb = cb = x.new_zeros(batch, self.units)
        forward_states, backward_states = [], []
        for t in range(n):
            hf, cf = self.forward_cell(x[:, t], (hf, cf))
            forward_states.append(hf)
        for t in reversed(range(n)):
            hb, cb = self.backward_cell(x[:, t, :], (hb, cb))
            backward_states.insert(0, hb)
        states = [torch.cat((f, b), dim=-1) for f, b in zip(forward_states, backward_states, strict=True)]
        return self.dense(torch.stack(states, dim=1))


class GatesCell(nn.Module):
    """An LSTM cell of four Linear layers over input and hidden state side by side."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.forget_gate = nn.Linear(input_size + hidden_size, hidden_size)
        self.input_gate = nn.Linear(input_size + hidden_size, hidden_size)
        self.output_gate = nn.Linear(input_size + hidden_size, hidden_size)
        self.candidate = nn.Linear(input_size + hidden_size, hidden_size)

    def forward(self, x, state):
        hidden, cell = state
        combined = torch.cat((x, hidden), 1)
        f = torch.sigmoid(self.forget_gate(combined))
        i = torch.sigmoid(self.input_gate(combined))
        o = torch.sigmoid(self.output_gate(combined))
        g = torch.tanh(self.candidate(combined))
        cell = f * cell + i * g
        hidden = o * torch.tanh(cell)
        return hidden, (hidden, cell)


class StateGoesThrough(nn.Module):
    """The cell above; the caller brings the state and gets the next."""

    def __init__(self, vocab_size, n_tags, dim=7, hidden_size=6):
        super().__init__()
        self.hidden_size = hidden_size
        self.embedding = nn.Embedding(vocab_size, dim)
        self.cell = GatesCell(dim, hidden_size)
        self.linear = nn.Linear(hidden_size, n_tags)

    def init_state(self):
        return torch.zeros(1, self.hidden_size), torch.zeros(1, self.hidden_size)

    def forward(self, inputs, state):
        outputs = []
        for x in self.embedding(inputs).split(1):
            out, state = self.cell(x, state)
            outputs.append(out)
        return self.linear(torch.cat(outputs)), state


class OneGateForAll(nn.Module):
    """The tutorial's cell as it stands: one Linear is every gate, and the candidate."""

    def __init__(self, vocab_size, input_size, hidden_size, output_size):
        super().__init__()
        self.hidden_size = hidden_size
        self.embedding = nn.Embedding(vocab_size, input_size)
        self.gate = nn.Linear(input_size + hidden_size, hidden_size)
        self.output = nn.Linear(hidden_size, output_size)
        self.sigmoid = nn.Sigmoid()
        self.tanh = nn.Tanh()
        self.softmax = nn.LogSoftmax(dim=1)

    def step(self, input, hidden, cell):
        combined = torch.cat((input, hidden), 1)
        f_gate = self.sigmoid(self.gate(combined))
        i_gate = self.sigmoid(self.gate(combined))
        o_gate = self.sigmoid(self.gate(combined))
        cell_sub = self.tanh(self.gate(combined))
        cell = torch.add(torch.mul(cell, f_gate), torch.mul(cell_sub, i_gate))
        hidden = torch.mul(self.tanh(cell), o_gate)
        return self.softmax(self.output(hidden)), hidden, cell

    def forward(self, sentence):
        hidden = torch.zeros(1, self.hidden_size)
        cell = torch.zeros(1, self.hidden_size)
        result = torch.zeros(len(sentence), self.output.out_features)
        for i in range(len(sentence)):
            scores, hidden, cell = self.step(self.embedding(sentence[i]).view(1, -1), hidden, cell)
            result[i] = scores[0]
        return result


class CustomLSTM(nn.Module):
    """Fused gates as raw parameters, chunked, batch first."""

    def __init__(self, input_sz, hidden_sz):
        super().__init__()
        self.hidden_size = hidden_sz
        self.W = nn.Parameter(torch.empty(input_sz, hidden_sz * 4))
        self.U = nn.Parameter(torch.empty(hidden_sz, hidden_sz * 4))
        self.bias = nn.Parameter(torch.zeros(hidden_sz * 4))
        for weight in (self.W, self.U):
            nn.init.xavier_uniform_(weight)

    def forward(self, x, init_states=None):
        bs, seq_sz, _ = x.size()
        hidden_seq = []
        if init_states is None:
            h_t, c_t = (torch.zeros(bs, self.hidden_size).to(x), torch.zeros(bs, self.hidden_size).to(x))
        else:
            h_t, c_t = init_states
        for t in range(seq_sz):
            gates = x[:, t, :] @ self.W + h_t @ self.U + self.bias
            i_t, f_t, g_t, o_t = gates.chunk(4, 1)
            c_t = f_t.sigmoid() * c_t + i_t.sigmoid() * g_t.tanh()
            h_t = o_t.sigmoid() * c_t.tanh()
            hidden_seq.append(h_t.unsqueeze(0))
        hidden_seq = torch.cat(hidden_seq, dim=0).transpose(0, 1).contiguous()
        return hidden_seq, (h_t, c_t)


class TwoCustomLayers(nn.Module):
    """Two of the hand-written layers, one on the other, in float64."""

    def __init__(self, n_words, n_tags):
        super().__init__()
        self.emb = nn.Embedding(n_words, 6)
        self.l1 = CustomLSTM(6, 7)
        self.l2 = CustomLSTM(7, 5)
        self.cls = nn.Linear(5, n_tags)

    def forward(self, ids):
        x, _ = self.l1(self.emb(ids))
        x, _ = self.l2(x)
        return self.cls(x)


class OneLSTMBothWays(nn.Module):
    """The same LSTM reads forwards and backwards, from states that were learned."""

    def __init__(self, vocab_size, n_tags, d=8, h=6):
        super().__init__()
        self.embed = nn.Embedding(vocab_size, d)
        self.lstm = nn.LSTM(d, h, batch_first=True)
        self.h0 = nn.Parameter(torch.randn(1, 1, h) * 0.5)
        self.c0 = nn.Parameter(torch.randn(1, 1, h) * 0.5)
        self.to_tag = nn.Linear(h, n_tags)

    def forward(self, tokens):
        x = self.embed(tokens)
        b = x.size(0)
        start = (self.h0.expand(-1, b, -1).contiguous(), self.c0.repeat(1, b, 1))
        there, _ = self.lstm(x, start)
        back, _ = self.lstm(torch.flip(x, dims=[1]), start)
        return self.to_tag(there + torch.flip(back, dims=[1]))


def with_state(sentences):
    """The ids and a zero state."""
    return *KNOWN.alone(sentences), (torch.zeros(1, 6), torch.zeros(1, 6))


CASES = [
    case(
        "one_hot_rnn",
        "RNN, one-hot, no bias, bidirectional",
        lambda: OneHotRNN(len(LOWER), 6, len(TAGS)),
        LOWER,
        encode=LOWER.row,
        pick=lambda out: out[0],
        batch=True,
    ),
    case(
        "residual_stack",
        "stacked, LayerNorm, residual, bidirectional, structured output",
        lambda: ResidualStack(len(PADDED), len(TAGS)),
        PADDED,
        encode=PADDED.row,
        pick=lambda out: out["logits"][0],
        batch=True,
    ),
    case(
        "lstm_then_gru",
        "stacked, GRU, bidirectional",
        lambda: LSTMThenGRU(len(PADDED), len(TAGS)),
        PADDED,
        encode=PADDED.column,
        pick=lambda out: out.squeeze(1),
        batch=True,
    ),
    case(
        "two_lstmcells",
        "LSTMCell, bidirectional",
        lambda: HandMadeBiLSTM(len(LOWER), 6, 5, len(TAGS)),
        LOWER,
        encode=LOWER.row,
        pick=lambda out: out[0],
        batch=True,
    ),
    case(
        "four_gates_cell",
        "one sentence, affine cell, state passed in, structured output",
        lambda: StateGoesThrough(len(KNOWN), len(TAGS)),
        KNOWN,
        encode=with_state,
        pick=lambda out: out[0],
    ),
    case(
        "one_gate_for_all",
        "one sentence, affine cell, tied, log-softmax",
        lambda: OneGateForAll(len(KNOWN), 8, 6, len(TAGS)),
        KNOWN,
        kind="log_probs",
    ),
    case(
        "fused_gates_cell",
        "affine cell, stacked, float64",
        lambda: TwoCustomLayers(len(PADDED), len(TAGS)).double(),
        PADDED,
        encode=PADDED.row,
        pick=lambda out: out[0],
        batch=True,
    ),
    case(
        "one_lstm_both_ways",
        "tied, learned state",
        lambda: OneLSTMBothWays(len(PADDED), len(TAGS)),
        PADDED,
        encode=PADDED.row,
        pick=lambda out: out[0],
        batch=True,
    ),
]
