"""What the machine's matrix multiplication can do: the wall that an LSTM runs against.

    python roofline.py CORES

Prints JSON: GFLOP/s (fp32) and GOP/s (int8) of each library, shape and way to use the cores.
"""

import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

# (rows, inner, columns): square ones, and an LSTM's: all steps' inputs at once, one step's states.
SHAPES = [(512, 512, 512), (1024, 1024, 1024), (2048, 2048, 2048), (2048, 100, 512), (128, 128, 512), (64, 228, 512)]
_SECONDS = 0.15
_ROUNDS = 3


def main() -> None:
    cores = int(sys.argv[1])
    rates: list[dict[str, Any]] = []
    for _ in range(_ROUNDS):
        for shape in SHAPES:
            for library, make in (("numpy", _numpy), ("torch", _torch), ("onnxruntime", _onnxruntime)):
                rates.append({"library": library, "type": "fp32", "ways": "1 thread each", "shape": shape}
                             | _rate(shape, [make(shape) for _ in range(cores)], threads=1))  # fmt: skip
            rates.append({"library": "torch", "type": "fp32", "ways": "all threads", "shape": shape}
                         | _rate(shape, [_torch(shape)], threads=cores))  # fmt: skip
            rates.append({"library": "onnxruntime", "type": "int8", "ways": "1 thread each", "shape": shape}
                         | _rate(shape, [_onnxruntime(shape, int8=True) for _ in range(cores)], threads=1))  # fmt: skip
    print(json.dumps(rates))


def _rate(shape: tuple[int, int, int], products: list[Callable[[], Any]], *, threads: int) -> dict[str, float]:
    """Giga-operations/s of all products running side by side, each in its own thread."""
    torch.set_num_threads(threads)
    work = 2 * shape[0] * shape[1] * shape[2]

    def repeat(product: Callable[[], Any]) -> float:
        product()
        done, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < _SECONDS:
            for _ in range(max(1, int(2e7 / work))):
                product()
                done += 1
        return done * work / elapsed / 1e9

    with ThreadPoolExecutor(len(products)) as pool:
        return {"giga_per_second": sum(pool.map(repeat, products))}


def _arrays(shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return (
        random.standard_normal(shape[:2], np.float32),
        random.standard_normal(shape[1:], np.float32),
    )


def _numpy(shape: tuple[int, int, int]) -> Callable[[], Any]:
    a, b = _arrays(shape)
    out = np.empty((shape[0], shape[2]), np.float32)
    return lambda: np.matmul(a, b, out=out)


def _torch(shape: tuple[int, int, int]) -> Callable[[], Any]:
    a, b = map(torch.from_numpy, _arrays(shape))
    out = torch.empty(shape[0], shape[2])
    return lambda: torch.matmul(a, b, out=out)


def _onnxruntime(shape: tuple[int, int, int], *, int8: bool = False) -> Callable[[], Any]:
    a, b = _arrays(shape)
    if int8:
        a, b = (np.abs(a) * 50).astype(np.uint8), (b * 20).astype(np.int8)
    node = helper.make_node("MatMulInteger" if int8 else "MatMul", ["a", "b"], ["c"])
    kind, result = (TensorProto.UINT8, TensorProto.INT32) if int8 else (TensorProto.FLOAT, TensorProto.FLOAT)
    graph = helper.make_graph(
        [node],
        "product",
        [helper.make_tensor_value_info("a", kind, a.shape)],
        [helper.make_tensor_value_info("c", result, [shape[0], shape[2]])],
        [numpy_helper.from_array(b, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    binding.bind_cpu_input("a", a)
    binding.bind_output("c")
    return lambda: session.run_with_iobinding(binding)


if __name__ == "__main__":
    main()
