"""Owns what a sender meets when there is too much: of its own, of another's, or of what a few bytes turn into."""

from __future__ import annotations

import copy
import gzip
import json
import re
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import grpc
import psutil
import pytest

from auditlog import keys
from auditlog import secrets as project_secrets
from auditlog.ingest import otlp_grpc
from auditlog.store.connect import connect
from tests.contract import transports
from tests.contract.conftest import Receivers
from tests.contract.transports import JSON, PROTOBUF, send, span, traces
from tests.contract.ways import WAYS, Way, ask, body, one, over
from tests.service import free_ports

pytestmark = pytest.mark.django_db  # only so that pytest-django makes the database; the receivers are processes of their own

MIB = 2**20
LARGEST = 8 * MIB  # of a body, in the processes of this module
EXPORT = transports.GRPC_EXPORT.format("trace", "Trace")


class Tight(NamedTuple):
    """Processes with a low limit of bytes, and a quota that any request of more than ten items uses up for long."""

    otlp: int
    grpc: int
    worker: psutil.Process  # that answers OTLP over HTTP

    def peak(self) -> int:
        """The most bytes of memory since it was asked last."""
        status = f"/proc/{self.worker.pid}/status"
        with open(status) as file:
            kib = next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
        with open(f"/proc/{self.worker.pid}/clear_refs", "w") as file:
            file.write("5")
        return kib * 1024


@pytest.fixture(scope="module")
def tight(started: Receivers) -> Iterator[Tight]:
    receivers = copy.copy(started)
    receivers.env = started.env | {"AUDITLOG_MAX_BODY": str(LARGEST), "AUDITLOG_QUOTA_ITEMS": "1"}
    ports = free_ports(2)
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for name, port in zip(("otlp", "grpc"), ports, strict=True):
            processes.append(receivers.start(name, port))
        # Granian's own processes besides its workers have no threads of ours; the worker is the one with the most.
        (worker,) = sorted(psutil.Process(processes[0].pid).children(recursive=True), key=lambda child: child.num_threads())[-1:]
        yield Tight(ports[0], ports[1], worker)
    finally:
        for process in processes:
            process.kill()
            process.wait()


def issue(scope: str = "ingest") -> str:
    """A key of a project of its own."""
    made = keys.make()
    with connect("owner") as connection:
        connection.execute(
            "WITH p AS (INSERT INTO project (name, slug, secret_wrapped, class_no, period, created_at) "
            "VALUES ('overload', %s, %s, 1, 'month', now()) RETURNING id) "
            "INSERT INTO api_key (public_id, project_id, name, scopes, secret_digest, created_at) "
            "SELECT %s, id, 'test', ARRAY[%s], %s, now() FROM p",
            (
                f"overload-{secrets.token_hex(4)}", project_secrets.wrap(project_secrets.new_project_secret()),
                made.public_id, scope, made.digest,
            ),
        )  # fmt: skip
    return made.text


@pytest.fixture
def new_key() -> str:
    return issue()


@pytest.fixture
def other_key() -> str:
    return issue()


def spans(count: int) -> bytes:
    return traces(*[span(str(number)) for number in range(count)])


def rest_events(count: int) -> bytes:
    return json.dumps({"events": [{"kind": "other", "at": "2026-03-01T10:00:00Z", "id": str(number)} for number in range(count)]}).encode()


# --- quotas ---------------------------------------------------------------------------------------------------------------------


def refused_for_quota(receivers: Receivers, admin: str) -> int:
    """How many requests have been, by what the service says of itself."""
    told = send(receivers.web, "/metrics", b"", key=admin, method="GET", content_type=None).body.decode()
    counted = [line for line in told.splitlines() if line.startswith("auditlog_ingest_refused_total") and "quota_exceeded" in line]
    return sum(int(float(line.rpartition(" ")[2])) for line in counted)


