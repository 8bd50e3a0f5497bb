"""Owns the running receivers of the contract's tests: three processes, their database behind a door that tests may shut, and keys."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from auditlog import keys
from auditlog import secrets as project_secrets
from auditlog.store.connect import connect, url
from auditlog.store.projects import project_secrets as stored_secrets
from auditlog.store.reader import Reader
from tests.service import ROOT, free_ports

BODY_TIMEOUT = 2  # seconds; short, so that tests of stalled clients are


class Door:
    """Stands between the receivers and PostgreSQL. Shut: connections are refused and cut. Stuck: nothing passes any more."""

    def __init__(self, conninfo: str) -> None:
        self._target = self._find(conninfo)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._shut = False
        self._passing = threading.Event()
        self._passing.set()
        threading.Thread(target=self._serve, daemon=True).start()

    def shut(self) -> None:
        self._shut = True
        for pair in self._pairs:
            for end in pair:
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # it had ended already
        self._pairs.clear()

    def stick(self) -> None:
        self._passing.clear()

    def open(self) -> None:
        self._shut = False
        self._passing.set()

    def close(self) -> None:
        self._passing.set()
        self.shut()
        self._listener.close()

    @staticmethod
    def _find(conninfo: str) -> Any:
        with psycopg.connect(conninfo) as connection:
            host, port = connection.info.host, connection.info.port
        return f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, port)

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._shut:
                client.close()
                continue
            server = socket.socket(socket.AF_UNIX if isinstance(self._target, str) else socket.AF_INET)
            server.connect(self._target)
            self._pairs.append((client, server))
            threading.Thread(target=self._carry, args=(client, server), daemon=True).start()

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        with client, server:
            back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
            back.start()
            self._pump(client, server)
            back.join()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                self._passing.wait()
                sink.sendall(data)
        except OSError:
            pass  # the other direction has ended
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Receivers:
    """The processes under test. `keys` by what is special about them."""

    MODULES = {"otlp": "auditlog.ingest.otlp_http", "grpc": "auditlog.ingest.otlp_grpc", "web": "auditlog.front"}

    def __init__(self, door: Door, key_texts: dict[str, str]) -> None:
        self.door = door
        self.keys = key_texts
        self.otlp, self.grpc, self.web = free_ports(3)
        parts = conninfo_to_dict(url("owner"))
        self.env = os.environ | {
            "DATABASE_URL": make_conninfo(
                dbname=parts["dbname"], user=parts.get("user") or "postgres", password=parts.get("password"),
                host="127.0.0.1", port=door.port, sslmode="disable", gssencmode="disable",
            ),
            "AUDITLOG_BODY_TIMEOUT": str(BODY_TIMEOUT),
            "AUDITLOG_WORKERS": "1",
            "AUDITLOG_DATABASE_ROLE": "web",
        }  # fmt: skip
        self.processes = {name: self.start(name, getattr(self, name)) for name in self.MODULES}

    def start(self, name: str, port: int) -> subprocess.Popen[bytes]:
        setting = {"otlp": "AUDITLOG_OTLP_HTTP", "grpc": "AUDITLOG_OTLP_GRPC", "web": "AUDITLOG_HTTP"}[name]
        env = self.env | {setting: f"127.0.0.1:{port}"}
        process = subprocess.Popen([sys.executable, "-m", self.MODULES[name]], cwd=ROOT, env=env)
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return process
            except OSError:
                assert process.poll() is None, f"{self.MODULES[name]} ended with {process.returncode}"
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def stop(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(timeout=30)


def _issue(connection: psycopg.Connection[Any], project: int, scopes: list[str], **state: datetime) -> str:
    made = keys.make()
    connection.execute(
        "INSERT INTO api_key (public_id, project_id, name, scopes, secret_digest, created_at, expires_at, revoked_at) "
        "VALUES (%s, %s, 'test', %s, %s, now(), %s, %s)",
        (made.public_id, project, scopes, made.digest, state.get("expires_at"), state.get("revoked_at")),
    )
    return made.text


@pytest.fixture(scope="session")
def key_texts(django_db_setup: None) -> dict[str, str]:
    secret = project_secrets.wrap(project_secrets.new_project_secret())
    past = datetime.now(UTC) - timedelta(days=1)
    with connect("owner") as connection:
        row = connection.execute(
            "INSERT INTO project (name, slug, secret_wrapped, class_no, period, created_at) "
            "VALUES ('contract', %s, %s, 1, 'month', now()) RETURNING id",
            (f"contract-{secrets.token_hex(4)}", secret),
        ).fetchone()
        assert row
        return {
            "good": _issue(connection, row[0], ["ingest"]),
            "reading": _issue(connection, row[0], ["read"]),
            "revoked": _issue(connection, row[0], ["ingest"], revoked_at=past),
            "expired": _issue(connection, row[0], ["ingest"], expires_at=past),
            "unknown": keys.make().text,
            "mistyped": "al_" + "x" * 50,
        }


@pytest.fixture(scope="session")
def started(key_texts: dict[str, str]) -> Iterator[Receivers]:
    receivers = Receivers(Door(url("owner")), key_texts)
    yield receivers
    receivers.door.open()
    receivers.stop()
    receivers.door.close()


@pytest.fixture
def receivers(started: Receivers) -> Iterator[Receivers]:
    yield started
    started.door.open()


@pytest.fixture
def events() -> Iterator[Callable[[], int]]:
    """How many events the store holds now."""
    with connect("owner", autocommit=True) as connection:

        def count() -> int:
            row = connection.execute("SELECT count(*) FROM event").fetchone()
            assert row
            return int(row[0])

        yield count


@pytest.fixture
def items_of() -> Iterator[Callable[[dict[str, str] | None], list[Any]]]:
    """The stored items of a receipt."""
    with connect("owner", autocommit=True) as connection:
        reader = Reader(connection, stored_secrets(connection))

        def items(receipt: dict[str, str] | None) -> list[Any]:
            assert receipt is not None
            return [stored.item for stored in reader.events_of_batches([int(receipt["batch"])])]

        yield items
