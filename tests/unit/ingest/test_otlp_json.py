"""Owns the rules of OTLP/JSON that parsers get wrong, each with good neighbours that must survive it."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from auditlog.errors import Problem
from auditlog.ingest.decode import Decoded, decode_request
from auditlog.item import ABSENT, ARRAY, BYTES, DOUBLE, EMPTY, INT, LOG, SPAN, STRING, Log, Span, Unreadable

TRACE, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def span(**members: Any) -> dict[str, Any]:
    return {"traceId": TRACE, "spanId": SPAN_ID, "name": "x"} | members


def text(one: dict[str, Any] | str) -> str:
    return one if isinstance(one, str) else json.dumps(one)


def read(*spans: dict[str, Any] | str) -> Decoded:
    body = '{"resourceSpans":[{"scopeSpans":[{"spans":[' + ",".join(map(text, spans)) + "]}]}]}"
    return decode_request(body.encode(), SPAN, "json")


def good(**members: Any) -> Span:
    found = read(span(**members))
    assert found.rejected == 0
    assert isinstance(found.items[0], Span)
    return found.items[0]


def value(v: str) -> tuple[int, Any]:
    """Type and value of one attribute, from the text of its AnyValue."""
    found = read(text(span())[:-1] + ',"attributes":[{"key":"k","value":' + v + "}]}")
    assert isinstance(found.items[0], Span), found.message
    return found.items[0].attributes[0][1:]


def bad_beside_good(bad: dict[str, Any] | str) -> Unreadable:
    """The bad one is quarantined with its bytes, its neighbours are spans."""
    found = read(span(), bad, span())
    assert [type(item) for item in found.items] == [Span, Unreadable, Span]
    assert found.rejected == 1
    assert found.message.startswith("item 1: ")
    item = found.items[1]
    assert isinstance(item, Unreadable)
    assert item.raw == text(bad).encode()
    assert (item.index, item.signal, item.encoding) == (1, SPAN, "json")
    return item


@pytest.mark.parametrize("form", [str.lower, str.upper, str.title])
def test_ids_are_hexadecimal_in_either_case(form: Any) -> None:
    item = good(traceId=form(TRACE), spanId=form(SPAN_ID), parentSpanId=form(SPAN_ID))
    assert (item.trace_id, item.span_id, item.parent_span_id) == (bytes.fromhex(TRACE), bytes.fromhex(SPAN_ID), bytes.fromhex(SPAN_ID))


@pytest.mark.parametrize(
    "trace_id", [TRACE[:-2], TRACE + "00", TRACE[:-1], "", "0" * 32, None, "CvdlGRbNQ92ESOshHIAxnA==", "0x" + TRACE[2:], "٣" * 32]
)
def test_a_trace_id_that_is_not_32_hexadecimal_digits_quarantines_the_span(trace_id: str | None) -> None:
    assert bad_beside_good(span(traceId=trace_id)).code == "trace_id_invalid"


@pytest.mark.parametrize("span_id", [SPAN_ID[:-2], "", "0" * 16, None, "t61rcWkgMzE="])
def test_a_span_id_that_is_not_16_hexadecimal_digits_quarantines_the_span(span_id: str | None) -> None:
    assert bad_beside_good(span(spanId=span_id)).code == "span_id_invalid"


def test_a_link_with_an_id_of_another_length_quarantines_the_span() -> None:
    assert bad_beside_good(span(links=[{"traceId": "abcd", "spanId": SPAN_ID}])).code == "trace_id_invalid"


def test_a_log_record_may_have_no_trace() -> None:
    found = decode_request(b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"traceId":"","body":{}},{"body":null}]}]}]}', LOG, "json")
    first, second = found.items
    assert isinstance(first, Log) and isinstance(second, Log)
    assert (first.trace_id, first.body, second.body) == (b"", (EMPTY, None), None)


@pytest.mark.parametrize("sent", ["9007199254740993", '"9007199254740993"'])
def test_64_bit_numbers_are_exact_as_text_and_as_number(sent: str) -> None:
    assert value(f'{{"intValue":{sent}}}') == (INT, 9007199254740993)


@pytest.mark.parametrize("sent", ["9223372036854775808", '"9223372036854775808"', '"1e3"', "1.5", '" 1"', '""', "true", "9" * 5000])
def test_a_number_that_is_no_64_bit_integer_quarantines_the_span(sent: str) -> None:
    bad_beside_good(text(span())[:-1] + ',"attributes":[{"key":"k","value":{"intValue":' + sent + "}}]}")


def test_the_largest_time_is_kept_and_one_more_is_refused() -> None:
    assert good(startTimeUnixNano=str(2**64 - 1), endTimeUnixNano=0).start == 2**64 - 1
    assert bad_beside_good(span(startTimeUnixNano=str(2**64))).code == "field_invalid"


def test_enums_are_numbers_and_unknown_ones_are_kept() -> None:
    assert good(kind=2).kind == 2
    assert good(kind=99, status={"code": 77}).kind == 99
    bad_beside_good(span(kind="SPAN_KIND_SERVER"))
    bad_beside_good(span(status={"code": "STATUS_CODE_OK"}))


def test_unknown_members_are_ignored_at_every_level() -> None:
    odd = {"odd": [1, {"a": None}]}
    body = {
        "resourceSpans": [odd | {"resource": odd, "scopeSpans": [odd | {"scope": odd, "spans": [span(**odd, events=[odd], links=[odd])]}]}]
    } | odd
    found = decode_request(json.dumps(body).encode(), SPAN, "json")
    assert [type(item) for item in found.items] == [Span]


def test_snake_case_is_unknown() -> None:
    assert good(start_time_unix_nano="5").start == 0
    assert read().items == []
    assert decode_request(b'{"resource_spans":[{"scope_spans":[{"spans":[{}]}]}]}', SPAN, "json").items == []


def test_null_is_the_same_as_absent() -> None:
    members = dict.fromkeys(
        ["attributes", "events", "links", "status", "kind", "flags", "traceState", "parentSpanId", "droppedEventsCount"]
    )
    assert good(**members) == good()


def test_an_attribute_without_a_value_differs_from_one_with_an_empty_value() -> None:
    assert good(attributes=[{"key": "a"}, {"key": "a", "value": None}, {"key": "a", "value": {}}]).attributes == [
        ("a", ABSENT, None),
        ("a", ABSENT, None),
        ("a", EMPTY, None),
    ]


def test_of_a_repeated_member_the_last_one_counts_at_every_level() -> None:
    found = read(text(span())[:-1] + ',"name":"first","name":"last","attributes":[{"key":"a","value":{"intValue":1,"intValue":2}}]}')
    assert isinstance(found.items[0], Span)
    assert (found.items[0].name, found.items[0].attributes) == ("last", [("a", INT, 2)])


def test_doubles_that_json_has_no_number_for_are_text() -> None:
    assert math.isnan(value('{"doubleValue":"NaN"}')[1])
    assert value('{"doubleValue":"-Infinity"}') == (DOUBLE, -math.inf)
    assert value('{"doubleValue":3}') == (DOUBLE, 3.0)
    assert math.copysign(1, value('{"doubleValue":-0.0}')[1]) == -1


@pytest.mark.parametrize("sent", ["NaN", "Infinity", "-Infinity", "nan", "'x'", "01"])
def test_what_is_no_json_at_all_is_400_for_the_request(sent: str) -> None:
    with pytest.raises(Problem) as problem:
        read(span(), text(span())[:-1] + f',"odd":{sent}}}')
    assert problem.value.code == "body_undecodable"


def test_bytes_are_base64() -> None:
    assert value('{"bytesValue":"AAH/"}') == (BYTES, b"\x00\x01\xff")
    assert value('{"bytesValue":"AAH_"}') == (BYTES, b"\x00\x01\xff")
    bad_beside_good(span(attributes=[{"key": "k", "value": {"bytesValue": "!!"}}]))


def test_nul_is_kept() -> None:
    assert value('{"stringValue":"a\\u0000b"}') == (STRING, "a\0b")


@pytest.mark.parametrize("half", ["\\ud800", "\\udfff", "\\ud800\\ud800", "\\udc00\\ud800", "x\\uD83Dy"])
def test_half_a_surrogate_pair_quarantines_the_span(half: str) -> None:
    bad_beside_good(text(span())[:-1] + f',"traceState":"{half}"}}')


def test_a_whole_pair_and_an_escaped_backslash_beside_half_a_pair_are_read() -> None:
    found = read(text(span())[:-1] + ',"traceState":"\\ud800"}', text(span())[:-1] + ',"traceState":"\\ud83d\\ude00 \\\\ud800 ä"}')
    assert [type(item) for item in found.items] == [Unreadable, Span]
    assert isinstance(found.items[1], Span)
    assert found.items[1].trace_state == "😀 \\ud800 ä"


def test_two_values_at_once_quarantine_the_span() -> None:
    bad_beside_good(span(attributes=[{"key": "k", "value": {"stringValue": "a", "intValue": "1"}}]))


def nested(levels: int) -> str:
    return '{"arrayValue":{"values":[' * levels + '{"stringValue":"x"}' + "]}}" * levels


def test_a_value_nested_40_deep_is_read_and_one_nested_65_deep_quarantines_its_span() -> None:
    kind, found = value(nested(40))
    for _ in range(39):
        assert kind == ARRAY
        kind, found = found[0]
    assert found == [(STRING, "x")]
    assert bad_beside_good(text(span())[:-1] + ',"attributes":[{"key":"k","value":' + nested(65) + "}]}").code == "item_too_deep"


@pytest.mark.parametrize(
    "body", [nested(5000), "[" * 5000, '{"odd":' + "[" * 1_000_000, '{"resourceSpans":[{"resource":' + '{"a":' * 100_000]
)
def test_nesting_without_end_is_refused_and_harms_nobody(body: str) -> None:
    with pytest.raises(Problem) as problem:
        decode_request(
            body.encode() if body.startswith('{"') and "arrayValue" not in body[:12] else f'{{"odd":{body}'.encode(), SPAN, "json"
        )
    assert problem.value.code in ("nesting_too_deep", "body_undecodable")


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b"{} x", b'{"resourceSpans":{}}', b'{"resourceSpans":[7]}', b"\xff"])
def test_what_is_no_request_is_400(body: bytes) -> None:
    with pytest.raises(Problem) as problem:
        decode_request(body, SPAN, "json")
    assert problem.value.code == "body_undecodable"


@pytest.mark.parametrize("body", [b"{}", b'{"resourceSpans":[]}', b'{"resourceSpans":null}', b'{"resourceSpans":[{"scopeSpans":[{}]}]}'])
def test_an_empty_request_is_no_error(body: bytes) -> None:
    assert decode_request(body, SPAN, "json") == Decoded([], 0, "")


def test_a_resource_that_cannot_be_read_is_quarantined_with_its_items_and_the_next_one_is_read() -> None:
    broken = '{"resource":{"attributes":[{"key":"\\ud800"}]},"scopeSpans":[{"spans":[' + text(span()) + "," + text(span()) + "]}]}"
    whole = '{"scopeSpans":[{"spans":[' + text(span()) + "]}]}"
    found = decode_request(f'{{"resourceSpans":[{broken},{whole}]}}'.encode(), SPAN, "json")
    assert found.rejected == 2
    unit, item = found.items
    assert isinstance(unit, Unreadable) and isinstance(item, Span)
    assert (unit.raw, unit.encoding) == (broken.encode(), "json.resource")


def test_a_scope_that_cannot_be_read_is_quarantined_with_its_resource_known() -> None:
    broken = '{"scope":{"name":"\\ud800"},"spans":[' + text(span()) + "]}"
    body = (
        '{"resourceSpans":[{"resource":{"attributes":[{"key":"a","value":{"intValue":1}}]},"scopeSpans":['
        + broken
        + ',{"spans":['
        + text(span())
        + "]}]}]}"
    )
    unit, item = decode_request(body.encode(), SPAN, "json").items
    assert isinstance(unit, Unreadable) and isinstance(item, Span)
    assert (unit.raw, unit.encoding) == (broken.encode(), "json.scope")
    assert unit.context is not None
    assert unit.context.resource == item.context.resource == [("a", INT, 1)]
