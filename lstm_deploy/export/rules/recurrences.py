"""Recurrences as operators: PyTorch's LSTM, GRU and RNN, their cells in a loop, cells by hand; convolutions; packing.

Over tokens they are given the lengths; over the letters of words every word is a row of its own.
Gate orders: PyTorch (i, f, g, o) and (r, z, n), ONNX (i, o, f, c) and (z, r, h).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..lifting import LETTERS, TIME, WIDTH, Dims, Lifted, Lifter, rule
from ..program import Call, Term
from ..recurrent import to_onnx_gates
from .calls import operand, out_dims

_KINDS = {"lstm": "LSTM", "gru": "GRU", "rnn_tanh": "RNN_TANH", "rnn_relu": "RNN_RELU"}


@dataclass
class _Direction:
    """One direction of one layer: (gates * hidden, in), (gates * hidden, hidden), their biases, projection."""

    w: Any
    r: Any
    wb: Any
    rb: Any
    projection: Any = None


@dataclass
class _Rows:
    """What an operator runs over: (steps, rows, features) with the rows' lengths."""

    name: str
    lengths: str
    per_word: bool
    letters: Any = None


def _ordered(kind: str, stacked: Any) -> Any:
    if kind == "LSTM":
        return to_onnx_gates(stacked)
    if kind == "GRU":
        r, z, n = np.split(stacked, 3)
        return np.concatenate([z, r, n])
    return stacked


@rule(*_KINDS)
def _recurrence(lifter: Lifter, call: Call, output: int) -> Lifted:
    """torch.lstm and its relatives, packed or not."""
    kind = _KINDS[call.name]
    args = list(call.args)
    packed = isinstance(args[3], (list, tuple))
    if packed:
        source, hx, weights, biased, layers, _, _, both = args[0], *args[2:9]
        pack = args[1].call
        batch_first = pack.args[2] if len(pack.args) > 2 else False
        x = _packed_input(lifter, source, args[1])
    else:
        source, hx, weights, biased, layers, _, _, both, batch_first = args[:9]
        x = lifter.lift(source)
    states = list(hx) if isinstance(hx, (list, tuple)) else [hx]
    directions = _directions(lifter, weights, biased, layers, 1 + both, kind)
    time, rows = (1, 0) if batch_first and len(x.dims) == 3 else (0, 1)
    if len(x.dims) == 2:  # the data of a packed batch of one
        x = Lifted(x.name, (x.dims[0], (), x.dims[1]), x.token)
        time, rows = 0, 1
    over = _rows(lifter, x, time, rows, _letter_lengths(lifter, args[1], x, time) if packed else None, call)
    return _results(lifter, call, output, kind, over, states, directions, x)


def _packed_input(lifter: Lifter, data: Term, sizes: Term) -> Lifted:
    """What was packed, with the operations on the packed data since."""
    if data.call is sizes.call:
        assert sizes.call is not None
        return lifter.lift(sizes.call.args[0])
    return lifter.lift(data)


@rule("_pack_padded_sequence")
def _pack(lifter: Lifter, call: Call, output: int) -> Lifted:
    x = operand(lifter, call)
    dims = lifter.sizes.dims(call.outputs[0])
    return x if dims is None else lifter.regrouped(x, dims, call)


@rule("_pad_packed_sequence")
def _unpack(lifter: Lifter, call: Call, output: int) -> Lifted:
    if output != 0:
        raise lifter.refusal(call, "computes with the lengths of a packed batch", "use the lengths that were given")
    x = operand(lifter, call)
    dims = out_dims(lifter, call, output)
    if len(x.dims) == 3 and x.dims != dims and (x.dims[1], x.dims[0], x.dims[2]) == dims:
        return lifter.permuted(x, [1, 0, 2])
    return x if x.dims == dims else lifter.regrouped(x, dims, call)


def _letter_lengths(lifter: Lifter, sizes: Term, x: Lifted, time: int) -> str | None:
    """Lengths of the words, where they were packed by them; None where tokens were packed."""
    if x.dims[time] in ((TIME,), ()):
        return None
    assert sizes.call is not None
    given = [sorted(t.reshape(-1).tolist()) for t in sizes.call.args[1].tensors]
    if given == [sorted(map(len, words)) for words in lifter.sizes.words]:
        lifter.used.add("char_lengths")
        return lifter._once("time_first_char_lengths", "Transpose", ["char_lengths"], perm=[1, 0])
    raise lifter.refusal(sizes.call, "packs words by lengths that are not theirs", "pack by the number of letters")


