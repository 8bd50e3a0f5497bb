"""Owns the senders of the contract's tests: one request over each transport, its answer in one form."""

from __future__ import annotations

import http.client
import json
import secrets
import socket
from typing import Any, NamedTuple

import grpc
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.conformance import note

PROTOBUF, JSON = "application/x-protobuf", "application/json"
GRPC_EXPORT = "/opentelemetry.proto.collector.{0}.v1.{1}Service/Export"


def name_of(content_type: str | None) -> str:
    """Of the transport, as the catalogue of cases calls it."""
    media = (content_type or "").partition(";")[0].strip().lower()
    return {PROTOBUF: "protobuf", JSON: "JSON"}.get(media, "HTTP")


ANSWERS: dict[str, Any] = {"traces": ExportTraceServiceResponse, "logs": ExportLogsServiceResponse}


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def receipt(self) -> dict[str, str] | None:
        text = self.headers.get("x-auditlog-receipt")
        return dict(part.split("=", 1) for part in text.split(";")) if text else None

    def google_status(self) -> Status:
        """The body as google.rpc.Status in the encoding of the answer; fails if it is anything else."""
        if self.headers["content-type"] == JSON:
            document = json.loads(self.body)
            return Status(code=document["code"], message=document["message"])
        assert self.headers["content-type"] == PROTOBUF
        return Status.FromString(self.body)


def send(
    port: int, path: str, body: bytes, *, key: str | None, method: str = "POST", content_type: str | None = PROTOBUF, **headers: str
) -> Answer:
    """One request over a connection of its own. Header names with underscores for hyphens."""
    note(name_of(content_type), path)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    all_headers = {name.replace("_", "-"): value for name, value in headers.items()}
    if key is not None:
        all_headers["authorization"] = f"Bearer {key}"
    if content_type is not None:
        all_headers["content-type"] = content_type
    try:
        connection.request(method, path, body=body, headers=all_headers)
        response = connection.getresponse()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
    finally:
        connection.close()


def send_raw(port: int, data: bytes, *, end: bool, timeout: float = 15) -> bytes:
    """Bytes as they are, for requests that no client library would send. `end`: close our half afterwards."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        connection.sendall(data)
        if end:
            connection.shutdown(socket.SHUT_WR)
        return connection.recv(65536)


def raw_head(path: str, key: str, *lines: str, content_type: str = PROTOBUF) -> bytes:
    note(name_of(content_type), path)
    fixed = (f"POST {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {key}", f"Content-Type: {content_type}", *lines, "", "")
    return "\r\n".join(fixed).encode()


class GrpcAnswer(NamedTuple):
    code: grpc.StatusCode
    message: str
    trailers: dict[str, Any]
    body: bytes

    @property
    def receipt(self) -> dict[str, str] | None:
        text = self.trailers.get("x-auditlog-receipt")
        return dict(part.split("=", 1) for part in text.split(";")) if text else None


def call(
    port: int,
    body: bytes,
    *,
    key: str | None,
    method: str = GRPC_EXPORT.format("trace", "Trace"),
    gzip: bool = False,
    header: str = "authorization",
) -> GrpcAnswer:
    note("gRPC", method)
    metadata = () if key is None else ((header, f"Bearer {key}" if header == "authorization" else key),)
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.max_send_message_length", -1)]) as channel:
        export = channel.unary_unary(method, request_serializer=None, response_deserializer=None)
        try:
            answer, done = export.with_call(
                body, metadata=metadata, timeout=30, compression=grpc.Compression.Gzip if gzip else None, wait_for_ready=True
            )
            return GrpcAnswer(grpc.StatusCode.OK, "", dict(done.trailing_metadata()), answer)
        except grpc.RpcError as error:
            return GrpcAnswer(error.code(), error.details(), dict(error.trailing_metadata() or ()), b"")


def retry_seconds(answer: GrpcAnswer) -> int | None:
    """What RetryInfo says, in the details and in the trailer of its own, which must agree; None: it may not be repeated."""
    alone, details = (answer.trailers.get(name) for name in ("google.rpc.retryinfo-bin", "grpc-status-details-bin"))
    inner = RetryInfo()
    within = details is not None and any(detail.Unpack(inner) for detail in Status.FromString(details).details)
    assert within == (alone is not None)
    if alone is None:
        return None
    assert RetryInfo.FromString(alone) == inner
    return int(inner.retry_delay.seconds)


def span(name: str = "a", **given: Any) -> Span:
    fields: dict[str, Any] = {
        "trace_id": secrets.token_bytes(16),
        "span_id": secrets.token_bytes(8),
        "start_time_unix_nano": 1_700_000_000_000_000_000,
    }
    fields.update(given)
    return Span(name=name, **fields)


def traces(*spans: Span) -> bytes:
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add(spans=spans)
    return bytes(request.SerializeToString())


def logs(count: int = 1) -> bytes:
    request = ExportLogsServiceRequest()
    part = request.resource_logs.add().scope_logs.add()
    for _ in range(count):
        part.log_records.add(time_unix_nano=1, event_name=secrets.token_hex(8))
    return bytes(request.SerializeToString())
