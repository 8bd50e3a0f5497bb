"""Owns what tests of retention stand on: a project whose class is over after a day, sessions in a period that has ended, and two people."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import zstandard
from psycopg.types.json import Jsonb

from auditlog import governance, models
from auditlog.derive import read
from auditlog.derive.timeline import Timelines, build
from auditlog.governance import Actor
from auditlog.item import Item
from auditlog.retention import dispositions, execute, holds
from auditlog.retention.dispositions import Disposition
from auditlog.seal.sealer import Sealer
from auditlog.secrets import new_project_secret, wrap
from auditlog.store import partitions
from auditlog.store.connect import connect
from auditlog.store.projects import project_secrets
from auditlog.store.reader import Stored
from auditlog.store.writer import Project, Written
from auditlog.verify.batches import check_batch
from tests import sealing
from tests.db.api.conftest import PEOPLE, db
from tests.db.api.talks import LONG, talk
from tests.db.derived import NOW, Bench, owner
from tests.emptying import empty

__all__ = ["db", "owner"]

ANA = Actor("person", "1", "ana")
BOB = Actor("person", "2", "bob")
MARKER = "zebrafinch"
_numbers = itertools.count(9_000)  # a class for each test: what one disposes of is in no other's way


class Case:
    """A project whose evidence is due the day after its day has ended."""

    def __init__(self, owner: psycopg.Connection[Any]) -> None:
        self.conn = owner
        self.class_no = next(_numbers)
        self.version(1)
        secret = new_project_secret()
        slug = f"case-{self.class_no}"
        self.row = models.Project.objects.create(name="Case", slug=slug, secret_wrapped=wrap(secret), class_no=self.class_no, period="day")
        self.id = self.row.pk
        self.bench = Bench(owner, Project(self.id, secret, self.class_no, "day", 1))
        self.secrets = project_secrets(owner)
        self.past = NOW - timedelta(days=4)
        self.bucket = partitions.bucket_at(self.class_no, "day", self.past).number

    def version(self, number: int, days: int = 1, second_person: bool = False) -> None:
        self.conn.execute(
            "INSERT INTO retention_class (class_no, version, name, days, basis, second_person, created_by, in_force_at) "
            "VALUES (%s, %s, 'A day', %s, 'none', %s, %s, now())",
            (self.class_no, number, days, second_person, Jsonb({"kind": "service", "id": "test", "name": "test"})),
        )

    def send(self, items: Sequence[Item], days_ago: int = 4) -> Written:
        return self.bench.send(items, NOW - timedelta(days=days_ago))

    def talk(self, session: str, turns: int = 2, days_ago: int = 4) -> Written:
        return self.send(talk(session, turns, f"{MARKER} {session} {LONG}"), days_ago)

    def derive(self) -> None:
        self.bench.derive()

    def gaps(self, key: str) -> list[dict[str, Any]]:
        """Of a session's timeline: the same whether it is made alone or among others that the pass reads at once."""
        facts = read.session_facts(self.conn.cursor(), read.current_edition(self.conn.cursor()), self.id, key)
        assert facts is not None
        among = Timelines(self.bench.reader)
        among.ahead([facts])
        assert among.is_read(facts)
        gaps: list[dict[str, Any]] = build(self.bench.reader, facts)["completeness"]["gaps"]
        assert among(facts)["completeness"]["gaps"] == gaps
        return gaps

    def hold(self, **scope: str) -> holds.Hold:
        return holds.place(self.conn, ANA, self.id, "Case 7", "Subpoena", scope)

    def propose(self) -> Disposition:
        return dispositions.propose(self.conn, ANA, self.bucket)

    def execute(self, number: int, **how: Any) -> dict[str, Any]:
        return execute.execute(self.conn, BOB, number, self.secrets, **how)

    def dispose(self) -> dict[str, Any]:
        return self.execute(self.propose().id)

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.conn.execute(query.encode(), values).fetchall()

    def events(self, session: str) -> list[Stored]:
        """What is stored of a session that `talk` made."""
        trace = session.encode().rjust(16, b"\1")[-16:]
        return self.bench.reader.load(
            self.bench.reader.rows_of_traces(self.id, [key for (key,) in self.rows("SELECT %s::uuid", trace.hex())])
        )

    def sessions(self) -> list[str]:
        return [bytes(row[0]).decode() for row in self.rows("SELECT session_id FROM session WHERE project_id = %s ORDER BY 1", self.id)]

    def faults(self) -> list[Any]:
        numbers = self.rows("SELECT batch_no FROM batch WHERE project_id = %s", self.id)
        return [fault for (number,) in numbers for fault in check_batch(self.conn, number, self.secrets)]

    def found_anywhere(self, text: str) -> set[str]:
        """The tables and columns in which this text stands, compressed or not."""
        found = set()
        columns = self.rows(
            "SELECT quote_ident(c.table_schema) || '.' || quote_ident(c.table_name), quote_ident(c.column_name), c.data_type "
            "FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name) "
            "WHERE t.table_type = 'BASE TABLE' AND c.table_schema IN ('public', 'draft', 'pgmq')"
        )
        for table, column, kind in columns:
            if kind == "bytea":
                hit = any(text.encode() in plain(row[0]) for row in self.rows(f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL"))
            else:
                hit = bool(self.rows(f"SELECT FROM {table} WHERE position(%s IN {column}::text) > 0 LIMIT 1", text))
            if hit:
                found.add(f"{table}.{column}")
        return found


def plain(data: bytes) -> bytes:
    """Both what is stored and what it is when it is decompressed."""
    try:
        return bytes(data) + zstandard.ZstdDecompressor().decompressobj().decompress(data)
    except zstandard.ZstdError:
        return bytes(data)


@pytest.fixture
def case(db: None, owner: psycopg.Connection[Any]) -> Iterator[Case]:
    empty(owner, "restricted", "restricted_session", "erasure_content", "erasure_item", "erasure", "session_loss", "disposition")
    empty(owner, "hold", "agent_flag", "clock_event", "reclassified", "retention_rules", *PEOPLE)
    owner.execute("DELETE FROM retention_class WHERE class_no < 9000 AND version > 1")
    owner.execute("DELETE FROM retention_class WHERE class_no BETWEEN 5 AND 8999")
    made = Case(owner)
    yield made
    made.bench.close()
    governance.close()


def seal(case: Case, key_file: Path) -> None:
    """Seals everything that is stored in a log of its own."""
    empty(case.conn, *sealing.TABLES)
    with connect("sealer", autocommit=True) as conn:
        sealer = Sealer(conn, key_file)
        sealer.drain()
        sealer.release()
