"""Owns what becomes of values on their way in: IDs, numbers, enums, texts, depth; what parsers get wrong, over every transport."""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditlog.item import ARRAY, BYTES, DOUBLE, INT, LOG, SPAN, STRING, Unreadable
from tests import strategies
from tests.contract import ways
from tests.contract.conftest import Count, Items, Receivers
from tests.contract.ways import AS_JSON, WAYS, Way, around, ask, body, one, over, text, with_text, with_value
from tests.strategies import as_request, singles
from tests.unit.ingest.test_protobuf import length_delimited

pytestmark = pytest.mark.django_db  # only so that pytest-django makes the database; the receivers are processes of their own
proves = pytest.mark.conformance


def kept(receivers: Receivers, way: Way, sent: bytes, items_of: Items) -> Any:
    """The one item of a request that must be taken without a word."""
    reply = ask(receivers, way, sent)
    assert (reply.code, reply.rejected, reply.message) == ("", 0, "")
    (item,) = items_of(reply.receipt)
    assert not isinstance(item, Unreadable)
    return item


def refused(receivers: Receivers, way: Way, spoilt: dict[str, Any] | str, items_of: Items) -> Unreadable:
    """The bad one of three items of JSON: its neighbours are stored, and it itself as it was sent."""
    reply = ask(receivers, way, around(way, text(way), spoilt, text(way)))
    assert (reply.code, reply.rejected) == ("", 1)
    assert reply.message.startswith("1 of the items could not be read") and "item 1: " in reply.message
    found = items_of(reply.receipt)
    assert len(found) == 3
    (bad,) = (item for item in found if isinstance(item, Unreadable))
    assert bad.raw == (spoilt if isinstance(spoilt, str) else json.dumps(spoilt)).encode()
    return bad


@proves(43)
@over(AS_JSON)
@pytest.mark.parametrize("form", [str.lower, str.upper, str.title])
def test_ids_are_hexadecimal_in_either_case(receivers: Receivers, way: Way, form: Any, items_of: Items) -> None:
    trace_id, span_id = "ab" + secrets.token_hex(15), "cd" + secrets.token_hex(7)
    item = kept(receivers, way, around(way, text(way, traceId=form(trace_id), spanId=form(span_id))), items_of)
    assert (item.trace_id.hex(), item.span_id.hex()) == (trace_id, span_id)


@proves(44)
@over(WAYS)
@pytest.mark.parametrize(("field", "size", "code"), [("trace_id", 15, "trace_id_invalid"), ("span_id", 9, "span_id_invalid")])
def test_an_id_of_another_length_is_rejected_and_the_rest_is_stored(
    receivers: Receivers, way: Way, field: str, size: int, code: str, items_of: Items
) -> None:
    wrong = one(way, "wrong", **{field: secrets.token_bytes(size)})
    reply = ask(receivers, way, body(way, one(way), wrong, one(way)))
    assert (reply.code, reply.rejected) == ("", 1)
    assert field.replace("_", "") in reply.message.replace("_", "").lower()
    found = items_of(reply.receipt)
    assert sorted(getattr(item, "code", "") for item in found) == ["", "", code]


@proves(45)
@over(AS_JSON)
def test_an_id_in_base64_is_never_misread(receivers: Receivers, way: Way, items_of: Items) -> None:
    encoded = ways.base64_id(16)
    assert len(encoded) == 24
    assert refused(receivers, way, text(way, traceId=encoded), items_of).code == "trace_id_invalid"
    assert refused(receivers, way, text(way, spanId=ways.base64_id(8)), items_of).code == "span_id_invalid"


@proves(46)
@over(WAYS)
def test_a_trace_id_of_zeros_rejects_a_span_and_is_kept_in_a_log_record(receivers: Receivers, way: Way, items_of: Items) -> None:
    reply = ask(receivers, way, body(way, one(way, "zeros", trace_id=bytes(16)), one(way)))
    found = items_of(reply.receipt)
    if way.signal == "traces":
        assert reply.rejected == 1 and reply.message
        assert sorted(getattr(item, "code", "") for item in found) == ["", "trace_id_invalid"]
    else:
        assert reply.rejected == 0
        assert {item.trace_id for item in found} > {bytes(16)}


@proves(47)
@over(AS_JSON)
@pytest.mark.parametrize("number", ["-9223372036854775808", "7", "9223372036854775807"])
def test_int64_is_read_as_text_and_as_number(receivers: Receivers, way: Way, number: str, items_of: Items) -> None:
    for written in (number, f'"{number}"'):
        item = kept(receivers, way, around(way, with_text(way, '{"intValue":' + written + "}")), items_of)
        assert item.attributes == [("k", INT, int(number))]


