"""Corpora as teams have them, through a predictor: columns, files and folders (extra ``[data]``: pyarrow)."""

from importlib import import_module

from ..errors import MissingDependencyError


def require(*names: str, extra: str = "data") -> None:
    """Raises unless each package can be imported.

    Raises:
        MissingDependencyError: one is not installed; says which extra brings it.
    """
    for name in names:
        try:
            import_module(name)
        except ImportError as e:
            raise MissingDependencyError(f"{name} is not installed; pip install 'lstm-deploy[{extra}]'") from e
