"""onnxruntime with a CUDA provider that is pretended: its sessions say CUDA and run on the CPU.

What the CPU cannot show (libraries, kernels, memory of a GPU) is for tests/gpu; all that the package itself does for
CUDA goes through here.
"""

from types import SimpleNamespace

import onnxruntime

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
AVAILABLE = [CUDA, CPU]
_Real = onnxruntime.InferenceSession


class Session:
    """A session that was asked for CUDA.

    Attributes:
        device: number of the GPU.
        options: the provider's options.
        shapes: (rows, columns) of each batch that it ran.
        outputs: names asked for in each run.
        most: cells that fit into its memory.
        on_run: called before each run.
    """

    made: list["Session"] = []
    most = 10**9
    on_run = staticmethod(lambda session: None)
    providers = AVAILABLE
    placement: dict[str, list[str]] | None = None

    def __init__(self, path, options, providers, **others):
        self._session = _Real(path, options, providers=[CPU], **others)
        self.options = providers[0][1]
        self.device = int(self.options["device_id"])
        self.shapes, self.outputs = [], []
        Session.made.append(self)

    def get_providers(self):
        return list(Session.providers)

    def get_provider_graph_assignment_info(self):
        if Session.placement is not None:
            return [_part(name, ops) for name, ops in Session.placement.items()]
        ops = [n.op_type for part in self._session.get_provider_graph_assignment_info() for n in part.get_nodes()]
        return [_part(CUDA, ops)]

    def run(self, *_):
        raise AssertionError("a session on CUDA runs with bound inputs and outputs")

    def run_with_iobinding(self, binding, options):
        rows, columns = next(iter(binding.bound.values())).shape[:2]
        self.shapes.append((rows, columns))
        self.outputs.append(binding.wanted)
        Session.on_run(self)
        if rows * columns > Session.most:
            raise RuntimeError("BFCArena: Failed to allocate memory for requested buffer of size 1")
        assert options.log_severity_level == 4
        self._session.run_with_iobinding(binding.real)

    def io_binding(self):
        return _Binding(self._session.io_binding())

    def __getattr__(self, name):
        return getattr(self._session, name)


class _Binding:
    def __init__(self, real):
        self.real, self.bound, self.wanted = real, {}, []

    def bind_cpu_input(self, name, values):
        self.bound[name] = values
        self.real.bind_cpu_input(name, values)

    def bind_output(self, name, device):
        assert device == "cpu"
        self.wanted.append(name)
        self.real.bind_output(name, device)

    def copy_outputs_to_cpu(self):
        return self.real.copy_outputs_to_cpu()


def _part(name, ops):
    return SimpleNamespace(ep_name=name, get_nodes=lambda: [SimpleNamespace(op_type=op) for op in ops])


def _open(path, options, providers, **others):
    kind = _Real if providers == [CPU] else Session
    return kind(path, options, providers=providers, **others)


def pretend(monkeypatch, **attributes):
    """Makes onnxruntime pretend from now on; ``attributes`` are those of every `Session`."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: AVAILABLE)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None, raising=False)
    monkeypatch.setattr(onnxruntime, "InferenceSession", _open)
    monkeypatch.setattr(Session, "made", [])
    for name, value in attributes.items():
        monkeypatch.setattr(Session, name, staticmethod(value) if callable(value) else value)
    return Session
