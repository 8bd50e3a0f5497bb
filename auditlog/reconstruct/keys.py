"""Owns sameness: when two texts, two values or two argument sets are the same thing said twice."""

from __future__ import annotations

from typing import Any

import msgspec

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
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, dict) and depth < 64:
        return {str(k): _settled(v, depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple) and depth < 64:
        return [_settled(v, depth + 1) for v in value]
    if isinstance(value, str | int | float | bool | bytes) or value is None:
        return value if not (isinstance(value, int) and not -(2**63) <= value < 2**64) else str(value)
    return str(value)


def arguments_key(arguments: Any, raw: str | None) -> bytes | None:
    """What a call's arguments are compared by; None where nobody recorded them."""
    if arguments is not None:
        return canonical(arguments)
    return None if raw is None else flat(raw).encode("utf-8", "backslashreplace")
