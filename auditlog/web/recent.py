"""Owns the range of time that the search page shows where its address names none: the last 30 days that have data, and it says so.

`default` is what a page asks, and `within` applies it; the API has no default. Whatever names somebody or something, or asks for words, is
looked for in all of the time: a hit outside of a range that nobody chose must never be hidden. Sessions of a clock that is ahead would
stand above all others for as long as it is: the range ends before them, and the page says that there are such, with the way to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final, NamedTuple

from auditlog.derive.models import Session
from auditlog.search import parameters
from auditlog.search.scope import Scope

DAYS: Final = 30
RANGE: Final = "range"  # the parameter of an address that has no default: range=all
ALL: Final = "all"
# Filters of what is rare: one of these asks for whatever there is of it.
IDENTIFYING: Final = frozenset(
    ("q", "session_id", "trace_id", "response_id", "customer_id", "user_id", "subject", "value", "system_prompt", "tool_schema")
)
_AHEAD: Final = timedelta(days=1)
_FIRST: Final = datetime(1, 3, 1, tzinfo=UTC)  # before it there are no thirty days


class Range(NamedTuple):
    """The days from `first` up to the one of the newest session that can have happened, in the reader's zone."""

    first: datetime
    newest: datetime
    ahead: bool  # whether sessions are dated later than that

    @property
    def filters(self) -> dict[str, str]:
        """What means this range; it has an end only where something lies behind it."""
        until = {"to": self.newest.date().isoformat()} if self.ahead else {}
        return {"from": self.first.date().isoformat(), **until}

    @property
    def after(self) -> str:
        """A value of the parameter `from` for what is dated later."""
        return (self.newest.date() + timedelta(days=1)).isoformat()

    @property
    def words(self) -> str:
        """As a page says it."""
        return f"{DAYS} days up to {self.newest.day} {self.newest:%b %Y}, the newest there is"


def default(scope: Scope, query: Mapping[str, str], zone: tzinfo = UTC) -> Range | None:
    """The range that this address means without naming one; None: all of the time, or what the address says."""
    if any(query.get(name) for name in ("from", "to", "when", RANGE)) or any(query.get(name) for name in IDENTIFYING):
        return None
    now = datetime.now(UTC)
    times = scope.of(Session).order_by("-sort_at", "-key").values_list("sort_at", flat=True)
    at = times.first()
    ahead = at is not None and at > now + _AHEAD
    if ahead:
        at = times.filter(sort_at__lte=now + _AHEAD).first()
    if at is None or at < _FIRST:
        return None
    newest = at.astimezone(zone)
    first = (newest - timedelta(days=DAYS - 1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return Range(first, newest, ahead)


def within(scope: Scope, given: Mapping[str, str], zone: tzinfo = UTC) -> tuple[dict[str, str], Range | None]:
    """The filters with the range that they mean without naming one, and that range: what a page shows and what its files hold.

    Raises Problem("parameter_invalid").
    """
    if given.get(RANGE):
        parameters.one_of(RANGE, given[RANGE], (ALL,))
    found = default(scope, given, zone)
    filters = {name: value for name, value in given.items() if name != RANGE}
    return (filters | found.filters if found else filters), found
