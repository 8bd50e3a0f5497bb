"""Owns the measurement of ingest: what a span costs from request to commit, for each way in which it may be sent, and the table of it.

    python -m bench.ingest [--sessions 600] [--rounds 3] [--stored 2000000] [--json out.json] [--quick]

One service with an embedded PostgreSQL of its own, its tables made large first (bench/seeded.py). The background pass comes before the rest
(bench/derive.py); then all but the process that receives is suspended. The usual way: 512 spans a request, OTLP/HTTP, plain, OpenTelemetry
form, compact JSON; the others differ from it in what their name says. Rounds go through all ways in turn, so that whatever else the machine
does meets each of them, and the middle of the rounds is shown. After each run its rows are copied once more, plainly (bench/floor.py).
Ratios hold on a noisy machine; times do not.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench import clients, derive, floor, seeded
from bench.counted import Peak, alone, counted, family, pss, resident_peak, undisturbed
from bench.generate import Fresh, bodies
from tests.service import Service


class Way(NamedTuple):
    """One way to send."""

    batch: int = 512
    transport: str = "HTTP"
    encoding: str = "plain"
    form: str = "OpenTelemetry"
    spaced: bool = False

    def __str__(self) -> str:
        """What differs from the usual."""
        told = [str(self.batch), self.transport, self.encoding, self.form, "Python's separators" if self.spaced else ""]
        return ", ".join([told[0], *(name for name in told[1:] if name not in ("HTTP", "plain", "OpenTelemetry", ""))])


class Size(NamedTuple):
    """How much is done. sessions: of each run; stored: pieces of content that are there before; derived: sessions whose derivation is
    measured; seconds: for which the pass gets half of the rate of ingest."""

    sessions: int = 600
    rounds: int = 3
    stored: int = 2_000_000
    derived: int = 300
    seconds: float = 10.0


class Target(NamedTuple):
    """What a way is to reach. cpu: milliseconds per 1,000 spans at most; rate: spans a second at least."""

    cpu: float
    rate: int


WAYS: Final = (
    Way(), Way(64), Way(encoding="gzip"), Way(encoding="zstd"), Way(transport="gRPC"), Way(transport="gRPC", encoding="gzip"),
    Way(64, encoding="gzip"), Way(64, transport="gRPC"), Way(form="OpenInference"), Way(spaced=True),
)  # fmt: skip
QUICK: Final = Size(60, 1, 100_000, 20, 1.0)  # a look at everything in a minute, with numbers too small to be believed
TARGETS: Final = {512: Target(120, 14_000), 64: Target(150, 10_000)}
RATIO_AT_MOST: Final = 2.5  # to a plain COPY
WAL_AT_MOST: Final = 4.5  # KB a span, on large tables
ROLES: Final = {"HTTP": "otlp-http", "gRPC": "otlp-grpc"}
WARM: Final = 40  # sessions sent before anything counts: connections made, caches and code warm


def send(service: Service, way: Way, requests: clients.Requests) -> float:
    """Sends requests that are in the encoding of this way already; seconds."""
    return (clients.call if way.transport == "gRPC" else clients.post)(service, requests, way.encoding)


def prepared(fresh: Fresh, way: Way, sessions: int) -> clients.Requests:
    requests = list(bodies(fresh(sessions, batch=way.batch, form=way.form, spaced=way.spaced)))
    return requests if way.transport == "gRPC" else clients.encoded(requests, way.encoding)


def run(service: Service, way: Way, requests: clients.Requests, bucket: int) -> dict[str, Any]:
    """One run and its floor; everything per span. Ends the program where not every span was stored."""
    spans = sum(count for count, _ in requests)
    after = newest(service)
    with alone(service, ROLES[way.transport]):
        own = family(service.pid(ROLES[way.transport]))
        with Peak(own) as peak:
            used = counted(service, own, lambda: send(service, way, requests))
        stored = count(service, bucket, after)
        if stored != spans:
            raise SystemExit(f"{way}: {spans} spans were sent and {stored} events stored")
        plain = floor.measure(service, bucket, after)
    return {
        "spans": spans, "body_bytes": sum(len(body) for _, body in requests) / spans, "spans_per_second": spans / used.seconds,
        "service": 1e6 * used.own / spans, "postgres": 1e6 * used.postgres / spans, "all": 1e6 * (used.own + used.postgres) / spans,
        "wal_bytes": used.wal / spans, "disk_bytes": used.disk / spans, "pss_bytes": peak.bytes,
        **{f"copy_{name}": 1e6 * (one.own + one.postgres) / spans for name, one in plain._asdict().items()},
        **{f"copy_{name}_wal_bytes": one.wal / spans for name, one in plain._asdict().items()},
        **{f"ratio_{name}": (used.own + used.postgres) / (one.own + one.postgres) for name, one in plain._asdict().items()},
    }  # fmt: skip


def newest(service: Service) -> int:
    """The number of the newest batch."""
    with service.connect() as conn:
        row = conn.execute("SELECT max(batch_no) FROM batch").fetchone()
    assert row
    return int(row[0])


def count(service: Service, bucket: int, after: int) -> int:
    """Events of all batches after this one."""
    with service.connect() as conn:
        row = conn.execute("SELECT count(*) FROM event WHERE bucket = %s AND batch_no > %s", (bucket, after)).fetchone()
    assert row
    return int(row[0])


def memory(service: Service) -> dict[str, dict[str, int]]:
    """Bytes by role: what it has now (PSS), and the largest RSS that each of its processes ever had, added up."""
    known = {role: family(service.pid(role)) for role in (*Service.ROLES, "postgres")}
    named = {process.pid for processes in known.values() for process in processes}
    known["worker and beat"] = [process for process in service.processes() if process.pid not in named]
    return {role: {"processes": len(found), "pss": pss(found), "rss_peak": resident_peak(found)} for role, found in known.items()}


def measure(service: Service, size: Size, ways: Sequence[Way] = WAYS) -> dict[str, Any]:
    """Everything, on a service that runs. What it stores stays there."""
    fresh = Fresh()
    runs: dict[Way, list[dict[str, Any]]] = {way: [] for way in ways}
    for way in (Way(), Way(transport="gRPC")):
        send(service, way, prepared(fresh, way, WARM))
    with service.connect() as conn:
        bucket = seeded.fill(conn, size.stored)
    say(f"{size.stored:,} pieces of content stored")
    derived = derive.measure(service, fresh, size.derived, 512, size.seconds)
    say("derived")
    with undisturbed(service):
        for number, (way, found) in itertools.product(range(size.rounds), runs.items()):
            found.append(run(service, way, prepared(fresh, way, size.sessions), bucket))
            say(f"round {number + 1}, {way}: " + ", ".join(f"{key} {value:.4g}" for key, value in found[-1].items()))
    return {"runs": [{**way._asdict(), "rounds": found} for way, found in runs.items()], "derive": derived, "memory": memory(service)}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def middle(runs: list[dict[str, Any]]) -> dict[str, float]:
    return {key: statistics.median(one[key] for one in runs) for key in runs[0]}


def tables(found: dict[str, Any]) -> str:
    """The results in Markdown, as docs/bench has them."""
    cost = [
        "| spans a request | service | PostgreSQL | all | at most | plain COPY | ratio | at most | spans/s | at least |",
        "|---" * 10 + "|",
    ]
    large = [
        "| spans a request | plain COPY into the large tables | ratio | WAL KB a span | at most | WAL of that COPY | disk KB a span "
        "| KB a span of the bodies | peak memory MiB |",
        "|---" * 9 + "|",
    ]
    for each in found["runs"]:
        way, one = Way(*(each[name] for name in Way._fields)), middle(each["rounds"])
        target = TARGETS[way.batch]
        cost.append(
            f"| {way} | {one['service']:.0f} | {one['postgres']:.0f} | {one['all']:.0f} | {target.cpu:.0f} | {one['copy_empty']:.0f} "
            f"| {one['ratio_empty']:.1f} | {RATIO_AT_MOST} | {one['spans_per_second']:,.0f} | {target.rate:,} |"
        )
        large.append(
            f"| {way} | {one['copy_large']:.0f} | {one['ratio_large']:.1f} | {one['wal_bytes'] / 1000:.2f} | {WAL_AT_MOST} "
            f"| {one['copy_large_wal_bytes'] / 1000:.2f} | {one['disk_bytes'] / 1000:.2f} | {one['body_bytes'] / 1000:.2f} "
            f"| {one['pss_bytes'] / 2**20:.0f} |"
        )
    kept = ["| process | processes | PSS MiB at the end | peak RSS MiB |", "|---" * 4 + "|"]
    for role, one in found["memory"].items():
        kept.append(f"| {role} | {one['processes']:.0f} | {one['pss'] / 2**20:.0f} | {one['rss_peak'] / 2**20:.0f} |")
    return "\n\n".join(("\n".join(cost), "\n".join(large), derive.tables(found["derive"]), "\n".join(kept)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, usual in Size()._asdict().items():
        parser.add_argument(f"--{name}", type=type(usual), help=f"{usual:,} unless told, {QUICK._asdict()[name]:,} with --quick")
    parser.add_argument("--quick", action="store_true", help="a look at everything in a minute, with numbers too small to be believed")
    parser.add_argument("--json", type=Path, help="file for every number of every round")
    parser.add_argument("--markdown", type=Path, help="file for the tables that are printed")
    given = parser.parse_args()
    told = {name: value for name in Size._fields if (value := getattr(given, name)) is not None}
    size = (QUICK if given.quick else Size())._replace(**told)
    service = Service()
    try:
        found = measure(service.start(), size)
    finally:
        service.remove()
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    command = " ".join(["python -m bench.ingest", *sys.argv[1:]])
    about = f"{size.sessions:,} sessions a run, {size.rounds} rounds, {size.stored:,} pieces of content before"
    text = f"{machine}; `{command}`: {about}\n\n{tables(found)}\n"
    print(text)
    if given.markdown:
        given.markdown.write_text(text)
    if given.json:
        given.json.write_text(json.dumps({"machine": machine, "command": command, "about": about, **found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
