"""The diagnosis: what is here, what it can do, what is wrong in the order in which to cure it."""

import math
import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..admission import admit
from ..errors import ProviderError
from .child import Outcome, run_probe
from .driver import bus_gpus, idle_gpu, judge_driver, kernel_driver
from .findings import Finding, error, warning
from .libraries import Library, judge_libraries, wanted_libraries
from .machine import ask_machine, judge_machine
from .packages import Packages, survey

MODEL = Path(__file__).with_name("probe.onnx")
"""Two bidirectional layers, random weights, and golden cases of different lengths."""
TIMEOUT = 120.0
"""Seconds for each try; the first one on a GPU newer than the build compiles its kernels."""
_DRIVER_TIMEOUT = 30.0
_PROVIDERS = ("cpu", "cuda")
_SEVERITIES = ("error", "warning", "note")
_CURED = ("packages", "cpu", "cuda", "driver", "libraries", "limits")
"""In this order: what stands later may be cured by what stands first, or be seen only then."""
_EARLY = ("start", "import")
"""Stages of a try that are alike for every provider."""
_STAGES = {
    "start": "the process that tries {} does not start",
    "import": "importing onnxruntime fails",
    "session": "there is no session on {}",
    "golden": "running a model on {} fails",
    "end": "a process that ran on {} does not end in order",
}
"""What it means that a try came to an end there."""


@dataclass(frozen=True)
class Diagnosis:
    """What is here and what is wrong with it.

    Attributes:
        software: versions of Python and packages.
        packages: which distribution the module onnxruntime is from.
        libraries: of CUDA and cuDNN that it wants; empty for a build without CUDA.
        driver: NVIDIA's, and the GPUs that it gives.
        machine: processor, limits, variables.
        sessions: provider -> what a session on it really got and whether it answers as PyTorch did.
        required: providers that have to work.
        findings: errors first, each kind in the order in which to cure them.
    """

    software: dict[str, str]
    packages: Packages
    libraries: tuple[Library, ...]
    driver: dict[str, Any]
    machine: dict[str, Any]
    sessions: dict[str, Outcome]
    required: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """Nothing that has to work is broken."""
        return not any(finding.severity == "error" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """All of it as a JSON object."""
        packages = self.packages
        return _plain({
            "healthy": self.healthy,
            "required": self.required,
            "findings": [asdict(finding) for finding in self.findings],
            "software": self.software,
            "onnxruntime": {
                "origin": packages.origin,
                "package": packages.package,
                "cuda_version": packages.cuda_version,
                "distributions": [
                    {
                        "name": owner.name,
                        "version": owner.version,
                        "folder": owner.folder,
                        "files": None if owner.listed is None else len(owner.listed),
                        "missing": owner.missing,
                        "changed": owner.changed,
                        "used": owner in packages.used,
                    }
                    for owner in packages.owners
                ],
            },
            "libraries": [asdict(library) for library in self.libraries],
            "driver": self.driver,
            "machine": self.machine,
            "sessions": {
                name: outcome.facts | {"ended": outcome.ended, "printed": outcome.printed, "works": _works(outcome)}
                for name, outcome in self.sessions.items()
            },
        })  # fmt: skip


def diagnose(
    model: Path | None = None,
    providers: Sequence[str] | None = None,
    timeout: float = TIMEOUT,
    *,
    search: Sequence[str | Path] | None = None,
) -> Diagnosis:
    """Looks at everything, and tries each provider that has to work, in processes of their own.

    Args:
        model: a file of ours to try; default: a tiny one that comes with the package.
        providers: what has to work, of ``cpu`` and ``cuda``; default: what the installed onnxruntime is built for.
        timeout: seconds for each try.
        search: where packages are looked for; default: ``sys.path``.

    Raises:
        ProviderError: one of ``providers`` is another.
        ModelFileError: ``model`` is not one of our files.
    """
    for name in providers or ():
        if name not in _PROVIDERS:
            raise ProviderError(f"provider {name!r} is not known; expected one of {', '.join(_PROVIDERS)}")
    folders = [str(Path(entry).absolute()) for entry in (sys.path if search is None else search)]
    tried = Path(model or MODEL).resolve()
    admit(tried)
    packages = survey(folders, Path.cwd())
    promised = _PROVIDERS if packages.promises_cuda else _PROVIDERS[:1]
    required = tuple(name for name in _PROVIDERS if name in (providers or promised))
    driver = _ask_driver(folders, timeout)
    libraries = wanted_libraries(packages)
    machine = ask_machine()
    sessions = _try(packages, required, tried, folders, timeout)
    findings = [*_eased(packages, required, sessions), *judge_machine(machine)]
    names = " ".join(dict.fromkeys(owner.name for owner in packages.used)) or "onnxruntime"
    broken = any(finding.severity == "error" for finding in packages.findings)
    if "cuda" in required:
        if packages.promises_cuda or broken:
            # Where CUDA works nothing is missing; where packages are broken, their cure may end the wish for CUDA.
            if not _works(sessions.get("cuda", Outcome())) and (providers or not broken):
                findings += judge_driver(driver, packages.cuda_version, os.environ)
                findings += [] if broken else judge_libraries(libraries, packages)
        else:
            cure = f"run `pip uninstall -y {names}`, then `pip install 'lstm-deploy[gpu]'`"
            findings.append(error("cuda", f"cuda has to work; {_what(packages)} is a build without CUDA", cure))
            findings += judge_driver(driver, "", os.environ)
    elif packages.module and not packages.promises_cuda:
        findings += idle_gpu(driver, names)
    findings += _unexplained(sessions, findings, packages, libraries)
    return Diagnosis(
        _software(),
        packages,
        libraries,
        driver,
        machine,
        sessions,
        required,
        tuple(sorted(findings, key=lambda f: (_SEVERITIES.index(f.severity), _CURED.index(f.about)))),
    )


def describe(diagnosis: Diagnosis) -> str:
    """For people: a table of what is here, then each finding with its cure, then a verdict."""
    rows = list(_rows(diagnosis))
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}} {text}".rstrip() for name, text in rows] + [""]
    for finding in diagnosis.findings:
        lines.append(f"{finding.severity}: {finding.fact}")
        lines += [f"  cure: {finding.cure}"] if finding.cure else []
    lines += [""] if diagnosis.findings else []
    return "\n".join([*lines, _verdict(diagnosis)])


