"""Taggers that are nearly what a file can say: a file that answers otherwise than the module is the one wrong end."""

import ctypes
import math
import pickle
import random
from typing import Any
from zlib import crc32

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from gallery.case import PADDED, Words
from gallery.characters import PADDED_WITH_CHARACTERS
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torchcrf import CRF

from .good import NER, GatheredCharacters, K, N, Tagger, Unseen, decoder, unseen, words_and_characters

RARE = N - 1
CALLS = {"count": 0}
CACHE: dict[int, torch.Tensor] = {}


def refused(name: str, build: Any, words: Words = PADDED, **rest: Any) -> Unseen:
    """A tagger without a right file."""
    return unseen(name, build, words, expected="refused", **rest)


def no_viterbi(name: str, build: Any, **rest: Any) -> Unseen:
    """A decoder without a right file."""
    return decoder(name, build, expected="refused", **rest)


class Lengths(Tagger):
    """Answers otherwise at some lengths."""

    def __init__(self, odd_one):
        super().__init__()
        self.odd_one = odd_one

    def forward(self, x):
        n = x.size(1)
        return self.head(self.states(x) + (0.5 if self.odd_one(n) else 0.0))


class LengthTensor(Tagger):
    """Answers otherwise above 40 words, and torch alone decides."""

    def forward(self, x, lengths):
        h = self.states(x)
        long = (lengths > 40).float().view(-1, 1, 1)
        return self.head(h * (1 - long) + h.flip(-1) * long)


class LogOfLength(Tagger):
    """Python computes with the length."""

    def forward(self, x):
        return self.head(self.states(x) * (1.0 + math.log(x.size(1))))


class CappedDivisor(Tagger):
    """Divides by the length, by 37 at most."""

    def forward(self, x):
        return self.head(self.states(x) / min(x.size(1), 37))


class Cut(Tagger):
    """Reads the first words only; the rest is answered with zeros."""

    def __init__(self, longest):
        super().__init__()
        self.longest = longest

    def forward(self, x):
        y = self.scores(x[:, : self.longest])
        return torch.cat([y, y.new_zeros(y.size(0), x.size(1) - y.size(1), K)], 1)


class ContextOfFirst(Tagger):
    """Each word is read, and the maximum of the first 256 beside it."""

    def forward(self, x):
        return self.head(self.states(x) + self.states(x[:, :256]).max(1, keepdim=True)[0])


