"""Recipes: what a released model is made of and how, as TOML; see README.md here for the fields.

Knows options, files and targets of a recipe, not how a step runs.
"""

import hashlib
import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from lstm_deploy.card import read_card
from lstm_deploy.cli import evaluate, export, train
from lstm_deploy.errors import InputError
from lstm_deploy.models import find_model

HERE = Path(__file__).parent
_FIELDS = {
    "threads", "labels_sha256", "checkpoint", "train", "export", "eval", "target", "card", "release",
}  # fmt: skip
_RATES = ("precision", "recall", "f1")
_PARTS = ("entities", "sentences", "words", "upos", "xpos")
_FIGURES = {"sentences", "tokens", "accuracy", "accuracy_on_unknown_words"} | {
    f"{part}_{rate}" for part in _PARTS for rate in _RATES
}
_OF_THE_FILE = {"bytes", "drop"}
_SET_BY_THE_BUILD = {"output", "resume", "overwrite", "soft-labels", "card", "json", "plots", "module"}


@dataclass(frozen=True)
class Target:
    """A figure that a model is to reach.

    Attributes:
        what: the figure, for people.
        figure: its name: of the evaluation of ``split``, or without one ``bytes`` (the file's size) or ``drop`` (what
            rounding costs, in points).
        least, most: its bound; one of them, or none where it is only to be known.
    """

    what: str
    figure: str
    split: str | None = None
    least: float | None = None
    most: float | None = None

    def holds(self, value: float) -> bool:
        """Whether ``value`` is within the bounds."""
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)


@dataclass(frozen=True)
class Evaluation:
    """A gold file that the exported model is scored on.

    Attributes:
        file: below the data folder.
        gold: the gold standard with its version, for people.
        options: of ``lstm-deploy eval``.
    """

    file: str
    gold: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """A recipe as its file has it.

    Attributes:
        checkpoint: name of the recipe whose training this one exports; its own name if it trains.
        train: options of ``lstm-deploy train``; of a recipe that exports another's checkpoint None.
        export: options of ``lstm-deploy export``.
        evals: split -> what the file is scored on.
        card: the card without scores.
        ship: whether the file is part of a release; else its scores are reported.
        threads: that every step computes on, since the weights depend on their number.
        labels_sha256: of the ``labels.json`` that training needs; None where it needs none.
    """

    name: str
    checkpoint: str
    train: Mapping[str, Any] | None
    export: Mapping[str, Any]
    evals: Mapping[str, Evaluation]
    card: Mapping[str, Any]
    ship: bool
    targets: Sequence[Target] = ()
    threads: int = 1
    labels_sha256: str | None = None


def read_recipe(path: Path) -> Recipe:
    """The recipe in a file.

    Raises:
        InputError: it cannot be read, or has fields or options that there are not.
    """
    try:
        with path.open("rb") as stream:
            value = tomllib.load(stream)
    except OSError as e:
        known = ", ".join(sorted(other.stem for other in path.parent.glob("*.toml")))
        raise InputError(f"{path}: no such recipe ({e.strerror}); expected one of {known}") from e
    except (ValueError, RecursionError) as e:
        raise InputError(f"{path}: not TOML ({e}); see recipes/README.md") from e
    try:
        return _recipe(path, value)
    except (TypeError, ValueError, KeyError, AttributeError) as e:
        reason = f"it has no {e.args[0]}" if isinstance(e, KeyError) else str(e)
        raise e if isinstance(e, InputError) else InputError(f"{path}: {reason}; see recipes/README.md") from e


def _recipe(path: Path, value: dict[str, Any]) -> Recipe:
    if unknown := [name for name in value if name not in _FIELDS]:
        raise ValueError(f"unknown field {unknown[0]!r}, expected {', '.join(sorted(_FIELDS))}")
    if ("train" in value) == ("checkpoint" in value):
        raise ValueError("expected a table [train], or checkpoint = the name of the recipe that trains")
    if "labels_sha256" in value and "train" not in value:
        raise ValueError("labels_sha256 belongs to the recipe that trains")
    for table in ("train", "export", "eval", "card", "release"):
        _typed(value, table, dict, "a table")
    evals = {split: _evaluation(split, value["eval"]) for split in value["eval"]}
    recipe = Recipe(
        name=path.stem,
        checkpoint=_typed(value, "checkpoint", str, "a name") or path.stem,
        train=value.get("train"),
        export=value.get("export", {}),
        evals=evals,
        card=read_card(path, {"name": path.stem, "rebuild": f"make models MODEL={path.stem}"}),
        ship=value["release"]["ship"],
        targets=tuple(Target(**target) for target in value.get("target", ())),
        threads=value.get("threads", 1),
        labels_sha256=_typed(value, "labels_sha256", str, "a string"),
    )
    if not isinstance(recipe.ship, bool):
        raise ValueError(f"ship = {recipe.ship!r}; expected true or false")
    if isinstance(recipe.threads, bool) or not isinstance(recipe.threads, int) or recipe.threads < 1:
        raise ValueError(f"threads = {recipe.threads!r}; expected a whole number from 1")
    for target in recipe.targets:
        _check_target(target, evals)
    for command, options in ((train, recipe.train or {}), (export, recipe.export)):
        list(_parameters(command, options))
    for entry in evals.values():
        list(_parameters(evaluate, entry.options))
    return recipe


