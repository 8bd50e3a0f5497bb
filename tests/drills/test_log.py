"""Owns the drills of the sealed log: a sealer that is killed at every step, has a double, waits for what is open, meets an old backup."""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from tests.drills.invariants import Broken, hold
from tests.drills.stand import Stand, batch
from tests.platform.test_supervisor import eventually
from tests.service import ROOT

drill = pytest.mark.drill


@contextlib.contextmanager
def double(stand: Stand) -> Iterator[None]:
    """A second sealer, as on another machine."""
    env = stand.service.env | {"AUDITLOG_LOG_KEY": str(stand.service.data / "log.key")}
    process = subprocess.Popen([sys.executable, str(ROOT / "manage.py"), "seal"], cwd=ROOT, env=env, stderr=subprocess.DEVNULL)
    try:
        yield
        assert process.poll() is None, "the second sealer ended"
    finally:
        process.kill()
        process.wait()


def cut_at(stand: Stand, table: str) -> None:
    """Whoever inserts into the table next loses its connection then and there."""
    stand.execute("CREATE SEQUENCE drill_cuts")
    stand.execute(
        "CREATE FUNCTION drill_cut() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN "
        "IF nextval('drill_cuts') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(1); END IF; RETURN NULL; END $$"
    )
    stand.execute(f"CREATE TRIGGER drill_cut AFTER INSERT ON {table} FOR EACH STATEMENT EXECUTE FUNCTION drill_cut()")
    try:
        eventually(lambda: stand.execute("SELECT is_called FROM drill_cuts") == [(True,)])
    finally:
        stand.execute(f"DROP TRIGGER drill_cut ON {table}")
        stand.execute("DROP FUNCTION drill_cut")
        stand.execute("DROP SEQUENCE drill_cuts")


@drill("sealer")
def test_wherever_the_sealer_is_killed_and_with_a_second_one_the_log_has_every_part_once(stand: Stand, told: Any) -> None:
    killed = 0
    with double(stand), stand.load(2):
        for table in ("leaf", "checkpoint"):
            cut_at(stand, table)
        chance = random.Random(1)
        while killed < 4:
            time.sleep(0.5 + chance.random())
            killed += stand.service.kill("sealer")
    stand.check()
    told(f"2 cuts, {killed} kills, {stand.execute('SELECT count(*) FROM leaf')[0][0]} leaves, each part once")


@drill("open transaction, log")
def test_while_a_transaction_is_open_the_sealer_waits_and_says_so_and_then_misses_nothing(stand: Stand) -> None:
    """One batch has its number and waits to commit, others with later numbers commit: a log in order of commits never holds the first."""
    stand.examine()
    with psycopg.connect(stand.url) as holding, ThreadPoolExecutor() as pool:
        holding.execute("SELECT pg_advisory_lock(4712)")
        holding.commit()  # the lock stays with the session, and no transaction of ours holds the sealer back
        late = batch()
        its = f"EXISTS (SELECT FROM event WHERE batch_no = NEW.batch_no AND span_id = '\\x{min(late.spans).hex()}')"
        with stand.trigger(f"IF {its} THEN PERFORM pg_advisory_xact_lock_shared(4712); END IF;"):
            answer = pool.submit(stand.send, late)
            eventually(lambda: stand.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = 4712 AND NOT granted"))
            for _ in range(5):
                stand.deliver(batch())
            time.sleep(2.5)  # two turns of the sealer
            status = stand.service.get("/api/v1/status")
            holding.execute("SELECT pg_advisory_unlock(4712)")
            assert answer.result() == "200"
    stand.check()
    hold(status["unsealed_batches"] >= 5 and status["seal_lag_seconds"] > 0.5, f"nobody could see that the sealer waits: {status}")


@drill("old backup", long=True)
def test_a_restored_backup_is_not_signed_on_until_somebody_says_so(own: Stand) -> None:
    cluster = own.service.data / "postgres"
    own.deliver(batch())
    own.service.sealed()
    own.service.stop()
    subprocess.run(["cp", "-a", str(cluster), str(cluster.with_name("backup"))], check=True)
    own.service.start()
    for _ in range(3):
        own.deliver(batch())
    own.service.sealed()
    known = dict(own.execute("SELECT size, root FROM checkpoint"))
    own.service.stop()
    shutil.rmtree(cluster)
    cluster.with_name("backup").rename(cluster)
    own.service.start()
    for _ in range(9):
        own.deliver(batch())
        time.sleep(0.3)
    forks = [size for size, root in own.execute("SELECT size, root FROM checkpoint") if size in known and known[size] != root]
    longer = own.execute("SELECT count(*) FROM checkpoint WHERE size > %s", max(known))[0][0]
    hold(not forks and not longer, f"{len(forks)} checkpoints with a second root, {longer} beyond what had been signed")
    status = own.service.get("/api/v1/status")
    hold((status["sealer"], status["sealer_refuses"]) == ("refusing", "restored"), f"nobody could see that the sealer refuses: {status}")
    command = [sys.executable, str(ROOT / "manage.py"), "seal", "--accept-restore", "a drill"]
    done = subprocess.run(command, cwd=ROOT, env=own.service.env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    try:
        own.service.sealed(30)
    except AssertionError as error:
        raise Broken(str(error)) from error
