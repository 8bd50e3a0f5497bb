"""Owns which certificates an export holds: those of dispositions that took evidence of its scope, as they were when it began; and in
which of its files stands what explains the values that are missing from a session."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final, LiteralString, NamedTuple

import msgspec
import psycopg

from auditlog.derive.missing import Request
from auditlog.errors import Problem
from auditlog.export.choice import Wish
from auditlog.export.files import Chunks, Files
from auditlog.item import Rest
from auditlog.store.reader import Stored, public_id, split_id
from auditlog.verify.certificates import of_project

_EXECUTED: Final[LiteralString] = """
    SELECT d.id, d.certificate FROM disposition d WHERE d.state = 'executed' AND d.certificate -> 'by_project' ? %(project)s::text"""
# Of a range: the periods of storage that anything in it lay in.
_OF_RANGE: Final[LiteralString] = """
    AND EXISTS (SELECT FROM part p JOIN batch b USING (batch_no) WHERE p.bucket = d.bucket AND b.project_id = %(project)s AND p.count > 0
                AND (%(since)s::timestamptz IS NULL OR b.received_at >= %(since)s)
                AND (%(until)s::timestamptz IS NULL OR b.received_at < %(until)s))"""
_OF_SESSIONS: Final[LiteralString] = """
    AND EXISTS (SELECT FROM session_loss l
                WHERE l.disposition = d.id AND l.project_id = %(project)s AND l.session_key = ANY(%(sessions)s))"""
_TOOK: Final[LiteralString] = """
    SELECT i.trace_key, i.event_id, e.id, coalesce(e.fields, '{}') FROM erasure_item i JOIN erasure e ON e.id = i.erasure
    JOIN unnest(%(keys)s::uuid[], %(ids)s::uuid[]) AS asked (trace_key, event_id) USING (trace_key, event_id)
    WHERE i.erased > 0 AND e.project_id = %(project)s ORDER BY e.id"""
_ASKED: Final = 5_000  # events at once
_CERTIFICATE: Final = "SELECT id, path FROM certificate WHERE erasure = ? AND decided = ?"
ERASURES: Final = "certificates/erasures.jsonl"
NOTED: Final = "certificates noted"  # from the first chunk on


class _Decided(msgspec.Struct):
    at: datetime


class _About(msgspec.Struct):
    """Of a certificate of erasure what tells it from one of another service with the same number, whose evidence was imported."""

    erasure: int
    decided: _Decided


class Cited(NamedTuple):
    """A request by which values are missing, and the files of the folder that say so; "" where there is none."""

    request: Request
    record: str  # ID of the record of its certificate
    certificate: str | None  # the file with that record; None: nobody looked
    fields: str  # the file that lists the fields


def of(conn: psycopg.Connection[Any], wish: Wish) -> list[tuple[int, dict[str, Any]]]:
    """(number of the disposition, its certificate without what it says of other projects), in the order of the numbers."""
    narrow = _OF_SESSIONS if wish.trace_keys is not None else _OF_RANGE if wish.since or wish.until else ""
    asked = {"project": wish.project_id, "sessions": wish.sessions, "since": wish.since, "until": wish.until}
    rows = conn.execute(f"{_EXECUTED}{narrow} ORDER BY d.id", asked).fetchall()
    return [(number, of_project(certificate, wish.project_id)) for number, certificate in rows]


def unchanged(conn: psycopg.Connection[Any], wish: Wish, known: list[int]) -> None:
    """Raises Problem("state_conflict") where something of the scope was disposed of since the export began: half of it would be gone."""
    if new := sorted({number for number, _ in of(conn, wish)} - set(known)):
        raise Problem(
            "state_conflict",
            f"Evidence of this export was disposed of after it began (disposition {', '.join(map(str, new))}), so that the folder would "
            "have a part of it. Begin the export again in another folder.",
            detail={"dispositions": new},
        )


def note(files: Files, stored: Stored, chunks: Chunks) -> None:
    """Writes down where the certificate of a request stands: it is a record among the project's own."""
    item = stored.item
    if not isinstance(item, Rest) or not item.governance:
        return
    members = dict(item.members)
    if members.get("action") != b'"erasure.certificate"':
        return
    try:
        about = msgspec.json.decode(members.get("about", b""), type=_About)
    except msgspec.MsgspecError:  # it was itself erased, or is restricted
        return
    row = (about.erasure, _utc(about.decided.at), stored.id, chunks.path)
    files.db.execute("INSERT OR IGNORE INTO certificate VALUES (?, ?, ?, ?)", row)


def cited(files: Files, requests: Iterable[Request], ids: Iterable[str]) -> list[Cited]:
    """What a page of records with these IDs says of the requests by which values of theirs are missing."""
    ids, found = list(ids), []
    nowhere = "" if files.get(NOTED) else None
    for request in requests:
        record, path = files.db.execute(_CERTIFICATE, (request.number, _utc(request.decided_at))).fetchone() or ("", nowhere)
        table, listed = ("restricted", "withheld.jsonl") if request.restricts else ("erased", ERASURES)
        there = any(files.db.execute(f"SELECT 1 FROM {table} WHERE id = ? LIMIT 1", (one,)).fetchone() for one in ids)
        found.append(Cited(request, record, path, listed if there else ""))
    return found


def erased(conn: psycopg.Connection[Any], files: Files, project_id: int) -> Iterator[dict[str, Any]]:
    """What ERASURES says of each field that is gone: its reason names the requests that took values of its event and were to take this
    one; none where this service knows of none: evidence was imported, or somebody deleted values behind it."""
    rows = files.db.execute("SELECT id, field FROM erased ORDER BY id, field").fetchall()
    for start in range(0, len(rows), _ASKED):
        page = rows[start : start + _ASKED]
        events = [ids for ids in map(split_id, {public for public, _ in page}) if ids is not None]
        asked = {"keys": [key for key, _ in events], "ids": [event_id for _, event_id in events], "project": project_id}
        took: dict[str, list[tuple[int, list[int]]]] = {}
        for trace_key, event_id, number, fields in conn.execute(_TOOK, asked):
            took.setdefault(public_id(trace_key, event_id), []).append((number, fields))
        for public, field in page:
            by = " and ".join(f"request {number}" for number, fields in took.get(public, ()) if not fields or field in fields)
            yield {"id": public, "field": field, "reason": f"erased from the store before this export{by and f', on {by}'}"}


def _utc(at: datetime) -> str:
    return at.astimezone(UTC).isoformat()