def _rows(lifter: Lifter, x: Lifted, time: int, rows: int, letter_lengths: str | None, call: Call) -> _Rows:
    step, row = x.dims[time], x.dims[rows]
    size = x.dims[2]
    name = x.name if size else lifter.node("Unsqueeze", [x.name, lifter.ints(-1)])
    if len(size) > 1 or (size and not isinstance(size[0], int)):
        raise lifter.refusal(call, "a recurrence reads other than features", "give it (tokens, batch, features)")
    width = size[0] if size else 1
    if step == (TIME,) and row == () and not x.token:
        return _Rows(name, "lengths", False)
    if step == () and (row == (TIME,) or (row == () and x.token)):
        lifter.notes.add(f"{call.line}: the recurrence runs over an axis of 1, each token by itself")
        return _Rows(lifter.node("Reshape", [name, lifter.ints(1, -1, width)]), "", True)
    letters = len(step) == 1 and not isinstance(step[0], int) and step[0][0] in (LETTERS, WIDTH)
    if letters and (row == (TIME,) or (row == () and x.token)):
        by_letter = lifter.node("Transpose", [name], perm=[2, 0, 1, 3])
        flat = lifter.node("Reshape", [by_letter, lifter.ints(0, -1, width)])
        return _Rows(flat, _word_lengths(lifter, step[0], letter_lengths, x), True, step)
    raise lifter.refusal(
        call, f"a recurrence runs over {_said(step)} with {_said(row)} as batch", "run it over the tokens"
    )


def _word_lengths(lifter: Lifter, atom: Any, given: str | None, x: Lifted) -> str:
    """(words) int32 steps of each row, at least 1: padded words have no letters."""
    found = given or lifter.extent(atom)
    if given is None and atom[0] == WIDTH:
        found = lifter.node("Expand", [found, lifter.time_shape(2)])
    flat = lifter.node("Reshape", [found, lifter.ints(-1)])
    return lifter.node("Max", [flat, lifter.graph.constant("int_one", np.array(1, np.int32))])


def _said(dim: tuple[Any, ...]) -> str:
    if not dim:
        return "an axis of 1"
    return " x ".join(str(atom) if isinstance(atom, int) else atom[0] for atom in dim)


def _directions(
    lifter: Lifter, weights: Sequence[Term], biased: bool, layers: int, count: int, kind: str
) -> list[list[_Direction]]:
    arrays = [lifter.weight(w) for w in weights]
    each = len(arrays) // (layers * count)
    found = []
    for layer in range(layers):
        row = []
        for d in range(count):
            parts = arrays[(layer * count + d) * each :][:each]
            w, r, *rest = parts
            zero = np.zeros(len(w), np.float32)
            wb, rb = rest[:2] if biased else (zero, zero)
            projection = rest[-1] if len(rest) in (1, 3) else None
            if projection is not None:
                r = (r.astype(np.float64) @ projection.astype(np.float64)).astype(np.float32)
            row.append(_Direction(*(_ordered(kind, part) for part in (w, r, wb, rb)), projection))
        found.append(row)
    return found


def _operator(
    lifter: Lifter,
    kind: str,
    over: _Rows,
    directions: list[_Direction],
    initial: list[str],
    outputs: int,
    way: str = "",
) -> list[str]:
    """One operator: Y (steps, directions, rows, hidden), last h and (LSTM) last c, each (directions, rows, hidden)."""
    hidden = directions[0].r.shape[1]
    op_type = kind.split("_")[0]
    w, r = (np.stack([getattr(d, part) for d in directions]) for part in ("w", "r"))
    b = np.stack([np.concatenate([d.wb, d.rb]) for d in directions])
    names = [
        over.name,
        *(lifter.array(a, f"{op_type.lower()}_{n}") for a, n in ((w, "w"), (r, "r"), (b, "b"))),
        over.lengths,
    ]
    names += initial
    while not names[-1]:
        names.pop()
    attributes: dict[str, Any] = {
        "hidden_size": hidden,
        "direction": way or ("bidirectional" if len(directions) == 2 else "forward"),
    }
    if kind == "GRU":
        attributes["linear_before_reset"] = 1
    if kind == "RNN_RELU":
        attributes["activations"] = ["Relu"] * len(directions)
    if lifter.streams is not None and not over.per_word:
        found = lifter.streams.run(lifter, op_type, names, attributes)
    else:
        found = [lifter.name(f"{op_type.lower()}_{part}") for part in ("y", "h", "c")[:outputs]]
        lifter.graph.nodes_out(op_type, names, found, **attributes)
    if directions[0].projection is not None:
        projection = lifter.array(
            np.stack([d.projection.T for d in directions]), "projection"
        )  # (directions, hidden, size)
        found[:2] = [lifter.node("MatMul", [name, projection]) for name in found[:2]]
    return found


