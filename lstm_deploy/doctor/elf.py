"""What a shared library of Linux asks its loader for, read from the file: nothing is run, no tool has to be there."""

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

_HEADER = struct.Struct("<4sBB10xHHIQQQIHHH")  # magic, class, byte order ... segments at, ..., size of one, how many
_SEGMENT = struct.Struct("<IIQQQQQQ")  # type, flags, offset, address, ..., size in the file ...
_ENTRY = struct.Struct("<qQ")
_LOAD, _DYNAMIC = 1, 2
_NEEDED, _STRINGS, _RPATH, _RUNPATH = 1, 5, 15, 29


@dataclass(frozen=True)
class Dynamic:
    """Names of the libraries it needs, and the folders in which it says to look (``$ORIGIN`` is its own)."""

    needed: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()


def read_dynamic(path: Path) -> Dynamic:
    """Of the library at ``path``; nothing where it is no 64-bit little-endian ELF file."""
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _read(data)
    except (OSError, ValueError, struct.error):  # unreadable, empty, cut off
        return Dynamic()


def _read(data: mmap.mmap) -> Dynamic:
    magic, bits, order, *_, at, _, _, _, size, count = _HEADER.unpack_from(data)
    if (magic, bits, order) != (b"\x7fELF", 2, 1):
        return Dynamic()
    segments = [_SEGMENT.unpack_from(data, at + i * size) for i in range(count)]
    entries: list[tuple[int, int]] = []
    for kind, _, offset, _, _, length, *_ in segments:
        if kind == _DYNAMIC:
            entries += [_ENTRY.unpack_from(data, offset + i) for i in range(0, length - _ENTRY.size + 1, _ENTRY.size)]
    if 0 in (tags := [tag for tag, _ in entries]):
        entries = entries[: tags.index(0)]
    strings = next((value for tag, value in entries if tag == _STRINGS), 0)
    for kind, _, offset, address, _, length, *_ in segments:
        if kind == _LOAD and address <= strings < address + length:
            strings += offset - address
            break
    texts = [(tag, _text(data, strings + value)) for tag, value in entries if tag in (_NEEDED, _RPATH, _RUNPATH)]
    return Dynamic(
        tuple(text for tag, text in texts if tag == _NEEDED),
        tuple(folder for tag, text in texts if tag != _NEEDED for folder in text.split(":") if folder),
    )


def _text(data: mmap.mmap, at: int) -> str:
    return data[at : data.find(b"\0", at)].decode("utf-8", "replace")
