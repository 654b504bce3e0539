"""Small package trees with real dist-info and RECORD, and shared libraries that only ask for others."""

import base64
import hashlib
import struct

CPU_BUILD = b"package_name = 'onnxruntime'\n__version__ = '1.32.0'\n"
GPU_BUILD = b"package_name = 'onnxruntime-gpu'\n__version__ = '1.31.1'\ncuda_version = '13.0'\n"
GPU_BUILD_12 = b"package_name = 'onnxruntime-gpu'\n__version__ = '1.26.0'\ncuda_version = '12.8'\n"
WANTED = ["libcublasLt.so.13", "libcublas.so.13", "libcudart.so.13", "libcuda.so.1", "libc.so.6"]
REQUIRES = (
    "nvidia-cuda-runtime~=13.0; extra == 'cuda'",
    "nvidia-cudnn-cu13~=9.0; extra == 'cudnn'",
)


def cpu_files(code=b"# the module\n"):
    return {
        "onnxruntime/__init__.py": code,
        "onnxruntime/LICENSE": b"MIT",
        "onnxruntime/capi/__init__.py": b"",
        "onnxruntime/capi/build_and_package_info.py": CPU_BUILD,
        "onnxruntime/capi/libonnxruntime.so.1": b"the CPU build",
        "onnxruntime/tools/check.py": b"pass\n",
    }


def gpu_files(code=b"# the module for CUDA\n", build=GPU_BUILD, wanted=WANTED):
    return cpu_files(code) | {
        "onnxruntime/capi/build_and_package_info.py": build,
        "onnxruntime/capi/libonnxruntime.so.1": b"the CUDA build",
        "onnxruntime/capi/libonnxruntime_providers_cuda.so": shared_library(wanted),
        "onnxruntime/capi/libonnxruntime_providers_tensorrt.so": b"the TensorRT provider",
    }


def install(tree, name, version, files, *, record=True, metadata=True, modules="onnxruntime", requires=()):
    """As pip does; gives the dist-info folder."""
    for path, content in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(content)
    folder = tree / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True)
    if metadata:
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        (folder / "METADATA").write_text("\n".join([*lines, *(f"Requires-Dist: {r}" for r in requires), "", ""]))
    if modules:
        (folder / "top_level.txt").write_text(modules + "\n")
    if record:
        rows = [f"{path},sha256={_digest(content)},{len(content)}" for path, content in files.items()]
        rows += [f"onnxruntime/__pycache__/__init__.cpython-311.pyc,,\n{folder.name}/RECORD,,"]  # never there
        (folder / "RECORD").write_text("\n".join(rows) + "\n")
    return folder


def uninstall(tree, folder):
    """As pip does: every file of the RECORD, whoever else has it."""
    for row in (folder / "RECORD").read_text().splitlines():
        (tree / row.split(",")[0]).unlink(missing_ok=True)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def _digest(content):
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")


def shared_library(needed, runpath=""):
    """The bytes of an ELF file that needs those libraries and has nothing else."""
    strings = b"\0"
    entries = []
    for tag, text in [*((1, name) for name in needed), *([(29, runpath)] if runpath else [])]:
        entries.append((tag, len(strings)))
        strings += text.encode() + b"\0"
    address = 0x1000  # of the whole file in memory: other than its place in the file
    at = 64 + 2 * 56
    dynamic = b"".join(
        struct.pack("<qQ", *e) for e in [*entries, (5, address + at), (10, len(strings)), (0, 0), (1, 0)]
    )
    start = at + len(strings)
    header = struct.pack("<4sBBB9xHHIQQQIHHHHHH", b"\x7fELF", 2, 1, 1, 3, 62, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    size = start + len(dynamic)
    load = struct.pack("<IIQQQQQQ", 1, 4, 0, address, address, size, size, 0x1000)
    point = struct.pack("<IIQQQQQQ", 2, 4, start, address + start, address + start, len(dynamic), len(dynamic), 8)
    return header + load + point + strings + dynamic
