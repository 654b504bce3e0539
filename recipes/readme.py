"""Writes exported/README.md: a table of the models and a card of each, from the files and from what was measured.

python recipes/readme.py
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recipe import HERE
from results import RESULTS, figures, read_results

from lstm_deploy.card import figures_line, source_line
from lstm_deploy.errors import InputError
from lstm_deploy.formats import atomic_output
from lstm_deploy.inspection import inspect_model

EXPORTED = HERE.parent / "exported"
SPEED = RESULTS.with_name("models-speed.json")
_HEAD = """# exported/

Model files made by `lstm-deploy export`: one self-contained ONNX file each, with vocabulary, tags, tokenizer, golden
cases, proof and card inside ([FORMAT.md](../FORMAT.md)). `lstm-deploy run --model NAME` takes them by name,
`lstm-deploy inspect NAME` shows all that a file says of itself.

This page is written by `recipes/readme.py` from the files and from
[what was measured](../benchmarks/results/models.json): change [the recipes](../recipes/README.md), not the page. Scores
are those of the file here, in onnxruntime on the CPU; 1 MB is 1,000,000 bytes.
"""
_TAIL = """## What else may stand here

`tagger.onnx` is the default of `lstm-deploy export` and `lstm-deploy run`: whatever was exported last. `ewt.onnx` and
`ewt-int8.onnx` are what `make treebank` and `make bench` make. They are not committed: only models that tests or users
need are, each named above and made by its recipe, the default English tagger up to 8 MB.
"""


def page(exported: Path = EXPORTED, path: Path = RESULTS, speed: Path = SPEED) -> str:
    """The text of exported/README.md.

    Raises:
        InputError: a model that is shipped by the results is not in ``exported``, or is another file.
        ModelFileError: it is not one of ours.
    """
    models = read_results(path)["models"]
    shipped = {name: found for name, found in models.items() if found["ship"]}
    others = {name: found for name, found in models.items() if not found["ship"]}
    speeds = json.loads(speed.read_bytes()) if speed.exists() else None
    parts = [_HEAD]
    if shipped:
        parts.append("\n".join(_table(shipped)) + "\n")
    for name, found in shipped.items():
        parts.append("\n".join(_section(name, _inspected(exported / f"{name}.onnx", found), found, speeds)) + "\n")
    if others:
        parts.append("\n".join(_not_shipped(others)) + "\n")
    return "\n".join([*parts, _TAIL])


def write_readme(exported: Path = EXPORTED, path: Path = RESULTS) -> None:
    """Writes the page."""
    text = page(exported, path)
    with atomic_output(exported / "README.md") as stream:
        stream.write(text.encode())


def _inspected(path: Path, found: dict[str, Any]) -> dict[str, Any]:
    """What the file says of itself, where it is the one that was measured."""
    if not path.is_file():
        raise InputError(f"{path}: not there; the results say that it is shipped: build it with `make models`")
    report = inspect_model(path)
    if report["sha256"] != found["sha256"]:
        raise InputError(
            f"{path}: has the SHA-256 {report['sha256']}, measured was {found['sha256']}; build it with `make models`"
        )
    return report


def _table(models: dict[str, dict[str, Any]]) -> Iterator[str]:
    yield "| model | tags | best known by | size | precision |"
    yield "| --- | --- | --- | --- | --- |"
    for name, found in models.items():
        size = f"{found['bytes'] / 1e6:.2f} MB" if found["bytes"] >= 10_000 else f"{found['bytes'] / 1e3:.1f} kB"
        yield f"| [{name}](#{name}) | {found['tags']} | {_headline(found)} | {size} | {found['precision']} |"


def _headline(found: dict[str, Any]) -> str:
    """The first evaluation's figure by which models are chosen."""
    for entry in found["evals"].values():
        shown = figures(entry["report"])
        name = next((key for key in shown if key.endswith("f1")), "accuracy")
        if name in shown:
            return f"{name.replace('_', ' ')} {100 * shown[name]:.2f} % on {entry['gold']}"
    return "not scored"


def _section(name: str, report: dict[str, Any], found: dict[str, Any], speeds: dict[str, Any] | None) -> Iterator[str]:
    card = report["card"]
    yield f"## {name}"
    yield ""
    yield card["description"]
    yield ""
    if use := card.get("intended_use"):
        yield f"- **For:** {use}"
    yield f"- **Licence of the file:** {card['licence']}"
    yield from (f"- **Made of:** {source_line(source)}" for source in card["data"])
    yield from (f"- **Measured** on {score['gold']}: {figures_line(score['figures'])}" for score in card["scores"])
    if rounding := report["rounding"]:
        yield (
            f"- **Rounding** to {report['precision']} costs {rounding['drop']:.2f} points on {rounding['data']}; "
            f"{100 * rounding['same_tags']:.2f} % of tags are the same"
        )
    yield from (f"- **Limit:** {limit}" for limit in card.get("limits", ()))
    yield f"- **Tags** ({len(report['tags'])}): {', '.join(f'`{tag}`' for tag in report['tags'])}"
    yield f"- **File:** `{name}.onnx`, {report['bytes']:,} bytes, SHA-256 `{report['sha256']}`"
    if speeds and name in speeds["models"]:
        row = speeds["models"][name]
        yield (
            f"- **Speed** on {speeds['machine']}, {speeds['date']}: one sentence of 20 words in "
            f"{1000 * row['single_seconds']:.2f} ms, {row['tokens_per_second']:,.0f} tokens/s on many"
            + "".join(
                f"; {row['tokens_per_second'] / peer['tokens_per_second']:.1f} times {other}'s"
                for other, peer in speeds.get("peers", {}).items()
                if found["column"] == "upos"
            )
        )
    versions = ", ".join(f"{package} {version}" for package, version in found["versions"].items())
    minutes = f"training took {found['training_minutes']} minutes on {_cores(found)}"
    yield f"- **Made** {found['date']} with {versions}; {minutes}"
    yield f"- **Rebuild:** `{card['rebuild']}`{_rebuilt(found)}"


def _cores(found: dict[str, Any]) -> str:
    return "1 core" if found["threads"] == 1 else f"{found['threads']} cores"


def _rebuilt(found: dict[str, Any]) -> str:
    if not (again := found.get("rebuilt")):
        return ""
    return f" (done once more on {again['date']}: {'the same bytes' if again['same'] else 'OTHER bytes'})"


def _not_shipped(models: dict[str, dict[str, Any]]) -> Iterator[str]:
    yield "## Measured, not shipped"
    yield ""
    yield "The licences of their data are not those of this project's files; their recipes make them for you."
    yield ""
    yield "| model | measured | recipe |"
    yield "| --- | --- | --- |"
    for name, found in models.items():
        yield f"| {name} | {_headline(found)} | [{name}.toml](../recipes/{name}.toml) |"


if __name__ == "__main__":
    write_readme()
