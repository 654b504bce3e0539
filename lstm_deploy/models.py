"""Model files by name: those of the current folder, and those that came with the package."""

from dataclasses import dataclass
from pathlib import Path

from .errors import ModelFileError

HERE = Path("exported")
"""Where `lstm-deploy export` writes in the current folder."""
EXPORTED = HERE / "tagger.onnx"
"""What it writes without ``--output``."""
DEFAULT = "en-upos"
"""The model that travels inside the package."""
_PACKAGE = Path(__file__).parent
_BUNDLED = (_PACKAGE / "models", _PACKAGE.parent / "exported")
"""In an installed package; in a working copy."""


@dataclass(frozen=True)
class Installed:
    """A model file that can be named.

    Attributes:
        name: its file name without ``.onnx``.
        path: where it is.
        bundled: whether it came with the package.
    """

    name: str
    path: Path
    bundled: bool


def installed_models() -> list[Installed]:
    """All that can be named, of each name the one that is taken: those of the current folder come first."""
    found: dict[str, Installed] = {}
    for folder, bundled in ((HERE, False), *((folder, True) for folder in _BUNDLED)):
        for path in sorted(folder.glob("*.onnx")):
            found.setdefault(path.stem, Installed(path.stem, path, bundled))
    return sorted(found.values(), key=lambda model: model.name)


def find_model(given: str | Path) -> Path:
    """The file at a path, or else the model of that name.

    Raises:
        ModelFileError: there is neither.
    """
    path = Path(given)
    if path.exists() or path.suffix == ".onnx" or len(path.parts) > 1:
        return path  # what is wrong with it, opening it tells
    models = installed_models()
    for model in models:
        if model.name == str(given):
            return model.path
    names = ", ".join(model.name for model in models) or "none"
    raise ModelFileError(
        f"{given}: no model of that name and no such file; expected a path or one of {names}; list them with "
        "`lstm-deploy models`, or make one with `lstm-deploy export`"
    )


def default_model() -> Path:
    """What was exported last in the current folder, else the model that came with the package.

    Raises:
        ModelFileError: there is neither.
    """
    if EXPORTED.exists():
        return EXPORTED
    for folder in _BUNDLED:
        if (folder / f"{DEFAULT}.onnx").is_file():
            return folder / f"{DEFAULT}.onnx"
    raise ModelFileError(
        f"{EXPORTED}: no such model file, and none came with the package; name one with --model, or make one with "
        "`lstm-deploy train` and `lstm-deploy export`"
    )
