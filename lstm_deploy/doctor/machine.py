"""The processor, and how much of it and of memory this process may use."""

import os
import platform
import re
from pathlib import Path
from typing import Any

from ..providers import available_cores
from .findings import Finding, warning

_UNLIMITED = 1 << 60
"""Bytes; cgroups of version 1 give a number about as large where there is no limit."""
_VARIABLES = re.compile(
    r"(OMP|OPENBLAS|MKL|GOMP|KMP)_\w+|ORT_\w+|(CUDA|NVIDIA)_VISIBLE_DEVICES|CUDA_MODULE_LOADING|LD_LIBRARY_PATH|"
    r"LD_PRELOAD|PYTHONPATH"
)


def ask_machine(root: Path = Path("/")) -> dict[str, Any]:
    """The processor, its limits and the variables that change how this runs, as a JSON object.

    Args:
        root: where ``proc`` and ``sys`` are.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return {
        "processor": _processor(root),
        "cores": os.cpu_count(),
        "affinity": affinity,
        "threads": available_cores(),
        "cgroup": cgroup_limits(root),
        "environment": {name: value for name, value in sorted(os.environ.items()) if _VARIABLES.fullmatch(name)},
    }


def cgroup_limits(root: Path = Path("/")) -> dict[str, Any]:
    """``version`` of the cgroup (0: none), ``cores`` and ``memory`` (bytes) that it allows; None is no limit."""
    try:
        lines = (root / "proc" / "self" / "cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {"version": 0, "cores": None, "memory": None}
    paths = {}
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        paths |= dict.fromkeys(controllers.split(","), path)
    base = root / "sys" / "fs" / "cgroup"
    if (base / "cgroup.controllers").is_file():
        places = _upwards(base, paths.get("", "/"))
        cores = [_quota(*_numbers(place / "cpu.max", 2)) for place in places]
        memory = [_numbers(place / "memory.max", 1)[0] for place in places]
        version = 2
    else:
        cores = [
            _quota(_numbers(place / "cpu.cfs_quota_us", 1)[0], _numbers(place / "cpu.cfs_period_us", 1)[0])
            for place in _mounted(base, "cpu", paths)
        ]
        memory = [_numbers(place / "memory.limit_in_bytes", 1)[0] for place in _mounted(base, "memory", paths)]
        version = 1 if cores or memory else 0
    return {
        "version": version,
        "cores": min((value for value in cores if value), default=None),
        "memory": min((value for value in memory if value and value < _UNLIMITED), default=None),
    }


def judge_machine(found: dict[str, Any]) -> list[Finding]:
    """More threads than the cgroup gives time to: they take turns, and each batch waits for the slowest."""
    allowed, threads = found["cgroup"]["cores"], found["threads"]
    if allowed is None or threads <= max(1, int(allowed)):
        return []
    return [
        warning(
            "limits",
            f"the cgroup allows {allowed:g} cores; by default {threads} threads are used",
            f"set --threads {max(1, int(allowed))}, in Python threads={max(1, int(allowed))}",
        )
    ]


def _processor(root: Path) -> str:
    try:
        text = (root / "proc" / "cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    found = re.search(r"^(?:model name|Model|Hardware)\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def _upwards(base: Path, path: str) -> list[Path]:
    """A cgroup and all above it: the least of their limits holds."""
    inner = Path(path.lstrip("/"))
    return [base / part for part in (inner, *inner.parents)] if inner.parts else [base]


def _mounted(base: Path, controller: str, paths: dict[str, str]) -> list[Path]:
    """The same for a controller of version 1, which is mounted by itself or with others."""
    mounts = [base / controller, *base.glob(f"{controller},*"), *base.glob(f"*,{controller}")]
    mount = next((place for place in mounts if place.is_dir()), None)
    return _upwards(mount, paths.get(controller, "/")) if mount else []


def _numbers(path: Path, count: int) -> list[int | None]:
    """The first ``count`` numbers in a file; None for each that is none (``max``), or where there is no file."""
    try:
        words = path.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError):
        words = []
    return [int(word) if word.lstrip("-").isdecimal() else None for word in (words + [""] * count)[:count]]


def _quota(quota: int | None, period: int | None) -> float | None:
    return quota / period if quota and period and quota > 0 else None
