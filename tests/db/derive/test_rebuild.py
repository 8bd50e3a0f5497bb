"""Owns the checks of rebuilding: a new edition equal to the live one, swapped whole, wherever it is killed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command

from auditlog.derive import rebuild
from auditlog.derive.consume import NotAlone, Pass, declaring
from auditlog.derive.timeline import Timelines
from auditlog.item import Item
from auditlog.store.connect import connect
from auditlog.store.reader import Reader
from tests import corpus
from tests.db.derive.test_pass import span
from tests.db.derived import Bench

pytestmark = pytest.mark.django_db


def real(name: str = "openinference/chat_refund") -> list[Item]:
    return list(corpus.items(name))


class Rebuilding:
    """One process that rebuilds."""

    def __init__(self, bench: Bench, conn: psycopg.Connection[Any]) -> None:
        self.bench = bench
        self.conn = conn
        self.reader = Reader(self.conn, lambda _: bench.project.secret)
        self.edition = rebuild.begin(self.conn)

    def fill(self) -> None:
        self.work = Pass(self.conn, declaring(self.reader), "filling")
        rebuild.fill(self.conn, self.work, Timelines(self.reader))

    def finish(self) -> None:
        self.bench.conn.close()  # the pass of the old edition ends
        rebuild.swap(self.conn, self.edition)
        self.work.release()
        for number in rebuild.old(self.conn):
            rebuild.remove(self.conn, number)


Start = Callable[[], Rebuilding]


@pytest.fixture
def start(bench: Bench) -> Iterator[Start]:
    made: list[psycopg.Connection[Any]] = []

    def rebuilding() -> Rebuilding:
        conn = connect("derive", autocommit=True)
        made.append(conn)
        return Rebuilding(bench, conn)

    yield rebuilding
    for conn in made:
        conn.close()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is too fresh to wait for, or an edition that lacks it would be compared."""
    monkeypatch.setattr(rebuild, "FRESH_SECONDS", -3600)


def test_a_rebuilt_edition_equals_the_live_one_in_every_table(bench: Bench, start: Start) -> None:
    bench.send(real())
    bench.send([span(1, session__id="s"), span(2, bytes(15) + b"\7")])
    bench.derive()
    again = start()
    again.fill()
    assert rebuild.compare(again.conn, again.edition) == []
    again.finish()
    for table in rebuild.TABLES:
        assert bench.rows(f"SELECT DISTINCT edition FROM {table}") in ([(again.edition,)], []), table
    assert bench.rows("SELECT number, state FROM edition") == [(again.edition, "current")]
    assert bench.rows("SELECT count(*) > 0 FROM action_value") == [(True,)]


def test_every_derived_table_is_rebuilt_compared_and_removed(bench: Bench) -> None:
    rows = bench.rows(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace "
        "AND obj_description(oid, 'pg_class') = 'derived'"
    )
    derived = {name for (name,) in rows}
    assert derived == {*rebuild.TABLES, "edition"}


def test_a_difference_is_named_by_its_table(bench: Bench, start: Start) -> None:
    bench.send(real())
    bench.derive()
    again = start()
    again.fill()
    bench.owner.execute(
        "UPDATE action SET tool = 'another' WHERE edition <> %s AND step = (SELECT min(step) FROM action)", (again.edition,)
    )
    found = rebuild.compare(again.conn, again.edition)
    assert found == [rebuild.Difference("action", 1, 1)]
    rebuild.discard(again.conn, again.edition)
    again.work.release()
    rebuild.remove(again.conn, again.edition)


def test_ingest_and_the_current_pass_go_on_during_a_rebuild_and_both_end_equal(bench: Bench, start: Start) -> None:
    items = real() + real("openai-agents-v2/halluc")
    bench.send(items[:5])
    bench.derive()
    again = start()
    failed: list[BaseException] = []

    def live() -> None:
        try:
            for start in range(5, len(items), 3):
                bench.send(items[start : start + 3])
                bench.derive()
        except BaseException as error:  # noqa: BLE001 - told by the test's own thread
            failed.append(error)

    thread = threading.Thread(target=live)
    thread.start()
    again.fill()
    thread.join()
    assert not failed
    again.conn.execute("SELECT pg_advisory_unlock_all()")
    again.fill()
    assert rebuild.compare(again.conn, again.edition) == []
    again.finish()