def _results(
    lifter: Lifter,
    call: Call,
    output: int,
    kind: str,
    over: _Rows,
    states: list[Term],
    directions: list[list[_Direction]],
    x: Lifted,
) -> Lifted:
    cache = lifter.recurrences
    if id(call) not in cache:
        cache[id(call)] = _run_layers(lifter, call, kind, over, states, directions)
    ys, last = cache[id(call)]
    if output == 0:
        found = _steps_back(lifter, ys, over, directions[-1])
        size = _out_size(directions[-1])
        dims = [*x.dims[:2], () if size == 1 else (size,)]
        given = lifter.sizes.dims(call.outputs[0])
        result = Lifted(found, tuple(dims), x.token)
        return result if given is None or given == result.dims else lifter.regrouped(result, given, call)
    return _last_back(lifter, last[output - 1], over, directions, out_dims(lifter, call, output), x)


def _out_size(row: list[_Direction]) -> int:
    size = len(row[0].projection) if row[0].projection is not None else row[0].r.shape[1]
    return len(row) * size


def _run_layers(
    lifter: Lifter, call: Call, kind: str, over: _Rows, states: list[Term], directions: list[list[_Direction]]
) -> tuple[str, list[list[str]]]:
    used = max(call.outputs) + 1
    rows = over
    last: list[list[str]] = [[], []]
    for layer, row in enumerate(directions):
        initial = [_initial(lifter, state, layer, len(row), row[0], rows, call) for state in states]
        y, *ends = _operator(lifter, kind, rows, row, initial, max(used, 2) if used > 1 else 1)
        for kept, end in zip(last, ends, strict=False):
            kept.append(end)
        turned = lifter.node("Transpose", [y], perm=[0, 2, 1, 3])
        y = lifter.node("Reshape", [turned, lifter.ints(0, 0, _out_size(row))])
        rows = _Rows(y, over.lengths, over.per_word, over.letters)
    return y, last


def _initial(lifter: Lifter, state: Term, layer: int, count: int, like: _Direction, rows: _Rows, call: Call) -> str:
    """(directions, rows, hidden), or nothing for zeros."""
    if state.random:
        lifter.notes.add("random initial states are taken as zero")
    if state.is_static and all(not bool(t.any()) for t in state.tensors):
        return ""
    if like.projection is not None:
        raise lifter.refusal(
            call, "an initial state other than zero beside proj_size", "start from zero, or drop proj_size"
        )
    here = slice(layer * count, (layer + 1) * count)
    if state.is_constant:
        values = lifter.weight(state)
        values = values.reshape(-1, 1, values.shape[-1])[here]
        size = lifter.node("Shape", [rows.name])
        batch = lifter.node("Slice", [size, lifter.ints(1), lifter.ints(2)])
        shape = lifter.node("Concat", [lifter.ints(count), batch, lifter.ints(values.shape[-1])], axis=0)
        return lifter.node("Expand", [lifter.array(values, "initial"), shape])
    found = lifter.lift(state)
    if found.times or rows.per_word or found.token or len(found.dims) != 3:
        raise lifter.refusal(call, "an initial state is computed for each token", "start each sentence from one state")
    name = lifter.explicit(found)  # (batch, layers * directions, 1, hidden)
    name = lifter.node("Squeeze", [lifter.node("Transpose", [name], perm=[1, 0, 2, 3]), lifter.ints(2)])
    cut = [name, *(lifter.ints(v) for v in (here.start, here.stop, 0))]
    return lifter.node("Slice", cut)


