"""Owns which requests of erasure and of restriction account for values that are missing, and how timelines and pages cite them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, LiteralString, NamedTuple

import psycopg

from auditlog.store import fields

# How a request `e` is cited wherever something is missing: by its number, which is its certificate's, and a day.
ERASED: Final[LiteralString] = "e.id || ' of ' || to_char(e.decided_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')"
RESTRICTED: Final[LiteralString] = "e.id || ' until ' || to_char(e.until AT TIME ZONE 'UTC', 'YYYY-MM-DD')"
_OF_EVENTS: Final[LiteralString] = f"""
    WITH asked AS (SELECT * FROM unnest(%(keys)s::uuid[], %(ids)s::uuid[]) AS new (trace_key, event_id))
    SELECT e.id, e.outcome, e.decided_at, e.until, CASE WHEN e.outcome = 'restrict' THEN {RESTRICTED} ELSE {ERASED} END,
      coalesce(e.fields, '{{}}'), t.taken
    FROM erasure e JOIN (
      SELECT i.erasure AS id, sum(i.erased) AS taken FROM erasure_item i JOIN asked USING (trace_key, event_id)
      WHERE i.erased > 0 GROUP BY 1
      UNION ALL
      SELECT r.erasure, 0 FROM restricted r JOIN asked USING (trace_key, event_id) WHERE r.project_id = %(project)s GROUP BY 1
    ) t USING (id)
    WHERE e.project_id = %(project)s ORDER BY e.id"""


class Request(NamedTuple):
    number: int
    outcome: str  # erase, redact or restrict
    decided_at: datetime
    until: datetime | None  # of a restriction: when it is to be looked at again
    cited: str
    fields: list[int]  # of a redaction: those that it was to take; else it was to take all, or hides all
    taken: int  # fields that it took from the events that were asked for

    @property
    def restricts(self) -> bool:
        """Whether the values are stored and nobody may see them; else they are gone."""
        return self.outcome == "restrict"

    @property
    def named(self) -> list[str]:
        return fields.names(self.fields)

    @property
    def day(self) -> str:
        return f"{self.decided_at.astimezone(UTC):%Y-%m-%d}"

    @property
    def until_day(self) -> str:
        return "" if self.until is None else f"{self.until.astimezone(UTC):%Y-%m-%d}"


def of_events(conn: psycopg.Connection[Any], project_id: int, events: Sequence[tuple[uuid.UUID, uuid.UUID]]) -> list[Request]:
    """Requests that took values of these events, (trace key, event ID), or hide them; in the order of their numbers."""
    keys, ids = [key for key, _ in events], [event_id for _, event_id in events]
    return [Request(*row) for row in conn.execute(_OF_EVENTS, {"project": project_id, "keys": keys, "ids": ids}).fetchall()]


def unaccounted(gone: Sequence[int], requests: Sequence[Request]) -> int:
    """Of so many fields of one event, at least, that are gone no request took the values. Where all is restricted nobody can see: 0."""
    if any(one.restricts for one in requests):
        return 0
    whole = any(not one.fields for one in requests)
    named = set(gone) if whole else set(gone) & {field for one in requests for field in one.fields}
    return len(gone) - min(len(named), sum(one.taken for one in requests))


def cite(timeline: dict[str, Any], ask: Callable[[], Sequence[Request]]) -> None:
    """Adds to the gap of a timeline that says that values are missing by which requests they are. Hardly any has it; else none is asked."""
    for gap in timeline["completeness"]["gaps"]:
        if gap["code"] == "content_withheld":
            requests = ask()
            erased, restricted = ([one.cited for one in requests if one.restricts == hides] for hides in (False, True))
            if erased:
                gap["message"] += f" Values of this session were erased on request: {certificates(erased)}."
            if restricted:
                gap["message"] += f" Values of it are stored and restricted on request: {certificates(restricted)}."


def certificates(cited: Sequence[str]) -> str:
    return f"certificate{'s' if len(cited) > 1 else ''} {', '.join(cited)}"
