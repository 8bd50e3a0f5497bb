"""Owns the checks that a write is whole, durable, stored once and read back equal, on a real PostgreSQL."""

import secrets
import struct
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditlog import item as items
from auditlog.errors import Problem
from auditlog.item import Context, Item, Span
from auditlog.proof import merkle
from auditlog.retention.erasure import erase_field
from auditlog.store import fields, partitions
from auditlog.store import writer as writer_module
from auditlog.store.connect import url
from auditlog.store.reader import Reader, Stored, split_id
from auditlog.store.writer import Project, Writer, Written
from auditlog.verify.batches import check_batch
from tests.item_strategies import any_item
from tests.unit.store.test_pack import conversation, guesses_that_fit

Connect = Callable[[], psycopg.Connection[Any]]
pytestmark = pytest.mark.django_db  # only so that pytest-django makes the database; these tests commit over connections of their own
NOW = datetime.now(UTC)


@pytest.fixture
def project() -> Project:
    """A project of this test's own, so that tests see only what they wrote (the secret keys all IDs)."""
    return Project(secrets.randbelow(2**30), secrets.token_bytes(32), 1, "month")


@pytest.fixture
def writer(ingest: Connect) -> Any:
    writer = Writer(ingest)
    yield writer
    writer.close()


def span(number: int, attributes: list[items.Attribute] | None = None, trace: bytes = b"t" * 16) -> Span:
    return Span(Context([("service.name", items.STRING, "x" * 300)]), trace, number.to_bytes(8), "chat", 1, 2, attributes or [])


def write(writer: Writer, project: Project, batch: list[Item], received_at: datetime = NOW) -> Written:
    return writer.write(project, batch, key_id=None, protocol=1, received_at=received_at)


def stored(conn: psycopg.Connection[Any], project: Project, written: Written) -> list[Stored]:
    found = Reader(conn, lambda _: project.secret).events_of_batches([written.batch_no])
    conn.rollback()
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=st.lists(any_item, min_size=1, max_size=6))
def test_random_items_are_read_back_equal_and_their_roots_recompute(
    batch: list[Item], writer: Writer, owner: psycopg.Connection[Any], project: Project
) -> None:
    known = {event.id for event in everything(owner, project)}
    written = write(writer, project, batch)
    assert written.acknowledged == len(batch) == written.stored + written.duplicates
    found = stored(owner, project, written)
    fresh = [event.item for event in found]
    assert len(fresh) == written.stored
    assert all(item in batch for item in fresh)
    there = everything(owner, project)
    assert all(any(item == event.item for event in there) for item in batch)
    assert len(there) == len(known) + written.stored
    assert check_batch(owner, written.batch_no, lambda _: project.secret) == []
    owner.rollback()


def everything(conn: psycopg.Connection[Any], project: Project) -> list[Stored]:
    keys = [row[0] for row in conn.execute("SELECT DISTINCT trace_key FROM event WHERE project_id = %s", (project.project_id,))]
    found = Reader(conn, lambda _: project.secret).events_of_traces(project.project_id, keys)
    conn.rollback()
    return found


def rows(conn: psycopg.Connection[Any], project: Project) -> tuple[int, int]:
    events = conn.execute("SELECT count(*) FROM event WHERE project_id = %s", (project.project_id,)).fetchone()
    content = conn.execute("SELECT count(*) FROM content").fetchone()
    conn.rollback()
    assert events and content
    return events[0], content[0]


def test_a_resend_adds_only_a_batch_row_and_is_acknowledged_in_full(
    writer: Writer, owner: psycopg.Connection[Any], project: Project
) -> None:
    batch: list[Item] = [span(n, [("gen_ai.input.messages", items.STRING, conversation(n))]) for n in range(40)]
    first = write(writer, project, batch)
    before = rows(owner, project)
    again = write(writer, project, batch)
    assert (again.acknowledged, again.stored, again.duplicates) == (40, 0, 40)
    assert again.root == first.root  # the receipt covers duplicates by the digest that is stored
    assert rows(owner, project) == before
    assert check_batch(owner, again.batch_no, lambda _: project.secret) == []


