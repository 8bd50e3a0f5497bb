"""Owns every answer of ingest: success with its receipt, partial success, refusals; OTLP's form and REST's, over HTTP and gRPC."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from auditlog.errors import INVALID, Problem
from auditlog.item import SPAN
from auditlog.store.writer import Written

RECEIPT: Final = "x-auditlog-receipt"
PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"
_MOST_REPORTED: Final = 10_000  # quarantined events named in one REST answer
_PER_MESSAGE: Final = 1_000  # characters


class Answer(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    body: bytes
    code: str = ""  # of a refusal


class Reported(msgspec.Struct):
    """One event in quarantine, as a REST answer names it."""

    index: int
    code: str
    message: str


def receipt(written: Written) -> str:
    """What covers every acknowledged item, duplicates included: batch, Merkle root and count."""
    return f"batch={written.batch_no};root={written.root.hex()};count={written.acknowledged}"


def _receipt_header(written: Written | None) -> list[tuple[str, str]]:
    return [] if written is None else [(RECEIPT, receipt(written))]


def otlp_body(signal: int, media: str, rejected: int, message: str) -> bytes:
    """ExportTraceServiceResponse or ExportLogsServiceResponse; `partial_success` only where there is something to say."""
    message = message[:_PER_MESSAGE]
    if media == JSON:
        if not rejected and not message:
            return b"{}"
        count = "rejectedSpans" if signal == SPAN else "rejectedLogRecords"
        return msgspec.json.encode({"partialSuccess": {count: str(rejected), "errorMessage": message}})
    answer: Any = ExportTraceServiceResponse() if signal == SPAN else ExportLogsServiceResponse()
    if rejected or message:
        answer.partial_success.error_message = message
        if signal == SPAN:
            answer.partial_success.rejected_spans = rejected
        else:
            answer.partial_success.rejected_log_records = rejected
    return bytes(answer.SerializeToString())


def rejection_text(rejected: int, message: str) -> str:
    """For people: exporters drop what is rejected and only log this, so it says that nothing is gone."""
    return f"{rejected} of the items could not be read and are kept in quarantine as they were sent; {message}" if rejected else message


def otlp_success(signal: int, media: str, rejected: int, message: str, written: Written | None) -> Answer:
    return Answer(200, [("content-type", media), *_receipt_header(written)], otlp_body(signal, media, rejected, message))


def status(problem: Problem) -> Status:
    """Details: ErrorInfo; BadRequest where the data is what is wrong, which OTLP asks for; RetryInfo where another try may help."""
    details: list[Any] = [ErrorInfo(reason=problem.code.upper(), domain="auditlog")]
    if problem.kind.grpc == INVALID:
        details.append(BadRequest(field_violations=[BadRequest.FieldViolation(description=problem.message)]))
    if problem.retry_after:
        details.append(retry_info(problem))
    message = Status(code=problem.kind.grpc, message=f"{problem.code}: {problem.message}")
    for detail in details:
        message.details.add().Pack(detail)
    return message


def retry_info(problem: Problem) -> RetryInfo:
    return RetryInfo(retry_delay=Duration(seconds=problem.retry_after or 1))


def _refusal_headers(problem: Problem, media: str) -> list[tuple[str, str]]:
    headers = [("content-type", media)]
    if problem.retry_after:
        headers.append(("retry-after", str(problem.retry_after)))
    if problem.code == "method_not_allowed":
        headers.append(("allow", "POST"))
    if problem.kind.http == 401:
        headers.append(("www-authenticate", 'Bearer realm="auditlog"'))
    return headers


def otlp_refusal(problem: Problem, media: str) -> Answer:
    """A google.rpc.Status in the encoding of the request. Never a redirect: exporters count it as success."""
    headers = _refusal_headers(problem, media)
    told = status(problem)
    body = msgspec.json.encode(MessageToDict(told)) if media == JSON else told.SerializeToString()
    return Answer(problem.kind.http, headers, body, problem.code)


def rest_success(good: int, reported: Sequence[Reported], written: Written | None) -> Answer:
    body: dict[str, Any] = {"accepted": 0, "duplicates": 0, "quarantined": list(reported[:_MOST_REPORTED]), "batch": None}
    if written is not None:
        # Of a batch with both quarantined and repeated events the store does not say which were which: the quarantined count as new.
        body["accepted"] = max(0, min(good, written.stored - len(reported)))
        body["duplicates"] = good - body["accepted"]
        body["batch"] = {"id": str(written.batch_no), "root": written.root.hex(), "count": written.acknowledged}
    if len(reported) > _MOST_REPORTED:
        body["quarantined_total"] = len(reported)  # the list is cut short, and says so
    return Answer(200, [("content-type", JSON), *_receipt_header(written)], msgspec.json.encode(body))


def rest_refusal(problem: Problem) -> Answer:
    body = {"error": {"code": problem.code, "message": problem.message, "detail": problem.detail}}
    return Answer(problem.kind.http, _refusal_headers(problem, JSON), msgspec.json.encode(body), problem.code)
