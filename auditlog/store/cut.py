"""Owns how a JSON array is cut at its top-level elements and put together again, byte for byte (docs/adr/002)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

# Codes of `names` in a skeleton, beyond the types of item.py: how a cut value is put together again.
CUT: Final = 16  # "[" + ",".join + "]"
CUT_SPACED: Final = 17  # "[" + ", ".join + "]", what Python's json.dumps writes
CUT_OTHER: Final = 18  # [CUT_OTHER, open, separator, close]

SEPARATORS: Final = {CUT: b",", CUT_SPACED: b", "}

_raw_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


def split(data: bytes) -> tuple[Any, list[bytes]] | None:
    """(code, elements) of a JSON array that has any, or None where joining them would not give the same bytes."""
    if data[:1] != b"[":
        return None
    try:
        pieces = [bytes(raw) for raw in _raw_list(data)]
    except (msgspec.DecodeError, RecursionError):  # NaN, lone surrogates, nesting: not an error, the value stays whole
        return None
    if not pieces:
        return None
    if b"[" + b",".join(pieces) + b"]" == data:
        return CUT, pieces
    if b"[" + b", ".join(pieces) + b"]" == data:
        return CUT_SPACED, pieces
    code = _frame(data, pieces)
    return code and (code, pieces)


def _frame(data: bytes, pieces: Sequence[bytes]) -> Any:
    """[CUT_OTHER, open, separator, close] where one separator serves throughout (indented JSON), else None."""
    opening = data[: len(data) - len(data[1:].lstrip(b" \t\r\n"))]
    closing = data[len(data[:-1].rstrip(b" \t\r\n")) :]
    separator = b","
    if len(pieces) > 1:
        after = len(opening) + len(pieces[0])
        rest = data[after:]
        separator = rest[: len(rest) - len(rest.lstrip(b" \t\r\n,"))]
    return [CUT_OTHER, opening, separator, closing] if opening + separator.join(pieces) + closing == data else None


def beginning(data: bytes, code: int) -> bytes:
    """How an array begins that has the elements of this one and then more. code: CUT or CUT_SPACED, as `split` gave it."""
    return data[:-1] + SEPARATORS[code]


def added(data: bytes, begins: bytes, code: int) -> list[bytes] | None:
    """The elements that follow in an array after those of another, whose `beginning` and code are given; None where `split` of the
    whole must say. What was cut is not looked at again: after an element and a comma, a reader of JSON knows nothing of what was before."""
    if not data.startswith(begins):
        return None
    rest = split(b"[" + data[len(begins) :])
    return rest[1] if rest and (rest[0] == code or (len(rest[1]) == 1 and rest[0] == CUT)) else None
