"""Owns the checks of how a timeline becomes the rows of the decision page."""

from __future__ import annotations

from typing import Any

import pytest

from auditlog.derive.paging import head_of, page_of
from auditlog.reconstruct.timeline import timeline
from auditlog.web import present, waterfall
from auditlog.web.tags import count, money, seconds, thousands
from tests import corpus


@pytest.fixture(scope="module")
def refund() -> dict[str, Any]:
    return timeline(corpus.arrived(corpus.items("openinference/chat_refund")), key="k", session_id="s")


def test_reasoning_stands_directly_above_the_call_that_it_led_to(refund: dict[str, Any]) -> None:
    rows = present.rows(page_of(refund, 1))
    credit = next(n for n, row in enumerate(rows) if row.tool == "issue_credit")
    assert rows[credit - 1].kind == "reasoning" and "rule 3b" in rows[credit - 1].text
    arguments = rows[credit].arguments
    assert arguments is not None
    assert [(c.key, c.text) for c in arguments.cells][:2] == [("customer_id", "ACME-2024"), ("amount_usd", "400")]
    assert rows[credit].outcome == "returned"


def test_the_margin_says_where_each_argument_came_from(refund: dict[str, Any]) -> None:
    credit = next(row for row in present.rows(page_of(refund, 1)) if row.tool == "issue_credit")
    notes = {note.before: note for note in credit.notes if note.before}
    assert 1 in notes["amount_usd"].steps and notes["reason"].text == "nowhere before"


def test_a_gap_stands_where_the_thing_is_missing_and_counts_as_people_do() -> None:
    made: dict[str, Any] = {
        "steps": [{"n": 0, "kind": "user_message", "text": "x"}, {"n": 1, "kind": "assistant_message", "text": "y"}],
        "model_calls": [],
        "findings": [],
        "completeness": {
            "verdict": "gaps",
            "gaps": [
                {"code": "c", "step": 1, "model_call": 0, "message": "reasoning of model call 0 is missing"},
                {"code": "d", "step": None, "message": "loose"},
            ],
        },
    }
    assert [row.gaps for row in present.rows(page_of(made, 1))] == [[], ["reasoning of model call 1 is missing"]]
    verdict = present.verdict(head_of(made)["completeness"])
    assert (verdict["text"], verdict["gaps"], verdict["placed"]) == ("2 gaps", ["loose"], [2])


def test_a_call_without_result_may_have_happened() -> None:
    step = {"n": 0, "kind": "tool_call", "tool": {"name": "pay", "arguments": None, "arguments_raw": "{broken", "outcome": "unknown"}}
    made = present.row(step, {})
    assert made.outcome == "outcome unknown: it may have happened" and made.result is None
    assert made.arguments_broken and made.arguments is not None and made.arguments.text == "{broken"


def test_a_session_of_many_steps_comes_in_pages() -> None:
    made: dict[str, Any] = {
        "steps": [{"n": n, "kind": "user_message", "text": str(n)} for n in range(450)],
        "model_calls": [], "findings": [], "completeness": {"verdict": "complete", "gaps": []},
    }  # fmt: skip
    assert [len(present.rows(page_of(made, page))) for page in (1, 2, 3)] == [200, 200, 50]
    assert present.rows(page_of(made, 3))[-1].number == 450


def test_a_model_call_is_told_once_however_many_pages_its_steps_fill() -> None:
    steps = [{"n": n, "kind": "assistant_message", "text": "x", "model_call": int(n > 250)} for n in range(450)]
    made: dict[str, Any] = {"steps": steps, "model_calls": [{"n": 0}, {"n": 1}], "findings": [], "completeness": {"gaps": []}}
    told = [[row.number for row in present.rows(page_of(made, page)) if row.new_call is not None] for page in (1, 2, 3)]
    assert told == [[1], [252], []]


def test_the_waterfall_runs_down_with_time_and_stays_on_the_page(refund: dict[str, Any]) -> None:
    marks = waterfall.marks(page_of(refund, 1), present.SPEAKERS)
    places = [mark.y for mark in marks]
    assert places == sorted(places) and all(mark.y >= 0 and mark.y + mark.height <= waterfall.HEIGHT for mark in marks)
    assert {mark.kind for mark in marks} >= {"model", "tool_call", "user_message"}
    assert [mark.number for mark in marks if mark.kind == "tool_call"] == [s["n"] + 1 for s in refund["steps"] if s["kind"] == "tool_call"]


