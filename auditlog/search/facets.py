"""Owns facets: of the newest sessions that a search matches, how many have which agent, customer, tool, outcome, trail and finding.

What is counted is sessions, whatever the facet. Nothing is kept: they are counted when somebody asks, within a bound that is said.
"""

from __future__ import annotations

from datetime import UTC, tzinfo
from typing import Any, Final, NamedTuple

from django.core.exceptions import EmptyResultSet
from django.db import connection

from auditlog.derive.index import SHOWN
from auditlog.derive.keys import to_text
from auditlog.search import sessions
from auditlog.search.parameters import PAGED, Parameter, only
from auditlog.search.scope import Scope

MOST: Final = 2_000  # sessions that are looked at, the newest: more take longer than a page may
TOP: Final = 8  # values of each facet
FACETS: Final = ("agent", "customer_id", "tool", "outcome", "verdict", "finding")  # each the name of the filter that it leads to
_NUL: Final = "\u2400"  # what stands for a NUL in a name that is only shown
PARAMETERS: Final = {
    "facets": Parameter("Whether to count what matches by agent, customer, tool, outcome, verdict and finding.", values=("1",)),
}

# One statement, so that the sessions that match are looked for once. A session of several traces counts once per value: its values are
# grouped first, because count(DISTINCT) sorts them all.
_COUNT: Final = """
    WITH found (key, agent_name, verdict, findings) AS MATERIALIZED ({matching}),
      hit AS MATERIALIZED (SELECT * FROM found LIMIT {most:d}),
      call AS MATERIALIZED (
        SELECT DISTINCT a.session_key, a.tool_digest, a.tool, a.outcome FROM action a JOIN hit ON a.session_key = hit.key
        WHERE a.edition = {edition:d} AND a.project_id = {project_id:d}),
      told (facet, value, sessions) AS (
        SELECT 'agent', convert_to(agent_name, 'UTF8'), count(*) FROM hit WHERE agent_name IS NOT NULL GROUP BY agent_name
        UNION ALL SELECT 'verdict', convert_to(verdict, 'UTF8'), count(*) FROM hit WHERE verdict IS NOT NULL GROUP BY verdict
        UNION ALL SELECT 'tool', convert_to(min(tool), 'UTF8'), count(*)
          FROM (SELECT tool_digest, session_key, min(tool) AS tool FROM call GROUP BY tool_digest, session_key) AS one GROUP BY tool_digest
        UNION ALL SELECT 'outcome', convert_to(outcome, 'UTF8'), count(*)
          FROM (SELECT DISTINCT outcome, session_key FROM call) AS one GROUP BY outcome
        UNION ALL SELECT 'finding', convert_to(f ->> 'code', 'UTF8'), count(DISTINCT key)
          FROM hit, jsonb_array_elements(findings) AS f WHERE f ->> 'code' IS NOT NULL GROUP BY f ->> 'code'
        UNION ALL SELECT 'customer_id', (array_agg(value))[1], count(*) FROM (
            SELECT d.digest, t.session_key, (array_agg(d.value))[1] AS value
            FROM hit JOIN trace t ON t.session_key = hit.key AND t.edition = {edition:d} AND t.project_id = {project_id:d}
            JOIN declared d ON d.trace_key = t.trace_key AND d.kind = 'customer' AND d.edition = t.edition AND d.project_id = t.project_id
            GROUP BY d.digest, t.session_key) AS one
          GROUP BY digest),
      ranked AS (
        SELECT *, row_number() OVER (PARTITION BY facet ORDER BY sessions DESC, value) AS place, count(*) OVER (PARTITION BY facet) AS n
        FROM told)
    SELECT facet, value, sessions, n FROM ranked WHERE place <= {top:d}
    UNION ALL SELECT '', NULL, count(*), 0 FROM found
    ORDER BY 1, 3 DESC, 2"""


class Value(NamedTuple):
    """`exact`: the filter of this value finds them; a very long name is shown cut, and no filter knows it so."""

    text: str
    sessions: int
    exact: bool


class Facet(NamedTuple):
    values: list[Value]
    more: int  # values that are not among them


class Facets(NamedTuple):
    sessions: int  # that were looked at
    cut: bool  # more of them match
    of: dict[str, Facet]


def facets(scope: Scope, given: dict[str, str], zone: tzinfo = UTC, *, content: bool = True) -> Facets:
    """Counts of the whole search, whichever page of it is shown. Raises Problem."""
    only(given, sessions.PARAMETERS | PAGED)
    asked = {name: value for name, value in given.items() if name not in PAGED}
    rows = sessions.matching(scope, asked, zone, content=content).order_by("-sort_at", "-key")
    counts: dict[str, Facet] = {name: Facet([], 0) for name in FACETS}
    try:
        query, values = rows.values_list("key", "agent_name", "verdict", "findings")[: MOST + 1].query.sql_with_params()
    except EmptyResultSet:  # Django knows that nothing matches
        return Facets(0, False, counts)
    numbers = {"most": MOST, "top": TOP, "edition": scope.edition, "project_id": scope.project_id}
    looked_at = 0
    with connection.cursor() as cursor:
        cursor.execute(_COUNT.format(matching=query, **numbers), values)
        for name, value, count, different in cursor.fetchall():
            if not name:
                looked_at = count
                continue
            text = to_text(value)
            counts[name].values.append(Value(text, count, len(text) < SHOWN and _NUL not in text))
            counts[name] = counts[name]._replace(more=max(0, different - TOP))
    return Facets(min(looked_at, MOST), looked_at > MOST, counts)


def as_json(found: Facets) -> dict[str, Any]:
    return {
        "sessions": found.sessions,
        "more_sessions": found.cut,
        "counts": {
            name: {"values": [{"value": one.text, "sessions": one.sessions} for one in facet.values], "more_values": facet.more}
            for name, facet in found.of.items()
        },
    }
