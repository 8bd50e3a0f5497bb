"""Owns what a change of a class would do, told before it is made: which buckets would be due when, and what is in them. Reads only."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, LiteralString, NamedTuple

import psycopg

from auditlog.errors import Problem
from auditlog.retention import classes, clocks
from auditlog.search import parameters

_BUCKETS: Final[LiteralString] = """
    SELECT bucket, starts, ends, ends + %(before)s * interval '24 hours', ends + %(days)s * interval '24 hours',
           ends + %(before)s * interval '24 hours' <= now(), ends + %(days)s * interval '24 hours' <= now()
    FROM bucket WHERE class_no = %(class)s AND state <> 'disposed' ORDER BY ends, bucket"""
# What the parts promise, without what has left since.
_EVENTS: Final[LiteralString] = """
    SELECT p.bucket, sum(p.count - coalesce(g.gone, 0))::bigint FROM part p JOIN batch b USING (batch_no)
    LEFT JOIN (SELECT bucket, batch_no, count(*) AS gone FROM tombstone WHERE bucket = ANY(%(buckets)s) GROUP BY 1, 2) g
      USING (bucket, batch_no)
    WHERE p.bucket = ANY(%(buckets)s) AND (%(project)s::int IS NULL OR b.project_id = %(project)s) GROUP BY 1"""
_TRACES: Final[LiteralString] = """
    FROM trace t JOIN edition n ON n.number = t.edition AND n.state = 'current', unnest(t.buckets) AS lies (bucket)
    WHERE lies.bucket = ANY(%(buckets)s) AND (%(project)s::int IS NULL OR t.project_id = %(project)s)"""
_SESSIONS: Final[LiteralString] = f"SELECT lies.bucket, count(DISTINCT t.session_key) {_TRACES} GROUP BY 1"
_DISTINCT: Final[LiteralString] = f"SELECT count(DISTINCT t.session_key) {_TRACES}"


class Period(NamedTuple):
    """One bucket as it would be. Counts are of what was asked for: one project, or all.

    before, then: due by receipt; was_due, would_be: whether that is past. waiting: traces that would stay although it is due, because their
    clock does not run or is not over; None: nothing waits for events, or it would not be due.
    """

    bucket: int
    starts: datetime
    ends: datetime
    before: datetime
    then: datetime
    was_due: bool
    would_be: bool
    events: int
    sessions: int
    waiting: int | None


class Preview(NamedTuple):
    """waits: the change would wait for a second person. becomes_*: what is not due now and would be at once; postponed_*: the reverse.
    longer: how many reclassifications keep something as this class says, in periods of other classes, which are not counted."""

    now: classes.Version
    days: int
    clock_of: str | None
    waits: bool
    periods: list[Period]
    becomes_events: int
    becomes_sessions: int
    postponed_events: int
    postponed_sessions: int
    longer: int

    @property
    def becomes(self) -> int:
        """Buckets that are not due now and would be at once."""
        return sum(one.would_be and not one.was_due for one in self.periods)

    @property
    def postponed(self) -> int:
        """Buckets that are due now and would not be."""
        return sum(one.was_due and not one.would_be for one in self.periods)


def preview(conn: psycopg.Connection[Any], class_no: int, days: int, clock: str | None = None, project_id: int | None = None) -> Preview:
    """What `classes.revise` of these days and clock would do at this moment, to one project or to all.

    Raises Problem as it would: "not_found", "below_floor", "high_risk", "parameter_invalid".
    """
    now = classes.in_force(conn, class_no)
    of, waits = classes.judge(conn, now, days, clock)
    found = conn.execute(_BUCKETS, {"class": class_no, "before": now.days, "days": days}).fetchall()
    values = {"buckets": [row[0] for row in found], "project": project_id}
    events = dict(conn.execute(_EVENTS, values).fetchall())
    sessions = dict(conn.execute(_SESSIONS, values).fetchall())
    counted = [
        (events.get(row[0], 0), sessions.get(row[0], 0), _waiting(conn, row[0], of, days, project_id) if row[6] else None) for row in found
    ]
    periods = [Period(*(*row, *counts)) for row, counts in zip(found, counted, strict=True)]
    becomes = [one for one in periods if one.would_be and not one.was_due]
    postponed = [one for one in periods if one.was_due and not one.would_be]
    return Preview(
        now, days, of, waits, periods,
        sum(one.events for one in becomes), _distinct(conn, becomes, project_id),
        sum(one.events for one in postponed), _distinct(conn, postponed, project_id), _longer(conn, class_no, project_id),
    )  # fmt: skip


def asked(conn: psycopg.Connection[Any], class_no: str, days: str | None, clock: str | None, project_id: int) -> Preview:
    """`preview` of what an address says; without days as many as now. Raises as it does."""
    if not class_no.isascii() or not class_no.isdigit() or len(class_no) > 5 or int(class_no) >= 2**15:
        raise Problem("not_found", "There is no such retention class.")
    number = int(class_no)
    if days is None:
        return preview(conn, number, classes.in_force(conn, number).days, clock, project_id)
    if not days.isascii() or not days.isdigit() or len(days) > 6:
        raise parameters.invalid("days", "is no number of days.", days)
    return preview(conn, number, int(days), clock, project_id)


def _waiting(conn: psycopg.Connection[Any], bucket: int, of: str | None, days: int, project_id: int | None) -> int | None:
    if of is None:
        return None
    return sum(project_id in (None, project) for project, _ in clocks.still(conn, bucket, of, days))


def _longer(conn: psycopg.Connection[Any], class_no: int, project_id: int | None) -> int:
    query = "SELECT count(*) FROM reclassified WHERE class_no = %s AND ended_at IS NULL AND (%s::int IS NULL OR project_id = %s)"
    row = conn.execute(query, (class_no, project_id, project_id)).fetchone()
    return int(row[0]) if row else 0


def _distinct(conn: psycopg.Connection[Any], periods: list[Period], project_id: int | None) -> int:
    """Sessions in any of them: one that lies in two is one."""
    if not periods:
        return 0
    row = conn.execute(_DISTINCT, {"buckets": [one.bucket for one in periods], "project": project_id}).fetchone()
    return int(row[0]) if row else 0