def _verdict(diagnosis: Diagnosis) -> str:
    if diagnosis.healthy:
        return f"healthy: {' and '.join(diagnosis.required)} {'works' if len(diagnosis.required) == 1 else 'work'}"
    errors = sum(finding.severity == "error" for finding in diagnosis.findings)
    working = {name: _works(diagnosis.sessions.get(name, Outcome())) for name in diagnosis.required}
    told = ", ".join(f"{name} {'works' if works else 'does not work'}" for name, works in working.items())
    return f"not healthy: {errors} error{'s' * (errors != 1)} ({told}); cure the first, then run this again"


def _ask_driver(folders: Sequence[str], timeout: float) -> dict[str, Any]:
    outcome = run_probe({"task": "driver"}, folders, min(timeout, _DRIVER_TIMEOUT))
    found = {"kernel": kernel_driver(), "bus": bus_gpus(), "hung": outcome.hung} | outcome.facts
    found.pop("stage", None)
    if outcome.ended:
        found |= {"library": "", "problem": outcome.ended, "hung": True}
    return found


def _try(
    packages: Packages, required: Sequence[str], model: Path, folders: Sequence[str], timeout: float
) -> dict[str, Outcome]:
    """Each provider in a process of its own; not the next one where onnxruntime itself does not import."""
    tried: dict[str, Outcome] = {}
    if packages.origin is None:
        return tried
    for name in required:
        request = {"task": "session", "provider": name, "model": str(model)}
        tried[name] = outcome = run_probe(request, folders, timeout)
        if outcome.stage in _EARLY:
            break
    return tried


