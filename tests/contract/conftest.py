"""Owns the running receivers of the contract's tests: three processes, their database behind a door that tests may shut, and keys."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
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

Start = Callable[..., tuple[subprocess.Popen[bytes], int]]
Items = Callable[[dict[str, str] | None], list[Any]]
Count = Callable[[], int]

BODY_TIMEOUT = 2  # seconds; short, so that tests of stalled clients are


Address = str | tuple[str, int]  # the path of a socket, or host and port


class Door:
    """Stands before a server. Shut: connections are refused and cut. Stuck: nothing passes any more. Mute: no answer passes any more."""

    def __init__(self, target: Address) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._passing, self._answering = threading.Event(), threading.Event()
        self.open()
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
        self._answering.clear()

    def mute(self) -> None:
        self._answering.clear()

    def open(self) -> None:
        self._shut = False
        self._passing.set()
        self._answering.set()

    def close(self) -> None:
        self.open()
        self.shut()
        self._listener.close()

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
            back = threading.Thread(target=self._pump, args=(server, client, self._answering), daemon=True)
            back.start()
            self._pump(client, server, self._passing)
            back.join()

    def _pump(self, source: socket.socket, sink: socket.socket, passing: threading.Event) -> None:
        try:
            while data := source.recv(65536):
                passing.wait()
                sink.sendall(data)
        except OSError:
            pass  # the other direction has ended
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def database(conninfo: str) -> Address:
    """Where a PostgreSQL listens."""
    with psycopg.connect(conninfo) as connection:
        host, port = connection.info.host, connection.info.port
    return f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, port)


class Receivers:
    """The processes under test. `keys` by what is special about them, `folder` is where they log."""

    MODULES = {"otlp": "auditlog.ingest.otlp_http", "grpc": "auditlog.ingest.otlp_grpc", "web": "auditlog.front"}
    ADDRESSES = {"otlp": "AUDITLOG_OTLP_HTTP", "grpc": "AUDITLOG_OTLP_GRPC", "web": "AUDITLOG_HTTP"}

    def __init__(self, door: Door, key_texts: dict[str, str], folder: Path) -> None:
        self.door = door
        self.keys = key_texts
        self.folder = folder
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
        } | {setting: f"127.0.0.1:{getattr(self, name)}" for name, setting in self.ADDRESSES.items()}  # fmt: skip
        self.processes = {name: self.start(name, getattr(self, name)) for name in self.MODULES}

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def start(self, name: str, port: int, **settings: str) -> subprocess.Popen[bytes]:
        env = self.env | {self.ADDRESSES[name]: f"127.0.0.1:{port}"} | settings
        with self.log(name).open("ab") as log:
            process = subprocess.Popen([sys.executable, "-m", self.MODULES[name]], cwd=ROOT, env=env, stderr=log)
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return process
            except OSError:
                assert process.poll() is None, (
                    f"{self.MODULES[name]} ended with {process.returncode}:\n{self.log(name).read_text()[-4000:]}"
                )
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


def _forge(text: str) -> str:
    """A key with the public ID of another and a secret of its own; in form there is nothing wrong with it."""
    body = f"al_{keys.parse(text)}_{secrets.token_hex(16)}"
    return body + keys._checksum(body)


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
        good = _issue(connection, row[0], ["ingest"])
        return {
            "good": good,
            "forged": _forge(good),
            "reading": _issue(connection, row[0], ["read"]),
            "revoked": _issue(connection, row[0], ["ingest"], revoked_at=past),
            "expired": _issue(connection, row[0], ["ingest"], expires_at=past),
            "unknown": keys.make().text,
            "mistyped": "al_" + "x" * 50,
        }


@pytest.fixture(scope="session")
def started(key_texts: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receivers]:
    receivers = Receivers(Door(database(url("owner"))), key_texts, tmp_path_factory.mktemp("receivers"))
    yield receivers
    receivers.door.open()
    receivers.stop()
    receivers.door.close()


@pytest.fixture
def receivers(started: Receivers) -> Iterator[Receivers]:
    yield started
    started.door.open()


@pytest.fixture
def start(receivers: Receivers) -> Iterator[Start]:
    """Starts one more process of a kind, which the test may end as it likes."""
    begun: list[subprocess.Popen[bytes]] = []

    def one(name: str, **settings: str) -> tuple[subprocess.Popen[bytes], int]:
        port = free_ports(1)[0]
        begun.append(receivers.start(name, port, **settings))
        return begun[-1], port

    yield one
    for process in begun:
        process.kill()
        process.wait()


@pytest.fixture
def owner(started: Receivers) -> Iterator[psycopg.Connection[Any]]:
    """As the owner, in transactions of its own."""
    with connect("owner") as connection:
        yield connection


@pytest.fixture
def events() -> Iterator[Callable[[], int]]:
    """How many events the store holds now."""
    with connect("owner", autocommit=True) as connection:

        def count() -> int:
            row = connection.execute("SELECT count(*) FROM event WHERE item <> 4").fetchone()  # but what the service records itself
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


@pytest.fixture
def shown(started: Receivers) -> Callable[[dict[str, str] | None], list[bytes]]:
    """What the read API gives back of a receipt's items: each original."""
    key = started.keys["reading"]

    def get(path: str) -> bytes:
        request = urllib.request.Request(f"http://127.0.0.1:{started.web}{path}", headers={"Authorization": f"Bearer {key}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return bytes(answer.read())

    def originals(receipt: dict[str, str] | None) -> list[bytes]:
        assert receipt is not None
        events = json.loads(get(f"/api/v1/events?batch={receipt['batch']}"))["results"]
        return [get(f"/api/v1/events/{event['id']}/raw") for event in events]

    return originals
