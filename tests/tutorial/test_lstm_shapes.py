"""The tutorial's first system: a two-layer LSTM, its weight shapes, and its states in and out as ONNX."""

import numpy as np
import onnxruntime
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from lstm_deploy.export.recurrent import lstm_model  # noqa: E402


def _session(model):
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def test_each_weight_is_four_times_that_of_an_rnn():
    lstm, rnn = torch.nn.LSTM(10, 20, 2), torch.nn.RNN(10, 20, 2)
    expected = {
        "weight_ih_l0": (80, 10),
        "weight_hh_l0": (80, 20),
        "bias_ih_l0": (80,),
        "bias_hh_l0": (80,),
        "weight_ih_l1": (80, 20),
        "weight_hh_l1": (80, 20),
        "bias_ih_l1": (80,),
        "bias_hh_l1": (80,),
    }
    assert {name: tuple(value.shape) for name, value in lstm.named_parameters()} == expected
    for name, value in rnn.named_parameters():
        assert expected[name] == (4 * value.shape[0], *value.shape[1:])


def test_exported_lstm_gives_pytorchs_output_and_states():
    torch.manual_seed(0)
    lstm = torch.nn.LSTM(10, 20, 2)
    x, h0, c0 = torch.randn(100, 32, 10), torch.randn(2, 32, 20), torch.randn(2, 32, 20)
    output, (hn, cn) = lstm(x, (h0, c0))
    feeds = {"input": x.numpy(), "h0": h0.numpy(), "c0": c0.numpy()}
    found = _session(lstm_model(lstm)).run(["output", "hn", "cn"], feeds)
    assert [value.shape for value in found] == [(100, 32, 20), (2, 32, 20), (2, 32, 20)]
    for got, expected in zip(found, (output, hn, cn), strict=True):
        np.testing.assert_allclose(got, expected.detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_every_form_of_lstm_and_every_size_through_one_file(layers, bidirectional, batch_first, bias):
    torch.manual_seed(layers)
    lstm = torch.nn.LSTM(5, 7, layers, bidirectional=bidirectional, batch_first=batch_first, bias=bias)
    session = _session(lstm_model(lstm))
    for batch, sequence in ((1, 1), (3, 11), (8, 2)):
        x = torch.randn((batch, sequence, 5) if batch_first else (sequence, batch, 5))
        states = [torch.randn(layers * (1 + bidirectional), batch, 7) for _ in range(2)]
        output, (hn, cn) = lstm(x, tuple(states))
        feeds = dict(zip(("input", "h0", "c0"), (value.numpy() for value in (x, *states)), strict=True))
        for got, expected in zip(session.run(["output", "hn", "cn"], feeds), (output, hn, cn), strict=True):
            np.testing.assert_allclose(got, expected.detach().numpy(), atol=1e-5)


def test_projection_is_refused():
    with pytest.raises(ValueError, match="proj_size=3"):
        lstm_model(torch.nn.LSTM(5, 7, proj_size=3))
