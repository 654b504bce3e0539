"""Which distributions put files into the module ``onnxruntime``, and whether those files are still theirs.

Judged by what is installed, not by names alone: the RECORD of a distribution lists its files and their hashes. Many
distributions have names that begin with onnxruntime and own other modules; several with other names own this one.
"""

import csv
import hashlib
import importlib
import importlib.machinery
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import Distribution as Metadata
from pathlib import Path

from .findings import Finding, error, note, warning

MODULE = "onnxruntime"
_FAMILY = frozenset({
    *("onnxruntime" + suffix for suffix in (
        "", "-gpu", "-directml", "-openvino", "-training", "-training-cpu", "-rocm", "-migraphx", "-qnn", "-silicon",
        "-coreml", "-azure", "-cann", "-vitisai", "-webgpu", "-core",
    )),
    "ort-nightly", "ort-nightly-gpu", "ort-nightly-directml", "ort-gpu-nightly", "ort-rocm-nightly",
})  # fmt: skip
"""Normalised names; asked only where a distribution tells neither its files nor its modules."""
_INSTALL = "`pip install 'lstm-deploy[cpu]'`, or `pip install 'lstm-deploy[gpu]'` for CUDA"
_SHOWN = 3
OLDEST = (1, 24)
"""Release of onnxruntime that the extras ``[cpu]`` and ``[gpu]`` ask for."""


@dataclass(frozen=True)
class Owner:
    """A distribution with files in the module.

    Attributes:
        folder: where its module lies (``site-packages``).
        listed: its files there, relative to ``folder``; None where there is no RECORD to tell.
        missing: those that are not there.
        changed: those that are there with another size or hash.
    """

    name: str
    version: str
    folder: Path
    listed: frozenset[str] | None = None
    missing: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    @property
    def whole_module(self) -> bool:
        """It brings the module itself, not only something beside it in the same folder."""
        return self.listed is None or f"{MODULE}/__init__.py" in self.listed

    @property
    def state(self) -> str:
        """How many files are missing and how many are changed, "" where none is."""
        counts = {"missing": len(self.missing), "changed": len(self.changed)}
        return " and ".join(f"{count} {what}" for what, count in counts.items() if count)


@dataclass(frozen=True)
class Packages:
    """What is installed under the name ``onnxruntime``.

    Attributes:
        search: the folders that were searched, each once.
        owners: all distributions with files in such a module, in the order of ``search``.
        origin: the file that ``import onnxruntime`` runs; None where there is none.
        module: its folder, or the folder that was left behind without it.
        package: which distribution the module says it was built for; "" if it does not.
        cuda_version: of CUDA, that it says it was built with; "" if it does not.
        findings: in the order in which to cure them.
    """

    search: tuple[Path, ...]
    owners: tuple[Owner, ...] = ()
    origin: Path | None = None
    module: Path | None = None
    package: str = ""
    cuda_version: str = ""
    findings: tuple[Finding, ...] = ()

    @property
    def used(self) -> tuple[Owner, ...]:
        """The owners of the module that is imported."""
        return () if self.module is None else tuple(o for o in self.owners if o.folder == self.module.parent)

    @property
    def patched(self) -> bool:
        """Nothing that a session needs is missing, and only native libraries are not as recorded: strip does that."""
        odd = [path for owner in self.used for path in (*owner.missing, *owner.changed) if _needed(path)]
        changed = {path for owner in self.used for path in owner.changed}
        return len(self.used) == 1 and bool(odd) and all(path in changed and ".so" in Path(path).name for path in odd)

    @property
    def cuda_library(self) -> Path | None:
        """onnxruntime's own library for CUDA, where the module has it."""
        path = self.module / "capi" / "libonnxruntime_providers_cuda.so" if self.module else None
        return path if path and path.is_file() else None

    @property
    def promises_cuda(self) -> bool:
        """The module, or a distribution that owns it, is a build for CUDA."""
        built = bool(self.cuda_version) or "gpu" in self.package
        named = any("gpu" in owner.name for owner in self.used)
        return built or named or (not self.package and self.cuda_library is not None)


def survey(search: Sequence[str | Path], current: Path | None = None) -> Packages:
    """What is installed under the name ``onnxruntime``; nothing of it is imported.

    Args:
        search: folders as in ``sys.path``.
        current: the current folder, from which ``python -m`` would import first.
    """
    folders = tuple(dict.fromkeys(Path(entry).resolve() for entry in search if Path(entry).is_dir()))
    importlib.invalidate_caches()
    owners, leftovers = [], []
    for folder in folders:
        for metadata in sorted([*folder.glob("*.dist-info"), *folder.glob("*.egg-info")]):
            if metadata.name.startswith("~"):  # pip's name for what it is about to replace
                leftovers += [metadata] if "nnxruntime" in metadata.name.lower() else []
            elif owner := _owner(metadata, folder):
                owners.append(owner)
    spec = importlib.machinery.PathFinder.find_spec(MODULE, [str(folder) for folder in folders])
    origin = Path(spec.origin) if spec and spec.origin else None
    module = origin.parent if origin and origin.name == "__init__.py" else None
    if not origin:  # nothing, or a folder without __init__.py
        module = _left_behind([Path(place) for place in (spec and spec.submodule_search_locations) or ()], owners)
    built = _built(module)
    package, cuda_version = built.get("package_name", ""), built.get("cuda_version", "")
    found = Packages(folders, tuple(owners), origin, module, package, cuda_version)
    findings = [*_faults(found), *_elsewhere(found, current), *_leftovers(leftovers)]
    return replace(found, findings=tuple(findings))