def test_tools_that_run_at_once_have_lanes_of_their_own() -> None:
    at = "2026-03-01T10:00:0{}Z".format
    tool = [{"n": n, "kind": "tool_call", "at": at(n), "started_at": at(n), "ended_at": at(8), "tool": {"name": "t"}} for n in range(3)]
    found = waterfall.marks({"steps": tool, "model_calls": []}, {})
    assert len({mark.x for mark in found}) == 3 and [mark.number for mark in found] == [1, 2, 3]


def called(n: int, call: int | None, agent: str | None = None, kind: str = "tool_call") -> dict[str, Any]:
    tool = {"name": f"t{n}", "arguments": {}, "outcome": "returned"}
    return {"n": n, "kind": kind, "model_call": call, "agent": agent, **({"tool": tool} if kind == "tool_call" else {"text": "x"})}


def page_with(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"steps": list(steps), "model_calls": [], "gaps": [], "findings": []}


def test_calls_of_one_answer_stand_together_and_calls_of_two_do_not() -> None:
    steps = [
        called(0, 0),
        called(1, 0),
        called(2, 1),
        called(3, None),
        called(4, None),
        called(5, 2),
        called(6, 2, kind="error"),
        called(7, 2),
    ]
    found = present.groups(present.rows(page_with(*steps)), [])
    assert [[row.number for row in group.rows] for group in found] == [[1, 2], [3], [4], [5], [6], [7], [8]]
    two_agents = present.groups(present.rows(page_with(called(0, 0, "a"), called(1, 0, "b"))), [])
    assert [len(group.rows) for group in two_agents] == [1, 1]
    assert [group.together for group in found][:2] == [True, False] and not any(group.hand for group in found)


def test_each_hand_over_names_the_agent_that_goes_on_and_one_agent_alone_is_not_named() -> None:
    steps = [called(0, 0, "triage"), called(1, 1, "triage"), called(2, 2, "refunds"), called(3, 3, "triage"), called(4, None)]
    found = present.groups(present.rows(page_with(*steps)), ["triage", "refunds"])
    assert [(group.agent, group.hue, group.hand) for group in found] == [
        ("triage", 1, True), ("triage", 1, False), ("refunds", 2, True), ("triage", 1, True), (None, 0, False),
    ]  # fmt: skip
    alone = present.groups(present.rows(page_with(*steps)), ["triage"])
    assert {(group.agent, group.hue, group.hand) for group in alone} == {(None, 0, False)}


def test_a_value_that_stands_in_the_instruction_is_not_said_to_come_from_nowhere() -> None:
    step = called(0, 0) | {
        "tool": {"name": "t", "outcome": "returned", "origins": [{"pointer": "/max", "steps": [], "system_prompt": True}]}
    }
    assert [note.text for note in present.row(step, {}).notes if note.before] == ["in the instruction"]


@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [
        ("400", "USD", "$400.00"),
        ("400", None, "400"),
        ("1234.5", "CHF", "1,234.50 CHF"),
        ("-20", "EUR", "−€20.00"),
        ("5000", "JPY", "¥5,000"),
    ],
)
def test_amounts_are_shown_with_their_currency_and_nothing_is_guessed(amount: str, currency: str | None, shown: str) -> None:
    assert money(amount, currency) == shown


def test_numbers_have_their_units() -> None:
    assert (seconds(0.4), seconds(19.04), seconds(600), seconds(None)) == ("400 ms", "19.0 s", "10 min", "–")
    assert (thousands(12345), thousands(None)) == ("12,345", "–")
    assert (count(1, "step"), count(2, "step")) == ("1 step", "2 steps")


@pytest.mark.parametrize("depth", [200, 900, 60_000])
def test_a_value_nested_as_deep_as_you_like_is_shown_as_text_and_the_page_is_made(depth: int) -> None:
    text = "[" * depth + "]" * depth
    assert present.block(text).text == text or present.block(text).code
    value: Any = {}
    for _ in range(depth):
        value = {"a": value}
    shown = present.block(value)
    assert shown.text or shown.code or shown.cells


def test_a_call_that_was_changed_before_it_ran_shows_both() -> None:
    tool = {"name": "pay", "arguments": {"amount": 400}, "executed_arguments": {"amount": 200}, "outcome": "returned"}
    made = present.row({"n": 0, "kind": "tool_call", "tool": tool}, {})
    assert made.arguments is not None and [c.text for c in made.arguments.cells] == ["400"]
    assert made.ran_with is not None and [c.text for c in made.ran_with.cells] == ["200"]
    assert "changed before it ran" in [note.text for note in made.notes]
    unchanged = present.row({"n": 0, "kind": "tool_call", "tool": tool | {"executed_arguments": None}}, {})
    assert unchanged.ran_with is None and "changed before it ran" not in [note.text for note in unchanged.notes]
