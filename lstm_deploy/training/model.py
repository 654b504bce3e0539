"""The tagger as a PyTorch module: embedding, LSTM, linear head; padding never changes a tag."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from ..encoding import Inputs
from .config import ModelConfig
from .crf import LinearChainCrf
from .recurrence import padded_lstm


class WordEmbedding(nn.Module):
    """Word look-up; where there are pretrained vectors, a projection of the word's vector is added.

    The vectors stay as they are: what is learned of a word beside its vector is its row of the table. Words that only
    the vectors have keep a row of zeros.
    """

    def __init__(self, words: int, size: int, vectors: int = 0) -> None:
        super().__init__()
        self.word = nn.Embedding(words, size)
        self.projection = nn.Linear(vectors, size, bias=False) if vectors else None
        self.register_buffer("vectors", torch.zeros(words, vectors) if vectors else None)

    def words(self, word_ids: Tensor, vector_ids: Tensor | None = None) -> Tensor:
        """(batch, sequence) ids -> (batch, sequence, size); ``vector_ids``: words whose vectors are taken instead."""
        rows = self.word(word_ids)
        if self.projection is None:
            return rows
        return rows + self.projection(self.vectors[word_ids if vector_ids is None else vector_ids])

    @torch.no_grad()
    def word_rows(self) -> Tensor:
        """(words, size): each word's row with its vector's projection."""
        rows = self.word.weight
        return rows if self.projection is None else rows + self.projection(self.vectors)

    def forward(self, word_ids: Tensor, subword_ids: Tensor | None = None, vector_ids: Tensor | None = None) -> Tensor:
        """(batch, sequence) ids -> (batch, sequence, size)."""
        return self.words(word_ids, vector_ids)


class SubwordEmbedding(WordEmbedding):
    """Word look-up plus the sum of the word's hashed features, layer-normed.

    Hashed features: Weinberger et al. 2009, "Feature Hashing for Large Scale Multitask Learning".
    """

    def __init__(self, words: int, buckets: int, size: int, vectors: int = 0) -> None:
        super().__init__(words, size, vectors)
        self.subword = nn.EmbeddingBag(buckets, size, mode="sum")
        self.norm = nn.LayerNorm(size)

    def forward(self, word_ids: Tensor, subword_ids: Tensor, vector_ids: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """(batch, sequence) and (batch, sequence, feature) ids -> (batch, sequence, size)."""
        features = self.subword(subword_ids.flatten(0, 1)).view(*word_ids.shape, -1)
        return self.norm(self.words(word_ids, vector_ids) + features)


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
        self.embedding: WordEmbedding = (
            SubwordEmbedding(words, config.buckets, config.embedding, config.vectors)
            if config.subwords
            else WordEmbedding(words, config.embedding, config.vectors)
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
        self.crf = LinearChainCrf(tags) if config.crf else None

    def forward(
        self,
        word_ids: Tensor,
        lengths: Tensor,
        subword_ids: Tensor | None = None,
        vector_ids: Tensor | None = None,
    ) -> Tensor:
        """Logits of each tag.

        Args:
            word_ids: (batch, sequence) integer.
            lengths: (batch,) int64 on the CPU, each from 1 to sequence.
            subword_ids: (batch, sequence, feature) integer, for a model with subwords.
            vector_ids: (batch, sequence) words whose pretrained vectors are taken instead of the words' own.

        Returns:
            (batch, sequence, tags) float; rows past their length hold the head's bias, while training
            anything.
        """
        embedded = self.dropout(self.embedding(word_ids, subword_ids, vector_ids))  # (batch, sequence, embedding)
        if self.training:
            return self.head(self.dropout(padded_lstm(self.lstm, embedded, lengths, training=True)))
        packed = pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
        states, _ = self.lstm(packed)
        hidden, _ = pad_packed_sequence(states, batch_first=True, total_length=word_ids.shape[1])
        return self.head(hidden)

    @torch.inference_mode()
    def log_probs(self, word_ids: Tensor, lengths: Tensor, subword_ids: Tensor | None = None) -> Tensor:
        """`forward` as log-probabilities, in evaluation mode: (batch, sequence, tags)."""
        training = self.training
        self.eval()
        try:
            return self(word_ids, lengths, subword_ids).log_softmax(-1)
        finally:
            self.train(training)


def model_inputs(inputs: Inputs) -> tuple[Tensor, Tensor, Tensor | None]:
    """The encoder's arrays as the arguments of `LSTMTagger.forward`."""
    subword_ids = inputs.get("subword_ids")
    return (
        torch.from_numpy(inputs["word_ids"]),
        torch.from_numpy(inputs["lengths"]).long(),
        None if subword_ids is None else torch.from_numpy(subword_ids),
    )
