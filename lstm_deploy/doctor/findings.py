"""What the doctor says of one fault."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One fault, or one thing worth knowing.

    Attributes:
        severity: ``error``: what has to work does not, or will not stay so; ``warning``: it works, but not as well as
            it could; ``note``: nothing is wrong.
        about: ``packages``, ``driver``, ``libraries``, ``cpu``, ``cuda`` or ``limits``.
        fact: what was found and what was expected.
        cure: what to do, with the exact lines; "" where there is nothing to do.
    """

    severity: Severity
    about: str
    fact: str
    cure: str = ""


def error(about: str, fact: str, cure: str) -> Finding:
    """A fault of which somebody has to be cured before it works."""
    return Finding("error", about, fact, cure)


def warning(about: str, fact: str, cure: str) -> Finding:
    """Something that works, but not as well as it could."""
    return Finding("warning", about, fact, cure)


def note(about: str, fact: str, cure: str = "") -> Finding:
    """Something worth knowing."""
    return Finding("note", about, fact, cure)
