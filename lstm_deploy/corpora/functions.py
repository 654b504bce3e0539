"""The predictor as a function of columns, to hand to pandas, Polars, DuckDB, Spark and Ray. Imports none of them."""

import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..models import find_model
from ..predictor import Predictor
from ..providers import Provider
from .columns import check_lists, check_text, refuse, tag_lists

_Settings = tuple[str, Provider, int | None, int | None]


class ColumnTagger:
    """Tags columns of token lists; what comes back is of the kind that was given.

    Picklable, by the model's path. The model is opened when first used, once in a process however many taggers have the
    same settings; on the CPU a fork keeps it. Thread-safe.

    Args:
        model: a path, or the name of a model (``lstm-deploy models``), which is looked up now.
        provider: as for `Predictor.load`.
        threads: likewise; 1 where an engine runs a process or a thread for each core.
        batch_tokens: likewise.

    Attributes:
        path: the model file, absolute.

    Raises:
        ModelFileError: there is no such model or file.
    """

    def __init__(
        self,
        model: str | Path,
        provider: Provider = "cpu",
        *,
        threads: int | None = None,
        batch_tokens: int | None = None,
    ) -> None:
        self.path = find_model(model).absolute()
        self._settings: _Settings = (str(self.path), provider, threads, batch_tokens)

    def __repr__(self) -> str:
        return f"ColumnTagger({str(self.path)!r})"

    @property
    def predictor(self) -> Predictor:
        """The model, opened by now; this process's only one with these settings.

        Raises:
            ModelFileError, ProviderError: as `Predictor.load`.
        """
        return _opened(self._settings)

    def __call__(self, column: Any) -> Any:
        """`tag`."""
        return self.tag(column)

    def tag(self, column: Any) -> Any:
        """The tags of each row: a list of as many strings as the row has tokens; null where the row is.

        Args:
            column: rows of tokens: a pyarrow Array or ChunkedArray, a Series of pandas or Polars, a list, or what gives
                its data as an Arrow stream.

        Returns:
            The same kind: a Series with the same name and index, a ChunkedArray for a ChunkedArray and for a stream,
            an Array for an Array, a list for a list.

        Raises:
            TypeError: a column of text, which `tokenize` cuts into tokens first, or of something else.
            InputError, UnknownWordError, UnknownCharacterError: as `lstm_deploy.corpora.columns.tag_lists`; the text
                names rows.
        """
        arrow = check_lists(_to_arrow(column), "ColumnTagger.tokenize(column)")
        return _like(column, tag_lists(self.predictor, arrow).tags)

    def tokenize(self, column: Any) -> Any:
        """A column of text, a sentence a row, as one of token lists, cut by the model's own tokenizer.

        Args:
            column: rows of strings, of the kinds that `tag` takes; null where there is none.

        Raises:
            TypeError: rows of something else.
            InputError: a text that is not valid UTF-8; names rows.
        """
        arrow = check_text(_to_arrow(column))
        cut = self.predictor.metadata.tokenizer.tokens
        try:
            texts = arrow.to_pylist()
        except UnicodeDecodeError:
            refuse(arrow, 0)
        kind = pa.list_(pa.string())
        rows = pa.array([None if text is None else cut(text) for text in texts], kind)
        return _like(column, pa.chunked_array([rows]) if isinstance(arrow, pa.ChunkedArray) else rows)

    def add(self, frame: Any, tokens: str = "tokens", tags: str = "tags") -> Any:
        """A frame with a column of tags beside its others: a function for Ray Data's ``map_batches``.

        Args:
            frame: a pyarrow Table or RecordBatch, a DataFrame of pandas or Polars.
            tokens: the name of the column of tokens.
            tags: the name of the new column, which comes last.

        Raises:
            TypeError, InputError, UnknownWordError, UnknownCharacterError: as `tag`.
        """
        found = self.tag(frame[tokens])
        if isinstance(frame, pa.Table | pa.RecordBatch):
            return frame.append_column(tags, found)
        if _package(frame) == "polars":
            return frame.with_columns(found.alias(tags))
        return frame.assign(**{tags: found})

    def add_each(self, frames: Iterable[Any], tokens: str = "tokens", tags: str = "tags") -> Iterator[Any]:
        """`add` for each frame: a function for Spark's ``mapInPandas`` and ``mapInArrow``."""
        for frame in frames:
            yield self.add(frame, tokens, tags)


_lock = threading.Lock()
_predictors: dict[_Settings, Predictor] = {}


def _opened(settings: _Settings) -> Predictor:
    found = _predictors.get(settings)
    if found is None:
        with _lock:
            found = _predictors.get(settings)
            if found is None:
                path, provider, threads, batch_tokens = settings
                found = Predictor.load(path, provider, threads=threads, batch_tokens=batch_tokens)
                _predictors[settings] = found
    return found


def _after_fork() -> None:
    """The parent's threads are not here, and one of them may have held the lock; CUDA is not here either."""
    global _lock
    _lock = threading.Lock()
    for settings, predictor in list(_predictors.items()):
        if predictor.provider != "cpu":
            del _predictors[settings]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _package(thing: Any) -> str:
    return type(thing).__module__.partition(".")[0]


def _to_arrow(column: Any) -> Any:
    if isinstance(column, pa.Array | pa.ChunkedArray):
        return column
    if _package(column) != "pandas" and hasattr(column, "__arrow_c_stream__"):
        return pa.chunked_array(column)
    if _package(column) != "pandas" and not isinstance(column, list | tuple):
        raise TypeError(
            f"expected a column, got {type(column).__name__}; pass a pyarrow Array, a Series of pandas or "
            "Polars, or a list"
        )
    try:
        return pa.array(column, from_pandas=True)
    except (pa.ArrowException, UnicodeEncodeError) as e:
        raise TypeError(
            f"Arrow cannot take the column ({' '.join(str(e).split()):.200}); expected a list of valid "
            "strings, or a null, in each row"
        ) from e


def _like(given: Any, found: Any) -> Any:
    """An Arrow column as the kind of column that was given."""
    if isinstance(given, list | tuple):
        return found.to_pylist()
    if _package(given) == "polars":
        return type(given)(given.name, found)
    if _package(given) == "pandas":
        if hasattr(given.dtype, "pyarrow_dtype"):
            values = found.to_pandas(types_mapper=type(given.dtype)).array
            return type(given)(values, index=given.index, name=given.name)
        return type(given)(found.to_pylist(), index=given.index, name=given.name, dtype=object)
    return found
