"""Owns `GET /api/v1/sessions`, one session, and its timeline."""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from auditlog.api.rendering import instant
from auditlog.api.views import ReadView, given, listed
from auditlog.derive.keys import to_text
from auditlog.derive.models import Session
from auditlog.search import evidence, parameters, sessions
from auditlog.search.explain import session_timeline


def as_json(row: Session, identity: dict[str, list[str]]) -> dict[str, Any]:
    """A session as lists and its own address show it."""
    return {
        "key": row.key,
        "session_id": to_text(row.session_id),
        "trace_ids": identity["trace"],
        "agent": {"name": row.agent_name, "version": row.agent_version},
        "user_ids": identity["user"],
        "customer_ids": identity["customer"],
        "started_at": instant(row.started_at),
        "ended_at": instant(row.ended_at),
        "totals": row.totals or None,
        "verdict": row.verdict,
        "findings": row.findings,
        "summary_current": row.stale_since is None,
    }


class SessionList(ReadView):
    def get(self, request: Request) -> Response:
        scope = self.scope(request)
        page = sessions.page(scope, given(request))
        identities = sessions.identities(scope, page.rows)
        return listed(request, [as_json(row, identities[row.key]) for row in page.rows], page.next)


class SessionDetail(ReadView):
    def get(self, request: Request, key: str) -> Response:
        parameters.only(given(request), ())
        scope = self.scope(request)
        facts = evidence.session(scope, key)
        row = scope.of(Session).get(key=facts.key)
        return Response(as_json(row, sessions.identities(scope, [row])[row.key]))


class Timeline(ReadView):
    def get(self, request: Request, key: str) -> Response:
        parameters.only(given(request), ())
        return Response(session_timeline(evidence.session(self.scope(request), key)))
