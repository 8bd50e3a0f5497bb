"""Owns the sessions of an export: which there are, and each made again from the records that the export has, and from nothing else.

Which traces are a session is what the derived tables said when the export began. What its page and rows say comes from the events: a
range, what is withheld and what is not sealed yet is left out of them as it is of the evidence.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final, LiteralString, NamedTuple, Protocol

import msgspec
import psycopg

from auditlog.derive import missing, read
from auditlog.derive.index import clean
from auditlog.derive.summary import opening
from auditlog.derive.timeline import build
from auditlog.export import certificates
from auditlog.export.certificates import Cited
from auditlog.export.choice import Wish
from auditlog.export.files import Draft, Files, Interrupted
from auditlog.reconstruct import actions
from auditlog.store import unpack
from auditlog.store.reader import Reader, Row, Secrets, public_id

log = logging.getLogger(__name__)
_PORTION: Final = 500
_KEPT: Final = 200  # sessions after which rows are kept, where no page is written
_encode = msgspec.json.Encoder().encode
_SESSIONS: Final[LiteralString] = """
    SELECT s.sort_at, s.key,
      ARRAY(SELECT t.trace_key FROM trace t WHERE t.session_key = s.key AND t.edition = s.edition AND t.project_id = s.project_id
            ORDER BY coalesce(t.first_at, t.received_first), t.trace_key),
      ARRAY(SELECT d.id || ' of ' || to_char(d.ended_at AT TIME ZONE 'UTC', 'YYYY-MM-DD') FROM session_loss l
            JOIN disposition d ON d.id = l.disposition WHERE l.session_key = s.key AND l.project_id = s.project_id ORDER BY d.id)
    FROM session s WHERE s.project_id = %(project)s AND s.edition = %(edition)s
      AND (%(keys)s::text[] IS NULL OR s.key = ANY(%(keys)s))
      AND (%(at)s::timestamptz IS NULL OR (s.sort_at, s.key) > (%(at)s, %(key)s))
      AND (%(all)s OR EXISTS (SELECT FROM trace t WHERE t.session_key = s.key AND t.edition = s.edition AND t.project_id = s.project_id
                              AND (%(since)s::timestamptz IS NULL OR t.received_last >= %(since)s)
                              AND (%(until)s::timestamptz IS NULL OR t.received_first < %(until)s)))
    ORDER BY s.sort_at, s.key LIMIT %(portion)s"""


class Page(NamedTuple):
    """One session as it is handed over. records: (event ID, batch) of each that it is made from; error: why there is no timeline; cited:
    the requests by which values of these records are missing."""

    key: str
    timeline: dict[str, Any] | None
    records: list[tuple[str, int]]
    project: str
    made_at: str
    error: str
    cited: Sequence[Cited] = ()


class Renderer(Protocol):
    """How sessions are set as HTML: of the pages' layer, which this one does not know."""

    def session(self, page: Page) -> bytes: ...

    def index(self, project: str, made_at: str, rows: Iterator[dict[str, Any]]) -> Iterator[bytes]: ...


class Held(Reader):
    """Reads of a session what the export holds of it."""

    def __init__(self, conn: psycopg.Connection[Any], secrets: Secrets, wish: Wish, size: int) -> None:
        super().__init__(conn, secrets)
        self._wish, self._size = wish, size
        self._hidden: dict[str, list[int | None]] = {}
        for one in wish.withheld:
            self._hidden.setdefault(one.id, []).append(one.field)
        self.records: list[tuple[str, int]] = []  # of the session that was read last
        self.events: list[tuple[uuid.UUID, uuid.UUID]] = []  # the same as they are stored
        self._requests: list[missing.Request] | None = None

    def rows_of_traces(
        self, project_id: int, trace_keys: Sequence[uuid.UUID], limit: int | None = None, most: int = 1 << 62,
        since: datetime | None = None, until: datetime | None = None,
    ) -> list[Row]:  # fmt: skip
        self.records, self.events, self._requests = [], [], None  # should this fail, nothing of the session before it is told of this one
        rows = super().rows_of_traces(project_id, trace_keys, limit, most, since or self._wish.since, until or self._wish.until)
        query = "SELECT batch_no, bucket FROM leaf WHERE batch_no = ANY(%s) AND leaf_index < %s"
        sealed = set(self.conn.execute(query, (sorted({row[3] for row in rows}), self._size)).fetchall())
        found = [self._without(row) for row in rows if (row[3], row[2]) in sealed and None not in self._hidden.get(_id(row), ())]
        self.records = [(_id(row), row[3]) for row in found]
        self.events = [(row[0], row[1]) for row in found]
        return found

    def requests(self) -> list[missing.Request]:
        """By which values are missing from the session that was read last; asked once, so that its page says the same everywhere."""
        if self._requests is None:
            self._requests = missing.of_events(self.conn, self._wish.project_id, self.events)
        return self._requests

    def _without(self, row: Row) -> Row:
        vals = row[-1]
        for field in self._hidden.get(_id(row), ()):
            vals = None if vals is None or field is None else unpack.erase(bytes(vals), field)
        return (*row[:-1], vals)


def _id(row: Row) -> str:
    return public_id(row[0], row[1])


