"""CRF taggers whose authors wrote the CRF themselves."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.autograd import Variable
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from .case import ENTITIES, KNOWN, LOWER, PADDED, TAGS, case

START_TAG = "<START>"
STOP_TAG = "<STOP>"
TAG_TO_IX = {"B-PER": 0, "I-PER": 1, "O": 2, "B-LOC": 3, "I-LOC": 4, START_TAG: 5, STOP_TAG: 6}


def argmax(vec):
    """The best of (1, K), as a Python int."""
    _, idx = torch.max(vec, 1)
    return idx.item()


def log_sum_exp(vec):
    """log of the sum of (1, K), stable."""
    max_score = vec[0, argmax(vec)]
    return max_score + torch.log(torch.sum(torch.exp(vec - max_score.view(1, -1))))


class BiLSTM_CRF(nn.Module):
    """The PyTorch tutorial's: transitions[to, from], START and STOP among the tags, a random state in self."""

    def __init__(self, vocab_size, tag_to_ix, embedding_dim, hidden_dim):
        super().__init__()
        self.hidden_dim = hidden_dim
        self.tag_to_ix = tag_to_ix
        self.tagset_size = len(tag_to_ix)
        self.word_embeds = nn.Embedding(vocab_size, embedding_dim)
        self.lstm = nn.LSTM(embedding_dim, hidden_dim // 2, num_layers=1, bidirectional=True)
        self.hidden2tag = nn.Linear(hidden_dim, self.tagset_size)
        self.transitions = nn.Parameter(torch.randn(self.tagset_size, self.tagset_size))
        self.transitions.data[tag_to_ix[START_TAG], :] = -10000
        self.transitions.data[:, tag_to_ix[STOP_TAG]] = -10000
        self.hidden = self.init_hidden()

    def init_hidden(self):
        return (torch.randn(2, 1, self.hidden_dim // 2), torch.randn(2, 1, self.hidden_dim // 2))

    def _forward_alg(self, feats):
        alphas = torch.full((1, self.tagset_size), -10000.0)
        alphas[0][self.tag_to_ix[START_TAG]] = 0.0
        for feat in feats:
            alphas_t = []
            for next_tag in range(self.tagset_size):
                emit_score = feat[next_tag].view(1, -1).expand(1, self.tagset_size)
                next_tag_var = alphas + self.transitions[next_tag].view(1, -1) + emit_score
                alphas_t.append(log_sum_exp(next_tag_var).view(1))
            alphas = torch.cat(alphas_t).view(1, -1)
        return log_sum_exp(alphas + self.transitions[self.tag_to_ix[STOP_TAG]])

    def _get_lstm_features(self, sentence):
        self.hidden = self.init_hidden()
        embeds = self.word_embeds(sentence).view(len(sentence), 1, -1)
        lstm_out, self.hidden = self.lstm(embeds, self.hidden)
        lstm_out = lstm_out.view(len(sentence), self.hidden_dim)
        return self.hidden2tag(lstm_out)

    def _score_sentence(self, feats, tags):
        score = torch.zeros(1)
        tags = torch.cat([torch.tensor([self.tag_to_ix[START_TAG]], dtype=torch.long), tags])
        for i, feat in enumerate(feats):
            score = score + self.transitions[tags[i + 1], tags[i]] + feat[tags[i + 1]]
        return score + self.transitions[self.tag_to_ix[STOP_TAG], tags[-1]]

    def _viterbi_decode(self, feats):
        backpointers = []
        init_vvars = torch.full((1, self.tagset_size), -10000.0)
        init_vvars[0][self.tag_to_ix[START_TAG]] = 0
        forward_var = init_vvars
        for feat in feats:
            bptrs_t = []
            viterbivars_t = []
            for next_tag in range(self.tagset_size):
                next_tag_var = forward_var + self.transitions[next_tag]
                best_tag_id = argmax(next_tag_var)
                bptrs_t.append(best_tag_id)
                viterbivars_t.append(next_tag_var[0][best_tag_id].view(1))
            forward_var = (torch.cat(viterbivars_t) + feat).view(1, -1)
            backpointers.append(bptrs_t)
        terminal_var = forward_var + self.transitions[self.tag_to_ix[STOP_TAG]]
        best_tag_id = argmax(terminal_var)
        path_score = terminal_var[0][best_tag_id]
        best_path = [best_tag_id]
        for bptrs_t in reversed(backpointers):
            best_tag_id = bptrs_t[best_tag_id]
            best_path.append(best_tag_id)
        start = best_path.pop()
        assert start == self.tag_to_ix[START_TAG]
        best_path.reverse()
        return path_score, best_path

    def neg_log_likelihood(self, sentence, tags):
        feats = self._get_lstm_features(sentence)
        return self._forward_alg(feats) - self._score_sentence(feats, tags)

    def forward(self, sentence):
        lstm_feats = self._get_lstm_features(sentence)
        score, tag_seq = self._viterbi_decode(lstm_feats)
        return score, tag_seq


PAD, BOS, EOS = 0, 1, 2
BATCH_TAGS = ["<pad>", "<s>", "</s>", *ENTITIES]


class CRFLayer(nn.Module):
    """Vectorised over the batch, trans[to, from], padding among the tags."""

    def __init__(self, num_tags):
        super().__init__()
        self.num_tags = num_tags
        self.trans = nn.Parameter(torch.randn(num_tags, num_tags))
        with torch.no_grad():
            self.trans[BOS, :] = -10000.0
            self.trans[:, EOS] = -10000.0
            self.trans[:, PAD] = -10000.0
            self.trans[PAD, :] = -10000.0
            self.trans[PAD, EOS] = 0.0
            self.trans[PAD, PAD] = 0.0

    def forward(self, h, mask):
        """log of the sum over all paths, (B,)."""
        score = torch.full((h.size(0), self.num_tags), -10000.0)
        score[:, BOS] = 0.0
        for t in range(h.size(1)):
            score_t = score.unsqueeze(1) + h[:, t].unsqueeze(2) + self.trans
            score = torch.where(mask[:, t].unsqueeze(1), torch.logsumexp(score_t, -1), score)
        return torch.logsumexp(score + self.trans[EOS], -1)

    def score(self, h, y, mask):
        """Score of the path y, (B,)."""
        total = torch.zeros(h.size(0))
        y = torch.cat([torch.full((y.size(0), 1), BOS), y], 1)
        for t in range(h.size(1)):
            step = h[:, t].gather(1, y[:, t + 1, None]).squeeze(1) + self.trans[y[:, t + 1], y[:, t]]
            total = total + step * mask[:, t]
        last = y.gather(1, mask.sum(1, keepdim=True)).squeeze(1)
        return total + self.trans[EOS, last]

    def decode(self, h, mask):
        """Best paths, lists of the true lengths."""
        bptr = []
        score = torch.full((h.size(0), self.num_tags), -10000.0)
        score[:, BOS] = 0.0
        for t in range(h.size(1)):
            score_t = score.unsqueeze(1) + self.trans  # (B, to, from)
            score_t, bptr_t = score_t.max(2)
            score_t = score_t + h[:, t]
            bptr.append(bptr_t)
            score = torch.where(mask[:, t].unsqueeze(1), score_t, score)
        _, best_tag = torch.max(score + self.trans[EOS], 1)
        bptr = torch.stack(bptr, 1).tolist()
        best_path = [[i] for i in best_tag.tolist()]
        for b in range(len(best_path)):
            i = best_path[b][0]
            j = int(mask[b].sum())
            for bptr_t in reversed(bptr[b][:j]):
                i = bptr_t[i]
                best_path[b].append(i)
            best_path[b].pop()
            best_path[b].reverse()
        return best_path


class rnn_crf(nn.Module):
    """Embedding, packed BiLSTM with the lengths taken from the padding, and the layer above."""

    def __init__(self, vocab_size, num_tags):
        super().__init__()
        self.embed = nn.Embedding(vocab_size, 9, padding_idx=0)
        self.rnn = nn.LSTM(9, 5, bidirectional=True, batch_first=True, num_layers=2, dropout=0.3)
        self.out = nn.Linear(10, num_tags)
        self.crf = CRFLayer(num_tags)

    def features(self, x):
        mask = x.gt(0)
        x = pack_padded_sequence(self.embed(x), mask.sum(1).int(), batch_first=True, enforce_sorted=False)
        h, _ = self.rnn(x)
        h, _ = pad_packed_sequence(h, batch_first=True)
        return self.out(h) * mask.unsqueeze(-1), mask

    def loss(self, x, y):
        h, mask = self.features(x)
        return (self.crf(h, mask) - self.crf.score(h, y, mask)).mean()

    def forward(self, x):
        return self.crf.decode(*self.features(x))


def partition(emissions, transitions, start, end):
    """log of the sum over all paths of one sentence, transitions[from, to]."""
    alpha = start + emissions[0]
    for emission in emissions[1:]:
        alpha = torch.logsumexp(alpha[:, None] + transitions, 0) + emission
    return torch.logsumexp(alpha + end, 0)


def nll(emissions, transitions, start, end, tags):
    """Negative log-likelihood of one sentence's tags, transitions[from, to]."""
    gold = start[tags[0]] + emissions.gather(1, tags[:, None]).sum() + transitions[tags[:-1], tags[1:]].sum()
    return partition(emissions, transitions, start, end) - gold - end[tags[-1]]


class NumpyViterbi(nn.Module):
    """Start and end vectors, transitions[from, to], decoded by numpy into an array."""

    def __init__(self, n_words, n_tags, emb_size=8, hidden_size=6):
        super().__init__()
        self.embedding = nn.Embedding(n_words, emb_size)
        self.bilstm = nn.LSTM(emb_size, hidden_size, batch_first=True, bidirectional=True)
        self.hidden2emit = nn.Linear(hidden_size * 2, n_tags)
        self.transitions = nn.Parameter(torch.randn(n_tags, n_tags))
        self.start_transitions = nn.Parameter(torch.randn(n_tags))
        self.end_transitions = nn.Parameter(torch.randn(n_tags))

    def forward(self, x):
        emb = self.embedding(x.unsqueeze(0))
        return self.hidden2emit(self.bilstm(emb)[0])[0]

    def loss(self, x, y):
        return nll(self(x), self.transitions, self.start_transitions, self.end_transitions, y)

    def decode(self, x):
        emissions = self.forward(x).detach().cpu().numpy()
        trans = self.transitions.detach().cpu().numpy()
        n, k = emissions.shape
        dp = np.zeros((n, k), dtype=np.float32)
        back = np.zeros((n, k), dtype=np.int64)
        dp[0] = self.start_transitions.detach().numpy() + emissions[0]
        for t in range(1, n):
            scores = dp[t - 1][:, None] + trans
            back[t] = scores.argmax(axis=0)
            dp[t] = scores.max(axis=0) + emissions[t]
        path = np.zeros(n, dtype=np.int64)
        path[-1] = np.argmax(dp[-1] + self.end_transitions.detach().numpy())
        for t in range(n - 2, -1, -1):
            path[t] = back[t + 1, path[t + 1]]
        return path


def bio_mask(tags):
    """(allowed from-to, allowed first): I-X stands after B-X or I-X only."""
    pairs = [[not b.startswith("I-") or a[2:] == b[2:] for b in tags] for a in tags]
    return torch.tensor(pairs), torch.tensor([not tag.startswith("I-") for tag in tags])


class ConstrainedCRF(nn.Module):
    """Forbidden transitions are masked at decoding; the scores are log-probabilities."""

    def __init__(self, vocab, tags):
        super().__init__()
        self.embed = nn.Embedding(len(vocab), 7, padding_idx=0)
        self.encoder = nn.LSTM(7, 6, batch_first=True, bidirectional=True)
        self.fc1 = nn.Linear(12, 9)
        self.fc2 = nn.Linear(9, len(tags))
        self.T = nn.Parameter(torch.randn(len(tags), len(tags)))
        self.t0 = nn.Parameter(torch.zeros(len(tags)))
        allowed, allowed_first = bio_mask(tags)
        self.register_buffer("allowed", allowed)
        self.register_buffer("allowed_first", allowed_first)

    def forward(self, ids):
        out, _ = self.encoder(self.embed(ids))
        return F.log_softmax(self.fc2(F.relu(self.fc1(out))), dim=-1)

    def loss(self, ids, gold):
        return nll(self.forward(ids)[0], self.T, self.t0, torch.zeros_like(self.t0), gold)

    @torch.no_grad()
    def decode(self, ids):
        emit = self.forward(ids)[0]
        T = self.T.masked_fill(~self.allowed, -1e4)
        delta = emit[0] + self.t0.masked_fill(~self.allowed_first, -1e4)
        psi = []
        for t in range(1, emit.shape[0]):
            best, arg = (delta.unsqueeze(1) + T).max(dim=0)
            psi.append(arg)
            delta = best + emit[t]
        tag = delta.argmax()
        path = [tag]
        for arg in reversed(psi):
            tag = arg[tag]
            path.append(tag)
        return torch.stack(path[::-1])


class NoEnds(nn.Module):
    """transitions[from, to] on top of log-softmax, nothing at the ends; (score, path) of tensors."""

    def __init__(self, vocab_size, tagset_size):
        super().__init__()
        self.tagset_size = tagset_size
        self.embeddings = nn.Embedding(vocab_size, 8)
        self.dropout = nn.Dropout(0.25)
        self.lstm = nn.LSTM(8, 9)
        self.projection = nn.Linear(9, tagset_size)
        self.trans = nn.Parameter(torch.empty(tagset_size, tagset_size))
        nn.init.normal_(self.trans)

    def emission_scores(self, sent):
        embedded = self.dropout(self.embeddings(sent)).unsqueeze(1)
        states, _ = self.lstm(embedded)
        return F.log_softmax(self.projection(states), dim=2).squeeze(1)

    def forward(self, sent, gold):
        zeros = torch.zeros(self.tagset_size)
        return nll(self.emission_scores(sent), self.trans, zeros, zeros, gold)

    def viterbi(self, sent):
        emission = self.emission_scores(sent)
        trellis = torch.zeros(emission.size())
        backpointers = torch.zeros(emission.size(), dtype=torch.long)
        trellis[0] = emission[0]
        for t in range(1, emission.size(0)):
            v = trellis[t - 1].unsqueeze(1).expand_as(self.trans) + self.trans
            values, indices = torch.max(v, 0)
            trellis[t] = emission[t] + values
            backpointers[t] = indices
        score, last = torch.max(trellis[-1], 0)
        path = [last.item()]
        for bp in torch.flip(backpointers[1:], [0]):
            path.append(bp[path[-1]].item())
        path.reverse()
        return score, torch.tensor(path)


class PackedCRF(nn.Module):
    """Two more rows for begin and end in trans[from, to]; lengths as a list; a list of paths."""

    def __init__(self, word_size, tag_size, dim=9, hidden=5):
        super().__init__()
        self.tag_size = tag_size
        self.begin, self.end = tag_size, tag_size + 1
        self.emb = nn.Embedding(word_size, dim)
        self.lstm = nn.LSTM(dim, hidden, bidirectional=True, batch_first=True)
        self.lin = nn.Linear(2 * hidden, tag_size)
        self.trans = nn.Parameter(torch.randn(tag_size + 2, tag_size + 2))

    def get_emissions(self, x, lengths):
        packed = pack_padded_sequence(self.emb(x), lengths, batch_first=True, enforce_sorted=False)
        out, _ = self.lstm(packed)
        out, _ = pad_packed_sequence(out, batch_first=True)
        return self.lin(out)

    def neg_log_likelihood(self, x, lengths, tags):
        inner = self.trans[: self.tag_size, : self.tag_size]
        start, end = self.trans[self.begin, : self.tag_size], self.trans[: self.tag_size, self.end]
        return nll(self.get_emissions(x, lengths)[0], inner, start, end, tags)

    def forward(self, x, lengths):
        emissions = self.get_emissions(x, lengths)
        K = self.tag_size
        paths = []
        for emission, length in zip(emissions, lengths, strict=True):
            score = self.trans[self.begin, :K] + emission[0]
            back = []
            for i in range(1, length):
                m = score.view(K, 1) + self.trans[:K, :K] + emission[i].view(1, K)
                score, b = m.max(0)
                back.append(b.tolist())
            score = score + self.trans[:K, self.end]
            best = int(score.argmax())
            path = [best]
            while back:
                best = back.pop()[best]
                path.insert(0, best)
            paths.append(path)
        return paths


class OldStyleCRF(nn.Module):
    """Written for PyTorch 0.3: Variables, a random state, transitions[to, from], predict."""

    def __init__(self, vocab_size, tag2id, embedding_dim=6, hidden_dim=10):
        super().__init__()
        self.tag2id = tag2id
        self.n_tags = len(tag2id)
        self.hidden_dim = hidden_dim
        self.embeds = nn.Embedding(vocab_size, embedding_dim)
        self.bigru = nn.LSTM(embedding_dim, hidden_dim // 2, 2, bidirectional=True)
        self.hidden1 = nn.Linear(hidden_dim, hidden_dim)
        self.hidden2 = nn.Linear(hidden_dim, self.n_tags)
        self.transitions = nn.Parameter(torch.randn(self.n_tags, self.n_tags))
        self.transitions.data[tag2id["START"], :] = -10000.0
        self.transitions.data[:, tag2id["STOP"]] = -10000.0

    def rand_init_hidden(self):
        return (
            Variable(torch.randn(2 * 2, 1, self.hidden_dim // 2)),
            Variable(torch.randn(2 * 2, 1, self.hidden_dim // 2)),
        )

    def get_feats(self, sentence):
        x = self.embeds(sentence).view(len(sentence), 1, -1)
        x, _ = self.bigru(x, self.rand_init_hidden())
        x = torch.tanh(self.hidden1(x.view(len(sentence), -1)))
        return F.log_softmax(self.hidden2(x), dim=1)

    def loss(self, sentence, tags):
        begin, stop = self.tag2id["START"], self.tag2id["STOP"]
        return nll(
            self.get_feats(sentence), self.transitions.t(), self.transitions[:, begin], self.transitions[stop], tags
        )

    def predict(self, sentence):
        feats = self.get_feats(sentence)
        variables = torch.full((self.n_tags,), -10000.0)
        variables[self.tag2id["START"]] = 0.0
        pointers = []
        for feat in feats:
            candidates = variables.view(1, -1).expand(self.n_tags, self.n_tags) + self.transitions
            variables, pointer = torch.max(candidates, dim=1)
            variables = variables + feat
            pointers.append(pointer.numpy())
        variables = variables + self.transitions[self.tag2id["STOP"]]
        best = int(torch.argmax(variables).item())
        path = [best]
        for pointer in reversed(pointers[1:]):
            best = int(pointer[best])
            path.append(best)
        return path[::-1]


OLD_TAGS = {"START": 0, **{tag: i for i, tag in enumerate(TAGS[:7], 1)}, "PUNCT": 8, "STOP": 9}

CASES = [
    case(
        "tutorial_bilstm_crf",
        "one sentence, view(len,1,-1), CRF by hand, state in self, random state, bidirectional",
        lambda: BiLSTM_CRF(len(KNOWN), TAG_TO_IX, 6, 8),
        KNOWN,
        tags=TAG_TO_IX,
        kind="emissions",
        inner=lambda model, ids: model._get_lstm_features(ids),
        path=lambda output: output[1],
        loss=lambda model, tags, ids: model.neg_log_likelihood(ids, tags),
    ),
    case(
        "vectorised_crf",
        "CRF by hand, packing, two layers, bidirectional",
        lambda: rnn_crf(len(PADDED), len(BATCH_TAGS)),
        PADDED,
        tags=BATCH_TAGS,
        kind="emissions",
        encode=PADDED.row,
        inner=lambda model, x: model.features(x)[0],
        pick=lambda emissions: emissions[0],
        path=lambda paths: paths[0],
        loss=lambda model, tags, x: model.loss(x, tags[None]),
        batch=True,
    ),
    case(
        "numpy_viterbi",
        "one sentence, CRF by hand, entry not forward, bidirectional",
        lambda: NumpyViterbi(len(KNOWN), len(TAGS)),
        KNOWN,
        kind="emissions",
        entry="decode",
        inner=lambda model, x: model(x),
        path=lambda path: path.tolist(),
        loss=lambda model, tags, x: model.loss(x, tags),
    ),
    case(
        "bio_constraints",
        "CRF by hand, entry not forward, bidirectional, deep head, log-softmax",
        lambda: ConstrainedCRF(PADDED.vocabulary, ENTITIES),
        PADDED,
        tags=ENTITIES,
        kind="emissions",
        entry="decode",
        encode=PADDED.row,
        inner=lambda model, ids: model(ids)[0],
        path=lambda path: path.tolist(),
        loss=lambda model, tags, ids: model.loss(ids, tags),
    ),
    case(
        "crf_without_ends",
        "one sentence, CRF by hand, entry not forward, log-softmax",
        lambda: NoEnds(len(LOWER), len(TAGS)),
        LOWER,
        kind="emissions",
        entry="viterbi",
        inner=lambda model, sent: model.emission_scores(sent),
        path=lambda output: output[1].tolist(),
        loss=lambda model, tags, sent: model(sent, tags),
    ),
    case(
        "packed_crf",
        "CRF by hand, packing, bidirectional",
        lambda: PackedCRF(len(KNOWN), len(ENTITIES)),
        KNOWN,
        tags=ENTITIES,
        kind="emissions",
        encode=KNOWN.row_and_list,
        inner=lambda model, x, lengths: model.get_emissions(x, lengths),
        pick=lambda emissions: emissions[0],
        path=lambda paths: paths[0],
        loss=lambda model, tags, x, lengths: model.neg_log_likelihood(x, lengths, tags),
        batch=True,
    ),
    case(
        "old_style_crf",
        "one sentence, view(len,1,-1), CRF by hand, random state, entry not forward, deep head, log-softmax",
        lambda: OldStyleCRF(len(LOWER), OLD_TAGS),
        LOWER,
        tags=OLD_TAGS,
        kind="emissions",
        entry="predict",
        inner=lambda model, ids: model.get_feats(ids),
        path=list,
        loss=lambda model, tags, ids: model.loss(ids, tags),
    ),
]
