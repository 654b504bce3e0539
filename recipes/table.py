"""Prints what the released models reach of what they were to reach, from benchmarks/results.

python recipes/table.py
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recipe import Recipe, all_recipes
from results import RESULTS, measured, read_results, shown, wanted

GENRES = RESULTS.with_name("genres.json")


def table(recipes: list[Recipe], path: Path = RESULTS, genres: Path = GENRES) -> str:
    """A Markdown table: model, figure, wanted, measured."""
    models = read_results(path)["models"]
    rows = ["| model | figure | wanted | measured | |", "| --- | --- | --- | --- | --- |"]
    for recipe in recipes:
        rows += _targets(recipe, models.get(recipe.name))
    rows += _genres(json.loads(genres.read_bytes()) if genres.exists() else None)
    return "\n".join([*rows, *(_rebuilt(r.name, models.get(r.name)) for r in recipes if r.ship)])


def _targets(recipe: Recipe, result: dict[str, Any] | None) -> Iterator[str]:
    for target in recipe.targets:
        value = None if result is None else measured(target, result)
        holds = None if value is None or not wanted(target) else target.holds(value)
        yield _row(recipe.name, target.what, wanted(target), target.figure, value, holds)


def _genres(found: dict[str, Any] | None) -> Iterator[str]:
    """Our model against the peers that were trained on the same words."""
    if found is None:
        yield "| en-upos | UPOS of other genres | above its peers | not measured: `make genres` | |"
        return
    ours = found["accuracy"][found["model"]]
    for name, value in found["accuracy"].items():
        if name != found["model"]:
            bound = f"> {shown('accuracy', value)} ({name})"
            yield _row(found["model"], f"UPOS of {found['gold']}", bound, "accuracy", ours, ours > value)
    yield from (f"| {found['model']} | UPOS of {found['gold']} | | {name} | |" for name in found["absent"])


def _rebuilt(name: str, result: dict[str, Any] | None) -> str:
    again = (result or {}).get("rebuilt")
    said = f"`{again['sha256'][:12]}`" if again else "not measured: `build.py --rebuild`"
    before = f"`{result['sha256'][:12]}`" if result else "the same bytes"
    return f"| {name} | SHA-256 rebuilt | {before} | {said} | {_verdict(again and again['same'])} |"


def _row(name: str, what: str, bound: str, figure: str, value: float | None, holds: bool | None) -> str:
    said = "not measured" if value is None else shown(figure, value)
    return f"| {name} | {what} | {bound} | {said} | {_verdict(holds)} |"


def _verdict(holds: bool | None) -> str:
    return "" if holds is None else "yes" if holds else "NO"


if __name__ == "__main__":
    print(table(all_recipes()))
