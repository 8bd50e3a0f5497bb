"""Owns what proof and disposition cost: `python -m bench.evidence [--events 1000000] [--kept 50000] [--json out.json]`.

One day of receipt, forty days ago, in a class that keeps for a day. Its first events are derived as always and held; the others are said
to be derived, because what is measured begins after that. Then, one after the other:

1. sealing: CPU of the sealer until all of it is in the log, per 1,000 events. Finding a batch before and after its index is summed up.
2. the proof of one event, of random ones, as pages and API make it: milliseconds without the network.
3. `manage.py verify` of everything: events a minute of its CPU, PostgreSQL's besides.
4. the disposition of the day but for what is held, then, the hold released, of the rest: seconds in which it holds locks, and how long a
   writer of small batches waits at most meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import psycopg

from bench.counted import cpu, family
from bench.generate import Fresh, bodies
from tests.service import ROOT, Service

CLASS: Final = 77
BATCH: Final = 512
PER_SESSION: Final = 16.75  # events, on average
DAYS_AGO: Final = 40
_CONSUMED: Final = """
    INSERT INTO derived (edition, batch_no) SELECT e.number, b.batch_no FROM batch b, edition e
    WHERE e.state = 'current' AND NOT EXISTS (SELECT FROM derived d WHERE d.batch_no = b.batch_no AND d.edition = e.number)"""

# What the pass keeps for proofs when it comes by, which it does not here.
_LEAVES: Final = """
    INSERT INTO part_leaves (edition, batch_no, bucket, digests)
    SELECT (SELECT number FROM edition WHERE state = 'current'), batch_no, bucket, string_agg(digest, ''::bytea ORDER BY digest)
    FROM (SELECT batch_no, bucket, sha256(skeleton) AS digest FROM event) e GROUP BY 2, 3 HAVING count(*) > 1 ON CONFLICT DO NOTHING"""


class Bench:
    """The service's own code in this process, over its database."""

    def __init__(self, service: Service) -> None:
        os.environ.update(service.env | {"DJANGO_SETTINGS_MODULE": "auditlog.settings"})
        import django

        django.setup()
        from auditlog.governance import Actor
        from auditlog.models import Project as Row
        from auditlog.secrets import unwrap
        from auditlog.store.connect import connect
        from auditlog.store.projects import project_secrets
        from auditlog.store.writer import Project, Writer

        self.service, self.actor, row = service, Actor("shell", "bench", "bench"), Row.objects.get()
        self.conn: psycopg.Connection[Any] = connect("owner", autocommit=True)
        self.conn.execute(
            "INSERT INTO retention_class (class_no, version, name, days, basis, created_by, in_force_at) "
            """VALUES (%s, 1, 'A day', 1, 'none', '{"kind": "shell", "id": "bench", "name": "bench"}', now())""", (CLASS,),
        )  # fmt: skip
        secret = unwrap(bytes(row.secret_wrapped))
        self.past, self.now = Project(row.pk, secret, CLASS, "day", 1), Project(row.pk, secret, row.class_no, row.period, 1)
        self.writer, self.secrets = Writer(lambda: connect("ingest")), project_secrets(self.conn)
        self.beside = Writer(lambda: connect("ingest"))
        self.fresh = Fresh()

    def load(self, events: int) -> int:
        from auditlog.ingest.decode import decode
        from auditlog.item import SPAN

        stored, at = 0, datetime.now(UTC) - timedelta(days=DAYS_AGO)
        for count, body in bodies(self.fresh(max(8, int(events / PER_SESSION)), batch=BATCH)):
            self.writer.write(self.past, decode(body, SPAN, "protobuf"), key_id=None, protocol=1, received_at=at)
            stored += count
        return stored

    def small(self) -> None:
        """One small batch of now."""
        from auditlog.ingest.decode import decode
        from auditlog.item import SPAN

        for _, body in bodies(self.fresh(1, batch=4)):
            self.beside.write(self.now, decode(body, SPAN, "protobuf"), key_id=None, protocol=1, received_at=datetime.now(UTC))

    def bucket(self) -> int:
        row = self.conn.execute("SELECT bucket FROM bucket WHERE class_no = %s", (CLASS,)).fetchone()
        assert row is not None
        return int(row[0])


