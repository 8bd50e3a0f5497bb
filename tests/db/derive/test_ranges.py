"""Owns the checks that the index by batch number knows what was written last, whoever holds the table meanwhile."""

from __future__ import annotations

import psycopg
import pytest

from auditlog.store.connect import connect
from auditlog.store.ranges import Ranges
from tests.db.api.talks import talk
from tests.db.derived import Bench

pytestmark = pytest.mark.django_db
PAGES = 32  # of a range


class Table:
    """The partition that the items of a bench go into."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.conn = bench, bench.owner
        self.last = 0

    def write(self, sessions: int = 120) -> None:
        """Some 260 pages: several ranges, and a begun one."""
        for number in range(sessions):
            self.last = self.bench.send(talk(f"s-{self.last}-{number}", 12)).batch_no

    @property
    def name(self) -> str:
        row = self.conn.execute("SELECT tableoid::regclass::text FROM event WHERE batch_no = %s LIMIT 1", (self.last,)).fetchone()
        assert row is not None
        return str(row[0])

    def pages(self) -> int:
        row = self.conn.execute("SELECT pg_relation_size(%s::regclass) / 8192", (self.name,)).fetchone()
        assert row is not None
        return int(row[0])

    def read(self, batch_no: int) -> int:
        """Pages that a look for a batch reads."""
        with self.conn.transaction():
            self.conn.execute("SET LOCAL enable_seqscan = off")
            query = f"EXPLAIN (ANALYZE, FORMAT JSON) SELECT count(*) FROM {self.name} WHERE batch_no = {batch_no}"
            row = self.conn.execute(query.encode()).fetchone()
        assert row is not None
        return int(row[0][0]["Plan"]["Plans"][0]["Lossy Heap Blocks"])


@pytest.fixture
def table(bench: Bench) -> Table:
    return Table(bench)


def test_a_look_for_a_batch_reads_a_range_or_two_and_the_one_that_is_written(table: Table) -> None:
    table.write()
    first = table.last
    assert table.read(first) >= table.pages() - PAGES > 4 * PAGES, "nothing is known of what was written"
    with connect("derive", autocommit=True) as conn:
        ranges = Ranges(conn)
        ranges.catch_up()
        assert table.read(first) <= 3 * PAGES
        table.write()
        assert table.read(first) > 4 * PAGES
        ranges.catch_up()
        assert table.read(first) <= 3 * PAGES and table.read(table.last) <= 3 * PAGES


def test_whoever_holds_the_table_is_not_waited_for_and_it_is_made_up_for(table: Table) -> None:
    table.write()
    with connect("derive", autocommit=True) as conn:
        ranges = Ranges(conn)
        with connect("owner") as other:
            other.execute(f"LOCK TABLE {table.name} IN SHARE UPDATE EXCLUSIVE MODE".encode())  # as VACUUM does
            ranges.catch_up()
            assert table.read(table.last) >= table.pages() - PAGES > 4 * PAGES
        ranges.catch_up()
        assert table.read(table.last) <= 3 * PAGES


def test_the_background_pass_keeps_it_up(table: Table) -> None:
    table.write()
    table.bench.derive()
    assert table.read(table.last) <= 3 * PAGES


@pytest.mark.parametrize("role", ["ingest", "web", "sealer"])
def test_nobody_else_may(table: Table, role: str) -> None:
    with connect(role, autocommit=True) as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute("SELECT summarize_ranges(1, 0)")
