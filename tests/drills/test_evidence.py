"""Owns the drills of evidence that somebody changes, of a period that has no partition, and of a transaction that is left open."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import psycopg
import pytest

from auditlog import keys
from auditlog.store.reader import public_id
from auditlog.verify import standalone
from auditlog.verify.batches import check_batch
from tests.drills.invariants import hold
from tests.drills.stand import Stand, batch
from tests.platform.test_supervisor import eventually

drill = pytest.mark.drill


class Change(NamedTuple):
    """What somebody does behind the service; `named`: the event that must be named, None where any of the batch may be."""

    named: str | None
    statement: str
    values: tuple[Any, ...]


def flip(data: bytes, chance: random.Random) -> bytes:
    """The same bytes but for one bit."""
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]


def changes(conn: psycopg.Connection[Any], batch_no: int, chance: random.Random) -> list[Change]:
    """Of every event of a batch: bits flipped, a column rewritten, the row removed. Of its content: bits flipped, the row removed."""
    made = []
    where = "WHERE trace_key = %s AND event_id = %s AND bucket = %s"
    for *key, bucket, skeleton, vals in conn.execute(
        "SELECT trace_key, event_id, bucket, skeleton, vals FROM event WHERE batch_no = %s", (batch_no,)
    ):
        named, values = public_id(*key), (*key, bucket)
        for column, data, name in (("vals", bytes(vals), named), ("skeleton", bytes(skeleton), None)):
            # A skeleton that was changed contradicts its batch's root, and of the batch nobody can say which event it was.
            made += [Change(name, f"UPDATE event SET {column} = %s {where}", (flip(data, chance), *values)) for _ in range(3)]
        made.append(Change(named, f"UPDATE event SET span_id = %s {where}", (chance.randbytes(8), *values)))
        made.append(Change(None, f"DELETE FROM event {where}", values))
    stored = "SELECT content_key, bytes FROM content WHERE xmin = (SELECT xmin FROM event WHERE batch_no = %s LIMIT 1)"
    for content_key, data in conn.execute(stored, (batch_no,)):
        made.append(Change(None, "UPDATE content SET bytes = %s WHERE content_key = %s", (flip(bytes(data), chance), content_key)))
        made.append(Change(None, "DELETE FROM content WHERE content_key = %s", (content_key,)))
    return made


@drill("changed")
def test_whatever_a_superuser_changes_is_found_and_the_event_is_named(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each change in a transaction that is rolled back: afterwards the trail is as it was."""
    if stand.without == "digests":
        read = standalone.read_event
        monkeypatch.setattr(standalone, "read_event", lambda skeleton, vals: read(skeleton, vals)._replace(changed=[]))
    stand.deliver(batch(20))
    batch_no = stand.ledger.receipts[-1].batch
    with psycopg.connect(stand.url) as conn:
        secrets = stand.secrets(conn)
        made = changes(conn, batch_no, random.Random(1))
        assert len(made) > 160 and any("UPDATE content" in one.statement for one in made)
        missed = 0
        for one in made:
            with conn.transaction(force_rollback=True):
                assert conn.execute(one.statement, one.values).rowcount == 1
                found = {fault.event for fault in check_batch(conn, batch_no, secrets)}
            missed += not found or not (one.named is None or one.named in found)
    hold(not missed, f"{missed} of {len(made)} changes were not seen")
    stand.check()


@drill("no partition")
def test_a_period_without_a_partition_gets_one_from_its_first_batch(stand: Stand) -> None:
    made = keys.make()
    (project,) = stand.execute(
        "INSERT INTO project (name, slug, secret_wrapped, class_no, period, created_at) "
        "SELECT 'drill', 'drill', secret_wrapped, 7, 'day', now() FROM project LIMIT 1 RETURNING id"
    )
    stand.execute(
        "INSERT INTO api_key (public_id, project_id, name, scopes, secret_digest, created_at) "
        "VALUES (%s, %s, 'drill', '{ingest}', %s, now())",
        made.public_id, project[0], made.digest,
    )  # fmt: skip
    assert stand.execute("SELECT count(*) FROM bucket WHERE class_no = 7") == [(0,)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda one: stand.send(one, key=made.text), [batch() for _ in range(8)]))
    hold(set(answers) == {"200"}, f"{sum(answer != '200' for answer in answers)} of 8 senders were refused: {answers}")
    assert stand.execute("SELECT count(*) FROM bucket WHERE class_no = 7") == [(1,)]
    assert "ingest.bucket_was_missing" in (stand.service.data / "logs" / "otlp-http.log").read_text()  # the alarm
    stand.check()


@drill("open transaction")
def test_while_a_transaction_is_open_the_pass_waits_and_says_so_and_then_misses_nothing(stand: Stand) -> None:
    """One batch has its number and waits to commit, others with later numbers commit: a pass that reads by number never sees the first."""
    stand.examine()
    with psycopg.connect(stand.url) as holding, ThreadPoolExecutor() as pool:
        holding.execute("SELECT pg_advisory_lock(4711)")
        holding.commit()  # the lock stays with the session, and no transaction of ours holds the pass back
        late = batch()
        its = f"EXISTS (SELECT FROM event WHERE batch_no = NEW.batch_no AND span_id = '\\x{min(late.spans).hex()}')"
        with stand.trigger(f"IF {its} THEN PERFORM pg_advisory_xact_lock_shared(4711); END IF;"):
            answer = pool.submit(stand.send, late)
            eventually(lambda: stand.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted"))
            for _ in range(5):
                stand.deliver(batch())
            time.sleep(1.0)  # several turns of the pass
            status = stand.service.get("/api/v1/status")
            holding.execute("SELECT pg_advisory_unlock(4711)")
            assert answer.result() == "200"
    found = stand.examine()
    hold(not found.unseen, f"{found.unseen} batches were acknowledged and never seen by the pass; it said {status}")
    hold(status["pending_batches"] >= 5 and status["derive_lag_seconds"] > 0.5, f"nobody could see that the pass waits: {status}")
    stand.check()
