"""Owns the measurement of a compliance export that is killed: `python -m bench.export [--events 1000000] [--kills 5] [--json out.json]`.

A service with an embedded PostgreSQL stores events of sessions like those of bench.ingest. Then everything is exported by a worker process
of its own, which is killed with -9 at random moments and started again, and the standalone verifier checks the folder. Counted: JSON lines
a second of the worker's CPU (what a kill made it write twice counts as CPU alone), the most memory that a worker took, and how long a small
request to ingest takes at the 99th percentile, with nothing else going on and during the export.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import resource
import signal
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psutil

from bench.counted import family, million_additions
from bench.generate import Fresh
from bench.ingest import Way, prepared, send
from tests.service import ROOT, Service

WORKER: Final = """
import sys, django
django.setup()
from auditlog.disclosure.work import work
from auditlog.platform.process import collect_seldom
collect_seldom()  # as the service's own worker (auditlog/celery.py)
while work(int(sys.argv[1])):
    pass
"""
ASK: Final = """
import django
django.setup()
from auditlog.disclosure import exports
from auditlog.disclosure.scope import Asked
from auditlog.governance import Actor
from auditlog.models import Project
from auditlog.search import evidence
wanted = exports.Wanted(Asked(everything=True), "Bench", "Measurement")
print(exports.request(evidence.raw_connection(), Actor("shell", "bench", "bench"), Project.objects.get().pk, wanted).folder)
"""
EVERY: Final = 0.05  # seconds between two probes of ingest


class Probe(threading.Thread):
    """Sends a small request again and again; what each took, in milliseconds."""

    def __init__(self, service: Service) -> None:
        super().__init__(daemon=True)
        self.service, self.found, self.over = service, list[float](), threading.Event()

    def run(self) -> None:
        while not self.over.wait(EVERY):
            said = [{"role": "user", "content": f"{random.random()}"}]
            event = {"kind": "model_call", "session_id": "probe", "at": datetime.now(UTC).isoformat(), "input": said}
            body = json.dumps({"events": [event]}).encode()
            headers = {"Authorization": f"Bearer {self.service.first_run['ingest_key']}", "Content-Type": "application/json"}
            began = time.perf_counter()
            request = urllib.request.Request(f"http://127.0.0.1:{self.service.http}/api/v1/events", body, headers)
            urllib.request.urlopen(request, timeout=60).read()
            self.found.append((time.perf_counter() - began) * 1000)

    def p99(self) -> float | None:
        self.over.set()
        self.join()
        return round(statistics.quantiles(self.found, n=100)[98], 1) if len(self.found) > 1 else None


def started(service: Service, number: str) -> psutil.Popen:
    return psutil.Popen([sys.executable, "-c", WORKER, number], cwd=ROOT, env=environment(service))


def environment(service: Service) -> dict[str, str]:
    own = {"DJANGO_SETTINGS_MODULE": "auditlog.settings", "AUDITLOG_DATABASE_ROLE": "web"}
    return service.env | own


def watched(worker: psutil.Popen, seconds: float | None) -> tuple[float, int]:
    """(CPU seconds, most resident bytes) of a worker until it ends, or until it is killed after so long."""
    began, cpu, peak = time.monotonic(), 0.0, 0
    while worker.poll() is None:
        try:
            times, peak = worker.cpu_times(), max(peak, worker.memory_info().rss)
            cpu = times.user + times.system
        except psutil.Error:
            break
        if seconds is not None and time.monotonic() - began > seconds:
            os.kill(worker.pid, signal.SIGKILL)
            break
        time.sleep(0.05)
    worker.wait()
    return cpu, peak


def exported(service: Service, number: str, folder: Path, kills: int, longest: float) -> dict[str, Any]:
    runs, began = [], time.monotonic()
    for _ in range(kills):
        runs.append(watched(started(service, number), random.uniform(1.0, longest)))
        if (folder / "manifest.json").exists():
            raise SystemExit(f"It was finished before it was killed {kills} times. Give more --events, or a smaller --longest.")
    runs.append(watched(started(service, number), None))
    lines = sum(path.stat().st_size for path in folder.rglob("*.jsonl")) / 1e6
    cpu = sum(one for one, _ in runs)
    return {
        "seconds": round(time.monotonic() - began, 1), "mb": round(lines), "cpu_seconds": round(cpu, 1),
        "mb_per_cpu_second": round(lines / cpu, 1), "peak_mib": max(peak for _, peak in runs) // 2**20,
    }  # fmt: skip


def hashed(folder: Path) -> float:
    """Megabytes a second of CPU that this machine reads and hashes: an export has to hash each of its lines once."""
    used, size = time.process_time(), 0
    for path in sorted(folder.glob("events/*.jsonl"))[:20]:
        data = path.read_bytes()
        hashlib.sha256(data).digest()
        size += len(data)
    return round(size / 1e6 / (time.process_time() - used))


def verified(folder: Path) -> dict[str, Any]:
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-I", "verify.py", "."], cwd=folder, capture_output=True, text=True, check=False)
    print(done.stdout[-2000:], done.stderr[-2000:])
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    return {"status": done.returncode, "seconds": round(time.monotonic() - began, 1), "peak_mib_of_any_child": peak}


def measure(service: Service, events: int, kills: int, longest: float) -> dict[str, Any]:
    fresh, stored = Fresh(), 0
    service.wait_whole()
    for process in service.processes():
        with contextlib.suppress(psutil.NoSuchProcess):  # what started it may have ended since
            if "beat" in process.cmdline():
                process.suspend()  # else the service's own worker would take the export up between two of ours
    while stored < events:
        requests = prepared(fresh, Way(), 600)
        send(service, Way(), requests)
        stored += sum(count for count, _ in requests)
    service.settle(24 * 3600)
    service.sealed(3600)
    for process in family(service.pid("derive")):
        process.suspend()  # summaries of a million events would be made beside, for longer than this takes
    quiet = Probe(service)
    quiet.start()
    time.sleep(20)
    alone = quiet.p99()
    asked = subprocess.run([sys.executable, "-c", ASK], cwd=ROOT, env=environment(service), capture_output=True, text=True, check=True)
    folder = Path(asked.stdout.strip())
    before = million_additions()
    probe = Probe(service)
    probe.start()
    found = {"events": stored, "kills": kills, **exported(service, folder.name, folder, kills, longest)}
    found |= {"ingest_p99_ms": {"alone": alone, "during": probe.p99()}}
    found["machine"] = {"million_additions_ms": [before, million_additions()], "sha256_mb_per_cpu_second": hashed(folder)}
    with service.connect() as conn:
        row = conn.execute("SELECT state, events, error FROM export_job").fetchone()
    assert row and row[0] == "done" and row[1] >= stored, row
    return found | {"verified": verified(folder)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--longest", type=float, default=15.0, help="Seconds after which a worker is killed, at most.")
    parser.add_argument("--rate", type=int, default=10**9, help="Bytes a second (AUDITLOG_EXPORT_RATE).")
    parser.add_argument("--json")
    given = parser.parse_args()
    service = Service(AUDITLOG_EXPORT_RATE=str(given.rate))
    try:
        service.start()
        found = measure(service, given.events, given.kills, given.longest)
        print(json.dumps(found, indent=1))
    finally:
        service.remove()
    if given.json:
        Path(given.json).write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