@proves(48)
@over(WAYS)
def test_an_integer_that_no_double_holds_is_exact(receivers: Receivers, way: Way, items_of: Items) -> None:
    assert kept(receivers, way, body(way, with_value(way, int_value=9007199254740993)), items_of).attributes == [
        ("k", INT, 9007199254740993)
    ]
    if way.transport == "JSON":
        bare = around(way, with_text(way, '{"intValue":9007199254740993}'))
        assert kept(receivers, way, bare, items_of).attributes == [("k", INT, 9007199254740993)]


@proves(49)
@over(AS_JSON)
@pytest.mark.parametrize("written", ["9223372036854775808", '"9223372036854775808"', '"-9223372036854775809"'])
def test_more_than_an_int64_holds_is_rejected(receivers: Receivers, way: Way, written: str, items_of: Items) -> None:
    refused(receivers, way, with_text(way, '{"intValue":' + written + "}"), items_of)


ENUMS = {"traces": ("kind", "kind", "SPAN_KIND_SERVER"), "logs": ("severityNumber", "severity", "SEVERITY_NUMBER_INFO")}


@proves(50)
@over(AS_JSON)
def test_an_enum_is_a_number(receivers: Receivers, way: Way, items_of: Items) -> None:
    member, field, _ = ENUMS[way.signal]
    assert getattr(kept(receivers, way, around(way, text(way, **{member: 5})), items_of), field) == 5


@proves(51)
@over(AS_JSON)
def test_the_name_of_an_enum_is_rejected(receivers: Receivers, way: Way, items_of: Items) -> None:
    member, _, name = ENUMS[way.signal]
    refused(receivers, way, text(way, **{member: name}), items_of)


@proves(52)
@over(WAYS)
def test_an_unknown_enum_number_is_kept(receivers: Receivers, way: Way, items_of: Items) -> None:
    _, field, _ = ENUMS[way.signal]
    sent = one(way, kind=99) if way.signal == "traces" else one(way, severity_number=99)
    assert getattr(kept(receivers, way, body(way, sent), items_of), field) == 99


def filled(way: Way) -> Message:
    """A message with something at every level."""
    member = with_value(way, string_value="x")
    member.attributes.add(key="list").value.array_value.values.add(string_value="y")
    member.attributes.add(key="map").value.kvlist_value.values.add(key="z").value.int_value = 1
    if way.signal == "traces":
        member.events.add(name="event").attributes.add(key="k").value.bool_value = True
        member.links.add(trace_id=b"t" * 16, span_id=b"s" * 8).attributes.add(key="k").value.double_value = 1.5
        member.status.code = 1
    else:
        member.body.string_value = "body"
    request = ways.message(way, member)
    (group,) = request.resource_spans if way.signal == "traces" else request.resource_logs
    (part,) = group.scope_spans if way.signal == "traces" else group.scope_logs
    group.resource.attributes.add(key="service.name").value.string_value = "s"
    part.scope.name = "scope"
    part.scope.attributes.add(key="k").value.bytes_value = b"b"
    return request


def every_level(told: Any) -> Iterator[Any]:
    """Each message within a message of protobuf, or each object within an object of JSON, itself included."""
    if isinstance(told, Message):
        yield told
        for field, value in told.ListFields():
            for inner in (value if field.is_repeated else [value]) if field.message_type else ():
                yield from every_level(inner)
    elif isinstance(told, dict | list):
        if isinstance(told, dict):
            yield told
        for inner in list(told.values()) if isinstance(told, dict) else told:
            yield from every_level(inner)


def changed(way: Way, request: Message, odd: dict[str, Any]) -> bytes:
    """The request with something unknown at every level."""
    if way.transport == "JSON":
        document = json.loads(ways.encode(way, request))
        for level in list(every_level(document)):
            level |= odd
        return json.dumps(document).encode()
    for level in list(every_level(request)):
        level.MergeFromString(b"\xc2\x3e\x01x\xc8\x3e\x07")  # fields 1000 and 1001, bytes and a varint
    return ways.encode(way, request)


@proves(53)
@over(WAYS)
def test_unknown_fields_are_ignored_at_every_level(receivers: Receivers, way: Way, items_of: Items) -> None:
    request = filled(way)
    (plain,) = singles(request, way.number)
    assert len(list(every_level(request))) > 12
    sent = changed(way, request, {"odd": [1, {"a": None}], "other": "x"})
    assert sent.count(b"odd" if way.transport == "JSON" else b"\xc2\x3e\x01x") > 12
    assert as_request(kept(receivers, way, sent, items_of)) == plain


@proves(54)
@over(AS_JSON)
def test_names_in_snake_case_are_unknown(receivers: Receivers, way: Way, items_of: Items) -> None:
    odd = {"trace_id": "no ID", "start_time_unix_nano": "5", "time_unix_nano": "5", "severity_number": "no number", "string_value": 7}
    request = filled(way)
    (plain,) = singles(request, way.number)
    assert as_request(kept(receivers, way, changed(way, request, odd), items_of)) == plain


