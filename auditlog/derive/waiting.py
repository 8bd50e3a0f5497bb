"""Owns how far the background pass is behind, in numbers: of one project, for its status, or of all, for the metrics of the service."""

from __future__ import annotations

from typing import Any, Final, LiteralString, NamedTuple, Protocol

from auditlog.derive.consume import ATTEMPTS


class Cursor(Protocol):
    """What psycopg's cursors and Django's have in common."""

    def execute(self, query: LiteralString, params: dict[str, Any], /) -> Any: ...
    def fetchone(self) -> Any: ...


class Waiting(NamedTuple):
    """What the pass has still to do. `pending` is exact, the others may lag a moment; lags are seconds."""

    pending: int  # batches
    lag: float  # age of the oldest of them
    failed: int  # batches that were set aside
    stale: int  # sessions whose summary is older than their events, counted up to 1,000
    text_lag: float  # how long the oldest summary has waited for its words


_OF: Final[LiteralString] = "(%(project_id)s::bigint IS NULL OR project_id = %(project_id)s)"
# Committed and not consumed, above the horizon too. What the service itself records (protocol 5) is nothing to wait for. Batches of another
# cluster are looked for only until the pass has passed them.
_PENDING: Final[LiteralString] = """
    SELECT count(*), coalesce(extract(epoch FROM now() - min(b.received_at)), 0)
    FROM batch b, edition e
    WHERE e.number = %(edition)s AND (%(project_id)s::bigint IS NULL OR b.project_id = %(project_id)s) AND b.protocol <> 5
      AND (b.xid >= e.watermark::text::xid8 OR e.system_id <> (SELECT system_identifier FROM pg_control_system()))
      AND NOT EXISTS (SELECT FROM derived d WHERE d.edition = e.number AND d.batch_no = b.batch_no)
      AND NOT EXISTS (SELECT FROM derive_failure f WHERE f.edition = e.number AND f.batch_no = b.batch_no AND f.attempts >= %(attempts)s)"""
# What failed and is to be tried again lies behind the watermark by now.
_AGAIN: Final[LiteralString] = """
    SELECT count(*) FROM derive_failure f JOIN batch b USING (batch_no) JOIN edition e ON e.number = f.edition
    WHERE f.edition = %(edition)s AND (%(project_id)s::bigint IS NULL OR b.project_id = %(project_id)s)
      AND f.attempts < %(attempts)s AND b.xid < e.watermark::text::xid8
      AND e.system_id = (SELECT system_identifier FROM pg_control_system()) AND b.system_id = e.system_id
      AND NOT EXISTS (SELECT FROM derived d WHERE d.edition = e.number AND d.batch_no = b.batch_no)"""
_BEHIND: Final[LiteralString] = (
    "SELECT (SELECT count(*) FROM derive_failure WHERE edition = %(edition)s AND attempts >= %(attempts)s AND " + _OF + "), "
    "(SELECT count(*) FROM (SELECT FROM session WHERE edition = %(edition)s AND stale_since IS NOT NULL AND " + _OF + " LIMIT 1000) s), "
    "(SELECT extract(epoch FROM now() - min(text_due)) FROM session WHERE edition = %(edition)s AND text_due IS NOT NULL AND " + _OF + ")"
)


def waiting(cursor: Cursor, edition: int, project_id: int | None = None) -> Waiting:
    values = {"edition": edition, "project_id": project_id, "attempts": ATTEMPTS}

    def row(query: LiteralString) -> Any:
        cursor.execute(query, values)
        return cursor.fetchone()

    pending, lag = row(_PENDING)
    pending += row(_AGAIN)[0]
    failed, stale, text_lag = row(_BEHIND)
    return Waiting(pending, max(float(lag), 0.0), failed, stale, max(float(text_lag or 0), 0.0))
