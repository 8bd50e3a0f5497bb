"""Owns the rows of exports: asked for, paused, gone on with, cancelled, listed; and to whom each was released.

The row is the job. Whoever changes it here is recorded first; a worker (auditlog/disclosure/work.py) looks at its state while it writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, LiteralString, NamedTuple

import msgspec
import psycopg
from django.db import transaction
from django.dispatch import Signal
from psycopg.types.json import Jsonb

from auditlog import conf
from auditlog.disclosure import scope
from auditlog.disclosure.scope import Asked
from auditlog.errors import Problem
from auditlog.export.choice import Withheld
from auditlog.export.forms.write import EVIDENCE, FORMS
from auditlog.governance import Actor
from auditlog.retention import recording
from auditlog.retention.rows import one, rows
from auditlog.search import parameters

FORMATS: Final = (EVIDENCE, *FORMS)  # names that a request may give; the folder has the first one in any case
GOES_ON: Final = ("waiting", "running")
waiting: Final = Signal()
"""Sent after COMMIT with `number`: an export waits for a worker. Whoever knows the broker listens; a lost one is found by the clock."""

COLUMNS: Final[LiteralString] = (  # as Export has them
    "id, project_id, project, client_key, scope, formats, withheld, recipient, purpose, requested_by, requested_at, state, chosen_at, "
    "attempts, expected, events, bytes AS size, rate, seconds_left, started_at, finished_at, counts, manifest_sha256, expires_at, "
    "removed_at, error, copied_to, withdrawn_by"
)


class Export(NamedTuple):
    """A row, but for what its scope meant. size: bytes so far; rate: bytes a second; requested_by: {"kind", "id", "name"}."""

    id: int
    project_id: int
    project: str
    client_key: str | None
    scope: dict[str, Any]
    formats: list[str]
    withheld: list[dict[str, Any]]
    recipient: str
    purpose: str
    requested_by: dict[str, str]
    requested_at: datetime
    state: str
    chosen_at: datetime | None
    attempts: int
    expected: int | None
    events: int
    size: int
    rate: float | None
    seconds_left: float | None
    started_at: datetime | None
    finished_at: datetime | None
    counts: dict[str, int] | None
    manifest_sha256: bytes | None
    expires_at: datetime | None
    removed_at: datetime | None
    error: str
    copied_to: str
    withdrawn_by: int | None = None  # the request of erasure for which its files went

    @property
    def asked(self) -> Asked:
        return msgspec.convert(self.scope, Asked)

    @property
    def folder(self) -> Path:
        return root() / str(self.id)


class Release(NamedTuple):
    """To whom an export was given, what for, and what was in it."""

    id: int
    export_job: int
    recipient: str
    purpose: str
    description: str
    released_by: dict[str, str]
    released_at: datetime


class Wanted(msgspec.Struct, frozen=True):
    """What somebody asks for. client_key: theirs, so that a repetition is the same export."""

    scope: Asked
    recipient: str
    purpose: str
    withheld: list[Withheld] = []
    formats: list[str] = []
    client_key: str | None = None


def root() -> Path:
    """The folder of all exports."""
    found: Path = conf.get("AUDITLOG_EXPORTS") or conf.get("AUDITLOG_DATA") / "exports"
    return found


def request(conn: psycopg.Connection[Any], actor: Actor, project_id: int, wanted: Wanted) -> Export:
    """A new export, or the one of the same client_key. Raises Problem: of `scope.check`, "parameter_invalid", "state_conflict"."""
    _texts(recipient=wanted.recipient, purpose=wanted.purpose, client_key=wanted.client_key or "none")
    for name in wanted.formats:
        parameters.one_of("formats", name, FORMATS)
    known = _known(conn, project_id, wanted)
    if known is not None:
        return known
    scope.check(project_id, wanted.scope)
    kept: dict[str, Any] = msgspec.to_builtins(wanted.scope)
    withheld = msgspec.to_builtins(wanted.withheld)
    with transaction.atomic():
        row = one(
            conn,
            "INSERT INTO export_job (project_id, project, client_key, scope, formats, withheld, recipient, purpose, requested_by) "
            "SELECT id, name, %s, %s, %s, %s, %s, %s, %s FROM project WHERE id = %s "
            "ON CONFLICT (project_id, client_key) DO NOTHING RETURNING id",
            (wanted.client_key, Jsonb(kept), list(wanted.formats), Jsonb(withheld), wanted.recipient, wanted.purpose,
             Jsonb(recording.who(actor)), project_id),
        )  # fmt: skip
        if row is not None:
            about = {"export": row[0], "recipient": wanted.recipient, "purpose": wanted.purpose, "scope": kept, "withheld": len(withheld)}
            recording.record(conn, [project_id], actor, "export.request", about)
            transaction.on_commit(lambda: _send(row[0]))
    if row is None:  # the same request at the same moment
        return _known(conn, project_id, wanted) or request(conn, actor, project_id, wanted)
    return get(conn, project_id, row[0])


def _send(number: int) -> None:
    waiting.send(sender=None, number=number)


def _known(conn: psycopg.Connection[Any], project_id: int, wanted: Wanted) -> Export | None:
    """The export of the same key. Raises Problem("state_conflict") where that was asked for something else."""
    if wanted.client_key is None:
        return None
    row = one(conn, f"SELECT {COLUMNS} FROM export_job WHERE project_id = %s AND client_key = %s", (project_id, wanted.client_key))
    if row is None:
        return None
    found = Export(*row)
    asked = (found.scope, found.withheld, found.recipient, found.purpose, found.formats)
    now = (msgspec.to_builtins(wanted.scope), msgspec.to_builtins(wanted.withheld), wanted.recipient, wanted.purpose, wanted.formats)
    if asked != now:
        raise Problem("state_conflict", f"This client_key asked for export {found.id} before, with another scope, recipient or purpose.")
    return found


def _texts(**given: str) -> None:
    for name, text in given.items():
        if not text.strip() or "\0" in text:
            raise parameters.invalid(name, "is empty or contains a NUL. It is a text that others will read.")


def get(conn: psycopg.Connection[Any], project_id: int, number: int) -> Export:
    """Raises Problem("not_found")."""
    row = one(conn, f"SELECT {COLUMNS} FROM export_job WHERE project_id = %s AND id = %s", (project_id, min(number, 2**63 - 1)))
    if row is None:
        raise Problem("not_found", "There is no such export in this project.")
    return Export(*row)


def listed(conn: psycopg.Connection[Any], project_id: int, below: int | None = None, limit: int | None = None) -> list[Export]:
    """Exports of a project, newest first."""
    query = f"SELECT {COLUMNS} FROM export_job WHERE project_id = %s AND (%s::bigint IS NULL OR id < %s) ORDER BY id DESC LIMIT %s"
    return [Export(*row) for row in rows(conn, query, (project_id, below, below, limit))]


def pause(conn: psycopg.Connection[Any], actor: Actor, project_id: int, number: int) -> Export:
    """What is complete stays; whoever works on it stops within moments. Raises Problem("not_found", "state_conflict")."""
    return _turn(conn, actor, project_id, number, "export.pause", GOES_ON, "paused")


def resume(conn: psycopg.Connection[Any], actor: Actor, project_id: int, number: int) -> Export:
    """Goes on after the last complete file. Raises Problem("not_found", "state_conflict")."""
    found = _turn(conn, actor, project_id, number, "export.resume", ("paused", "failed"), "waiting")
    _send(number)
    return found


def cancel(conn: psycopg.Connection[Any], actor: Actor, project_id: int, number: int) -> Export:
    """For good: its files go. Raises Problem("not_found", "state_conflict")."""
    return _turn(conn, actor, project_id, number, "export.cancel", ("waiting", "running", "paused", "failed"), "cancelled")


def _turn(
    conn: psycopg.Connection[Any], actor: Actor, project_id: int, number: int, action: Any, before: Sequence[str], after: str
) -> Export:
    found = get(conn, project_id, number)
    days = conf.get("AUDITLOG_EXPORT_DAYS") if after == "paused" else None  # what nobody goes on with does not lie there for ever
    with transaction.atomic():
        row = one(
            conn,
            "UPDATE export_job SET state = %s, attempts = 0, rate = NULL, seconds_left = NULL, error = '', "
            "expires_at = now() + %s * interval '1 day' WHERE id = %s AND state = ANY(%s) RETURNING id",
            (after, days, found.id, list(before)),
        )
        if row is None:
            state = get(conn, project_id, number).state
            raise Problem("state_conflict", f"Export {number} is {state}; this takes one that is {' or '.join(before)}.")
        recording.record(conn, [project_id], actor, action, {"export": found.id})
    return get(conn, project_id, number)


def release(
    conn: psycopg.Connection[Any], actor: Actor, project_id: int, number: int, recipient: str, purpose: str, description: str
) -> Release:
    """Writes down that a finished export is given to somebody. Raises Problem("not_found", "state_conflict", "parameter_invalid")."""
    _texts(recipient=recipient, purpose=purpose, description=description)
    found = finished(get(conn, project_id, number), "released")
    with transaction.atomic():
        row = one(
            conn,
            "INSERT INTO export_release (export_job, recipient, purpose, description, released_by) VALUES (%s, %s, %s, %s, %s) "
            "RETURNING id, export_job, recipient, purpose, description, released_by, released_at",
            (found.id, recipient, purpose, description, Jsonb(recording.who(actor))),
        )
        assert row is not None
        about = {"export": found.id, "release": row[0], "recipient": recipient, "purpose": purpose, "description": description}
        manifest = found.manifest_sha256 and found.manifest_sha256.hex()
        recording.record(conn, [project_id], actor, "export.release", about | {"manifest_sha256": manifest})
    return Release(*row)


def finished(found: Export, what: str) -> Export:
    """Raises Problem("state_conflict") unless its files are complete and there."""
    if found.state != "done":
        why = f"its files were removed on {found.removed_at:%Y-%m-%d}" if found.removed_at else f"it is {found.state}"
        raise Problem("state_conflict", f"Export {found.id} cannot be {what}: {why}.")
    return found


def releases(conn: psycopg.Connection[Any], numbers: Sequence[int]) -> dict[int, list[Release]]:
    """Of these exports, oldest first."""
    found: dict[int, list[Release]] = {number: [] for number in numbers}
    query = (
        "SELECT id, export_job, recipient, purpose, description, released_by, released_at FROM export_release "
        "WHERE export_job = ANY(%s) ORDER BY id"
    )
    for row in rows(conn, query, (list(numbers),)):
        found[row[1]].append(Release(*row))
    return found
