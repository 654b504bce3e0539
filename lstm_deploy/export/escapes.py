"""Numbers that went to Python in a run: they may decide nothing that a file would have to repeat."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .capture import LiftError, Recording, Value
from .program import Aligner, Term


def check_escapes(
    recordings: list[Recording],
    decoders: list[set[int]],
    path_of: Callable[[Recording], list[int] | None],
    aligner_of: Callable[[list[list[str]]], Aligner],
) -> None:
    """Refuses numbers that went to Python, unless they follow from the length or are the finished tags.

    Args:
        decoders: for each recording the calls of its decoder, which may do as it likes.
        path_of: the tags that a recording returned.
        aligner_of: lays recordings of these sentences over each other.

    Raises:
        LiftError: one decides something; the text names its line.
    """
    groups: dict[int, list[int]] = {}
    for i, recording in enumerate(recordings):
        groups.setdefault(len(recording.tokens), []).append(i)
    for members in groups.values():
        kept = []
        for i in members:
            path = path_of(recordings[i])
            kept.append([e for e in recordings[i].escapes if not _excused(e, decoders[i], path)])
        aligner = aligner_of([recordings[i].tokens for i in members])
        for escapes in zip(*kept, strict=False):
            term = aligner.align([e.value for e in escapes])
            lengths_alone = escapes[0].how != "__bool__" and _follows_lengths(term)
            if not term.is_static and not lengths_alone:
                raise _error(escapes[0])
        if len({len(k) for k in kept}) > 1:
            raise _error(max(kept, key=len)[-1])


def _error(escape: Any) -> LiftError:
    how = {"__bool__": "`if` or `while`", "__array__": "numpy"}.get(escape.how, escape.how)
    return LiftError(
        f"{escape.line}: a value computed from the words goes to Python ({how}), which decides or computes with it; a "
        "file for batches cannot: use torch.where or other tensor operations"
    )


def _excused(escape: Any, decoder: set[int], path: list[int] | None) -> bool:
    """Within a decoder, or the finished tags on their way out."""
    op = escape.value.op
    if id(escape) in decoder:
        return True
    if op is not None and (id(op) in decoder or _within(escape.value, decoder)):
        return True
    if path is None or escape.how == "__bool__":
        return False
    values = np.asarray(escape.result).reshape(-1).tolist()
    return values == path or (
        len(values) == 1
        and op is not None
        and op.name in ("argmax", "max", "__getitem__", "unbind")
        and _is_choice(escape.value)
    )


def _is_choice(value: Value) -> bool:
    op = value.op
    while op is not None and op.name in ("__getitem__", "unbind", "squeeze", "view", "select"):
        value = op.args[0]
        op = value.op
    return op is not None and op.name in ("argmax", "max")


def _within(value: Value, ops: set[int]) -> bool:
    seen: set[int] = set()
    stack = [value]
    while stack:
        current = stack.pop()
        if current.op is None or id(current) in seen:
            continue
        seen.add(id(current))
        if id(current.op) in ops:
            return True
        stack += current.op.inputs()
    return False


def _follows_lengths(term: Term) -> bool:
    """Worked out from the lengths of the words alone."""
    if term.call is None:
        return term.is_static or term.kind == "char_lengths"
    if term.call.name == "_pack_padded_sequence" and term.output == 1:
        return True
    inputs = term.call.inputs()
    return bool(inputs) and all(_follows_lengths(t) for t in inputs)
