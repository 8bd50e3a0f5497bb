"""Owns a whole running service for tests: `manage.py serve` with an embedded PostgreSQL, in a folder and on ports of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import psycopg

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 180


def free_ports(count: int) -> list[int]:
    """Ports that nobody has now; held together, so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Service:
    """Start, look, kill, stop. `first_run` is what the first start wrote for people."""

    # what a process of each role has in its command line
    ROLES = {
        "web": "auditlog.front",
        "otlp-http": "auditlog.ingest.otlp_http",
        "otlp-grpc": "auditlog.ingest.otlp_grpc",
        "derive": "derive",
        "sealer": "seal",
    }

    def __init__(self, *, demo: bool = False, **settings: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="auditlog-service-"))
        self.folder.chmod(0o711)  # as root, PostgreSQL runs as a user who must pass
        self.data = self.folder / "var"
        self.http, self.otlp, self.grpc = free_ports(3)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AUDITLOG_", "DATABASE_URL", "OTEL_"))}
        self.env = kept | {
            "AUDITLOG_DATA": str(self.data),
            "AUDITLOG_HTTP": f"127.0.0.1:{self.http}",
            "AUDITLOG_OTLP_HTTP": f"127.0.0.1:{self.otlp}",
            "AUDITLOG_OTLP_GRPC": f"127.0.0.1:{self.grpc}",
            "AUDITLOG_DEMO": "1" if demo else "0",
        } | settings  # fmt: skip
        self.log = self.folder / "serve.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Service:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "manage.py"), "serve"], cwd=ROOT, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + PATIENCE
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the service did not start:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.2)
        return self

    def wait_whole(self) -> None:
        """Until each process has said that it serves: one that is suspended before cannot start, and that ends the whole service."""
        deadline = time.monotonic() + PATIENCE
        while "Ctrl-C stops everything." not in self.log.read_text():
            assert time.monotonic() < deadline, f"not whole:\n{self.log.read_text()[-3000:]}"
            time.sleep(0.1)

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def wait_ready(self) -> None:
        deadline = time.monotonic() + 60
        while not self.ready():
            assert time.monotonic() < deadline, f"not ready again:\n{self.log.read_text()[-3000:]}"
            time.sleep(0.1)

    @property
    def first_run(self) -> dict[str, str]:
        return json.loads((self.data / "first-run.json").read_text())  # type: ignore[no-any-return]

    def connect(self) -> psycopg.Connection[Any]:
        """As owner, over the socket that the supervisor wrote down."""
        return psycopg.connect((self.data / "database-url").read_text().strip())

    def processes(self) -> list[psutil.Process]:
        """Everything that the supervisor started, however deep; itself excluded."""
        assert self.process
        try:
            return list(psutil.Process(self.process.pid).children(recursive=True))
        except psutil.NoSuchProcess:
            return []

    def pid(self, role: str) -> int | None:
        """The main process of a role, or the postmaster for "postgres"."""
        assert self.process
        for child in psutil.Process(self.process.pid).children():
            try:
                line = child.cmdline()
            except psutil.NoSuchProcess:
                continue
            if role == "postgres" and line and Path(line[0]).name == "postgres":
                return int(child.pid)
            if role != "postgres" and self.ROLES[role] in line:
                return int(child.pid)
        return None

    def kill(self, role: str) -> bool:
        """kill -9 of the main process of a role; False if it was not there (being started again)."""
        pid = self.pid(role)
        if pid is None:
            return False
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    def get(self, path: str, key: str | None = None) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.http}{path}", headers={"Authorization": f"Bearer {key or self.first_run['read_key']}"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def settle(self, seconds: float = 120) -> None:
        """Waits until everything committed is derived."""
        deadline = time.monotonic() + seconds
        while (status := self.get("/api/v1/status"))["pending_batches"]:
            assert time.monotonic() < deadline, f"still pending: {status}"
            time.sleep(0.2)

    def sealed(self, seconds: float = 60) -> None:
        """Waits until everything committed is sealed."""
        deadline = time.monotonic() + seconds
        while (status := self.get("/api/v1/status"))["unsealed_batches"]:
            assert time.monotonic() < deadline, f"still not sealed: {status}"
            time.sleep(0.2)

    def stop(self, number: int = signal.SIGINT) -> int:
        """Asks it to end and returns its exit status."""
        assert self.process
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=90)

    def remove(self) -> None:
        """Whatever happened: no process and no file is left."""
        if self.process and self.process.poll() is None:
            left = self.processes()
            self.process.kill()
            self.process.wait()
            psutil.wait_procs(left, timeout=20)
        shutil.rmtree(self.folder, ignore_errors=True)
