"""Owns what a piece of work costs: CPU and memory of processes from the kernel, write-ahead log and disk from PostgreSQL.

CPU is user and system time of whole families of processes, children that ended included: by the clock that the kernel keeps for each
process, because /proc tells hundredths of a second only, and a run uses a few of them in each process of PostgreSQL. Memory is PSS, so
that what processes share counts once, looked at ten times a second. Disk is what the files of evidence grew by, indexes and TOAST
included; PostgreSQL makes a file longer by up to half a MiB at a time for each connection that writes.
"""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import psutil
import psycopg

from tests.service import Service

DISK: Final = (
    "SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class c WHERE c.relname IN ('batch', 'part') "
    "OR (c.relispartition AND c.relkind = 'r')"
)
_STATE: Final = f"SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn, ({DISK})"
_SCHED: Final = 2  # with the complement of a process's ID before it: its CPU clock, as clock_getcpuclockid(3) makes it
_LOOK_SECONDS: Final = 0.1
AFTERWARDS: Final = 0.5  # seconds in which PostgreSQL may still do what the work left to it


class Cost(NamedTuple):
    """What work took. seconds: wall time, as the work says; own, postgres: CPU seconds; wal, disk: bytes."""

    seconds: float
    own: float
    postgres: float
    wal: int
    disk: int


def family(pid: int | None) -> list[psutil.Process]:
    assert pid
    top = psutil.Process(pid)
    return [top, *top.children(recursive=True)]


def cpu(processes: list[psutil.Process]) -> float:
    """CPU seconds, user and system, of these processes and of their children that have ended."""
    total = 0.0
    for process in processes:
        with contextlib.suppress(OSError, psutil.NoSuchProcess):
            times = process.cpu_times()
            total += time.clock_gettime(~process.pid << 3 | _SCHED) + times.children_user + times.children_system
    return total


def pss(processes: list[psutil.Process]) -> int:
    """Bytes of memory, of what is shared each process's part."""
    total = 0
    for process in processes:
        with contextlib.suppress(OSError, psutil.NoSuchProcess):
            found = dict(line.split(":", 1) for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()[1:])
            total += int(found["Pss"].split()[0]) * 1024
    return total


def resident_peak(processes: list[psutil.Process]) -> int:
    """Bytes: the largest RSS that each has ever had, added up."""
    total = 0
    for process in processes:
        with contextlib.suppress(OSError, psutil.NoSuchProcess):
            found = dict(line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
            total += int(found["VmHWM"].split()[0]) * 1024
    return total


class Peak(threading.Thread):
    """Watches the memory of processes while its block runs; `bytes`: the most PSS that they had together at one time."""

    def __init__(self, processes: list[psutil.Process]) -> None:
        super().__init__(daemon=True)
        self._processes = processes
        self._enough = threading.Event()
        self.bytes = 0

    def run(self) -> None:
        self._look()
        while not self._enough.wait(_LOOK_SECONDS):
            self._look()

    def _look(self) -> None:
        self.bytes = max(self.bytes, pss(self._processes))

    def __enter__(self) -> Peak:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self.join()
        self._look()


def counted(service: Service, own: list[psutil.Process], work: Callable[[], float]) -> Cost:
    """Does `work`, which says how many seconds of it count, and counts what it cost. `own`: whose CPU it is beside PostgreSQL's."""
    with service.connect() as conn:
        conn.autocommit = True
        conn.execute("CHECKPOINT")  # so that each run logs the pages that it changes whole, once: as often as it can come
        wal, disk = _state(conn)
        before, database = cpu(own), cpu(family(service.pid("postgres")))
        seconds = work()
        time.sleep(AFTERWARDS)
        used, stored = cpu(own) - before, cpu(family(service.pid("postgres"))) - database
        wal_after, disk_after = _state(conn)
    return Cost(seconds, used, stored, wal_after - wal, disk_after - disk)


def _state(conn: psycopg.Connection[Any]) -> tuple[int, int]:
    row = conn.execute(_STATE).fetchone()
    assert row
    return int(row[0]), int(row[1])


@contextlib.contextmanager
def undisturbed(service: Service) -> Iterator[None]:
    """What autovacuum does within a minute is done now (free space known, statistics), and it does not come while the block runs: when it
    comes is chance, and would be counted to whatever it meets."""
    with service.connect() as conn:
        conn.autocommit = True
        conn.execute("ALTER SYSTEM SET autovacuum = off")
        conn.execute("SELECT pg_reload_conf()")
        conn.execute("VACUUM (ANALYZE)")
        try:
            yield
        finally:
            conn.execute("ALTER SYSTEM RESET autovacuum")
            conn.execute("SELECT pg_reload_conf()")


@contextlib.contextmanager
def alone(service: Service, *roles: str) -> Iterator[None]:
    """Only these roles and PostgreSQL run; every other process of the service is suspended meanwhile."""
    service.wait_whole()
    everything = service.processes()  # first: a backend that begins meanwhile is not taken for one of the others, and stopped for ever
    kept = {process.pid for role in ("postgres", *roles) for process in family(service.pid(role))}
    others = [process for process in everything if process.pid not in kept]
    for process in others:
        with contextlib.suppress(psutil.NoSuchProcess):  # a worker of autovacuum that has ended meanwhile
            process.suspend()
    try:
        yield
    finally:
        for process in others:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()


def million_additions() -> float:
    """Milliseconds of CPU, the median of nine: what tells one machine from another."""
    taken = []
    for _ in range(9):
        used, total = time.process_time(), 0
        for number in range(1_000_000):
            total += number * number
        taken.append((time.process_time() - used) * 1000)
    return round(statistics.median(taken), 1)
