"""Model files taken apart into their messages, changed, and put together again. Needs nothing but bytes."""

from typing import Any

MESSAGES = {  # message -> field -> the message in it; all others are numbers or bytes
    "model": {7: "graph", 8: "opset", 14: "property"},
    "graph": {1: "node", 5: "tensor", 11: "value", 12: "value", 13: "value"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph"},
    "value": {2: "type"},
    "type": {1: "tensor type"},
    "tensor type": {2: "shape"},
    "shape": {1: "axis"},
}


class Message:
    """A message taken apart: a list of [field number, wire type, value], values being numbers, bytes or messages."""

    def __init__(self, kind: str, fields: list[list[Any]]) -> None:
        self.kind, self.fields = kind, fields

    @classmethod
    def parse(cls, data: bytes, kind: str = "model") -> "Message":
        """That of ``data``, a seed's."""
        at, found = 0, []
        inner = MESSAGES.get(kind, {})
        while at < len(data):
            key, at = _varint(data, at)
            number, wire = key >> 3, key & 7
            if wire == 0:
                value, at = _varint(data, at)
            else:
                size, at = _varint(data, at) if wire == 2 else ({1: 8, 5: 4}[wire], at)
                value, at = data[at : at + size], at + size
            found.append([number, wire, cls.parse(value, inner[number]) if number in inner and wire == 2 else value])
        return cls(kind, found)

    def copy(self) -> "Message":
        """One that can be changed."""
        return Message(self.kind, [[n, w, v.copy() if isinstance(v, Message) else v] for n, w, v in self.fields])

    def data(self) -> bytes:
        """Its bytes."""
        parts = []
        for number, wire, value in self.fields:
            body = value.data() if isinstance(value, Message) else value
            parts.append(_written(number << 3 | wire))
            if wire == 0:
                parts.append(_written(body if isinstance(body, int) else 0))
            else:
                body = _written(body) if isinstance(body, int) else body
                parts += [_written(len(body)), body] if wire == 2 else [body]
        return b"".join(parts)

    def all(self, kind: str) -> "list[Message]":
        """Those of a kind in it, at any depth, itself too."""
        found = [self] if self.kind == kind else []
        for _, _, value in self.fields:
            if isinstance(value, Message):
                found += value.all(kind)
        return found

    def of(self, number: int) -> list[list[Any]]:
        """Its fields of a number."""
        return [field for field in self.fields if field[0] == number]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def _written(value: int) -> bytes:
    out = bytearray()
    value %= 1 << 64
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
