"""The campaign's table in docs/robustness.md: ``python -m tests.fuzz.page`` writes it from the committed result."""

import json
from pathlib import Path
from typing import Any

from .campaign import RESULTS, ROOT

PAGE = ROOT / "docs" / "robustness.md"
START, END = "<!-- fuzz: written by tests/fuzz/page.py -->", "<!-- /fuzz -->"


def table(result: dict[str, Any]) -> str:
    """Markdown."""
    columns = ("answered", "refused", "memory", "crash", "hang", "wrong")
    lines = [
        "| class | inputs | answered | refused | memory | crashes | hangs | wrong | seconds | run on |",
        "|" + " --- |" + " ---: |" * 8 + " --- |",
    ]
    for row in result["classes"]:
        counts = [f"{row[key]:,}" for key in ("cases", *columns)]
        lines.append(f"| {' | '.join([row['name'], *counts, _when(row)])} |")
    lines += ["", *(f"- **{row['name']}**: {row['about']}." for row in result["classes"])]
    versions = {f"{k} {v}" for row in result["classes"] for k, v in row["versions"].items()}
    lines += ["", f"With {', '.join(sorted(versions))}; {result['seconds'] / 60:,.0f} minutes in all."]
    return "\n".join(lines)


def _when(row: dict[str, Any]) -> str:
    return f"{row['seconds']:,.0f} | {row['date'] or 'not yet'}"


def with_table(text: str, result: dict[str, Any]) -> str:
    """The page's text with the result's table between its markers."""
    before, rest = text.split(START)
    _, after = rest.split(END)
    return f"{before}{START}\n{table(result)}\n{END}{after}"


def write_page(result: dict[str, Any], page: Path = PAGE) -> None:
    """Puts the table of ``result`` into the page."""
    page.write_text(with_table(page.read_text(encoding="utf-8"), result), encoding="utf-8")


if __name__ == "__main__":
    write_page(json.loads(RESULTS.read_text(encoding="utf-8")))
