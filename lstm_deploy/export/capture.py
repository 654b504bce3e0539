"""Records one eager run of somebody's tagger: which torch functions it called, on what, from which line.

The recording is flat, in order, and knows nothing of what the functions mean. Values are followed by
identity (and, where Python wraps the same memory anew, by memory); changes in place make a new value.
Random numbers drawn in the run are zeros: an answer has to be one.
"""

import copy
import linecache
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..errors import LstmDeployError

_TORCH = str(Path(torch.__file__).parent)
_HERE = str(Path(__file__).parent)
_RANDOM_NEW = {"rand", "randn", "rand_like", "randn_like", "randint", "randint_like", "normal", "bernoulli"}
_RANDOM_FILL = {"normal_", "uniform_", "random_", "bernoulli_", "exponential_"}
_FACTORIES = {
    "zeros", "ones", "full", "empty", "arange", "eye", "tensor", "as_tensor", "zeros_like", "ones_like", "full_like",
    "empty_like",
    "new_zeros", "new_ones", "new_full", "new_empty", "new_tensor", "new", "linspace", "from_numpy", "scalar_tensor",
}  # fmt: skip
"""Make tensors from sizes and Python numbers: leaves."""
_ESCAPES = {"item", "__bool__", "__int__", "__float__", "__index__", "tolist", "numpy", "__array__", "__contains__"}
_SILENT = {
    "dim", "size", "numel", "nelement", "data_ptr", "stride", "is_contiguous", "__len__", "ndimension",
    "requires_grad_",
    "element_size", "storage_offset", "get_device", "is_floating_point", "__repr__", "__format__", "__hash__",
    "backward",
    "is_complex", "is_nonzero", "retain_grad", "untyped_storage", "is_same_size", "type",
}  # fmt: skip


class LiftError(LstmDeployError, ValueError):
    """A tagger cannot be taken to a batched graph; the text names its line, the reason and what to change."""


@dataclass(frozen=True)
class Line:
    """A line of somebody's source."""

    file: str
    number: int

    @property
    def text(self) -> str:
        """What stands there."""
        return linecache.getline(self.file, self.number).strip()

    def __str__(self) -> str:
        return f"{Path(self.file).name}:{self.number} `{self.text:.100}`"


@dataclass(eq=False)
class Value:
    """A tensor of the run, as it was when it was made.

    Attributes:
        tensor: its numbers (a copy, unless they are a parameter's).
        op: what made it; None for parameters, arguments and what Python made.
        output: which of its results.
        parameter: its name in the module.
    """

    tensor: Tensor
    op: "Op | None" = None
    output: int = 0
    parameter: str | None = None
    line: Line | None = None
    random: bool = False
    argument: int = 0
    """Which tensor among the arguments, from 1; 0 for none."""
    token: bool = False
    """Stands for one value per token; ``tensor`` is the first token's."""
    rows: list[Tensor] | None = None
    """Of a value per token that Python made: all of them."""

    @property
    def is_leaf(self) -> bool:
        """Made by nothing that was recorded from other values."""
        return self.op is None or not self.op.inputs()

    @property
    def is_constant(self) -> bool:
        """A parameter, or worked out from parameters alone."""
        if self.op is None:
            return self.parameter is not None
        inputs = self.op.inputs()
        return bool(inputs) and all(v.is_constant for v in inputs)


@dataclass(eq=False)
class Op:
    """One call of a torch function.

    Attributes:
        args, kwargs: as given, tensors replaced by values.
        outputs: the tensors in its result, in order.
    """

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    line: Line | None
    outputs: list[Value] = field(default_factory=list)

    def inputs(self) -> list[Value]:
        """The values among its arguments, in order."""
        return list(values_in((self.args, self.kwargs)))


@dataclass(eq=False)
class Escape:
    """A tensor whose numbers went to Python."""

    value: Value
    how: str
    line: Line | None
    result: Any