def _owner(metadata: Path, folder: Path) -> Owner | None:
    """The distribution that ``metadata`` describes, if it has files in the module."""
    told = Metadata.at(metadata)
    name, version = _name(told, metadata)
    if not name:
        return None
    record = told.read_text("RECORD")
    if record is None:
        modules = (told.read_text("top_level.txt") or "").split()
        owns = MODULE in modules if modules else _normalised(name) in _FAMILY
        return Owner(_normalised(name), version, folder) if owns and (folder / MODULE).is_dir() else None
    rows = [row for row in csv.reader(record.splitlines()) if row and _inside(row[0])]
    if not rows:
        return None
    missing, changed = [], []
    for path, digest, size in ([*row, "", ""][:3] for row in rows):
        if not digest:  # compiled after the installation: may come and go
            continue
        if not (folder / path).is_file():
            missing.append(path)
        elif not _same(folder / path, digest, size):
            changed.append(path)
    listed = frozenset(row[0] for row in rows)
    requires = tuple(told.requires or ())
    return Owner(_normalised(name), version, folder, listed, tuple(missing), tuple(changed), requires)


def _name(told: Metadata, path: Path) -> tuple[str, str]:
    """Name and version; two times "" where an uninstall left nothing to tell them."""
    text = told.read_text("METADATA") or told.read_text("PKG-INFO")
    if not text:
        return "", ""
    found = {key: re.search(rf"^{key}:[ \t]*(\S+)", text, re.MULTILINE) for key in ("Name", "Version")}
    parts = path.stem.split("-")
    return (
        found["Name"][1] if found["Name"] else parts[0],
        found["Version"][1] if found["Version"] else "".join(parts[1:2]),
    )


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _release(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:2]))


def _inside(path: str) -> bool:
    return path.startswith(MODULE + "/") and "__pycache__" not in path


def _same(path: Path, digest: str, size: str) -> bool:
    """The file has the size and the hash of the RECORD."""
    if size.isdecimal() and path.stat().st_size != int(size):
        return False
    algorithm, _, value = digest.partition("=")
    if algorithm not in hashlib.algorithms_guaranteed:
        return True
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, algorithm).digest()
    return urlsafe_b64encode(found).decode().rstrip("=") == value.rstrip("=")


def _left_behind(places: list[Path], owners: list[Owner]) -> Path | None:
    """The folder that an uninstall left; not one that has the same name by chance, nor one without files."""
    known = {owner.folder for owner in owners}
    for place in places:
        if not any(path.is_file() for path in place.rglob("*")):
            continue
        if place.parent.resolve() in known or (place / "capi").is_dir() or place.parent.name.endswith("-packages"):
            return place
    return owners[0].folder / MODULE if owners else None


def _built(module: Path | None) -> dict[str, str]:
    """What the module says of its own build, read without running it."""
    try:
        text = (module / "capi" / "build_and_package_info.py").read_text(encoding="utf-8") if module else ""
    except (OSError, UnicodeDecodeError):
        return {}
    return dict(re.findall(r"^(\w+) *= *['\"]([^'\"]*)['\"]", text, re.MULTILINE))


def _faults(found: Packages) -> Iterator[Finding]:
    """Of the module that is imported. One at most: the others would follow from it."""
    fault = _shadowed(found) or _overwritten(found) or _incomplete(found) or _of_another_python(found)
    if fault:
        yield fault
    for owner in found.used:
        if owner.listed is None:
            yield note(
                "packages", f"{owner} in {owner.folder} has no RECORD (another installer than pip made it): its files "
                "cannot be checked"
            )  # fmt: skip
        elif owner.whole_module and _release(owner.version) < OLDEST and not fault:
            yield warning(
                "packages",
                f"{owner} is older than {'.'.join(map(str, OLDEST))}, the oldest that lstm-deploy is for",
                f"run `pip install --upgrade {owner.name}`",
            )
    if found.origin and not found.owners:
        yield note("packages", f"{found.origin} belongs to no installed distribution: its files cannot be checked")


def _shadowed(found: Packages) -> Finding | None:
    if not found.origin or not found.owners or found.used:
        return None
    behind = found.owners[0]
    folder = found.origin.parent if found.origin.name == "__init__.py" else found.origin
    return error(
        "packages",
        f"{found.origin} is imported instead of {behind} in {behind.folder}",
        f"rename or remove {folder}, or take {folder.parent} off PYTHONPATH (and run from another folder)",
    )


