"""One session over OTLP/HTTP with protobuf, OTLP/HTTP with JSON and OTLP/gRPC, on the running service: one and the same decision."""

from __future__ import annotations

import gzip
import http.client
import json
from contextlib import closing
from typing import Any
from urllib.parse import quote

import grpc
import pytest

from tests.corpus import CASES, case
from tests.otlp_forms import as_json, message_of
from tests.service import Service

TRANSPORTS = ("protobuf", "json", "grpc")
OF_ARRIVAL = ("received_at", "event_ids", "key")


def post(service: Service, path: str, body: bytes, content_type: str) -> None:
    headers = {"Content-Type": content_type, "Authorization": f"Bearer {service.first_run['ingest_key']}"}
    with closing(http.client.HTTPConnection("127.0.0.1", service.otlp, timeout=30)) as connection:
        connection.request("POST", path, body, headers)
        assert connection.getresponse().status == 200


def export(service: Service, path: str, body: bytes) -> None:
    signal = "trace" if path.endswith("traces") else "logs"
    name = f"/opentelemetry.proto.collector.{signal}.v1.{signal.capitalize()}Service/Export"
    with grpc.insecure_channel(f"127.0.0.1:{service.grpc}") as channel:
        call: Any = channel.unary_unary(name, request_serializer=None, response_deserializer=None)
        call(body, metadata=(("authorization", f"Bearer {service.first_run['ingest_key']}"),), timeout=30)


def renamed(raw: bytes, told: dict[str, Any], number: int) -> bytes:
    """The same body as another session's: other IDs of the same length, so that nothing is a resend of what was stored before."""
    for trace_id in told["trace_ids"]:
        raw = raw.replace(bytes.fromhex(trace_id), bytes([number + 1]) + bytes.fromhex(trace_id)[1:])
    session = next(f["value"] for f in told["facts"] if f["kind"] == "session_id").encode()
    return raw.replace(session, session[:-1] + str(number).encode())


def plain(shown: Any) -> Any:
    """Without what depends on arrival, and without the session's own IDs."""
    if isinstance(shown, dict):
        return {k: plain(v) for k, v in shown.items() if k not in (*OF_ARRIVAL, "trace_ids", "session_id")}
    return [plain(v) for v in shown] if isinstance(shown, list) else shown


@pytest.mark.parametrize("name", ["openinference/chat_refund", "google-adk/refund", "strands-own/refund"])
def test_a_session_is_told_alike_over_all_three_transports(whole: Service, name: str) -> None:
    told = case(name)
    for number, transport in enumerate(TRANSPORTS):
        for body in told["bodies"]:
            original = gzip.decompress((CASES / name / body["file"]).read_bytes())
            message = message_of(body["path"], original, body["content_type"])
            raw = renamed(message.SerializeToString(), told, number)
            message.ParseFromString(raw)
            if transport == "grpc":
                export(whole, body["path"], raw)
            elif transport == "json":
                post(whole, body["path"], as_json(message), "application/json")
            else:
                post(whole, body["path"], raw, "application/x-protobuf")
    whole.settle()
    session = next(f["value"] for f in told["facts"] if f["kind"] == "session_id")
    found = []
    for number in range(len(TRANSPORTS)):
        (row,) = whole.get(f"/api/v1/sessions?session_id={quote(session[:-1] + str(number))}")["results"]
        found.append(json.loads(json.dumps(plain(whole.get(f"/api/v1/sessions/{row['key']}/timeline")))))
    assert found[0]["steps"]
    assert found[0] == found[1] == found[2]
