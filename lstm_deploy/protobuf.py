"""Takes a protocol-buffer message apart, field by field, and nothing else is accepted than what was announced.

A message is described by its fields; one that is not described, a single one that stands twice and an encoding that
does not fit are told apart from plain damage, so that a reader can say which it is. Wire format:
https://protobuf.dev/programming-guides/encoding/. Nothing is copied: values are views of the bytes given.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
Kind = Literal["int", "float", "bytes"]
Value = int | float | memoryview
_WIRE: Mapping[Kind, int] = {"int": _VARINT, "float": _FIXED32, "bytes": _BYTES}


class ForbiddenField(ValueError):
    """Well-formed, but of no use to the format that is read."""


@dataclass(frozen=True)
class Field:
    """One field of a message.

    Attributes:
        kind: ``int`` (a varint), ``float`` (32 bits) or ``bytes`` (a string, bytes or a message).
        many: whether it may stand any number of times; numbers then also packed into bytes.
    """

    name: str
    kind: Kind
    many: bool = False


Message = Mapping[int, Field]
"""Field number -> field."""


def fields(view: memoryview, message: Message, what: str) -> Iterator[tuple[str, Value]]:
    """(name, value) of each field, packed numbers one by one.

    Args:
        what: name of the message in errors.

    Raises:
        ForbiddenField: a field that ``message`` has not, or a single one twice.
        ValueError: the bytes are no message.
    """
    seen: set[int] = set()
    for number, wire, value in _raw(view):
        field = message.get(number)
        if field is None:
            raise ForbiddenField(f"{what} has field {number}, which no tagger needs")
        if number in seen and not field.many:
            raise ForbiddenField(f"{what} has {field.name} twice")
        seen.add(number)
        if wire == _WIRE[field.kind]:
            yield field.name, value
        elif field.many and wire == _BYTES and isinstance(value, memoryview):
            yield from ((field.name, each) for each in _packed(value, field.kind))
        else:
            raise ValueError(f"{field.name} of {what} is encoded as wire type {wire}")


def _raw(view: memoryview) -> Iterator[tuple[int, int, Value]]:
    """(field number, wire type, value) of each field."""
    at, end = 0, len(view)
    while at < end:
        key, at = _varint(view, at)
        wire, size = key & 7, 0
        if wire == _VARINT:
            value, at = _varint(view, at)
            yield key >> 3, wire, value
            continue
        if wire == _BYTES:
            size, at = _varint(view, at)
        elif wire in (_FIXED32, _FIXED64):
            size = 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {wire} at byte {at}")
        if size > end - at:
            raise ValueError(f"a field ends {at + size - end} bytes past its message")
        held = view[at : at + size]
        at += size
        yield key >> 3, wire, struct.unpack("<f", held)[0] if wire == _FIXED32 else held


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    """The number from byte ``at`` on, 64 bits at most, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(view):
            raise ValueError("a number is cut off")
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >= 1 << 64:
                break
            return value, at
    raise ValueError(f"a number of more than 64 bits at byte {at}")


def _packed(view: memoryview, kind: Kind) -> Iterator[Value]:
    if kind == "float":
        if len(view) % 4:
            raise ValueError(f"{len(view)} bytes of packed floats")
        yield from (each for (each,) in struct.iter_unpack("<f", view))
        return
    at = 0
    while at < len(view):
        value, at = _varint(view, at)
        yield value


def signed(value: int) -> int:
    """A varint as the signed 64-bit number that it stands for."""
    return value - (1 << 64) if value >= 1 << 63 else value
