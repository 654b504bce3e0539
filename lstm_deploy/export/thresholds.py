"""Numbers in somebody's code that a sentence's length could be compared with: lengths worth proving at.

A branch such as ``if x.size(1) > 256`` leaves no trace in a recording of shorter sentences. The numbers that
the module's own functions, the globals they read and its attributes hold are few; trying the lengths around
them finds such a branch.
"""

from collections.abc import Iterator
from types import CodeType
from typing import Any

from torch import nn

from .capture import LiftError, Recording, Value

_MOST = 5000
"""Tokens: a longer sentence is not tried."""


def thresholds(module: nn.Module, above: int) -> list[int]:
    """Whole numbers from ``above`` to 5,000 in the code and attributes of the module's own classes, ascending."""
    found: set[int] = set()
    for part in module.modules():
        if type(part).__module__.startswith("torch.nn"):
            continue
        found.update(_whole(vars(part).values()))
        for value in vars(part).values():
            found.update(_of_function(value))
        for cls in type(part).__mro__:
            if not cls.__module__.startswith("torch"):
                found.update(_of_class(cls))
    return sorted(n for n in found if above < n <= _MOST)


def _of_class(cls: type) -> Iterator[int]:
    yield from _whole(vars(cls).values())
    for method in vars(cls).values():
        yield from _of_function(getattr(method, "__func__", method))


def _of_function(function: Any, depth: int = 0) -> Iterator[int]:
    """In its code, and in what it closes over."""
    code = getattr(function, "__code__", None)
    if code is None or depth > 3:
        return
    yield from _of_code(code, function.__globals__)
    for cell in function.__closure__ or ():
        try:
            value = cell.cell_contents
        except ValueError:  # not filled yet
            continue
        yield from _whole([value])
        yield from _of_function(value, depth + 1)


def _of_code(code: CodeType, names: dict[str, Any]) -> Iterator[int]:
    yield from _whole(code.co_consts)
    yield from _whole(names.get(name) for name in code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _of_code(constant, names)


def _whole(values: Any) -> Iterator[int]:
    for value in values:
        if isinstance(value, int) and not isinstance(value, bool):
            yield value
        elif isinstance(value, (tuple, list)) and len(value) < 16:
            yield from _whole(value)


def check_slices(recordings: list[Recording]) -> None:
    """Refuses stretches that end at a fixed number of tokens: ``x[:, :256]`` cuts longer sentences.

    Raises:
        LiftError: there is one; the text names its line.
    """
    ends: dict[tuple[Any, int], set[int]] = {}
    for recording in recordings:
        n = len(recording.tokens)
        for op in recording.ops:
            if op.name != "__getitem__" or not isinstance(op.args[0], Value):
                continue
            index = op.args[1] if isinstance(op.args[1], tuple) else (op.args[1],)
            for size, part in zip(op.args[0].tensor.shape, index, strict=False):
                if size == n and isinstance(part, slice) and isinstance(part.stop, int) and n < part.stop < 2**31:
                    ends.setdefault((op.line, part.stop), set()).add(n)
    for (line, stop), lengths in ends.items():
        if len(lengths) > 1:
            raise LiftError(
                f"{line}: takes the first {stop} tokens of a sentence; give every token of any sentence an answer"
            )