@dataclass(eq=False)
class Recording:
    """One run.

    Attributes:
        tokens: the sentence.
        result: what the entry returned, tensors replaced by values.
    """

    tokens: list[str]
    ops: list[Op]
    escapes: list[Escape]
    result: Any


def values_in(tree: Any) -> Iterator[Value]:
    """The values in nested tuples, lists, dicts and slices."""
    if isinstance(tree, Value):
        yield tree
    elif isinstance(tree, (tuple, list)):
        for item in tree:
            yield from values_in(item)
    elif isinstance(tree, dict):
        for item in tree.values():
            yield from values_in(item)


def replaced(tree: Any, change: Callable[[Any], Any]) -> Any:
    """The tree with each leaf changed; objects with attributes become dicts of them."""
    if isinstance(tree, (Tensor, Value, str, bytes, int, float, bool, slice)) or tree is None:
        return change(tree)
    if isinstance(tree, dict):
        return {key: replaced(item, change) for key, item in tree.items()}
    if isinstance(tree, list):
        return [replaced(item, change) for item in tree]
    if isinstance(tree, tuple):
        return tuple(replaced(item, change) for item in tree)
    return change(tree)


@dataclass(frozen=True, eq=False)
class Instead:
    """Numbers to go on with in place of one result of a call.

    Attributes:
        call: which call of the run, from 0.
        output: which tensor of its result.
    """

    call: int
    output: int
    numbers: Tensor

    def put(self, result: Any) -> None:
        """Writes the numbers over the result."""
        tensors: list[Tensor] = []
        replaced(result, lambda x: tensors.append(x) if isinstance(x, Tensor) else None)
        tensors[self.output].copy_(self.numbers)


