"""Owns the rest of what OTLP/gRPC answers: sizes, compression, garbage, and the details of a refusal."""

from __future__ import annotations

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status

from tests.contract import ways
from tests.contract.conftest import Items, Receivers
from tests.contract.transports import call, retry_seconds
from tests.contract.ways import OVER_GRPC, Way, over
from tests.strategies import as_request, singles

pytestmark = pytest.mark.django_db  # only so that pytest-django makes the database; the receivers are processes of their own
proves = pytest.mark.conformance

OK = grpc.StatusCode.OK


@over(OVER_GRPC)
@pytest.mark.parametrize("gzip", [pytest.param(False, marks=proves(38)), pytest.param(True, marks=proves(38, 40))])
def test_a_message_above_the_default_limit_of_grpc_is_stored_and_has_a_receipt(
    receivers: Receivers, way: Way, gzip: bool, items_of: Items
) -> None:
    request = ways.message(way, ways.with_value(way, string_value="xyz" * 2_000_000))
    answer = call(receivers.grpc, ways.encode(way, request), key=receivers.keys["good"], method=way.method, gzip=gzip)
    assert (answer.code, answer.body) == (OK, b"")
    assert answer.receipt is not None and answer.receipt["count"] == "1"
    assert [as_request(item) for item in items_of(answer.receipt)] == singles(request, way.number)


@proves(42)
@over(OVER_GRPC)
def test_an_empty_request_is_no_error(receivers: Receivers, way: Way) -> None:
    answer = call(receivers.grpc, b"", key=receivers.keys["good"], method=way.method)
    assert (answer.code, answer.body, answer.receipt) == (OK, b"", None)


@proves(41)
@over(OVER_GRPC)
def test_garbage_is_invalid_argument_and_says_what_is_bad_about_it(receivers: Receivers, way: Way) -> None:
    answer = call(receivers.grpc, b"\xff\xfegarbage", key=receivers.keys["good"], method=way.method)
    assert answer.code == grpc.StatusCode.INVALID_ARGUMENT
    assert answer.message.startswith("body_undecodable: ")
    details = Status.FromString(answer.trailers["grpc-status-details-bin"]).details
    found, info = BadRequest(), ErrorInfo()
    assert [detail.Unpack(found) or detail.Unpack(info) for detail in details] == [True, True]
    assert info.reason == "BODY_UNDECODABLE"
    assert [violation.description for violation in found.field_violations] == [answer.message.removeprefix("body_undecodable: ")]


@proves(39)
@over(OVER_GRPC)
@pytest.mark.parametrize("gzip", [False, True])
def test_sixty_five_mebibytes_are_resource_exhausted_and_not_to_be_repeated(receivers: Receivers, way: Way, gzip: bool) -> None:
    answer = call(receivers.grpc, bytes(65 * 1024 * 1024), key=receivers.keys["good"], method=way.method, gzip=gzip)
    assert answer.code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert retry_seconds(answer) is None
