"""The tagger as a PyTorch module: embedding, LSTM, linear head; padding never changes a tag."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from .config import ModelConfig


class WordEmbedding(nn.Module):
    """Plain word lookup."""

    def __init__(self, words: int, size: int) -> None:
        super().__init__()
        self.word = nn.Embedding(words, size)

    def forward(self, word_ids: Tensor, subword_ids: Tensor | None = None) -> Tensor:
        """(batch, sequence) ids -> (batch, sequence, size)."""
        return self.word(word_ids)


class SubwordEmbedding(nn.Module):
    """Word lookup plus the sum of the word's hashed features, layer-normed.

    Hashed features: Weinberger et al. 2009, "Feature Hashing for Large Scale Multitask Learning".
    """

    def __init__(self, words: int, buckets: int, size: int) -> None:
        super().__init__()
        self.word = nn.Embedding(words, size)
        self.subword = nn.EmbeddingBag(buckets, size, mode="sum")
        self.norm = nn.LayerNorm(size)

    def forward(self, word_ids: Tensor, subword_ids: Tensor) -> Tensor:
        """(batch, sequence) and (batch, sequence, feature) ids -> (batch, sequence, size)."""
        features = self.subword(subword_ids.flatten(0, 1)).view(*word_ids.shape, -1)
        return self.norm(self.word(word_ids) + features)


class LSTMTagger(nn.Module):
    """Scores of each tag for each token of a ragged batch.

    Args:
        config: the architecture.
        words: rows of the word table.
        tags: how many tags there are.
    """

    def __init__(self, config: ModelConfig, *, words: int, tags: int) -> None:
        super().__init__()
        self.config = config
        self.embedding: WordEmbedding | SubwordEmbedding = (
            SubwordEmbedding(words, config.buckets, config.embedding)
            if config.subwords
            else WordEmbedding(words, config.embedding)
        )
        self.dropout = nn.Dropout(config.dropout)
        self.lstm = nn.LSTM(
            config.embedding,
            config.hidden,
            config.layers,
            batch_first=True,
            bidirectional=config.bidirectional,
            dropout=config.dropout if config.layers > 1 else 0.0,
        )
        self.head = nn.Linear(config.hidden * (1 + config.bidirectional), tags)

    def forward(self, word_ids: Tensor, lengths: Tensor, subword_ids: Tensor | None = None) -> Tensor:
        """Logits of each tag.

        Args:
            word_ids: (batch, sequence) integer.
            lengths: (batch,) int64 on the CPU, each from 1 to sequence.
            subword_ids: (batch, sequence, feature) integer, for a model with subwords.

        Returns:
            (batch, sequence, tags) float; rows past their length hold the head's bias.
        """
        embedded = self.dropout(self.embedding(word_ids, subword_ids))  # (batch, sequence, embedding)
        packed = pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
        states, _ = self.lstm(packed)
        hidden, _ = pad_packed_sequence(states, batch_first=True, total_length=word_ids.shape[1])
        return self.head(self.dropout(hidden))

    @torch.inference_mode()
    def log_probs(self, word_ids: Tensor, lengths: Tensor, subword_ids: Tensor | None = None) -> Tensor:
        """`forward` as log-probabilities, in evaluation mode: (batch, sequence, tags)."""
        training = self.training
        self.eval()
        try:
            return self(word_ids, lengths, subword_ids).log_softmax(-1)
        finally:
            self.train(training)
