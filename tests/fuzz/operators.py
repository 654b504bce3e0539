"""The operators that are let in, one or two at a time, on values of any shape: where onnxruntime itself may fall over.

A graph is made of inputs and constants, of operators that may empty or widen them, and of the one that is tried; the
rules for graphs see it first, as they see any file, and what they let pass is loaded and run.
"""

import random
from pathlib import Path
from typing import Any

import numpy as np

from .classes import FuzzClass

_SHAPES = (
    (), (0,), (1,), (2,), (3,), (4,), (0, 2), (2, 0), (0, 0), (1, 1), (1, 3), (2, 1), (2, 3), (3, 2), (3, 3), (0, 2, 3),
    (2, 0, 3), (2, 3, 0), (1, 0, 1), (1, 2, 3), (2, 3, 4), (3, 1, 2), (2, 2, 0, 2), (0, 1, 2, 2), (1, 2, 3, 4),
    (1, 1, 1, 1), (2, 2, 2, 2, 2),
)  # fmt: skip
_INTEGERS = (
    -(2**63),
    -(2**31),
    -7,
    -3,
    -2,
    -1,
    0,
    0,
    0,
    1,
    1,
    1,
    2,
    2,
    3,
    4,
    7,
    8,
    100,
    2**20,
    2**24,
    2**31 - 1,
    2**63 - 1,
)
_NUMBERS = (-1e30, -3.4e38, -2.0, -1.0, -0.0, 0.0, 0.5, 1.0, 2.0, 1e-40, 3.4e38)
_TYPES = {
    "tensor(float)": np.float32,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
}
_EQUATIONS = (
    *("ij,jk->ik", "i,j->ij", "ij->i", "ij->ji", "ijk,ikl->ijl", "ii->i", "...i,...i->...", "ij,ij"),
    *("->", "i,i->"),
)
_TEXTS = ("forward", "reverse", "bidirectional", "SAME_UPPER", "VALID", "NOTSET", "add", "")
_EMPTYING = ("Slice", "NonZero", "Split", "Gather", "Expand", "Reshape", "ConstantOfShape")
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_SIZES = (0, 1, 1, 2, 3)