def choose(conn: psycopg.Connection[Any], files: Files, wish: Wish) -> None:
    """Writes down which sessions there are and which traces are theirs, once."""
    asked: dict[str, Any] = {
        "project": wish.project_id, "edition": read.current_edition(conn.cursor()), "keys": None, "at": None, "key": "",
        "since": wish.since, "until": wish.until, "all": not (wish.since or wish.until), "portion": _PORTION,
    }  # fmt: skip
    mine = None if wish.trace_keys is None else set(wish.trace_keys)
    if mine is not None:
        asked["keys"] = wish.sessions
    while rows := conn.execute(_SESSIONS, asked).fetchall():
        for _, key, traces, lost in rows:
            kept = b"".join(one.bytes for one in traces if mine is None or one in mine)
            files.db.execute("INSERT INTO session (key, traces, lost) VALUES (?, ?, ?)", (key, kept, _encode(lost)))
        asked |= {"at": rows[-1][0], "key": rows[-1][1]}


def write(files: Files, reader: Held, wish: Wish, made_at: str, render: Renderer | None) -> None:
    """Each session's page, and its rows into the progress; then the index of the pages."""
    last = files.get("sessions") or 0
    query = "SELECT n, key, traces, lost FROM session WHERE n > ? ORDER BY n LIMIT 1"
    while found := files.db.execute(query, (last,)).fetchone():
        files.step()
        last, key, traces, lost = found
        facts = read.SessionFacts(
            key=key, project_id=wish.project_id, session_id="", trace_ids=[], user_ids=[], customer_ids=[], subjects=[], agents=[],
            trace_keys=[uuid.UUID(bytes=traces[at : at + 16]) for at in range(0, len(traces), 16)], lost=msgspec.json.decode(lost),
        )  # fmt: skip
        page = _page(files, reader, facts, wish, made_at)
        files.put("sessions", last)
        if page.records or page.error:
            _rows(files, last, page)
            if render is not None:
                files.write(f"sessions/{key}.html", render.session(page))
        if last % _KEPT == 0:
            files.commit()
    files.commit()
    if render is not None and not files.has("index.html"):
        draft = Draft(files)
        for piece in render.index(wish.project, made_at, rows(files, "sessions")):
            draft.add(piece)
        draft.keep("index.html", None)


def _page(files: Files, reader: Held, facts: read.SessionFacts, wish: Wish, made_at: str) -> Page:
    timeline, error = None, ""
    try:
        timeline = build(reader, facts, reader.requests)
    except (psycopg.Error, Interrupted):  # nothing that the session holds
        raise
    except Exception as problem:  # noqa: BLE001 - whatever one session holds must not keep the others from being handed over
        log.error("export.session_failed", extra={"session": facts.key, "error_kind": type(problem).__name__})
        error = type(problem).__name__
    cited = certificates.cited(files, reader.requests(), [public for public, _ in reader.records])
    return Page(facts.key, timeline, reader.records, wish.project, made_at, error, cited)


def rows(files: Files, kind: str) -> Iterator[dict[str, Any]]:
    """What was written down of sessions or actions, in order."""
    for (line,) in files.db.execute("SELECT line FROM line WHERE kind = ? ORDER BY n, i", (kind,)):
        files.step()
        yield msgspec.json.decode(line)


def _rows(files: Files, n: int, page: Page) -> None:
    made = [("sessions", 0, _session(page))]
    of: dict[str, Any] = {name: made[0][2][name] for name in ("session_id", "session_key", "agent", "agent_version", "customers", "users")}
    for step in (page.timeline or {"steps": []})["steps"]:
        if step["kind"] == "tool_call":
            made.append(("actions", step["n"], of | _action(step)))
    files.db.executemany("INSERT OR REPLACE INTO line VALUES (?, ?, ?, ?)", [(kind, n, i, _encode(clean(row))) for kind, i, row in made])


def _session(page: Page) -> dict[str, Any]:
    said = page.timeline or {"agent": {}, "totals": {}, "completeness": {}}
    completeness = said["completeness"] or {}
    cost = said["totals"].get("cost_usd")
    return {
        "started_utc": said.get("started_at"), "ended_utc": said.get("ended_at"), "session_id": said.get("session_id"),
        "session_key": page.key, "agent": said["agent"].get("name"), "agent_version": said["agent"].get("version"),
        "customers": said.get("customer_ids", []), "users": said.get("user_ids", []), "request": opening(said.get("steps", [])),
        "model_calls": said["totals"].get("model_calls"), "tool_calls": said["totals"].get("tool_calls"),
        "cost_usd": format(cost, ".12f") if cost is not None and abs(cost) < 1e25 else None,
        "trail": "failed" if page.error else completeness.get("verdict"), "gaps": len(completeness.get("gaps", [])),
        "records": len(page.records),
    }  # fmt: skip


def _action(step: dict[str, Any]) -> dict[str, Any]:
    action = actions.action(step)
    line = actions.line(action)
    return {
        "time_utc": action.at, "step": action.step + 1, "tool": action.tool, "call_id": action.call_id, "outcome": action.outcome,
        "amount": line["amount"], "currency": line["currency"], "object": line["object"], "offered": action.offered,
        "arguments_valid": action.arguments_valid, "records": list(action.event_ids),
    }  # fmt: skip


# Columns of the rows above in the order of files, with their types as forms/parquet.py names them.
COLUMNS: Final = {
    "sessions": {
        "started_utc": "time", "ended_utc": "time", "session_id": "string", "session_key": "string", "agent": "string",
        "agent_version": "string", "customers": "list", "users": "list", "request": "string", "model_calls": "int64",
        "tool_calls": "int64", "cost_usd": "money", "trail": "string", "gaps": "int64", "records": "int64",
    },
    "actions": {
        "time_utc": "time", "session_id": "string", "session_key": "string", "agent": "string", "agent_version": "string",
        "customers": "list", "users": "list", "step": "int64", "tool": "string", "call_id": "string", "outcome": "string",
        "amount": "money", "currency": "string", "object": "string", "offered": "bool_", "arguments_valid": "bool_", "records": "list",
    },
}  # fmt: skip
