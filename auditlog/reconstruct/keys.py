"""Owns sameness: when two texts, two values or two argument sets are the same thing said twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")
ENCODER = msgspec.json.Encoder(order="sorted")


def flat(text: str) -> str:
    """A text without its white space: layers re-wrap and trim, but they do not reword."""
    return "".join(text.split())


def canonical(value: Any) -> bytes:
    """Equal for equal JSON values: 400 and 400.0 are one number, the order of members means nothing."""
    try:
        return ENCODER.encode(_settled(value))
    except (UnicodeEncodeError, RecursionError, msgspec.EncodeError):  # half a surrogate pair, or nested beyond reason
        return repr(value).encode("utf-8", "backslashreplace")


def _settled(value: Any, depth: int = 0) -> Any:
    if isinstance(value, str):  # most of what there is
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, dict) and depth < 64:
        return {str(k): _settled(v, depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple) and depth < 64:
        return [_settled(v, depth + 1) for v in value]
    if isinstance(value, int | float | bool | bytes) or value is None:
        return value if not (isinstance(value, int) and not -(2**63) <= value < 2**64) else str(value)
    return str(value)


def arguments_key(arguments: Any, raw: str | None) -> bytes | None:
    """What a call's arguments are compared by; None where nobody recorded them."""
    if arguments is not None:
        return canonical(arguments)
    return None if raw is None else flat(raw).encode("utf-8", "backslashreplace")


class ByIdentity(Generic[T]):
    """What a function makes of an object, remembered for the latest few small ones: an agent offers the same schemas in every session.

    They are held, so that an ID stays its own. `size`: characters or bytes of what was made; a large one is made each time.
    """

    MOST = 512
    LARGEST = 16 * 1024

    def __init__(self, make: Callable[[Any], T], size: Callable[[T], int]) -> None:
        self._make, self._size = make, size
        self._known: dict[int, tuple[Any, T]] = {}

    def __call__(self, thing: Any) -> T:
        known = self._known.get(id(thing))
        if known is not None:
            return known[1]
        made = self._make(thing)
        if isinstance(thing, dict) and self._size(made) <= self.LARGEST:
            if len(self._known) >= self.MOST:
                self._known.clear()
            self._known[id(thing)] = thing, made
        return made


of_schema = ByIdentity(canonical, len)
"""`canonical` of a tool's schema."""
