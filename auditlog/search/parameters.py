"""Owns how the values of a query string are read: each error names the parameter and what would be right, never guessing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from typing import Final, NamedTuple

from auditlog.errors import Problem

LIMIT: Final = 50
LIMIT_MAX: Final = 200
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_NUMBER: Final = re.compile(r"[+-]?\d{1,18}(\.\d{1,12})?", re.ASCII)
_COUNT: Final = re.compile(r"\d{1,9}", re.ASCII)
_HEX: Final = re.compile(r"[0-9a-fA-F]{32}", re.ASCII)


_SHOWN: Final = 64  # characters of a wrong value that an error repeats


class Parameter(NamedTuple):
    """One parameter of an address, as the reference, the schema and the check of what is given know it."""

    doc: str
    type: str = "string"
    values: tuple[str, ...] = ()


PAGED: Final = {
    "limit": Parameter(f"Rows of one page, 1 to {LIMIT_MAX}; {LIMIT} without it.", "integer"),
    "cursor": Parameter("Where the page before ended, as its `next` says it."),
}


def invalid(name: str, message: str, value: str | None = None) -> Problem:
    """The error that names the parameter, the value and what would be right."""
    if value is None:
        return Problem("parameter_invalid", f"The parameter `{name}` {message}", detail={"parameter": name})
    shown = value[:_SHOWN]
    dots = "…" if len(value) > _SHOWN else ""
    return Problem(
        "parameter_invalid", f"The parameter `{name}` is {shown!r}{dots}, which {message}", detail={"parameter": name, "value": shown}
    )


def once(name: str, values: Sequence[str]) -> str:
    """A parameter twice is an error: nobody could tell which of the two was applied."""
    if len(values) != 1:
        raise invalid(name[:_SHOWN], "is given twice; give it once.")
    return values[0]


def only(given: Mapping[str, object], known: Iterable[str]) -> None:
    """An unknown parameter is an error: leaving a filter out would answer more than was asked for."""
    allowed = sorted(known)
    for name in given:
        if name not in allowed:
            raise Problem(
                "parameter_invalid",
                f"There is no parameter {name[:64]!r} here; there are {', '.join(allowed)}.",
                detail={"parameter": name[:64]},
            )


def moment(name: str, text: str, zone: tzinfo = UTC, *, end: bool = False) -> datetime:
    """A time, or a whole day: as `end` a day means its last microsecond. Without an offset it is in `zone`."""
    try:
        if _DATE.fullmatch(text):
            day = datetime.combine(date.fromisoformat(text), time(), zone)
            return (day + timedelta(days=1) - timedelta(microseconds=1) if end else day).astimezone(UTC)
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo is not None else at.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise invalid(name, "is no time; write 2026-03-01 or 2026-03-01T10:00:00Z.", text) from None


def limit(text: str | None) -> int:
    if text is None:
        return LIMIT
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:6]) <= LIMIT_MAX:
        raise invalid("limit", f"is no number from 1 to {LIMIT_MAX}.", text)
    return int(text)


def trace_id(name: str, text: str) -> bytes:
    if not _HEX.fullmatch(text):
        raise invalid(name, "is no trace ID; write its 32 hexadecimal digits.", text)
    return bytes.fromhex(text)


def number(name: str, text: str) -> Decimal:
    """An exact number: digits, perhaps a sign and a point. NaN, infinities and powers are none."""
    if not _NUMBER.fullmatch(text):
        raise invalid(name, "is no number; write digits, with a point if need be: 400 or 399.99.", text)
    return Decimal(text)


def count(name: str, text: str) -> int:
    if not _COUNT.fullmatch(text):
        raise invalid(name, "is no whole number from 0 to 999999999.", text)
    return int(text)


def one_of(name: str, text: str, values: Sequence[str]) -> str:
    if text not in values:
        raise invalid(name, f"is none of {', '.join(values)}.", text)
    return text


def text(name: str, value: str) -> str:
    """A text that is compared with a text column, which can hold no NUL."""
    if "\0" in value:
        raise invalid(name, "contains a NUL, which no value of this kind can.", value)
    return value
