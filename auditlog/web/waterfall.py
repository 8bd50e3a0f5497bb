"""Owns the waterfall at the page's edge: what took how long, and what ran at once; it doubles as the map of the page's steps.

Time runs down, from 0 to HEIGHT. Where nothing happened it is shortened: a mark must be wide enough to be hit, whatever a night lasted.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

import msgspec

from auditlog.web.tags import parse

HEIGHT: Final = 1000.0
THINNEST: Final = 3.0
_EVEN: Final = 0.6  # share of the height that is given to the marks alike; the rest follows the clock
LANES: Final = 4  # tools that run at once, side by side; what is more shares the last one
_TICKS: Final = frozenset(("user_message", "error", "approval", "guardrail", "retrieval", "handoff", "feedback", "outcome"))


class Mark(msgspec.Struct):
    """One bar or tick. Model calls left, tools right of them, what happened at one moment across."""

    number: int  # the step to which it leads
    kind: str
    y: float
    height: float
    x: int
    width: int
    label: str


class _Clock:
    """From times to places: monotone, every two neighbours apart."""

    def __init__(self, moments: list[datetime]) -> None:
        self.times = sorted(set(moments))
        whole = (self.times[-1] - self.times[0]).total_seconds() or 1.0
        count = max(1, len(self.times) - 1)
        self.places = [0.0]
        for before, after in pairwise(self.times):
            share = _EVEN / count + (1 - _EVEN) * (after - before).total_seconds() / whole
            self.places.append(self.places[-1] + share * (HEIGHT - 2 * THINNEST))

    def __call__(self, moment: datetime) -> float:
        return self.places[bisect_right(self.times, moment) - 1]


def marks(page: dict[str, Any], speakers: dict[str, str]) -> list[Mark]:
    """The marks of one page of a timeline, from its top to its end; none where hardly anything happened."""
    first: dict[int, int] = {}
    for step in page["steps"]:
        if step.get("model_call") is not None:
            first.setdefault(step["model_call"], step["n"])
    bars: list[tuple[datetime, datetime, int, str, str]] = []
    for call in page["model_calls"]:
        start, end = parse(call.get("started_at")), parse(call.get("ended_at"))
        if start and call["n"] in first:
            bars.append((start, max(start, end or start), first[call["n"]], "model", f"model call {call['n'] + 1}"))
    for step in page["steps"]:
        tool = step["kind"] == "tool_call"
        start, end = parse(step.get("started_at") or step.get("at")), parse(step.get("ended_at"))
        if start and (tool or step["kind"] in _TICKS):
            said = step["tool"]["name"] if tool else speakers.get(step["kind"], step["kind"])
            bars.append((start, max(start, end or start), step["n"], step["kind"], said))
    if len(page["steps"]) < 3 or not bars:
        return []
    clock = _Clock([moment for start, end, *_ in bars for moment in (start, end)])
    return _laid_out(sorted(bars), clock)


def _laid_out(bars: list[tuple[datetime, datetime, int, str, str]], clock: _Clock) -> list[Mark]:
    busy = [0.0] * LANES
    found = []
    for start, end, n, kind, label in bars:
        y = clock(start)
        height = max(THINNEST, clock(end) - y)
        if kind == "model":
            x, width = 1, 8
        elif kind == "tool_call":
            lane = next((lane for lane in range(LANES) if busy[lane] <= y), LANES - 1)
            busy[lane] = y + height
            x, width = 11 + lane * 4, 4
        else:
            x, width, height = 1, 26, THINNEST
        found.append(Mark(n + 1, kind, round(y, 1), round(min(height, HEIGHT - y), 1), x, width, label))
    return found
