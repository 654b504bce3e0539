"""The names of NVIDIA's GPUs, asked of the driver itself: nothing else need be installed."""

import ctypes
import os

_NAME_BYTES = 256


def gpu_names() -> list[str]:
    """Name of each GPU that this process may use, in the order of their numbers; none without a driver."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
        if driver.cuInit(0):
            return []
        count = ctypes.c_int()
        driver.cuDeviceGetCount(ctypes.byref(count))
        names = []
        for number in range(count.value):
            device, name = ctypes.c_int(), ctypes.create_string_buffer(_NAME_BYTES)
            driver.cuDeviceGet(ctypes.byref(device), number)
            driver.cuDeviceGetName(name, _NAME_BYTES, device)
            names.append(name.value.decode("utf-8", "replace"))
        return names
    except (OSError, AttributeError):
        return []
