"""Taggers that look into words: characters, or pieces of them."""

import string

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.rnn import pack_padded_sequence

from .case import KNOWN, PADDED, TAGS, Spec, Words, case

CHAR_TO_IX = {letter: number for number, letter in enumerate(string.ascii_letters + ".,")}
CHARSET = ["<pad>", "<unk>", *string.ascii_letters, ".", ","]
CHAR_ID = {char: number for number, char in enumerate(CHARSET)}
KNOWN_WITH_CHARACTERS = Words(KNOWN.vocabulary, Spec(characters=CHAR_TO_IX))
PADDED_WITH_CHARACTERS = Words(
    PADDED.vocabulary,
    Spec(
        unknown="<unk>",
        padding="<pad>",
        characters=CHARSET,
        unknown_character="<unk>",
        padding_character="<pad>",
    ),
)


class DualLSTMTagger(nn.Module):
    """The tutorial's exercise: the final state of a character LSTM beside each word."""

    def __init__(self, n_words, n_chars, n_tags, word_dim=6, char_dim=4, char_hidden=3, hidden=6):
        super().__init__()
        self.char_hidden = char_hidden
        self.word_embedding = nn.Embedding(n_words, word_dim)
        self.char_embedding = nn.Embedding(n_chars, char_dim)
        self.char_lstm = nn.LSTM(char_dim, char_hidden)
        self.lstm = nn.LSTM(word_dim + char_hidden, hidden)
        self.hidden2tag = nn.Linear(hidden, n_tags)

    def forward(self, sentence, words):
        char_reprs = []
        for word in words:
            char_embeds = self.char_embedding(word)
            _, (last, _) = self.char_lstm(char_embeds.view(len(word), 1, -1))
            char_reprs.append(last.view(1, -1))
        embeds = torch.cat((self.word_embedding(sentence), torch.cat(char_reprs)), dim=1)
        lstm_out, _ = self.lstm(embeds.view(len(sentence), 1, -1))
        tag_space = self.hidden2tag(lstm_out.view(len(sentence), -1))
        return F.log_softmax(tag_space, dim=1)


