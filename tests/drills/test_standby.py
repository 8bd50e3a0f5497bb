"""Owns the drills of a synchronous standby: the machine is lost while it lags, and somebody cancels what waits for it."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from auditlog.platform import process
from auditlog.platform.embedded import SETTINGS, Embedded
from tests.drills.invariants import everything_holds, examine, hold
from tests.drills.stand import Stand, batch
from tests.platform.test_supervisor import eventually

drill = pytest.mark.drill


class Standby:
    """A second PostgreSQL that follows the first, made by pg_basebackup."""

    def __init__(self, stand: Stand) -> None:
        self._primary = Embedded(stand.service.data)
        self._programs = self._primary.installation()
        self._stand = stand
        self.data = self._primary.base / "standby"
        self._socket = self._primary.socket_folder()
        self.url = make_conninfo(stand.url, port="5433")

    def start(self) -> None:
        user, env = self._primary._user, self._primary._environment()
        self.data.mkdir(mode=0o700)
        if user:
            os.chown(self.data, user.pw_uid, user.pw_gid)
        command = [self._programs.program("pg_basebackup"), "-d", self._stand.url]
        code, output = process.run([*command, "-D", str(self.data), "-X", "stream", "-R", "-c", "fast"], user=user, env=env, cwd=Path("/"))
        assert code == 0, output
        options = SETTINGS | {"unix_socket_directories": str(self._socket)}
        given = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with (self._stand.service.folder / "standby.log").open("ab") as log:
            self.process = process.start(
                [self._programs.program("postgres"), "-D", str(self.data), "-p", "5433", *given], user=user, env=env, log=log, cwd=Path("/")
            )
        eventually(lambda: self._stand.execute("SELECT state FROM pg_stat_replication") == [("streaming",)])

    def wait_for(self) -> None:
        """From here on every COMMIT of the first waits for it."""
        self._stand.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self._stand.execute("SELECT pg_reload_conf()")
        eventually(lambda: self._stand.execute("SELECT sync_state FROM pg_stat_replication") == [("sync",)])

    def receiver(self) -> psutil.Process:
        """The process that receives the log."""
        return next(one for one in psutil.Process(self.process.pid).children() if "walreceiver" in " ".join(one.cmdline()))

    def promote(self) -> psycopg.Connection[Any]:
        conn = psycopg.connect(self.url, autocommit=True)
        assert conn.execute("SELECT pg_promote()").fetchone() == (True,)
        return conn

    def end(self) -> None:
        """Nobody waits for it any more, and it is gone."""
        self._stand.execute("ALTER SYSTEM RESET synchronous_standby_names")
        self._stand.execute("SELECT pg_reload_conf()")
        self.stop()
        shutil.rmtree(self.data)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@drill("failover", long=True)
def test_a_machine_that_is_lost_while_its_synchronous_standby_lags_has_lost_nothing_that_was_acknowledged(own: Stand, told: Any) -> None:
    standby, enough = Standby(own), threading.Event()
    standby.start()
    if own.without != "synchronous standby":
        standby.wait_for()

    def work(_: int) -> None:
        while not enough.is_set():
            own.send(batch())
            time.sleep(0.02)

    supervisor, postmaster = own.service.process, own.service.pid("postgres")
    assert supervisor and postmaster
    with ThreadPoolExecutor(4) as pool:
        working = pool.map(work, range(4))
        try:
            eventually(lambda: len(own.ledger.acknowledged) > 500)
            receiver = standby.receiver()
            receiver.suspend()  # from here on it lags
            time.sleep(2)
            supervisor.send_signal(signal.SIGSTOP)
            os.kill(postmaster, signal.SIGKILL)
        finally:
            enough.set()
        list(working)
        receiver.resume()  # it gets what was on the way, and nothing more
    try:
        with standby.promote() as conn:
            found = examine(conn, own.secrets(conn), own.ledger)._replace(unseen=0)  # no background pass runs there yet
    finally:
        standby.stop()
    told(str(found))
    everything_holds(found)


@drill("cancelled", long=True)
def test_a_commit_that_somebody_cancels_while_it_waits_for_the_standby_is_not_acknowledged(stand: Stand) -> None:
    """PostgreSQL lets it succeed on the first machine alone, and says so in a warning."""
    standby = Standby(stand)
    standby.start()
    sent = [batch() for _ in range(4)]
    before = Counter(stand.ledger.answers)
    try:
        standby.wait_for()
        receiver = standby.receiver()
        receiver.suspend()
        with ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(stand.send, one) for one in sent]
            cancelled = 0
            while not all(one.done() for one in asked):
                cancelled += len(stand.execute("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"))
                time.sleep(0.2)
        assert cancelled
        told = (stand.ledger.answers - before)["200"]
        hold(not told, f"{told} of 4 batches were acknowledged that the standby did not have")
        receiver.resume()
        for one in sent:
            stand.deliver(one)
    finally:
        standby.end()
    stand.check()
