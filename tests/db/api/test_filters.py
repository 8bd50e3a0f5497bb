"""Owns the checks of every filter: one value that hits and one that misses, alone and together, and no filter without both."""

from __future__ import annotations

import json
from typing import Any

import pytest

from auditlog.derive.keys import term_digest
from auditlog.item import STRING, Context, Span
from auditlog.search import actions, events, sessions
from tests.db.api.conftest import World

SESSION = "sess-openinference-chat_refund"
TRACE = "3a27c8bdf49b571d7d2b1e50eea2bb86"
IDENTITY: list[tuple[dict[str, str], int]] = [  # hits: whether the session, or its calls, are found
    ({"session_id": SESSION}, 1),
    ({"session_id": SESSION + "x"}, 0),
    ({"trace_id": TRACE}, 1),
    ({"trace_id": TRACE.upper()}, 1),
    ({"trace_id": "0" * 31 + "1"}, 0),
    ({"customer_id": "ACME-2024"}, 1),
    ({"customer_id": "acme-2024"}, 0),
    ({"user_id": "user-4711"}, 1),
    ({"user_id": "user-471"}, 0),
    ({"subject": "customer:ACME-2024"}, 1),
    ({"subject": "patient:ACME-2024"}, 0),
    ({"agent": "refund-agent"}, 1),
    ({"agent": "other"}, 0),
    ({"from": "2026-11-22", "to": "2026-11-22"}, 1),
    ({"from": "2026-11-22T10:13:23Z"}, 1),
    ({"from": "2026-11-23"}, 0),
    ({"to": "2026-11-22"}, 1),
    ({"to": "2026-11-21"}, 0),
    ({"customer_id": "ACME-2024", "user_id": "user-4711"}, 1),
    ({"customer_id": "ACME-2024", "user_id": "nobody"}, 0),
]
SESSIONS: list[tuple[dict[str, str], int]] = [
    *IDENTITY,
    ({"agent_version": "1.4.2"}, 1),
    ({"agent_version": "1.4"}, 0),
    ({"agent": "refund-agent", "agent_version": "1.4.2"}, 1),
    ({"tool": "issue_credit"}, 1),
    ({"tool": "issue_credi"}, 0),
    ({"system_prompt": "0" * 64}, 0),
    ({"tool_schema": "0" * 64}, 0),
    ({"model": "gpt-5-mini"}, 1),
    ({"model": "gpt-5-mini-2025-08-07"}, 0),
    ({"response_model": "gpt-5-mini-2025-08-07"}, 1),
    ({"response_model": "gpt-5-mini"}, 0),
    ({"response_id": "chatcmpl-Nwrefund01"}, 1),
    ({"response_id": "chatcmpl-Nwrefund09"}, 0),
    ({"finding": "unknown_tool"}, 0),
    ({"verdict": "complete"}, 1),
    ({"verdict": "gaps"}, 0),
    ({"gap": "reasoning_missing"}, 0),
    ({"value": "cr_55120"}, 1),
    ({"value": "cr_5512"}, 0),
    ({"outcome": "returned"}, 1),
    ({"outcome": "failed"}, 0),
    ({"check": "not_offered"}, 0),
    ({"amount_min": "400"}, 1),
    ({"amount_min": "400.01"}, 0),
    ({"amount_max": "400"}, 1),
    ({"amount_max": "399.99"}, 0),
    ({"amount_min": "400", "tool": "issue_credit"}, 1),
    ({"amount_min": "400", "tool": "escalate_case"}, 0),
    ({"value": "cr_55120", "tool": "lookup_customer_history"}, 0),  # both in the session, but not of one call
    ({"min_tool_calls": "2"}, 1),
    ({"min_tool_calls": "3"}, 0),
    ({"q": "ACME-2024"}, 1),
    ({"q": SESSION}, 1),
    ({"q": TRACE}, 1),
    ({"q": "user-4711"}, 1),
    ({"q": "chatcmpl-Nwrefund01"}, 1),
    ({"q": "call_Nw10QxRefund7aZkP"}, 1),
    ({"q": "cr_55120"}, 1),
    ({"q": "rule 3b"}, 1),
    ({"q": '"3b rule"'}, 0),
    ({"q": "ロケット"}, 0),
    ({"q": "nothing"}, 0),
    ({"q": "!& |('"}, 0),
]
ACTIONS: list[tuple[dict[str, str], int]] = [
    *[(given, 2 * hits) for given, hits in IDENTITY],
    ({"tool": "issue_credit"}, 1),
    ({"tool": "issue"}, 0),
    ({"outcome": "returned"}, 2),
    ({"outcome": "failed"}, 0),
    ({"check": "not_offered"}, 0),
    ({"value": "cr_55120"}, 1),
    ({"value": "CR_55120"}, 0),
    ({"value": "INV-1107"}, 1),
    ({"value": "400"}, 2),
    ({"value": "400.00"}, 2),
    ({"amount_min": "400"}, 2),
    ({"amount_min": "400.01"}, 0),
    ({"amount_max": "400.0"}, 2),
    ({"amount_max": "-1"}, 0),
    ({"amount_min": "399", "amount_max": "401"}, 2),
    ({"amount_min": "401", "amount_max": "500"}, 0),
    ({"customer_id": "ACME-2024", "amount_min": "400", "tool": "issue_credit", "from": "2026-11-01", "to": "2026-11-30"}, 1),
    ({"customer_id": "NOBODY", "amount_min": "400"}, 0),
]
EVENTS: list[tuple[dict[str, str], bool]] = [
    ({"session": "KEY"}, True),
    ({"session": "KEY", "trace_id": "0" * 31 + "1"}, False),
    ({"trace_id": TRACE}, True),
    ({"trace_id": "0" * 31 + "1"}, False),
    ({"item": "span"}, True),
    ({"item": "log"}, False),
    ({"batch": "BATCH"}, True),
    ({"batch": "1"}, False),
    ({"from": "2026-11-22"}, True),
    ({"from": "2026-11-22", "to": "2026-11-22", "item": "span"}, True),
    ({"from": "2030-01-01"}, False),
    ({"to": "2026-11-22"}, True),
    ({"to": "2026-11-21"}, False),
]
BY_HAND = {"min_cost", "max_cost"}  # below: nothing in a captured session has a price or a finding yet


