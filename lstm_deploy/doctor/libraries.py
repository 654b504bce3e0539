"""The CUDA and cuDNN libraries that onnxruntime's build for CUDA wants, and where each is found.

What is wanted stands in onnxruntime's own library. It is looked for where onnxruntime and the loader look: in NVIDIA's
wheels in the folder in which onnxruntime lies, in folders that the library names, in ``LD_LIBRARY_PATH``, in the
system.
"""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .elf import read_dynamic
from .findings import Finding, error
from .packages import Packages

_WHEELS = {
    "libcublas": "nvidia-cublas",
    "libcublasLt": "nvidia-cublas",
    "libcudart": "nvidia-cuda-runtime",
    "libcufft": "nvidia-cufft",
    "libcurand": "nvidia-curand",
    "libnvrtc": "nvidia-cuda-nvrtc",
    "libnvJitLink": "nvidia-nvjitlink",
    "libcudnn": "nvidia-cudnn",
}
"""Library -> the wheel that brings it, without what tells the release of CUDA."""
_CUDNN = "libcudnn.so.9"
"""Of every onnxruntime since 1.19. Newer ones load it only when an operator asks for it, as LSTM does."""
_ALWAYS_SUFFIXED = "nvidia-cudnn"
_SYSTEM = ("/lib64", "/usr/lib64", "/lib", "/usr/lib")


@dataclass(frozen=True)
class Library:
    """One library that is wanted.

    Attributes:
        name: as the loader is asked for it.
        wheel: the distribution that brings it.
        path: where it is found; None where it is not.
        place: ``wheel``, ``runpath``, ``LD_LIBRARY_PATH`` or ``system``; "" where it is not found.
        instead: the same library of another release, or one where onnxruntime does not look.
    """

    name: str
    wheel: str
    path: Path | None = None
    place: str = ""
    instead: Path | None = None


def wanted_libraries(packages: Packages, environment: dict[str, str] | None = None) -> tuple[Library, ...]:
    """Each library of CUDA that the module of ``packages`` wants; none where it is a build without CUDA.

    Args:
        environment: default: this process's.
    """
    provider = packages.cuda_library
    if provider is None or packages.module is None:
        return ()
    environment = dict(os.environ) if environment is None else environment
    told = read_dynamic(provider)
    own = [Path(folder.replace("$ORIGIN", str(provider.parent))) for folder in told.folders]
    searched = {
        "wheel": sorted(packages.module.parent.glob("nvidia/*/lib")),
        "runpath": own,
        "LD_LIBRARY_PATH": [Path(folder) for folder in environment.get("LD_LIBRARY_PATH", "").split(":") if folder],
    }
    system = _system()
    unseen = [
        place
        for folder in packages.search
        for place in [*sorted(folder.glob("nvidia/*/lib")), folder / "torch" / "lib"]
        if place not in searched["wheel"]
    ]
    names = dict.fromkeys([*(name for name in told.needed if _stem(name) in _WHEELS), _CUDNN])
    return tuple(_find(name, _wheel(name, packages), searched, system, unseen) for name in names)


def judge_libraries(libraries: Sequence[Library], packages: Packages) -> list[Finding]:
    """One finding for all that are missing."""
    missing = [library for library in libraries if library.path is None]
    if not missing:
        return []
    names = ", ".join(library.name for library in missing)
    instead = [f"{library.instead}" for library in missing if library.instead]
    owner = next((str(owner) for owner in packages.used if owner.name in packages.package), "onnxruntime")
    fact = f"{len(missing)} of the {len(libraries)} CUDA libraries that {owner} wants are not found: {names}"
    if instead:
        fact += f" (there is {', '.join(instead)}: another release, or a place where onnxruntime does not look)"
    wheels = " ".join(f"'{wheel}'" for wheel in dict.fromkeys(library.wheel for library in missing))
    return [
        error("libraries", fact, f"run `pip install 'lstm-deploy[gpu]'`, or for these alone `pip install {wheels}`")
    ]


def _find(
    name: str, wheel: str, searched: dict[str, list[Path]], system: dict[str, Path], unseen: Iterable[Path]
) -> Library:
    for place, folders in searched.items():
        for folder in folders:
            if (folder / name).is_file():
                return Library(name, wheel, folder / name, place)
    if name in system:
        return Library(name, wheel, system[name], "system")
    stem = _stem(name)
    seen = [folder for folders in searched.values() for folder in folders]
    others = [path for folder in [*seen, *unseen] for path in sorted(folder.glob(f"{stem}.so.*"))]
    others += [path for other, path in system.items() if _stem(other) == stem and ".so." in other]
    return Library(name, wheel, instead=min(others, key=lambda path: path.name != name, default=None))


def _stem(name: str) -> str:
    return name.partition(".so")[0]


def _wheel(name: str, packages: Packages) -> str:
    """The requirement that brings a library, as exact as onnxruntime's own metadata has it."""
    major = packages.cuda_version.partition(".")[0] or "13"
    wheel = _WHEELS[_stem(name)]
    if int(major) < 13 or wheel == _ALWAYS_SUFFIXED:  # with CUDA 13, NVIDIA dropped the suffix of all but cuDNN
        wheel += f"-cu{major}"
    for owner in packages.used:
        for line in owner.requires:
            if found := re.match(rf"{re.escape(wheel)}(?![\w-]) *([^;\s]*)", line):
                return wheel + found[1]
    return f"{wheel}~={major}.0" if wheel == "nvidia-cublas" else wheel


def _system() -> dict[str, Path]:
    """Name -> path of the libraries of CUDA that the loader knows."""
    command = shutil.which("ldconfig") or shutil.which("ldconfig", path="/sbin:/usr/sbin")
    found: dict[str, Path] = {}
    if command:
        told = subprocess.run([command, "-p"], capture_output=True, text=True, errors="replace", check=False).stdout
        for name, path in re.findall(r"^\s+(\S+) \(.*\) => (\S+)$", told, re.MULTILINE):
            if _stem(name) in _WHEELS:
                found.setdefault(name, Path(path))
    if not command:  # an image without it: the folders that the loader takes by itself
        places = [*_SYSTEM, *(f"{folder}/{platform.machine()}-linux-gnu" for folder in ("/lib", "/usr/lib"))]
        for folder in map(Path, places):
            for stem in _WHEELS:
                for path in sorted(folder.glob(f"{stem}.so.*")):
                    found.setdefault(path.name, path)
    return found
