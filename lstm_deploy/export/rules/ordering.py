"""Sorting by length for packing, and back: in a batch of whole rows that never mattered, so it disappears."""

from ..lifting import Lifted, Lifter, rule
from ..program import Call, Term


def is_order(term: Term) -> bool:
    """Positions of the words sorted by their length, or the positions that put them back."""
    call = term.call
    if call is None:
        return False
    source = call.args[0] if call.args else None
    if call.name in ("sort", "argsort", "topk"):
        picks = call.name == "argsort" or term.output == 1
        return picks and isinstance(source, Term) and (_is_lengths(source) or is_order(source))
    if call.name == "scatter_":
        return any(isinstance(t, Term) and is_order(t) for t in call.args[1:])
    if call.name in ("to", "cpu", "long", "clone", "detach", "data", "contiguous", "view", "squeeze"):
        return isinstance(source, Term) and is_order(source)
    return False


def _is_lengths(term: Term) -> bool:
    if term.kind == "char_lengths":
        return True
    call = term.call
    return (
        call is not None
        and bool(call.args)
        and isinstance(call.args[0], Term)
        and (
            call.name
            in ("to", "cpu", "long", "clone", "detach", "data", "squeeze", "view", "neg", "clamp", "int", "reshape")
            and _is_lengths(call.args[0])
        )
    )


@rule("sort", "topk")
def _sort(lifter: Lifter, call: Call, output: int) -> Lifted:
    if output == 0 and isinstance(call.args[0], Term) and _is_lengths(call.args[0]):
        return lifter.lift(call.args[0])
    raise lifter.refusal(call, "sorts what was computed from the words", "treat all tokens alike")