class _Recorder(TorchFunctionMode):
    """Sees every call of a torch function while it is the mode."""

    def __init__(self, module: nn.Module, args: tuple[Any, ...], instead: "Instead | None" = None) -> None:
        super().__init__()
        self._instead = instead
        self.ops: list[Op] = []
        self.escapes: list[Escape] = []
        self._by_id: dict[int, Value] = {}
        self._by_memory: dict[tuple[Any, ...], Value] = {}
        self._alive: list[Tensor] = []
        self._same_memory: dict[tuple[Any, ...], list[Tensor]] = {}
        self._stale: dict[int, Line | None] = {}
        self._on_storage: dict[int, list[Value]] = {}
        self._arguments = 0
        replaced(_plain(args), lambda x: self._argument(x) if isinstance(x, Tensor) else None)
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            self._know(tensor, Value(tensor.detach(), parameter=name))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", str(func))
        if name in ("__get__", "__set__"):
            attribute = getattr(func.__self__, "__name__", "")
            if name == "__set__" or attribute not in ("T", "mT", "H", "mH", "data", "real"):
                return func(*args, **kwargs)
            name = attribute
        if name in _SILENT and not (name == "type" and len(args) > 1):
            return func(*args, **kwargs)
        if name in _FACTORIES and not (name == "as_tensor" and isinstance(args[0], Tensor)):
            result = func(*args, **kwargs)
            self._know(result, Value(result.detach().clone(), line=_line()))
            return result
        if name in _RANDOM_NEW | _RANDOM_FILL or (name == "dropout" and _dropout_acts(args, kwargs)):
            return self._random(name, func, args, kwargs)
        if name in _ESCAPES:
            result = func(*args, **kwargs)
            self.escapes.append(Escape(self.value(args[0]), name, _line(), copy.copy(result)))
            return result
        if name in ("to", "type_as") and len(args) > 1 and isinstance(args[1], Tensor):
            args, name = (args[0], args[1].dtype), "to"  # only its type and place count
            func = Tensor.to
        line = _line()
        given = replaced((tuple(args), dict(kwargs)), lambda x: self.value(x, line) if isinstance(x, Tensor) else x)
        result = func(*args, **kwargs)
        op = Op(name, *given, line)
        if self._instead is not None and self._instead.call == len(self.ops):
            self._instead.put(result)
        self.ops.append(op)
        self._results(op, result, changed=_changed_in_place(name, args, kwargs))
        return result

    def _argument(self, tensor: Tensor) -> None:
        self._arguments += 1
        self._know(tensor, Value(tensor.detach().clone(), argument=self._arguments))

    def value(self, tensor: Tensor, line: Line | None = None) -> Value:
        """The value of a tensor; one that no recorded function made is a leaf."""
        found = self._by_id.get(id(tensor)) or self._by_memory.get(_memory(tensor))
        if found is None:
            found = Value(tensor.detach().clone(), line=line or _line())
            self._know(tensor, found)
        if id(found) in self._stale and not _reads_arguments(found):
            # Made from parameters and Python's numbers alone: it is what it is now.
            op = Op("refreshed", (found,), {}, line or _line())
            found = Value(tensor.detach().clone(), op, line=op.line)
            op.outputs.append(found)
            self._know(tensor, found)
        if id(found) in self._stale:
            raise LiftError(
                f"{line or _line()}: reads a view of a tensor that {self._stale[id(found)]} has changed in place; "
                "clone it before it is changed"
            )
        return found

    def _random(self, name: str, func: Any, args: Any, kwargs: Any) -> Any:
        if name == "dropout":
            raise LiftError(
                f"{_line()}: dropout is active at inference, so that no two answers agree; pass training=False"
            )
        result = func(*args, **kwargs)
        with torch.no_grad():
            result.zero_()
        line = _line()
        value = Value(result.detach().clone(), line=line, random=True)
        self._know(result, value)
        return result

    def _results(self, op: Op, result: Any, changed: Tensor | None) -> None:
        if changed is not None:
            self._mark_stale(changed, op.line)
        tensors: list[Tensor] = []
        replaced(result, lambda x: tensors.append(x) if isinstance(x, Tensor) else None)
        if changed is not None and not any(t is changed for t in tensors):
            tensors.append(changed)
        random = any(v.random for v in op.inputs()) and op.name not in ("lstm", "gru", "rnn_tanh", "rnn_relu")
        for i, tensor in enumerate(tensors):
            if tensor.dtype in (torch.float16, torch.bfloat16):
                raise LiftError(
                    f"{op.line}: computes in {str(tensor.dtype).removeprefix('torch.')}, whose rounding other "
                    "machines do not repeat; call the module in float32 (model.float())"
                )
            value = Value(tensor.detach().clone(), op, i, line=op.line, random=random)
            op.outputs.append(value)
            self._know(tensor, value)
            if tensor is changed:  # whoever else holds this very memory sees the change
                for other in self._same_memory[_memory(tensor)]:
                    if other is not tensor and _memory(other) == _memory(tensor):
                        self._by_id[id(other)] = value

    def _know(self, tensor: Tensor, value: Value) -> None:
        self._alive.append(tensor)
        self._same_memory.setdefault(_memory(tensor), []).append(tensor)
        self._by_id[id(tensor)] = value
        self._by_memory[_memory(tensor)] = value
        self._on_storage.setdefault(_storage(tensor), []).append(value)

    def _mark_stale(self, tensor: Tensor, line: Line | None) -> None:
        """Whatever else looks at this memory is not what it was."""
        for value in self._on_storage.pop(_storage(tensor), []):
            self._stale[id(value)] = line


def _reads_arguments(value: Value) -> bool:
    return bool(value.argument) or (value.op is not None and any(_reads_arguments(v) for v in value.op.inputs()))


def _changed_in_place(name: str, args: Any, kwargs: Any) -> Tensor | None:
    if name == "__setitem__" or (name.endswith("_") and not name.endswith("__")) or name.startswith("__i"):
        return args[0] if args and isinstance(args[0], Tensor) and name not in ("__invert__", "__index__") else None
    if kwargs.get("inplace") and args:
        return args[0]
    return kwargs.get("out")


