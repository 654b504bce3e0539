"""A model's card: what a model is for, what it was made of and how good it is, as a JSON object in the file.

FORMAT.md, section 11, is its specification. Knows what a card may hold, not how it gets into a file.
"""

import math
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .errors import InputError

TEXTS = ("name", "description", "licence", "intended_use", "rebuild")
"""Fields that are one string."""
SOURCE = ("name", "version", "licence", "attribution", "use")
"""Fields of an entry of ``data``, all strings."""
SCORE = ("split", "gold", "file", "sha256", "segmenter_sha256")
"""Fields of an entry of ``scores`` that are strings; ``figures`` beside them are numbers."""
_NEEDED = ("name", "description", "licence")
_SOURCE_NEEDED = ("name", "licence")
_SCORE_NEEDED = ("split", "gold")


def read_card(path: Path, defaults: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The card in a TOML file: its table ``[card]`` where there is one, else all of it.

    Args:
        defaults: fields that the file may leave out.

    Raises:
        InputError: it cannot be read, is not TOML, or is no card; scores are measured and may not stand there.
    """
    try:
        with path.open("rb") as stream:
            value = tomllib.load(stream)
    except OSError as e:
        raise InputError(f"{path}: {e.strerror}; pass a TOML file with a model's card") from e
    except (ValueError, RecursionError) as e:
        raise InputError(f"{path}: not TOML ({e}); see FORMAT.md, section 11, for a card's fields") from e
    card = value.get("card", value)
    try:
        if isinstance(card, dict):
            card = {**(defaults or {}), **card}
        if "scores" in check_card(card):
            raise ValueError("has scores; expected none: they are measured on the file")
    except ValueError as e:
        raise InputError(f"{path}: the card {e}; see FORMAT.md, section 11") from e
    return card


def check_card(card: Any) -> dict[str, Any]:
    """The card, if it is a whole one: known fields of the right types, with name, description and licences.

    Raises:
        ValueError: it is not; the text says what is wrong, without a subject.
    """
    checked = read_fields(card)
    _only(card, (*TEXTS, "data", "scores", "limits"), "")
    _all(card, _NEEDED, "")
    if not card.get("data"):
        raise ValueError("has no data; expected what the model was trained on, with name and licence of each")
    for source in card["data"]:
        where = f" of the data {source.get('name', '')!r:.60}"
        _only(source, SOURCE, where)
        _all(source, _SOURCE_NEEDED, where)
    for score in card.get("scores", ()):
        where = f" of the score {score.get('split', '')!r:.60}"
        _only(score, (*SCORE, "figures"), where)
        _all(score, _SCORE_NEEDED, where)
        if not score.get("figures"):
            raise ValueError(f"has no figures{where}")
    return checked


def card_to_write(card: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The card that is to go into a file, if it is a whole one; None for none, and for an empty one.

    Raises:
        InputError: it is not.
    """
    try:
        return check_card(dict(card)) if card else None
    except ValueError as e:
        raise InputError(f"the card {e}; see FORMAT.md, section 11") from e


def read_fields(card: Any) -> dict[str, Any]:
    """The card, if the fields that are known have the right types; what is not known may be anything.

    Raises:
        ValueError: they have not.
    """
    if not isinstance(card, dict):
        raise ValueError(f"is {_kind(card)}; expected a table of fields")
    _texts(card, TEXTS, "")
    for name in ("data", "scores"):
        if not isinstance(card.get(name, []), list) or not all(isinstance(entry, dict) for entry in card.get(name, [])):
            raise ValueError(f"has {name} that are no list of tables")
    for source in card.get("data", ()):
        _texts(source, SOURCE, f" of the data {source.get('name', '')!r:.60}")
    for score in card.get("scores", ()):
        where = f" of the score {score.get('split', '')!r:.60}"
        _texts(score, SCORE, where)
        figures = score.get("figures", {})
        if not isinstance(figures, dict) or not all(map(_is_figure, figures.values())):
            raise ValueError(f"has figures{where} that are not finite numbers")
    limits = card.get("limits", [])
    if not isinstance(limits, list) or not all(isinstance(limit, str) for limit in limits):
        raise ValueError("has limits that are no list of sentences")
    return card


def describe_card(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(what, text) rows for people, of whatever fields there are; none of a file without a card."""
    rows = [("card", ": ".join(card[part] for part in ("name", "description") if part in card))] if card else []
    rows += [("use", card["intended_use"])] if "intended_use" in card else []
    rows += [("made of", source_line(source)) for source in card.get("data", ())]
    rows += [("measured", score_line(score)) for score in card.get("scores", ())]
    rows += [("limit", limit) for limit in card.get("limits", ())]
    return rows + ([("rebuild", card["rebuild"])] if "rebuild" in card else [])


def source_line(source: Mapping[str, str]) -> str:
    """An entry of ``data`` in one line."""
    name = " ".join(source[part] for part in ("name", "version") if source.get(part))
    rest = [source[part] for part in ("use", "licence", "attribution") if source.get(part)]
    return f"{name or 'unnamed'}: {'; '.join(rest)}"


def score_line(score: Mapping[str, Any]) -> str:
    """An entry of ``scores`` in one line, rates in per cent."""
    return f"{score.get('gold') or score.get('split') or 'unnamed'}: {figures_line(score.get('figures', {}))}"


def figures_line(figures: Mapping[str, float]) -> str:
    """Figures by name: fractions in per cent, counts as they are."""
    return ", ".join(
        f"{name.replace('_', ' ')} {f'{value:,}' if isinstance(value, int) else f'{100 * value:.2f} %'}"
        for name, value in figures.items()
    )


def _texts(table: Mapping[str, Any], fields: Iterable[str], where: str) -> None:
    for field in fields:
        if field in table and not isinstance(table[field], str):
            raise ValueError(f"has {field}{where} that is {_kind(table[field])}; expected a string")


def _only(table: Mapping[str, Any], fields: tuple[str, ...], where: str) -> None:
    if unknown := [field for field in table if field not in fields]:
        raise ValueError(f"has an unknown field {unknown[0]!r:.60}{where}; expected {', '.join(fields)}")


def _all(table: Mapping[str, Any], fields: Iterable[str], where: str) -> None:
    if missing := next((field for field in fields if not table.get(field, "").strip()), None):
        raise ValueError(f"has no {missing}{where}")


def _is_figure(value: Any) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool)) or (
        isinstance(value, float) and math.isfinite(value)
    )


def _kind(value: Any) -> str:
    return f"a {type(value).__name__}"
