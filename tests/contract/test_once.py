"""Owns that what was acknowledged is stored, once: sent again or to several at once, cut off, killed, the disk full, a mistake of ours."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import psycopg
import pytest

from auditlog import keys
from auditlog import secrets as project_secrets
from tests.conformance import note
from tests.contract import transports, ways
from tests.contract.conftest import Count, Door, Items, Receivers, Start
from tests.contract.ways import OVER_GRPC, OVER_HTTP, WAYS, Reply, Way, ask, body, one, over
from tests.platform.test_supervisor import eventually

pytestmark = pytest.mark.django_db  # only so that pytest-django makes the database; the receivers are processes of their own
proves = pytest.mark.conformance


def root_of(reply: Reply) -> str:
    assert reply.code == "" and reply.receipt
    return reply.receipt["root"]


@proves(75)
@over(WAYS)
def test_a_resend_is_acknowledged_and_stored_once(receivers: Receivers, way: Way, events: Count) -> None:
    sent = body(way, one(way), one(way))
    first = ask(receivers, way, sent)
    before = events()
    assert root_of(ask(receivers, way, sent)) == root_of(first)
    assert events() == before


@proves(77)
@over(WAYS)
def test_the_same_span_id_with_other_content_is_kept_beside_it(receivers: Receivers, way: Way, items_of: Items) -> None:
    first = one(way, "first")
    second = one(way, "second", trace_id=first.trace_id, span_id=first.span_id)
    receipts = [ask(receivers, way, body(way, version)).receipt for version in (first, second)]
    found = [item for receipt in receipts for item in items_of(receipt)]
    assert [ways.name_of(item) for item in found] == ["first", "second"]
    assert {item.span_id for item in found} == {first.span_id}


@proves(78)
@pytest.mark.parametrize("signal", ["traces", "logs"])
def test_the_same_batch_sent_to_several_workers_at_once_is_stored_once(receivers: Receivers, signal: str, events: Count) -> None:
    before = events()
    mine = [way for way in WAYS if way.signal == signal]
    request = ways.message(mine[0], *[one(mine[0], str(number)) for number in range(50)])
    senders = [(way, port) for way in mine for port in ((0, 0) if way.transport == "gRPC" else (receivers.otlp, receivers.web))]
    together = threading.Barrier(len(senders))

    def work(way: Way, port: int) -> str:
        sent = ways.encode(way, request)
        together.wait()
        return root_of(ask(receivers, way, sent, port=port))

    with ThreadPoolExecutor(len(senders)) as pool:
        roots = {answer.result() for answer in [pool.submit(work, *sender) for sender in senders]}
    assert len(roots) == 1
    assert events() == before + 50


@pytest.fixture
def doors(receivers: Receivers) -> Iterator[dict[str, Door]]:
    """Between senders and receivers."""
    made = {"otlp": Door(("127.0.0.1", receivers.otlp)), "grpc": Door(("127.0.0.1", receivers.grpc))}
    yield made
    for door in made.values():
        door.close()


@proves(76)
@over(OVER_HTTP)
def test_a_connection_that_is_cut_between_commit_and_answer_costs_only_a_resend(
    receivers: Receivers, doors: dict[str, Door], way: Way, events: Count
) -> None:
    before, door, sent = events(), doors["otlp"], body(way, one(way), one(way))
    door.mute()
    head = transports.raw_head(way.path, receivers.keys["good"], f"Content-Length: {len(sent)}", content_type=way.content_type)
    with socket.create_connection(("127.0.0.1", door.port), timeout=30) as client:
        client.sendall(head + sent)
        eventually(lambda: events() == before + 2)  # committed, by the count of another connection
        door.shut()
        with contextlib.suppress(ConnectionError):
            assert client.recv(1) == b""  # the sender was told nothing
    door.open()
    again = ask(receivers, way, sent, port=door.port)
    assert again.receipt and again.receipt["count"] == "2"
    assert events() == before + 2


@proves(76)
@over(OVER_GRPC)
def test_a_call_that_is_cut_between_commit_and_answer_costs_only_a_resend(
    receivers: Receivers, doors: dict[str, Door], way: Way, events: Count
) -> None:
    before, door, sent = events(), doors["grpc"], body(way, one(way), one(way))
    note(way.transport, way.method)
    with grpc.insecure_channel(f"127.0.0.1:{door.port}") as channel:
        grpc.channel_ready_future(channel).result(30)
        door.mute()
        export = channel.unary_unary(way.method, request_serializer=None, response_deserializer=None)
        answer = export.future(sent, metadata=(("x-api-key", receivers.keys["good"]),), timeout=30)
        eventually(lambda: events() == before + 2)
        door.shut()
        assert answer.exception(30).code() is grpc.StatusCode.UNAVAILABLE  # the sender was told nothing
    door.open()
    again = ask(receivers, way, sent, port=door.port)
    assert again.receipt and again.receipt["count"] == "2"
    assert events() == before + 2


@proves(79, 80)
@pytest.mark.parametrize(("name", "mine"), [("otlp", OVER_HTTP), ("grpc", OVER_GRPC)])
def test_after_kill_9_what_was_acknowledged_is_stored_and_what_was_not_is_repaired_by_a_resend(
    receivers: Receivers, start: Start, name: str, mine: list[Way], owner: psycopg.Connection[Any], events: Count, items_of: Items
) -> None:
    process, port = start(name)
    receipts = [ask(receivers, way, body(way, one(way, "acknowledged")), port=port).receipt for way in mine]
    before = events()
    owner.execute("LOCK TABLE batch IN SHARE ROW EXCLUSIVE MODE")  # holds up every writer before its COMMIT
    bodies = {way: body(way, one(way, "unanswered")) for way in mine}
    with ThreadPoolExecutor() as pool:
        asked = [pool.submit(ask, receivers, way, sent, port=port) for way, sent in bodies.items()]
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'batch'::regclass"
        eventually(lambda: owner.execute(waiting).fetchone() == (2,))  # as many as write at once
        for child in ways.family(process.pid):
            child.kill()
        for unanswered in asked:
            assert isinstance(unanswered.exception(30), ConnectionError) or unanswered.result().receipt is None
    owner.rollback()
    for way, receipt in zip(mine, receipts, strict=True):
        assert [ways.name_of(item) for item in items_of(receipt)] == ["acknowledged"]
        assert root_of(ask(receivers, way, bodies[way])) == root_of(ask(receivers, way, bodies[way]))
    assert events() == before + len(mine)


@pytest.fixture
def full(owner: psycopg.Connection[Any]) -> Iterator[Callable[[], None]]:
    """Until it is called, PostgreSQL says that its disk is full, as it does where a file cannot be made longer."""
    owner.execute(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$"
    )
    owner.execute("CREATE TRIGGER full_disk BEFORE INSERT ON batch EXECUTE FUNCTION full_disk()")
    owner.commit()

    def freed() -> None:
        owner.execute("DROP TRIGGER IF EXISTS full_disk ON batch")
        owner.execute("DROP FUNCTION IF EXISTS full_disk")
        owner.commit()

    yield freed
    freed()


@proves(72, 82)
def test_while_the_disk_is_full_nothing_is_acknowledged_and_afterwards_all_is_stored(
    receivers: Receivers, full: Callable[[], None], events: Count
) -> None:
    before = events()
    bodies = {way: body(way, one(way)) for way in WAYS}
    for way, sent in bodies.items():
        reply = ask(receivers, way, sent)  # which has looked for Retry-After and RetryInfo
        assert (reply.code, reply.http) == ("store_unavailable", 0 if way.transport == "gRPC" else 503)
        assert "DiskFull" in reply.message
    assert events() == before
    full()
    for way, sent in bodies.items():
        assert ask(receivers, way, sent).receipt
    assert events() == before + len(WAYS)


@pytest.fixture
def odd(receivers: Receivers, owner: psycopg.Connection[Any]) -> Iterator[str]:
    """The key of a project of which the writer does not foresee that it can be: its period is none that there is."""
    made, secret = keys.make(), project_secrets.wrap(project_secrets.new_project_secret())
    owner.execute("ALTER TABLE project DROP CONSTRAINT project_period")
    row = owner.execute(
        "INSERT INTO project (name, slug, secret_wrapped, class_no, period, created_at) "
        "VALUES ('odd', %s, %s, 1, 'eon', now()) RETURNING id",
        (f"odd-{secrets.token_hex(4)}", secret),
    ).fetchone()
    assert row
    owner.execute(
        "INSERT INTO api_key (public_id, project_id, name, scopes, secret_digest, created_at) "
        "VALUES (%s, %s, 'odd', '{ingest}', %s, now())",
        (made.public_id, row[0], made.digest),
    )
    owner.commit()
    receivers.keys["odd"] = made.text
    yield "odd"
    owner.execute("DELETE FROM api_key WHERE project_id = %s", row)
    owner.execute("DELETE FROM project WHERE id = %s", row)
    owner.commit()
    owner.execute("ALTER TABLE project ADD CONSTRAINT project_period CHECK (period IN ('month', 'day'))")
    owner.commit()


@proves(73, 82)
def test_a_mistake_of_ours_is_to_be_repeated_stores_nothing_and_is_an_error_in_the_log(
    receivers: Receivers, odd: str, events: Count
) -> None:
    for way in WAYS:
        make_a_mistake(receivers, way, odd, events)


def make_a_mistake(receivers: Receivers, way: Way, odd: str, events: Count) -> None:
    before, log = events(), receivers.log("grpc" if way.transport == "gRPC" else "otlp")
    told = log.stat().st_size
    reply = ask(receivers, way, body(way, one(way)), key=odd)
    assert (reply.code, reply.http) == ("internal", 0 if way.transport == "gRPC" else 503)
    assert events() == before
    lines = [json.loads(line) for line in log.read_bytes()[told:].splitlines()]
    (alarm,) = (line for line in lines if line["level"] == "error")
    assert (alarm["event"], alarm["error_kind"]) == ("ingest.internal", "ValueError")
    assert "eon" not in json.dumps(alarm)  # what an error says may be stored content
    assert ask(receivers, way, body(way, one(way))).receipt
