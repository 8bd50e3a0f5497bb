"""Owns `GET /api/v1/status`: what is waiting, in numbers. `pending_batches` is exact, the others may lag a moment."""

from __future__ import annotations

from typing import Any, Final, LiteralString

from django.db import connection
from rest_framework.request import Request
from rest_framework.response import Response

from auditlog.api import shapes
from auditlog.api.schema import JSON
from auditlog.api.views import ReadView
from auditlog.derive.consume import ATTEMPTS
from auditlog.search.scope import Scope
from auditlog.store import server

# Committed and not consumed, above the horizon too. What the service itself records (protocol 5) is nothing to wait for. Batches of another
# cluster are looked for only until the pass has passed them.
_PENDING: Final[LiteralString] = """
    SELECT count(*), coalesce(extract(epoch FROM now() - min(b.received_at)), 0)
    FROM batch b, edition e
    WHERE e.number = %(edition)s AND b.project_id = %(project_id)s AND b.protocol <> 5
      AND (b.xid >= e.watermark::text::xid8 OR e.system_id <> (SELECT system_identifier FROM pg_control_system()))
      AND NOT EXISTS (SELECT FROM derived d WHERE d.edition = e.number AND d.batch_no = b.batch_no)
      AND NOT EXISTS (SELECT FROM derive_failure f WHERE f.edition = e.number AND f.batch_no = b.batch_no AND f.attempts >= %(attempts)s)"""
# What failed and is to be tried again lies behind the watermark by now.
_AGAIN: Final[LiteralString] = """
    SELECT count(*) FROM derive_failure f JOIN batch b USING (batch_no) JOIN edition e ON e.number = f.edition
    WHERE f.edition = %(edition)s AND b.project_id = %(project_id)s AND f.attempts < %(attempts)s AND b.xid < e.watermark::text::xid8
      AND e.system_id = (SELECT system_identifier FROM pg_control_system()) AND b.system_id = e.system_id
      AND NOT EXISTS (SELECT FROM derived d WHERE d.edition = e.number AND d.batch_no = b.batch_no)"""
_TALLY: Final[LiteralString] = "SELECT events, batches, quarantined FROM tally WHERE edition = %(edition)s AND project_id = %(project_id)s"
_ASIDE: Final[LiteralString] = """
    SELECT count(*) FROM derive_failure WHERE edition = %(edition)s AND project_id = %(project_id)s AND attempts >= %(attempts)s"""
_STALE: Final[LiteralString] = """
    SELECT count(*) FROM (SELECT FROM session WHERE edition = %(edition)s AND project_id = %(project_id)s
                          AND stale_since IS NOT NULL LIMIT 1000) s"""


class Status(ReadView):
    """What is waiting to be read, in numbers. `pending_batches` is exact, the others may lag a moment."""

    answers = {JSON: shapes.STATUS}

    def answer(self, request: Request, scope: Scope, given: dict[str, str], **names: str) -> Response:
        values: dict[str, Any] = {"edition": scope.edition, "project_id": scope.project_id, "attempts": ATTEMPTS}
        with connection.cursor() as cursor:

            def row(query: LiteralString) -> tuple[Any, ...]:
                cursor.execute(query, values)
                return cursor.fetchone() or (0, 0, 0)

            pending, lag = row(_PENDING)
            pending += row(_AGAIN)[0]
            events, batches, quarantined = row(_TALLY)
            aside = row(_ASIDE)[0]
            stale = row(_STALE)[0]
        return Response(
            {
                "pending_batches": pending,
                "derive_lag_seconds": round(max(float(lag), 0.0), 3),
                "unsealed_batches": batches + pending,  # nothing seals yet, so all that there are
                "quarantined": quarantined,
                "events": events,
                "failed_batches": aside,
                "stale_summaries": stale,
                "unsafe_settings": [one.id for one in server.standing.dangers()],
            }
        )