def test_a_batch_that_is_half_known_stores_the_other_half(writer: Writer, owner: psycopg.Connection[Any], project: Project) -> None:
    write(writer, project, [span(n) for n in range(5)])
    written = write(writer, project, [span(n) for n in range(3, 9)])
    assert (written.acknowledged, written.stored, written.duplicates) == (6, 4, 2)
    assert len(everything(owner, project)) == 9


def test_the_same_span_id_with_other_content_is_kept_as_another_version(
    writer: Writer, owner: psycopg.Connection[Any], project: Project
) -> None:
    write(writer, project, [span(1, [("a", items.INT, 1)])])
    write(writer, project, [span(1, [("a", items.INT, 2)])])
    assert len(everything(owner, project)) == 2


def test_no_statement_carries_more_rows_than_one_may_in_its_time(
    owner: psycopg.Connection[Any], project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of 190,000 messages ran into its time limit, was answered with 503 and sent again, for ever."""
    sent: list[int] = []

    class Seen(psycopg.Connection[Any]):
        def execute(self, query: Any, params: Any = None, **more: Any) -> Any:
            if query == writer_module._INSERT_CONTENT:
                sent.append(struct.unpack_from(">iiii", params[1].binary)[3])
            return super().execute(query, params, **more)

    monkeypatch.setattr(writer_module, "_SLICE", 7)
    writer = Writer(lambda: Seen.connect(url("ingest")))
    batch: list[Item] = [span(n, [("gen_ai.input.messages", items.STRING, conversation(n))]) for n in range(40)]
    written = write(writer, project, batch)
    writer.close()
    assert max(sent) == 7 and len(sent) > 3
    assert (written.stored, len(everything(owner, project))) == (40, 40)
    assert sorted(event.item.span_id for event in stored(owner, project, written)) == [n.to_bytes(8) for n in range(40)]  # type: ignore[union-attr]
    assert check_batch(owner, written.batch_no, lambda _: project.secret) == []


def test_the_same_batch_from_many_writers_at_once_is_stored_once(ingest: Connect, owner: psycopg.Connection[Any], project: Project) -> None:
    batch: list[Item] = [span(n, [("gen_ai.input.messages", items.STRING, conversation(n % 7))], bytes([n]) * 16) for n in range(60)]
    start, answers = threading.Barrier(6), []

    def work(order: int) -> None:
        writer = Writer(ingest)
        start.wait()
        answers.append(write(writer, project, batch if order % 2 else batch[::-1]))
        writer.close()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 6
    assert sum(written.stored for written in answers) == 60
    assert len({written.root for written in answers}) == 1
    assert len(everything(owner, project)) == 60


def test_content_known_from_a_transaction_that_failed_is_not_taken_for_committed(
    writer: Writer, owner: psycopg.Connection[Any], project: Project
) -> None:
    """The cache of known content learns only after COMMIT; here a commit fails and the same content comes again."""
    long = [("gen_ai.input.messages", items.STRING, "only once " * 60)]
    owner.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '40001'; END $$"
    )
    owner.execute(
        "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON batch DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    owner.commit()
    try:
        with pytest.raises(Problem) as raised:
            write(writer, project, [span(1, long)])
        assert raised.value.code == "store_unavailable"
    finally:
        owner.execute("DROP TRIGGER refuse ON batch")
        owner.execute("DROP FUNCTION refuse")
        owner.commit()
    assert rows(owner, project)[0] == 0
    written = write(writer, project, [span(1, long)])
    assert check_batch(owner, written.batch_no, lambda _: project.secret) == []


def test_a_lost_connection_is_replaced_without_the_caller_noticing(
    writer: Writer, owner: psycopg.Connection[Any], project: Project
) -> None:
    write(writer, project, [span(1)])
    assert writer._conn is not None
    owner.execute("SELECT pg_terminate_backend(%s)", (writer._conn.info.backend_pid,))
    owner.commit()
    assert write(writer, project, [span(2)]).stored == 1


def test_a_database_that_is_away_is_said_so_and_found_again(ingest: Connect, owner: psycopg.Connection[Any], project: Project) -> None:
    away = True

    def connect() -> psycopg.Connection[Any]:
        if away:
            raise psycopg.OperationalError("connection refused")
        return ingest()

    writer = Writer(connect)
    with pytest.raises(Problem) as raised:
        write(writer, project, [span(1)])
    assert (raised.value.code, raised.value.kind.http, raised.value.retry_after) == ("store_unavailable", 503, 1)
    assert not writer.alive()
    away = False
    assert writer.alive()
    assert write(writer, project, [span(1)]).stored == 1
    writer.close()


def test_a_missing_partition_is_made_on_the_spot(writer: Writer, owner: psycopg.Connection[Any]) -> None:
    project = Project(77, secrets.token_bytes(32), 31_000 + NOW.microsecond % 1000, "day")
    assert write(writer, project, [span(1)]).stored == 1
    bucket = partitions.bucket_at(project.class_no, "day", NOW)
    row = owner.execute("SELECT starts, ends, state FROM bucket WHERE bucket = %s", (bucket.number,)).fetchone()
    owner.rollback()
    assert row == (bucket.starts, bucket.ends, "open")


def test_a_closed_bucket_takes_nothing(writer: Writer, owner: psycopg.Connection[Any]) -> None:
    project = Project(78, secrets.token_bytes(32), 30_000 + NOW.microsecond % 1000, "day")
    yesterday = NOW - timedelta(days=1)
    write(writer, project, [span(1)], yesterday)
    owner.execute(
        "UPDATE bucket SET state = 'closed' WHERE bucket = %s", (partitions.bucket_at(project.class_no, "day", yesterday).number,)
    )
    owner.commit()
    write(writer, project, [span(2)], yesterday)  # the clock is asked again, and today's bucket is open
    found = owner.execute(
        "SELECT bucket, count(*) FROM event WHERE project_id = 78 AND bucket >> 16 = %s GROUP BY 1 ORDER BY 1", (project.class_no,)
    ).fetchall()
    owner.rollback()
    assert [count for _, count in found] == [1, 1]


def test_no_role_of_a_service_can_change_evidence(
    owner: psycopg.Connection[Any], ingest: Connect, writer: Writer, project: Project
) -> None:
    write(writer, project, [span(1)])
    for role in ("ingest", "web", "derive"):
        for statement in (
            "UPDATE event SET vals = ''", "DELETE FROM event", "TRUNCATE event", "DELETE FROM content", "UPDATE content SET bytes = ''",
            "DELETE FROM batch", "UPDATE part SET count = 0", "UPDATE bucket SET generation = 0", "DROP TABLE event",
            "ALTER TABLE event ADD x int",
        ):  # fmt: skip
            with pytest.raises(psycopg.errors.InsufficientPrivilege), owner.transaction():
                owner.execute(f"SET LOCAL ROLE auditlog_{role}")
                owner.execute(statement)
        with owner.transaction():
            owner.execute(f"SET LOCAL ROLE auditlog_{role}")
            assert owner.execute("SELECT count(*) FROM event").fetchone() is not None


def test_erasing_a_field_leaves_all_proofs_and_no_trace_of_the_value(
    writer: Writer, owner: psycopg.Connection[Any], project: Project
) -> None:
    said = conversation(20)
    batch: list[Item] = [
        span(1, [("customer.id", items.STRING, "417"), ("gen_ai.input.messages", items.STRING, said)]),
        span(2, [("gen_ai.output.messages", items.STRING, "[" + said.split(", {")[0][1:] + "]")]),  # says the first message, too
    ]
    written = write(writer, project, batch)
    one = next(event for event in stored(owner, project, written) if event.item.span_id == (1).to_bytes(8))  # type: ignore[union-attr]
    erase_field(owner, project.project_id, project.secret, one.id, fields.IDENTITY)
    erased = erase_field(owner, project.project_id, project.secret, one.id, fields.INPUT)
    owner.commit()
    assert erased.kept == 1 and erased.destroyed == 20  # 19 messages and a node go; the message that the other event says stays
    assert check_batch(owner, written.batch_no, lambda _: project.secret) == []
    again = {event.id: event for event in stored(owner, project, written)}
    assert again[one.id].digest == one.digest
    assert [value for _, value, _ in again[one.id].item.attributes] == [items.WITHHELD, items.WITHHELD]  # type: ignore[union-attr]
    assert sum(items.WITHHELD in [kind for _, kind, _ in event.item.attributes] for event in again.values()) == 1  # type: ignore[union-attr]
    ids = split_id(one.id)
    assert ids
    row = owner.execute("SELECT skeleton, vals FROM event WHERE trace_key = %s AND event_id = %s", ids).fetchone()
    owner.rollback()
    assert row and guesses_that_fit(bytes(row[0]), bytes(row[1])) == []


@pytest.mark.parametrize("statement, code", [
    ("UPDATE event SET vals = overlay(vals placing '\\x00' from length(vals)) WHERE batch_no = %s", "field_changed"),
    ("UPDATE event SET skeleton = overlay(skeleton placing '\\x00' from length(skeleton)) WHERE batch_no = %s", "root_differs"),
    ("UPDATE event SET span_id = '\\x00' WHERE batch_no = %s", "column_changed"),
    ("DELETE FROM event WHERE batch_no = %s AND span_id = '\\x0000000000000001'", "count_differs"),
    ("UPDATE content SET codec = 0, bytes = '\\x00' WHERE %s > 0", "content_changed"),
    ("DELETE FROM content WHERE %s > 0", "content_missing"),
    ("UPDATE part SET root = sha256('') WHERE batch_no = %s", "root_differs"),
    ("DELETE FROM part WHERE batch_no = %s", "part_missing"),
])  # fmt: skip
def test_whatever_is_changed_in_the_tables_is_named(
    statement: str, code: str, writer: Writer, owner: psycopg.Connection[Any], project: Project
) -> None:
    written = write(writer, project, [span(n, [("gen_ai.input.messages", items.STRING, conversation(3))]) for n in range(3)])
    assert check_batch(owner, written.batch_no, lambda _: project.secret) == []
    with owner.transaction(force_rollback=True):
        owner.execute(statement, (written.batch_no,))
        assert code in {fault.code for fault in check_batch(owner, written.batch_no, lambda _: project.secret)}


def test_a_receipt_root_covers_every_acknowledged_event(writer: Writer, owner: psycopg.Connection[Any], project: Project) -> None:
    first = write(writer, project, [span(1), span(2)])
    second = write(writer, project, [span(2), span(3)])
    digests = {event.item.span_id: event.digest for event in everything(owner, project)}  # type: ignore[union-attr]
    assert first.root == merkle.batch_root([digests[(1).to_bytes(8)], digests[(2).to_bytes(8)]])
    assert second.root == merkle.batch_root([digests[(2).to_bytes(8)], digests[(3).to_bytes(8)]])


@pytest.mark.parametrize("of_the_database, of_the_writer", [("off", "on"), ("on", "on"), ("remote_apply", "remote_apply")])
def test_commit_means_flushed_whatever_the_database_was_set_to(
    of_the_database: str, of_the_writer: str, ingest: Connect, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = ingest()
    opened.execute("SELECT set_config('synchronous_commit', %s, false)", (of_the_database,))
    opened.commit()
    commit, seen = opened.commit, []

    def observed() -> None:
        seen.append(opened.execute("SELECT current_setting('synchronous_commit')").fetchone())
        commit()

    monkeypatch.setattr(opened, "commit", observed)
    writer = Writer(lambda: opened)
    write(writer, project, [span(1)])
    assert seen[-1] == (of_the_writer,)
    writer.close()