class LoopStops(nn.Module):
    """A cell is stepped 50 times at most; the states after that stay zero."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(N, 8)
        self.cell = nn.LSTMCell(8, 6)
        self.head = nn.Linear(6, K)

    def forward(self, x):
        e, n = self.embedding(x), x.size(1)
        out = torch.zeros(1, n, 6)
        h = c = torch.zeros(1, 6)
        for t in range(min(n, 50)):
            h, c = self.cell(e[:, t], (h, c))
            out[:, t] = h
        return self.head(out)


class CutCRF(Tagger):
    """pytorch-crf decodes the first 150 words; the rest are O."""

    def __init__(self):
        super().__init__(n_tags=NER)
        self.crf = CRF(NER, batch_first=True)

    def forward(self, x):
        scores = self.scores(x)
        path = self.crf.decode(scores[:, :150])[0]
        return path + [0] * (scores.size(1) - len(path))


class Positions(Tagger):
    """Learned positions, for any length by some rule."""

    def __init__(self, rule, size):
        super().__init__()
        self.rule, self.size = rule, size
        self.positions = nn.Embedding(size, 8)

    def forward(self, x):
        return self.head(self.lstm(self.embedding(x) + self.positions(self.rule(x.size(1), self.size)))[0])


class Chunks(Tagger):
    """35 words at a time, and the state goes on."""

    def forward(self, x):
        out, state = [], None
        for chunk in x.split(35, dim=1):
            h, state = self.lstm(self.embedding(chunk), state)
            out.append(h)
        return self.head(torch.cat(out, 1))


class ForgetfulGRU(nn.Module):
    """The state is cleared at some tokens."""

    def __init__(self, clear):
        super().__init__()
        self.clear = clear
        self.embedding = nn.Embedding(N, 8)
        self.cell = nn.GRUCell(8, 12)
        self.head = nn.Linear(12, K)

    def forward(self, x):
        e, h, out = self.embedding(x), torch.zeros(1, 12), []
        for t in range(e.size(1)):
            if self.clear(t):
                h = torch.zeros(1, 12)
            h = self.cell(e[:, t], h)
            out.append(h)
        return self.head(torch.stack(out, 1))


class Viterbi(Tagger):
    """A Viterbi search with start and end scores; what differs overrides a step."""

    def __init__(self):
        super().__init__(n_tags=NER)
        self.transitions = nn.Parameter(torch.randn(NER, NER))
        self.start = nn.Parameter(torch.randn(NER))
        self.end = nn.Parameter(torch.randn(NER))

    def kept(self, best):
        return best

    def meeting(self, best, t):
        return best.unsqueeze(1) + self.transitions

    def chosen(self, candidates):
        return candidates.max(0)

    def added(self, best, score, t):
        return best + score

    def ended(self, best, n):
        return best + self.end

    def forward(self, x):
        scores = self.scores(x)[0]
        best, back = scores[0] + self.start, []
        for t in range(1, len(scores)):
            best, pointers = self.chosen(self.meeting(self.kept(best), t))
            best = self.added(best, scores[t], t)
            back.append(pointers)
        tag = int(self.ended(best, len(scores)).argmax())
        path = [tag]
        for pointers in reversed(back):
            tag = int(pointers[tag])
            path.append(tag)
        return self.repaired(path[::-1])

    def repaired(self, path):
        return path


class NoEnd(Viterbi):
    """The end scores are there, but nothing reads them."""

    def ended(self, best, n):
        return best


class Decay(Viterbi):
    """What lies behind counts a little less."""

    def added(self, best, score, t):
        return best * 0.99 + score


class Capped(Viterbi):
    """Sums stop at 80."""

    def meeting(self, best, t):
        return super().meeting(best, t).clamp(max=80)


class HalfPrecision(Viterbi):
    """Sums are rounded to float16."""

    def meeting(self, best, t):
        return super().meeting(best, t).half().float()


class Beam(Viterbi):
    """Only the best three tags go on."""

    def kept(self, best):
        return best.masked_fill(best < best.topk(3)[0][-1], -1e4)


class ForbiddenStep(Viterbi):
    """One step is forbidden by a number in the code."""

    def meeting(self, best, t):
        return super().meeting(best, t) + torch.tensor([[0.0] * NER] * (NER - 1) + [[0.0, 0.0, -1e4, 0.0, 0.0]])


class LaterCountsMore(Viterbi):
    """Scores grow with the position."""

    def added(self, best, score, t):
        return best + score * (1 + 0.002 * t)


class EndsShortOnly(Viterbi):
    """The end scores are left out of long sentences."""

    def ended(self, best, n):
        return best if n >= 60 else best + self.end


class SumsPaths(Viterbi):
    """Pointers of the best, sums of all."""

    def chosen(self, candidates):
        return candidates.logsumexp(0), candidates.max(0)[1]


class Repaired(Viterbi):
    """I-PER after O becomes B-PER, once the search is over."""

    def repaired(self, path):
        return [1 if tag == 2 and last == 0 else tag for last, tag in zip([-1, *path], path, strict=False)]


class Reversed(Viterbi):
    """The path is read from its end."""

    def repaired(self, path):
        return path[::-1]


class Greedy(Viterbi):
    """Each tag is the best after the last."""

    def forward(self, x):
        last, path = None, []
        for score in self.scores(x)[0]:
            last = int((score if last is None else score + self.transitions[last]).argmax())
            path.append(last)
        return path


class Posterior(Viterbi):
    """The best tag of each token over all paths, not the best path."""

    def forward(self, x):
        scores = self.scores(x)[0]
        alpha, beta = [scores[0]], [torch.zeros(NER)]
        for score in scores[1:]:
            alpha.append(score + torch.logsumexp(alpha[-1].unsqueeze(1) + self.transitions, 0))
        for score in reversed(scores[1:]):
            beta.insert(0, torch.logsumexp(self.transitions + (score + beta[0]).unsqueeze(0), 1))
        return (torch.stack(alpha) + torch.stack(beta)).argmax(1).tolist()


class SecondOrder(Viterbi):
    """Three tags meet."""

    def __init__(self):
        super().__init__()
        self.triples = nn.Parameter(torch.randn(NER, NER, NER))

    def forward(self, x):
        scores, back = self.scores(x)[0], []
        if len(scores) == 1:
            return [int(scores[0].argmax())]
        best = scores[0].unsqueeze(1) + self.transitions + scores[1].unsqueeze(0)
        for score in scores[2:]:
            best, pointers = (best.unsqueeze(2) + self.triples + self.transitions.unsqueeze(0)).max(0)
            best = best + score.unsqueeze(0)
            back.append(pointers)
        pair = int(best.view(-1).argmax())
        before, last = pair // NER, pair % NER
        path = [last, before]
        for pointers in reversed(back):
            before, last = int(pointers[before, last]), before
            path.append(before)
        return path[::-1]


class TransitionsOfStates(Viterbi):
    """The transitions are computed for each token."""

    def __init__(self):
        super().__init__()
        self.steps = nn.Linear(12, NER * NER)

    def forward(self, x):
        h = self.states(x)[0]
        self.now = self.steps(h).view(-1, NER, NER) + self.transitions
        return super().forward(x)

    def meeting(self, best, t):
        return best.unsqueeze(1) + self.now[t]


class RareWordTransitions(Viterbi):
    """After a rare word nothing is learned of the tag before."""

    def forward(self, x):
        self.ids = x[0]
        return super().forward(x)

    def meeting(self, best, t):
        return best.unsqueeze(1) + (self.transitions * 0 if self.ids[t].item() == RARE else self.transitions)


def looked_up(rule):
    """The encode of someone who looks words up by ``rule(word, position)``."""

    def encode(sentences):
        return (torch.tensor([[rule(word, i) for i, word in enumerate(sentences[0])]]),)

    return encode


def word_id(word):
    """Of a word as it stands; unknown words are 1."""
    return PADDED.index.get(word, 1)


def rare_once(sentences):
    """A word is known where it stands first only."""
    sentence = sentences[0]
    return (torch.tensor([[word_id(word) if sentence.index(word) == i else 1 for i, word in enumerate(sentence)]]),)


def capital_before(sentences):
    """The ids, and 1 where the word before has a capital letter."""
    capitals = [int(word[0].isupper()) for word in sentences[0]]
    return *PADDED.row(sentences), torch.tensor([[0, *capitals[:-1]]])


class Feature(Tagger):
    """A feature beside each word."""

    def __init__(self):
        super().__init__()
        self.feature_embedding = nn.Embedding(3, 8)

    def forward(self, x, feature):
        return self.head(self.lstm(self.embedding(x) + self.feature_embedding(feature))[0])


class UnsureIsO(Tagger):
    """Tags alone, and what is not sure becomes tag 0."""

    def forward(self, x):
        best, tags = self.scores(x).softmax(-1).max(-1)
        return torch.where(best < 0.3, torch.zeros_like(tags), tags)


class NeverTagZero(Tagger):
    """The best tag but the first."""

    def forward(self, x):
        return self.scores(x)[..., 1:].argmax(-1) + 1


class ScoresAndOtherTags(Tagger):
    """Scores, and tags that one word changes."""

    def forward(self, x):
        scores = self.scores(x)
        tags = scores.argmax(-1)
        return scores, torch.where(x == RARE, torch.full_like(tags, 4), tags)


class TwoHeads(Tagger):
    """Two sets of scores for tags of the same number: nobody can know which is meant."""

    def __init__(self):
        super().__init__()
        self.other = nn.Linear(12, K)

    def forward(self, x):
        h = self.states(x)
        return self.other(h), self.head(h)


class TwoNamedHeads(TwoHeads):
    """The same in a dict."""

    def forward(self, x):
        other, scores = super().forward(x)
        return {"pos_logits": other, "logits": scores}


class RareWord(Tagger):
    """Answers otherwise where a rare word stands, which some rule finds out."""

    def __init__(self, found):
        super().__init__()
        self.found = found

    def forward(self, x):
        h = self.states(x)
        if self.found(x):
            h = h.flip(-1) * 2
        return self.head(h)


class AnyRare(Tagger):
    """A rare word anywhere turns the signs, and torch alone decides."""

    def forward(self, x):
        flag = (x == RARE).any(dim=1).float().view(-1, 1, 1)
        h = self.states(x)
        return self.head(h * (1 - flag) - h * flag)


class CountsWords(Tagger):
    """How often a word has stood before, in a dict."""

    def forward(self, x):
        seen, counts = {}, []
        for word in x[0].tolist():
            counts.append(min(seen.get(word, 0), 3))
            seen[word] = seen.get(word, 0) + 1
        return self.head(self.states(x) + torch.tensor(counts).float().view(1, -1, 1) * 0.3)


class RareEmbedding(Tagger):
    """A rare word has a vector of its own: torch.where, word by word, has a file."""

    def __init__(self):
        super().__init__()
        self.vector = nn.Parameter(torch.randn(8))

    def forward(self, x):
        e = torch.where((x >= RARE).unsqueeze(-1), self.vector, self.embedding(x))
        return self.head(self.lstm(e)[0])


class Cell(nn.Module):
    """An LSTM cell by hand; what differs overrides a step."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(N, 8)
        self.of_input = nn.Linear(8, 24)
        self.of_state = nn.Linear(6, 24, bias=False)
        self.head = nn.Linear(6, K)

    def gates(self, i, f, o, c):
        return torch.sigmoid(i), torch.sigmoid(f), torch.sigmoid(o)

    def kept(self, c):
        return c

    def shown(self, h, last):
        return h

    def forward(self, x):
        h, c, out = torch.zeros(1, 6), torch.zeros(1, 6), []
        for t in range(x.size(1)):
            i, f, u, o = (self.of_input(self.embedding(x[:, t])) + self.of_state(h)).chunk(4, 1)
            i, f, o = self.gates(i, f, o, c)
            c = self.kept(f * c + i * torch.tanh(u))
            h = self.shown(o * torch.tanh(c), h)
            out.append(h)
        return self.head(torch.stack(out, 1))


