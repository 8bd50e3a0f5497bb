"""Owns the measurement of the background pass: its CPU per 1,000 spans, and how far it is behind at half of the rate of ingest.

    python -m bench.derive [--sessions 300] [--batch 512] [--seconds 30] [--stored 2000000] [--json out.json]

1. Everything is sent while the pass is suspended: that is the rate of ingest, and a backlog.
2. The pass is resumed; the CPU of it and of PostgreSQL until nothing is left is what deriving costs. Binding goes first, for five seconds
   at most, so that its part is what was used until the last batch was bound.
3. The load is sent again, other sessions, at half of that rate. Lag of a batch: from its receipt until it is seen as derived; of a
   summary and of its words: from the first event that it lacks until it is seen written. Seen means by a look every 50 ms.

The tables of evidence are large before it begins (bench/seeded.py); those that are derived are not.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import threading
import time
from typing import Any

import psycopg

from bench import clients, seeded
from bench.counted import alone, counted, cpu, family
from bench.generate import Fresh, Load, bodies
from tests.service import Service

LOOK_SECONDS = 0.05
_LEFT = """
    SELECT (SELECT count(*) FROM batch b WHERE NOT EXISTS (SELECT FROM derived d WHERE d.batch_no = b.batch_no)),
           (SELECT count(*) FROM session WHERE stale_since IS NOT NULL), (SELECT count(*) FROM session WHERE text_due IS NOT NULL)"""


def left(conn: psycopg.Connection[Any]) -> tuple[int, int, int]:
    """Batches, summaries and words that are waiting."""
    row = conn.execute(_LEFT).fetchone()
    assert row is not None
    return row[0], row[1], row[2]


def drained(conn: psycopg.Connection[Any]) -> None:
    while any(left(conn)):
        time.sleep(0.1)


class Lag(threading.Thread):
    """Looks at what is waiting, and notes for how long each thing had waited when it was first not waiting any more."""

    QUERIES = {
        "batch": "SELECT b.batch_no::text, b.received_at FROM batch b WHERE b.batch_no > %s "
        "AND NOT EXISTS (SELECT FROM derived d WHERE d.batch_no = b.batch_no)",
        "sealed": "SELECT b.batch_no::text, b.received_at FROM batch b JOIN part p USING (batch_no) WHERE b.batch_no > %s AND p.count > 0 "
        "AND NOT EXISTS (SELECT FROM leaf l WHERE l.batch_no = b.batch_no)",
        "summary": "SELECT key || stale_since, stale_since FROM session WHERE stale_since IS NOT NULL AND %s::bigint IS NOT NULL",
        "words": "SELECT key || text_due, text_due FROM session WHERE text_due IS NOT NULL AND %s::bigint IS NOT NULL",
    }

    def __init__(self, service: Service) -> None:
        super().__init__(daemon=True)
        self.conn = service.connect()
        self.conn.autocommit = True
        row = self.conn.execute("SELECT coalesce(max(batch_no), 0) FROM batch").fetchone()
        assert row is not None
        self.first = row[0]
        self.waiting: dict[str, dict[str, Any]] = {name: {} for name in self.QUERIES}
        self.seconds: dict[str, list[float]] = {name: [] for name in self.QUERIES}
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.wait(LOOK_SECONDS):
            for name, query in self.QUERIES.items():
                row = self.conn.execute("SELECT clock_timestamp()").fetchone()
                assert row is not None
                found = dict(self.conn.execute(query, (self.first,)).fetchall())
                gone = self.waiting[name].keys() - found.keys()
                self.seconds[name] += [(row[0] - self.waiting[name][key]).total_seconds() for key in gone]
                self.waiting[name] = found

    def told(self) -> dict[str, Any]:
        """p50 and p95 of everything that was ever seen waiting; what was faster than a look is not in it and would only lower them."""
        out = {}
        for name, seconds in self.seconds.items():
            ordered = sorted(seconds)
            if ordered:
                out[name] = {"n": len(ordered), **{f"p{p}": round(ordered[int(len(ordered) * p / 100)], 2) for p in (50, 95)}}
        return out


def paced(service: Service, requests: clients.Requests, rate: float) -> float:
    """Sends at `rate` spans a second; returns what it reached."""
    started = time.perf_counter()
    sent = 0
    for count, body in requests:
        time.sleep(max(0.0, started + sent / rate - time.perf_counter()))
        clients.post(service, [(count, body)], connections=1)
        sent += count
    return sent / (time.perf_counter() - started)


def cost(service: Service, load: Load) -> dict[str, Any]:
    """Ingest first, with the pass suspended; then the pass alone."""
    requests = list(bodies(load))
    spans = sum(count for count, _ in requests)
    own = family(service.pid("derive"))
    bound = [0.0, 0.0]  # CPU seconds of the pass and of PostgreSQL

    def work() -> float:
        began, before, database = time.perf_counter(), cpu(own), cpu(family(service.pid("postgres")))
        own[0].resume()
        with service.connect() as conn:
            conn.autocommit = True
            while left(conn)[0]:
                time.sleep(LOOK_SECONDS)
            bound[:] = cpu(own) - before, cpu(family(service.pid("postgres"))) - database
            drained(conn)
        return time.perf_counter() - began

    with alone(service, "otlp-http", "derive"):
        own[0].suspend()
        ingest_rate = spans / clients.post(service, requests)
        used = counted(service, own, work)
    return {
        "batch": load.batch, "spans": spans, "sessions": load.sessions, "ingest_spans_per_second": round(ingest_rate),
        "derive_spans_per_second": round(spans / used.seconds),
        "cpu_ms_per_1000": {
            name: {"pass": round(1e6 * one / spans, 1), "postgres": round(1e6 * database / spans, 1)}
            for name, (one, database) in {"all": (used.own, used.postgres), "binding": (bound[0], bound[1])}.items()
        },
    }  # fmt: skip


def measure(service: Service, fresh: Fresh, sessions: int, batch: int, seconds: float) -> dict[str, Any]:
    """Everything that the head of this module lists."""
    with service.connect() as conn:
        conn.autocommit = True
        clients.post(service, list(bodies(fresh(min(20, sessions), batch=batch))))
        drained(conn)
        result = cost(service, fresh(sessions, batch=batch))
        rate = result["ingest_spans_per_second"] / 2
        requests = list(bodies(fresh(max(8, int(rate * seconds / 16.75)), batch=batch)))
        lag = Lag(service)
        lag.start()
        result["paced_spans_per_second"] = round(paced(service, requests, rate))
        drained(conn)
        lag.done.set()
        lag.join()
        lag.conn.close()
        result["lag_seconds"] = lag.told()
    return result


def tables(found: dict[str, Any]) -> str:
    """The result in Markdown, as docs/bench has it."""
    lines = ["| CPU milliseconds per 1,000 spans | pass | PostgreSQL | all |", "|---|---|---|---|"]
    for name, key in (("all three stages", "all"), ("of it binding, which goes first", "binding")):
        own, database = found["cpu_ms_per_1000"][key]["pass"], found["cpu_ms_per_1000"][key]["postgres"]
        lines.append(f"| {name} | {own:,.0f} | {database:,.0f} | {own + database:,.0f} |")
    lines += ["", f"| seconds behind, {found['paced_spans_per_second']:,} spans/s paced | p50 | p95 | p95 at most |", "|---|---|---|---|"]
    for name, what in (
        ("batch", "a batch, until its traces are bound and its sessions can be found by identity"),
        ("summary", "a session's summary, until it is written again"),
        ("words", "its words, after its summary"),
        ("sealed", "a batch, until a signed checkpoint covers it"),
    ):
        one = found["lag_seconds"].get(name, {"p50": "not seen waiting", "p95": ""})
        lines.append(f"| {what} | {one['p50']} | {one['p95']} | 2 |")
    rate, own = found["ingest_spans_per_second"], found["derive_spans_per_second"]
    lines += ["", f"Ingest took {rate:,} spans/s while the pass was suspended; half: {rate // 2:,}; the pass alone: {own:,}."]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=300)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--stored", type=int, default=2_000_000)
    parser.add_argument("--json")
    given = parser.parse_args()
    service, fresh = Service(), Fresh()
    try:
        service.start()
        clients.post(service, list(bodies(fresh(20))))
        with service.connect() as conn:
            seeded.fill(conn, given.stored)
        result = measure(service, fresh, given.sessions, given.batch, given.seconds)
    finally:
        service.remove()
    print(tables(result))
    if given.json:
        machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
        with open(given.json, "w") as file:
            json.dump({"machine": machine, **result}, file, indent=1)


if __name__ == "__main__":
    main()
