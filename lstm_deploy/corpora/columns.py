"""Arrow columns of token lists -> columns of tags, without a Python object for a token. Knows no files, no engines."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..decoding import FlatTags
from ..engine import Work
from ..errors import InputError, UnknownCharacterError, UnknownWordError
from ..predictor import Predictor

PIECE_TOKENS = 65_536
"""Tokens of a column that are tagged together, about: enough to put sentences of like length side by side."""
_PIECE_BATCHES = 4
"""At least so many full batches, where those are large."""
_IN_FLIGHT = 2
"""Pieces that are begun at a time: one is prepared while the other is tagged."""
_SHOWN = 3
"""Bad rows that an error names."""


class TaggedLists(NamedTuple):
    """What was found for a column, a row for each of its own.

    Attributes:
        tags: list<string>, a tag for each token; null where the column is, empty where it is empty.
        scores: list<float>, the probability of each tag; None where not asked for.
    """

    tags: Any
    scores: Any


def tag_lists(predictor: Predictor, column: Any, *, scores: bool = False) -> TaggedLists:
    """Tags a column of token lists, on all of the predictor's threads.

    Tags are those of `Predictor.predict_batch`; an int8 model, which rounds by batch, gives the same ones for the same
    column however it is cut into chunks and however many threads there are.

    Args:
        predictor: of the model.
        column: pyarrow Array or ChunkedArray of lists (list, large_list, fixed_size_list, list_view) of strings
            (string, large_string, string_view, or a dictionary of one); a null is a row without tags.
        scores: whether to give the probability of each tag too.

    Returns:
        Arrays for an Array, ChunkedArrays for a ChunkedArray.

    Raises:
        TypeError: ``column`` is no such column.
        InputError: a token is null or is not valid UTF-8; the text names rows.
        UnknownWordError, UnknownCharacterError: a token that the model has no id for, if it has no unknown one; the
            text names a row.
        OutOfMemoryError: one row alone does not fit into memory.
    """
    chunked = column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([check_lists(column)])
    check_lists(chunked)
    found: list[TaggedLists] = []
    running: deque[ListsWork] = deque()
    try:
        for start, stop in _pieces(chunked, max(PIECE_TOKENS, _PIECE_BATCHES * predictor.batch_tokens)):
            running.append(start_lists(predictor, chunked.slice(start, stop - start), scores=scores, first_row=start))
            if len(running) == _IN_FLIGHT:
                found.append(running.popleft().result())
        found.extend(work.result() for work in running)
    except BaseException:
        for work in running:
            work.cancel()
        raise
    tags = pa.chunked_array([part.tags for part in found], pa.list_(pa.string()))
    chances = pa.chunked_array([part.scores for part in found], pa.list_(pa.float32())) if scores else None
    if isinstance(column, pa.ChunkedArray):
        return TaggedLists(tags, chances)
    return TaggedLists(_one(tags), None if chances is None else _one(chances))


def start_lists(predictor: Predictor, column: Any, *, scores: bool = False, first_row: int = 0) -> "ListsWork":
    """`tag_lists` of one piece in two steps, so that the next can be read while this one is tagged.

    The whole piece is planned together: give it some ten thousand tokens, and keep two in flight.

    Args:
        predictor: of the model.
        column: as for `tag_lists`.
        scores: likewise.
        first_row: the number that errors give the first row.

    Raises:
        TypeError, InputError, UnknownWordError, UnknownCharacterError: as `tag_lists`, at once.
    """
    lists = _Lists.of(column)
    if lists.tokens.null_count:
        refuse(column, first_row)
    encoded = lists.tokens.dictionary_encode()
    indices = encoded.indices.to_numpy(zero_copy_only=False)
    try:
        words = encoded.dictionary.to_pylist()
    except UnicodeDecodeError:
        refuse(column, first_row)
    try:
        work = predictor.start_flat(words, indices, lists.lengths, scores=scores)
    except (UnknownWordError, UnknownCharacterError) as e:
        for row, reason in bad_rows(column, predictor).items():
            raise type(e)(f"row {first_row + row}: {reason}") from e
        raise
    return ListsWork(work, lists.lengths, lists.nulls, pa.array(predictor.metadata.tags, pa.string()))


class ListsWork:
    """A column that is being tagged, or will be when its result is asked for."""

    def __init__(self, work: Work[FlatTags], lengths: NDArray[np.int64], nulls: Any, names: Any) -> None:
        self._work = work
        self._lengths = lengths
        self._nulls = nulls
        self._names = names

    def result(self) -> TaggedLists:
        """The tags, as Arrays, once all are found; to be called once.

        Raises:
            OutOfMemoryError: one row alone does not fit into memory.
        """
        found = self._work.result()
        tags = self._lists(self._names.take(pa.array(found.tag_ids)))
        return TaggedLists(tags, None if found.scores is None else self._lists(pa.array(found.scores)))

    def cancel(self) -> None:
        """What has not begun does not begin."""
        self._work.cancel()

    def _lists(self, values: Any) -> Any:
        offsets = np.zeros(len(self._lengths) + 1, np.int64)
        np.cumsum(self._lengths, out=offsets[1:])
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, mask=self._nulls)


def bad_rows(column: Any, predictor: Predictor | None = None) -> dict[int, str]:
    """Row -> why it cannot be tagged, in order; of a column of token lists, or of one of strings.

    Of lists: a null token, one that is not valid UTF-8, and with ``predictor`` one that its model has no id for. Of
    strings: a null, and text that is not valid UTF-8. A null list is no bad row: it has null for its tags.

    Raises:
        TypeError: ``column`` is neither.
    """
    arrays = _plain_chunks(column)
    if all(is_text(array.type) or pa.types.is_null(array.type) for array in arrays):
        strings = [array.cast(pa.string()) if pa.types.is_null(array.type) else array for array in arrays]
        tokens = pa.chunked_array(strings, strings[0].type if strings else pa.string())
        return _reasons(tokens, np.arange(len(tokens)), "null text", "text that is not valid UTF-8", None)
    lists = _Lists.of(column)
    rows = np.repeat(np.arange(len(lists.lengths)), lists.lengths)
    check = _unknown(predictor) if predictor else None
    return _reasons(lists.tokens, rows, "a null token", "a token that is not valid UTF-8", check)


def is_clean(column: Any) -> bool:
    """Whether `bad_rows` would find none without a predictor, and no row is null: in Arrow, without a Python object."""
    array = _decoded(column)
    if array.null_count:
        return False
    array.validate()
    values = _decoded(array.flatten()) if is_list(array.type) else array  # of a slice its own, not what it is cut from
    try:
        values.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return not values.null_count


@dataclass(frozen=True)
class _Lists:
    """A column of lists taken apart.

    Attributes:
        tokens: (tokens,) strings of all rows that are not null, one after another.
        lengths: (rows,) tokens of each, 0 where null.
        nulls: (rows,) pyarrow booleans, or None where no row is null.
    """

    tokens: Any
    lengths: NDArray[np.int64]
    nulls: Any

    @classmethod
    def of(cls, column: Any) -> "_Lists":
        lengths, nulls, tokens = [], [], []
        for chunk in _plain_chunks(check_lists(column)):
            chunk.validate()
            lengths.append(_lengths(chunk))
            nulls.append(chunk.is_null())
            if pa.types.is_null(chunk.type):
                continue
            values = _decoded(chunk.flatten())  # leaves out what stands under null rows
            tokens.append(values.cast(pa.string()) if pa.types.is_null(values.type) else values)
        total = pa.concat_arrays(nulls) if nulls else pa.array([], pa.bool_())
        return cls(
            pa.concat_arrays(tokens) if tokens else pa.array([], pa.string()),
            np.concatenate(lengths) if lengths else np.zeros(0, np.int64),
            total if total.true_count else None,
        )


def _pieces(chunked: Any, size: int) -> Iterator[tuple[int, int]]:
    """First and last + 1 of runs of rows of about ``size`` tokens, an empty row counting as one."""
    if not len(chunked):
        return
    lengths = np.concatenate([_lengths(chunk) for chunk in _plain_chunks(chunked)])
    ends = np.cumsum(np.maximum(lengths, 1))
    start = 0
    while start < len(ends):
        before = int(ends[start - 1]) if start else 0
        stop = min(int(np.searchsorted(ends, before + size)) + 1, len(ends))
        yield start, stop
        start = stop


def _lengths(chunk: Any) -> NDArray[np.int64]:
    if pa.types.is_null(chunk.type):
        return np.zeros(len(chunk), np.int64)
    return pc.list_value_length(chunk).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)


def _plain_chunks(column: Any) -> list[Any]:
    return [_decoded(chunk) for chunk in (column.chunks if isinstance(column, pa.ChunkedArray) else [column])]


def _decoded(array: Any) -> Any:
    """Without a dictionary, run ends or an extension's name around it."""
    if isinstance(array, pa.ExtensionArray):
        return _decoded(array.storage)
    if isinstance(array, pa.DictionaryArray):
        return _decoded(array.dictionary_decode())
    if isinstance(array, pa.RunEndEncodedArray):
        return _decoded(pc.run_end_decode(array))
    return array


