"""The two sides of the bare comparison: onnxruntime and PyTorch on the same weights and batches, ids in, tags out.

Batches come in two arrangements: ``ragged``, sentences of like length under a budget of cells, padded, packed by
PyTorch and masked by lengths in onnxruntime; and ``equal``, sentences of one length, with nothing padded and nothing
packed. A third is ours alone: ``few shapes``, the ragged one rounded as the predictor does it.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from benchmarks.gpu.models import Oracle
from lstm_deploy.batching import plan_batches
from lstm_deploy.encoding import Encoder, Inputs
from lstm_deploy.session import TaggerSession

Arrangement = Literal["ragged", "equal", "few shapes"]


def arranged(encoder: Encoder, sentences: Sequence[list[str]], arrangement: Arrangement, budget: int) -> list[Inputs]:
    """The batches, longest first; rows of each, too."""
    lengths = [len(sentence) for sentence in sentences]
    if arrangement != "equal":
        rounded = arrangement == "few shapes"
        plan = plan_batches(lengths, max_tokens=budget, rounded=rounded)
        return [encoder.encode([sentences[i] for i in batch], rounded=rounded) for batch in plan]
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    found = []
    for length, group in groupby(order, lambda i: lengths[i]):
        alike = list(group)
        rows = max(budget // length, 1)
        for start in range(0, len(alike), rows):
            found.append(encoder.encode([sentences[i] for i in alike[start : start + rows]]))
    return found


def run_plain(session: TaggerSession, batches: Sequence[Inputs]) -> None:
    """onnxruntime's own ``run``: arrays in, tags out."""
    for inputs in batches:
        session._session.run(["tag_ids"], inputs)


def run_bound(session: TaggerSession, batches: Sequence[Inputs]) -> None:
    """Our session, which on CUDA binds inputs and outputs."""
    for inputs in batches:
        session.run_encoded(inputs, scores=False)


def run_shared(session: TaggerSession, batches: Sequence[Inputs], threads: int) -> Callable[[], None]:
    """A job that runs them on one session from several threads, which stay between calls."""
    pool = ThreadPoolExecutor(threads)

    def job() -> None:
        for _ in pool.map(lambda inputs: session.run_encoded(inputs, scores=False), batches):
            pass

    return job


class PyTorchSide:
    """Batches of one arrangement as PyTorch takes them; ids start on the host and tags end there, as in onnxruntime.

    Args:
        oracle: on the device.
        batches: of words alone.
        packed: whether they are ragged.
    """

    def __init__(self, oracle: Oracle, batches: Sequence[Inputs], *, packed: bool) -> None:
        self._oracle = oracle
        self._packed = packed
        self._device = oracle.head.weight.device
        pin = self._device.type == "cuda"
        self._batches = []
        for inputs in batches:
            ids = torch.from_numpy(inputs["word_ids"])
            lengths = torch.from_numpy(inputs["lengths"].astype(np.int64))
            self._batches.append((ids.pin_memory() if pin else ids, lengths))

    @torch.inference_mode()
    def fetched(self) -> list[Any]:
        """The tags of each batch are waited for before the next is started, as onnxruntime's ``run`` does."""
        return [self._tags(*batch).cpu() for batch in self._batches]

    @torch.inference_mode()
    def queued(self) -> list[Any]:
        """All batches are handed to the GPU before the first answer is fetched."""
        found = [self._tags(*batch) for batch in self._batches]
        return [tags.cpu() for tags in found]

    def _tags(self, ids: Tensor, lengths: Tensor) -> Tensor:
        on_device = ids.to(self._device, non_blocking=True)
        logits = self._oracle.packed(on_device, lengths) if self._packed else self._oracle.full(on_device)
        return logits.argmax(-1).to(torch.int32)