def _overwritten(found: Packages) -> Finding | None:
    """Two distributions in one module."""
    used = found.used
    told = [owner for owner in used if owner.listed is not None]
    shared = {path for i, a in enumerate(told) for b in told[:i] for path in (a.listed or set()) & (b.listed or set())}
    if not shared:
        if len(used) < 2 or len(told) == len(used):  # files beside each other do no harm
            return None
        return warning(
            "packages",
            f"{_joined(used)} are installed together in {used[0].folder}; without a RECORD it cannot be told whether "
            "they overwrite each other",
            f"keep one of them: {_uninstall(used)}, then {_INSTALL}",
        )
    whole = [owner for owner in told if not owner.missing and not owner.changed]
    state = f"; the files there are those of {whole[0]}" if len(whole) == 1 else ""
    if not whole:
        state = "; the files there are whole for none of them"
    return error(
        "packages",
        f"{_joined(used)} are installed together in {used[0].folder} and overwrite each other ({len(shared)} files "
        f"are in both{state})",
        f"keep one of them: {_uninstall(used)}, then {_INSTALL}",
    )


def _incomplete(found: Packages) -> Finding | None:
    if not found.module:
        return None if found.origin else error("packages", "no onnxruntime is installed", f"run {_INSTALL}")
    if not found.used:
        if found.origin:
            return None
        kept = sum(path.is_file() for path in found.module.rglob("*"))
        return error(
            "packages",
            f"onnxruntime is half-removed: {found.module} is there with {kept} files, without its __init__.py, and "
            "belongs to no installed distribution",
            f"run `rm -r {found.module}`, then {_INSTALL}",
        )
    if not found.origin and not any(owner.whole_module for owner in found.used):
        return error("packages", f"no onnxruntime is installed, only {_joined(found.used)}", f"run {_INSTALL}")
    owner = max(found.used, key=lambda o: len(o.missing) + len(o.changed))
    odd = [*owner.missing, *owner.changed]
    if not odd and found.origin:
        return None
    of = f" of its {len(owner.listed)} files" if owner.listed else ""
    names = ", ".join(path.removeprefix(MODULE + "/") for path in sorted(odd, key=_weight)[:_SHOWN])
    fact = f"{owner} in {owner.folder} is damaged: {owner.state or 'no __init__.py'}{of}"
    fact += f" ({names}{' ...' * (len(odd) > _SHOWN)})" if odd else ""
    cure = f"run `pip install --force-reinstall --no-deps {owner.name}=={owner.version}`"
    if odd and not any(map(_needed, odd)):
        return warning("packages", f"{fact}, none of which a session needs", cure)
    return error("packages", fact, cure)


def _needed(path: str) -> bool:
    """A session loads it. TensorRT's library, tools and licences are cut away to save space."""
    return path == f"{MODULE}/__init__.py" or (path.startswith(f"{MODULE}/capi/") and "tensorrt" not in path)


def _weight(path: str) -> tuple[bool, int, str]:
    return not _needed(path), path.count("/"), path


def _of_another_python(found: Packages) -> Finding | None:
    """The compiled part is for another release of Python."""
    capi = found.module / "capi" if found.module else None
    names = [path.name for path in capi.glob("onnxruntime_pybind11_state*.so")] if capi else []
    suffixes = importlib.machinery.EXTENSION_SUFFIXES
    if not names or any(name[name.index(".") :] in suffixes for name in names):
        return None
    return error(
        "packages",
        f"the onnxruntime in {found.module} is for another Python: it has {names[0]}; expected one that ends in "
        f"{suffixes[0]}",
        f"{_uninstall(found.used)}, then {_INSTALL}, with the pip of this Python",
    )


def _elsewhere(found: Packages, current: Path | None) -> Iterator[Finding]:
    """Modules of the same name that are not imported."""
    if not found.origin:
        return
    for folder in dict.fromkeys(owner.folder for owner in found.owners if found.used and owner not in found.used):
        behind = _joined([owner for owner in found.owners if owner.folder == folder])
        first = f"{_joined(found.used)} in {found.used[0].folder} comes first"
        yield note("packages", f"{behind} in {folder} stays unused: {first}")
    here = current.resolve() if current else None
    if here is None or here in found.search:
        return
    spec = importlib.machinery.PathFinder.find_spec(MODULE, [str(here)])
    if spec and spec.origin:
        yield warning(
            "packages",
            f"{spec.origin} lies in the current folder: `python -m` and `python -c` started here import it instead",
            "rename it, or start Python in another folder",
        )


def _leftovers(folders: list[Path]) -> Iterator[Finding]:
    for folder in folders:
        yield note(
            "packages",
            f"{folder} is what an interrupted pip left; it does no harm",
            f"run `rm -r {folder.parent}/~nnxruntime*`",
        )


def _joined(owners: Sequence[Owner]) -> str:
    return " and ".join(map(str, owners))


def _uninstall(owners: Sequence[Owner]) -> str:
    """pip takes one version of a name away at a time."""
    names = [owner.name for owner in owners]
    times = max(map(names.count, names), default=0)
    line = f"run `pip uninstall -y {' '.join(dict.fromkeys(names)) or MODULE}`"
    return line if times < 2 else f"{line} {times} times"
