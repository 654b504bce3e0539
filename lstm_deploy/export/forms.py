"""One transformation: recurrent operators that are given ``sequence_lens`` -> a form that other runtimes run right.

Several runtimes ignore ``sequence_lens`` without a word, and are wrong on ragged batches read backward. In both forms
here the operators know no lengths, and what stands at padding reaches no token:

``reverse_sequence``
    1. Every direction is an operator of its own that runs forward.
    2. What reads backward gets each row turned by its length (ReverseSequence), and its output is turned back.
    3. The last state of a direction is the first step of its output, turned.
``gate``
    1. What runs forward meets padding after the sentence: it needs nothing.
    2. For an LSTM that reads backward the input is zero at padding, and has one more feature, 1 at padding and 0
       elsewhere, whose weight shuts the input and the forget gate: the state is zero there, as before the sentence.
    3. The last state of what runs forward is picked out by length; backward it is right as it is.

A graph in which somebody needs the last cell state has none of the two. The second is made for tract, and refuses what
tract has wrong: an operator that reads backward only, and another recurrence than an LSTM that reads backward (its
update gate is open all but a millionth there, and lets the state drift: 2e-4 measured after 400 steps).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from ..metadata import GraphForm
from ..providers import RECURRENT

_SHUT = 1e4
"""Sigmoid of its negative is 0 in float32, whatever a trained cell adds from its bias and a state of zero."""
_KNOWN = {"hidden_size", "direction", "activations", "linear_before_reset"}
"""Attributes that the forms keep."""


def hindrance(model: onnx.ModelProto, form: GraphForm) -> str | None:
    """Why ``model`` has no such form, or None where it has: the operator and what stands against it."""
    if form == "sequence_lens":
        return None
    constants = {c.name for c in model.graph.initializer}
    for graph in _graphs(model.graph):
        used = _used(graph)
        known = constants | {n.output[0] for n in graph.node if n.op_type == "Cast" and n.input[0] in constants}
        for node in graph.node:
            if _given_lengths(node) and (against := _against(node, used, known, form)):
                return against
    return None


def _against(node: NodeProto, used: Counter[str], known: set[str], form: GraphForm) -> str | None:
    """Why one operator has no such form. ``known``: values that are constants, cast at most."""
    name = _name(node)
    if odd := {a.name for a in node.attribute} - _KNOWN:
        return f"{name} has the attribute {sorted(odd)[0]}"
    if any(node.input[7:]):
        return f"{name} has peepholes"
    if len(node.output) > 2 and used[node.output[2]]:
        return f"the last cell state of {name} is used"
    if form == "gate" and _direction(node) != "forward":
        if node.op_type != "LSTM":
            return f"{name} is a {node.op_type} that reads backward, whose state cannot be kept over padding"
        if _direction(node) == "reverse":
            return f"{name} is an operator that reads backward only"
        if any(node.input[5:7]):
            return f"{name} reads backward from an initial state, which its gates would forget"
        if node.input[1] not in known:
            return f"the weights of {name} are computed"
    return None


def in_form(model: onnx.ModelProto, form: GraphForm) -> onnx.ModelProto:
    """``model`` with its recurrent operators rewritten; the same object where there is nothing to do.

    Raises:
        ValueError: it has no such form.
    """
    if form == "sequence_lens" or not any(_given_lengths(n) for g in _graphs(model.graph) for n in g.node):
        return model
    if against := hindrance(model, form):
        raise ValueError(f"no graph form {form}: {against}")
    rewritten = onnx.ModelProto()
    rewritten.CopyFrom(model)
    taken = _names(rewritten.graph)
    # Inner graphs first: what is put back into an outer one are copies.
    for graph in reversed(list(_graphs(rewritten.graph))):
        _Rewriter(rewritten.graph, graph, form, taken).run()
    _drop_unread(rewritten.graph)
    onnx.checker.check_model(rewritten, full_check=True)
    return rewritten


class _Rewriter:
    """Rewrites one graph, whose constants stand in ``outer``."""

    def __init__(self, outer: onnx.GraphProto, graph: onnx.GraphProto, form: GraphForm, taken: set[str]) -> None:
        self._outer, self._graph, self._form, self._taken = outer, graph, form, taken
        self._constants = {c.name: c for c in outer.initializer}
        self._nodes: list[NodeProto] = []
        self._done: dict[tuple[str, ...], str] = {}
        self._used = _used(graph)
        self._readers = {name: node for node in graph.node for name in node.input}
        self._skipped: set[str] = set()

    def run(self) -> None:
        for node in self._graph.node:
            if node.output[0] in self._skipped:
                continue
            if _given_lengths(node):
                (self._reversed if self._form == "reverse_sequence" else self._gated)(node)
            else:
                self._nodes.append(node)
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)

    # -- reverse_sequence

    def _reversed(self, node: NodeProto) -> None:
        x, lengths = node.input[0], self._long(node.input[4])
        ways = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}[_direction(node)]
        steps, lasts = [], []
        for d, backward in enumerate(ways):
            name = f"{_name(node)}.{'backward' if backward else 'forward'}"
            turned = self._turned(x, lengths) if backward else x
            y = self._node(node.op_type, [turned, *self._part(node, d, len(ways))], f"{name}.y", **_one(node, d))
            flat = self._node("Squeeze", [y, self._ints("one", 1)], f"{name}.flat")  # (sequence, batch, hidden)
            by_token = self._turned(flat, lengths) if backward else flat
            steps.append(by_token)
            if self._reads(node, 1):
                first_of = by_token if backward else self._turned(flat, lengths)
                lasts.append(self._node("Gather", [first_of, self._ints("zero", 0)], f"{name}.last", axis=0))
        if self._reads(node, 0):
            self._beside(node, steps)
        if lasts:
            self._joined(lasts, node.output[1], axis=0)

    def _beside(self, node: NodeProto, steps: list[str]) -> None:
        """The directions as Y (sequence, directions, batch, hidden), or at once as what only lays that flat."""
        y = node.output[0]
        turned = self._readers.get(y)
        if (
            turned is not None
            and self._used[y] == 1
            and turned.op_type == "Transpose"
            and _perm(turned) == [0, 2, 1, 3]
        ):
            flat = self._readers.get(turned.output[0])
            sizes = self._constants.get(flat.input[1]) if flat is not None and flat.op_type == "Reshape" else None
            if flat is not None and self._used[turned.output[0]] == 1 and sizes is not None:
                shape = numpy_helper.to_array(sizes)
                if len(shape) == 3 and not shape[:2].any():
                    self._skipped |= {turned.output[0], flat.output[0]}
                    self._joined(steps, flat.output[0], axis=2)
                    return
        apart = [self._node("Unsqueeze", [s, self._ints("one", 1)], f"{s}.apart") for s in steps]
        self._joined(apart, y, axis=1)

    def _turned(self, x: str, lengths: str) -> str:
        """Each row's tokens in reverse order, its padding where it was; once for each value."""
        key = ("turned", x, lengths)
        if key not in self._done:
            self._done[key] = self._node("ReverseSequence", [x, lengths], f"{x}.turned", time_axis=0, batch_axis=1)
        return self._done[key]

    def _long(self, lengths: str) -> str:
        key = ("long", lengths)
        if key not in self._done:
            self._done[key] = self._node("Cast", [lengths], f"{lengths}.long", to=TensorProto.INT64)
        return self._done[key]

    def _part(self, node: NodeProto, d: int, count: int) -> list[str]:
        """W, R, B and the initial states of direction ``d``, "" where there is none."""
        names = [*node.input[1:4], "", *node.input[5:7]]
        found = [self._cut(name, d, count) if name else "" for name in names]
        while found and not found[-1]:
            found.pop()
        return found

    def _cut(self, name: str, d: int, count: int) -> str:
        if count == 1:
            return name
        if name in self._constants:
            return self._constant(f"{name}.{d}", numpy_helper.to_array(self._constants[name])[d : d + 1])
        if ("split", name, "0") not in self._done:
            parts = [self._fresh(f"{name}.{i}") for i in range(count)]
            self._nodes.append(helper.make_node("Split", [name], parts, name=parts[0], axis=0))
            self._done |= {("split", name, str(i)): part for i, part in enumerate(parts)}
        return self._done["split", name, str(d)]

    # -- gate

    def _gated(self, node: NodeProto) -> None:
        x, lengths = node.input[0], node.input[4]
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        inputs = [*node.input[:4], "", *node.input[5:7]]
        if _direction(node) != "forward":
            inputs[0] = self._with_padding(x, lengths)
            inputs[1] = self._wider(node.input[1])
        while not inputs[-1]:
            inputs.pop()
        outputs = [name or self._fresh(f"{_name(node)}.unread_{i}") for i, name in enumerate(node.output)]
        if self._reads(node, 1):
            outputs[1] = self._fresh(f"{node.output[1]}.at_the_end")
        self._nodes.append(
            helper.make_node(node.op_type, inputs, outputs[:2], name=f"{_name(node)}.gated", **attributes)
        )
        if self._reads(node, 1):
            self._last(node, outputs, lengths)

    def _last(self, node: NodeProto, outputs: list[str], lengths: str) -> None:
        """The last states, forward ones picked out of Y; backward ones stand at the first token, where the run ends."""
        both = _direction(node) == "bidirectional"
        mark = self._ends(node.input[0], lengths)  # (sequence, 1, batch, 1), true at each row's last token
        picked = self._node("Where", [mark, outputs[0], self._zero()], f"{_name(node)}.picked")
        summed = self._fresh(f"{_name(node)}.summed") if both else node.output[1]
        self._nodes.append(
            helper.make_node("ReduceSum", [picked, self._ints("zero", 0)], [summed], name=summed, keepdims=0)
        )
        if both:
            forward = self._node("Slice", [summed, *self._range(0, 1)], f"{_name(node)}.last_forward")
            backward = self._node("Slice", [outputs[1], *self._range(1, 2)], f"{_name(node)}.last_backward")
            self._joined([forward, backward], node.output[1], axis=0)

    def _zero(self) -> str:
        return self._constant("form.zero", np.array(0, np.float32))

    def _range(self, start: int, stop: int) -> list[str]:
        return [self._ints(f"from_{start}", start), self._ints(f"to_{stop}", stop), self._ints("zero", 0)]

    def _steps(self, x: str) -> str:
        """int32 (sequence, 1): 0, 1, 2 ... along the first axis of ``x``."""
        key = ("steps", x)
        if key not in self._done:
            shape = self._node("Shape", [x], f"{x}.shape")
            scalars = [self._constant(f"form.scalar_{v}", np.array(v, np.int64)) for v in (0, 1)]
            size = self._node("Gather", [shape, scalars[0]], f"{x}.size", axis=0)
            steps = self._node("Range", [scalars[0], size, scalars[1]], f"{x}.steps")
            short = self._node("Cast", [steps], f"{x}.short_steps", to=TensorProto.INT32)
            self._done[key] = self._node("Unsqueeze", [short, self._ints("one", 1)], f"{x}.step_column")
        return self._done[key]

    def _with_padding(self, x: str, lengths: str) -> str:
        """``x`` with zeros at padding, whatever stood there, and one more feature, 1 at padding; once a value."""
        key = ("with padding", x, lengths)
        if key not in self._done:
            column = self._node("Less", [self._steps(x), lengths], f"{x}.real")
            real = self._node("Unsqueeze", [column, self._ints("two", 2)], f"{x}.real_column")  # (sequence, batch, 1)
            clean = self._node("Where", [real, x, self._zero()], f"{x}.clean")
            padding = self._node("Cast", [self._node("Not", [real], f"{x}.not_real")], f"{x}.padding", to=1)
            self._done[key] = self._node("Concat", [clean, padding], f"{x}.with_padding", axis=2)
        return self._done[key]

    def _ends(self, x: str, lengths: str) -> str:
        """(sequence, 1, batch, 1) bool: the last token of each row."""
        key = ("ends", x, lengths)
        if key not in self._done:
            one = self._constant("form.short_one", np.array(1, np.int32))
            last = self._node("Sub", [lengths, one], f"{lengths}.last")
            there = self._node("Equal", [self._steps(x), last], f"{x}.is_last")
            axes = self._constant("form.ends_axes", np.array([1, 3], np.int64))
            self._done[key] = self._node("Unsqueeze", [there, axes], f"{x}.last_mark")
        return self._done[key]

    def _wider(self, name: str) -> str:
        """W with the weight of the feature that marks padding."""
        key = ("wider", name)
        if key in self._done:
            return self._done[key]
        if name in self._constants:
            wide = self._constant(f"{name}.gated", _with_padding_weight(numpy_helper.to_array(self._constants[name])))
        else:  # float16, cast where it is used
            cast = next(n for n in self._nodes if name in n.output)
            half = numpy_helper.to_array(self._constants[cast.input[0]])
            stored = self._constant(f"{cast.input[0]}.gated", _with_padding_weight(half))
            wide = self._node("Cast", [stored], f"{name}.gated", to=TensorProto.FLOAT)
        self._done[key] = wide
        return wide

    # -- both

    def _reads(self, node: NodeProto, output: int) -> bool:
        return len(node.output) > output and bool(self._used[node.output[output]])

    def _joined(self, names: list[str], output: str, axis: int) -> None:
        op, more = ("Concat", {"axis": axis}) if len(names) > 1 else ("Identity", {})
        self._nodes.append(helper.make_node(op, names, [output], name=output, **more))

    def _node(self, op_type: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        output = self._fresh(output)
        self._nodes.append(helper.make_node(op_type, list(inputs), [output], name=output, **attributes))
        return output

    def _ints(self, name: str, value: int) -> str:
        return self._constant(f"form.axis_{name}", np.array([value], np.int64))

    def _constant(self, name: str, value: NDArray[Any]) -> str:
        """The name of a constant of that value, added to the outermost graph unless it is there."""
        key = ("constant", name)
        if key not in self._done:
            there = self._constants.get(name)
            if there is None or not _same(numpy_helper.to_array(there), value):
                name = self._fresh(name)
                tensor = numpy_helper.from_array(value.copy(order="C"), name)
                self._outer.initializer.append(tensor)
                self._constants[name] = tensor
            self._done[key] = name
        return self._done[key]

    def _fresh(self, name: str) -> str:
        """``name``, or one like it that no value of the model has."""
        found, number = name, 2
        while found in self._taken:
            found, number = f"{name}.{number}", number + 1
        self._taken.add(found)
        return found


def _same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def _names(graph: onnx.GraphProto) -> set[str]:
    """Every value's name, in the graph and in its subgraphs."""
    found = {v.name for part in (graph.input, graph.output, graph.initializer) for v in part}
    for node in graph.node:
        found.update(node.input, node.output)
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                found |= _names(inner)
    return found


def _with_padding_weight(w: NDArray[Any]) -> NDArray[Any]:
    """(directions, 4 * hidden, input + 1): W of an LSTM with a column for the feature that marks padding."""
    i, o, f, c = np.split(np.zeros((*w.shape[:2], 1), w.dtype), 4, axis=1)
    return np.concatenate([w, np.concatenate([i - _SHUT, o, f - _SHUT, c], axis=1).astype(w.dtype)], axis=2)


def _name(node: NodeProto) -> str:
    return node.name or next(filter(None, node.output))


def _given_lengths(node: NodeProto) -> bool:
    return node.op_type in RECURRENT and len(node.input) > 4 and bool(node.input[4])


def _direction(node: NodeProto) -> str:
    return next((a.s.decode() for a in node.attribute if a.name == "direction"), "forward")


def _perm(node: NodeProto) -> list[int]:
    return next((list(a.ints) for a in node.attribute if a.name == "perm"), [])


def _one(node: NodeProto, d: int) -> dict[str, Any]:
    """The attributes for one direction that runs forward."""
    found = {a.name: helper.get_attribute_value(a) for a in node.attribute if a.name != "direction"}
    if "activations" in found:
        each = len(found["activations"]) // (2 if _direction(node) == "bidirectional" else 1)
        found["activations"] = found["activations"][d * each : (d + 1) * each]
    return found


def _used(graph: onnx.GraphProto) -> Counter[str]:
    """How often each value is read, in the graph, in its subgraphs or as its output."""
    found = Counter(output.name for output in graph.output)
    for node in graph.node:
        found.update(node.input)
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                found.update(_used(inner))
    return found


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """``graph`` and all graphs inside it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    yield from _graphs(inner)


def _drop_unread(graph: onnx.GraphProto) -> None:
    """Constants that nobody reads any more go; they would make the file larger."""
    read = _used(graph)
    kept = [c for c in graph.initializer if read[c.name]]
    del graph.initializer[:]
    graph.initializer.extend(kept)
