"""Owns `GET /api/v1/agents`: what is counted per agent."""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from auditlog.api import shapes
from auditlog.api.rendering import instant
from auditlog.api.schema import JSON
from auditlog.api.views import ReadView
from auditlog.search import agents
from auditlog.search.scope import Scope


def as_json(row: agents.Counted) -> dict[str, Any]:
    return {
        "name": row.name,
        "sessions": row.sessions,
        "model_calls": row.model_calls,
        "tool_calls": row.tool_calls,
        "verdicts": {"complete": row.complete, "gaps": row.with_gaps, "unevaluable": row.unevaluable},
        "gaps": [{"code": gap.code, "sessions": gap.sessions} for gap in row.gaps],
        "first_session_at": instant(row.first),
        "last_session_at": instant(row.last),
    }


class AgentList(ReadView):
    """Agents by the sessions that are listed as theirs, the largest first: calls, verdicts, and how many sessions have which gap."""

    parameters = agents.PARAMETERS
    answers = {JSON: shapes.AGENTS}

    def answer(self, request: Request, scope: Scope, given: dict[str, str], **names: str) -> Response:
        found = agents.agents(scope, given)
        return Response({"results": [as_json(row) for row in found.rows], "next": None, "sessions": found.sessions, "cut": found.cut})
