"""Owns what tests of the pass stand on: an empty set of evidence and derived tables, a project, and the pass itself."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, LiteralString

import psycopg
import pytest

from auditlog.derive import rebuild
from auditlog.derive.consume import Pass, declaring
from auditlog.derive.summary import summarise
from auditlog.derive.text import Texts, index_texts
from auditlog.derive.timeline import Timelines
from auditlog.item import Item
from auditlog.store.connect import connect
from auditlog.store.reader import Reader
from auditlog.store.writer import Project, Writer, Written
from tests import emptying, sealing

DERIVED = (
    *("derived", "part_leaves", "derive_failure", "tally", "trace", "declared", "session", "quarantined", "access_log"),
    *("action", "action_value", "action_amount", "session_term", "version", "search_text", "timeline_part"),
)
FOUND: dict[LiteralString, str] = {  # tables that a session's summary writes, and an order of their rows
    "action": "session_key, step",
    "action_value": "session_key, step, n",
    "action_amount": "session_key, step, n",
    "session_term": "session_key, digest",
    "version": "digest",
    "search_text": "session_key, n",
    "timeline_part": "session_key, n",
}
NOW = datetime.now(UTC)


def empty(conn: psycopg.Connection[Any]) -> None:
    emptying.empty(conn, *DERIVED, "part", "batch", "event", "content", "tombstone", *sealing.TABLES)
    conn.execute("UPDATE bucket SET generation = generation + 1")  # what writers remember of content is void
    conn.execute("DELETE FROM edition")  # as after the first migration, whatever a test of rebuilding left
    conn.execute("INSERT INTO edition (number, state) VALUES (1, 'current')")


@pytest.fixture
def owner(django_db_setup: None) -> Iterator[psycopg.Connection[Any]]:
    with connect("owner", autocommit=True) as conn:
        empty(conn)  # before, never after: the transaction around a test of pages would be waited for
        emptying.drop_buckets(conn)
        yield conn


class Bench:
    """A project with its writer and its pass, over the roles that production uses."""

    def __init__(self, owner: psycopg.Connection[Any], project: Project | None = None) -> None:
        self.owner = owner
        self.project = project or Project(secrets.randbelow(2**30), secrets.token_bytes(32), 1, "month")
        self.writer = Writer(lambda: connect("ingest"))
        self.conn = connect("derive", autocommit=True)
        self.reader = Reader(self.conn, lambda _: self.project.secret)
        self.texts = Texts()

    def send(self, items: Sequence[Item], received_at: datetime = NOW) -> Written:
        return self.writer.write(self.project, items, key_id=None, protocol=1, received_at=received_at)

    def new_pass(self) -> Pass:
        """As after a start: nothing is remembered but what the database holds."""
        self._leave()
        self.conn = connect("derive", autocommit=True)
        self.reader = Reader(self.conn, lambda _: self.project.secret)
        return Pass(self.conn, declaring(self.reader))

    def derive(self) -> None:
        work = self.new_pass()
        work.drain()
        self.owner.execute("UPDATE session SET summary_seconds = 0")  # a test does not wait until a summary may be written again
        while summarise(self.conn, work.edition, Timelines(self.reader), self.texts):
            pass
        while index_texts(self.conn, work.edition, self.texts, Timelines(self.reader)):
            pass

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.owner.execute(query).fetchall()

    def state(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every derived row that may not depend on when or in which order things arrived."""
        return {
            "trace": self.rows("SELECT trace_key, trace_id, own_key, session_key, buckets, first_at, last_at FROM trace ORDER BY 1"),
            "declared": self.rows("SELECT trace_key, kind, digest, value, rank FROM declared ORDER BY 1, 2, 3"),
            "session": self.rows(
                "SELECT key, session_id, declared, traces, started_at, ended_at, sort_at, agent_name, agent_version, opening, totals, "
                "verdict, gaps, findings, last_action, error, stale_since, cut, model_calls, tool_calls, cost_usd, text_due "
                "FROM session ORDER BY 1"
            ),
            **{table: self.rows(f"SELECT {rebuild.TABLES[table]} FROM {table} ORDER BY {order}") for table, order in FOUND.items()},
            "access_log": self.rows(f"SELECT {rebuild.TABLES['access_log']} FROM access_log ORDER BY trace_key, event_id"),
            "tally": self.rows("SELECT events, quarantined FROM tally"),
        }

    def wipe(self) -> None:
        empty(self.owner)

    def close(self) -> None:
        self.writer.close()
        self._leave()

    def _leave(self) -> None:
        """Gives the lock back first: of a connection that is closed it is held until its server process has ended, which may be late."""
        if not self.conn.closed:
            self.conn.execute("SELECT pg_advisory_unlock_all()")
        self.conn.close()


@pytest.fixture
def bench(owner: psycopg.Connection[Any]) -> Iterator[Bench]:
    made = Bench(owner)
    yield made
    made.close()