class Killed(BaseException):
    """As a kill -9: nothing in the program may catch it."""


def test_killed_at_any_statement_the_next_run_ends_the_rebuild(bench: Bench, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.send([span(1, session__id="s", customer__id="c")])
    bench.derive()
    whole = bench.state()
    execute = psycopg.Connection.execute
    for last in range(0, 75, 4):
        left = last

        def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            return execute(self, *args, **kwargs)

        monkeypatch.setattr(psycopg.Connection, "execute", counted)
        again = None
        try:
            again = start()
            again.fill()
            again.finish()
        except Killed:
            pass
        monkeypatch.setattr(psycopg.Connection, "execute", execute)
        bench.owner.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'auditlog derive%%'")
        with connect("derive", autocommit=True) as conn:
            for number in rebuild.old(conn):
                rebuild.remove(conn, number)
        final = start()
        final.fill()
        final.finish()
        final.conn.close()
        assert bench.rows("SELECT count(*) FROM edition") == [(1,)]
        state = bench.state()
        for table, rows in whole.items():
            assert state[table] == rows, (last, table)


def test_a_rebuild_that_understands_less_is_not_swapped_in(bench: Bench, start: Start) -> None:
    bench.send([span(1, session__id="s")])
    bench.derive()
    again = start()

    def unreadable(batches: Any) -> Any:
        raise ValueError

    again.work = Pass(again.conn, unreadable, "filling")
    rebuild.fill(again.conn, again.work, Timelines(again.reader))
    with pytest.raises(rebuild.Refused):
        rebuild.swap(again.conn, again.edition)
    assert bench.rows("SELECT count(*) FROM edition WHERE state = 'current' AND number = %d" % again.edition) == [(0,)]
    again.conn.close()
    call_command("rebuild", "--discard", verbosity=0)
    assert bench.rows("SELECT count(*) FROM edition") == [(1,)]


def test_the_pass_of_an_edition_notices_that_another_took_its_place(bench: Bench, start: Start) -> None:
    bench.send([span(1, session__id="s")])
    work = bench.new_pass()
    work.drain()
    assert not work.superseded()
    again = start()
    again.fill()
    rebuild.swap(again.conn, again.edition)
    assert work.superseded()
    with pytest.raises(rebuild.Refused):
        rebuild.remove(again.conn, work.edition, patience=0.2)  # its pass has not let go
    bench.conn.close()
    again.finish()


def test_two_rebuilds_never_fill_one_edition_together(bench: Bench, start: Start) -> None:
    again = start()
    again.fill()
    with pytest.raises(NotAlone):
        start().fill()
    again.finish()


def test_a_batch_that_was_set_aside_is_consumed_once_it_is_understood(bench: Bench) -> None:
    bad = bench.send([span(1, session__id="bad")]).batch_no
    bench.send([span(2, bytes(15) + b"\2", session__id="good")])
    bench.new_pass()
    bench.conn.execute("SELECT pg_advisory_unlock_all()")

    def read(batches: Any) -> Any:
        if bad in batches:
            raise ValueError
        return bench.reader.events_of_batches(batches)

    work = Pass(bench.conn, read)
    work.drain()
    bench.send([span(3, bytes(15) + b"\3", session__id="good")])
    work.drain()
    assert bench.rows("SELECT session_id FROM session") == [(b"good",)]
    assert bench.new_pass().drain() == 0
    call_command("rebuild", "--failed", verbosity=0)
    bench.derive()
    assert bench.rows("SELECT session_id FROM session ORDER BY 1") == [(b"bad",), (b"good",)]
    assert bench.rows("SELECT count(*) FROM derive_failure") == [(0,)]
    assert bench.rows("SELECT events, batches FROM tally") == [(3, 3)]


def test_the_command_says_what_it_cannot_do(bench: Bench) -> None:
    with pytest.raises(CommandError, match="no project"):
        call_command("rebuild", "--words", "nobody", verbosity=0)
