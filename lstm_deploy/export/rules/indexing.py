"""Indexing, as operators: features are cut, axes of 1 vanish, all tokens stay, the first or last may be taken."""

from typing import Any

import numpy as np
import torch

from ..lifting import TIME, Dims, Lifted, Lifter, rule
from ..program import Call, Term, Varying, choice_in
from .calls import out_dims
from .ordering import is_order


def indexed(lifter: Lifter, call: Call, output: int) -> Lifted:
    """``x[...]`` and its relatives."""
    x = lifter.lift(call.args[0])
    parts = _parts(call, output, len(x.dims))
    if any(isinstance(p, Term) for p in parts):
        return _by_tensor(lifter, x, parts, call, output)
    done: list[tuple[Any, ...]] = []
    rest = list(x.dims)
    for part in parts:
        if part is None:
            done.append(())
            continue
        name, keep = _one(lifter, Lifted(x.name, (*done, *rest), x.token), len(done), part, call)
        rest = rest[1:]
        done += [] if keep is None else [keep]
        x = Lifted(name, (*done, *rest), x.token)
    return Lifted(x.name, (*done, *rest), x.token)


def _one(lifter: Lifter, x: Lifted, place: int, part: Any, call: Call) -> tuple[str, tuple[Any, ...] | None]:
    """One axis indexed: the graph's value, and what is left of the axis (None: nothing)."""
    dim = x.dims[place]
    if isinstance(part, slice):
        return _stretch(lifter, x, place, part, call)
    if not dim:
        return x.name, None
    if dim == (TIME,):
        return _one_token(lifter, x, place, part, call), None
    if len(dim) == 1 and not isinstance(dim[0], int) and part in (0, -1):
        if part == 0:
            return lifter.node("Gather", [x.name, lifter.array(np.array(0, np.int64))], axis=x.axis(place)), None
        return _at(lifter, x, x.axis(place)), None
    if not isinstance(dim[0], int) or len(dim) > 1 or not isinstance(part, int):
        raise lifter.refusal(call, "takes one letter, or a part of merged axes", "take features of each token")
    index = lifter.array(np.array(part % dim[0], np.int64))
    return lifter.node("Gather", [x.name, index], axis=x.axis(place)), None


def _stretch(lifter: Lifter, x: Lifted, place: int, part: slice, call: Call) -> tuple[str, tuple[Any, ...]]:
    dim = x.dims[place]
    if part == slice(None) or not dim:
        return x.name, dim
    if dim == (TIME,):
        if _is_all(lifter, part):
            return x.name, dim
        if (part.start, part.stop) in ((None, 1), (0, 1), (-1, None)) and part.step in (None, 1):
            return _one_token(lifter, x, place, -1 if part.start == -1 else 0, call), ()
        raise lifter.refusal(call, "takes some of the tokens away", "keep one position per token")
    if not isinstance(dim[0], int) or len(dim) > 1:
        raise lifter.refusal(call, "takes some of the letters away", "keep them all")
    start, stop, step = part.indices(dim[0])
    count = len(range(start, stop, step))
    axis = x.axis(place)
    name = lifter.node("Slice", [x.name, *(lifter.ints(v) for v in (start, stop, axis, step))])
    if count == 1:
        return lifter.node("Squeeze", [name, lifter.ints(axis)]), ()
    return name, (count,)


def _one_token(lifter: Lifter, x: Lifted, place: int, part: Any, call: Call) -> str:
    """The first or last token of each sentence."""
    counts = lifter.sizes.tokens
    values = np.array(part.values) if isinstance(part, Varying) else np.full(len(counts), part)
    if x.times != 1 or x.token:
        raise lifter.refusal(call, "takes one token out of two axes of tokens", "reduce one first")
    if (values == 0).all():
        return lifter.node("Gather", [x.name, lifter.array(np.array(0, np.int64))], axis=0)
    if not (values % counts == counts - 1).all():
        raise lifter.refusal(
            call, "takes one token by its position", "treat all tokens alike, or take the first or last"
        )
    return _at(lifter, x, 0)


def _at(lifter: Lifter, x: Lifted, axis: int) -> str:
    """What stands last on an axis, which is gone then."""
    chosen = lifter.node("Where", [lifter.last(x, axis), x.name, lifter.scalar(0.0)])
    return lifter.node("ReduceSum", [chosen, lifter.ints(axis)], keepdims=0)


