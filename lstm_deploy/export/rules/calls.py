"""What the rules read of a recorded call."""

from typing import Any

from ..lifting import Dims, Lifted, Lifter
from ..program import Call


def argument(call: Call, place: int, name: str, default: Any = None) -> Any:
    """An argument by place or name."""
    if len(call.args) > place:
        return call.args[place]
    return call.kwargs.get(name, default)


def operand(lifter: Lifter, call: Call) -> Lifted:
    """The first argument."""
    return lifter.lift(argument(call, 0, "input"))


def out_dims(lifter: Lifter, call: Call, output: int) -> Dims:
    """The author's axes of a result."""
    return lifter.dims(call.outputs[output])
