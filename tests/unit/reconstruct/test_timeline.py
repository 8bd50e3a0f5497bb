"""The timeline's own promises: shape, order, outcomes, origins, what was offered, what is missing."""

from __future__ import annotations

import json
from typing import Any

from auditlog.item import Rest, Span
from auditlog.reconstruct.actions import actions
from tests.unit.reconstruct.build import START, answer, call, kinds, model, span_of, text, told, tool, tools_of

SCHEMA = {"name": "pay", "description": "d", "parameters": {"type": "object"}}


def rest(**members: Any) -> Rest:
    cut = [(k, json.dumps(v).encode()) for k, v in members.items() if not k.startswith("at")]
    return Rest([b""] * (len(cut) + 1), cut, session_id="s", time=START + members.get("at_second", 0) * 1_000_000_000)


def test_every_key_of_the_contract_is_there_even_for_nothing() -> None:
    shown = told()
    assert set(shown) == {
        "key",
        "session_id",
        "trace_ids",
        "agent",
        "agents",
        "user_ids",
        "customer_ids",
        "started_at",
        "ended_at",
        "totals",
        "system_prompts",
        "tools_offered",
        "steps",
        "model_calls",
        "completeness",
        "findings",
    }
    assert shown["completeness"]["verdict"] == "unevaluable"
    assert shown["totals"]["input_tokens"] is None  # nobody told: that is not zero


def test_steps_stand_in_the_order_in_which_they_happened() -> None:
    first = {"role": "assistant", "parts": [{"type": "reasoning", "content": "think"}, *call("c", "pay", {"a": 1})["parts"]]}
    shown = told(
        model(4, [text("user", "q"), first, answer("c", "ok")], [text("assistant", "bye")]), model(0, [text("user", "q")], [first])
    )
    assert kinds(shown) == ["user_message", "reasoning", "tool_call", "assistant_message"]
    assert [s["model_call"] for s in shown["steps"]] == [None, 0, 0, 1]


def test_a_call_is_checked_against_the_tools_of_its_own_request() -> None:
    shown = told(model(0, [], [call("a", "pay", {}), call("b", "erase", {})], tools=[SCHEMA]), model(3, [], [call("c", "pay", {})]))
    assert [t["offered"] for t in tools_of(shown)] == [True, False, None]


def test_outcomes_tell_what_returned_failed_or_may_have_happened() -> None:
    shown = told(
        model(0, [], [call("a", "one", {}), call("b", "two", {}), call("c", "three", {})]),
        tool(1, "one", call_id="a", result="ok"),
        tool(2, "two", call_id="b", status=(2, "refused by host")),
    )
    assert [(t["outcome"], t["error"]) for t in tools_of(shown)] == [("returned", None), ("failed", "refused by host"), ("unknown", None)]
    assert {"result_missing"} <= {g["code"] for g in shown["completeness"]["gaps"]}


def test_origins_name_the_earlier_steps_that_hold_a_value() -> None:
    asked = text("user", "Please refund the duplicate charge of $400.00 (customer ACME-2024)")
    shown = told(model(0, [asked], [call("a", "pay", {"amount": 400, "customer": "acme-2024", "iban": "DE89 3704"})]))
    assert tools_of(shown)[0]["origins"] == [
        {"pointer": "/amount", "steps": [0]},
        {"pointer": "/customer", "steps": [0]},
        {"pointer": "/iban", "steps": []},
    ]


def test_a_value_is_never_its_own_origin_nor_that_of_a_parallel_call() -> None:
    shown = told(model(0, [text("user", "hi")], [call("a", "pay", {"id": "X-1"}), call("b", "pay", {"id": "X-1"})]))
    assert [o["steps"] for t in tools_of(shown) for o in t["origins"]] == [[], []]


def test_gaps_say_what_is_missing_and_how_to_close_it() -> None:
    span = model(0, [text("user", "hi")], [text("assistant", "a")], usage=(1, 2), parent=77)
    span.dropped_attributes = 9
    span.attributes.append(("gen_ai.usage.reasoning_tokens", 3, 41))
    gaps = {g["code"]: g["message"] for g in told(span)["completeness"]["gaps"]}
    assert {"system_prompt_missing", "tools_missing", "reasoning_missing", "attributes_dropped", "parent_missing"} <= set(gaps)
    assert "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT" in gaps["attributes_dropped"]


