"""Owns what drills are made on: a running service, senders that repeat as exporters do, the faults that several drills share."""

from __future__ import annotations

import contextlib
import http.client
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import psutil
import psycopg
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from auditlog import secrets as master
from auditlog.store.reader import Secrets
from tests.contract import transports
from tests.drills import unprotected
from tests.drills.invariants import Broken, Findings, everything_holds, examine, hold, rebuilt_is_equal, unseen
from tests.drills.ledger import Ledger, Receipt
from tests.service import Service

PATIENCE = 10.0  # seconds; an exporter's, after which it drops what it sent


class Batch(NamedTuple):
    """One request: its body, and what it holds by span ID."""

    body: bytes
    spans: dict[bytes, dict[str, Any]]


def batch(size: int = 5, session: str = "") -> Batch:
    """Spans as no other batch has them; a session of its own unless it is named."""
    session = session or f"drill-{secrets.token_hex(6)}"
    spans: dict[bytes, dict[str, Any]] = {}
    made = []
    for number in range(size):
        span_id = secrets.token_bytes(8)
        spans[span_id] = {"session.id": session, "number": number, "said": f"{session} said {number} " * 60}
        values = [
            KeyValue(key=key, value=AnyValue(int_value=value) if isinstance(value, int) else AnyValue(string_value=value))
            for key, value in spans[span_id].items()
        ]
        made.append(transports.span("chat", span_id=span_id, attributes=values))
    return Batch(transports.traces(*made), spans)


