"""CRF taggers that use the package pytorch-crf."""

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torchcrf import CRF

from .case import ENTITIES, KNOWN, PADDED, TAGS, Spec, case

PAD_ID = 0
MAX_CHARS = 8
ALPHABET = ["<c-pad>", "<c-unk>", *"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,"]
CHAR_TO_ID = {char: number for number, char in enumerate(ALPHABET)}


def strong(crf):
    """The package starts with transitions near 0: a few steps would leave nothing to decode."""
    for parameter in crf.parameters():
        nn.init.normal_(parameter)
    return crf


class NERModel(nn.Module):
    """Loss where tags are given, else lists of tags; the mask comes from the padding id."""

    def __init__(self, vocab_size, num_tags, embedding_dim=8, hidden_dim=6):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embedding_dim, padding_idx=PAD_ID)
        self.bilstm = nn.LSTM(embedding_dim, hidden_dim, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(0.1)
        self.classifier = nn.Linear(2 * hidden_dim, num_tags)
        self.crf = strong(CRF(num_tags, batch_first=True))

    def logits(self, input_ids):
        out, _ = self.bilstm(self.embedding(input_ids))
        return self.classifier(self.dropout(out))

    def forward(self, input_ids, labels=None):
        logits = self.logits(input_ids)
        mask = input_ids != PAD_ID
        if labels is not None:
            return -self.crf(logits, labels, mask=mask, reduction="mean")
        return self.crf.decode(logits, mask=mask)


class TimeFirstCRF(nn.Module):
    """Time first, packed, and the paths in one padded array."""

    def __init__(self, vocab, tags):
        super().__init__()
        self.word_emb = nn.Embedding(len(vocab), 6)
        self.rnn = nn.LSTM(6, 5, num_layers=2, bidirectional=True, dropout=0.2)
        self.feedforward = nn.Sequential(nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, len(tags)))
        self.crf = strong(CRF(len(tags)))

    def _emit(self, seqs, lengths):
        packed = pack_padded_sequence(self.word_emb(seqs), lengths, enforce_sorted=False)
        hidden, _ = pad_packed_sequence(self.rnn(packed)[0])
        steps = torch.arange(seqs.size(0)).unsqueeze(1)
        return self.feedforward(hidden), steps < lengths.unsqueeze(0)

    def forward(self, seqs, lengths, tags):
        emissions, mask = self._emit(seqs, lengths)
        return -self.crf(emissions, tags, mask)

    def decode(self, seqs, lengths):
        emissions, mask = self._emit(seqs, lengths)
        paths = self.crf.decode(emissions, mask)
        result = np.zeros((len(paths), max(map(len, paths))), dtype=np.int64)
        for row, path in zip(result, paths, strict=True):
            row[: len(path)] = path
        return result


class CharCnnCRF(nn.Module):
    """Words beside a character CNN with max pooling; (scores, path) as tensors."""

    def __init__(self, n_words, n_chars, n_tags):
        super().__init__()
        self.words = nn.Embedding(n_words, 7)
        self.chars = nn.Embedding(n_chars, 4, padding_idx=0)
        self.conv = nn.Conv1d(4, 6, kernel_size=3, padding=1)
        self.lstm = nn.LSTM(7 + 6, 6, bidirectional=True, batch_first=True)
        self.emit = nn.Linear(12, n_tags)
        self.crf = strong(CRF(n_tags, batch_first=True))

    def scores(self, word_ids, char_ids):
        B, S, C = char_ids.size()
        chars = self.chars(char_ids.view(B * S, C)).transpose(1, 2)
        chars, _ = torch.relu(self.conv(chars)).max(dim=2)
        x = torch.cat([self.words(word_ids), chars.view(B, S, -1)], dim=2)
        return self.emit(self.lstm(x)[0])

    def loss(self, word_ids, char_ids, tags):
        return -self.crf(self.scores(word_ids, char_ids), tags)

    def forward(self, word_ids, char_ids):
        emissions = self.scores(word_ids, char_ids)
        every = torch.ones(emissions.shape[:2], dtype=torch.bool)
        return emissions, torch.tensor(self.crf.decode(emissions, every))


