"""What a build has done already: steps with a hash of all that went in, and the files that came out.

A step counts as done while its inputs are the same and its files are as it left them.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recipe import file_hash

from lstm_deploy.errors import InputError
from lstm_deploy.formats import atomic_output


class Steps:
    """The record of one model's build, a JSON file.

    Args:
        path: the file; it need not be there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._steps: dict[str, dict[str, Any]] = {}
        if path.exists():
            try:
                self._steps = json.loads(path.read_bytes())
                if not isinstance(self._steps, dict) or not all(map(_is_entry, self._steps.values())):
                    raise TypeError("it has something else than steps")
            except (ValueError, TypeError, RecursionError) as e:
                raise InputError(f"{path}: not a build's record ({e}); remove it to start again") from e

    def started(self, step: str, key: str) -> bool:
        """Whether the step was begun with these inputs, and not finished."""
        return self._steps.get(step) == {"key": key}

    def start(self, step: str, key: str) -> None:
        """Notes that it begins; what it left before no longer counts."""
        self._steps[step] = {"key": key}
        self._save()

    def done(self, step: str, key: str) -> Any:
        """What `finish` was given, or None if the step has to be done (again)."""
        entry = self._steps.get(step, {})
        if entry.get("key") != key or "files" not in entry:
            return None
        left = {self._found(path): digest for path, digest in entry["files"].items()}
        same = all(path.is_file() and file_hash(path) == digest for path, digest in left.items())
        return entry["facts"] if same else None

    def finish(self, step: str, key: str, files: Sequence[Path], facts: dict[str, Any]) -> dict[str, Any]:
        """Notes that it is done, the files it left and what it found; gives ``facts`` back."""
        folder = self._path.parent.resolve()
        left = {Path(os.path.relpath(path.resolve(), folder)).as_posix(): file_hash(path) for path in files}
        self._steps[step] = {"key": key, "files": left, "facts": facts}
        self._save()
        return facts

    def _found(self, path: str) -> Path:
        """A file of the record: paths are relative to its folder, in records of old to the working folder."""
        beside = self._path.parent / path
        return beside if beside.exists() else Path(path)

    def _save(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_output(self._path) as stream:
            stream.write(json.dumps(self._steps, indent=1, ensure_ascii=False).encode() + b"\n")


def _is_entry(entry: Any) -> bool:
    """Whether a value is what `Steps.start` or `Steps.finish` puts down."""
    if not isinstance(entry, dict) or not isinstance(entry.get("key"), str):
        return False
    return entry.keys() == {"key"} or (entry.keys() == {"key", "files", "facts"} and isinstance(entry["files"], dict))


def key_of(*parts: Any) -> str:
    """A hash of plain data."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
