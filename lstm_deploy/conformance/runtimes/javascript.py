"""onnxruntime of npm in Node and in a real Chromium, driven by the scripts beside this package."""

import json
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

from ...errors import MissingDependencyError

_SCRIPTS = Path(__file__).parents[1] / "javascript"
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_INSTALL = "npm install --ignore-scripts"


def find(package: str, place: str, npm: Path | None) -> str:
    """The version of ``package`` in the folder ``npm``, and of what runs it.

    Args:
        place: ``node``, or how Chromium is to run it: ``wasm``, ``wasm-threads`` or ``webgpu``.

    Raises:
        MissingDependencyError: Node, the package or the browser is absent.
    """
    node = shutil.which("node")
    if node is None:
        raise MissingDependencyError("node is not installed; install Node.js 20 or newer")
    version = _npm_version(package, npm)
    if place == "node":
        return f"{version}, Node {_printed(node).lstrip('v')}"
    _npm_version("playwright-core", npm)
    return f"{version}, {_printed(_browser())}"


def command(package: str, place: str, npm: Path | None, folder: Path, start: int) -> list[str]:
    """What runs the batches of ``folder`` from ``start`` on."""
    assert npm is not None  # found before
    script, more = ("node.mjs", []) if place == "node" else ("chromium.mjs", [_browser(), place])
    return ["node", str(_SCRIPTS / script), str(npm.resolve()), package, str(folder), str(start), *more]


def _npm_version(package: str, npm: Path | None) -> str:
    found = npm / package / "package.json" if npm else None
    if found is None or not found.is_file() or npm is None or npm.resolve().name != "node_modules":
        where = f"not in a node_modules at {npm}" if npm else "not found: there is no node_modules here"
        raise MissingDependencyError(
            f"{package} is {where}; run `{_INSTALL} {package}`, or pass --npm .../node_modules"
        )
    try:
        return str(json.loads(found.read_bytes())["version"])
    except (ValueError, KeyError, TypeError, OSError) as e:
        raise MissingDependencyError(f"{found}: is no package ({e!r}); run `{_INSTALL} {package}` again") from e


def _browser() -> str:
    given = os.environ.get("CHROMIUM")
    found = given or next(filter(None, map(shutil.which, _BROWSERS)), None)
    if found is None:
        raise MissingDependencyError("chromium is not installed; install it, or name it in the variable CHROMIUM")
    return found


@cache
def _printed(program: str) -> str:
    """What it says of its version, up to the number."""
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise MissingDependencyError(f"{program} does not run ({' '.join(str(e).split())}); install it again") from e
    found = re.match(r"\D*[\d.]+", done.stdout.strip())
    return found.group() if found else "of unknown version"