@pytest.mark.conformance(74, 82)
@over(WAYS)
def test_a_key_over_its_quota_is_asked_to_come_again_which_is_counted_and_another_key_is_not(
    receivers: Receivers, tight: Tight, new_key: str, other_key: str, way: Way
) -> None:
    known = copy.copy(receivers)
    known.keys = {"new": new_key, "other": other_key, "admin": issue("admin")}
    port = tight.grpc if way.transport == "gRPC" else tight.otlp
    before = refused_for_quota(receivers, known.keys["admin"])
    assert ask(known, way, body(way, *[one(way) for _ in range(100)]), port=port, key="new").code == ""
    reply = ask(known, way, body(way, one(way)), port=port, key="new")
    assert (reply.code, reply.http) == ("quota_exceeded", 0 if way.transport == "gRPC" else 429)
    told = r"The key's quota of 1 items a second is used up \(AUDITLOG_QUOTA_ITEMS\); send the batch again in (90|[78][0-9]) s, "
    assert re.match(told, reply.message), reply.message
    assert ask(known, way, body(way, one(way)), port=port, key="other").code == ""
    assert refused_for_quota(receivers, known.keys["admin"]) == before + 1


def test_rest_events_over_a_quota_are_429_and_say_which(tight: Tight, new_key: str) -> None:
    assert send(tight.otlp, "/api/v1/events", rest_events(100), key=new_key, content_type=JSON).status == 200
    answer = send(tight.otlp, "/api/v1/events", rest_events(1), key=new_key, content_type=JSON)
    assert (answer.status, answer.headers["retry-after"]) == (429, "3")
    error = json.loads(answer.body)["error"]
    assert (error["code"], error["detail"]) == ("quota_exceeded", {"quota": "items", "per_second": 1})


# --- memory ---------------------------------------------------------------------------------------------------------------------


def test_of_64_large_bodies_at_once_two_are_held_and_the_others_are_asked_to_come_again(tight: Tight, new_key: str) -> None:
    head = transports.raw_head("/v1/traces", new_key, f"Content-Length: {LARGEST}", content_type=JSON)
    content = b"{" + b" " * (LARGEST - 2)
    assert send(tight.otlp, "/v1/traces", b"{}", key=new_key, content_type=JSON).status == 200
    tight.peak()
    before = tight.worker.memory_info().rss
    clients = [socket.create_connection(("127.0.0.1", tight.otlp), timeout=30) for _ in range(64)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda client: client.sendall(head), clients))
        list(pool.map(lambda client: client.sendall(content), clients))
    for client in clients:
        client.sendall(b"}")
    answers = [client.recv(65536) for client in clients]
    for client in clients:
        client.close()
    assert {answer.split()[1] for answer in answers} == {b"200", b"503"}
    assert sum(b"HTTP/1.1 200" in answer for answer in answers) == 2
    assert all(b"retry-after: 1" in answer.lower() for answer in answers if b" 503 " in answer)
    assert tight.peak() - before < 200 * MIB  # all of them are 512 MiB


def field(number: int, content: bytes) -> bytes:
    size, more = len(content), b""
    while size >= 0x80:
        more += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([number << 3 | 2]) + more + bytes([size]) + content


def one_span(content: bytes) -> bytes:
    return field(1, field(2, field(2, field(1, b"t" * 16) + field(2, b"s" * 8) + content)))