ABSENT = {
    "traces": ("attributes", "events", "links", "status", "kind", "flags", "traceState", "parentSpanId", "endTimeUnixNano"),
    "logs": ("attributes", "body", "severityNumber", "severityText", "flags", "timeUnixNano", "observedTimeUnixNano"),
}


@proves(55)
@over(AS_JSON)
def test_null_is_the_same_as_absent(receivers: Receivers, way: Way, items_of: Items) -> None:
    plain = text(way)
    item = kept(receivers, way, around(way, plain), items_of)
    groups, parts, inner = ways.NAMES[way.signal]
    nulls = {groups: [{"resource": None, "schemaUrl": None, parts: [{"scope": None, "schemaUrl": None, inner: [
        plain | dict.fromkeys(ABSENT[way.signal]) | {"spanId": secrets.token_hex(8)}
    ]}]}]}  # fmt: skip
    again = kept(receivers, way, json.dumps(nulls).encode(), items_of)
    again.span_id = item.span_id
    assert again == item


@proves(56)
@over(AS_JSON)
def test_of_a_repeated_member_the_last_one_counts_also_where_a_neighbour_is_bad(receivers: Receivers, way: Way, items_of: Items) -> None:
    """The second time another parser reads the item: the one that salvages."""
    name = "name" if way.signal == "traces" else "eventName"
    twice = (
        json.dumps(text(way))[:-1]
        + f',"{name}":"first","{name}":"last","attributes":[{{"key":"a","value":{{"intValue":1,"intValue":2}}}}]}}'
    )
    found = [kept(receivers, way, around(way, twice), items_of)]
    other = json.dumps(text(way))[:-1] + twice[twice.index(f',"{name}":"first"') :]
    reply = ask(receivers, way, around(way, other, text(way, traceId="bad")))
    assert reply.rejected == 1
    found += [item for item in items_of(reply.receipt) if not isinstance(item, Unreadable)]
    assert [(ways.name_of(item), item.attributes) for item in found] == [("last", [("a", INT, 2)])] * 2


@proves(57)
@over(WAYS)
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_doubles_that_are_no_numbers_are_stored_and_shown(
    receivers: Receivers, way: Way, number: float, items_of: Items, shown: Any
) -> None:
    reply = ask(receivers, way, body(way, with_value(way, double_value=number)))
    (item,) = items_of(reply.receipt)
    assert repr(item.attributes) == repr([("k", DOUBLE, number)])
    (document,) = shown(reply.receipt)
    written = {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}[str(number)]
    assert f'{{"doubleValue":"{written}"}}'.encode() in document


@proves(57)
@over(AS_JSON)
@pytest.mark.parametrize("written", ["NaN", "Infinity", "-Infinity"])
def test_a_bare_nan_is_no_json(receivers: Receivers, way: Way, written: str, events: Count) -> None:
    before = events()
    reply = ask(receivers, way, around(way, text(way), with_text(way, '{"doubleValue":' + written + "}")))
    assert (reply.http, reply.code) == (400, "body_undecodable")
    assert events() == before


@proves(58)
@over(WAYS)
def test_bytes_are_bytes(receivers: Receivers, way: Way, items_of: Items) -> None:
    data = bytes(range(256))
    sent = body(way, with_value(way, bytes_value=data))
    assert way.transport != "JSON" or b'"bytesValue": "AAECAwQF' in sent
    assert kept(receivers, way, sent, items_of).attributes == [("k", BYTES, data)]


@proves(59)
@over(WAYS)
def test_nul_is_stored_and_returned(receivers: Receivers, way: Way, items_of: Items, shown: Any) -> None:
    sent = with_value(way, "na\0me", string_value="a\0b\0")
    sent.attributes[0].key = "k\0"
    reply = ask(receivers, way, body(way, sent))
    (item,) = items_of(reply.receipt)
    assert (ways.name_of(item), item.attributes) == ("na\0me", [("k\0", STRING, "a\0b\0")])
    (document,) = shown(reply.receipt)
    assert b'"a\\u0000b\\u0000"' in document and b'"k\\u0000"' in document


@proves(60)
@over(AS_JSON)
@pytest.mark.parametrize("half", ["\\ud800", "x\\udfff"])
def test_half_a_surrogate_pair_is_kept_as_it_was_sent(receivers: Receivers, way: Way, half: str, items_of: Items, shown: Any) -> None:
    spoilt = f'{{"stringValue":"{half}"}}'
    refused(receivers, way, with_text(way, spoilt), items_of)
    spoilt = with_text(way, spoilt)
    reply = ask(receivers, way, around(way, spoilt, text(way)))
    assert spoilt.encode() in shown(reply.receipt)


