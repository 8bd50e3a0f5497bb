"""Owns how much one request may hold besides bytes: items, and values in them, counted before anything is made of them.

Two bytes of protobuf can be an attribute, a link or a span, which takes hundreds of bytes once it is decoded and packed: 64 MiB of them
would take gigabytes, and compressed they are a few KB. What a body cannot hold for its size is not looked for, so that an ordinary
request pays next to nothing: the larger items are walked first, until those that are left cannot hold too much any more.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import Any, Final

from auditlog.errors import Problem
from auditlog.item import SPAN

MOST_ITEMS: Final = 100_000  # spans, log records or events
MOST_VALUES: Final = 2_500_000  # protobuf: messages in items; JSON: commas and opening brackets outside of texts
MOST_WALKED: Final = 10_000_000  # bytes of tags, lengths and scalars of protobuf: they hold no memory, but up to 0.15 µs of Python each
_LEAST: Final = 2  # bytes of a message or value, with what introduces or separates it


class TooMany(Problem):
    """The whole request is refused; none of it may be salvaged."""


def items(count: int) -> None:
    """Raises TooMany where a request has more than MOST_ITEMS."""
    if count > MOST_ITEMS:
        raise TooMany("too_many_items", f"The request has more than {MOST_ITEMS} items; send smaller batches.")


def values(count: int) -> None:
    """Raises TooMany where a request has more than MOST_VALUES."""
    if count > MOST_VALUES:
        raise TooMany(
            "too_many_values",
            f"The request has more than {MOST_VALUES} values (attributes, elements, events, links); send smaller batches.",
        )


# --- protobuf: for each message, the tags of its fields that are messages again, or texts of which there may be many ------------

_Fields = dict[int, Any]
_TEXT: Final[_Fields] = {}
_ITEM: Final[_Fields] = {}
_PAIR: Final[_Fields] = {}
_ANY: Final[_Fields] = {0x2A: {0x0A: None}, 0x32: {0x0A: _PAIR}}  # array_value.values, kvlist_value.values
_ANY[0x2A][0x0A] = _ANY
_PAIR[0x12] = _ANY
_RESOURCE: Final[_Fields] = {0x0A: _PAIR, 0x1A: {0x1A: _TEXT, 0x22: _TEXT}}  # attributes, entity_refs with their keys
_REQUEST: Final[_Fields] = {0x0A: {0x0A: _RESOURCE, 0x12: {0x0A: {0x1A: _PAIR}, 0x12: _ITEM}}}
_SPAN: Final[_Fields] = {0x4A: _PAIR, 0x5A: {0x1A: _PAIR}, 0x6A: {0x22: _PAIR}, 0x7A: {}}  # attributes, events, links, status
_LOG: Final[_Fields] = {0x2A: _ANY, 0x32: _PAIR}  # body, attributes


class _Broken(Exception):
    """A message that the protobuf runtime will refuse."""


def protobuf(body: bytes, signal: int) -> None:
    """Raises TooMany. What is no protobuf passes: it is refused by who decodes it."""
    if len(body) <= _LEAST * MOST_ITEMS:
        return
    found: list[tuple[int, int]] = []  # size and place of each item
    walk = _Walk(body)
    count = walk.count(0, len(body), _REQUEST, MOST_VALUES, found)
    items(len(found))
    possible = sum(size for size, _ in found) // _LEAST
    if count + possible > MOST_VALUES:
        found.sort(reverse=True)
        for size, at in found:
            count += walk.count(at, at + size, _SPAN if signal == SPAN else _LOG, MOST_VALUES - count, [])
            possible -= size // _LEAST
            if count > MOST_VALUES or count + possible <= MOST_VALUES:
                break
    values(count)


class _Walk:
    """Over one body; what all its parts took together is bounded, too."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._left = MOST_WALKED

    def count(self, at: int, end: int, fields: _Fields, most: int, found: list[tuple[int, int]]) -> int:
        """How many messages there are in body[at:end], until they are more than `most`; items are noted in `found`, and not entered.

        Every field is gone to as the runtime does, in the same order; a message that is broken ends there, and its neighbours are walked,
        because they are decoded when the request is salvaged. Raises TooMany.
        """
        body, left, count = self._body, self._left, 0
        outer: list[tuple[int, _Fields]] = []
        while True:
            try:
                while at < end:
                    began = at
                    tag = body[at]
                    at += 1
                    if tag >= 0x80:
                        tag, at = _varint(body, at - 1)
                    wire = tag & 7
                    if wire == 2:
                        size = body[at]
                        at += 1
                        if size >= 0x80:
                            size, at = _varint(body, at - 1)
                        left -= at - began
                        inner = fields.get(tag)
                        if inner is None:
                            at += size
                        elif inner is _ITEM:
                            found.append((min(size, end - at), at))
                            at += size
                            if len(found) > MOST_ITEMS:
                                return count
                        else:
                            count += 1
                            if count > most:
                                return count
                            outer.append((end, fields))
                            end, fields = min(at + size, end), inner
                    elif wire == 0:
                        _, at = _varint(body, at)
                        left -= at - began
                    elif wire in _FIXED:
                        left -= at - began
                        at += _FIXED[wire]
                    else:
                        raise _Broken
                    if left < 0:
                        values(MOST_VALUES + 1)
            except (IndexError, _Broken):
                pass
            if not outer:
                self._left = left
                return count
            at = end
            end, fields = outer.pop()


# Bytes by wire type. 3 and 4 are brackets around fields, which are walked as if they were not there.
_FIXED: Final = {1: 8, 5: 4, 3: 0, 4: 0}


def _varint(body: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise _Broken


# --- JSON -----------------------------------------------------------------------------------------------------------------------

_STRUCTURE: Final = b",[{"
_REST: Final = bytes(set(range(256)) - set(_STRUCTURE))
# Everything up to the next comma or bracket outside of a text. A text ends at a line break at the latest, where the parser refuses it: in
# NDJSON one that is not closed must not hide the lines after it. The pattern matches wherever it is tried, or it would be tried again
# from each byte of the body.
_NEXT: Final = re.compile(rb'(?:"(?:[^"\\\n]++|\\[^\n])*+"?|[^",\[{]++)*+(?:[,\[{]|\Z)')


def json(body: bytes) -> None:
    """Raises TooMany. What is no JSON passes: it is refused by who decodes it."""
    if len(body) <= _LEAST * MOST_VALUES or len(body.translate(None, _REST)) <= MOST_VALUES:
        return
    values(sum(1 for _ in islice(_NEXT.finditer(body), MOST_VALUES + 2)) - 1)