def _typed(table: Mapping[str, Any], name: str, kind: type, what: str) -> Any:
    """A field of ``table``, None where there is none."""
    found = table.get(name)
    if found is not None and not isinstance(found, kind):
        raise ValueError(f"{name} = {found!r:.60}; expected {what}")
    return found


def _evaluation(split: str, evals: Mapping[str, Any]) -> Evaluation:
    options = dict(_typed(evals, split, dict, "a table"))
    for name in ("file", "gold"):
        _typed(options, name, str, "a string")
    return Evaluation(options.pop("file"), options.pop("gold"), options)


def _check_target(target: Target, evals: Mapping[str, Evaluation]) -> None:
    where = f"target {target.what!r}"
    if None not in (target.least, target.most) or (target.split or "") not in {"", *evals}:
        raise ValueError(f"{where}: expected least or most, and a split among {', '.join(evals)}")
    for bound in (target.least, target.most):
        if bound is not None and not _is_number(bound):
            raise ValueError(f"{where}: the bound {bound!r}; expected a finite number")
    known = _OF_THE_FILE if target.split is None else _FIGURES
    if target.figure not in known:
        raise ValueError(f"{where}: no figure {target.figure!r:.60}; expected one of {', '.join(sorted(known))}")


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)


def all_recipes(folder: Path = HERE) -> list[Recipe]:
    """All there are, by name."""
    return [read_recipe(path) for path in sorted(folder.glob("*.toml"))]


def arguments(command: click.Command, options: Mapping[str, Any], data: Path, models: Sequence[Path] = ()) -> list[str]:
    """Options of a recipe as arguments of the command line; files as in `files`."""
    found: list[str] = []
    for parameter, value in _parameters(command, options):
        if isinstance(value, bool):
            found += [(parameter.opts if value else parameter.secondary_opts)[0]]
            continue
        for item in value if isinstance(value, list) else [value]:
            found += [parameter.opts[0], str(_file(parameter, item, data, models) or item)]
    return found


def files(command: click.Command, options: Mapping[str, Any], data: Path, models: Sequence[Path] = ()) -> list[Path]:
    """All files among the options: those below ``data``, and other models' by name.

    Args:
        models: folders that models are looked up in first, before those that the package knows.
    """
    found = [
        _file(parameter, item, data, models)
        for parameter, value in _parameters(command, options)
        for item in (value if isinstance(value, list) else [value])
    ]
    return [path for path in found if path is not None]


def _file(parameter: click.Option, item: Any, data: Path, models: Sequence[Path]) -> Path | None:
    if isinstance(parameter.type, click.Path):
        return data / item
    if parameter.type.name != "model":
        return None
    built = (folder / f"{item}.onnx" for folder in models)
    return next((path for path in built if path.is_file()), None) or find_model(item)


def _parameters(command: click.Command, options: Mapping[str, Any]) -> Iterator[tuple[click.Option, Any]]:
    """The command's parameter of each option, and its value.

    Raises:
        ValueError: the command has no such option, the build gives it itself, or the value is none that it takes.
    """
    known = {p.opts[0].removeprefix("--"): p for p in command.params if isinstance(p, click.Option)}
    for name, value in options.items():
        if name not in known or name in _SET_BY_THE_BUILD:
            why = "is given by the build itself" if name in _SET_BY_THE_BUILD else "is none of its options"
            raise ValueError(f"`lstm-deploy {command.name}`: {name!r} {why}")
        parameter = known[name]
        off = value is False and not parameter.secondary_opts
        items = value if isinstance(value, list) and parameter.multiple else [value]
        if isinstance(value, bool) != parameter.is_flag or off or not all(_taken(parameter, item) for item in items):
            raise ValueError(f"`lstm-deploy {command.name}`: {name} = {value!r}; expected what --{name} takes")
        yield parameter, value


def _taken(parameter: click.Option, value: Any) -> bool:
    """Whether a value has the type of an option; its range the command itself knows."""
    if parameter.is_flag:
        return isinstance(value, bool)
    if isinstance(parameter.type, click.types.IntParamType):
        return isinstance(value, int)
    return _is_number(value) if isinstance(parameter.type, click.types.FloatParamType) else isinstance(value, str)


def file_hash(path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        InputError: it is not there.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as e:
        raise InputError(f"{path}: {e.strerror}; a recipe needs it: see recipes/README.md") from e
