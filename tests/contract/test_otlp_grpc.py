"""Owns the rest of what OTLP/gRPC answers: sizes, compression, receipts, services that are not there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest

from auditlog.item import Log, Span
from tests.contract.conftest import Receivers
from tests.contract.transports import GRPC_EXPORT, call, logs, span, traces

pytestmark = pytest.mark.django_db  # only so that pytest-django makes the database; the receivers are processes of their own

Items = Callable[[dict[str, str] | None], list[Any]]
OK = grpc.StatusCode.OK


@pytest.mark.parametrize("gzip", [False, True])
def test_a_message_above_the_default_limit_of_grpc_is_stored_and_has_a_receipt(receivers: Receivers, gzip: bool, items_of: Items) -> None:
    large = span("large")
    large.attributes.add(key="k").value.string_value = "xyz" * 2_000_000
    answer = call(receivers.grpc, traces(large, span()), key=receivers.keys["good"], gzip=gzip)
    assert (answer.code, answer.body) == (OK, b"")
    assert answer.receipt is not None
    assert answer.receipt["count"] == "2"
    assert [type(item) for item in items_of(answer.receipt)] == [Span, Span]


def test_logs_are_stored(receivers: Receivers, items_of: Items) -> None:
    answer = call(receivers.grpc, logs(2), key=receivers.keys["good"], method=GRPC_EXPORT.format("logs", "Logs"))
    assert answer.code == OK
    assert [type(item) for item in items_of(answer.receipt)] == [Log, Log]


def test_an_empty_request_is_no_error(receivers: Receivers) -> None:
    answer = call(receivers.grpc, b"", key=receivers.keys["good"])
    assert (answer.code, answer.receipt) == (OK, None)


def test_a_message_of_exactly_the_limit_is_read(receivers: Receivers) -> None:
    unknown_field = b"\x7a" + b"\xfa\xff\xff\x1f"  # field 15, 64 MiB less these five bytes and one
    body = unknown_field + bytes(64 * 1024 * 1024 - 6)
    assert len(body) == 64 * 1024 * 1024 - 1
    assert call(receivers.grpc, body, key=receivers.keys["good"]).code == OK


@pytest.mark.parametrize(
    "method", [GRPC_EXPORT.format("metrics", "Metrics"), "/opentelemetry.proto.collector.trace.v1.TraceService/Import"]
)
def test_what_is_not_stored_is_unimplemented(receivers: Receivers, method: str) -> None:
    assert call(receivers.grpc, b"", key=receivers.keys["good"], method=method).code == grpc.StatusCode.UNIMPLEMENTED


def test_without_a_key_the_answer_is_unauthenticated(receivers: Receivers) -> None:
    assert call(receivers.grpc, traces(span()), key=None).code == grpc.StatusCode.UNAUTHENTICATED
