"""A program for one sentence -> a graph for ragged batches of them.

A value of the program has axes for tokens, letters and features; the graph's value has a batch axis beside
them and one layout, whatever the order that the author chose: time first, batch, then all other axes of more
than one element in the author's order; values without tokens are batch first; those with two token axes (attention)
are batch, tokens, tokens. So reshaping between one sentence and a batch of one costs nothing: it is a new
reading of the same value. What a token axis is summed, softmaxed or convolved over is masked by true length.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from onnx import TensorProto
from torch import Tensor

from .capture import LiftError, Line
from .program import LETTERS, TOKENS, WIDTH, Atom, Call, Sizes, Term
from .streaming import LiftedStreams
from .writer import GraphWriter

TIME: Atom = (TOKENS, 0)
Dims = tuple[tuple[Atom, ...], ...]


@dataclass(frozen=True)
class Lifted:
    """A value of the graph, and how the author's axes are found in it.

    Attributes:
        name: in the graph.
        dims: the author's axes, each a product of sizes; () is an axis of 1, which the graph does not have.
        token: one per token: the graph has a token axis that the author's loop stood for.
    """

    name: str
    dims: Dims
    token: bool = False

    @property
    def atoms(self) -> list[Atom]:
        """Sizes of all axes of more than one element, in the author's order."""
        return [atom for dim in self.dims for atom in dim]

    @property
    def times(self) -> int:
        """How many token axes there are."""
        return self.atoms.count(TIME) + self.token

    @property
    def others(self) -> list[Atom]:
        """The axes that are neither batch nor tokens, in order."""
        return [atom for atom in self.atoms if atom != TIME]

    @property
    def lead(self) -> int:
        """Axes of the graph's value before the others."""
        return 1 + self.times

    def axis(self, dim: int) -> int:
        """The graph's axis of an author's axis that is a single size.

        Raises:
            KeyError: it is of size 1, or a product.
        """
        dim %= len(self.dims)
        if len(self.dims[dim]) != 1:
            raise KeyError(dim)
        before = [atom for d in self.dims[:dim] for atom in d]
        if self.dims[dim][0] != TIME:
            return self.lead + sum(atom != TIME for atom in before)
        if self.times == 1:
            return 0
        return 1 + self.token + before.count(TIME)


Handler = Callable[["Lifter", Call, int], "Lifted"]
RULES: dict[str, Handler] = {}


def rule(*names: str) -> Callable[[Handler], Handler]:
    """Registers how calls of these names are written."""

    def register(handler: Handler) -> Handler:
        for name in names:
            RULES[name] = handler
        return handler

    return register


