"""Owns one request in the other forms of OTLP: the same message as protobuf and as JSON, converted by Google's library and not by ours."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

IDS = ("traceId", "spanId", "parentSpanId")  # hexadecimal in OTLP/JSON, base64 in every other JSON of protobuf


def empty(path: str) -> Message:
    return ExportTraceServiceRequest() if path.endswith("traces") else ExportLogsServiceRequest()


def message_of(path: str, body: bytes, content_type: str) -> Message:
    message = empty(path)
    if "json" in content_type:
        told = _ids(json.loads(body), lambda text: base64.b64encode(bytes.fromhex(text)).decode())
        json_format.ParseDict(told, message, ignore_unknown_fields=True)
    else:
        message.ParseFromString(body)
    return message


def as_json(message: Message) -> bytes:
    told = json_format.MessageToDict(message, use_integers_for_enums=True)
    return json.dumps(_ids(told, lambda text: base64.b64decode(text).hex())).encode()


def _ids(told: Any, change: Callable[[str], str], key: str = "") -> Any:
    if isinstance(told, dict):
        return {k: _ids(v, change, k) for k, v in told.items()}
    if isinstance(told, list):
        return [_ids(v, change) for v in told]
    return change(told) if key in IDS and isinstance(told, str) else told
