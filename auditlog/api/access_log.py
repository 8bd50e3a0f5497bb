"""Owns `GET /api/v1/access-log`: what people and programs did with evidence."""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from auditlog.api import shapes
from auditlog.api.rendering import instant
from auditlog.api.schema import JSON
from auditlog.api.views import ReadView, listed
from auditlog.search import deeds
from auditlog.search.parameters import PAGED
from auditlog.search.scope import Scope
from auditlog.web.access import Right


class AccessLogList(ReadView):
    """Who did what with evidence: views, searches, downloads, logins, holds, deletions, exports, changes of keys and members; newest first.
    Each row is an event of the same sealed log; `recorded` is all that it says."""

    parameters = deeds.PARAMETERS | PAGED
    right = Right.OVERSEE
    recorded = "access.read"
    answers = {JSON: shapes.listed(shapes.ACCESS)}

    def answer(self, request: Request, scope: Scope, given: dict[str, str], **names: str) -> Response:
        found = deeds.page(scope, given)
        return listed(request, [as_json(one) for one in found.rows], found.next)


def as_json(one: deeds.Deed) -> dict[str, Any]:
    row = one.row
    return {
        "id": one.id,
        "at": instant(row.at),
        "action": row.action,
        "actor": {"kind": row.actor_kind, "id": row.actor_id, "name": row.actor_name},
        "objects": row.objects,
        "purpose": row.purpose,
        "recorded": one.recorded,
    }
