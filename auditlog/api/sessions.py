"""Owns `GET /api/v1/sessions`, one session, and its timeline."""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from auditlog.api import shapes
from auditlog.api.rendering import instant
from auditlog.api.schema import JSON
from auditlog.api.views import ReadView, listed
from auditlog.derive.keys import to_text
from auditlog.derive.models import Session
from auditlog.search import evidence, excerpts, facets, parameters, sessions
from auditlog.search.explain import session_timeline
from auditlog.search.parameters import PAGED
from auditlog.search.scope import Scope


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
    """Sessions that fulfil every filter given, newest first. Identifiers are compared exactly."""

    parameters = sessions.PARAMETERS | PAGED | facets.PARAMETERS
    recorded = "sessions.read"
    content = sessions.CONTENT
    answers = {JSON: shapes.SESSIONS}

    def answer(self, request: Request, scope: Scope, given: dict[str, str], **names: str) -> Response:
        counted = parameters.one_of("facets", given.pop("facets"), ("1",)) if "facets" in given else None
        page = sessions.page(scope, given)
        identities = sessions.identities(scope, page.rows)
        results = [as_json(row, identities[row.key]) for row in page.rows]
        if given.get("q"):
            said = excerpts.excerpts(scope, [row.key for row in page.rows], given["q"])
            results = [one | {"excerpts": excerpts.as_json(said.get(one["key"], ()))} for one in results]
        answer = listed(request, results, page.next)
        if counted:
            answer.data["facets"] = facets.as_json(facets.facets(scope, given))
        return answer


class SessionDetail(ReadView):
    """One session. A key that once named a part of it leads to it."""

    answers = {JSON: shapes.SESSION}

    def answer(self, request: Request, scope: Scope, given: dict[str, str], **names: str) -> Response:
        facts = evidence.session(scope, names["key"])
        row = scope.of(Session).get(key=facts.key)
        return Response(as_json(row, sessions.identities(scope, [row])[row.key]))


class Timeline(ReadView):
    """The reconstructed decision: every step in the order in which it happened, each once, texts verbatim."""

    recorded = "session.read"
    content = True
    answers = {JSON: shapes.TIMELINE}

    def answer(self, request: Request, scope: Scope, given: dict[str, str], **names: str) -> Response:
        return Response(session_timeline(scope, evidence.session(scope, names["key"])))
