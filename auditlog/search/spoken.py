"""Owns the arguments and results of actions in lists: read from the evidence at each request, because no table keeps copies of them.

An action names the events that tell of it. Only those are read, of a whole page at once, and put together as a timeline is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from auditlog.derive.keys import term_digest
from auditlog.derive.models import Action
from auditlog.reconstruct.actions import ran_with
from auditlog.reconstruct.scalars import scalars
from auditlog.reconstruct.timeline import timeline
from auditlog.search import evidence
from auditlog.search.scope import Scope
from auditlog.store.reader import Stored

MOST: Final = 100  # scalars of each side that a row of a list shows
_LARGEST: Final = 10**1_000
LONGEST: Final = 1_000  # characters of one of them


class Spoken(NamedTuple):
    arguments: list[dict[str, Any]]
    result: list[dict[str, Any]]
    error: str | None
    cut: bool  # more than this list shows; the timeline has all of it


NOTHING: Final = Spoken([], [], None, False)


def spoken(scope: Scope, rows: Sequence[Action]) -> dict[tuple[str, int], Spoken]:
    """What each action was called with and what came back."""
    wanted = {public for row in rows for public in row.event_ids}
    stored = {event.id: event for event in evidence.by_ids(scope, sorted(wanted))}
    sessions: dict[str, list[Action]] = defaultdict(list)
    for row in rows:
        sessions[row.session_key].append(row)
    found = {}
    for own in sessions.values():
        calls = _calls(stored[public] for public in {p for row in own for p in row.event_ids} if public in stored)
        for row in own:
            tool = _best(row, [call for call in calls if term_digest(scope.project_id, "tool", call["tool"]["name"]) == row.tool_digest])
            found[row.session_key, row.step] = NOTHING if tool is None else _told(tool)
    return found


def _calls(events: Iterable[Stored]) -> list[dict[str, Any]]:
    return [step for step in timeline(events)["steps"] if step["kind"] == "tool_call"]


def _best(row: Action, calls: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The call that the row means: the same call ID where it has one, told by the most of its events."""

    def likeness(call: dict[str, Any]) -> tuple[bool, int, int]:
        shared = len(set(call["event_ids"]) & set(row.event_ids))
        return call["tool"].get("call_id") == row.call_id, shared, -len(call["event_ids"])

    best: dict[str, Any] | None = max((call for call in calls if likeness(call)[1]), key=likeness, default=None)
    return None if best is None else best["tool"]


def _told(tool: dict[str, Any]) -> Spoken:
    asked, asked_cut = _scalars(ran_with(tool))
    came, came_cut = _scalars(tool.get("result"))
    error = tool.get("error")
    said = None if error is None else str(error)
    return Spoken(asked, came, None if said is None else said[:LONGEST], asked_cut or came_cut or len(said or "") > LONGEST)


def _scalars(value: Any) -> tuple[list[dict[str, Any]], bool]:
    found: list[dict[str, Any]] = []
    cut = False
    for pointer, scalar in scalars(value):
        if len(found) == MOST:
            return found, True
        if isinstance(scalar, str) and len(scalar) > LONGEST:
            scalar, cut = scalar[:LONGEST], True
        if isinstance(scalar, int) and abs(scalar) >= _LARGEST:
            scalar, cut = hex(scalar)[:LONGEST], True  # writing out a number of a million digits takes longer than anybody waits
        found.append({"pointer": pointer, "value": scalar})
    return found, cut
