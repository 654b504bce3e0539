"""Are the tests of the pure runtime modules any good? Mutants of the code, drawn at random, that they have to notice.

mutmut makes the mutants and runs the fast suite on each; both are configured in pyproject.toml. This draws the sample,
goes on where it was stopped, and counts. docs/mutation.md says what comes out.
"""

import argparse
import datetime
import hashlib
import importlib.metadata
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

from mutmut.configuration import config
from mutmut.mutation.file_mutation import mutate_file_contents
from mutmut.stats import status_by_exit_code
from mutmut.utils.format_utils import get_mutant_name

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "mutants"
"""Where mutmut keeps the mutated package, a copy of the tests, and what it found."""
DRAWN_FROM = FOLDER / "drawn-from.json"
EQUIVALENT = ROOT / "benchmarks" / "equivalent_mutants.toml"
_NOTICED = {"killed": "killed", "timeout": "timeout", "segfault": "timeout"}  # mutmut ends what hangs with SIGKILL


def all_mutants() -> dict[str, str]:
    """Name of each mutant of the modules in ``only_mutate`` -> the module's file."""
    return {
        get_mutant_name(Path(file), name): file
        for file in sorted(config().only_mutate)
        for name in mutate_file_contents(file, (ROOT / file).read_text(encoding="utf-8")).mutant_names
    }


def digests(*patterns: str) -> dict[str, str]:
    """File -> SHA-256 of each that a pattern names."""
    files = sorted({path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file()})
    return {
        path.relative_to(ROOT).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if "__pycache__" not in path.parts
    }


def prepare(drawn_from: dict[str, Any]) -> None:
    """Keeps what an earlier run found where code, tests and configuration are the same, else starts afresh."""
    if not DRAWN_FROM.exists() or json.loads(DRAWN_FROM.read_text(encoding="utf-8")) != drawn_from:
        shutil.rmtree(FOLDER, ignore_errors=True)
        (FOLDER / "exported").mkdir(parents=True)  # mutmut copies files into folders that are there
        DRAWN_FROM.write_text(json.dumps(drawn_from), encoding="utf-8")


def verdicts(files: set[str]) -> dict[str, str]:
    """Mutant -> killed, timeout, survived or another word of mutmut's, of those that have been run."""
    found: dict[str, str] = {}
    for file in files:
        meta = FOLDER / f"{file}.meta"
        if meta.exists():
            codes = json.loads(meta.read_text(encoding="utf-8"))["exit_code_by_key"]
            found |= {name: status_by_exit_code[code] for name, code in codes.items() if code is not None}
    return {name: _NOTICED.get(verdict, verdict) for name, verdict in found.items()}


