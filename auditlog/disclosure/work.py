"""Owns the work on exports: one slice at a time, by whoever has its lock, gone on with from where the last one was, whatever ended that.

The lock is of the connection that reads, so that it ends with its process: an export whose worker was killed is taken up by the next hint,
at most half a minute later. The row's `attempts` counts slices that completed no file: what kills each worker ends by itself.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from typing import Any, Final, LiteralString

import msgspec
import psycopg

from auditlog import conf
from auditlog.disclosure import scope, store
from auditlog.disclosure.exports import COLUMNS, GOES_ON, Export, root
from auditlog.disclosure.pace import SLICE, STATEMENT, Pace, Paced, SliceOver, Stopped
from auditlog.disclosure.scope import Chosen
from auditlog.errors import Problem
from auditlog.export.choice import Wish, Withheld
from auditlog.export.files import MANIFEST, Files
from auditlog.export.folder import fill
from auditlog.export.forms import write as forms
from auditlog.export.forms.sessions import Renderer
from auditlog.retention.rows import one, rows
from auditlog.store.connect import connect, url
from auditlog.store.projects import project_secrets

logger = logging.getLogger(__name__)

ATTEMPTS: Final = 20
_LOCK: Final = 7213
_FREE: Final = (  # that nobody works on
    "NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = %(lock)s AND objid = (id %% 2147483648)::oid "
    "AND objsubid = 2 AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
)
_ERASED: Final[LiteralString] = """
    SELECT min(e.id) FROM erasure e WHERE e.project_id = %(project)s AND coalesce(e.recorded_at, 'infinity') > %(since)s AND EXISTS (
      SELECT FROM erasure_item i WHERE i.erasure = e.id AND i.done_at IS NOT NULL
        AND (%(traces)s::uuid[] IS NULL OR i.trace_key = ANY(%(traces)s::uuid[])))"""
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


def open_exports(conn: psycopg.Connection[Any]) -> list[int]:
    """Those that wait for a worker, or whose worker died."""
    query = f"SELECT id FROM export_job WHERE state IN ('waiting', 'running') AND {_FREE} ORDER BY id"
    return [int(row[0]) for row in conn.execute(query.encode(), {"lock": _LOCK})]


def work(number: int, render: Renderer | None = None) -> bool:
    """One slice; `render` sets pages, for exports that have some.

    Returns whether there is more to do now; False also where another process works on it, or nothing is to be done.
    """
    with Paced.connect(url("web"), autocommit=True, application_name=f"auditlog export {os.getpid()}", connect_timeout=3) as reading:
        got = reading.execute("SELECT pg_try_advisory_lock(%s, %s)", (_LOCK, number % 2**31)).fetchone()
        if not got or not got[0]:
            return False
        reading.execute(
            "SELECT set_config('default_transaction_read_only', 'on', false), set_config('statement_timeout', %s, false)", (str(STATEMENT),)
        )
        with connect("web", autocommit=True) as writing:
            taken = one(
                writing,
                "UPDATE export_job SET state = 'running', started_at = coalesce(started_at, now()), seen_at = now(), "
                "attempts = attempts + 1 "
                f"WHERE id = %s AND state IN ('waiting', 'running') RETURNING {COLUMNS}", (number,),
            )  # fmt: skip
            return taken is not None and _attempt(reading, writing, Export(*taken), render)


def _attempt(reading: Paced, writing: psycopg.Connection[Any], job: Export, render: Renderer | None) -> bool:
    if job.attempts > ATTEMPTS:
        _fail(writing, job, f"Nothing was completed in {ATTEMPTS} attempts: {job.error or 'the worker died each time'}.")
        return False
    try:
        _slice(reading, writing, job, render)
    except SliceOver:
        return True
    except Stopped:
        logger.info("export.stopped", extra={"export": job.id})
    except Problem as problem:
        _fail(writing, job, f"{problem.code}: {problem.message}")
    except psycopg.Error as error:  # the next hint tries again
        text = f"{type(error).__name__}: {str(error).strip()}"
        logger.warning("export.interrupted", extra={"export": job.id, "error_kind": type(error).__name__})
        if not writing.closed:
            writing.execute("UPDATE export_job SET error = %s WHERE id = %s", (text, job.id))
    except (OSError, sqlite3.Error) as error:
        full = getattr(error, "errno", None) in _FULL or "disk is full" in str(error)
        todo = f"There is no space left in {root()}. Nothing is lost: make room, then resume." if full else "Resume when it is mended."
        _fail(writing, job, f"{todo} ({type(error).__name__}: {error})")
    except Exception as error:  # whatever it is belongs into the row, where a person sees it
        logger.exception("export.broken", extra={"export": job.id})
        _fail(writing, job, f"{type(error).__name__}: {error}")
    return False


def _slice(reading: Paced, writing: psycopg.Connection[Any], job: Export, render: Renderer | None) -> None:
    if (job.folder / MANIFEST).exists():  # killed, or paused, after its end and before the row knew
        _finish(writing, job)
        return
    forms.check(job.formats, render)
    root().mkdir(mode=0o700, parents=True, exist_ok=True)
    chosen = _chosen(writing, job)
    job.folder.mkdir(mode=0o700, exist_ok=True)
    row = one(writing, "SELECT expected FROM export_job WHERE id = %s", (job.id,))
    with Files(job.folder) as files:
        pace = reading.pace = Pace(writing, job.id, files, int(row[0] or 0) if row else 0)
        fill(reading, project_secrets(writing), wish(job, chosen), files, pace.tell, render)
    _finish(writing, job)


def wish(job: Export, chosen: Chosen) -> Wish:
    """The same at each attempt, or the folder would be another one's."""
    times = scope.between(job.asked)
    withheld = msgspec.convert(job.withheld, list[Withheld])
    return Wish(
        job.project_id, job.project, job.recipient, job.purpose, chosen.sessions, chosen.traces, times.since, times.until, withheld,
        job.formats,
    )  # fmt: skip