def alone(rows: list[tuple[dict[str, str], Any]], hit: bool) -> set[str]:
    return {name for given, hits in rows if bool(hits) is hit for name in given}


@pytest.mark.parametrize(
    ("rows", "known"), [(SESSIONS, sessions.PARAMETERS), (ACTIONS, actions.PARAMETERS), (EVENTS, events.PARAMETERS)], ids=("s", "a", "e")
)
def test_every_filter_has_a_value_that_misses(rows: list[tuple[dict[str, str], Any]], known: dict[str, object]) -> None:
    assert alone(rows, False) >= set(known) - BY_HAND
    # Hits of these are further below, and of `check` among the tests of the search page.
    assert alone(rows, True) >= set(known) - BY_HAND - {"finding", "gap", "system_prompt", "tool_schema", "check"}


def test_every_filter_of_sessions_hits_and_misses(refund: World) -> None:
    for given, hits in SESSIONS:
        assert len(refund.api.json("sessions", **given)["results"]) == hits, given


def test_every_filter_of_actions_hits_and_misses(refund: World) -> None:
    for given, hits in ACTIONS:
        assert len(refund.api.json("actions", **given)["results"]) == hits, given


def test_every_filter_of_events_hits_and_misses(refund: World) -> None:
    key = refund.key_of(SESSION)
    everything = refund.api.json("events")["results"]
    real = {"KEY": key, "BATCH": everything[0]["batch"]}
    for given, hits in EVENTS:
        found = refund.api.json("events", **{name: real.get(value, value) for name, value in given.items()})["results"]
        assert len(found) == (len(everything) if hits else 0), given
        assert {event["id"] for event in found} == ({event["id"] for event in everything} if hits else set())


def test_sessions_are_found_by_the_exact_instruction_and_tool_schema(refund: World) -> None:
    text = refund.api.json(f"sessions/{refund.key_of(SESSION)}/timeline")["system_prompts"][0]["text"]
    versions = dict(refund.bench.rows("SELECT kind, max(version) FROM version GROUP BY kind"))
    for given in (
        {"system_prompt": versions["system_prompt"]},
        {"system_prompt": versions["system_prompt"].upper()},
        {"system_prompt": text},
        {"tool_schema": versions["tool_schema"]},
    ):
        assert len(refund.api.json("sessions", **given)["results"]) == 1, given
    assert refund.api.json("sessions", system_prompt=text + " ")["results"] == []


def test_sessions_are_found_by_cost_and_finding(refund: World) -> None:
    key = refund.key_of(SESSION)
    assert refund.api.json("sessions", min_cost="0")["results"] == []  # not priced is not free
    refund.bench.owner.execute("UPDATE session SET cost_usd = 0.125")
    refund.bench.owner.execute(
        "INSERT INTO session_term (edition, project_id, session_key, kind, digest, seen_at) VALUES (1, %s, %s, 'finding', %s, now())",
        (refund.project.pk, key, term_digest(refund.project.pk, "finding", "unknown_tool")),
    )
    for given, hits in (
        ({"min_cost": "0.125"}, 1),
        ({"min_cost": "0.126"}, 0),
        ({"max_cost": "0.125"}, 1),
        ({"max_cost": "0.124"}, 0),
        ({"min_cost": "0.1", "max_cost": "0.2"}, 1),
        ({"finding": "unknown_tool"}, 1),
        ({"finding": "unknown"}, 0),
    ):
        assert len(refund.api.json("sessions", **given)["results"]) == hits, given


