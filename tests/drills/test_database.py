"""Owns the drills of a database that is away, slow, full or quarrelsome: nobody is told success for what is not kept, nobody gets a 500."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.contract.conftest import Door
from tests.contract.transports import raw_head
from tests.drills.invariants import hold
from tests.drills.stand import Stand, batch
from tests.platform.test_supervisor import eventually

drill = pytest.mark.drill


def stopped(stand: Stand, seconds: float) -> None:
    before = Counter(stand.ledger.answers)
    with stand.load(), stand.database_stopped():
        time.sleep(seconds)
    assert sum((stand.ledger.answers - before).values()) > (stand.ledger.answers - before)["200"], "nobody noticed that it was away"
    stand.check()


@drill("stopped")
def test_a_database_that_is_stopped_for_5_seconds_costs_503_and_nothing_else(stand: Stand) -> None:
    stopped(stand, 5)


@drill("stopped for long", long=True)
def test_a_database_that_is_stopped_for_60_seconds_costs_503_and_nothing_else(stand: Stand) -> None:
    stopped(stand, 60)


@drill("postmaster")
def test_a_postmaster_that_is_killed_under_writers_has_lost_nothing_that_was_acknowledged(stand: Stand) -> None:
    with stand.load(6):
        for _ in range(3):
            time.sleep(0.7)
            assert stand.service.kill("postgres")
            eventually(lambda: stand.service.pid("postgres"))
            stand.service.wait_ready()
    stand.check()


@drill("slow", long=True)
def test_a_database_that_takes_5_seconds_for_each_batch_answers_everybody_before_they_give_up(stand: Stand) -> None:
    before = Counter(stand.ledger.answers)
    with stand.trigger("PERFORM pg_sleep(5);"), ThreadPoolExecutor(16) as pool:
        list(pool.map(stand.send, [batch() for _ in range(16)]))
    told = stand.ledger.answers - before
    hold(not told["no answer"], f"of 16 senders, {told['no answer']} had no answer within 10 seconds")
    hold(told["503"] and told["200"], f"{dict(told)}")
    stand.check()


@drill("conflicts")
def test_a_deadlock_and_a_serialization_failure_are_not_the_senders_business(stand: Stand) -> None:
    stand.execute("CREATE SEQUENCE drill_tries")
    raised = "IF tries <= 2 THEN RAISE EXCEPTION 'drill' USING ERRCODE = CASE tries WHEN 1 THEN '40P01' ELSE '40001' END; END IF;"
    with stand.trigger(raised, "DECLARE tries bigint := nextval('drill_tries');"):
        answer = stand.send(batch())
    stand.execute("DROP SEQUENCE drill_tries")
    hold(answer == "200", f"answered {answer} for a conflict that a second try mends")
    stand.check()


@drill("cut")
def test_a_connection_that_is_cut_between_commit_and_answer_costs_only_a_resend(stand: Stand) -> None:
    door = Door(("127.0.0.1", stand.service.otlp))
    sent = [batch() for _ in range(5)]
    try:
        for one in sent:
            door.mute()
            stand.ledger.sending(one.spans)
            before = stand.execute("SELECT count(*) FROM batch")
            head = raw_head("/v1/traces", stand.key, f"Content-Length: {len(one.body)}")
            with socket.create_connection(("127.0.0.1", door.port), timeout=30) as client:
                client.sendall(head + one.body)
                # until it is committed; the sender does not know
                eventually(lambda: stand.execute("SELECT count(*) FROM batch") != before)  # noqa: B023, called at once
                door.shut()
            door.open()
            stand.deliver(one, door.port)
    finally:
        door.close()
    stand.check()


# -- the disk


@pytest.fixture
def small_disk(stand: Stand) -> Iterator[Path]:
    """A file system of 24 MiB; where that cannot be mounted there is no such drill."""
    place = stand.service.folder / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)], capture_output=True).returncode:
        pytest.skip("a file system of its own can be mounted by root only")
    place.chmod(0o777)
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(place: Path) -> Path:
    """Leaves not a byte."""
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(65536))
        except OSError:
            pass  # No space left on device
    return filler


@drill("disk full")
def test_while_the_disk_of_events_is_full_senders_are_told_503_and_afterwards_all_goes_on_by_itself(stand: Stand, small_disk: Path) -> None:
    (table,) = (name for (name,) in stand.execute(_NEWEST))
    space = small_disk / "space"
    space.mkdir()
    owner = (stand.service.data / "postgres").stat()
    os.chown(space, owner.st_uid, owner.st_gid)
    stand.execute(f"CREATE TABLESPACE drill LOCATION '{space}'")
    stand.execute(f"ALTER TABLE {table} SET TABLESPACE drill")
    try:
        before = Counter(stand.ledger.answers)
        with stand.load(2, lambda: batch(40)):
            filler = fill(small_disk)
            try:
                eventually(lambda: (stand.ledger.answers - before)["503"] + (stand.ledger.answers - before)["500"] > 5)
                assert "events" in stand.service.get("/api/v1/status")  # what needs no record of who saw it can be read
            finally:
                filler.unlink()
        stand.check()
    finally:
        stand.execute(f"ALTER TABLE {table} SET TABLESPACE pg_default")
        stand.execute("DROP TABLESPACE drill")


_NEWEST = """
    SELECT i.inhrelid::regclass::text FROM pg_inherits i JOIN bucket b ON b.class_no = 1 AND now() >= b.starts AND now() < b.ends
    WHERE i.inhparent = 'event'::regclass
      AND pg_get_expr((SELECT relpartbound FROM pg_class WHERE oid = i.inhrelid), i.inhrelid) LIKE '%(' || b.bucket || ')%'"""