def _dropout_acts(args: Any, kwargs: Any) -> bool:
    p = kwargs.get("p", args[1] if len(args) > 1 else 0.5)
    training = kwargs.get("training", kwargs.get("train", args[2] if len(args) > 2 else True))
    return bool(training) and p > 0


def _memory(tensor: Tensor) -> tuple[Any, ...]:
    return (tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype) if tensor.numel() else (id(tensor),)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr() or id(tensor)


def is_authors(file: str) -> bool:
    """Neither torch's nor ours."""
    return not file.startswith((_TORCH, _HERE, "<"))


def _line() -> Line | None:
    """The innermost line that is neither torch's nor ours."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if is_authors(file):
            return Line(file, frame.f_lineno)
        frame = frame.f_back
    return None


class Subject:
    """Somebody's module, as it answers one sentence: every run starts from the same state.

    Tensors that the module keeps for the next call (``self.hidden``) are state of a recurrence: they start as
    zeros. Random initial states are zeros too.
    """

    def __init__(self, module: nn.Module, entry: str, encode: Callable[[list[list[str]]], Any]) -> None:
        self.module = module
        self.entry = entry
        self._encode = encode
        self.notes: set[str] = set()
        self._state: list[tuple[nn.Module, str]] = []

    def find_state(self, tokens: list[str]) -> None:
        """Runs once and remembers which tensors the module keeps for its next call."""
        before = [(m, dict(vars(m))) for m in self.module.modules()]
        with self._fresh() as module, torch.no_grad():
            getattr(module, self.entry)(*self.arguments(tokens))
            self._state = [
                (m, name)
                for m, attributes in before
                for name, value in attributes.items()
                if not type(m).__module__.startswith("torch.nn")
                and _holds_floats(value)
                and vars(m).get(name) is not value
            ]
        for _, name in self._state:
            self.notes.add(f"tensors kept in self.{name} from call to call start at zero")

    @property
    def source(self) -> Line | str:
        """The first line of the entry."""
        code = getattr(getattr(self.module, self.entry), "__code__", None)
        return Line(code.co_filename, code.co_firstlineno) if code else f"{type(self.module).__name__}.{self.entry}"

    def changes(self, tokens: list[str]) -> Line | str | None:
        """Where a second call in a row would be answered otherwise, beside tensors that start at zero each time."""
        args = self.arguments(tokens)
        with self._fresh() as module, _settings(), torch.no_grad(), _Zeros():
            before = [(m, dict(vars(m))) for m in module.modules()]
            first = replaced(_plain(getattr(module, self.entry)(*args)), _copied)
            for m, name in self._state:
                vars(m)[name] = replaced(vars(m)[name], _zeros)
            second = _plain(getattr(module, self.entry)(*args))
            if _alike(first, second):
                return None
            for m, attributes in before:
                for name, value in vars(m).items():
                    if attributes.get(name) is not value:
                        return _mention(type(m), f"self.{name}") or f"self.{name}"
        return self.source

    def arguments(self, tokens: list[str]) -> tuple[Any, ...]:
        """What the entry is called with for one sentence."""
        args = self._encode([tokens])
        return tuple(args) if isinstance(args, (tuple, list)) and not isinstance(args, Tensor) else (args,)

    def record(self, tokens: list[str], instead: "Instead | None" = None) -> Recording:
        """One recorded run.

        Args:
            instead: numbers to go on with in place of what one call gives.

        Raises:
            LiftError: what makes a recording impossible.
        """
        args = self.arguments(tokens)
        with self._fresh() as module, _settings(), torch.no_grad():
            recorder = _Recorder(module, args, instead)
            with recorder:
                result = getattr(module, self.entry)(*args)
            result = replaced(_plain(result), lambda x: recorder.value(x) if isinstance(x, Tensor) else x)
        return Recording(tokens, recorder.ops, recorder.escapes, result)

    def answer(self, tokens: list[str]) -> Any:
        """What the entry returns for one sentence, objects as dicts."""
        args = self.arguments(tokens)
        with self._fresh() as module, _settings(), torch.no_grad(), _Zeros():
            return _plain(getattr(module, self.entry)(*args))

    def on(self, module: nn.Module) -> "Subject":
        """The same, of a copy of the module."""
        other = Subject(module, self.entry, self._encode)
        copies = dict(zip(self.module.modules(), module.modules(), strict=True))
        other._state = [(copies[m], name) for m, name in self._state]
        return other

    def _fresh(self) -> "_Fresh":
        return _Fresh(self.module, self._state)


def _copied(x: Any) -> Any:
    return x.detach().clone() if isinstance(x, Tensor) else copy.copy(x)


def _alike(a: Any, b: Any) -> bool:
    flat: list[list[Any]] = [[], []]
    for tree, found in zip((a, b), flat, strict=True):
        replaced(tree, found.append)
    return len(flat[0]) == len(flat[1]) and all(
        x is y or np.array_equal(_array(x), _array(y)) for x, y in zip(*flat, strict=True)
    )


def _array(x: Any) -> Any:
    return x.detach().numpy() if isinstance(x, Tensor) else x


def _mention(cls: type, text: str) -> Line | None:
    """The first line of a class after its constructor that says something."""
    for name, method in vars(cls).items():
        code = getattr(method, "__code__", None)
        if code is None or name == "__init__":
            continue
        for _, _, number in code.co_lines():
            if number and text in linecache.getline(code.co_filename, number):
                return Line(code.co_filename, number)
    return None


class _Fresh:
    """The module in evaluation mode with the state it keeps at zero; afterwards as it was."""

    def __init__(self, module: nn.Module, state: list[tuple[nn.Module, str]]) -> None:
        self._module = module
        self._state = state

    def __enter__(self) -> nn.Module:
        self._training = [(m, m.training) for m in self._module.modules()]
        self._kept = [(m, dict(vars(m))) for m in self._module.modules()]
        self._buffers = [(b, b.detach().clone()) for b in self._module.buffers()]
        self._module.eval()
        for module, name in self._state:
            vars(module)[name] = replaced(vars(module)[name], _zeros)
        return self._module

    def __exit__(self, *_: object) -> None:
        for module, attributes in self._kept:
            vars(module).clear()
            vars(module).update(attributes)
        with torch.no_grad():
            for buffer, before in self._buffers:
                buffer.copy_(before)
        for module, training in self._training:
            module.training = training


def _holds_floats(value: Any) -> bool:
    found: list[bool] = []
    replaced(value, lambda x: found.append(isinstance(x, Tensor) and x.is_floating_point()))
    return bool(found) and len(found) <= 8 and all(found)


def _zeros(x: Any) -> Any:
    return torch.zeros_like(x).detach() if isinstance(x, Tensor) else x


class _Zeros(TorchFunctionMode):
    """Random numbers are zeros, as in a recording."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") in _RANDOM_NEW | _RANDOM_FILL:
            result.zero_()
        return result


class _settings:
    """Fused fast paths off: they hide what is computed, and some drop masks."""

    def __enter__(self) -> None:
        self._fast = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)

    def __exit__(self, *_: object) -> None:
        torch.backends.mha.set_fastpath_enabled(self._fast)


def _plain(result: Any) -> Any:
    """The result with objects as dicts of their attributes."""
    if isinstance(result, (Tensor, str, int, float, bool)) or result is None:
        return result
    if isinstance(result, dict):
        return {key: _plain(item) for key, item in result.items()}
    if isinstance(result, tuple) and hasattr(result, "_fields"):
        return {name: _plain(item) for name, item in zip(result._fields, result, strict=True)}
    if isinstance(result, (list, tuple)):
        return [_plain(item) for item in result]
    slots = [name for cls in type(result).__mro__ for name in getattr(cls, "__slots__", ())]
    attributes = vars(result) if hasattr(result, "__dict__") else {s: getattr(result, s) for s in slots}
    return {name: _plain(item) for name, item in attributes.items()} if attributes else result
