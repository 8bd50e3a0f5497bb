"""Owns what is counted per agent: its sessions, its calls, how far their trails can be believed, and which gaps they have how often."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, tzinfo
from typing import Any, Final, LiteralString, NamedTuple

from django.db import connection

from auditlog.derive.keys import term_digest
from auditlog.reconstruct.gaps import CODES
from auditlog.search import parameters
from auditlog.search.parameters import Parameter
from auditlog.search.scope import Scope

MOST: Final = 10_000  # sessions that are counted, the newest of the range

PARAMETERS: Final = {
    "from": Parameter("Sessions that began at this time or later: `2026-03-01` or `2026-03-01T10:00:00Z`."),
    "to": Parameter("Sessions that began by this time; a day means its end."),
}
_BOUNDS: Final = {"from": datetime(1, 1, 2, tzinfo=UTC), "to": datetime(9999, 12, 30, tzinfo=UTC)}

_NEWEST: Final[LiteralString] = """
    WITH newest AS MATERIALIZED (
        SELECT key, agent_name, verdict, model_calls, tool_calls, sort_at FROM session
        WHERE project_id = %(project)s AND edition = %(edition)s AND sort_at BETWEEN %(from)s AND %(to)s
        ORDER BY sort_at DESC, key DESC LIMIT %(most)s)"""
_COUNTED: Final[LiteralString] = """
    SELECT agent_name, count(*), sum(model_calls), sum(tool_calls), count(*) FILTER (WHERE verdict = 'complete'),
        count(*) FILTER (WHERE verdict = 'gaps'), count(*) FILTER (WHERE verdict = 'unevaluable'), min(sort_at), max(sort_at)
    FROM newest GROUP BY agent_name ORDER BY count(*) DESC, agent_name"""
_GAPS: Final[LiteralString] = """
    SELECT n.agent_name, t.digest, count(*) FROM newest n
    JOIN session_term t ON t.session_key = n.key AND t.edition = %(edition)s AND t.project_id = %(project)s
    WHERE t.kind = 'gap' GROUP BY n.agent_name, t.digest"""


class Gap(NamedTuple):
    code: str
    sessions: int  # that have it at least once


class Counted(NamedTuple):
    """One agent, by the sessions that are listed as its own; `name` is None for those that name no agent."""

    name: str | None
    sessions: int
    model_calls: int
    tool_calls: int
    complete: int
    with_gaps: int
    unevaluable: int  # the rest is not read yet
    first: datetime
    last: datetime
    gaps: tuple[Gap, ...] = ()  # the most frequent first


class Agents(NamedTuple):
    rows: list[Counted]  # those with the most sessions first
    sessions: int  # counted
    cut: bool  # there may be older ones in this range: only the newest MOST were counted


def agents(scope: Scope, given: dict[str, str], zone: tzinfo = UTC) -> Agents:
    """Two queries, whatever the number of agents. Raises Problem("parameter_invalid")."""
    parameters.only(given, PARAMETERS)
    asked: dict[str, Any] = {"project": scope.project_id, "edition": scope.edition, "most": MOST}
    for name, bound in _BOUNDS.items():
        asked[name] = parameters.moment(name, given[name], zone, end=name == "to") if given.get(name) else bound
    code_of = {term_digest(scope.project_id, "gap", code): code for code in CODES}
    gaps: dict[str | None, list[Gap]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(_NEWEST + _GAPS, asked)
        for name, digest, count in cursor.fetchall():
            if digest in code_of:  # not a code that an older release gave, until its sessions are read again
                gaps[name].append(Gap(code_of[digest], count))
        cursor.execute(_NEWEST + _COUNTED, asked)
        rows = []
        for row in cursor.fetchall():
            most = sorted(gaps[row[0]], key=lambda gap: (-gap.sessions, gap.code))
            rows.append(Counted(*row)._replace(gaps=tuple(most)))
    sessions = sum(row.sessions for row in rows)
    return Agents(rows, sessions, sessions >= MOST)