def _works(outcome: Outcome) -> bool:
    facts = outcome.facts
    return not outcome.ended and bool(facts.get("cases")) and not facts["failures"]


def _eased(packages: Packages, required: Sequence[str], sessions: Mapping[str, Outcome]) -> Iterator[Finding]:
    """Libraries that somebody stripped or gave other search paths, as images and distributions do, may well work."""
    works = packages.patched and all(_works(sessions.get(name, Outcome())) for name in required)
    for finding in packages.findings:
        if works and finding.severity == "error":
            yield warning("packages", f"{finding.fact}, though all that has to work does", finding.cure)
        else:
            yield finding


def _what(packages: Packages) -> str:
    return " and ".join(map(str, packages.used)) or str(packages.origin)


def _unexplained(
    sessions: Mapping[str, Outcome], known: Sequence[Finding], packages: Packages, libraries: Sequence[Library]
) -> Iterator[Finding]:
    """What did not work and follows from no error that is known already."""
    faults = {finding.about for finding in known if finding.severity == "error"}
    for name, outcome in sessions.items():
        explained = {"packages"} if name == "cpu" else {"packages", "driver", "libraries", "cuda"}
        if not _works(outcome) and not explained & faults:
            yield error(name, *_failure(name, outcome, packages, libraries))


def _failure(name: str, outcome: Outcome, packages: Packages, libraries: Sequence[Library]) -> tuple[str, str]:
    """Fact and cure of a provider that does not work."""
    told, reinstall = outcome.facts.get("error", ""), _reinstall(packages)
    if failures := outcome.facts.get("failures"):
        fact = f"{name} gives wrong answers: {len(failures)} comparisons with the golden cases fail ({failures[0]})"
        return fact, f"do not use it here; {reinstall}, and if that changes nothing report it"
    if outcome.stage == "end" and not outcome.ended:
        return f"nothing shows whether {name} is right: the model has no golden cases", "export the model again"
    fact = f"{_STAGES[outcome.stage].format(name)}: {told or outcome.ended}"
    if outcome.hung:
        smi = ", and whether `nvidia-smi` answers" if name == "cuda" else ""
        return fact, f"see whether other processes keep the machine busy{smi}; or give it longer with --timeout"
    if not told:
        last = _last_line(outcome.printed)
        return f"{fact}{f' ({last})' * bool(last)}", f"{reinstall}; if it goes on, report it with the output of --json"
    return fact, _cure(name, outcome.stage, told, libraries) or reinstall


def _cure(name: str, stage: str, told: str, libraries: Sequence[Library]) -> str:
    """For an error that onnxruntime tells; "" where none is known."""
    if "numpy" in told.lower():
        return "run `pip install --upgrade numpy`, or install an onnxruntime for this numpy"
    if "refuses the model" in told:
        return "run `pip install --upgrade onnxruntime` (or onnxruntime-gpu), or export the model again"
    if library := next((library for library in libraries if library.name in told), None):
        other = f" (the file in use: {library.path})" * (library.path is not None)
        return f"run `pip install --force-reinstall '{library.wheel}'`, with LD_LIBRARY_PATH unset{other}"
    if missing := re.search(r"(\S+): cannot open shared object", told):
        return f"install the package of your system that has {missing[1]}"
    if "run on the CPU" in told:
        return "run `pip install --upgrade 'onnxruntime-gpu[cuda,cudnn]'`"
    if stage == "session" and name == "cuda":
        return "see that `nvidia-smi` runs and that the driver fits the GPU, or use --provider cpu"
    return ""


def _reinstall(packages: Packages) -> str:
    if len(packages.used) == 1:
        owner = packages.used[0]
        return f"run `pip install --force-reinstall --no-deps {owner.name}=={owner.version}`"
    return "run `pip install --force-reinstall 'lstm-deploy[cpu]'`, or 'lstm-deploy[gpu]'"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = next(
        (line for line in lines if line.startswith(("Fatal", "terminate", "Error"))), lines[-1] if lines else ""
    )
    return telling[:200]