def value_type(kind: Any) -> Any:
    """The type of what stands in a column, without what `_decoded` takes off."""
    if isinstance(kind, pa.BaseExtensionType):
        return value_type(kind.storage_type)
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return value_type(kind.value_type)
    return kind


def is_text(kind: Any) -> bool:
    """Whether a type is one of strings."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def is_list(kind: Any) -> bool:
    """Whether a type is one of lists."""
    tests = ("is_list", "is_large_list", "is_fixed_size_list", "is_list_view", "is_large_list_view")
    return any(getattr(pa.types, test)(kind) for test in tests)


def check_lists(column: Any, cure: str = "the model's own tokenizer") -> Any:
    """``column``, if it is one of token lists; ``cure`` cuts text into them.

    Raises:
        TypeError: it is not.
    """
    if not isinstance(column, pa.Array | pa.ChunkedArray):
        raise TypeError(f"expected a pyarrow Array or ChunkedArray of token lists, got {type(column).__name__}")
    kind = value_type(column.type)
    if is_text(kind):
        raise TypeError(
            f"expected a column of token lists, got one of text ({column.type}); cut it into tokens first, with {cure}"
        )
    values = value_type(kind.value_type) if is_list(kind) else kind
    if not (pa.types.is_null(values) or (is_list(kind) and is_text(values))):
        raise TypeError(f"expected a column of token lists (list<string>), got {column.type}")
    return column


def _reasons(
    tokens: Any, rows: NDArray[np.int64], null: str, malformed: str, check: Callable[[str], str] | None
) -> dict[int, str]:
    """The first reason against each row; ``rows`` says of each token whose it is."""
    encoded = tokens.dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = _one(encoded)
    indices = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    against: dict[int, str] = {-1: null}
    for i, word in enumerate(encoded.dictionary):
        try:
            reason = check(word.as_py()) if check else (word.as_py() and "")
        except UnicodeDecodeError:
            reason = malformed
        if reason:
            against[i] = reason
    found: dict[int, str] = {}
    for place in np.flatnonzero(np.isin(indices, list(against))).tolist():
        found.setdefault(int(rows[place]), against[int(indices[place])])
    return found


def _unknown(predictor: Predictor) -> Callable[[str], str]:
    def reason(word: str) -> str:
        try:
            predictor.encoder.types([word])
        except (UnknownWordError, UnknownCharacterError) as e:
            return str(e)
        return ""

    return reason


def check_text(column: Any) -> Any:
    """``column``, if it is one of text.

    Raises:
        TypeError: it is not.
    """
    kind = value_type(column.type)
    if not (is_text(kind) or pa.types.is_null(kind)):
        raise TypeError(f"expected a column of text, got {column.type}; a column of token lists is tagged as it is")
    return column


def refuse(column: Any, first_row: int) -> NoReturn:
    """Raises what names the bad rows of ``column``, of which there are some.

    Raises:
        InputError: always.
    """
    found = bad_rows(column)
    shown = "; ".join(f"row {first_row + row}: {reason}" for row, reason in list(found.items())[:_SHOWN])
    raise InputError(
        f"{len(found):,} rows cannot be tagged ({shown}); expected valid strings: leave out bad_rows(column)"
    )


def _one(chunked: Any) -> Any:
    """The chunks as one array."""
    whole = chunked.combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole
