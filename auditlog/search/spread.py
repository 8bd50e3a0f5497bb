"""Owns how the sessions that match lie in time: the bars above the ledger, of the newest ones where there are very many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

# Sessions looked at. The planner reads so few from the newest end; for ten thousand it read every amount that there is, in seconds.
MOST: Final = 1_000
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


def spread(newest: Sequence[datetime]) -> Spread:
    """At most BARS bars over the times of what matches, newest first; none where one bar would hold everything."""
    times = [at.timestamp() for at in newest]
    if not times:
        return Spread([], False)
    width = next((width for width in _WIDTHS if times[0] // width - times[-1] // width < BARS), _WIDTHS[-1])
    counted = Counter(int(time // width) for time in times)
    places = range(min(counted), max(counted) + 1)
    if len(places) < 2 or len(places) > 2 * BARS:
        return Spread([], False)
    return Spread([Bar(_at(n * width), _at((n + 1) * width), counted[n]) for n in places], len(times) >= MOST)


def _at(seconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