def _software() -> dict[str, str]:
    found = {
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "lstm-deploy": __version__,
        "numpy": np.__version__,
    }
    try:
        return found | {"torch": version("torch")}  # it may load other CUDA libraries first
    except PackageNotFoundError:
        return found


def _rows(diagnosis: Diagnosis) -> Iterator[tuple[str, str]]:
    software, packages = diagnosis.software, diagnosis.packages
    yield "python", f"{software['python']}, {software['executable']}, {software['platform']}"
    yield "packages", ", ".join(f"{name} {software[name]}" for name in list(software)[3:])
    for owner in packages.used:
        state = "files not checked" if owner.listed is None else f"{len(owner.listed)} files"
        yield "onnxruntime", ", ".join(filter(None, [f"{owner} in {owner.folder}", state, owner.state]))
    if not packages.used:
        yield "onnxruntime", str(packages.origin or "none")
    if packages.package or packages.cuda_version:
        yield "build", f"{packages.package}, {f'CUDA {packages.cuda_version}' if packages.cuda_version else 'no CUDA'}"
    loaded = diagnosis.sessions.get("cuda", Outcome()).facts.get("loaded", ())
    for library in diagnosis.libraries:
        real = next((path for path in loaded if Path(path).name.startswith(library.name)), None)
        place = "loaded" if real else library.place
        yield "library", f"{library.name}: {real or library.path or 'not found'}{f' ({place})' * bool(place)}"
    yield from _driver_rows(diagnosis.driver)
    yield from _machine_rows(diagnosis.machine)
    for name in diagnosis.required:
        yield f"run on {name}", _session(diagnosis.sessions.get(name))


def _driver_rows(driver: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if not driver.get("library"):
        yield "driver", f"none ({driver.get('problem') or 'no answer'})"
    else:
        release = f"{driver.get('kernel') or 'NVIDIA'}, CUDA up to {driver.get('cuda', '?')}, {driver['library']}"
        yield "driver", release + (f", {driver['problem']}" if driver.get("problem") else "")
    for i, gpu in enumerate(driver.get("gpus") or ()):
        capability = ".".join(map(str, gpu["capability"]))
        yield "gpu", f"{i}: {gpu['name']}, {gpu['memory'] / 2**30:.1f} GiB, compute capability {capability}"


def _machine_rows(machine: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    cgroup = machine["cgroup"]
    affinity = machine["affinity"] if machine["affinity"] is not None else machine["cores"]
    cores = f"{affinity} of {machine['cores']} cores" if affinity != machine["cores"] else f"{affinity} cores"
    yield "processor", f"{machine['processor']}, {cores}; {machine['threads']} threads by default"
    quota = "no limit" if cgroup["cores"] is None else f"{cgroup['cores']:g} cores"
    memory = "no limit" if cgroup["memory"] is None else f"{cgroup['memory'] / 2**20:,.0f} MiB"
    yield (
        "cgroup",
        f"version {cgroup['version']}: {quota} of processor, {memory} of memory" if cgroup["version"] else "none",
    )
    for name, value in machine["environment"].items():
        yield "variable", f"{name}={value}"


def _session(outcome: Outcome | None) -> str:
    if outcome is None:
        return "not tried"
    facts = outcome.facts
    if outcome.stage != "end":
        return f"failed: {facts.get('error') or outcome.ended}"
    state = "right" if _works(outcome) else "wrong"
    cases = f"{facts['cases']} golden cases, {facts['tokens']} tokens, largest difference {facts['max_difference']:.1e}"
    return f"{state}: onnxruntime {facts['version']}, session on {', '.join(facts['got'])}; {cases}"


def _plain(value: Any) -> Any:
    """As JSON has it: no paths, no tuples, no number that is not finite."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value