def _chosen(conn: psycopg.Connection[Any], job: Export) -> Chosen:
    """What the scope means: asked once, and kept."""
    row = one(conn, "SELECT chosen FROM export_job WHERE id = %s", (job.id,))
    if row is not None and row[0] is not None:
        return msgspec.msgpack.decode(bytes(row[0]), type=Chosen)
    found = scope.choose(job.project_id, job.asked)
    if found.traces is not None and not found.traces:
        raise Problem("export_empty", "No session fulfilled it when the export began.")
    conn.execute(
        "UPDATE export_job SET chosen = %s, chosen_at = now(), expected = %s WHERE id = %s",
        (msgspec.msgpack.encode(found), scope.expected(conn, job.project_id, job.asked, found), job.id),
    )
    return found


def _finish(conn: psycopg.Connection[Any], job: Export) -> None:
    """Reads the manifest rather than what the call said: after a kill nobody says it again."""
    job.folder.with_name(f"{job.folder.name}.progress").unlink(missing_ok=True)
    manifest = (job.folder / MANIFEST).read_bytes()
    read: dict[str, Any] = json.loads(manifest)
    counts = read["counts"] | {"not_sealed": read["scope"]["not_sealed"]}
    if not counts["events"]:
        _remove(job)
        raise Problem("export_empty", f"Nothing of it is sealed yet ({counts['not_sealed']:,} events wait for a checkpoint). Ask again.")
    size = sum(one["bytes"] for one in read["files"]) + len(manifest)
    where = store.address(job.id)
    if where:
        # Before it is known to be there: a copy that nobody knows of would never be removed.
        conn.execute("UPDATE export_job SET copied_to = %s WHERE id = %s", (where, job.id))
        store.put(job.folder, where, _turns(conn, job))
    done = one(
        conn,
        "UPDATE export_job SET state = 'done', finished_at = now(), expires_at = now() + %s * interval '1 day', events = %s, bytes = %s, "
        "counts = %s::jsonb, manifest_sha256 = %s, rate = NULL, seconds_left = NULL, error = '' "
        "WHERE id = %s AND state = 'running' RETURNING id",
        (conf.get("AUDITLOG_EXPORT_DAYS"), counts["events"], size, json.dumps(counts), hashlib.sha256(manifest).digest(), job.id),
    )
    if done is None:
        raise Stopped
    logger.info("export.done", extra={"export": job.id, "events": counts["events"], "bytes": size})