def test_the_credit_is_found_and_says_where_everything_stands(refund: World) -> None:
    (credit,) = refund.api.json("actions", customer_id="ACME-2024", amount_min="400", tool="issue_credit")["results"]
    assert {"pointer": "/amount_usd", "value": 400} in credit["arguments"]
    assert {"pointer": "/credit_id", "value": "cr_55120"} in credit["result"]
    assert {"amount": "400", "currency": "USD", "side": "arguments", "pointer": "/amount_usd"} in credit["amounts"]
    assert {"kind": "customer", "value": "ACME-2024"} in credit["subjects"]
    assert credit["session_id"] == SESSION and credit["outcome"] == "returned" and credit["cut"] is False
    timeline = refund.api.json(f"sessions/{credit['session']}/timeline")
    step = timeline["steps"][credit["step"]]
    assert step["tool"]["call_id"] == credit["call_id"] and step["event_ids"] == credit["event_ids"] and step["at"] == credit["occurred_at"]
    assert credit["page"].endswith(f"/sessions/{credit['session']}#step-{credit['step'] + 1}")


def calls(count: int) -> list[Any]:
    """One session that pays 1, 2, 3, ... EUR at one instant."""
    said = [("session.id", STRING, "many"), ("gen_ai.operation.name", STRING, "execute_tool"), ("gen_ai.tool.name", STRING, "pay")]
    found = []
    for n in range(1, count + 1):
        arguments = json.dumps({"total": n, "currency": "EUR"})
        own = [("gen_ai.tool.call.id", STRING, f"c{n}"), ("gen_ai.tool.call.arguments", STRING, arguments)]
        found.append(Span(Context(), b"t" * 16, n.to_bytes(8), "pay", 10**18, 10**18, [*said, *own]))
    return found


def test_pages_of_actions_of_one_instant_neither_skip_nor_repeat(world: World) -> None:
    world.bench.send(calls(23))
    world.bench.derive()
    seen = []
    answer = world.api.json("actions", limit=5)
    while True:
        seen += [(row["step"], row["arguments"][0]["value"], row["call_id"]) for row in answer["results"]]
        if answer["next"] is None:
            break
        answer = json.loads(world.api.client.get(answer["next"], headers=world.api.headers).content)
    assert len(seen) == len(set(seen)) == 23
    assert {f"c{total}" == call_id for _, total, call_id in seen} == {True}


@pytest.mark.parametrize("asked", [{"amount_min": "2"}, {"value": "2"}, {"value": "2", "tool": "pay"}])
def test_a_call_of_a_session_that_was_going_on_is_found_though_it_was_made_outside_the_range(world: World, asked: dict[str, str]) -> None:
    first, second = calls(2)
    second.start = second.end = 10**18 + 3 * 86400 * 10**9
    world.bench.send([first, second])  # 2001-09-09T01:46:40Z, and three days later
    world.bench.derive()

    def found(start: str, end: str) -> int:
        return len(world.api.json("sessions", **asked, **{"from": start, "to": end})["results"])

    assert found("2001-09-10", "2001-09-11") == found("2001-09-09", "2001-09-09") == found("2001-09-12", "2001-09-12") == 1
    assert found("2001-09-13", "2001-09-20") == found("2001-09-01", "2001-09-08") == 0


def test_a_list_of_actions_asks_the_database_a_fixed_number_of_times(world: World, django_assert_max_num_queries: Any) -> None:
    world.bench.send(calls(30))
    world.bench.derive()
    world.api.json("status")
    with django_assert_max_num_queries(12):
        assert len(world.api.json("actions", limit=30, value="pay", outcome="unknown")["results"]) == 0
    with django_assert_max_num_queries(12):
        assert len(world.api.json("actions", limit=30, tool="pay")["results"]) == 30


def test_a_timeline_asks_the_database_a_fixed_number_of_times(world: World, django_assert_max_num_queries: Any) -> None:
    world.bench.send(calls(30))
    world.bench.derive()
    key = world.key_of("many")
    with django_assert_max_num_queries(8):
        assert len(world.api.json(f"sessions/{key}/timeline")["steps"]) == 30


def test_what_json_or_postgresql_cannot_carry_is_still_answered(world: World) -> None:
    odd = (
        '{"a\\u0000b": "x\\u0000y", "lone": "\\ud800", "huge": '
        + "9" * 5_000
        + ', "tiny": 1e-400, "over": 1e999, "deep": '
        + "[" * 50
        + "]" * 50
        + "}"
    )
    said = [("session.id", STRING, "odd"), ("gen_ai.operation.name", STRING, "execute_tool"), ("gen_ai.tool.name", STRING, "p\0ay")]
    both = [("gen_ai.tool.call.arguments", STRING, odd), ("gen_ai.tool.call.result", STRING, '{"n": NaN, "total": "$1e9"}')]
    world.bench.send([Span(Context(), b"t" * 16, b"s" * 8, "pay", 10**18, 10**18, said + both)])
    world.bench.derive()
    (row,) = world.api.json("actions", tool="p\0ay")["results"]
    assert len(world.api.json(f"sessions/{row['session']}/timeline")["steps"]) == 1
    assert world.api.get("sessions").status_code == 200