class Lifter:
    """Writes the graph of a program, from the terms that are asked for back to the inputs."""

    def __init__(self, sizes: Sizes, rows: int, vectors: Any = None, letter_padding: int = 0, letters: int = 0) -> None:
        self.graph = GraphWriter()
        self.sizes = sizes
        self.rows = rows
        self.vectors = vectors
        self.letter_padding = letter_padding
        self.letters = letters
        self.recurrences: dict[int, Any] = {}
        self.used: set[str] = set()
        self.notes: set[str] = set()
        self.streams: LiftedStreams | None = None
        self._done: dict[tuple[int, int], Lifted] = {}
        self._leaves: dict[int, Lifted] = {}
        self._named: set[str] = set()
        self._count = 0
        self._line: Line | None = None

    def lift(self, term: Term) -> Lifted:
        """The graph's value of a term.

        Raises:
            LiftError: there is no rule for what makes it.
        """
        if term.is_static:
            return self.constant(term)
        if term.call is None:
            if id(term) not in self._leaves:
                self._leaves[id(term)] = self._input(term)
            return self._leaves[id(term)]
        key = (id(term.call), term.output)
        if key not in self._done:
            handler = RULES.get(term.call.name)
            if handler is None:
                raise self.refusal(term.call, f"`{term.call.name}` has no rule", "write it with simpler operations")
            before, self._line = self._line, term.call.line
            self._done[key] = handler(self, term.call, term.output)
            if self.streams is not None:
                self.streams.check(self, term.call, term.output, self._done[key])
            self._line = before
        return self._done[key]

    def refusal(self, call: Call | Term, fact: str, cure: str) -> LiftError:
        """The error for something that cannot be lifted, with its line."""
        return LiftError(f"{call.line or self._line or 'the result'}: {fact}; {cure}")

    def dims(self, term: Term) -> Dims:
        """The author's axes of a term."""
        dims = self.sizes.dims(term)
        if dims is None:
            shapes = sorted({tuple(t.shape) for t in term.tensors})[:3]
            raise self.refusal(
                term, f"gives shapes {shapes} that follow neither the number of tokens nor the letters of a word",
                "keep one position per token",
            )  # fmt: skip
        return dims

    # -- writing

    def name(self, stem: str) -> str:
        """A name of its own for a value."""
        self._count += 1
        return f"{stem}_{self._count}"

    def node(self, op_type: str, inputs: Sequence[str], **attributes: object) -> str:
        """An operator with one output."""
        return self.graph.node(op_type, inputs, self.name(op_type.lower()), **attributes)

    def ints(self, *values: int) -> str:
        """A constant vector of whole numbers."""
        return self.graph.constant("ints_" + "_".join(map(str, values)).replace("-", "m"), np.array(values, np.int64))

    def array(self, value: Any, stem: str = "constant") -> str:
        """A constant of the graph, float32 where it is a float."""
        value = np.asarray(value, order="C")
        if value.dtype == np.float64:
            value = value.astype(np.float32)
        return self.graph.constant(self.name(stem), value)

    def scalar(self, value: float) -> str:
        """A constant float without axes."""
        return self.graph.constant(f"float_{value!r}".replace("-", "m"), np.array(value, np.float32))

    def weight(self, term: Term) -> Any:
        """The numbers of a constant term."""
        if not term.is_constant:
            raise self.refusal(term, "weights are worked out from the sentence", "use fixed weights")
        return _numbers(term.tensors[0])

    def constant(self, term: Term) -> Lifted:
        """A value that is the same for every sentence of a length, batch axis and all."""
        if term.random:
            raise self.refusal(term, "random numbers are part of the answer", "only initial states may be random")
        dims = self.dims(term)
        if term.kind == "sized":
            return self._sized(term, dims)
        numbers = _numbers(term.tensors[0])
        return Lifted(self.array(numbers.reshape(1, *[s for s in numbers.shape if s != 1])), dims)

    def _sized(self, term: Term, dims: Dims) -> Lifted:
        """A value that follows the number of tokens: it, the same at each token, their positions, or rows of a "
        "table."""
        axes = [i for i, dim in enumerate(dims) if dim == (TIME,)]
        numbers = [_numbers(t) for t in term.tensors]
        if not axes and not any(dims):
            return self._token_count(term, dims, [float(n.ravel()[0]) for n in numbers])
        if len(axes) == 1 and all(d == (TIME,) or len(d) < 2 for d in dims):
            (axis,) = axes
            rows = [np.moveaxis(n, axis, 0) for n in numbers]
            if all((r == r[:1]).all() for r in rows) and self._alike([r[0] for r in rows]):
                flat = rows[0][0].reshape(1, 1, *[s for s in rows[0][0].shape if s != 1])
                return Lifted(self.node("Expand", [self.array(flat), self.time_shape(flat.ndim)]), dims)
            if all(r.size == len(r) and (r.ravel() == np.arange(r.size) + r.ravel()[0]).all() for r in rows):
                start = float(rows[0].ravel()[0])
                if all(float(r.ravel()[0]) == start for r in rows):
                    return Lifted(self._positions(start, floats=rows[0].dtype.kind == "f"), dims)
            table = _table_of(term)
            if table is not None and all(
                np.array_equal(table[: len(r)].reshape(len(r), -1), r.reshape(len(r), -1)) for r in rows
            ):
                self.notes.add(f"{term.line}: a sentence has at most {len(table)} tokens")
                found = self.node("Gather", [self.array(table.reshape(len(table), -1), "by_position"), self.steps()])
                found = self.node("Unsqueeze", [found, self.ints(1)])
                sizes = [dim[0] for i, dim in enumerate(dims) if dim and i != axis]
                if len(sizes) != 1:
                    found = self.node("Reshape", [found, self.ints(0, 0, *sizes)])
                return Lifted(found, dims)
        if len(axes) == 2 and all(d == (TIME,) or not d for d in dims) and (grid := self._grid(numbers)) is not None:
            return Lifted(grid, dims)
        raise self.refusal(
            term,
            "a value follows the number of tokens in a way that is neither the same for each nor its position",
            "make it from the words",
        )

    def _grid(self, numbers: list[Any]) -> str | None:
        """(1, sequence, sequence) of what is one number before, at and after each token; None where it is not."""
        parts: list[Any] = []
        for pick in (np.greater, np.equal, np.less):
            found = set()
            for n in numbers:
                square = n.reshape(n.size and round(n.size**0.5), -1)
                at = np.arange(len(square))
                found |= set(square[pick(at[:, None], at[None])].tolist())
            if len(found) != 1:
                return None
            parts.append(found.pop())
        row, column = (self.node("Unsqueeze", [self.steps(), self.ints(axis)]) for axis in (1, 0))
        is_mask = numbers[0].dtype == bool  # onnxruntime has no Where on masks
        before, same, after = (self.array(np.array(p, np.int32 if is_mask else numbers[0].dtype)) for p in parts)
        rest = self.node("Where", [self.node("Equal", [row, column]), same, after])
        square = self.node("Where", [self.node("Greater", [row, column]), before, rest])
        square = self.node("Cast", [square], to=TensorProto.BOOL) if is_mask else square
        return self.node("Unsqueeze", [square, self.ints(0)])

    def _token_count(self, term: Term, dims: Dims, values: list[float]) -> Lifted:
        """A number worked out from the number of tokens, where it is that, plus or minus something."""
        difference = {value - n for value, n in zip(values, self.sizes.tokens.tolist(), strict=True)}
        if len(difference) != 1:
            raise self.refusal(term, "a number follows the number of tokens other than by a difference", "use tensors")
        count = self._once("token_count", "Cast", ["lengths"], to=TensorProto.FLOAT)
        (more,) = difference
        if more:
            count = self.node("Add", [count, self.scalar(more)])
        if not term.tensors[0].is_floating_point():
            count = self.node("Cast", [count], to=TensorProto.INT32)
        return Lifted(count, dims)

    def _alike(self, arrays: list[Any]) -> bool:
        return all(a.shape == arrays[0].shape and (a == arrays[0]).all() for a in arrays)

    def _positions(self, start: float, *, floats: bool) -> str:
        """(sequence, 1), from ``start``."""
        steps = self.node("Add", [self.steps(), self.graph.constant(f"from_{int(start)}", np.array(start, np.int32))])
        found = self.node("Unsqueeze", [steps, self.ints(1)])
        return self.node("Cast", [found], to=TensorProto.FLOAT) if floats else found

    def time_shape(self, rank: int) -> str:
        """[sequence, batch, 1, ...] as a shape of that rank."""
        parts = [self.sequence(), self.node("Shape", ["lengths"])]
        if rank > 2:
            parts.append(self.ints(*[1] * (rank - 2)))
        return self.node("Concat", parts, axis=0)

    # -- inputs

    def _input(self, term: Term) -> Lifted:
        if term.kind in ("word_ids", "char_ids", "char_lengths"):
            self.used |= {"char_ids", "char_lengths"} if term.kind.startswith("char") else {term.kind}
            if width := self._fixed_width(term):
                fixed = self.fixed_letters(width)
                return Lifted(
                    self._once(f"time_first_letters_{width}", "Transpose", [fixed], perm=[1, 0, 2]), self.dims(term)
                )
            perm = [1, 0, 2] if term.kind == "char_ids" else [1, 0]
            return Lifted(
                self._once(f"time_first_{term.kind}", "Transpose", [term.kind], perm=perm), self.dims(term), term.token
            )
        if term.kind in ("vectors", "per_word"):
            return self._looked_up(term)
        raise self.refusal(
            term,
            f"reads something that is made from the words outside of torch ({tuple(term.tensors[0].shape)} numbers)",
            "say in the spec how it is made (characters, vectors, case, unknown), or pass ids",
        )

    def _looked_up(self, term: Term) -> Lifted:
        """What is a function of each word alone: a table over the vocabulary."""
        self.used.add("word_ids")
        table = _numbers(torch.as_tensor(self.vectors if term.table is None else term.table))
        rows = self.node("Gather", [self.array(table[: self.rows], "of_words"), "word_ids"])
        by_time = Lifted(self.node("Transpose", [rows], perm=[1, 0, 2]), ((TIME,), (int(table.shape[1]),)), term.token)
        if table.shape[1] == 1:
            by_time = Lifted(self.node("Squeeze", [by_time.name, self.ints(2)]), ((TIME,), ()), term.token)
        if term.token:
            return Lifted(by_time.name, self.dims(term), True)
        return self.regrouped(by_time, self.dims(term), term)

    def _fixed_width(self, term: Term) -> int:
        """The letters that every word is cut or padded to; 0 where words have their own."""
        atoms = [atom for dim in self.dims(term) for atom in dim if atom != TIME]
        return atoms[0] if term.kind == "char_ids" and len(atoms) == 1 and isinstance(atoms[0], int) else 0

    def fixed_letters(self, width: int) -> str:
        """(batch, sequence, width) character ids: words cut, or padded."""
        self.used |= {"char_ids", "char_lengths"}
        name = f"letters_{width}"
        if name not in self._named:
            shape = self._once("char_shape", "Shape", ["char_ids"])
            lead = self.node("Slice", [shape, self.ints(0), self.ints(2)])
            wide = self.node("Concat", [lead, self.ints(width)], axis=0)
            padding = self.graph.constant("letter_padding", np.array(self.letter_padding, np.int32))
            more = self.node("Concat", ["char_ids", self.node("Expand", [padding, wide])], axis=2)
            self._once(name, "Slice", [more, self.ints(0), self.ints(width), self.ints(2)])
        return name

    def _once(self, name: str, op_type: str, inputs: Sequence[str], **attributes: object) -> str:
        """A named value that many may ask for."""
        if name not in self._named:
            self._named.add(name)
            self.graph.node(op_type, inputs, name, **attributes)
        return name

    def gather(self, ids: Term, table: Any, stem: str) -> Lifted:
        """Rows of a table: (ids..., size)."""
        found = self.lift(ids)
        dims: Dims = (*found.dims, () if table.shape[1] == 1 else (int(table.shape[1]),))
        if ids.call is None and ids.kind in ("word_ids", "char_ids"):
            table = self.table(ids, table)
            width = self._fixed_width(ids)
            source = self.fixed_letters(width) if width else ids.kind
            rows = self.node("Gather", [self.array(table, stem), source])  # batch first
            extra = range(2, 4 if ids.kind == "char_ids" else 3)
            name = self.node("Transpose", [rows], perm=[1, 0, *extra])
        else:
            name = self.node("Gather", [self.array(table, stem), found.name])
        if table.shape[1] == 1:
            name = self.node("Squeeze", [name, self.ints(-1)])
        return Lifted(name, dims, found.token)

    def table(self, ids: Term, table: Any) -> Any:
        """The rows that ids can reach; the file has as many as the vocabulary, or the characters."""
        rows, what = (self.rows, "vocabulary") if ids.kind == "word_ids" else (self.letters, "characters")
        if len(table) < rows:
            raise self.refusal(
                ids,
                f"a table of {len(table)} rows is looked up by ids to {rows - 1} of the {what}",
                f"give the {what} that the tagger was trained with",
            )
        if len(table) > rows:
            self.notes.add(f"a table has {len(table)} rows, of which the {what} reach {rows}; the others are left out")
        return table[:rows]

    # -- the number of tokens and letters

    def sequence(self) -> str:
        """[sequence] as a vector of one whole number."""
        source = "word_ids" if "word_ids" in self.used or "char_ids" not in self.used else "char_ids"
        self.used.add(source)
        shape = self._once("input_shape", "Shape", [source])
        return self._once("sequence_size", "Slice", [shape, self.ints(1), self.ints(2)])

    def steps(self) -> str:
        """(sequence) int32 positions."""
        return self._range("steps", self.sequence())

    def _range(self, name: str, size: str) -> str:
        if name in self._named:
            return name
        end = self._once(f"{name}_end", "Squeeze", [size, self.ints(0)])
        zero, one = (self.graph.constant(f"long_{i}", np.array(i, np.int64)) for i in (0, 1))
        long = self._once(f"{name}_long", "Range", [zero, end, one])
        return self._once(name, "Cast", [long], to=TensorProto.INT32)

    def valid(self, x: Lifted, axis: int) -> str:
        """Bool, of the rank of ``x``: which positions of its axis a sentence alone would have."""
        return self._compared(x, axis, "Less", "")

    def last(self, x: Lifted, axis: int) -> str:
        """Bool, of the rank of ``x``: which position of its axis a sentence alone would have last."""
        return self._compared(x, axis, "Equal", "last_")

    def _compared(self, x: Lifted, axis: int, op_type: str, stem: str) -> str:
        at = self._atom_of(x, axis)
        rank = x.lead + len(x.others)
        if at == TIME:
            limit = self._minus_one("lengths") if stem else "lengths"
            column = self._once("steps_column", "Unsqueeze", [self.steps(), self.ints(1)])
            mask = self._once(f"is_{stem}token", op_type, [column, limit]) if stem else self._is_token()
            if x.times == 1:
                return self._unsqueezed(mask, range(2, rank))
            by_row = self._once(f"is_{stem}token_by_row", "Transpose", [mask], perm=[1, 0])
            return self._unsqueezed(by_row, [i for i in range(rank) if i not in (0, axis)])
        assert not isinstance(at, int)
        limit = self.extent(at)
        limit = self._minus_one(limit) if stem else limit
        at_axis = self._unsqueezed(self._positions_of(at), range(1, rank - axis))  # leading axes broadcast
        own = 2 if at[0] == LETTERS else 1  # axes of the limit: tokens and batch, or batch alone
        return self.node(op_type, [at_axis, self._unsqueezed(limit, range(own, rank - x.lead + own))])

    def at_end(self, x: Lifted, axis: int, lengths: str) -> str:
        """Bool, of the rank of ``x``: whether an axis of letters is at the last of (sequence, batch) lengths."""
        atom = self._atom_of(x, axis)
        assert not isinstance(atom, int)
        rank = x.lead + len(x.others)
        at_axis = self._unsqueezed(self._positions_of(atom), range(1, rank - axis))
        return self.node("Equal", [at_axis, self._unsqueezed(self._minus_one(lengths), range(2, rank))])

    def _is_token(self) -> str:
        """(sequence, batch): which are no padding."""
        column = self._once("steps_column", "Unsqueeze", [self.steps(), self.ints(1)])
        return self._once("is_token", "Less", [column, "lengths"])

    def _minus_one(self, name: str) -> str:
        return self.node("Sub", [name, self.graph.constant("int_one", np.array(1, np.int32))])

    def _positions_of(self, atom: tuple[str, int]) -> str:
        """(letters) int32 positions of an axis of letters."""
        if not atom[1]:
            return self._range("letter_positions", self.letters_size())
        zero, one, more = (self.graph.constant(f"long_{i}", np.array(i, np.int64)) for i in (0, 1, atom[1]))
        end = self.node("Add", [self.node("Squeeze", [self.letters_size(), self.ints(0)]), more])
        return self.node("Cast", [self.node("Range", [zero, end, one])], to=TensorProto.INT32)

    def extent(self, atom: Atom) -> str:
        """int32 letters of the axis: (sequence, batch) of the word at hand, (batch) of the sentence's widest."""
        assert not isinstance(atom, int)
        self.used.add("char_lengths")
        if atom[0] == LETTERS:
            found = self._once("time_first_char_lengths", "Transpose", ["char_lengths"], perm=[1, 0])
        else:
            letters = self._once("time_first_char_lengths", "Transpose", ["char_lengths"], perm=[1, 0])
            none = self.graph.constant("no_letters", np.array(0, np.int32))
            real = self._once("letters_of_tokens", "Where", [self._is_token(), letters, none])  # padding has no say
            found = self._once("sentence_width", "ReduceMax", [real], axes=[0], keepdims=0)
        if atom[1]:
            found = self.node("Add", [found, self.graph.constant(f"plus_{atom[1]}", np.array(atom[1], np.int32))])
        return found

    def letters_size(self) -> str:
        """[characters] as a vector of one whole number."""
        self.used.add("char_ids")
        shape = self._once("char_shape", "Shape", ["char_ids"])
        return self._once("letters_size", "Slice", [shape, self.ints(2), self.ints(3)])

    def _atom_of(self, x: Lifted, axis: int) -> Atom:
        return x.others[axis - x.lead] if axis >= x.lead else TIME

    def _unsqueezed(self, name: str, axes: Any) -> str:
        axes = list(axes)
        return self.node("Unsqueeze", [name, self.ints(*axes)]) if axes else name

    def masked(self, x: Lifted, axis: int, fill: float) -> Lifted:
        """``x`` with ``fill`` where a sentence alone would have nothing; axes of a fixed size have all."""
        if isinstance(self._atom_of(x, axis), int):
            return x
        return Lifted(self.node("Where", [self.valid(x, axis), x.name, self.scalar(fill)]), x.dims, x.token)

    # -- layouts

    def regrouped(self, x: Lifted, dims: Dims, at: Call | Term) -> Lifted:
        """The same numbers in the same order, read as other axes."""
        left = list(x.atoms)
        grouped: list[list[Atom]] = []
        for dim in dims:
            need = np.prod([self.sizes.numbers(a) for a in dim], axis=0) if dim else 1
            group: list[Atom] = []
            have: Any = 1
            while not np.array_equal(np.broadcast_to(have, np.shape(need)), need):
                if not left:
                    raise self._no_view(at)
                atom = left.pop(0)
                if isinstance(atom, int) and not _divides(have * atom, need):
                    part = _common(need // have) if _divides(have, need) else 0
                    if part < 2 or atom % part:
                        raise self._no_view(at)
                    left.insert(0, atom // part)
                    atom = part
                have = have * self.sizes.numbers(atom)
                group.append(atom)
                if len(group) > 8:
                    raise self._no_view(at)
            grouped.append(_merged(group))
        if left:
            raise self._no_view(at)
        found = Lifted(x.name, tuple(tuple(g) for g in grouped), x.token)
        if found.others != x.others:
            found = Lifted(self._reshape(x, found.others), found.dims, x.token)
        return found

    def _no_view(self, at: Call | Term) -> LiftError:
        return self.refusal(
            at, "reshaping mixes the axes of tokens and features", "transpose them first, or split features alone"
        )

    def _reshape(self, x: Lifted, others: list[Atom]) -> str:
        shape = [0] * x.lead
        free = [i for i, atom in enumerate(others) if not isinstance(atom, int)]
        for i, atom in enumerate(others):
            same_place = i < len(x.others) and x.others[: i + 1] == others[: i + 1]
            shape.append(atom if isinstance(atom, int) else 0 if same_place else -1)
        assert shape.count(-1) <= 1 or not free
        return self.node("Reshape", [x.name, self.ints(*shape)])

    def permuted(self, x: Lifted, order: Sequence[int]) -> Lifted:
        """The author's axes in another order."""
        order = [i % len(x.dims) for i in order]
        dims = tuple(x.dims[i] for i in order)
        if any(len(dim) > 1 for dim in x.dims):
            moved = [d for d in dims if d]
            if moved != [d for d in x.dims if d]:
                raise self.refusal(Term([], line=self._line), "axes that were merged are moved", "split them first")
            return Lifted(x.name, dims, x.token)
        new = [i for i in order if x.dims[i]]
        times = [i for i in new if x.dims[i] == (TIME,)]
        rest = [i for i in new if x.dims[i] != (TIME,)]
        old = [x.axis(i) for i in (times if x.times > 1 else ())]
        lead = [0, *range(1, 1 + x.token), *old] if x.times > 1 else list(range(x.lead))
        perm = lead + [x.axis(i) for i in rest]
        name = x.name if perm == list(range(len(perm))) else self.node("Transpose", [x.name], perm=perm)
        return Lifted(name, dims, x.token)

    def aligned(self, terms: Sequence[Any], out: Dims, at: Call) -> tuple[list[str], bool]:
        """Names of operands, laid out so that the graph's broadcasting is the author's; whether one is per token."""
        lifted = [self.lift(t) if isinstance(t, Term) else None for t in terms]
        token = any(x.token for x in lifted if x is not None)
        target = Lifted("", out, token)
        names = []
        for term, x in zip(terms, lifted, strict=True):
            if x is None:
                names.append(self.scalar(float(term)))
            else:
                names.append(self._broadcast(x, target, at, static=term.is_constant))
        return names, token

    def _broadcast(self, x: Lifted, target: Lifted, at: Call, *, static: bool) -> str:
        dims = ((),) * (len(target.dims) - len(x.dims)) + x.dims
        for dim, wanted in zip(dims, target.dims, strict=True):
            if dim not in ((), wanted):
                raise self.refusal(at, "combines values of different axes", "give both the same layout")
        padded = Lifted(x.name, dims, x.token)
        missing = self._missing_others(padded, target)
        if not static and padded.times and padded.times < target.times:
            return self._broadcast_time(padded, target)
        return self._unsqueezed(x.name, [padded.lead + i for i in missing])

    def _missing_others(self, x: Lifted, target: Lifted) -> list[int]:
        """Places among the target's other axes at which ``x`` has none; those before all of its own need none where
        nothing precedes them in the graph either (constants have a batch axis of 1 in front)."""
        missing, place = [], 0
        for dim, wanted in zip(x.dims, target.dims, strict=True):
            for atom in wanted:
                if atom != TIME:
                    if not dim:
                        missing.append(place)
                    place += 1
        return missing

    def _broadcast_time(self, x: Lifted, target: Lifted) -> str:
        """A value with one token axis beside one with two: (batch, tokens or 1, tokens or 1, ...)."""
        by_row = self.node("Transpose", [x.name], perm=[1, 0, *range(2, x.lead + len(x.others))])
        places, seen = [], int(target.token)
        for dim, wanted in zip(x.dims, target.dims, strict=True):
            if wanted == (TIME,):
                if not dim:
                    places.append(1 + seen)
                seen += 1
        if target.token and not x.token:
            places.insert(0, 1)
        name = self._unsqueezed(by_row, places)
        return self._unsqueezed(name, [target.lead + i for i in self._missing_others(x, target)])

    def explicit(self, x: Lifted) -> str:
        """(batch, [token,] the author's axes one by one, those of 1 too)."""
        rank = x.lead + len(x.others)
        axes = [x.axis(i) for i, dim in enumerate(x.dims) if dim]
        batch = 1 if x.times == 1 else 0
        lead = [batch, *([0 if x.times == 1 else 1] if x.token else [])]
        perm = [*lead, *axes]
        name = x.name if perm == list(range(rank)) else self.node("Transpose", [x.name], perm=perm)
        return self._unsqueezed(name, [1 + x.token + i for i, dim in enumerate(x.dims) if not dim])

    def from_explicit(self, name: str, dims: Dims, *, token: bool) -> Lifted:
        """The opposite of `explicit`."""
        ones = [1 + token + i for i, dim in enumerate(dims) if not dim]
        if ones:
            name = self.node("Squeeze", [name, self.ints(*ones)])
        found = Lifted(name, dims, token)
        kept = [atom for dim in dims for atom in dim]
        places = list(range(1 + token, 1 + token + len(kept)))
        times = ([1] if token else []) + [p for p, atom in zip(places, kept, strict=True) if atom == TIME]
        others = [p for p, atom in zip(places, kept, strict=True) if atom != TIME]
        perm = [*times, 0, *others] if len(times) == 1 else [0, *times, *others]
        if perm != list(range(len(perm))):
            found = Lifted(self.node("Transpose", [name], perm=perm), dims, token)
        return found


def _numbers(tensor: Tensor) -> Any:
    numbers = tensor.detach().cpu().numpy()
    if numbers.dtype == np.int64:
        return numbers.astype(np.int32) if not numbers.size or np.abs(numbers).max() < 2**31 else numbers
    return numbers.astype(np.float32) if numbers.dtype.kind == "f" else numbers


def _table_of(term: Term) -> Any:
    """The fixed table, rows first, that a value by position is the beginning of; None where none is known."""
    call = term.call
    while call is not None and call.name not in ("embedding", "index_select") and len(call.inputs()) == 1:
        source = call.inputs()[0]
        if source.is_constant and call.name in ("__getitem__", "narrow"):
            whole, part = _numbers(source.tensors[0]), [tuple(t.shape) for t in call.outputs[0].tensors]
            whole = whole.reshape([s for s in whole.shape if s != 1])
            rest = [s for s in part[0] if s != 1][1:]
            return whole if list(whole.shape[1:]) == rest else None
        call = source.call
    if call is not None and call.name == "embedding":
        weight = call.args[1] if len(call.args) > 1 else call.kwargs.get("weight")
        return _numbers(weight.tensors[0]) if isinstance(weight, Term) and weight.is_constant else None
    return None


def _divides(a: Any, b: Any) -> bool:
    return not (np.asarray(b) % np.asarray(a)).any()


def _common(values: Any) -> int:
    return int(np.gcd.reduce(np.atleast_1d(values)))


def _merged(group: list[Atom]) -> list[Atom]:
    """Neighbouring fixed sizes as one."""
    found: list[Atom] = []
    for atom in group:
        if isinstance(atom, int) and found and isinstance(found[-1], int):
            found[-1] = found[-1] * atom
        else:
            found.append(atom)
    return found


__all__ = ["RULES", "TIME", "WIDTH", "Dims", "Lifted", "Lifter", "rule"]
