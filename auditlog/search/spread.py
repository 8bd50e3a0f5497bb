"""Owns how the sessions that match lie in time: the bars above the ledger, of the newest ones where there are very many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

# Sessions looked at. The planner reads so few from the newest end; for ten thousand it read every amount that there is, in seconds.
MOST: Final = 1_000
MOST_ASKED: Final = 100  # likewise where each has to be looked into: whether words stand in a text costs 60 µs a session, a call up to 90
# Filters that the session's row answers.
_OF_THE_ROW: Final = frozenset(("from", "to", "verdict", "min_cost", "max_cost", "min_tool_calls"))
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
    cut: int  # how many these are, the newest; 0: all that match


def looked_at(given: Mapping[str, str]) -> int:
    """Of how many matches of a search the times are looked at."""
    return MOST if all(name in _OF_THE_ROW or not value for name, value in given.items()) else MOST_ASKED


def spread(times: Sequence[float], most: int = MOST) -> Spread:
    """At most BARS bars over the times of what matches, in seconds, newest first; none where one bar would hold everything."""
    if not times:
        return Spread([], 0)
    width = next((width for width in _WIDTHS if times[0] // width - times[-1] // width < BARS), _WIDTHS[-1])
    counted = Counter(int(time // width) for time in times)
    places = range(min(counted), max(counted) + 1)
    if len(places) < 2 or len(places) > 2 * BARS:
        return Spread([], 0)
    return Spread([Bar(_at(n * width), _at((n + 1) * width), counted[n]) for n in places], most if len(times) >= most else 0)


def _at(seconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
