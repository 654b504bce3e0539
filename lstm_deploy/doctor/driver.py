"""NVIDIA's driver and the GPUs that it gives to this process: what `lstm_deploy.gpus` is told, and what is wrong."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .findings import Finding, error, note

_NO_DEVICE = 100
_CPU_BUILD = (
    "where there is no GPU install the CPU build: `pip uninstall -y onnxruntime-gpu`, then `pip install "
    "'lstm-deploy[cpu]'`"
)
_CONTAINER = "a container has it only when started with `--gpus all`"
_CURES = {
    34: "take the folder of CUDA's stubs off LD_LIBRARY_PATH: its libcuda.so.1 is for linking alone",
    46: "see with `nvidia-smi` which process has the GPU for itself",
    802: "start NVIDIA's fabric manager, and wait until `nvidia-smi` shows no error",
    803: "restart the machine (or the container): the driver was updated while it was running",
    804: "remove the package cuda-compat from LD_LIBRARY_PATH, or update the driver",
    999: "see whether `nvidia-smi` runs; if it does not, load the kernel's module with `nvidia-modprobe`, or restart",
}
"""Result of cuInit -> its cure."""
_OLDEST = {12: "525", 13: "580"}
"""Major release of CUDA -> the first driver for it."""
_LAST_FOR_CUDA_12 = "'onnxruntime-gpu[cuda,cudnn]<1.27'"
_CAPABILITY = {13: (7, 5)}
"""Major release of CUDA -> the oldest GPUs that it has code for."""


def with_place(answer: dict[str, Any]) -> dict[str, Any]:
    """`ask_driver`'s answer with the path of the library that this process loaded for it."""
    return answer | ({"library": _loaded(answer["library"])} if answer["library"] else {})


def _loaded(name: str) -> str:
    """Where the loader found a library that this process has."""
    return next((path for path in loaded_libraries() if Path(path).name.startswith(name)), name)


def loaded_libraries() -> list[str]:
    """Paths of what this process has loaded of CUDA and cuDNN."""
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    paths = dict.fromkeys(line.split(maxsplit=5)[5] for line in maps.splitlines() if line.count("/"))
    signs = re.compile(r"lib(cuda|cublas|cublasLt|cudart|cufft|curand|cudnn\w*|nvrtc|nvJitLink|nvidia-\w+)\.so")
    return [path for path in paths if signs.match(Path(path).name)]


def kernel_driver(proc: Path = Path("/proc")) -> str:
    """Release of the driver's part in the kernel, "" where there is none."""
    try:
        text = (proc / "driver" / "nvidia" / "version").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    found = re.search(r"\s(\d+\.\d+[.\d]*)\s", text)
    return found[1] if found else ""


def bus_gpus(system: Path = Path("/sys")) -> int:
    """NVIDIA's graphics or compute devices on the bus, whether there is a driver for them or not."""
    count = 0
    for device in (system / "bus" / "pci" / "devices").glob("*"):
        try:
            vendor, kind = ((device / name).read_text(encoding="ascii").strip() for name in ("vendor", "class"))
        except (OSError, UnicodeDecodeError):
            continue
        count += vendor == "0x10de" and kind.startswith("0x03")
    return count


def judge_driver(found: Mapping[str, Any], cuda_version: str, environment: Mapping[str, str]) -> list[Finding]:
    """What keeps the driver from running a build for ``cuda_version``; at most one, the first to cure.

    Args:
        found: `ask_driver`'s answer, with ``kernel`` and ``bus`` of the functions above; or ``problem`` alone.
    """
    if not found.get("library"):
        return [_no_library(found)]
    if result := found.get("result"):
        return [_refused(found, int(result), environment)]
    if not found.get("gpus"):
        return [error("driver", "the driver gives this process no GPU; expected one", _hidden(environment))]
    built, has = _release(cuda_version), _release(found.get("cuda", ""))
    if built and has and has[0] < built[0]:
        cure = f"update the driver to {_OLDEST.get(built[0], 'a newer one')} or newer"
        if has[0] == 12:
            cure += f", or run `pip install {_LAST_FOR_CUDA_12}`, which is for CUDA 12"
        fact = f"the driver {found.get('kernel') or ''} is for CUDA up to {found['cuda']}".replace("  ", " ")
        return [error("driver", f"{fact}; the onnxruntime installed is built for CUDA {cuda_version}", cure)]
    least = _CAPABILITY.get(built[0]) if built else None
    first = found["gpus"][0]
    if least and tuple(first["capability"]) < least:
        fact = f"GPU 0 ({first['name']}) has compute capability {'.'.join(map(str, first['capability']))}"
        cure = f"run `pip install {_LAST_FOR_CUDA_12}`, which is for CUDA 12, or use a newer GPU"
        return [error("driver", f"{fact}; CUDA {cuda_version} wants {'.'.join(map(str, least))} or more", cure)]
    return []


def idle_gpu(found: Mapping[str, Any], installed: str) -> list[Finding]:
    """For ``installed``, a build without CUDA: a GPU that it does not use."""
    names = [gpu["name"] for gpu in found.get("gpus") or ()]
    if not names and not found.get("bus"):
        return []
    what = ", ".join(names) or f"{found['bus']} of NVIDIA, without a driver"
    cure = f"to use it run `pip uninstall -y {installed}`, then `pip install 'lstm-deploy[gpu]'`"
    return [note("driver", f"this machine has a GPU ({what}) that the CPU build of onnxruntime does not use", cure)]


def _no_library(found: Mapping[str, Any]) -> Finding:
    problem = found.get("problem") or "no answer"
    if found.get("hung"):
        cure = "see whether `nvidia-smi` answers; if it does not, restart the machine"
        return error("driver", f"the driver's library does not answer ({problem})", cure)
    if kernel := found.get("kernel"):
        fact = f"the kernel has NVIDIA's driver {kernel}, but its library does not load here ({problem})"
        return error("driver", fact, f"{_CONTAINER}; elsewhere install the driver's libraries of the same release")
    gpus = "there is a GPU of NVIDIA on the bus" if found.get("bus") else "no GPU of NVIDIA is seen on the bus"
    fact = f"no driver of NVIDIA is installed ({problem}); {gpus}"
    return error("driver", fact, f"install NVIDIA's driver ({_CONTAINER}); {_CPU_BUILD}")


def _refused(found: Mapping[str, Any], result: int, environment: Mapping[str, str]) -> Finding:
    fact = f"the driver does not start: cuInit gives {result} ({found.get('problem') or 'unknown'}); expected 0"
    cure = _hidden(environment) if result == _NO_DEVICE else _CURES.get(result, "see what `nvidia-smi` says")
    return error("driver", fact, cure)


def _hidden(environment: Mapping[str, str]) -> str:
    """The cure where there is a driver and no GPU."""
    for name in ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"):
        if name in environment:
            return f"unset {name}, which is {environment[name]!r}, and see what `nvidia-smi` lists"
    return f"see what `nvidia-smi` lists ({_CONTAINER}); {_CPU_BUILD}"


def _release(text: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", text)[:2]))
