"""What readers of all kinds of files give and writers take: rows with tokens, a chunk at a time."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from ..errors import InputError
from ..tokenizer import Tokenizer

if TYPE_CHECKING:
    import pyarrow as pa

OnError = Literal["fail", "skip", "null"]
ON_ERROR: tuple[OnError, ...] = get_args(OnError)
"""What becomes of a row that cannot be tagged."""
CHUNK_TOKENS = 1 << 15
"""Tokens of a chunk, about; a longer row is a chunk."""
_PREVIEW = 1000
TOKENS, TEXT = "tokens", "text"
"""Columns that are tagged where none is named, the first there is."""
SCORES, LENGTHS = "scores", "sentence_lengths"
"""Columns that are new, beside the tags and the tokens of a text."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of columns.

    Attributes:
        source: what to tag, tokens or text; None: ``tokens``, else ``text``.
        tags: the new one.
    """

    source: str | None = None
    tags: str = "tags"

    def __post_init__(self) -> None:
        if self.tags in (TOKENS, SCORES, LENGTHS):
            raise InputError(f"the tags' column cannot be named {self.tags}, as another new one is; pass another name")

    @property
    def sources(self) -> tuple[str, ...]:
        """Names that the column to tag may have."""
        return (self.source,) if self.source else (TOKENS, TEXT)


@dataclass(slots=True)
class Bad:
    """A row that cannot be tagged.

    Attributes:
        row: its index in the chunk.
        place: where it stands in the file: line or row, from 1.
        reason: why, and what was expected.
        value: how it begins.
    """

    row: int
    place: int
    reason: str
    value: str = ""


@dataclass(slots=True)
class Chunk:
    """Some rows of a part, in its order.

    Attributes:
        rows: what the writer needs of them.
        places: where each row stands in the file, from 1.
        tokens: a list of them, or list<string> of Arrow, a row each; null where the row is bad or has text.
        texts: what each row says, where its tokens are to be found in it; None: all give tokens.
        bad: those that cannot be tagged.
    """

    rows: Any
    places: Sequence[int]
    tokens: "pa.Array | list[list[str] | None] | None" = None
    texts: "list[str | None] | None" = None
    bad: list[Bad] = field(default_factory=list)


@dataclass(slots=True)
class Tagged:
    """What a chunk's rows got; null where a row is bad.

    Attributes:
        tags: list<string>, one a row.
        scores: list<float>, where they were asked for.
        tokens: list<string>, where the tokens were found in text.
        sentences: list<int32>, tokens of each sentence found in the row, where sentences were looked for.
    """

    tags: "pa.Array"
    scores: "pa.Array | None" = None
    tokens: "pa.Array | None" = None
    sentences: "pa.Array | None" = None


class Source(Protocol):
    """A part that is read."""

    unit: str
    """What places count: ``line`` or ``row``."""

    def chunks(self) -> Iterator[Chunk]:
        """All rows, lazily."""

    def position(self) -> int:
        """Bytes of the file that have been read, about."""


class Sink(Protocol):
    """An output part that is written, of the kind of its source."""

    def write(self, chunk: Chunk, tagged: Tagged, kept: "list[int] | None") -> None:
        """Adds rows.

        Args:
            kept: indices of those to write; None: all, bad ones without tags.
        """

    def close(self) -> None:
        """Writes what is held back."""


def preview(value: object) -> str:
    """How a row begins, for the file of rejects."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    text = value if isinstance(value, str) else repr(value)
    return text[:_PREVIEW].encode("utf-8", "backslashreplace").decode()


@dataclass(frozen=True, slots=True)
class Reading:
    """How parts are read.

    Attributes:
        columns: names of columns.
        tokenizer: the model's.
        scores: probabilities of the tags are wanted, too.
        raw: text holds sentences across lines.
    """

    columns: Columns
    tokenizer: Tokenizer
    scores: bool = False
    raw: bool = False

    def new_columns(self, text: bool) -> list[str]:
        """Names of the columns that are added to a table; ``text``: its tokens are found in text."""
        found = {TOKENS: text, SCORES: self.scores, LENGTHS: text and self.raw}
        return [self.columns.tags, *(name for name, wanted in found.items() if wanted)]

    def refuse_taken(self, names: Iterable[str], text: bool, where: str) -> None:
        """Raises where a new column would have a name that is there already.

        Raises:
            InputError: so it is; ``where`` is the file, or the line in it.
        """
        there = set(names)
        if text and TOKENS in there:
            raise InputError(
                f"{where}: a column {TOKENS} beside the text, whose tokens go into a new column of that name; pass "
                f"--text-column {TOKENS} to tag those, or rename it"
            )
        if taken := next((name for name in self.new_columns(text) if name in there), None):
            cure = "pass --tags-column NAME for the new one" if taken == self.columns.tags else "rename it"
            raise InputError(f"{where}: there is a column {taken} already; {cure}")
