"""Owns whether the search may be trusted with a bucket: only where the background pass has consumed all of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final, LiteralString

import psycopg

from auditlog.errors import Problem
from auditlog.governance import PROTOCOL

_PENDING: Final[LiteralString] = """
    SELECT count(*) FROM part p JOIN batch b USING (batch_no)
    WHERE p.bucket = %(bucket)s AND p.count > 0 AND (%(project)s::int IS NULL OR b.project_id = %(project)s)
      AND NOT EXISTS (SELECT FROM derived d JOIN edition e ON e.number = d.edition AND e.state = 'current' WHERE d.batch_no = p.batch_no)"""
# Batches that came by a time, and no others: where evidence never stops coming, something is always pending. Nor what the service recorded
# itself: it is in no session and names nobody that is searched for.
_BATCHES: Final = f"""
    SELECT count(*) FROM batch b
    WHERE b.project_id = %(project)s AND b.protocol <> {PROTOCOL}
      AND (b.received_at <= %(until)s::timestamptz OR b.batch_no = ANY(%(batches)s))
      AND EXISTS (SELECT FROM part p WHERE p.batch_no = b.batch_no AND p.count > 0)
      AND NOT EXISTS (SELECT FROM derived d JOIN edition e ON e.number = d.edition AND e.state = 'current' WHERE d.batch_no = b.batch_no)"""
# What a search that is kept asks of (a hold, or what is kept longer) may stand in summaries and words, which follow later.
_STALE: Final[LiteralString] = """
    SELECT count(*) FROM session s JOIN edition e ON e.number = s.edition AND e.state = 'current'
    WHERE (s.stale_since IS NOT NULL OR s.text_due IS NOT NULL) AND (%(project)s::int IS NULL OR s.project_id = %(project)s)
      AND s.project_id = ANY(%(searched)s)
      AND EXISTS (SELECT FROM trace t WHERE t.session_key = s.key AND t.edition = s.edition AND t.buckets @> ARRAY[%(bucket)s::int])"""


def require(conn: psycopg.Connection[Any], bucket: int, searched: Collection[int], project_id: int | None = None) -> None:
    """searched: projects of which something is searched for. Raises Problem("derive_behind")."""
    values = {"bucket": bucket, "project": project_id, "searched": list(searched)}
    for query, what in ((_PENDING, "batches of it are not consumed"), (_STALE, "of its sessions are not summarised and indexed")):
        _refuse(conn.execute(query, values).fetchone(), what)
    _no_rebuild(conn)


def require_batches(conn: psycopg.Connection[Any], project_id: int, batch_nos: Sequence[int] = (), until: datetime | None = None) -> None:
    """The same of a project's batches: those named, and those received until then. Raises Problem("derive_behind")."""
    values = {"project": project_id, "batches": list(batch_nos), "until": until}
    _refuse(conn.execute(_BATCHES.encode(), values).fetchone(), "batches of it are not consumed")
    _no_rebuild(conn)


def _refuse(row: tuple[Any, ...] | None, what: str) -> None:
    if row is not None and row[0]:
        raise Problem(
            "derive_behind",
            f"The background pass is behind: {row[0]} {what}, so nobody can say what is held. Nothing was changed. Try again when "
            "pending_batches of /api/v1/status is 0; batches that were set aside are tried again by `manage.py rebuild --failed`.",
            detail={"waiting": row[0]},
        )


def _no_rebuild(conn: psycopg.Connection[Any]) -> None:
    if conn.execute("SELECT FROM edition WHERE state = 'filling'").fetchone() is not None:
        raise Problem(
            "derive_behind", "Derived data is being rebuilt. Nothing was changed. Wait until `manage.py rebuild` has ended, or discard it."
        )
