"""A figure without a display, and it as a PNG that is the same for the same figures."""

from io import BytesIO
from pathlib import Path
from typing import Any

from ..errors import MissingDependencyError
from ..formats import atomic_output


def new_figure(width: float, height: float) -> Any:
    """An empty figure of so many inches.

    Raises:
        MissingDependencyError: no matplotlib.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as e:
        raise MissingDependencyError("matplotlib is not installed; run `pip install 'lstm-deploy[plots]'`") from e
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def write_picture(figure: Any, path: Path) -> None:
    """The figure as a PNG, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    with atomic_output(path) as stream:
        stream.write(buffer.getvalue())