def _turns(conn: psycopg.Connection[Any], job: Export) -> Callable[[], None]:
    """What is called between two files of a copy. It raises Stopped, SliceOver."""
    began = time.monotonic()
    query = "UPDATE export_job SET seen_at = now(), attempts = 0 WHERE id = %s AND state = 'running' RETURNING id"

    def step() -> None:
        if conn.execute(query, (job.id,)).fetchone() is None:
            raise Stopped
        if time.monotonic() - began > SLICE:
            raise SliceOver

    return step


def _fail(conn: psycopg.Connection[Any], job: Export, error: str) -> None:
    conn.execute(
        "UPDATE export_job SET state = 'failed', error = %s, rate = NULL, seconds_left = NULL, expires_at = now() + %s * interval '1 day' "
        "WHERE id = %s AND state = 'running'",
        (error, conf.get("AUDITLOG_EXPORT_DAYS"), job.id),
    )
    logger.error("export.failed", extra={"export": job.id})


def _withdraw(conn: psycopg.Connection[Any]) -> None:
    """Ends exports that may hold what was erased or restricted after they had begun. What was handed out is out of reach."""
    query = f"SELECT {COLUMNS} FROM export_job WHERE started_at IS NOT NULL AND state IN ('waiting', 'running', 'paused', 'done', 'failed')"
    for job in [Export(*row) for row in rows(conn, query)]:
        known = one(conn, "SELECT chosen FROM export_job WHERE id = %s", (job.id,))
        traces = msgspec.msgpack.decode(bytes(known[0]), type=Chosen).traces if known and known[0] is not None else None
        found = conn.execute(_ERASED, {"project": job.project_id, "since": job.started_at, "traces": traces}).fetchone()
        if found is not None and found[0] is not None:
            state = "cancelled" if job.state in GOES_ON else "expired"
            conn.execute("UPDATE export_job SET state = %s, withdrawn_by = %s WHERE id = %s", (state, found[0], job.id))
            logger.info("export.withdrawn", extra={"export": job.id, "erasure": found[0]})


def tidy() -> list[int]:
    """Removes the files of what was cancelled, has expired, or holds what was erased since. Returns those exports."""
    done = []
    with connect("web", autocommit=True) as conn:
        _withdraw(conn)
        conn.execute("UPDATE export_job SET state = 'expired' WHERE state IN ('done', 'failed', 'paused') AND expires_at < now()")
        query = f"SELECT {COLUMNS} FROM export_job WHERE state IN ('cancelled', 'expired') AND removed_at IS NULL ORDER BY id"
        for job in [Export(*row) for row in rows(conn, query)]:
            got = one(conn, "SELECT pg_try_advisory_lock(%s, %s)", (_LOCK, job.id % 2**31))
            if not got or not got[0]:
                continue  # whoever writes it stops within moments
            try:
                _remove(job)
                conn.execute("UPDATE export_job SET removed_at = now(), error = '' WHERE id = %s", (job.id,))
                logger.info("export.removed", extra={"export": job.id, "state": job.state})
                done.append(job.id)
            except Problem as problem:  # its files here are gone; the copy is tried again
                conn.execute("UPDATE export_job SET error = %s WHERE id = %s", (f"{problem.code}: {problem.message}", job.id))
                logger.error("export.copy_stays", extra={"export": job.id})
            conn.execute("SELECT pg_advisory_unlock(%s, %s)", (_LOCK, job.id % 2**31))
    return done


def _remove(job: Export) -> None:
    (job.folder / MANIFEST).unlink(missing_ok=True)  # first: a half-removed folder must not look finished
    if job.folder.exists():
        shutil.rmtree(job.folder)
    job.folder.with_name(f"{job.folder.name}.progress").unlink(missing_ok=True)
    store.beside(job.folder).unlink(missing_ok=True)
    if job.copied_to:
        store.remove(job.copied_to)
