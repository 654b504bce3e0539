"""NVIDIA's GPUs, asked of the driver's own library: nothing else need be installed."""

import ctypes
import os
from typing import Any

LIBRARY = "nvcuda.dll" if os.name == "nt" else "libcuda.so.1"
_MAJOR, _MINOR = 75, 76
"""Numbers of the attributes that make up a compute capability."""


def gpu_names() -> list[str]:
    """Name of each GPU that this process may use, in the order of their numbers; none without a driver."""
    return [gpu["name"] for gpu in ask_driver().get("gpus", ())]


def ask_driver() -> dict[str, Any]:
    """What the driver says, as a JSON object. It may hang or crash: call it in a process of its own."""
    try:
        cuda = ctypes.CDLL(LIBRARY)
    except OSError as e:
        return {"library": "", "problem": str(e)}
    found: dict[str, Any] = {"library": LIBRARY, "problem": "", "gpus": []}
    number = ctypes.c_int()
    found["result"] = cuda.cuInit(0)
    if cuda.cuDriverGetVersion(ctypes.byref(number)) == 0:
        found["cuda"] = f"{number.value // 1000}.{number.value % 1000 // 10}"
    if found["result"]:
        text = ctypes.c_char_p()
        cuda.cuGetErrorString(found["result"], ctypes.byref(text))
        return found | {"problem": (text.value or b"unknown").decode("utf-8", "replace")}
    cuda.cuDeviceGetCount(ctypes.byref(number))
    found["gpus"] = [_gpu(cuda, i) for i in range(number.value)]
    return found


def _gpu(cuda: ctypes.CDLL, ordinal: int) -> dict[str, Any]:
    device, name, number = ctypes.c_int(), ctypes.create_string_buffer(256), ctypes.c_int()
    memory = ctypes.c_size_t()
    cuda.cuDeviceGet(ctypes.byref(device), ordinal)
    cuda.cuDeviceGetName(name, len(name), device)
    cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    capability = []
    for attribute in (_MAJOR, _MINOR):
        cuda.cuDeviceGetAttribute(ctypes.byref(number), attribute, device)
        capability.append(number.value)
    return {"name": name.value.decode("utf-8", "replace"), "memory": memory.value, "capability": capability}
