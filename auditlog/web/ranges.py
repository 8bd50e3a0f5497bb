"""Owns ranges of time as people say them: the presets of a search, resolved in the reader's zone, and the words for a range."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final, NamedTuple

from auditlog.errors import Problem
from auditlog.search import parameters

PRESETS: Final = {  # parameter `when`, and its words
    "today": "today",
    "yesterday": "yesterday",
    "7d": "last 7 days",
    "30d": "last 30 days",
    "month": "this month",
    "last-month": "last month",
}
_TICK: Final = timedelta(microseconds=1)


class Days(NamedTuple):
    """From the beginning of one day to the end of another."""

    first: date
    last: date


def days(when: str, now: datetime, zone: tzinfo) -> Days:
    """What a preset means to this reader at this moment. Raises Problem("parameter_invalid")."""
    parameters.one_of("when", when, tuple(PRESETS))
    today = now.astimezone(zone).date()
    month = today.replace(day=1)
    match when:
        case "today":
            return Days(today, today)
        case "yesterday":
            return Days(today - timedelta(days=1), today - timedelta(days=1))
        case "month":
            return Days(month, today)
        case "last-month":
            return Days((month - timedelta(days=1)).replace(day=1), month - timedelta(days=1))
    return Days(today - timedelta(days=int(when.removesuffix("d")) - 1), today)


def applied(given: dict[str, str], now: datetime, zone: tzinfo) -> dict[str, str]:
    """The filters with `when` as the two dates that it means. Dates that are given themselves win over it."""
    found = dict(given)
    when = found.pop("when", "")
    if when and not found.get("from") and not found.get("to"):
        first, last = days(when, now, zone)
        found |= {"from": first.isoformat(), "to": last.isoformat()}
    return found


def words(start: str | None, end: str | None, zone: tzinfo) -> str:
    """A range as one reads it: 1–31 Mar 2026. What cannot be read stays as it was written."""
    try:
        first = parameters.moment("from", start, zone).astimezone(zone) if start else None
        last = _after(parameters.moment("to", end, zone, end=True), zone) if end else None
    except (Problem, OverflowError):
        return " to ".join(part for part in (start, end) if part)
    if first is None:
        return "any time" if last is None else f"until {_end(last)}"
    if last is None:
        return f"since {_day(first)}" if _midnight(first) else f"since {_day(first)} {_clock(first)}"
    if last <= first:
        return f"{_day(first)} {_clock(first)}, for no time" if last == first else f"from {_start(first)} until {_end(last)}"
    if _midnight(first) and _midnight(last):
        return _days(first.date(), (last - _TICK).date())
    if first.date() == last.date():
        return f"{_day(first)} {_clock(first)}–{_clock(last)}"
    return f"{_start(first)} – {_end(last)}"


def _after(last: datetime, zone: tzinfo) -> datetime:
    """The first moment that is not in the range any more, where its last one is the last microsecond of a second."""
    return (last + _TICK if last.microsecond == 999_999 else last).astimezone(UTC).astimezone(zone)


def _midnight(at: datetime) -> bool:
    return at.timetz().replace(tzinfo=None) == time()


def _day(at: date) -> str:
    return f"{at.day} {at:%b} {at.year}"


def _clock(at: datetime) -> str:
    if at.microsecond:
        return f"{at:%H:%M:%S.%f}"
    return f"{at:%H:%M:%S}" if at.second else f"{at:%H:%M}"


def _start(at: datetime) -> str:
    return f"{_day(at)} {_clock(at)}"


def _end(at: datetime) -> str:
    """A range up to midnight ends with the day before it."""
    return _day((at - _TICK).date()) if _midnight(at) else f"{_day(at)} {_clock(at)}"


def _days(first: date, last: date) -> str:
    if first == last:
        return _day(first)
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day}–{_day(last)}"
    if first.year == last.year:
        return f"{first.day} {first:%b} – {_day(last)}"
    return f"{_day(first)} – {_day(last)}"
