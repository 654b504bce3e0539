"""Bytes in and out: numbered lines from plain or compressed files, and files that appear whole or not at all."""

import bz2
import contextlib
import errno
import gzip
import io
import lzma
import os
import sys
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

from ..errors import InputError, MissingDependencyError, OutputError

STDIN = "-"


def _gzip(raw: IO[bytes], mode: str = "rb") -> Any:
    return gzip.GzipFile("", mode, fileobj=raw, mtime=0)  # no name and no time: the same bytes whenever it is written


def _zstd(raw: IO[bytes], mode: str = "rb") -> Any:
    try:
        import pyarrow as pa
    except ImportError as e:
        raise MissingDependencyError("zstd needs pyarrow; pip install 'lstm-deploy[data]'") from e
    if mode == "wb":
        own = os.fdopen(os.dup(raw.fileno()), "wb")  # which it closes
        return pa.CompressedOutputStream(pa.PythonFile(own, "w"), "zstd")
    return io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(raw, "r"), "zstd"), 1 << 16)


_OPENERS: dict[str, Callable[..., Any]] = {".gz": _gzip, ".xz": lzma.open, ".bz2": bz2.open, ".zst": _zstd}
COMPRESSIONS = tuple(_OPENERS)
MOST_LINE = 2**27
"""Bytes of a line: more is no text, or compressed so that a small file would fill all memory."""
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
"""Byte-order marks that are not UTF-8."""
PARTIAL = (".lstm-deploy-", ".partial")
"""How names begin and end of files that are not yet whole."""
_QUIET = 3600.0
"""Seconds without a write after which a half file beside others' files is a left-over. Its lock alone does not say so:
some network file systems show it to its own machine only."""


class LineReader:
    """Numbered lines of a UTF-8 file (``.gz``, ``.xz``, ``.bz2``, ``.zst`` too) or of standard input, ``-``.

    Attributes:
        name: the file, for error messages.
        size: bytes on disk, 0 where that is not known.

    Raises (on use):
        InputError: the file cannot be opened, is cut off or damaged, or a line is not UTF-8, has a NUL (which text has
            not, and UTF-16 does) or is longer than `MOST_LINE`.
    """

    def __init__(self, path: str | Path) -> None:
        self.name = "standard input" if str(path) == STDIN else str(path)
        self._path = path
        self._raw: IO[bytes] | None = None
        self.size = 0
        if str(path) != STDIN:
            try:
                self._raw = Path(path).open("rb")  # noqa: SIM115 - closed when the lines end
                self.size = os.fstat(self._raw.fileno()).st_size
            except OSError as e:
                raise InputError(f"{path}: cannot read ({e.strerror}); pass an existing, readable file") from e

    def position(self) -> int:
        """Bytes of the file read so far (compressed ones where it is compressed)."""
        return self._raw.tell() if self._raw and not self._raw.closed else self.size

    def __iter__(self) -> Iterator[tuple[int, str]]:
        """(line number from 1, line with its line feed); only a line feed ends a line."""
        for number, line in self.bytes():
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError as e:
                raise self._not_utf8(number, line, e.start) from e
            if "\0" in text:
                raise InputError(
                    f"{self.name}:{number}: a NUL character at column {text.index(chr(0)) + 1}, as UTF-16 has; "
                    "expected text in UTF-8; convert the file (iconv -f UTF-16 -t UTF-8), or drop it (tr -d '\\0')"
                )
            yield number, text

    def _not_utf8(self, number: int, line: bytes, at: int) -> InputError:
        if number == 1 and line.startswith(_UTF16):
            return InputError(
                f"{self.name}:1: not UTF-8 but UTF-16, by its first two bytes; convert the file "
                "(iconv -f UTF-16 -t UTF-8)"
            )
        return InputError(
            f"{self.name}:{number}: not UTF-8 (byte {line[at]:#04x} at column {at + 1}); convert the file to UTF-8"
        )

    def bytes(self) -> Iterator[tuple[int, bytes]]:
        """The same, not decoded."""
        if self._raw is None and sys.stdin is None:
            raise InputError("standard input is closed; pass TEXT or --input FILE")
        raw = self._raw or sys.stdin.buffer
        number = 0
        try:
            opener = _OPENERS.get(Path(self._path).suffix.lower()) if self._raw else None
            stream = opener(raw) if opener else raw
            for number, line in enumerate(iter(partial(stream.readline, MOST_LINE + 1), b""), 1):
                if len(line) > MOST_LINE:
                    raise InputError(
                        f"{self.name}:{number}: a line of more than {MOST_LINE:,} bytes; expected text in lines: cut it"
                    )
                yield number, line
        except InputError:
            raise
        except (EOFError, lzma.LZMAError, zlib.error, OSError) as e:
            if isinstance(e, BrokenPipeError):
                raise
            raise InputError(f"{self.name}: damaged or cut off after line {number} ({e}); fetch the file again") from e
        finally:
            if self._raw:
                self._raw.close()