class PackedCharacters(nn.Module):
    """A BiLSTM over the characters of all words at once, sorted by the words' lengths."""

    def __init__(self, word_vocab, char_vocab, tagset):
        super().__init__()
        self.wemb = nn.Embedding(word_vocab, 7)
        self.cemb = nn.Embedding(char_vocab, 5, padding_idx=0)
        self.clstm = nn.LSTM(5, 3, batch_first=True, bidirectional=True)
        self.wlstm = nn.LSTM(7 + 6, 6, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(12, tagset)

    def forward(self, words, chars, char_lens):
        # words (1, n), chars (n, longest word), char_lens (n,)
        char_lens, perm = torch.sort(char_lens, descending=True)
        cembs = pack_padded_sequence(self.cemb(chars[perm]), char_lens.tolist(), batch_first=True)
        _, (h_n, _) = self.clstm(cembs)
        h_n = torch.cat([h_n[0], h_n[1]], dim=-1)
        _, recover = torch.sort(perm)
        cfeat = h_n[recover].unsqueeze(0)
        x = self.dropout(torch.cat([self.wemb(words), cfeat], dim=-1))
        out, _ = self.wlstm(x)
        return self.fc(self.dropout(out))


class CharCNN(nn.Module):
    """Two widths of convolution over characters, the best of each; padding cannot win."""

    def __init__(self, word_size, char_size, tag_size):
        super().__init__()
        self.word_emb = nn.Embedding(word_size, 8)
        self.char_emb = nn.Embedding(char_size, 5, padding_idx=0)
        self.convs = nn.ModuleList([nn.Conv1d(5, 4, k, padding=k // 2) for k in (1, 3)])
        self.lstm = nn.LSTM(8 + 8, 6, num_layers=2, batch_first=True, bidirectional=True, dropout=0.1)
        self.head = nn.Sequential(nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, tag_size))

    def char_features(self, chars):
        B, n, c = chars.shape
        flat = chars.reshape(B * n, c)
        e = self.char_emb(flat).permute(0, 2, 1)
        feats = []
        for conv in self.convs:
            y = conv(e).masked_fill((flat == 0).unsqueeze(1), -1e9)
            feats.append(F.max_pool1d(y, kernel_size=c).squeeze(2))
        return torch.tanh(torch.cat(feats, dim=1)).reshape(B, n, -1)

    def forward(self, words, chars):
        x = torch.cat([self.word_emb(words), self.char_features(chars)], dim=-1)
        return self.head(self.lstm(x)[0])


class Speller(nn.Module):
    """Takes the words themselves and spells them, one at a time."""

    def __init__(self, word_to_ix, char_to_ix, n_tags):
        super().__init__()
        self.word_to_ix = word_to_ix
        self.char_to_ix = char_to_ix
        self.word_embeddings = nn.Embedding(len(word_to_ix), 6)
        self.char_embeddings = nn.Embedding(len(char_to_ix), 4)
        self.char_lstm = nn.LSTM(4, 5)
        self.lstm = nn.LSTM(11, 7)
        self.hidden2tag = nn.Linear(7, n_tags)

    def forward(self, sentence):
        embeds = []
        for word in sentence:
            char_ids = torch.tensor([self.char_to_ix[c] for c in word], dtype=torch.long)
            char_out, _ = self.char_lstm(self.char_embeddings(char_ids).unsqueeze(1))
            word_id = torch.tensor(self.word_to_ix[word], dtype=torch.long)
            embeds.append(torch.cat([self.word_embeddings(word_id), char_out[-1, 0]]))
        lstm_out, _ = self.lstm(torch.stack(embeds).unsqueeze(1))
        return self.hidden2tag(lstm_out.squeeze(1))


class SpellerGRU(nn.Module):
    """Word ids and the words; a dictionary with a default, a bidirectional GRU over each word."""

    def __init__(self, vocab_size, chars, tagset_size):
        super().__init__()
        self.chars = {c: i for i, c in enumerate(chars)}
        self.unk = self.chars["<unk>"]
        self.embed = nn.Embedding(vocab_size, 6)
        self.char_embed = nn.Embedding(len(chars), 3)
        self.char_gru = nn.GRU(3, 4, bidirectional=True, batch_first=True)
        self.gru = nn.GRU(14, 5, bidirectional=True, batch_first=True)
        self.out = nn.Linear(10, tagset_size)

    def spell(self, word):
        ids = torch.LongTensor([[self.chars.get(c, self.unk) for c in word]])
        _, h = self.char_gru(self.char_embed(ids))
        return h.view(-1)

    def tag(self, ids, words):
        spelled = torch.stack([self.spell(w) for w in words])
        x = torch.cat((self.embed(ids), spelled), 1)
        x, _ = self.gru(x[None])
        return F.log_softmax(self.out(x[0]), -1)


class Pieces(nn.Module):
    """A word is the mean of its pieces, padded with 0, as a word-piece tokenizer gives them."""

    def __init__(self, n_pieces, n_tags):
        super().__init__()
        self.piece_embedding = nn.Embedding(n_pieces, 8, padding_idx=0)
        self.encoder = nn.LSTM(8, 6, bidirectional=True, batch_first=True)
        self.classifier = nn.Linear(12, n_tags)

    def forward(self, pieces):
        # (batch, words, pieces)
        mask = (pieces != 0).unsqueeze(-1).float()
        words = (self.piece_embedding(pieces) * mask).sum(2) / mask.sum(2).clamp(min=1)
        hidden, _ = self.encoder(words)
        return self.classifier(hidden)


def sentence_and_words(sentences):
    """Word ids, and a list of character ids for each word."""
    words = sentences[0]
    ids = torch.tensor(KNOWN.ids(words))
    return ids, [torch.tensor([CHAR_TO_IX[c] for c in word]) for word in words]


def spelled(words):
    """Character ids (n, longest word) padded with 0, and their lengths."""
    lengths = [len(word) for word in words]
    rows = [[CHAR_ID.get(c, 1) for c in word] + [0] * (max(lengths) - len(word)) for word in words]
    return torch.tensor(rows), torch.tensor(lengths)


def packed_arguments(sentences):
    """Word ids (1, n), characters and their lengths."""
    return *PADDED.row(sentences), *spelled(sentences[0])


def cnn_arguments(sentences):
    """Word ids (B, n) and characters (B, n, longest word)."""
    (ids,) = PADDED.row(sentences)
    chars, _ = spelled([word for words in sentences for word in words])
    rows = torch.zeros(*ids.shape, chars.size(1), dtype=torch.long)
    rows[ids > 0] = chars
    return ids, rows


PIECES = ["<pad>", *sorted({piece for word in KNOWN.vocabulary for piece in (word[:2], word[2:4], word[4:])} - {""})]
PIECE_ID = {piece: number for number, piece in enumerate(PIECES)}


def pieces(sentences):
    """Piece ids (B, n, 3): two letters, two letters, and the rest."""
    longest = max(map(len, sentences))
    rows = torch.zeros(len(sentences), longest, 3, dtype=torch.long)
    for row, words in zip(rows, sentences, strict=True):
        for i, word in enumerate(words):
            row[i] = torch.tensor([PIECE_ID.get(piece, 0) for piece in (word[:2], word[2:4], word[4:])])
    return (rows,)


CASES = [
    case(
        "tutorial_characters",
        "one sentence, view(len,1,-1), characters, stacked, log-softmax",
        lambda: DualLSTMTagger(len(KNOWN), len(CHAR_TO_IX), len(TAGS)),
        KNOWN_WITH_CHARACTERS,
        kind="log_probs",
        encode=sentence_and_words,
    ),
    case(
        "packed_characters",
        "characters, packing, sorted by length, bidirectional, dropout",
        lambda: PackedCharacters(len(PADDED), len(CHARSET), len(TAGS)),
        PADDED_WITH_CHARACTERS,
        encode=packed_arguments,
        pick=lambda out: out[0],
    ),
    case(
        "char_cnn",
        "characters, two layers, bidirectional, deep head",
        lambda: CharCNN(len(PADDED), len(CHARSET), len(TAGS)),
        PADDED_WITH_CHARACTERS,
        encode=cnn_arguments,
        pick=lambda out: out[0],
        batch=True,
    ),
    case(
        "spelled_in_forward",
        "one sentence, characters, words as strings",
        lambda: Speller(KNOWN.vocabulary, CHAR_TO_IX, len(TAGS)),
        KNOWN_WITH_CHARACTERS,
        encode=lambda sentences: (sentences[0],),
    ),
    case(
        "spelled_by_gru",
        "one sentence, characters, words as strings, GRU, entry not forward, bidirectional, log-softmax",
        lambda: SpellerGRU(len(PADDED), CHARSET, len(TAGS)),
        PADDED_WITH_CHARACTERS,
        kind="log_probs",
        entry="tag",
        encode=lambda sentences: (torch.tensor(PADDED.ids(sentences[0])), sentences[0]),
    ),
    case(
        "mean_of_pieces",
        "characters, subwords, bidirectional",
        lambda: Pieces(len(PIECES), len(TAGS)),
        KNOWN,
        encode=pieces,
        pick=lambda out: out[0],
        batch=True,
    ),
]