@proves(61)
@over([way for way in WAYS if way.transport != "JSON"])
def test_a_text_that_is_no_utf8_leaves_its_neighbours_alone(receivers: Receivers, way: Way, items_of: Items) -> None:
    spoilt, spoil = ways.bad(way)
    sent = spoil(body(way, one(way, "before"), spoilt, one(way, "after")))
    reply = ask(receivers, way, sent)
    assert reply.rejected == 1
    found = items_of(reply.receipt)
    (unreadable,) = (item for item in found if isinstance(item, Unreadable))
    assert unreadable.raw == spoil(spoilt.SerializeToString())
    assert {ways.name_of(item) for item in found if item is not unreadable} == {"before", "after"}


def nested(levels: int) -> dict[str, Any]:
    return {"array_value": {"values": [nested(levels - 1)]}} if levels else {"string_value": "x"}


@proves(62)
@over(WAYS)
def test_a_value_nested_40_deep_is_stored(receivers: Receivers, way: Way, items_of: Items) -> None:
    ((_, kind, found),) = kept(receivers, way, body(way, with_value(way, **nested(40))), items_of).attributes
    for _ in range(39):
        assert kind == ARRAY
        ((kind, found),) = found
    assert found == [(STRING, "x")]


def deep(way: Way, levels: int) -> bytes:
    """An item with one attribute of nested arrays, built by hand because the runtime would refuse it."""
    value = b"\x0a\x01x"
    for _ in range(levels):
        value = length_delimited(5, length_delimited(1, value))
    field = 9 if way.signal == "traces" else 6
    return bytes(one(way).SerializeToString()) + length_delimited(field, b"\x0a\x01k" + length_delimited(2, value))


@proves(63)
@over(WAYS)
def test_a_value_nested_5000_deep_harms_nobody(receivers: Receivers, way: Way, events: Count, items_of: Items) -> None:
    before, processes = events(), [process.pid for process in receivers.processes.values()]
    if way.transport == "JSON":
        value = '{"arrayValue":{"values":[' * 5000 + "{}" + "]}}" * 5000
        reply = ask(receivers, way, around(way, text(way), with_text(way, value)))
        assert (reply.http, reply.code) == (400, "nesting_too_deep")
        assert events() == before
    else:
        good, bad = one(way).SerializeToString(), deep(way, 5000)
        reply = ask(receivers, way, length_delimited(1, length_delimited(2, length_delimited(2, good) + length_delimited(2, bad))))
        assert (reply.code, reply.rejected) == ("", 1)
        assert [item.raw for item in items_of(reply.receipt) if isinstance(item, Unreadable)] == [bad]
    assert ask(receivers, way, body(way, one(way))).code == ""
    assert [process.pid for process in receivers.processes.values() if process.poll() is None] == processes


@proves(91)
@over(WAYS)
def test_the_largest_timestamp_is_stored(receivers: Receivers, way: Way, items_of: Items) -> None:
    sent = one(way, start_time_unix_nano=2**64 - 1) if way.signal == "traces" else one(way, time_unix_nano=2**64 - 1)
    item = kept(receivers, way, body(way, sent), items_of)
    assert (item.start if way.signal == "traces" else item.time) == 2**64 - 1


@proves(93)
@over(WAYS)
def test_a_large_item_is_stored_whole(receivers: Receivers, way: Way, items_of: Items) -> None:
    large = one(way, "large")
    for number in range(10_000):
        large.attributes.add(key=f"k{number}").value.int_value = number
    large.attributes.add(key="long").value.string_value = "x\0" * 500_000
    if way.signal == "traces":
        for number in range(1_000):
            large.events.add(time_unix_nano=number, name=str(number))
    request = ways.message(way, large)
    assert [as_request(kept(receivers, way, ways.encode(way, request), items_of))] == singles(request, way.number)


@proves(94)
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), signal=st.sampled_from([SPAN, LOG]))
def test_a_random_message_is_read_back_equal_whichever_way_it_came(
    receivers: Receivers, items_of: Items, data: st.DataObject, signal: int
) -> None:
    """Sent first one way, it is stored; the other ways then know each of its items again, and answer with the same root."""
    request = data.draw(strategies.trace_requests() if signal == SPAN else strategies.log_requests())
    expected = singles(request, signal)
    mine = data.draw(st.permutations([way for way in WAYS if way.number == signal]))
    replies = [ask(receivers, way, ways.encode(way, request)) for way in mine]
    if not expected:
        assert [reply.receipt for reply in replies] == [None, None, None]
        return
    assert {reply.rejected for reply in replies} == {0}
    assert len({reply.receipt["root"] for reply in replies if reply.receipt}) == 1
    stored = [as_request(item) for item in items_of(replies[0].receipt)]
    assert set(stored) <= set(expected)
    assert [items_of(reply.receipt) for reply in replies[1:]] == [[], []]
