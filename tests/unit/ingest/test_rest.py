"""Owns the REST form: what is checked, what is quarantined, and that no byte is lost."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditlog.errors import Problem
from auditlog.ingest import rest, salvage
from auditlog.item import Rest, Unreadable

JSON = "application/json"
FULL: dict[str, Any] = {
    "id": "k-1", "kind": "tool_call", "about": "e-1", "session_id": "s-1", "trace_id": "0AF7651916cd43dd8448eb211c80319c", "sequence": 7,
    "at": "2026-03-01T10:00:00.123456789Z", "ended_at": "2026-03-01T10:00:01Z", "agent": {"name": "refunds", "version": "3"},
    "user_id": "u-1", "customer_id": "ACME-2024", "model": "m", "usage": {"input_tokens": 1, "output_tokens": 2}, "system": "text",
    "tools": [{"name": "t", "description": "d", "parameters": {}}],
    "input": [{"role": "user", "content": "..."}, {"role": "user", "content": [{"type": "image", "media_type": "image/png", "uri": "x"}]}],
    "output": [{"role": "assistant", "content": None}], "reasoning": ["a", "b"],
    "tool": {"call_id": "c1", "name": "issue_credit", "arguments": {"amount": 400.00}, "result": "ok", "error": None},
    "approval": {"decision": "approved", "by": "x", "shown": {}, "executed": {}, "reason": "r"},
    "retrieval": {"source": "kb", "version": "1", "query": "q", "documents": []}, "attributes": {"a": [1]}, "odd": True,
}  # fmt: skip
MINIMAL = {"kind": "other", "at": "2026-03-01T10:00:00Z"}


def body(*events: Any) -> bytes:
    return json.dumps({"events": events}).encode()


def test_a_full_event_is_cut_at_its_members_and_is_the_same_bytes_again() -> None:
    raw = json.dumps(FULL, indent=2).encode()
    event = rest.event(raw)
    assert event.raw() == raw
    members = dict(event.members)
    assert members["tool.arguments"] == b'{\n      "amount": 400.0\n    }'
    assert members["agent.name"] == b'"refunds"'
    assert members["approval.decision"] == b'"approved"'
    assert "tool" not in members
    assert (event.session_id, event.trace_id.hex()) == ("s-1", str(FULL["trace_id"]).lower())
    assert event.time == 1772359200_123456789


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text().map("x".__add__), json_values, max_size=5), st.sampled_from([None, 1, 3]), st.booleans(), st.booleans())
def test_whatever_members_an_event_has_it_is_the_same_bytes_again(
    extra: dict[str, Any], indent: int | None, ascii_only: bool, spaced: bool
) -> None:
    event = MINIMAL | extra | {"tool": {"name": "t", "arguments": extra}, "agent": {}}
    separators = (" , ", " : ") if spaced else (",", ":")
    raw = json.dumps(event, indent=indent, ensure_ascii=ascii_only, separators=separators).encode("utf-8", "surrogatepass")
    cut = rest.event(raw)
    assert cut.raw() == raw
    names = [name for name, _ in cut.members]
    assert names == ["kind", "at", *extra, "tool.name", "tool.arguments"]


@pytest.mark.parametrize(
    ("at", "nanoseconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-03-01T10:00:00.1Z", 1772359200_100000000),
        ("2026-03-01t12:00:00.000000001+02:00", 1772359200_000000001),
        ("2026-03-01 10:00:00z", 1772359200_000000000),
    ],
)
def test_times_are_exact_to_the_nanosecond(at: str, nanoseconds: int) -> None:
    assert rest.instant(at, "at") == nanoseconds


@pytest.mark.parametrize(
    "at", ["", "2026-03-01", "2026-03-01T10:00:00", "2026-02-30T10:00:00Z", "1969-12-31T23:59:59Z", "2300-01-01T00:00:00Z", "1772359200"]
)
def test_what_is_no_time_is_field_invalid(at: str) -> None:
    with pytest.raises(Problem) as problem:
        rest.event(json.dumps(MINIMAL | {"at": at}).encode())
    assert problem.value.code == "field_invalid"


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ({"at": "2026-03-01T10:00:00Z"}, "field_missing"),
        ({"kind": "other"}, "field_missing"),
        (MINIMAL | {"kind": "thought"}, "field_invalid"),
        (MINIMAL | {"sequence": "7"}, "field_invalid"),
        (MINIMAL | {"session_id": 1}, "field_invalid"),
        (MINIMAL | {"usage": {"input_tokens": "many"}}, "field_invalid"),
        (MINIMAL | {"tool": {"arguments": {}}}, "field_missing"),
        (MINIMAL | {"approval": {"decision": "maybe"}}, "field_invalid"),
        (MINIMAL | {"input": "hello"}, "field_invalid"),
        ("text", "field_invalid"),
        (7, "field_invalid"),
    ],
)
def test_a_bad_event_is_quarantined_with_index_code_and_message_and_its_neighbours_are_read(event: Any, code: str) -> None:
    found = rest.read(body(MINIMAL, event, MINIMAL), JSON)
    assert [type(item) for item in found.items] == [Rest, Unreadable, Rest]
    assert found.good == 2
    assert [(entry.index, entry.code) for entry in found.reported] == [(1, code)]
    assert found.reported[0].message
    bad = found.items[1]
    assert isinstance(bad, Unreadable)
    assert json.loads(bad.raw) == event


@pytest.mark.parametrize(
    "raw",
    [
        '{"kind":"other","at":"2026-03-01T10:00:00Z","kind":"prompt"}',
        '{"kind":"other","kind":"other","at":"2026-03-01T10:00:00Z"}',
        '{"kind":"other","at":"2026-03-01T10:00:00Z","tool":{"name":"a","n\\u0061me":"a"}}',
        '{"kind":"other","at":"2026-03-01T10:00:00Z","at":"2026-03-01T10:00:00Z"}',
    ],
)
def test_a_repeated_member_quarantines_the_event_whichever_comes_last(raw: str) -> None:
    with pytest.raises(Problem) as problem:
        rest.event(raw.encode())
    assert problem.value.code == "field_invalid"


def test_half_a_surrogate_pair_in_one_event_leaves_the_others_alone() -> None:
    raw = b'{"kind":"other","at":"2026-03-01T10:00:00Z","user_id":"\\ud800"}'
    whole = json.dumps(MINIMAL).encode()
    found = rest.read(b'{"events":[' + whole + b"," + raw + b"," + whole + b"]}", JSON)
    assert [type(item) for item in found.items] == [Rest, Unreadable, Rest]
    assert isinstance(found.items[1], Unreadable)
    assert found.items[1].raw == raw


def test_lines_are_events_and_a_line_that_is_no_json_leaves_the_others_alone() -> None:
    whole = json.dumps(MINIMAL).encode()
    found = rest.read(whole + b"\r\n\n" + b"nope\n" + whole, rest.NDJSON)
    assert [type(item) for item in found.items] == [Rest, Unreadable, Rest]
    assert [entry.index for entry in found.reported] == [1]


def test_deep_nesting_quarantines_the_event() -> None:
    raw = '{"kind":"other","at":"2026-03-01T10:00:00Z","attributes":{"a":' + "[" * 62 + "]" * 62 + "}}"
    assert rest.event(raw.encode()).raw() == raw.encode()
    with pytest.raises(Problem) as problem:
        rest.event(raw.replace("[[", "[[[", 1).replace("]]", "]]]", 1).encode())
    assert problem.value.code == "item_too_deep"


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b'{"events":{}}', b'{"events":[NaN]}', b"\xff", b'{"events":[' + b"[" * 100_000])
def test_what_is_no_list_of_events_is_refused(raw: bytes) -> None:
    with pytest.raises(Problem) as problem:
        rest.read(raw, JSON)
    assert problem.value.code in ("body_undecodable", "nesting_too_deep")


@pytest.mark.parametrize("end", [b"\\", b"\\u", b"\\ud8zz", b"\\ud800\\u", b"\\udc0", b""])
def test_the_search_for_halves_of_surrogate_pairs_walks_a_broken_body_once(end: bytes) -> None:
    body = b'{"events":["' + b"\\u0041x" * 3 + end
    found = list(salvage._LONE.finditer(body))
    assert b"".join(match[0] for match in found) == body  # a byte that no match covers is one where it failed and was tried again
    assert salvage.Hidden(body).sent(msgspec.Raw(salvage.Hidden(body).body)) == body


@pytest.mark.parametrize("line", [b'"', b'"ab', b'"ab\\', b'"\\"\\"'])
def test_the_search_for_depth_walks_a_text_without_end_once(line: bytes) -> None:
    match = rest._BRACKETS.match(line)
    assert match is not None and match.end() >= len(line.rstrip(b"\\"))