def _parts(call: Call, output: int, rank: int) -> list[Any]:
    """The index, one part per axis of the value (and None for new ones)."""
    name, rest = call.name, list(call.args[1:])
    if name == "unbind":
        dim = (rest[0] if rest else call.kwargs.get("dim", 0)) % rank
        return [output if i == dim else slice(None) for i in range(rank)]
    if name in ("select", "narrow", "index_select", "gather"):
        rest += list(call.kwargs.values())
        dim = rest[0] % rank
        part = slice(rest[1], rest[1] + rest[2]) if name == "narrow" else rest[1]
        return [part if i == dim else slice(None) for i in range(rank)]
    index = rest[0]
    given = list(index) if isinstance(index, (tuple, list)) else [index]
    if isinstance(index, list):
        given = [index]
    used = sum(_axes_of(p) for p in given)
    if Ellipsis in [p for p in given if not isinstance(p, Term)]:
        at = next(i for i, p in enumerate(given) if p is Ellipsis)
        return [*given[:at], *[slice(None)] * (rank - used), *given[at + 1 :]]
    return [*given, *[slice(None)] * (rank - used)]


def _axes_of(part: Any) -> int:
    if part is None or part is Ellipsis:
        return 0
    if (
        isinstance(part, Term)
        and part.tensors[0].dtype.is_floating_point is False
        and part.tensors[0].dtype.itemsize == 1
    ):
        return part.tensors[0].dim()  # a mask stands for all of its axes
    return 1


def _is_all(lifter: Lifter, part: slice) -> bool:
    """A stretch from the first token to the last."""

    def values(bound: Any) -> Any:
        return np.array(bound.values) if isinstance(bound, Varying) else bound

    start, stop = values(part.start), values(part.stop)
    counts = lifter.sizes.tokens
    starts = start is None or bool((np.asarray(start) == 0).all())
    ends = stop is None or bool((np.broadcast_to(stop, counts.shape) >= counts).all())
    return starts and ends and part.step in (None, 1)


def _by_tensor(lifter: Lifter, x: Lifted, parts: list[Any], call: Call, output: int) -> Lifted:
    """An index that is a tensor: all of an axis (a mask of ones, the identity), or fixed features."""
    terms = [(i, p) for i, p in enumerate(parts) if isinstance(p, Term)]
    if (letters := _last_letters(lifter, x, terms)) is not None:
        return lifter.regrouped(letters, lifter.dims(call.outputs[output]), call)
    if len(terms) != 1 or any(p != slice(None) for i, p in enumerate(parts) if i != terms[0][0]):
        raise lifter.refusal(call, "indexes with several tensors", "index one axis at a time")
    (at, index), dims = terms[0], lifter.dims(call.outputs[output])
    if not x.dims[at] and all(t.numel() == 1 for t in index.tensors):
        return lifter.regrouped(x, dims, call)
    if before_order(x, at) and is_order(index):
        return Lifted(x.name, dims, x.token)  # sorted for packing; put back later, which the proof sees
    if not index.is_static:
        raise lifter.refusal(
            choice_in(index) or call,
            "picks tokens by what was computed from the words",
            "treat all tokens alike; sort outside of the module",
        )
    before: Dims = x.dims
    if index.tensors[0].dtype.itemsize == 1:
        if all(bool(t.all()) for t in index.tensors):
            return lifter.regrouped(x, dims, call)
        raise lifter.refusal(call, "a mask takes tokens away from a whole sentence", "keep one position per token")
    if before[at] == (TIME,) and all(t.tolist() == list(range(len(t))) for t in index.tensors):
        return lifter.regrouped(x, dims, call)
    if len(before[at]) == 1 and isinstance(before[at][0], int) and index.is_constant and index.tensors[0].dim() == 1:
        name = lifter.node("Gather", [x.name, lifter.array(lifter.weight(index))], axis=x.axis(at))
        if index.tensors[0].numel() == 1:
            name = lifter.node("Squeeze", [name, lifter.ints(x.axis(at))])
        return Lifted(name, dims, x.token)
    raise lifter.refusal(call, "puts tokens into another order", "flip, or keep the order of the text")


