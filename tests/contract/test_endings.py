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
from collections.abc import Callable

import grpc
import psutil
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.contract import transports
from tests.contract.conftest import BODY_TIMEOUT, Items, Receivers, Start
from tests.contract.test_bad_input import HTTP, post
from tests.contract.transports import send, span, traces
from tests.service import ROOT

pytestmark = pytest.mark.django_db  # only so that pytest-django makes the database; the receivers are processes of their own

both_ports = pytest.mark.parametrize("name", ["otlp", "web"])


def stall(port: int, key: str) -> socket.socket:
    """A client that announces a body and stops in the middle of it."""
    client = socket.create_connection(("127.0.0.1", port), timeout=30)
    client.sendall(transports.raw_head("/v1/traces", key, "Content-Length: 100000") + b"x" * 1000)
    return client


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


@both_ports
def test_a_client_that_stalls_is_answered_503_after_the_timeout(receivers: Receivers, name: str) -> None:
    client = stall(getattr(receivers, name), receivers.keys["good"])
    with client:
        client.settimeout(BODY_TIMEOUT + 20)
        answer = client.recv(65536).lower()
    assert answer.startswith(b"http/1.1 503 ")
    assert b"\r\nretry-after: 1\r\n" in answer


@both_ports
def test_a_request_in_flight_at_sigterm_is_finished_and_stored(receivers: Receivers, start: Start, name: str, items_of: Items) -> None:
    process, port = start(name)
    body = traces(span("in flight"))
    client = socket.create_connection(("127.0.0.1", port), timeout=30)
    client.sendall(transports.raw_head("/v1/traces", receivers.keys["good"], f"Content-Length: {len(body)}") + body[:20])
    time.sleep(0.2)  # so that the head has been taken
    process.terminate()
    time.sleep(0.2)
    client.sendall(body[20:])
    response = http.client.HTTPResponse(client)
    response.begin()
    assert response.status == 200
    receipt = dict(part.split("=", 1) for part in str(response.getheader("x-auditlog-receipt")).split(";"))
    assert items_of(receipt)[0].name == "in flight"
    assert process.wait(timeout=10) == 0
    client.close()


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


def to_be_repeated(answer: transports.Answer) -> None:
    assert answer.status == 503
    assert answer.headers["retry-after"] in ("1", "2", "3")
    assert b"store_unavailable" in answer.body or b"overloaded" in answer.body


@pytest.mark.parametrize("transport", HTTP)
def test_while_the_database_is_stopped_the_answer_is_503_and_afterwards_200(receivers: Receivers, transport: str) -> None:
    assert post(receivers, transport).status == 200  # the key is remembered now
    receivers.door.shut()
    to_be_repeated(post(receivers, transport))
    time.sleep(2.1)  # and now it is not any more: a key that cannot be looked up is no wrong key
    to_be_repeated(post(receivers, transport))
    to_be_repeated(post(receivers, transport, key="unknown"))
    receivers.door.open()
    assert post(receivers, transport).status == 200


def test_over_grpc_while_the_database_is_stopped_the_answer_is_unavailable_with_retry_info_in_both_places(receivers: Receivers) -> None:
    body = traces(span())
    assert transports.call(receivers.grpc, body, key=receivers.keys["good"]).code == grpc.StatusCode.OK
    receivers.door.shut()
    answer = transports.call(receivers.grpc, body, key=receivers.keys["good"])
    assert answer.code == grpc.StatusCode.UNAVAILABLE
    assert RetryInfo.FromString(answer.trailers["google.rpc.retryinfo-bin"]).retry_delay.seconds in (1, 2, 3)
    details = Status.FromString(answer.trailers["grpc-status-details-bin"]).details
    inner = RetryInfo()
    assert any(detail.Unpack(inner) for detail in details)
    assert inner.retry_delay.seconds in (1, 2, 3)
    receivers.door.open()
    assert transports.call(receivers.grpc, body, key=receivers.keys["good"]).code == grpc.StatusCode.OK


def test_health_says_not_serving_while_the_database_is_stopped(receivers: Receivers) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{receivers.grpc}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)

        def becomes(wanted: int) -> bool:
            deadline = time.monotonic() + 20
            names = ("", "opentelemetry.proto.collector.trace.v1.TraceService")
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


@pytest.mark.parametrize("transport", ["OTLP port, protobuf", "web port, REST"])
def test_while_the_database_hangs_the_sender_is_answered_before_it_gives_up(receivers: Receivers, transport: str) -> None:
    assert post(receivers, transport).status == 200
    receivers.door.stick()
    begun = time.monotonic()
    to_be_repeated(post(receivers, transport))
    to_be_repeated(post(receivers, transport))  # by now the key is no longer remembered
    assert time.monotonic() - begun < 2 * 10  # the whole patience of an exporter, twice
    receivers.door.open()
    deadline = time.monotonic() + 30
    while post(receivers, transport).status != 200:
        assert time.monotonic() < deadline


def test_over_grpc_while_the_database_hangs_the_sender_is_answered_and_health_says_so(receivers: Receivers) -> None:
    body = traces(span())
    assert transports.call(receivers.grpc, body, key=receivers.keys["good"]).code == grpc.StatusCode.OK
    receivers.door.stick()
    assert transports.call(receivers.grpc, body, key=receivers.keys["good"]).code == grpc.StatusCode.UNAVAILABLE
    with grpc.insecure_channel(f"127.0.0.1:{receivers.grpc}") as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=""), timeout=5)
    assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
    receivers.door.open()
    deadline = time.monotonic() + 30
    while transports.call(receivers.grpc, body, key=receivers.keys["good"]).code != grpc.StatusCode.OK:
        assert time.monotonic() < deadline


def test_a_resend_is_acknowledged_and_stored_once(receivers: Receivers, events: Callable[[], int]) -> None:
    body = traces(span(), span())
    first = post(receivers, "OTLP port, protobuf", body)
    before = events()
    again = post(receivers, "OTLP port, protobuf", body)
    over_grpc = transports.call(receivers.grpc, body, key=receivers.keys["good"])
    assert first.receipt and again.receipt and over_grpc.receipt
    assert first.receipt["root"] == again.receipt["root"] == over_grpc.receipt["root"]
    assert events() == before


def test_a_thousand_requests_over_one_connection(receivers: Receivers) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", receivers.otlp, timeout=30)
    headers = {"authorization": f"Bearer {receivers.keys['good']}", "content-type": transports.PROTOBUF}
    for _ in range(1000):
        connection.request("POST", "/v1/traces", body=b"", headers=headers)
        response = connection.getresponse()
        response.read()
        assert response.status == 200
    connection.close()
