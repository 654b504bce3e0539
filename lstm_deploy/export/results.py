"""What somebody's tagger returned: scores of tags, or a path of them, in whatever it wraps them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .capture import LiftError, Recording, Subject, Value, replaced


class Results:
    """Finds scores and tags in what the entry returns.

    Attributes:
        gives_path: tags alone are returned; their scores are inside.
    """

    def __init__(self, subject: Subject, tags: tuple[str, ...], transitions: set[str]) -> None:
        self.subject = subject
        self.tags = tags
        self._parameters = transitions
        self.gives_path = False

    def of(self, recording: Recording) -> Any:
        """The value of the scores; or the path, as a list, where only that is returned."""
        n, count = len(recording.tokens), len(self.tags)
        found = self.scores_in(recording.result, n, count)
        if found is not None:
            self._check_alone(recording, found)
        if found is not None and not (self._parameters and uses(recording, self._parameters) and self.path(recording)):
            return found
        path = self.path(recording)
        if path is not None:
            return path
        raise LiftError(
            f"{self.subject.source}: returns {_described(recording.result)} for {n} words; expected {n} x {count} "
            f"scores or {n} tag ids; pass the entry that tags, and the tags that it scores"
        )

    def tags_beside(self, recording: Recording) -> list[int] | None:
        """Tag ids that are returned beside scores, computed in the run: they are the module's choice."""
        beside: list[Value] = []
        n = len(recording.tokens)
        replaced(
            recording.result,
            lambda x: (
                beside.append(x)
                if isinstance(x, Value) and x.op is not None and x.tensor.dtype == torch.int64 and x.tensor.numel() == n
                else None
            ),
        )
        paths = [p for v in beside if (p := _path_in(v, n, len(self.tags))) is not None]
        return paths[0] if len(paths) == 1 and n > 1 else None

    def _check_alone(self, recording: Recording, found: Any) -> None:
        """No second set of scores in the result that would choose other tags."""
        if not isinstance(found, Value) or len(recording.tokens) == len(self.tags):
            return
        others: list[Value] = []
        shape = [s for s in found.tensor.shape if s != 1]
        replaced(
            recording.result,
            lambda x: (
                others.append(x)
                if isinstance(x, Value) and x is not found and x.tensor.is_floating_point() and _shape(x) == shape
                else None
            ),
        )
        axis = -1 if found.tensor.shape[-1] == len(self.tags) else None
        for other in others:
            if axis is None or not torch.equal(found.tensor.argmax(axis), other.tensor.argmax(axis)):
                raise LiftError(
                    f"{self.subject.source}: returns two sets of {len(recording.tokens)} x {len(self.tags)} scores "
                    "that choose other tags; export a method that returns the one to use (entry=...)"
                )

    def path(self, recording: Recording) -> list[int] | None:
        """Tag ids in a result, one per token; tags may be given by name."""
        ids = {name: i for i, name in enumerate(self.tags)}
        tree = replaced(recording.result, lambda x: ids.get(x, x) if isinstance(x, str) else x)
        return _path_in(tree, len(recording.tokens), len(self.tags))

    def scores_in(self, tree: Any, n: int, count: int) -> Any:
        """The first value, or list with one per token, that has a score for each token and tag; None without."""
        if isinstance(tree, Value):
            shape = [s for s in tree.tensor.shape if s != 1]
            fits = sorted(shape) == sorted(s for s in (n, count) if s != 1) or shape == [n * count]
            return tree if fits and tree.tensor.is_floating_point() else None
        if (
            isinstance(tree, list)
            and len(tree) == n
            and n > 1
            and all(isinstance(v, Value) and v.tensor.numel() == count and v.tensor.is_floating_point() for v in tree)
        ):
            return tree
        items = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, (list, tuple)) else ()
        return next((f for item in items if (f := self.scores_in(item, n, count)) is not None), None)

    def scores(self, recording: Recording, found: Any) -> Any:
        """The scores behind a result: of a path, what its best were chosen from."""
        if isinstance(found, Value) or (isinstance(found, list) and found and isinstance(found[0], Value)):
            return found
        n, count = len(recording.tokens), len(self.tags)
        self.gives_path = True
        for op in reversed(recording.ops):
            if op.name in ("argmax", "max", "topk", "sort") and isinstance(op.args[0], Value):
                chosen = [v for v in op.outputs if not v.tensor.is_floating_point()]
                if (
                    chosen
                    and chosen[0].tensor.reshape(-1).tolist()[:n] == found
                    and op.args[0].tensor.numel() == n * count
                ):
                    return op.args[0]
        per_token = [
            (op, op.args[0])
            for op in recording.ops
            if op.name in ("argmax", "max") and isinstance(op.args[0], Value) and op.args[0].tensor.numel() == count
        ]
        best = [int(op.outputs[-1].tensor) for op, _ in per_token]
        if best == found:
            return [scores for _, scores in per_token]
        raise LiftError(
            f"{self.subject.source}: returns tags whose scores cannot be found (they are neither the best of {n} x "
            f"{count} scores nor a CRF's best path); export a method that returns scores, or name it as entry"
        )


def _path_in(tree: Any, n: int, count: int) -> list[int] | None:
    """``n`` tag ids in a result: a list, or a tensor of whole numbers."""
    if isinstance(tree, Value):
        tensor = tree.tensor
        if tensor.numel() == n and not tensor.is_floating_point() and tensor.dtype != torch.bool:
            ids = tensor.reshape(-1).tolist()
            return ids if all(0 <= i < count for i in ids) else None
        return None
    if isinstance(tree, np.ndarray):
        tree = tree.reshape(-1).tolist()
    if isinstance(tree, (list, tuple)) and len(tree) == n:
        ids = [_whole(item) for item in tree]
        if all(i is not None and 0 <= i < count for i in ids):
            return [int(i) for i in ids]  # type: ignore[arg-type]
    items = tree.values() if isinstance(tree, Mapping) else tree if isinstance(tree, (list, tuple)) else ()
    return next((f for item in items if (f := _path_in(item, n, count)) is not None), None)


def _whole(item: Any) -> int | None:
    if isinstance(item, Value) and item.tensor.numel() == 1 and not item.tensor.is_floating_point():
        return int(item.tensor)
    if isinstance(item, (int, np.integer)) and not isinstance(item, bool):
        return int(item)
    if isinstance(item, (list, tuple)) and len(item) == 1:
        return _whole(item[0])
    return None


def _shape(value: Value) -> list[int]:
    return [s for s in value.tensor.shape if s != 1]


def is_turned(scores: Tensor, n: int, count: int) -> bool:
    """(tags, tokens) rather than (tokens, tags)."""
    return n != count and [s for s in scores.shape if s != 1] == [count, n]


def token_major(scores: Tensor, n: int, count: int, *, turned: bool) -> Tensor:
    """(tokens, tags), whatever axes of 1 there are beside them."""
    return scores.reshape(count, n).T if turned else scores.reshape(n, count)


def uses(recording: Recording, parameters: set[str]) -> bool:
    """Whether a run touched any of these parameters."""
    values = [v for op in recording.ops for v in op.inputs()] + [e.value for e in recording.escapes]
    return any(v.parameter in parameters for v in values)


def _described(tree: Any) -> str:
    if isinstance(tree, Value):
        return f"a tensor {tuple(tree.tensor.shape)}"
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{k}: {_described(v)}" for k, v in list(tree.items())[:4]) + "}"
    if isinstance(tree, (list, tuple)):
        return f"[{', '.join(_described(v) for v in tree[:3])}{', ...' if len(tree) > 3 else ''}] of {len(tree)}"
    return type(tree).__name__