class Peephole(Cell):
    """Gates see the cell."""

    def __init__(self):
        super().__init__()
        self.peep = nn.Parameter(torch.randn(2, 6))

    def gates(self, i, f, o, c):
        return super().gates(i + self.peep[0] * c, f + self.peep[1] * c, o, c)


class CoupledGates(Cell):
    """What is forgotten is what is taken in."""

    def gates(self, i, f, o, c):
        i, _, o = super().gates(i, f, o, c)
        return i, 1 - i, o


class HardSigmoid(Cell):
    """The sigmoid of Keras."""

    def gates(self, i, f, o, c):
        return F.hardsigmoid(i), F.hardsigmoid(f), F.hardsigmoid(o)


class ClippedCell(Cell):
    """The cell stays within 3."""

    def kept(self, c):
        return c.clamp(-3.0, 3.0)


class Zoneout(Cell):
    """A tenth of the last state stays."""

    def shown(self, h, last):
        return 0.9 * h + 0.1 * last


class ClearedAtWord(LoopStops):
    """An LSTMCell whose state is cleared after one word."""

    def forward(self, x):
        h, c, out = torch.zeros(1, 6), torch.zeros(1, 6), []
        for t in range(x.size(1)):
            h, c = self.cell(self.embedding(x[:, t]), (h, c))
            out.append(h)
            h = torch.where((x[:, t] == RARE).unsqueeze(1), torch.zeros_like(h), h)
        return self.head(torch.stack(out, 1))