def change(mutant: str) -> dict[str, str]:
    """What a mutant changes: the lines before and after, without the space around them."""
    command = [sys.executable, "-m", "mutmut", "show", mutant]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    lines = [line for line in shown if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    return {
        key: "\n".join(line[1:].strip() for line in lines if line[0] == sign)
        for key, sign in (("before", "-"), ("after", "+"))
    }


def equivalents() -> list[dict[str, str]]:
    """Mutants that no test can notice, each with the reason; refuses one whose line is no longer in the code."""
    entries = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8")).get("equivalent", [])
    for entry in entries:
        code = [line.strip() for line in (ROOT / entry["file"]).read_text(encoding="utf-8").splitlines()]
        if entry["before"].splitlines()[0] not in code:
            sys.exit(f"{EQUIVALENT.name}: {entry['file']} has no line {entry['before']!r}; remove or correct the entry")
    return entries


def run(drawn: list[str], files: set[str]) -> None:
    """Runs what of the sample has not been run, one mutant at a time."""
    environment = os.environ | {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
    if todo := [name for name in drawn if name not in verdicts(files)]:
        print(f"{len(todo)} of {len(drawn)} mutants to run", flush=True)
        command = [sys.executable, "-m", "mutmut", "run", "--max-children", "1", *todo]
        subprocess.run(command, cwd=ROOT, env=environment, check=True)
    if left := [name for name in drawn if name not in verdicts(files)]:
        sys.exit(f"mutmut left out {len(left)} mutants ({', '.join(left[:3])}); run again, it goes on from here")


def control(drawn: list[str], found: dict[str, str], number: int) -> dict[str, int]:
    """mutmut forks its workers, and tests might fail for that alone: some of the killed again, each in a fresh process.

    The first run is of the code as it is, which has to pass.
    """
    tests = config().pytest_add_cli_args_test_selection
    command = [sys.executable, "-m", "pytest", "-qx", *config().pytest_add_cli_args, *tests]
    killed = [name for name in drawn if found[name] == "killed"]
    passed = []
    for name in ["none", *random.Random(0).sample(killed, min(number, len(killed)))]:
        environment = os.environ | {"MUTANT_UNDER_TEST": name, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(FOLDER)}
        done = subprocess.run(command, cwd=FOLDER, env=environment, capture_output=True, text=True, timeout=600)
        if (done.returncode == 0) != (name == "none"):
            passed.append(name)
    if passed:
        sys.exit(f"in a process of their own these do not end as under mutmut: {', '.join(passed)}")
    return {"killed_again_in_a_process_of_their_own": min(number, len(killed))}


def report(names: dict[str, str], drawn: list[str], found: dict[str, str]) -> dict[str, Any]:
    """Counts and scores, per module and of all; survivors with what they change."""
    known = equivalents()
    survivors = [
        {"mutant": name, "file": names[name], "verdict": found[name]} | change(name)
        for name in drawn
        if found[name] not in ("killed", "timeout")
    ]
    for survivor in survivors:
        place = ("file", "before", "after")
        reasons = [e["why"] for e in known if all(e[key] == survivor[key] for key in place)]
        survivor["equivalent"] = reasons[0] if reasons else ""
    modules = {file: _counted([n for n in drawn if names[n] == file], found, survivors) for file in set(names.values())}
    population = Counter(names.values())
    return {
        "mutants_of_all": len(names),
        **_counted(drawn, found, survivors),
        "modules": {file: {"mutants_of_all": population[file], **modules[file]} for file in sorted(modules)},
        "survivors": [survivor for survivor in survivors if not survivor["equivalent"]],
        "equivalents": [survivor for survivor in survivors if survivor["equivalent"]],
    }


def _counted(drawn: list[str], found: dict[str, str], survivors: list[dict[str, str]]) -> dict[str, Any]:
    counts = Counter(found[name] for name in drawn)
    noticed = counts["killed"] + counts["timeout"]
    equivalent = sum(bool(survivor["equivalent"]) and survivor["mutant"] in set(drawn) for survivor in survivors)
    return {
        "sample": len(drawn),
        "killed": counts["killed"],
        "timeout": counts["timeout"],
        "survived": len(drawn) - noticed - equivalent,
        "equivalent": equivalent,
        "score": _share(noticed, len(drawn) - equivalent),
        "score_with_equivalents": _share(noticed, len(drawn)),
    }


def sentence(result: dict[str, Any]) -> str:
    """What docs/mutation.md quotes."""
    return (
        f"On {result['date']} {result['sample']:,} of {result['mutants_of_all']:,} mutants were drawn (seed "
        f"{result['seed']}): {result['killed'] + result['timeout']:,} were noticed, {result['survived']:,} survived, "
        f"{result['equivalent']:,} no test could notice. The score is {result['score']:.1%}; with those that no test "
        f"could notice counted as survivors {result['score_with_equivalents']:.1%}."
    )


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def main() -> None:
    """Draws, runs, counts, writes; ends with 1 below ``--least``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, default=1000, help="mutants to draw; 0 takes all")
    parser.add_argument("--seed", type=int, default=20261129)
    parser.add_argument("--control", type=int, default=10, help="killed mutants to run again, each in a fresh process")
    parser.add_argument("--least", type=float, default=0.85, help="the score below which this fails")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "mutants.json")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that mutmut is not left running
    os.chdir(ROOT)  # where mutmut looks for its configuration
    names = all_mutants()
    files = set(names.values())
    order = random.Random(arguments.seed).sample(sorted(names), len(names))  # so a larger sample holds the smaller ones
    drawn = sorted(order[: arguments.sample or len(names)])
    code = digests("lstm_deploy/*.py")
    prepare(code | digests("tests/runtime/*.py", "tests/runtime/data/*", "pyproject.toml"))
    run(drawn, files)
    found = verdicts(files)
    versions = {
        name: importlib.metadata.version(name) for name in ("mutmut", "pytest", "hypothesis", "numpy", "onnxruntime")
    }
    result = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "seed": arguments.seed,
        "versions": {"python": platform.python_version(), **versions},
        "digests": {file: digest for file, digest in code.items() if file in files},
        **control(drawn, found, arguments.control),
        **report(names, drawn, found),
    }
    arguments.output.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for file, row in [*result["modules"].items(), ("all", result)]:
        print(
            f"{file:34}"
            + "".join(
                f"{key} {row[key]}  " for key in ("sample", "killed", "timeout", "survived", "equivalent", "score")
            )
        )
    print(f"\nFor docs/mutation.md:\n{sentence(result)}")
    if result["score"] < arguments.least:
        sys.exit(f"the mutation score is {result['score']:.1%}; expected {arguments.least:.0%} or more")


if __name__ == "__main__":
    main()
