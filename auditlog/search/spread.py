"""Owns how the sessions that match lie in time: the bars above the ledger, of the newest ones where there are very many."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from django.db import connection
from django.db.models import Max, Min, QuerySet

MOST: Final = 10_000  # sessions looked at: a list of a million must not make its page wait
BARS: Final = 60
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_WIDTHS: Final = (
    1, 5, 15, _MINUTE, 5 * _MINUTE, 15 * _MINUTE, _HOUR, 3 * _HOUR, 6 * _HOUR, _DAY, 2 * _DAY, 7 * _DAY, 30 * _DAY, 91 * _DAY, 365 * _DAY,
)  # fmt: skip


class Bar(NamedTuple):
    """Sessions that began from `start` until before `end`."""

    start: datetime
    end: datetime
    sessions: int


class Spread(NamedTuple):
    bars: list[Bar]  # empty ones between others included
    cut: bool  # only the newest MOST were looked at


def spread(matching: QuerySet[Any]) -> Spread:
    """At most BARS bars over all of the time in which something matches; none where one bar would hold everything."""
    newest = matching.order_by("-sort_at", "-key").values("sort_at")[:MOST]
    ends = newest.aggregate(first=Min("sort_at"), last=Max("sort_at"))
    if ends["first"] is None:
        return Spread([], False)
    first, last = ends["first"].timestamp(), ends["last"].timestamp()
    width = next((width for width in _WIDTHS if last // width - first // width < BARS), _WIDTHS[-1])
    query, values = newest.query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT floor(extract(epoch FROM sort_at) / %s)::bigint, count(*) FROM ({query}) t GROUP BY 1", [width, *values])
        counted: dict[int, int] = dict(cursor.fetchall())
    places = range(min(counted), max(counted) + 1)
    if len(places) < 2 or len(places) > 2 * BARS:
        return Spread([], False)
    return Spread([Bar(_at(n * width), _at((n + 1) * width), counted.get(n, 0)) for n in places], sum(counted.values()) >= MOST)


def _at(seconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