class ShowsCell(LoopStops):
    """The cell goes to the head, not the hidden state."""

    def forward(self, x):
        h, c, out = torch.zeros(1, 6), torch.zeros(1, 6), []
        for t in range(x.size(1)):
            h, c = self.cell(self.embedding(x[:, t]), (h, c))
            out.append(c)
        return self.head(torch.stack(out, 1))


class Noisy(Tagger):
    """Something is added to the states."""

    def __init__(self, noise):
        super().__init__()
        self.noise = noise

    def forward(self, x):
        h = self.states(x)
        return self.head(h + self.noise(h))


def seeded(h):
    """Always the same noise for one length."""
    torch.manual_seed(0)
    return torch.randn(h.shape)


def by_length(h):
    """Numpy's noise, seeded by the length."""
    return torch.from_numpy(np.random.RandomState(h.size(1)).randn(h.size(2)).astype("float32"))


class GrowingEmbedding(Tagger):
    """Each call changes the row of its last word."""

    def forward(self, x):
        self.embedding.weight.data[x[0, -1]] *= 1.01
        return self.scores(x)


class CountsGlobally(Tagger):
    """Answers by how often any such module was asked."""

    def forward(self, x):
        CALLS["count"] += 1
        return self.scores(x) * (1.0 + CALLS["count"] % 7)