class ScoreAndPath(nn.Module):
    """One sentence; predict gives the path's log-likelihood and the path."""

    def __init__(self, vocab_size, tagset_size):
        super().__init__()
        self.emb = nn.Embedding(vocab_size, 9)
        self.gru = nn.GRU(9, 8)
        self.hidden2tag = nn.Linear(8, tagset_size)
        self.crf = strong(CRF(tagset_size))

    def _features(self, sentence):
        out, _ = self.gru(self.emb(sentence).unsqueeze(1))
        return self.hidden2tag(out)

    def forward(self, sentence, tags):
        return -self.crf(self._features(sentence), tags.unsqueeze(1))

    def predict(self, sentence):
        feats = self._features(sentence)
        path = self.crf.decode(feats)[0]
        score = self.crf(feats, torch.tensor(path).unsqueeze(1))
        return score, path


def char_ids(word):
    """Exactly MAX_CHARS ids: cut, or padded with 0."""
    ids = [CHAR_TO_ID.get(char, 1) for char in word[:MAX_CHARS]]
    return ids + [0] * (MAX_CHARS - len(ids))


def words_and_chars(sentences):
    """Word ids (B, S) and character ids (B, S, MAX_CHARS)."""
    (word_ids,) = PADDED.row(sentences)
    longest = word_ids.size(1)
    rows = [[char_ids(word) for word in words] + [[0] * MAX_CHARS] * (longest - len(words)) for words in sentences]
    return word_ids, torch.tensor(rows)


def columns_and_lengths(sentences):
    """Time first."""
    ids, lengths = KNOWN.row_and_lengths(sentences)
    return ids.t(), lengths


CASES = [
    case(
        "crf_lists",
        "pytorch-crf, bidirectional",
        lambda: NERModel(len(PADDED), len(ENTITIES)),
        PADDED,
        tags=ENTITIES,
        kind="emissions",
        encode=PADDED.row,
        inner=lambda model, ids: model.logits(ids),
        pick=lambda logits: logits[0],
        path=lambda paths: paths[0],
        loss=lambda model, tags, ids: model(ids, tags[None]),
        batch=True,
    ),
    case(
        "crf_array",
        "pytorch-crf, packing, entry not forward, two layers, bidirectional, deep head",
        lambda: TimeFirstCRF(KNOWN.vocabulary, TAGS),
        KNOWN,
        kind="emissions",
        entry="decode",
        encode=columns_and_lengths,
        inner=lambda model, ids, lengths: model._emit(ids, lengths)[0],
        pick=lambda emissions: emissions[:, 0],
        path=lambda paths: paths[0].tolist(),
        loss=lambda model, tags, ids, lengths: model(ids, lengths, tags[:, None]),
        batch=True,
    ),
    case(
        "crf_tensor_char_cnn",
        "pytorch-crf, characters, bidirectional",
        lambda: CharCnnCRF(len(PADDED), len(ALPHABET), len(ENTITIES)),
        PADDED,
        tags=ENTITIES,
        kind="emissions",
        encode=words_and_chars,
        spec=Spec(
            unknown="<unk>",
            padding="<pad>",
            characters=ALPHABET,
            unknown_character="<c-unk>",
            padding_character="<c-pad>",
        ),
        pick=lambda output: output[0][0],
        path=lambda output: output[1][0].tolist(),
        loss=lambda model, tags, words, chars: model.loss(words, chars, tags[None]),
        batch=True,
    ),
    case(
        "crf_score_and_path",
        "one sentence, pytorch-crf, GRU, entry not forward",
        lambda: ScoreAndPath(len(PADDED), len(TAGS)),
        PADDED,
        kind="emissions",
        entry="predict",
        inner=lambda model, ids: model._features(ids)[:, 0],
        path=lambda output: output[1],
        loss=lambda model, tags, ids: model(ids, tags),
    ),
]
