"""Owns what happens when something ends or hangs: stalled clients, SIGTERM, kill -9, two starts on one port, the database away or stuck."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import psutil
import psycopg
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.conformance import note
from tests.contract import transports, ways
from tests.contract.conftest import BODY_TIMEOUT, Count, Items, Receivers, Start
from tests.contract.test_bad_input import post
from tests.contract.transports import send, span, traces
from tests.contract.ways import OVER_GRPC, OVER_HTTP, WAYS, Reply, Way, ask, body, one, over
from tests.platform.test_supervisor import eventually
from tests.service import ROOT

pytestmark = pytest.mark.django_db  # only so that pytest-django makes the database; the receivers are processes of their own

proves = pytest.mark.conformance
both_ports = pytest.mark.parametrize("name", ["otlp", "web"])


def begin(port: int, way: Way, key: str, length: int, sent: bytes) -> socket.socket:
    """A client that announces a body of a length and has sent only its beginning."""
    client = socket.create_connection(("127.0.0.1", port), timeout=30)
    head = transports.raw_head(way.path, key, f"Content-Length: {length}", content_type=way.content_type)
    client.sendall(head + sent)
    return client


def stall(port: int, key: str, way: Way = OVER_HTTP[0]) -> socket.socket:
    return begin(port, way, key, 100_000, b"x" * 1000)


@both_ports
def test_sixteen_clients_that_stall_in_the_middle_of_a_body_stop_nobody_and_hold_up_no_sigterm(
    receivers: Receivers, start: Start, name: str
) -> None:
    process, port = start(name)
    with contextlib.ExitStack() as stack:
        stalled = [stack.enter_context(stall(port, receivers.keys["good"])) for _ in range(16)]
        assert send(port, "/v1/traces", traces(span()), key=receivers.keys["good"]).status == 200
        process.terminate()
        assert process.wait(timeout=10) == 0
        for client in stalled:
            answer = client.recv(65536)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 503 ")


@proves(69, 82, 86)
@both_ports
def test_clients_that_stall_are_answered_503_after_the_timeout(receivers: Receivers, name: str) -> None:
    """Not 408, which exporters do not repeat."""
    with contextlib.ExitStack() as stack:
        stalled = [(way, stack.enter_context(stall(getattr(receivers, name), receivers.keys["good"], way))) for way in OVER_HTTP]
        for way, client in stalled:
            client.settimeout(BODY_TIMEOUT + 20)
            answer = client.recv(65536).lower()
            assert answer.startswith(b"http/1.1 503 ")
            assert b"\r\nretry-after: 1\r\n" in answer
            assert f"\r\ncontent-type: {way.content_type}\r\n".encode() in answer


@proves(86)
@over(OVER_HTTP)
def test_requests_that_are_pipelined_are_answered_in_order(receivers: Receivers, way: Way, items_of: Items) -> None:
    names = [f"pipelined {number}" for number in range(5)]
    bodies = [body(way, one(way, name)) for name in names]
    heads = [
        transports.raw_head(way.path, receivers.keys["good"], f"Content-Length: {len(sent)}", content_type=way.content_type)
        for sent in bodies
    ]
    with socket.create_connection(("127.0.0.1", receivers.otlp), timeout=30) as client:
        client.sendall(b"".join(head + sent for head, sent in zip(heads, bodies, strict=True)))
        answered = [read_answer(client) for _ in names]
    assert [ways.name_of(item) for receipt in answered for item in items_of(receipt)] == names


def read_answer(client: socket.socket) -> dict[str, str]:
    """The receipt of the next answer on a connection; none of its bytes are taken from the one after it."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += client.recv(1)
    lines = head.decode().lower().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:] if line)
    for _ in range(int(headers["content-length"])):
        client.recv(1)
    assert lines[0].startswith("http/1.1 200 ")
    return dict(part.split("=", 1) for part in headers["x-auditlog-receipt"].split(";"))


def newcomers(process: subprocess.Popen[bytes], port: int, key: str) -> list[dict[str, str] | None]:
    """Sends on new connections until a process has ended: each request is refused, to be repeated, or acknowledged with a receipt."""
    receipts = []
    while process.poll() is None:
        try:
            answer = send(port, "/v1/traces", traces(span()), key=key)
        except (OSError, http.client.HTTPException):
            time.sleep(0.02)
            continue
        assert answer.status in (200, 503)
        if answer.status == 200:
            receipts.append(answer.receipt)
    return receipts


