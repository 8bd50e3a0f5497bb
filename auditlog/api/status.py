"""Owns `GET /api/v1/status`: what is waiting, in numbers. `pending_batches` is exact, the others may lag a moment."""

from __future__ import annotations

from typing import Final, LiteralString

from django.db import connection
from rest_framework.request import Request
from rest_framework.response import Response

from auditlog.api import shapes
from auditlog.api.schema import JSON
from auditlog.api.views import ReadView
from auditlog.derive.waiting import waiting
from auditlog.search import sealed
from auditlog.search.scope import Scope
from auditlog.store import server

_TALLY: Final[LiteralString] = "SELECT events, batches, quarantined FROM tally WHERE edition = %(edition)s AND project_id = %(project_id)s"


class Status(ReadView):
    """What is waiting to be read, in numbers. `pending_batches` is exact, the others may lag a moment."""

    answers = {JSON: shapes.STATUS}

    def answer(self, request: Request, scope: Scope, given: dict[str, str], **names: str) -> Response:
        with connection.cursor() as cursor:
            behind = waiting(cursor, scope.edition, scope.project_id)
            cursor.execute(_TALLY, {"edition": scope.edition, "project_id": scope.project_id})
            events, _, quarantined = cursor.fetchone() or (0, 0, 0)
        open_ends, log = sealed.standing(scope.project_id)
        return Response(
            {
                "pending_batches": behind.pending,
                "derive_lag_seconds": round(behind.lag, 3),
                "unsealed_batches": open_ends.batches,
                "seal_lag_seconds": round(open_ends.lag, 3),
                "sealer": "refusing" if log.refused else "sealing" if log.running else "away",
                "sealer_refuses": log.refused.code if log.refused else None,
                "quarantined": quarantined,
                "events": events,
                "failed_batches": behind.failed,
                "stale_summaries": behind.stale,
                "text_lag_seconds": round(behind.text_lag, 3),
                "unsafe_settings": [one.id for one in server.standing.dangers()],
            }
        )