class Stand:
    """A service and the ledger of everything that was ever sent to it. `without`: the protection that was taken away, or ""."""

    def __init__(self, without: str = "") -> None:
        self.without = without
        self.ledger = Ledger()
        self.service = Service()
        self.service.env |= unprotected.environment(without)

    def start(self) -> Stand:
        self.service.start()
        self.key = self.service.first_run["ingest_key"]
        self.url = (self.service.data / "database-url").read_text().strip()  # the same over restarts
        for statement in unprotected.STATEMENTS.get(self.without, ()):
            self.execute(statement)
        return self

    # -- the database, as its owner

    def execute(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as conn:
            cursor = conn.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def secrets(self, conn: psycopg.Connection[Any]) -> Secrets:
        key = (self.service.data / "master.key").read_bytes()
        wrapped = conn.execute("SELECT id, secret_wrapped FROM project").fetchall()
        return {number: master.unwrap(bytes(secret), key) for number, secret in wrapped}.__getitem__

    @contextlib.contextmanager
    def trigger(self, body: str, declare: str = "") -> Iterator[None]:
        """While it is there, each INSERT of a batch runs this PL/pgSQL first: inside the writer's transaction, before its COMMIT."""
        self.execute(
            f"CREATE FUNCTION drill() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ {declare} BEGIN {body} RETURN NEW; END $$"
        )
        self.execute("CREATE TRIGGER drill BEFORE INSERT ON batch FOR EACH ROW EXECUTE FUNCTION drill()")
        try:
            yield
        finally:
            self.execute("DROP TRIGGER drill ON batch")
            self.execute("DROP FUNCTION drill")

    @contextlib.contextmanager
    def database_stopped(self) -> Iterator[None]:
        """PostgreSQL is told to end, as by `pg_ctl stop -m fast`; the supervisor sleeps meanwhile and starts it when it wakes."""
        supervisor, postmaster = self.service.process, self.service.pid("postgres")
        assert supervisor and postmaster
        supervisor.send_signal(signal.SIGSTOP)
        try:
            os.kill(postmaster, signal.SIGINT)
            while psutil.Process(postmaster).status() != psutil.STATUS_ZOMBIE:  # nobody is awake to take note of its end
                time.sleep(0.02)
            yield
        finally:
            supervisor.send_signal(signal.SIGCONT)

    # -- senders

    def send(self, sent: Batch, port: int = 0, key: str = "") -> str:
        """One request, as an exporter waits for it. Returns its status, or "no answer"."""
        self.ledger.sending(sent.spans)
        connection = http.client.HTTPConnection("127.0.0.1", port or self.service.otlp, timeout=PATIENCE)
        headers = {"authorization": f"Bearer {key or self.key}", "content-type": transports.PROTOBUF}
        try:
            connection.request("POST", "/v1/traces", body=sent.body, headers=headers)
            response = connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException):
            self.ledger.told("no answer")
            return "no answer"
        finally:
            connection.close()
        if response.status == 200:
            told = dict(part.split("=", 1) for part in response.headers["x-auditlog-receipt"].split(";"))
            self.ledger.told("200", sent.spans, Receipt(int(told["batch"]), told["root"], int(told["count"])))
        else:
            retry = response.status != 503 or response.headers.get("retry-after") in ("1", "2", "3")
            self.ledger.told(str(response.status) if retry else "503 without Retry-After")
        return str(response.status)

    def deliver(self, sent: Batch, port: int = 0) -> None:
        """Sends until it is acknowledged."""
        deadline = time.monotonic() + 120
        while self.send(sent, port) != "200":
            hold(time.monotonic() < deadline, f"not acknowledged within two minutes: {dict(self.ledger.answers)}")
            time.sleep(0.2)

    @contextlib.contextmanager
    def load(self, senders: int = 4, make: Callable[[], Batch] = batch) -> Iterator[None]:
        """Senders at work meanwhile, half of them at the port of OTLP, half at the web's. At the end everything is acknowledged."""
        enough = threading.Event()

        failed: list[Broken] = []

        def work(port: int) -> None:
            try:
                while not enough.is_set():
                    self.deliver(make(), port)
                    time.sleep(0.03)
            except Broken as error:
                failed.append(error)

        ports = [(self.service.otlp, self.service.http)[number % 2] for number in range(senders)]
        threads = [threading.Thread(target=work, args=(port,), daemon=True) for port in ports]
        for thread in threads:
            thread.start()
        try:
            yield
        except BaseException:
            enough.set()  # what failed is said at once; nobody waits for senders who may never be told success
            raise
        enough.set()
        for thread in threads:
            thread.join(150)
        hold(not any(thread.is_alive() for thread in threads), "a sender was never told success")
        if failed:
            raise failed[0]

    # -- what must hold

    def examine(self) -> Findings:
        self.service.wait_ready()
        self.service.settle()
        self.sealed()
        with psycopg.connect(self.url, autocommit=True) as conn:
            deadline = time.monotonic() + 10
            while unseen(conn) and time.monotonic() < deadline:  # of other projects than the one that was asked
                time.sleep(0.1)
            return examine(conn, self.secrets(conn), self.ledger)

    def derived(self) -> None:
        """Waits until all of every project is bound, summarised and indexed."""
        query = "SELECT EXISTS (SELECT FROM session WHERE stale_since IS NOT NULL OR text_due IS NOT NULL)"
        deadline = time.monotonic() + 120
        with psycopg.connect(self.url, autocommit=True) as conn:
            while unseen(conn) or conn.execute(query).fetchone() != (False,):
                hold(time.monotonic() < deadline, "the background pass has not finished")
                time.sleep(0.2)

    def sealed(self) -> None:
        """Waits until every part has its leaf, of all projects."""
        query = "SELECT count(*) FROM part p WHERE NOT EXISTS (SELECT FROM leaf l WHERE l.batch_no = p.batch_no AND l.bucket = p.bucket)"
        deadline = time.monotonic() + 30
        while left := self.execute(query)[0][0]:
            status = self.service.get("/api/v1/status")
            hold(
                time.monotonic() < deadline,
                f"{left} parts are not in the log; the sealer is {status['sealer']}, {status['sealer_refuses']}",
            )
            time.sleep(0.2)

    def check(self) -> None:
        """The whole trail, everything that was ever sent to this service."""
        self.judge(self.examine())

    def judge(self, found: Findings, *, rebuild: bool = False) -> None:
        everything_holds(found)
        wrong = {answer for answer in self.ledger.answers if answer not in ("200", "503", "no answer")}
        hold(not wrong, f"answers that no sender may get: { {answer: self.ledger.answers[answer] for answer in wrong} }")
        if rebuild:
            rebuilt_is_equal(self.service)