@proves(81)
@both_ports
def test_what_is_in_flight_at_sigterm_is_finished_and_stored_and_so_is_whatever_is_acknowledged_after_it(
    receivers: Receivers, start: Start, name: str, items_of: Items
) -> None:
    process, port = start(name)
    with contextlib.ExitStack() as stack:
        begun = []
        for way in OVER_HTTP:
            sent = body(way, one(way, "in flight"))
            client = stack.enter_context(begin(port, way, receivers.keys["good"], len(sent), sent[:20]))
            begun.append((client, sent[20:]))
        time.sleep(0.2)  # so that the heads have been taken
        process.terminate()
        acknowledged = stack.enter_context(ThreadPoolExecutor()).submit(newcomers, process, port, receivers.keys["good"])
        time.sleep(0.2)
        for client, rest in begun:
            client.sendall(rest)
        for client, _ in begun:
            assert [ways.name_of(item) for item in items_of(read_answer(client))] == ["in flight"]
        assert process.wait(timeout=10) == 0
        for receipt in acknowledged.result():
            assert len(items_of(receipt)) == 1


def code_of_a_new_call(port: int) -> grpc.StatusCode:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary(OVER_GRPC[0].method, request_serializer=None, response_deserializer=None)(b"", timeout=5)
    return refused.value.code()


@proves(81)
def test_a_call_in_flight_at_sigterm_is_finished_and_stored_and_no_new_one_is_taken(
    receivers: Receivers, start: Start, owner: psycopg.Connection[Any], items_of: Items
) -> None:
    process, port = start("grpc")
    bodies = {way: body(way, one(way, "in flight")) for way in OVER_GRPC}
    owner.execute("LOCK TABLE batch IN SHARE ROW EXCLUSIVE MODE")  # holds up every writer before its COMMIT
    with ThreadPoolExecutor() as pool:
        replies = [pool.submit(ask, receivers, way, sent, port=port) for way, sent in bodies.items()]
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'batch'::regclass"
        eventually(lambda: owner.execute(waiting).fetchone() == (len(replies),))
        process.terminate()
        eventually(lambda: code_of_a_new_call(port) is grpc.StatusCode.UNAVAILABLE, 4)  # before those in flight are given up
        owner.rollback()
        for reply in replies:
            assert [ways.name_of(item) for item in items_of(reply.result().receipt)] == ["in flight"]
    assert process.wait(timeout=10) == 0


@both_ports
def test_after_kill_9_of_the_main_process_no_worker_serves_on(start: Start, name: str) -> None:
    process, port = start(name)
    workers = psutil.Process(process.pid).children(recursive=True)
    assert workers
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not [worker for worker in alive if worker.status() != psutil.STATUS_ZOMBIE]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


@pytest.mark.parametrize("name", ["otlp", "web", "grpc"])
def test_a_second_start_on_a_taken_port_ends_with_a_message_and_disturbs_nobody(receivers: Receivers, name: str) -> None:
    port = getattr(receivers, name)
    second = subprocess.run(
        [sys.executable, "-m", Receivers.MODULES[name]],
        cwd=ROOT,
        env=receivers.env | {Receivers.ADDRESSES[name]: f"127.0.0.1:{port}"},
        capture_output=True,
        timeout=30,
    )
    assert second.returncode == 1
    assert f"127.0.0.1:{port} cannot be used" in second.stderr.decode()
    assert receivers.processes[name].poll() is None


@pytest.mark.parametrize("name", ["otlp", "web"])
def test_a_worker_that_was_killed_is_replaced(receivers: Receivers, start: Start, name: str) -> None:
    process, port = start(name)
    for worker in psutil.Process(process.pid).children():
        os.kill(worker.pid, signal.SIGKILL)
    deadline = time.monotonic() + 15
    while True:
        try:
            assert send(port, "/v1/traces", traces(span()), key=receivers.keys["good"]).status == 200
            break
        except (OSError, http.client.HTTPException):
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert process.poll() is None


def test_grpc_ends_soon_after_sigterm(receivers: Receivers, start: Start) -> None:
    process, port = start("grpc")
    assert transports.call(port, traces(span()), key=receivers.keys["good"]).code == grpc.StatusCode.OK
    process.terminate()
    assert process.wait(timeout=10) == 0


def to_be_repeated(reply: Reply | transports.Answer) -> None:
    """`ask` has looked for Retry-After and RetryInfo."""
    if isinstance(reply, transports.Answer):
        assert (reply.status, reply.headers["retry-after"]) == (503, "1")
        assert b"store_unavailable" in reply.body or b"overloaded" in reply.body
    else:
        assert reply.code in ("store_unavailable", "overloaded")
        assert reply.http in (503, 0)


REST = ("web port, protobuf", "web port, REST")  # the same work behind the other port


@proves(70, 71, 82)
def test_while_the_database_is_stopped_everything_is_to_be_repeated_and_afterwards_stored(receivers: Receivers, events: Count) -> None:
    def everywhere(key: str = "good") -> list[Reply | transports.Answer]:
        return [ask(receivers, way, bodies[way], key=key) for way in WAYS] + [post(receivers, other, key=key) for other in REST]

    bodies = {way: body(way, one(way)) for way in WAYS}
    for way in WAYS:
        assert ask(receivers, way, body(way, one(way))).code == ""  # the key is remembered now
    before = events()
    receivers.door.shut()
    for reply in everywhere():
        to_be_repeated(reply)
    time.sleep(2.1)  # and now it is not any more: a key that cannot be looked up is no wrong key
    for reply in [*everywhere(), *everywhere("unknown")]:
        to_be_repeated(reply)
    assert events() == before
    receivers.door.open()
    for reply in everywhere():
        assert reply.receipt
    assert events() == before + len(WAYS) + len(REST)