def _last_letters(lifter: Lifter, x: Lifted, terms: list[tuple[int, Term]]) -> Lifted | None:
    """``states[range(words), lengths - 1]`` or a gather of it: each word's last letter."""
    (at, index) = terms[-1]
    if len(x.dims) <= at or len(x.dims[at]) != 1 or isinstance(x.dims[at][0], int) or x.dims[at] == (TIME,) or x.token:
        return None
    for tensor, words in zip(index.tensors, lifter.sizes.words, strict=True):
        last = [len(word) - 1 for word in words]
        numbers = tensor.reshape(len(words), -1) if tensor.numel() % len(words) == 0 else tensor.reshape(1, -1)
        if numbers.shape[0] != len(words) or not (numbers == torch.tensor(last)[:, None]).all():
            return None
    if len(terms) == 2:
        rows = terms[0][1]
        if any(
            t.reshape(-1).tolist() != list(range(len(w))) for t, w in zip(rows.tensors, lifter.sizes.words, strict=True)
        ):
            return None
    axis = x.axis(at)
    lifter.used.add("char_lengths")
    ends = lifter._once("time_first_char_lengths", "Transpose", ["char_lengths"], perm=[1, 0])
    chosen = lifter.node("Where", [lifter.at_end(x, axis, ends), x.name, lifter.scalar(0.0)])
    name = lifter.node("ReduceSum", [chosen, lifter.ints(axis)], keepdims=0)
    return Lifted(name, (*x.dims[:at], (), *x.dims[at + 1 :]), x.token)


def before_order(x: Lifted, at: int) -> bool:
    """The axis is the tokens'."""
    return x.dims[at] == (TIME,)


@rule("unbind", "select", "narrow", "__getitem__", "index_select", "masked_select", "gather", "take_along_dim")
def _index(lifter: Lifter, call: Call, output: int) -> Lifted:
    table, index = call.args[0], call.args[-1]
    if call.name in ("__getitem__", "index_select") and table.is_constant and isinstance(index, Term):
        ids = not index.is_static and not index.tensors[0].is_floating_point()
        if ids and table.tensors[0].dim() == 2:
            return lifter.regrouped(
                lifter.gather(index, lifter.weight(table), "table"), out_dims(lifter, call, output), call
            )
    return indexed(lifter, call, output)


@rule("__setitem__", "index_put_", "index_put", "scatter", "scatter_", "index_fill", "scatter_add_", "index_copy_")
def _write(lifter: Lifter, call: Call, output: int) -> Lifted:
    base, index, item = call.args[:3]
    whole = call.outputs[output]
    if call.name == "__setitem__" and isinstance(item, Term) and _same_count(item, whole):
        return lifter.regrouped(lifter.lift(item), out_dims(lifter, call, output), call)  # all of it is replaced
    if call.name == "__setitem__" and isinstance(index, Term) and index.tensors[0].dtype == torch.bool:
        return _write_masked(lifter, call, output)
    if call.name in ("scatter_", "scatter") and base.is_static and len(call.args) > 3:
        value = call.args[3]
        blank = all(not bool(t.any()) for t in base.tensors)
        if blank and isinstance(value, (int, float)) and index % len(lifter.dims(whole)) == len(lifter.dims(whole)) - 1:
            size = whole.tensors[0].shape[-1]
            table = (np.eye(size) * value).astype(np.float32)
            ids = item
            while ids.call is not None and ids.call.name in ("unsqueeze", "view", "reshape", "long", "data", "to"):
                ids = ids.call.args[0]
            found = lifter.gather(ids, table, "one_hot")
            return lifter.regrouped(found, lifter.dims(whole), call)
    chosen = next((c for t in call.inputs()[1:] if (c := choice_in(t)) is not None), None)
    raise lifter.refusal(
        chosen or call, "writes into parts of a tensor", "use torch.where, or write every token in one loop"
    )


def _same_count(a: Term, b: Term) -> bool:
    return all(x.numel() == y.numel() for x, y in zip(a.tensors, b.tensors, strict=True))


def _write_masked(lifter: Lifter, call: Call, output: int) -> Lifted:
    """``x[mask] = number``, the mask over the first axes."""
    base, mask, item = call.args[:3]
    if isinstance(item, Term):
        raise lifter.refusal(call, "writes values where a mask is", "use torch.where")
    x, where = lifter.lift(base), lifter.lift(mask)
    where = Lifted(where.name, (*where.dims, *[()] * (len(x.dims) - len(where.dims))), where.token)
    fitted = lifter._broadcast(where, x, call, static=mask.is_constant)
    number = np.array(item, np.float32 if base.tensors[0].is_floating_point() else np.int32)
    return Lifted(lifter.node("Where", [fitted, lifter.array(number), x.name]), x.dims, x.token)
