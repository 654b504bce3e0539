"""Token -> subword feature ids, by hashing: no table of features is stored anywhere.

Each template yields one string per token; ``"template=value"`` in UTF-8 goes through CRC-32
(the one of zlib, PNG and gzip) modulo the number of buckets. Specified in FORMAT.md.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass

from .unicode14 import classes, lower

_SHAPE = str.maketrans({"u": "X", "l": "x", "o": "x", "m": "x", "d": "d", "n": "d"})
_SHAPE_RUN = 4
_MOST_BUCKETS = 2**31 - 1


def shape(token: str) -> str:
    """The token's shape: X upper, x other letters and marks, d numbers, the rest as is; runs cut at 4.

    >>> shape("Lstm-2024ab"), shape("internationalisation")
    ('Xxxx-ddddxx', 'xxxx')
    """
    out: list[str] = []
    run = 0
    for char, kind in zip(token, classes(token), strict=True):
        symbol = kind.translate(_SHAPE) if kind in "ulomdn" else char
        run = run + 1 if out and out[-1] == symbol else 1
        if run <= _SHAPE_RUN:
            out.append(symbol)
    return "".join(out)


def _prefix(n: int) -> Callable[[str, str], str]:
    return lambda token, lowered: lowered[:n]


def _suffix(n: int) -> Callable[[str, str], str]:
    return lambda token, lowered: lowered[-n:]


TEMPLATES: dict[str, Callable[[str, str], str]] = {
    "lower": lambda token, lowered: lowered,
    **{f"prefix{n}": _prefix(n) for n in range(1, 7)},
    **{f"suffix{n}": _suffix(n) for n in range(1, 7)},
    "shape": lambda token, lowered: shape(token),
}
"""Name -> function of (token, its lower-cased form). A form shorter than n is its own prefix and suffix."""

DEFAULT_TEMPLATES = (
    "lower", "prefix1", "prefix2", "prefix3", "suffix1", "suffix2", "suffix3", "suffix4", "shape",
)  # fmt: skip


@dataclass(frozen=True)
class SubwordFeatures:
    """The feature spec of a model: which templates, hashed into how many buckets.

    Raises:
        ValueError: an unknown template, none at all, no buckets, or more than ids of 32 bits can tell apart.
    """

    templates: tuple[str, ...] = DEFAULT_TEMPLATES
    buckets: int = 2**14

    def __post_init__(self) -> None:
        unknown = [name for name in self.templates if name not in TEMPLATES]
        if unknown or not self.templates:
            raise ValueError(f"feature templates {unknown or 'missing'}; known: {', '.join(TEMPLATES)}")
        if not 1 <= self.buckets <= _MOST_BUCKETS:
            raise ValueError(f"{self.buckets} feature buckets; expected 1 to {_MOST_BUCKETS:,}")

    def ids(self, token: str) -> list[int]:
        """One bucket per template, each in ``range(buckets)``."""
        lowered = lower(token)
        return [
            zlib.crc32(f"{name}={TEMPLATES[name](token, lowered)}".encode("utf-8", "surrogatepass")) % self.buckets
            for name in self.templates
        ]
