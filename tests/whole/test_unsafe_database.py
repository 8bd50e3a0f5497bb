"""Owns that the running service answers senders 503 on every transport while a setting loses data, and stores again without a restart."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import grpc
import psycopg
import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.service import Service

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


def body() -> bytes:
    message = ExportTraceServiceRequest()
    span = message.resource_spans.add().scope_spans.add().spans.add()
    span.trace_id, span.span_id, span.name = b"unsafe-database!", b"12345678", "chat"
    return bytes(message.SerializeToString())


def post(service: Service, port: int, path: str, content: bytes, media: str) -> tuple[int, str | None, bytes]:
    headers = {"Content-Type": media, "Authorization": f"Bearer {service.first_run['ingest_key']}"}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("POST", path, content, headers)
        answer = connection.getresponse()
        return answer.status, answer.getheader("retry-after"), answer.read()


def export(service: Service) -> Any:
    with grpc.insecure_channel(f"127.0.0.1:{service.grpc}") as channel:
        call: Any = channel.unary_unary(EXPORT, request_serializer=None, response_deserializer=None)
        try:
            call(body(), metadata=(("authorization", f"Bearer {service.first_run['ingest_key']}"),), timeout=30)
        except grpc.RpcError as error:
            return error
        return None


@pytest.fixture
def owner(whole: Service) -> Iterator[psycopg.Connection[Any]]:
    with whole.connect() as connection:
        connection.autocommit = True
        yield connection
        load(connection, "ALTER SYSTEM RESET ALL")


def load(owner: psycopg.Connection[Any], statement: str) -> None:
    owner.execute(statement)
    before = owner.execute("SELECT pg_conf_load_time()").fetchone()
    while owner.execute("SELECT pg_conf_load_time()").fetchone() == before:
        owner.execute("SELECT pg_reload_conf()")
        time.sleep(0.02)


def count(owner: psycopg.Connection[Any]) -> tuple[Any, ...] | None:
    return owner.execute("SELECT count(*) FROM batch WHERE protocol <> 5").fetchone()


def test_every_transport_refuses_with_a_way_out_and_stores_again_once_it_is_taken(whole: Service, owner: psycopg.Connection[Any]) -> None:
    rest = json.dumps({"events": [{"kind": "tool_call", "at": "2026-03-01T10:00:00Z", "session_id": "unsafe"}]}).encode()
    load(owner, "ALTER SYSTEM SET fsync = off")
    before = count(owner)
    for port, path, content, media in (
        (whole.otlp, "/v1/traces", body(), "application/x-protobuf"),
        (whole.otlp, "/v1/traces", b'{"resourceSpans": [{"scopeSpans": [{"spans": [{}]}]}]}', "application/json"),
        (whole.http, "/api/v1/events", rest, "application/json"),
    ):
        status, again, said = post(whole, port, path, content, media)
        assert (status, again) == (503, "1")
        assert b"store_unsafe" in said and b"ALTER SYSTEM SET fsync = 'on'; SELECT pg_reload_conf();" in said
    error = export(whole)
    assert error.code() is grpc.StatusCode.UNAVAILABLE and error.details().startswith("store_unsafe: ")
    told = Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    assert [detail.type_url.rsplit(".", 1)[-1] for detail in told.details] == ["ErrorInfo", "RetryInfo"]
    assert count(owner) == before
    load(owner, "ALTER SYSTEM SET fsync = 'on'")
    assert post(whole, whole.otlp, "/v1/traces", body(), "application/x-protobuf")[0] == 200
    assert export(whole) is None
    assert post(whole, whole.http, "/api/v1/events", rest, "application/json")[0] == 200
