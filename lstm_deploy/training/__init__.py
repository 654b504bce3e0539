"""Training of LSTM taggers in PyTorch: needs the extra ``[export]``.

Call `require` first where a missing package should be one clear line.
"""

from importlib import import_module

from ..errors import MissingDependencyError, OutOfMemoryError
from ..memory import ran_out


def require(*packages: str) -> None:
    """Makes sure that ``packages`` can be imported.

    Raises:
        MissingDependencyError: one is not installed; the text says what to install.
        OutOfMemoryError: there is no room to load one.
    """
    for package in packages:
        try:
            import_module(package)
        except ImportError as e:
            if ran_out(e):
                raise OutOfMemoryError(
                    f"{package} does not fit into memory ({e}); give the process more (`ulimit -v`, a "
                    "container's limit)"
                ) from e
            raise MissingDependencyError(
                f"{package} is not installed ({e}); for training and export run `pip install 'lstm-deploy[export]'`"
            ) from e