class Operators(FuzzClass):
    """A graph of one or two operators a case."""

    name = "operators"
    about = (
        "each operator that is let in, on constants of any shape, empty ones too, with any attributes; loaded and run"
    )
    wanted = 300_000
    memory = 4 << 30
    guarded = True

    def prepare(self) -> None:
        """onnx writes the graphs."""
        import onnx
        import onnxruntime

        from lstm_deploy import graph_rules

        self.onnx, self.runtime, self.rules = onnx, onnxruntime, graph_rules
        self.operators = sorted(graph_rules.OPERATORS)
        self.schemas = {op: onnx.defs.get_schema(op, graph_rules.OPSET) for op in self.operators}

    def case(self, index: int) -> tuple[bytes, dict[str, Any]]:
        """An ONNX model, and what it is fed."""
        drawn = self.drawn(index)
        helper = self.onnx.helper
        constants: dict[str, Any] = {}
        op = self.operators[index % len(self.operators)]
        node = self._node(drawn, op, constants, "y")
        nodes = [node]
        inputs = []
        for name in sorted(constants):
            if constants[name].size and drawn.random() < 0.5:
                inputs.append(name)
            if drawn.random() < 0.3:  # what is tried gets what another operator made of it
                nodes.insert(0, self._emptied(drawn, name, constants))
                self._rename(node, name)
        outputs = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
        tensors = [self.onnx.numpy_helper.from_array(v, name) for name, v in constants.items() if name not in inputs]
        kind = helper.np_dtype_to_tensor_dtype
        values = [
            helper.make_tensor_value_info(n, kind(v.dtype), [None] * v.ndim)
            for n, v in constants.items()
            if n in inputs
        ]
        graph = helper.make_graph(nodes, "g", values, outputs, tensors)
        opset = [helper.make_opsetid("", self.rules.OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=self.rules.IR_VERSION)
        return model.SerializeToString(), {name: constants[name] for name in inputs}

    def _rename(self, node: Any, name: str) -> None:
        for at, each in enumerate(node.input):
            if each == name:
                node.input[at] = f"{name}.made"

    def _emptied(self, drawn: random.Random, name: str, constants: dict[str, Any]) -> Any:
        op = drawn.choice(_EMPTYING)
        more: list[str] = []
        if op == "Slice":
            values = [
                drawn.choice((0, 0, 1, 2, -1)),
                drawn.choice((0, 0, 1, 2, -1, 2**63 - 1)),
                drawn.choice((0, 1, -1)),
            ]
            more = [self._put(constants, f"{name}.{i}", np.array([v], np.int64)) for i, v in enumerate(values)]
        elif op in ("Gather", "Expand", "Reshape"):
            shape = [drawn.choice(_SIZES) for _ in range(drawn.choice((0, 1, 2, 3)))]
            more = [self._put(constants, f"{name}.0", np.array(shape, np.int64))]
        return self.onnx.helper.make_node(op, [name, *more], [f"{name}.made"])

    def _put(self, constants: dict[str, Any], name: str, value: Any) -> str:
        constants[name] = value
        return name

    def _node(self, drawn: random.Random, op: str, constants: dict[str, Any], output: str) -> Any:
        schema = self.schemas[op]
        option = self.onnx.defs.OpSchema.FormalParameterOption
        formal = list(schema.inputs)
        if formal and formal[-1].option == option.Variadic:
            formal = [*formal[:-1], *[formal[-1]] * drawn.choice((1, 2, 3))]
        common = drawn.choice(_SHAPES)
        names = []
        chosen: dict[str, str] = {}
        for at, parameter in enumerate(formal):
            if parameter.option == option.Optional and drawn.random() < 0.5:
                names.append("")
                continue
            allowed = [
                t
                for c in schema.type_constraints
                if c.type_param_str == parameter.type_str
                for t in c.allowed_type_strs
            ]
            known = [t for t in _TYPES if t in (allowed or [parameter.type_str])]
            if not known:
                names.append("")
                continue
            first = known[0] if drawn.random() < 0.6 else drawn.choice(known)
            kind = chosen.setdefault(parameter.type_str, first)
            shape = common if drawn.random() < 0.5 else drawn.choice(_SHAPES)
            if op in _GATES:
                shape = self._of_recurrence(drawn, op, at)
            names.append(self._put(constants, f"x{at}", self._array(drawn, shape, _TYPES[kind], at)))
        while names and not names[-1] and drawn.random() < 0.8:
            names.pop()
        outputs = [output, *(f"{output}{i}" for i in range(1, len(schema.outputs)) if drawn.random() < 0.3)]
        if op == "Split":
            outputs = [f"{output}{i}" for i in range(drawn.choice((1, 2, 3)))]
        return self.onnx.helper.make_node(op, names, outputs, **self._attributes(drawn, op, schema))

    def _of_recurrence(self, drawn: random.Random, op: str, at: int) -> tuple[int, ...]:
        gates, hidden, batch = _GATES[op], 2, drawn.choice(_SIZES)
        usual = (
            (drawn.choice(_SIZES), batch, 3), (1, gates * hidden, 3), (1, gates * hidden, hidden),
            (1, 2 * gates * hidden), (batch,), (1, batch, hidden), (1, batch, hidden), (1, 3 * hidden),
        )[at]  # fmt: skip
        return usual if drawn.random() < 0.93 else drawn.choice(_SHAPES)

    def _array(self, drawn: random.Random, shape: tuple[int, ...], dtype: Any, at: int) -> Any:
        size = int(np.prod(shape))
        if dtype == np.float32:
            return np.array([drawn.choice(_NUMBERS) for _ in range(size)], dtype).reshape(shape)
        if dtype in (np.int64, np.int32):
            some = _INTEGERS if drawn.random() < 0.3 else (-1, 0, 0, 1, 1, 2, 3)
            bounds = np.iinfo(dtype)
            values = [max(min(drawn.choice(some), bounds.max), bounds.min) for _ in range(size)]
            return np.array(values, dtype).reshape(shape)
        return np.array([drawn.randrange(2 if dtype == np.bool_ else 100) for _ in range(size)], dtype).reshape(shape)

    def _attributes(self, drawn: random.Random, op: str, schema: Any) -> dict[str, Any]:
        kinds = self.onnx.defs.OpSchema.AttrType
        found: dict[str, Any] = {}
        for name, about in schema.attributes.items():
            if not about.required and drawn.random() < 0.7:
                continue
            if about.type == kinds.INT:
                found[name] = (
                    drawn.choice(_INTEGERS) if drawn.random() < 0.2 else drawn.choice((-2, -1, 0, 0, 1, 1, 2, 3))
                )
            elif about.type == kinds.INTS:
                size = drawn.choice((0, 1, 1, 2, 2, 3, 4))
                some = _INTEGERS if drawn.random() < 0.2 else (-1, 0, 0, 1, 1, 2, 3)
                found[name] = [drawn.choice(some) for _ in range(size)]
            elif about.type == kinds.FLOAT:
                found[name] = drawn.choice(_NUMBERS)
            elif about.type == kinds.STRING and op == "Einsum":
                found[name] = drawn.choice(_EQUATIONS)
            elif about.type == kinds.STRING:
                found[name] = drawn.choice(
                    ("forward", "reverse", "bidirectional", "SAME_UPPER", "VALID", "NOTSET", "add", "")
                )
        if op == "Cast":
            found["to"] = drawn.choice((1, 2, 3, 6, 7, 9, 10, 11, 11))
        if op in _GATES:
            found |= {"hidden_size": drawn.choice((2, 2, 2, 2, 2, 2, 0, 1, 2**31))}
            found = {k: v for k, v in found.items() if drawn.random() < 0.3 or k == "hidden_size"}
        return {name: value for name, value in found.items() if value != []}

    def save(self, case: tuple[bytes, dict[str, Any]], path: Path) -> None:
        """The model; what it is fed stands beside it."""
        path.write_bytes(case[0])
        np.savez(path.with_name(f"{path.name}.npz"), **case[1])

    def one(self, case: tuple[bytes, dict[str, Any]]) -> str:
        """Rules, session, run."""
        from lstm_deploy.errors import UnsafeModelError
        from lstm_deploy.modelfile import ModelFile, parse_model_file

        data, feeds = case
        if self.guarded and (fact := self.rules.problem(parse_model_file(ModelFile(Path("case"), data, "")))):
            raise UnsafeModelError(f"refused: {fact}")
        options = self.runtime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        options.enable_cpu_mem_arena = False
        try:
            on = ["CPUExecutionProvider"]
            session = self.runtime.InferenceSession(data, options, providers=on, enable_fallback=0)
            session.run(None, feeds)
        except Exception as e:
            if "bad_alloc" in str(e) or "Failed to allocate" in str(e):
                raise MemoryError from e
            return "refused"
        return "answered"


CLASSES = (Operators(),)
