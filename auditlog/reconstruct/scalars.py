"""Owns the scalar values inside a JSON value, each with its JSON pointer, within bounds that no input can exceed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

MOST = 2_000  # scalars of one value
DEEPEST = 32
LONGEST = 4_096  # characters of a string that is compared or indexed as a value


def decoded(value: Any) -> Any:
    """A text that is the JSON text of an object, an array or such a text again, as that value; anything else as it is."""
    for _ in range(3):
        if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "[", '"') or len(value) < 2:
            return value
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
            return value
    return value


def scalars(value: Any) -> Iterator[tuple[str, Any]]:
    """(pointer, scalar) in document order; a text inside that is itself JSON is looked into."""
    left = [MOST]
    yield from _walk(decoded(value), "", 0, left)


def _walk(value: Any, pointer: str, depth: int, left: list[int]) -> Iterator[tuple[str, Any]]:
    if left[0] <= 0 or depth > DEEPEST:
        return
    if isinstance(value, dict | list | tuple):
        named = value.items() if isinstance(value, dict) else enumerate(value)
        for name, inner in named:
            place, found = f"{pointer}/{_escaped(str(name))}", decoded(inner)
            if isinstance(found, dict | list | tuple):
                yield from _walk(found, place, depth + 1, left)
            elif found is not None and left[0] > 0 and depth < DEEPEST:  # without a generator of its own: most are scalars
                left[0] -= 1
                yield place, found
    elif value is not None:
        left[0] -= 1
        yield pointer, value


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
