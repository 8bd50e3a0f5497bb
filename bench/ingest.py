"""Owns the measurement of the hot path: CPU per 1,000 spans from request to commit, beside a plain COPY of the same final rows.

    python -m bench.ingest [--sessions 600] [--batch 512 --batch 64] [--json out.json]

Starts OTLP/HTTP alone against an embedded PostgreSQL of its own (no derive), sends the load over four connections, and counts the
CPU of the service and of every process of PostgreSQL from /proc. Then the rows that came of it are copied out and, with plain
COPY, into empty tables of the same shape: the least that storing them can cost. Ratios hold on a noisy machine; times do not.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import queue
import threading
import time
from typing import Any

import psutil

from bench.generate import Load, bodies
from tests.service import Service


def cpu(processes: list[psutil.Process]) -> float:
    """CPU seconds, user and system, of these processes and of their children that have ended."""
    total = 0.0
    for process in processes:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def family(pid: int | None) -> list[psutil.Process]:
    assert pid
    top = psutil.Process(pid)
    return [top, *top.children(recursive=True)]


def send(service: Service, requests: list[tuple[int, bytes]], connections: int = 4) -> float:
    """Sends every request once; seconds. Whatever is not 200 ends the run: a benchmark of refusals is none."""
    waiting: queue.SimpleQueue[tuple[int, bytes]] = queue.SimpleQueue()
    for request in requests:
        waiting.put(request)
    headers = {"Content-Type": "application/x-protobuf", "Authorization": f"Bearer {service.first_run['ingest_key']}"}
    bad: list[int] = []

    def work() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", service.otlp, timeout=60)
        while not bad:
            try:
                _, body = waiting.get_nowait()
            except queue.Empty:
                return
            connection.request("POST", "/v1/traces", body, headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                bad.append(answer.status)

    started = time.perf_counter()
    threads = [threading.Thread(target=work) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if bad:
        raise SystemExit(f"answered {bad[0]}")
    return time.perf_counter() - started


def measure(service: Service, load: Load) -> dict[str, Any]:
    requests = list(bodies(load))
    spans = sum(count for count, _ in requests)
    watched = {"service": family(service.pid("otlp-http")), "postgres": family(service.pid("postgres"))}
    before = {name: cpu(processes) for name, processes in watched.items()}
    seconds = send(service, requests)
    time.sleep(0.5)  # what PostgreSQL still does for it
    watched["postgres"] = family(service.pid("postgres"))
    used = {name: cpu(processes) - before[name] for name, processes in watched.items()}
    return {
        "batch": load.batch, "spans": spans, "raw_mib": round(sum(len(body) for _, body in requests) / 2**20, 1),
        "cpu_ms_per_1000": {name: round(1e6 * used_ / spans, 1) for name, used_ in (*used.items(), ("all", sum(used.values())))},
        "spans_per_second": round(spans / seconds),
    }  # fmt: skip


def plain_copy(service: Service) -> float:
    """CPU milliseconds per 1,000 spans of copying the same final rows, binary, into empty tables of the same shape."""
    with service.connect() as conn:
        counted = conn.execute("SELECT count(*) FROM event").fetchone()
        dumped: dict[str, list[Any]] = {}
        for table, order in (("event", "batch_no, trace_key, event_id"), ("content", "content_key")):
            with conn.cursor().copy(f"COPY (SELECT * FROM {table} ORDER BY {order}) TO STDOUT (FORMAT binary)") as copy:
                dumped[table] = [bytes(chunk) for chunk in copy]
        for table in dumped:
            conn.execute(f"CREATE TABLE plain_{table} (LIKE {table} INCLUDING ALL)")
        conn.commit()
        me, postgres = psutil.Process(), family(service.pid("postgres"))
        before = cpu(postgres) + sum(me.cpu_times()[:2])
        for table, chunks in dumped.items():
            with conn.cursor().copy(f"COPY plain_{table} FROM STDIN (FORMAT binary)") as copy:
                for chunk in chunks:
                    copy.write(chunk)
        conn.commit()
        time.sleep(0.5)
        used = cpu(family(service.pid("postgres"))) + sum(me.cpu_times()[:2]) - before
        conn.execute("DROP TABLE plain_event, plain_content")
    assert counted
    return round(1e6 * used / counted[0], 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=600)
    parser.add_argument("--batch", type=int, action="append")
    parser.add_argument("--json")
    given = parser.parse_args()
    results: dict[str, Any] = {"machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}", "runs": []}
    for batch in given.batch or [512, 64]:
        service = Service()
        try:
            service.start()
            quiet = [role for role in ("web", "otlp-grpc", "derive") if (pid := service.pid(role)) and not psutil.Process(pid).suspend()]
            send(service, list(bodies(Load(40, batch=batch, seed=2))))  # connections made, caches and code warm
            run = measure(service, Load(given.sessions, batch=batch))
            run["plain_copy_cpu_ms_per_1000"] = plain_copy(service)
            run["ratio"] = round(run["cpu_ms_per_1000"]["all"] / run["plain_copy_cpu_ms_per_1000"], 2)
            run["suspended"] = quiet
            results["runs"].append(run)
            print(json.dumps(run))
        finally:
            for process in service.processes():
                process.resume()
            service.remove()
    if given.json:
        with open(given.json, "w") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