def test_a_session_that_lacks_nothing_is_complete() -> None:
    asked = [text("system", "be kind"), text("user", "hi")]
    shown = told(model(0, asked, [text("assistant", "a")], usage=(1, 2), tools=[SCHEMA]))
    assert shown["completeness"] == {"verdict": "complete", "basis": "no_gap_found", "gaps": []}
    assert shown["system_prompts"] == [{"text": "be kind", "first_step": 0}]


def test_what_only_a_later_prompt_repeats_is_shown_with_that_said() -> None:
    shown = told(model(0, [text("user", "q"), call("c", "pay", {"a": 1}), answer("c", "ok")], [text("assistant", "done")]))
    assert kinds(shown) == ["user_message", "tool_call", "assistant_message"]
    assert [g["step"] for g in shown["completeness"]["gaps"] if g["code"] == "origin_not_recorded"] == [1]


def test_a_cycle_of_parents_and_an_end_before_its_start_are_survived() -> None:
    spans: list[Span] = [span_of(n, [], span=n + 1, parent=(n + 1) % 3 + 1, seconds=-5) for n in range(3)]
    assert told(*spans, model(1, [text("user", "q")], [], parent=2))["totals"]["model_calls"] == 1


def test_rest_events_tell_the_same_story_once() -> None:
    asked = [{"role": "user", "content": "refund 400"}]
    events = [
        rest(kind="message", input=asked, at_second=0),
        rest(
            kind="model_call",
            input=asked,
            system="be kind",
            tools=[SCHEMA],
            usage={"input_tokens": 3, "output_tokens": 4},
            at_second=1,
            reasoning="because",
            output=[{"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "pay", "arguments": "{}"}}]}],
        ),
        rest(kind="tool_call", id="t1", **{"tool.call_id": "c", "tool.name": "pay", "tool.arguments": {}}, at_second=2),
        rest(
            kind="approval", about="t1", **{"approval.decision": "denied", "approval.by": "ann", "approval.reason": "too much"}, at_second=3
        ),
    ]
    shown = told(*events)
    assert kinds(shown) == ["user_message", "reasoning", "tool_call", "approval"]
    assert tools_of(shown)[0]["outcome"] == "refused"
    assert (shown["steps"][3]["actor"], shown["steps"][3]["text"]) == ("ann", "too much")
    assert shown["totals"]["input_tokens"] == 3


def test_actions_hold_every_scalar_with_its_pointer_and_amounts_with_their_currency() -> None:
    result = json.dumps({"credit_id": "cr_55d0", "amount": {"value": "$400.00"}, "total": 12.5, "currency": "EUR", "payment_count": 3})
    shown = told(
        model(0, [], [call("c", "pay", {"amount_usd": 400.0, "lines": [{"sku": "A"}]})]), tool(1, "pay", call_id="c", result=result)
    )
    (action,) = actions(shown)
    assert {(v.side, v.pointer): v.text for v in action.values}.items() >= {
        ("arguments", "/amount_usd"): "400",
        ("arguments", "/lines/0/sku"): "A",
        ("result", "/credit_id"): "cr_55d0",
    }.items()
    found = [(a.pointer, str(a.amount), a.currency) for a in action.amounts]
    assert found == [("/amount_usd", "400.0", "USD"), ("/total", "12.5", "EUR"), ("/amount/value", "400.00", "USD")]


def test_a_long_conversation_is_told_in_full() -> None:
    history: list[Any] = [text("user", "go")]
    spans = []
    for n in range(60):
        step = call(f"call_{n:016}", "look", {"n": n})
        spans.append(model(2 * n, list(history), [step]))
        history += [step, answer(f"call_{n:016}", f"r{n}")]
    shown = told(*spans, model(200, history, [text("assistant", "done")]))
    assert [t["result"] for t in tools_of(shown)] == [f"r{n}" for n in range(60)]
    assert len(shown["steps"]) == 62
