"""Owns how the values of a query string are read: each error names the parameter and what would be right, never guessing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final

from auditlog.errors import Problem

LIMIT: Final = 50
LIMIT_MAX: Final = 200
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_HEX: Final = re.compile(r"[0-9a-fA-F]{32}", re.ASCII)


def invalid(name: str, message: str) -> Problem:
    return Problem("parameter_invalid", f"The parameter `{name}` {message}", detail={"parameter": name})


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
        raise invalid(name, "is no time; write 2026-03-01 or 2026-03-01T10:00:00Z.") from None


def limit(text: str | None) -> int:
    if text is None:
        return LIMIT
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:6]) <= LIMIT_MAX:
        raise invalid("limit", f"is no number from 1 to {LIMIT_MAX}.")
    return int(text)


def trace_id(name: str, text: str) -> bytes:
    if not _HEX.fullmatch(text):
        raise invalid(name, "is no trace ID; write its 32 hexadecimal digits.")
    return bytes.fromhex(text)