ROOM = LARGEST - 200
BOMBS: dict[str, tuple[str, bytes, str]] = {
    "spans": (PROTOBUF, field(1, field(2, b"\x12\x00" * (ROOM // 2))), "too_many_items"),
    "attributes": (PROTOBUF, one_span(b"\x4a\x00" * (ROOM // 2)), "too_many_values"),
    "links": (PROTOBUF, one_span(b"\x6a\x00" * (ROOM // 2)), "too_many_values"),
    "spans in JSON": (JSON, b'{"resourceSpans":[{"scopeSpans":[{"spans":[{}' + b",{}" * 1_200_000 + b"]}]}]}", "too_many_items"),
    "attributes in JSON": (JSON, b'{"resourceSpans":[{"resource":{"attributes":[{}' + b",{}" * (ROOM // 3) + b"]}}]}", "too_many_values"),
}


def again(port: int, packed: bytes, key: str, content_type: str) -> transports.Answer:
    """Sent as an exporter sends it: on a slow machine there is no room for the second before the first has been read, which is said."""
    for _ in range(10):
        answer = send(port, "/v1/traces", packed, key=key, content_type=content_type, content_encoding="gzip")
        if answer.status != 503:
            break
        assert answer.headers["retry-after"] == "1"
        time.sleep(1)
    return answer


@pytest.mark.parametrize("kind", BOMBS)
def test_a_few_kilobytes_that_turn_into_millions_of_things_are_413_and_take_little_memory(tight: Tight, new_key: str, kind: str) -> None:
    content_type, content, code = BOMBS[kind]
    packed = gzip.compress(content, 1)
    assert len(packed) < 100_000
    tight.peak()
    before = tight.worker.memory_info().rss
    with ThreadPoolExecutor(2) as pool:
        for asked in [pool.submit(again, tight.otlp, packed, new_key, content_type) for _ in range(2)]:
            answer = asked.result()
            assert answer.status == 413, answer
            assert "retry-after" not in answer.headers
            assert answer.google_status().message.startswith(code)
    assert tight.peak() - before < 400 * MIB


def test_over_grpc_too_many_things_are_resource_exhausted_without_retry_info(tight: Tight, new_key: str) -> None:
    answer = transports.call(tight.grpc, BOMBS["attributes"][1], key=new_key, gzip=True)
    assert answer.code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert answer.message.startswith("too_many_values")
    assert "google.rpc.retryinfo-bin" not in answer.trailers


# --- gRPC: messages that do not come --------------------------------------------------------------------------------------------


class Stalled:
    """A call whose message never comes."""

    def __init__(self, channel: grpc.Channel, key: str) -> None:
        self._never = threading.Event()
        export = channel.stream_unary(EXPORT, request_serializer=None, response_deserializer=None)
        self.call: Any = export.future(self._messages(), metadata=(("x-api-key", key),), timeout=30)

    def _messages(self) -> Iterator[bytes]:
        self._never.wait(30)
        yield from ()

    def code(self) -> grpc.StatusCode:
        try:
            return self.call.code()
        finally:
            self._never.set()


def test_over_grpc_a_wrong_key_is_refused_before_its_message_has_arrived(tight: Tight) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{tight.grpc}") as channel:
        assert Stalled(channel, keys.make().text).code() == grpc.StatusCode.UNAUTHENTICATED


def test_over_grpc_messages_that_do_not_arrive_end_in_time_and_hold_up_nobody_else(tight: Tight, new_key: str, other_key: str) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{tight.grpc}") as channel:
        stalled = [Stalled(channel, new_key) for _ in range(80)]  # more than there are threads
        for _ in range(5):
            assert transports.call(tight.grpc, spans(1), key=other_key).code == grpc.StatusCode.OK
        # Of the first the message was waited for until its time was over; the others have had no room, or no place.
        codes = [call.code() for call in stalled]
    assert set(codes) == {grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE}
    assert sum("as many requests under way" in call.call.details() for call in stalled) >= len(stalled) - otlp_grpc.CALLS // 2


# --- fairness -------------------------------------------------------------------------------------------------------------------


def test_a_project_that_floods_does_not_hold_up_another(receivers: Receivers, new_key: str, other_key: str) -> None:
    noisy = spans(300)
    finished: list[int] = []
    flowing, over = threading.Event(), threading.Event()

    def flood() -> None:
        while not over.is_set():
            finished.append(send(receivers.otlp, "/v1/traces", noisy, key=new_key).status)
            if len(finished) > 8:
                flowing.set()

    threads = [threading.Thread(target=flood) for _ in range(32)]
    for thread in threads:
        thread.start()
    try:
        assert flowing.wait(30)
        before = len(finished)
        quiet = [send(receivers.otlp, "/v1/traces", spans(1), key=other_key).status for _ in range(5)]
        meanwhile = len(finished) - before
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert quiet == [200] * 5
    assert set(finished) == {200}
    # Each waits for what is being worked on, and at most for one of the other project's turns; in one line with all it were 30 each.
    assert meanwhile <= 5 * 10