class Cached(Tagger):
    """Vectors of words are kept from sentence to sentence."""

    def forward(self, x):
        e = self.embedding(x)
        vectors = [CACHE.setdefault(int(x[0, t]), e[:, t]) for t in range(x.size(1))]
        return self.head(self.lstm(torch.stack(vectors, 1))[0])


class AroundTheCorner(Tagger):
    """The word before the first is the last."""

    def forward(self, x):
        e = self.embedding(x)
        return self.head(self.lstm(e + torch.roll(e, 1, 1) - torch.roll(e, -1, 1))[0])


class InstanceNorm(Tagger):
    """Mean and variance of a sentence."""

    def __init__(self):
        super().__init__()
        self.norm = nn.InstanceNorm1d(12)

    def forward(self, x):
        h = self.states(x)
        if h.size(1) > 1:
            h = self.norm(h.transpose(1, 2)).transpose(1, 2)
        return self.head(h)


class MixedView(Tagger):
    """A view where a transpose was meant."""

    def forward(self, x):
        return self.head(self.states(x).view(12, -1).t()).unsqueeze(0)


class Nearby(Tagger):
    """Attention within 60 words."""

    def forward(self, x):
        h = self.states(x)
        i = torch.arange(h.size(1))
        scores = (h @ h.transpose(1, 2)).masked_fill((i[:, None] - i[None]).abs() > 60, -1e9)
        return self.head(h + torch.softmax(scores, 2) @ h)


class FlipForgotten(Tagger):
    """The backward states stay in reverse order."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(8, 6, batch_first=True)
        self.backwards = nn.LSTM(8, 6, batch_first=True)

    def forward(self, x):
        e = self.embedding(x)
        return self.head(torch.cat([self.lstm(e)[0], self.backwards(e.flip(1))[0]], -1))


class UnknownMasked(Tagger):
    """Unknown words are taken for padding, and zeroed: a function of each word, which has a file."""

    def forward(self, x):
        return self.head(self.states(x) * (x != 1).unsqueeze(-1).float())


class UnknownPacked(Tagger):
    """Unknown words are taken for padding, and shorten the sentence."""

    def forward(self, x):
        lengths = (x != 1).sum(1).clamp(min=1)
        packed = pack_padded_sequence(self.embedding(x), lengths, batch_first=True)
        h, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=x.size(1))
        return self.head(h)


class OverPadding(GatheredCharacters):
    """The last state of the letters, after the padding up to the sentence's longest word."""

    def forward(self, words, letters, lengths):
        batch, n, longest = letters.size()
        _, (h, _) = self.letters(self.letter_embedding(letters.view(batch * n, longest)))
        return self.head(self.lstm(torch.cat([self.word_embedding(words), h[-1].view(batch, n, -1)], 2))[0])


