"""What the figures of a run depend on: the GPU, its driver, the processor, versions."""

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

import lstm_deploy
from lstm_deploy.providers import available_cores


def facts() -> dict[str, Any]:
    """The machine, and how busy it is now."""
    gpu = torch.cuda.get_device_properties(0) if torch.cuda.is_available() else None
    return {
        "gpu": gpu.name if gpu else None,
        "gpu_memory_mb": gpu.total_memory / 1e6 if gpu else None,
        "driver": _driver() if gpu else None,
        "cores": available_cores(),
        "processor": _processor(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_before": os.getloadavg()[0],
    }


def versions() -> dict[str, str]:
    """Package -> version."""
    cudnn = torch.backends.cudnn.version() if torch.cuda.is_available() else None
    return {
        "lstm-deploy": lstm_deploy.__version__,
        "onnxruntime": onnxruntime.__version__,
        "CUDA of onnxruntime": getattr(onnxruntime, "cuda_version", "") or "None",  # some builds have no such name
        "torch": torch.__version__,
        "CUDA of torch": str(torch.version.cuda),
        "cuDNN of torch": str(cudnn),
        "numpy": np.__version__,
    }


def _driver() -> str:
    if tool := shutil.which("nvidia-smi"):
        query = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
        found = subprocess.run(query, capture_output=True, text=True, timeout=30)
        if found.returncode == 0 and found.stdout.strip():
            return found.stdout.split()[0]
    kernel = Path("/proc/driver/nvidia/version")
    found_there = re.search(r"\d+\.\d+(?:\.\d+)?", kernel.read_text(encoding="utf-8")) if kernel.exists() else None
    return found_there[0] if found_there else "unknown"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text(encoding="utf-8")) if cpuinfo.exists() else None
    return found[1] if found else platform.processor() or platform.machine()
