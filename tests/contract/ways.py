"""Owns the six ways of OTLP, three transports with two signals each: one test's items as a request of each, one form for all answers."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import grpc
import psutil
import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from auditlog import item as items
from auditlog.errors import CODES
from tests.contract import transports
from tests.contract.conftest import Receivers
from tests.contract.transports import GRPC_EXPORT, JSON, PROTOBUF
from tests.otlp_forms import as_json, empty

NAMES = {"traces": ("resourceSpans", "scopeSpans", "spans"), "logs": ("resourceLogs", "scopeLogs", "logRecords")}
Message = Any  # of the request: ExportTraceServiceRequest or ExportLogsServiceRequest
One = Any  # of one item: Span or LogRecord


class Way(NamedTuple):
    transport: str
    signal: str

    def __str__(self) -> str:
        return " ".join(self)

    @property
    def path(self) -> str:
        return f"/v1/{self.signal}"

    @property
    def content_type(self) -> str:
        return JSON if self.transport == "JSON" else PROTOBUF

    @property
    def method(self) -> str:
        return GRPC_EXPORT.format(*(("trace", "Trace") if self.signal == "traces" else ("logs", "Logs")))

    @property
    def number(self) -> int:
        return items.SPAN if self.signal == "traces" else items.LOG


WAYS = [Way(transport, signal) for transport in ("protobuf", "JSON", "gRPC") for signal in ("traces", "logs")]
OVER_HTTP = [way for way in WAYS if way.transport != "gRPC"]
AS_JSON = [way for way in WAYS if way.transport == "JSON"]
AS_PROTOBUF = [way for way in WAYS if way.transport == "protobuf"]
OVER_GRPC = [way for way in WAYS if way.transport == "gRPC"]


def over(ways: Iterable[Way]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("way", ways, ids=str)


class Reply(NamedTuple):
    """An answer, whichever way it came. `code` is "" for success, else the stable code; `http` is 0 over gRPC."""

    code: str
    http: int
    rejected: int
    message: str
    receipt: dict[str, str] | None


def ask(receivers: Receivers, way: Way, body: bytes, *, port: int = 0, key: str = "good", **headers: str) -> Reply:
    """Sends a body. What may be repeated has to say so, in seconds that an exporter has."""
    if way.transport == "gRPC":
        return _grpc(transports.call(port or receivers.grpc, body, key=receivers.keys[key], method=way.method), way)
    where = port or receivers.otlp
    answer = transports.send(where, way.path, body, key=receivers.keys[key], content_type=way.content_type, **headers)
    assert answer.headers["content-type"] == way.content_type
    if answer.status != 200:
        status = answer.google_status()
        code, _, message = status.message.partition(": ")
        assert (CODES[code].http, CODES[code].grpc) == (answer.status, status.code)
        assert (answer.headers.get("retry-after") in ("1", "2", "3")) == (answer.status in (429, 503))
        return Reply(code, answer.status, 0, message, answer.receipt)
    rejected, message = said(way, answer.body)
    return Reply("", 200, rejected, message, answer.receipt)


def _grpc(answer: transports.GrpcAnswer, way: Way) -> Reply:
    if answer.code is not grpc.StatusCode.OK:
        code, _, message = answer.message.partition(": ")
        if code in CODES:  # else it is grpcio's own
            assert CODES[code].grpc == answer.code.value[0]
            assert (transports.retry_seconds(answer) in (1, 2, 3)) == (CODES[code].http in (429, 503))
        return Reply(code, 0, 0, message, answer.receipt)
    rejected, message = said(way, answer.body)
    return Reply("", 0, rejected, message, answer.receipt)


def said(way: Way, body: bytes) -> tuple[int, str]:
    """partial_success: how many were rejected, and the message."""
    if way.transport == "JSON":
        told = json.loads(body).get("partialSuccess", {})
        return int(told.get("rejectedSpans" if way.signal == "traces" else "rejectedLogRecords", 0)), told.get("errorMessage", "")
    answer = transports.ANSWERS[way.signal].FromString(body)
    told = answer.partial_success
    return (told.rejected_spans if way.signal == "traces" else told.rejected_log_records), told.error_message


def one(way: Way, name: str = "a", **given: Any) -> One:
    """A span, or a log record with the same identity; `name` is its name or its event's."""
    if way.signal == "traces":
        return transports.span(name, **given)
    fields: dict[str, Any] = {
        "trace_id": secrets.token_bytes(16),
        "span_id": secrets.token_bytes(8),
        "time_unix_nano": 1_700_000_000 * 10**9,
    }
    return LogRecord(event_name=name, **(fields | given))


def with_value(way: Way, name: str = "a", **value: Any) -> One:
    made = one(way, name)
    made.attributes.append(KeyValue(key="k", value=AnyValue(**value)))
    return made


def message(way: Way, *members: One) -> Message:
    made: Any = empty(way.path)
    if way.signal == "traces":
        made.resource_spans.add().scope_spans.add(spans=members)
    else:
        made.resource_logs.add().scope_logs.add(log_records=members)
    return made


def encode(way: Way, request: Message) -> bytes:
    return as_json(request) if way.transport == "JSON" else bytes(request.SerializeToString())


def body(way: Way, *members: One) -> bytes:
    return encode(way, message(way, *members))


def text(way: Way, **members: Any) -> dict[str, Any]:
    """An item of OTLP/JSON, to be spoilt."""
    name = "name" if way.signal == "traces" else "eventName"
    return {"traceId": secrets.token_hex(16), "spanId": secrets.token_hex(8), name: "a"} | members


def with_text(way: Way, value: str) -> str:
    """The text of an item of OTLP/JSON with one attribute, from the text of its AnyValue."""
    return json.dumps(text(way))[:-1] + ',"attributes":[{"key":"k","value":' + value + "}]}"


def around(way: Way, *members: dict[str, Any] | str) -> bytes:
    """The JSON texts of items as a request."""
    groups, parts, inner = NAMES[way.signal]
    listed = ",".join(member if isinstance(member, str) else json.dumps(member) for member in members)
    return f'{{"{groups}":[{{"{parts}":[{{"{inner}":[{listed}]}}]}}]}}'.encode()


def name_of(stored: items.Item) -> str:
    return stored.name if isinstance(stored, items.Span) else stored.event_name  # type: ignore[union-attr]


def bad(way: Way) -> tuple[One, Callable[[bytes], bytes]]:
    """An item that will not be readable, and what makes it so in the body."""
    made = one(way, "MARK")
    if way.transport == "JSON":
        return made, lambda sent: sent.replace(b"MARK", b"\\ud800")
    return made, lambda sent: sent.replace(b"MARK", b"\xff\xff\xff\xff")


def family(pid: int) -> list[psutil.Process]:
    """A process and its workers."""
    main = psutil.Process(pid)
    return [main, *main.children(recursive=True)]


def base64_id(length: int) -> str:
    return base64.b64encode(secrets.token_bytes(length)).decode()