@contextlib.contextmanager
def atomic_output(path: str | Path) -> Iterator[BinaryIO]:
    """A stream whose bytes become ``path`` when the block ends without an error, and else leave no trace.

    Compressed where the name ends in ``.gz``, ``.xz``, ``.bz2`` or ``.zst``. A device or pipe is written directly. A
    half file that a process left in the same folder which was killed an hour ago or longer is removed.

    Raises:
        OutputError: the file cannot be written.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        direct = path.exists() and not path.is_file()
        if not direct:
            remove_left_overs(path.parent, _QUIET)
        whole, raw = (path, path.open("wb")) if direct else _begun(path.parent)
    except OSError as e:
        raise _unwritable(path, e) from e
    try:
        opener = _OPENERS.get(path.suffix.lower())
        with raw:
            with opener(raw, "wb") if opener else contextlib.nullcontext(raw) as stream:
                yield cast(BinaryIO, stream)
            if not direct:
                raw.flush()
                os.fsync(raw.fileno())  # a name must not outlive a power cut that its bytes do not
                if fcntl:
                    whole.replace(path)  # while it is locked
        if not direct and not fcntl:
            whole.replace(path)
    except BaseException as e:
        if not direct:
            whole.unlink(missing_ok=True)
        if isinstance(e, OSError) and not isinstance(e, OutputError | InputError):
            raise _unwritable(path, e) from e
        raise


def remove_left_overs(folder: Path, quiet: float = 0.0) -> None:
    """Removes half files whose writers are gone. Those of writers at work are locked, and stay.

    Args:
        quiet: seconds for which nothing may have been written to one that goes.
    """
    if fcntl is None:  # no telling whose writer is gone
        return
    for half in folder.glob(f"{PARTIAL[0]}*{PARTIAL[1]}"):
        with contextlib.suppress(OSError), half.open("rb") as stream:  # it may be gone, or somebody else's
            if time.time() - os.fstat(stream.fileno()).st_mtime >= quiet:
                fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
                half.unlink()


def _begun(folder: Path) -> tuple[Path, BinaryIO]:
    """A new half file, locked while it is open."""
    whole = folder / f"{PARTIAL[0]}{uuid.uuid4().hex}{PARTIAL[1]}"
    raw = whole.open("xb")
    if fcntl:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(raw.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not whole.exists():  # taken for a left-over before it was locked
            raw.close()
            return _begun(folder)
    return whole, raw


def text_lines(stream: BinaryIO) -> io.TextIOWrapper:
    """``stream`` as UTF-8 text with line feeds."""
    return io.TextIOWrapper(stream, "utf-8", newline="\n")


def _unwritable(path: Path, e: OSError) -> OutputError:
    full = e.errno in (errno.ENOSPC, errno.EDQUOT)
    cure = "make room, or pass a path on another disk" if full else "pass a path in an existing, writable folder"
    return OutputError(f"{path}: cannot write ({e.strerror or e}); {cure}")