def _steps_back(lifter: Lifter, y: str, over: _Rows, row: list[_Direction]) -> str:
    """(steps, rows, features) -> the layout of values."""
    size = _out_size(row)
    if over.per_word:
        by_word = lifter.node("Transpose", [y], perm=[1, 0, 2])  # (words, steps, features)
        ends = [lifter.ints(-1, size)] if over.letters else [lifter.ints(size)]
        shape = lifter.node("Concat", [lifter.time_shape(2), *ends], axis=0)
        y = lifter.node("Reshape", [by_word, shape])
    return lifter.node("Squeeze", [y, lifter.ints(-1)]) if size == 1 else y


def _last_back(
    lifter: Lifter, parts: list[str], over: _Rows, directions: list[list[_Direction]], dims: Dims, x: Lifted
) -> Lifted:
    """Last states of all layers (layers * directions, rows, hidden) -> the layout of values."""
    name = parts[0] if len(parts) == 1 else lifter.node("Concat", parts, axis=0)
    count = sum(len(row) for row in directions)
    size = _out_size(directions[-1]) // len(directions[-1])
    name = lifter.node("Transpose", [name], perm=[1, 0, 2])  # (rows, layers * directions, hidden)
    ones = [i for i, n in ((1, count), (2, size)) if n == 1]
    if over.per_word:
        shape = lifter.node("Concat", [lifter.time_shape(2), lifter.ints(count, size)], axis=0)
        name = lifter.node("Reshape", [name, shape])
        ones = [i + 1 for i in ones]
    if ones:
        name = lifter.node("Squeeze", [name, lifter.ints(*ones)])
    return Lifted(name, dims, x.token)


@rule("recurrence")
def _cells(lifter: Lifter, call: Call, output: int) -> Lifted:
    """A loop of cells over the tokens."""
    kind, xs, h, c, weights, way = call.args
    if output == 3:
        raise lifter.refusal(call, "uses the cell state of every step", "use the hidden states")
    parts = [lifter.lift(x) for x in xs]
    if any(not p.token or len([d for d in p.dims if d]) != 1 for p in parts):
        raise lifter.refusal(call, "a step reads other than one row of features", "give each step one token's features")
    name = parts[0].name if len(parts) == 1 else lifter.node("Concat", [p.name for p in parts], axis=-1)
    cache = lifter.recurrences
    if id(call) not in cache:
        direction = _cell_weights(lifter, kind, weights)
        rows = _Rows(name, "lengths", False)
        initial = [_cell_state(lifter, state, rows) for state in (h, c) if state is not None]
        op_way = "reverse" if way == "backward" else "forward"
        cache[id(call)] = (
            _operator(lifter, kind, rows, [direction], initial, 3 if kind == "LSTM" else 2, op_way),
            direction,
        )
    found, direction = cache[id(call)]
    dims = out_dims(lifter, call, output)
    if output == 0:
        return Lifted(lifter.node("Squeeze", [found[0], lifter.ints(1)]), dims, True)
    return Lifted(lifter.node("Squeeze", [found[output], lifter.ints(0)]), dims, False)


def _cell_weights(lifter: Lifter, kind: str, weights: Any) -> _Direction:
    if isinstance(weights[0], Term):
        w, r, *biases = (lifter.weight(t) if isinstance(t, Term) else None for t in weights)
        zero = np.zeros(len(w), np.float32)
        wb, rb = (b if b is not None else zero for b in (*biases, None, None)[:2])
    else:
        w, r, wb = (np.concatenate([m[i].numpy() for m in weights[0]]).astype(np.float32) for i in range(3))
        rb = np.zeros_like(wb)
    return _Direction(*(_ordered(kind, part) for part in (w, r, wb, rb)))


def _cell_state(lifter: Lifter, state: Term, rows: _Rows) -> str:
    if state.random:
        lifter.notes.add("random initial states are taken as zero")
    if state.is_static and all(not bool(t.any()) for t in state.tensors):
        return ""
    size = state.tensors[0].numel()
    if state.is_constant:
        shape = lifter.node("Concat", [lifter.ints(1), lifter.node("Shape", ["lengths"]), lifter.ints(size)], axis=0)
        return lifter.node("Expand", [lifter.array(lifter.weight(state).reshape(1, 1, -1), "initial"), shape])
    found = lifter.lift(state)
    return lifter.node("Unsqueeze", [found.name, lifter.ints(0)])