class Beside(threading.Thread):
    """Writes small batches until it is stopped; the longest that one took, in seconds."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(daemon=True)
        self.bench, self.over, self.longest = bench, threading.Event(), 0.0

    def run(self) -> None:
        while not self.over.is_set():
            began = time.perf_counter()
            self.bench.small()
            self.longest = max(self.longest, time.perf_counter() - began)


def proofs(bench: Bench, count: int = 300) -> dict[str, Any]:
    """Before the pass came by, when all events of a request are read, and after it."""
    first = _proofs(bench, count)
    bench.conn.execute(_LEAVES)
    return _proofs(bench, count) | {"before_the_pass": first}


def _proofs(bench: Bench, count: int) -> dict[str, float]:
    from auditlog.api.log import as_json
    from auditlog.search import sealed
    from auditlog.search.scope import Scope
    from auditlog.store.reader import public_id

    batches = [row[0] for row in bench.conn.execute("SELECT batch_no FROM leaf WHERE bucket = %s", (bench.bucket(),))]
    took = []
    for number in random.choices(batches, k=count):
        row = bench.conn.execute(
            "SELECT trace_key, event_id FROM event WHERE bucket = %s AND batch_no = %s ORDER BY random() LIMIT 1", (bench.bucket(), number)
        ).fetchone()
        assert row is not None
        public, began = public_id(*row), time.perf_counter()
        as_json(public, sealed.proof(Scope(bench.past.project_id), public))
        took.append((time.perf_counter() - began) * 1000)
    found = statistics.quantiles(took, n=100)
    return {"p50_ms": round(found[49], 2), "p95_ms": round(found[94], 2)}


def looked_up(bench: Bench) -> float:
    """Milliseconds in which the events of the middle batch are found, the median of five."""
    bucket, took = bench.bucket(), []
    row = bench.conn.execute("SELECT (min(batch_no) + max(batch_no)) / 2 FROM part WHERE bucket = %s", (bucket,)).fetchone()
    assert row is not None
    for _ in range(5):
        began = time.perf_counter()
        bench.conn.execute("SELECT count(*) FROM event WHERE bucket = %s AND batch_no = %s", (bucket, row[0]))
        took.append((time.perf_counter() - began) * 1000)
    return round(statistics.median(took), 2)


def verified(bench: Bench, events: int) -> dict[str, Any]:
    database = family(bench.service.pid("postgres"))
    before, began = cpu(database), time.monotonic()
    done = subprocess.Popen([sys.executable, "manage.py", "verify"], cwd=ROOT, env=bench.service.env, stdout=subprocess.PIPE, text=True)
    assert done.stdout is not None
    said = done.stdout.read()
    _, status, used = os.wait4(done.pid, 0)
    assert status == 0, said[-2000:]
    seconds, own = time.monotonic() - began, used.ru_utime + used.ru_stime
    return {
        "seconds": round(seconds), "cpu_seconds": round(own), "postgres_cpu_seconds": round(cpu(database) - before),
        "events_a_minute_of_cpu": round(events / own * 60), "peak_mib": used.ru_maxrss // 1024,
    }  # fmt: skip


def disposed(bench: Bench) -> dict[str, Any]:
    """Of what nobody holds."""
    from auditlog.errors import Problem
    from auditlog.retention import dispositions, execute

    found = dispositions.propose(bench.conn, bench.actor, bench.bucket())
    bench.conn.execute(_CONSUMED)  # the record of it, and what was written beside
    steps: list[tuple[str, float]] = []
    beside, began = Beside(bench), time.perf_counter()
    beside.start()
    while True:
        try:
            certificate = execute.execute(
                bench.conn, bench.actor, found.id, bench.secrets, told=lambda step: steps.append((step, time.perf_counter()))
            )
            break
        except Problem as problem:  # what is written beside has to be consumed first; nothing happened
            if problem.code != "derive_behind":
                raise
            steps.clear()
    total = time.perf_counter() - began
    beside.over.set()
    beside.join()
    at = dict(steps)
    counts = certificate["counts"]
    return {
        "disposed": counts["disposed"], "held": counts["held"], "seconds": round(total, 1),
        "locked_seconds": round(at["committed"] - at["locked"], 2),
        "longest_write_seconds": round(beside.longest, 2), "steps": {step: round(then - began, 2) for step, then in steps},
    }  # fmt: skip


def measure(service: Service, events: int, kept: int, without: list[str]) -> dict[str, Any]:
    service.wait_whole()
    bench, sealer = Bench(service), family(service.pid("sealer"))
    from auditlog.retention import holds
    from auditlog.store.ranges import Ranges

    stored = bench.load(kept)
    service.settle(3600)
    while service.get("/api/v1/status")["stale_summaries"]:
        time.sleep(0.2)
    agents = [row["name"] for row in service.get("/api/v1/agents")["results"]]
    held = [holds.place(bench.conn, bench.actor, bench.past.project_id, name, "Bench", {"agent": name}) for name in agents]
    service.settle()
    for process in family(service.pid("derive")):
        process.suspend()
    before = cpu(sealer)
    stored += bench.load(events - kept)
    bench.conn.execute(_CONSUMED)
    service.sealed(3600)
    found: dict[str, Any] = {"events": stored, "sealer_cpu_ms_per_1000": round(1e6 * (cpu(sealer) - before) / stored, 2)}
    before = looked_up(bench)
    Ranges(bench.conn).catch_up()  # as the pass does, which is suspended
    found["look_for_a_batch_ms"] = {"index_not_summed_up": before, "summed_up": looked_up(bench)}
    print(json.dumps(found), flush=True)
    bench.conn.execute("ANALYZE")
    for name, work in work_of(bench, stored):
        if name in without:
            continue
        found[name] = work()
        print(name, json.dumps(found[name]), flush=True)
    for hold in held:
        holds.release(bench.conn, bench.actor, bench.past.project_id, hold.id, "over")
    bench.conn.execute(_CONSUMED)
    found["disposition_of_the_rest"] = disposed(bench)
    return found


def work_of(bench: Bench, stored: int) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    yield "proof", lambda: proofs(bench)
    yield "verify", lambda: verified(bench, stored)
    yield "disposition", lambda: disposed(bench)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--kept", type=int, default=50_000)
    parser.add_argument("--without", nargs="+", default=[], help="What is not measured: proof, verify.")
    parser.add_argument("--json")
    given = parser.parse_args()
    service = Service()
    try:
        service.start()
        found = measure(service, given.events, given.kept, given.without)
        print(json.dumps(found, indent=1))
    finally:
        service.remove()
    if given.json:
        Path(given.json).write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
