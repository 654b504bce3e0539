"""The same weights in PyTorch as a contender, in several arrangements.

    python pytorch.py CHECKPOINT THREADS packed|bucketed|compiled ROWS

packed    batches of ROWS sentences of like length, pack_padded_sequence
bucketed  batches of up to ROWS sentences of exactly the same length: no padding, nothing to pack
compiled  the same, through torch.compile with dynamic shapes

All take the words through the predictor's own encoder and give tags.
"""

import sys
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from worker import serve

from lstm_deploy.training.checkpoint import load_checkpoint
from lstm_deploy.training.model import model_inputs


class PyTorch:
    """What worker.py asks of a contender."""

    def __init__(self, checkpoint: str, threads: int, arrangement: str, rows: int) -> None:
        torch.set_num_threads(threads)
        self._checkpoint, self._model = load_checkpoint(checkpoint)
        self._encoder = self._checkpoint.encoder()
        self._rows = rows
        self._packed = arrangement == "packed"
        self._forward: Any = self._unpadded
        if arrangement == "compiled":
            self._forward = torch.compile(self._unpadded, dynamic=True)

    def tag(self, sentences: list[list[str]]) -> list[Any]:
        order = sorted((i for i, s in enumerate(sentences) if s), key=lambda i: -len(sentences[i]))
        groups = [order] if self._packed else [list(g) for _, g in groupby(order, lambda i: len(sentences[i]))]
        tags: list[Any] = [()] * len(sentences)
        for group in groups:
            for start in range(0, len(group), self._rows):
                batch = group[start : start + self._rows]
                for i, found in zip(batch, self._run([sentences[i] for i in batch]), strict=True):
                    tags[i] = found
        return tags

    def tag_one(self, tokens: list[str]) -> Any:
        return self._run([tokens])[0]

    def _run(self, batch: list[list[str]]) -> list[Any]:
        word_ids, lengths, subword_ids = model_inputs(self._encoder.encode(batch))
        with torch.inference_mode():
            if self._packed:
                best = self._model(word_ids, lengths, subword_ids).argmax(-1)
            else:
                best = self._forward(word_ids, subword_ids)
        names = self._checkpoint.tags
        return [[names[i] for i in ids[: len(tokens)]] for tokens, ids in zip(batch, best.tolist(), strict=True)]

    def _unpadded(self, word_ids: Tensor, subword_ids: Tensor | None) -> Tensor:
        states, _ = self._model.lstm(self._model.embedding(word_ids, subword_ids))
        return self._model.head(states).argmax(-1)


if __name__ == "__main__":
    serve(PyTorch(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
