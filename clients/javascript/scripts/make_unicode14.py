"""Writes src/unicode14-data.js: Unicode 14.0's classes and lower case, as lstm_deploy.unicode14 has them.

Run from anywhere, with a Python that has lstm_deploy: ``python clients/javascript/scripts/make_unicode14.py``.
``--check`` writes nothing and fails where the file is another.
"""

import sys
from itertools import groupby
from pathlib import Path

from lstm_deploy.unicode14 import classes, lower

TARGET = Path(__file__).parents[1] / "src" / "unicode14-data.js"
EVERYTHING = "".join(map(chr, range(0x110000)))
HEADER = """\
/**
 * Unicode 14.0, made by scripts/make_unicode14.py: do not edit.
 *
 * CLASSES: run lengths (none = 1) and class letters from U+0000 to U+10FFFF.
 * LOWER: runs of code points that have a lower case, each "gap,step,count,difference" in base 36: the first is `gap`
 * after the last one of the run before, there are `count` of them, every `step`-th, and lower case is `difference`
 * away. U+0130 is not among them: it becomes two code points.
 */

"""


def class_runs() -> str:
    """The table as one string."""
    return "".join(
        f"{count if count > 1 else ''}{letter}"
        for letter, group in groupby(classes(EVERYTHING))
        for count in [len(list(group))]
    )


def lower_runs() -> str:
    """The mapping as one string."""
    pairs = [(ord(char), ord(lower(char))) for char in EVERYTHING if lower(char) != char and char != "\u0130"]
    runs: list[list[int]] = []  # first, step, count, difference
    for point, low in pairs:
        if runs:
            first, step, count, difference = runs[-1]
            gap = point - first - step * (count - 1)
            if low - point == difference and (gap == step or (count == 1 and gap <= 2)):
                runs[-1] = [first, gap, count + 1, difference]
                continue
        runs.append([point, 1, 1, low - point])
    parts, last = [], 0
    for first, step, count, difference in runs:
        parts.append(",".join(map(_base36, (first - last, step, count, difference))))
        last = first + step * (count - 1)
    return " ".join(parts)


def _base36(number: int) -> str:
    digits, left = "", abs(number)
    while left or not digits:
        digits, left = "0123456789abcdefghijklmnopqrstuvwxyz"[left % 36] + digits, left // 36
    return ("-" if number < 0 else "") + digits


def _constant(name: str, text: str) -> str:
    lines = "".join(f'  "{text[at : at + 112]}" +\n' for at in range(0, len(text), 112))
    return f"export const {name} =\n{lines.removesuffix(chr(10)).removesuffix(' +')};\n"


def main() -> None:
    """Writes or checks the file."""
    text = HEADER + _constant("CLASSES", class_runs()) + "\n" + _constant("LOWER", lower_runs())
    if sys.argv[1:] != ["--check"]:
        TARGET.write_text(text, encoding="utf-8")
    elif TARGET.read_text(encoding="utf-8") != text:
        raise SystemExit(f"{TARGET} is not what lstm_deploy.unicode14 says; run this script without --check")


if __name__ == "__main__":
    main()