@proves(87)
def test_health_says_not_serving_while_the_database_is_stopped(receivers: Receivers) -> None:
    note("gRPC", "Check")
    with grpc.insecure_channel(f"127.0.0.1:{receivers.grpc}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)

        def becomes(wanted: int) -> bool:
            deadline = time.monotonic() + 20
            names = ("", *(way.method[1:].partition("/")[0] for way in OVER_GRPC))
            while time.monotonic() < deadline:
                if all(stub.Check(health_pb2.HealthCheckRequest(service=name)).status == wanted for name in names):
                    return True
                time.sleep(0.1)
            return False

        assert becomes(health_pb2.HealthCheckResponse.SERVING)
        receivers.door.shut()
        assert becomes(health_pb2.HealthCheckResponse.NOT_SERVING)
        receivers.door.open()
        assert becomes(health_pb2.HealthCheckResponse.SERVING)


@proves(88)
def test_alive_is_not_ready(receivers: Receivers) -> None:
    def status(path: str) -> int:
        return send(receivers.web, path, b"", key=None, method="GET", content_type=None).status

    eventually(lambda: (status("/healthz"), status("/readyz")) == (200, 200))
    receivers.door.shut()
    assert (status("/healthz"), status("/readyz")) == (200, 503)
    receivers.door.open()
    eventually(lambda: (status("/healthz"), status("/readyz")) == (200, 200))


@proves(69, 70, 71, 82)
def test_while_the_database_hangs_every_sender_is_answered_before_it_gives_up_and_health_says_so(receivers: Receivers) -> None:
    everywhere: list[Way | str] = [*WAYS, *REST]

    def request(where: Way | str) -> Reply | transports.Answer:
        return post(receivers, where) if isinstance(where, str) else ask(receivers, where, body(where, one(where)))

    for where in everywhere:
        assert request(where).receipt
    receivers.door.stick()
    begun = time.monotonic()
    with ThreadPoolExecutor(len(everywhere)) as pool:
        for _ in range(2):  # the second time the key is no longer remembered
            for reply in pool.map(request, everywhere):
                to_be_repeated(reply)
    assert time.monotonic() - begun < 2 * 10  # the whole patience of an exporter, twice
    with grpc.insecure_channel(f"127.0.0.1:{receivers.grpc}") as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=""), timeout=5)
    assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
    receivers.door.open()
    for where in everywhere:
        eventually(lambda: request(where).receipt)  # noqa: B023, called at once


def stalled_and_full(port: int, key: str) -> list[socket.socket]:
    """Clients that hold all the bytes that a process with a limit of 1,000 may hold."""
    return [begin(port, OVER_HTTP[0], key, 1000, b"x" * 999) for _ in range(4)]


@proves(69, 82)
def test_more_bodies_than_a_process_may_hold_are_to_be_repeated(receivers: Receivers, start: Start, events: Count) -> None:
    _, port = start("otlp", AUDITLOG_MAX_BODY="1000")
    before = events()
    with contextlib.ExitStack() as stack:
        for client in stalled_and_full(port, receivers.keys["good"]):
            stack.enter_context(client)
        eventually(lambda: ask(receivers, WAYS[0], body(WAYS[0], *[one(WAYS[0])] * 3), port=port).code == "overloaded")
        for way in OVER_HTTP:
            assert ask(receivers, way, body(way, one(way)), port=port).code == "overloaded"
    assert events() == before


@proves(85)
@over([*OVER_HTTP, *OVER_GRPC])
def test_a_thousand_requests_over_one_connection(receivers: Receivers, way: Way) -> None:
    sent = b"{}" if way.transport == "JSON" else b""
    key = receivers.keys["good"]
    note(way.transport, way.path)
    if way.transport == "gRPC":
        with grpc.insecure_channel(f"127.0.0.1:{receivers.grpc}") as channel:
            export = channel.unary_unary(way.method, request_serializer=None, response_deserializer=None)
            for _ in range(1000):
                assert export(sent, metadata=(("x-api-key", key),), timeout=30) == b""
        return
    connection = http.client.HTTPConnection("127.0.0.1", receivers.otlp, timeout=30)
    with contextlib.closing(connection):
        connection.connect()
        same = connection.sock
        for _ in range(1000):
            connection.request("POST", way.path, body=sent, headers={"x-api-key": key, "content-type": way.content_type})
            response = connection.getresponse()
            assert (response.status, response.read()) == (200, sent)
            assert connection.sock is same
