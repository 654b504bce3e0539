"""Which packages of Python are installed."""

import importlib.metadata

from ...errors import MissingDependencyError


def version_of(package: str) -> str:
    """The installed version, without importing it.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError as e:
        raise MissingDependencyError(f"{package} is not installed; run `pip install {package}`") from e