class OnlyThousandths(Tagger):
    """Scores are cut after three digits: the last of them is chance."""

    def forward(self, x):
        return (self.scores(x) * 1000).int().float() / 1000


MUCH = (257, 300)
ODD_WORDS = (["-dog-", "Dog", "42", "DOG", "dog", "dog", "paris", "The"],)
LAST = {"path": lambda out: out[0].tolist(), "inner": lambda module, x: module.scores(x), "kind": "logits"}

TRAPS = [
    unseen("no_length", lambda: Lengths(lambda n: False), lengths=MUCH),
    refused("longer_than_256", lambda: Lengths(lambda n: n > 256), lengths=MUCH),
    refused("multiples_of_16", lambda: Lengths(lambda n: n % 16 == 0), lengths=(16, 32, 48)),
    refused("between_40_and_50", lambda: Lengths(lambda n: 40 < n < 50), lengths=(41, 49)),
    refused("exactly_64", lambda: Lengths(lambda n: n == 64), lengths=(64,)),
    refused("exactly_1", lambda: Lengths(lambda n: n == 1)),
    refused("length_tensor", LengthTensor, encode=PADDED.row_and_lengths),
    refused("log_of_length", LogOfLength),
    refused("capped_divisor", CappedDivisor),
    refused("cut_at_48", lambda: Cut(48)),
    refused("cut_at_256", lambda: Cut(256), lengths=MUCH),
    refused("context_of_first_256", ContextOfFirst, lengths=MUCH),
    refused("loop_stops_at_50", LoopStops),
    no_viterbi("crf_cut_at_150", CutCRF, lengths=(151, 200)),
    refused(
        "positions_clamped",
        lambda: Positions(lambda n, size: torch.arange(n).clamp(max=size - 1), 100),
        lengths=(101, 150),
    ),
    refused("positions_modulo", lambda: Positions(lambda n, size: torch.arange(n) % size, 32)),
    refused(
        "positions_by_min",
        lambda: Positions(lambda n, size: torch.tensor([min(i, size - 1) for i in range(n)]), 128),
        lengths=(129, 150),
    ),
    refused("chunks_of_35", Chunks),
    refused("cleared_at_250", lambda: ForgetfulGRU(lambda t: t == 250), lengths=(251, 300)),
    decoder("viterbi", Viterbi),
    decoder("no_end", NoEnd),
    no_viterbi("decay", Decay),
    no_viterbi("capped", Capped, lengths=(200,)),
    no_viterbi("half_precision", HalfPrecision),
    no_viterbi("beam", Beam),
    no_viterbi("forbidden_step", ForbiddenStep),
    no_viterbi("later_counts_more", LaterCountsMore, seed=0),
    no_viterbi("ends_short_only", EndsShortOnly, seed=0),
    no_viterbi("sums_paths", SumsPaths),
    no_viterbi("repaired", Repaired),
    no_viterbi("reversed", Reversed),
    no_viterbi("greedy", Greedy),
    no_viterbi("posterior", Posterior),
    no_viterbi("second_order", SecondOrder),
    no_viterbi("transitions_of_states", TransitionsOfStates),
    no_viterbi("rare_word_transitions", RareWordTransitions),
    unseen("encode_plain", Tagger, encode=looked_up(lambda word, i: word_id(word)), sentences=ODD_WORDS),
    refused("encode_lower", Tagger, encode=looked_up(lambda word, i: word_id(word.lower())), sentences=ODD_WORDS),
    refused("encode_strip", Tagger, encode=looked_up(lambda word, i: word_id(word.strip("-"))), sentences=ODD_WORDS),
    refused(
        "encode_numbers",
        Tagger,
        encode=looked_up(lambda word, i: 5 if word.isdigit() else word_id(word)),
        sentences=ODD_WORDS,
    ),
    refused(
        "encode_lower_fallback",
        Tagger,
        encode=looked_up(lambda word, i: PADDED.index.get(word, word_id(word.lower()))),
        sentences=ODD_WORDS,
    ),
    refused(
        "encode_lower_first",
        Tagger,
        encode=looked_up(lambda word, i: word_id(word if i else word.lower())),
        sentences=(["Anna", "likes", "Paris"],),
    ),
    refused("encode_once", Tagger, encode=rare_once, sentences=ODD_WORDS),
    refused("encode_neighbour", Feature, encode=capital_before),
    refused("unsure_is_o", UnsureIsO, **LAST),
    refused("never_tag_zero", NeverTagZero, **LAST),
    refused("scores_and_other_tags", ScoresAndOtherTags, **LAST | {"path": lambda out: out[1][0].tolist()}),
    refused("two_heads", TwoHeads, pick=lambda out: out[1][0]),
    refused("two_named_heads", TwoNamedHeads, pick=lambda out: out["logits"][0]),
    refused("rare_by_list", lambda: RareWord(lambda x: RARE in x.tolist()[0])),
    refused("rare_by_maximum", lambda: RareWord(lambda x: x.max() == RARE)),
    refused("rare_by_size", lambda: RareWord(lambda x: torch.bincount(x[0]).numel() == RARE + 1)),
    refused("rare_by_numpy", lambda: RareWord(lambda x: (np.from_dlpack(x) == RARE).any())),
    refused("rare_by_pickle", lambda: RareWord(lambda x: RARE in pickle.loads(pickle.dumps(x)).tolist()[0])),
    refused(
        "rare_by_address",
        lambda: RareWord(lambda x: RARE in (ctypes.c_int64 * x.numel()).from_address(x.data_ptr())),
    ),
    refused("any_rare", AnyRare),
    refused("counts_words", CountsWords),
    unseen("rare_embedding", RareEmbedding),
    unseen("cell", Cell),
    refused("peephole", Peephole),
    refused("coupled_gates", CoupledGates),
    refused("hard_sigmoid", HardSigmoid),
    refused("clipped_cell", ClippedCell),
    refused("zoneout", Zoneout),
    refused("cleared_at_word", ClearedAtWord),
    refused("shows_cell", ShowsCell),
    refused("torch_random", lambda: Noisy(torch.rand_like)),
    refused("torch_seeded", lambda: Noisy(seeded)),
    refused("numpy_random", lambda: Noisy(by_length)),
    refused("python_random", lambda: Noisy(lambda h: random.gauss(0, 1))),
    refused("growing_embedding", GrowingEmbedding),
    refused("counts_globally", CountsGlobally),
    refused("cached", Cached),
    refused("around_the_corner", AroundTheCorner),
    refused("instance_norm", InstanceNorm),
    refused("mixed_view", MixedView),
    refused("nearby", Nearby),
    unseen("flip_forgotten", FlipForgotten),
    unseen("unknown_masked", UnknownMasked),
    refused("unknown_packed", UnknownPacked),
    unseen("over_padding", OverPadding, PADDED_WITH_CHARACTERS, encode=words_and_characters),
    refused("only_thousandths", OnlyThousandths),
]

# The same with weights for which the difference shows in long sentences only.
TRAPS += [
    no_viterbi(
        f"{name}_unnoticed", build, seed=crc32(name.encode()), lengths=(64, 92, 96, 98, 120, 147, 159, 167, 190, 200)
    )
    for name, build in (("later_counts_more", LaterCountsMore), ("ends_short_only", EndsShortOnly))
]
