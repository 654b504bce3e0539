"""Asks pip-audit whether pinned packages have known vulnerabilities, and does not take silence for an answer.

An index that is a mirror may know the packages and nothing of their vulnerabilities: pip-audit then finds none and is
content. So a release with vulnerabilities that everybody knows of is asked for first.

    python requirements/audit.py requirements/dev.txt --also torch==2.13.0
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

CANARY = "jinja2==2.4.1"
"""Of 2010; CVE-2014-0012, CVE-2016-10745, CVE-2019-10906 and others."""
SERVICES = ("pypi", "osv")


def ask(service: str, pinned: Path) -> list[dict[str, Any]] | str:
    """What the service says of each package, or why it says nothing."""
    command = [sys.executable, "-m", "pip_audit", "--vulnerability-service", service, "--requirement", str(pinned)]
    options = ["--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off", "--timeout", "30"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    try:
        return json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return (done.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1]


def answering(folder: Path) -> str:
    """The first service that knows the canary.

    Raises:
        SystemExit: none does.
    """
    canary = folder / "canary.txt"
    canary.write_text(CANARY + "\n", encoding="utf-8")
    reasons = []
    for service in SERVICES:
        found = ask(service, canary)
        if isinstance(found, list) and any(each.get("vulns") for each in found):
            return service
        reason = found if isinstance(found, str) else f"it knows of no vulnerability of {CANARY}, which has several"
        reasons.append(f"{service}: {reason:.200}")
    print(f"nothing was audited: no service answers ({'; '.join(reasons)}); run it where the network allows")
    sys.exit(2)


def main() -> None:
    """Exits with 1 where something is vulnerable or could not be asked for, with 2 where nothing could be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pinned", type=Path, nargs="+", help="requirements files in which every package is pinned")
    parser.add_argument("--also", action="append", default=[], help="one more, as NAME==VERSION")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        service = answering(folder)
        (folder / "also.txt").write_text("".join(f"{each}\n" for each in given.also), encoding="utf-8")
        bad = asked = 0
        for path in [*given.pinned, *([folder / "also.txt"] if given.also else [])]:
            found = ask(service, path)
            if isinstance(found, str):
                sys.exit(f"{path}: {service} stopped answering ({found:.200}); run it again")
            for each in found:
                asked += 1
                known = [vulnerability["id"] for vulnerability in each.get("vulns", ())]
                if known or "skip_reason" in each:
                    bad += 1
                    print(f"{each['name']} {each.get('version', '')}: {', '.join(known) or each['skip_reason']}")
    print(f"{service}: {asked} packages asked for, {bad} with known vulnerabilities or unknown to it")
    sys.exit(int(bad > 0))


if __name__ == "__main__":
    main()
