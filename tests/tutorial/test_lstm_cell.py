"""The tutorial's second system: one cell with its gates written out, a head and log-softmax, as one exported step."""

import numpy as np
import onnxruntime
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from torch import nn  # noqa: E402

from lstm_deploy.export.recurrent import cell_model  # noqa: E402

INPUT, HIDDEN, TAGS = 10, 20, 10


class Cell(nn.Module):
    """A cell over [input, hidden]; with ``shared`` all gates use one layer, as in the tutorial."""

    def __init__(self, *, shared):
        super().__init__()
        one = nn.Linear(INPUT + HIDDEN, HIDDEN)
        self.gates = nn.ModuleDict({gate: one if shared else nn.Linear(INPUT + HIDDEN, HIDDEN) for gate in "ifgo"})
        self.head = nn.Linear(HIDDEN, TAGS)

    def forward(self, x, hidden, cell):
        both = torch.cat((x, hidden), 1)
        i, f, o = (self.gates[gate](both).sigmoid() for gate in "ifo")
        cell = f * cell + i * self.gates["g"](both).tanh()
        hidden = o * cell.tanh()
        return self.head(hidden).log_softmax(1), hidden, cell


def _exported(cell):
    model = cell_model(dict(cell.gates), cell.head)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = ["output", "next_hidden", "next_cell"]
    return lambda *values: session.run(
        names, dict(zip(("input", "hidden", "cell"), (value.numpy() for value in values), strict=True))
    )


def test_own_gates_equal_pytorchs_cell():
    torch.manual_seed(1)
    cell, reference = Cell(shared=False), nn.LSTMCell(INPUT, HIDDEN)
    with torch.no_grad():
        stacked = torch.cat([cell.gates[gate].weight for gate in "ifgo"])
        reference.weight_ih.copy_(stacked[:, :INPUT])
        reference.weight_hh.copy_(stacked[:, INPUT:])
        reference.bias_ih.copy_(torch.cat([cell.gates[gate].bias for gate in "ifgo"]))
        reference.bias_hh.zero_()
    x, h, c = torch.randn(32, INPUT), torch.randn(32, HIDDEN), torch.randn(32, HIDDEN)
    _, hidden, state = cell(x, h, c)
    expected = reference(x, (h, c))
    torch.testing.assert_close(hidden, expected[0])
    torch.testing.assert_close(state, expected[1])


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("batch", [32, 1])
def test_exported_step_equals_pytorch(shared, batch):
    torch.manual_seed(2)
    cell = Cell(shared=shared)
    values = torch.randn(batch, INPUT), torch.randn(batch, HIDDEN), torch.randn(batch, HIDDEN)
    found = _exported(cell)(*values)
    assert [value.shape for value in found] == [(batch, TAGS), (batch, HIDDEN), (batch, HIDDEN)]
    for got, expected in zip(found, cell(*values), strict=True):
        np.testing.assert_allclose(got, expected.detach().numpy(), atol=1e-5)


def test_exported_steps_in_a_row_equal_pytorchs():
    torch.manual_seed(3)
    cell = Cell(shared=False)
    step = _exported(cell)
    hidden, state = torch.zeros(4, HIDDEN), torch.zeros(4, HIDDEN)
    ours = (None, hidden.numpy(), state.numpy())
    for x in torch.randn(6, 4, INPUT):
        output, hidden, state = cell(x, hidden, state)
        ours = step(x, torch.from_numpy(ours[1]), torch.from_numpy(ours[2]))
    for got, expected in zip(ours, (output, hidden, state), strict=True):
        np.testing.assert_allclose(got, expected.detach().numpy(), atol=1e-5)
