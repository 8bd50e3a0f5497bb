"""Google's Agent Development Kit: thoughts written as texts are told apart where billing and place tell, and never otherwise."""

from __future__ import annotations

from typing import Any

import msgspec

from auditlog.item import Context, Item, Log, Span
from tests.unit.normalise.senders import ARGUMENTS, ASK, CALL_ID, DONE, RESULT, SYSTEM, THOUGHT, TOOL, log, span, story, text, told

EVENT = "gen_ai.client.inference.operation.details"
CALL = {"type": "tool_call", "id": CALL_ID, "name": "look_up", "arguments": ARGUMENTS}


def kit(item: Any) -> Item:
    changed: Item = msgspec.structs.replace(item, context=Context(scope=("gcp.vertex.agent", "2")))
    return changed


def said(*parts: Any) -> dict[str, Any]:
    return {"role": "assistant", "parts": [{"type": "text", "content": p} if isinstance(p, str) else p for p in parts]}


def call(
    at: int, prompt: list[Any], answer: dict[str, Any], thought: int | None, tokens: tuple[int, int] = (15, 6), more: Any = None
) -> Log:
    usage = {"gen_ai.usage.input_tokens": tokens[0], "gen_ai.usage.output_tokens": tokens[1]}
    billed = {"gen_ai.usage.reasoning.output_tokens": thought}
    messages = {"gen_ai.input.messages": prompt, "gen_ai.output.messages": [answer], "gen_ai.system_instructions": said(SYSTEM)["parts"]}
    made = kit(log(at, EVENT, None, {**usage, **billed, **messages, "gen_ai.tool.definitions": [TOOL], **(more or {})}, within=at + 1))
    assert isinstance(made, Log)
    return made


def shown(*answer: Any, thought: int | None) -> list[tuple[str, str | None]]:
    steps = told(call(0, [{"role": "user", "parts": [{"type": "text", "content": ASK}]}], said(*answer), thought))["steps"][1:]
    return [(s["kind"], s.get("form")) for s in steps]


def test_a_story_whose_thoughts_were_billed_and_written_as_texts_is_told_as_thought_and_said() -> None:
    asked: list[Any] = [{"role": "user", "parts": [{"type": "text", "content": ASK}]}]
    answered = {"role": "user", "parts": [{"type": "tool_call_response", "id": CALL_ID, "response": {"result": RESULT}}]}
    first, last = said(THOUGHT, CALL), said(DONE)
    items = call(0, asked, first, 9), call(4, [*asked, first, answered], last, None)
    timeline = story(*items, result={"result": RESULT})
    (thought,) = [s for s in timeline["steps"] if s["kind"] == "reasoning"]
    assert thought["form"] == "unknown"
    assert "reasoning_unmarked" in {g["code"] for g in timeline["completeness"]["gaps"]}


def test_the_first_of_two_texts_is_the_thought_where_reasoning_was_billed() -> None:
    assert shown(THOUGHT, DONE, thought=9) == [("reasoning", "unknown"), ("assistant_message", None)]


def test_a_text_that_stands_alone_is_the_answer_even_where_reasoning_was_billed() -> None:
    assert shown(DONE, thought=9) == [("assistant_message", None)]


def test_nothing_becomes_a_thought_where_no_reasoning_was_billed() -> None:
    assert shown(THOUGHT, DONE, thought=None) == shown(THOUGHT, DONE, thought=0) == [("assistant_message", None)] * 2


def test_texts_of_other_senders_stay_texts_whatever_was_billed() -> None:
    other = msgspec.structs.replace(call(0, [], said(THOUGHT, DONE), 9), context=Context(scope=("lib", "1")))
    assert [s["kind"] for s in told(other)["steps"]] == ["assistant_message", "assistant_message"]


def test_the_mark_in_the_providers_own_response_is_worth_more_than_what_billing_tells() -> None:
    answer = {"content": {"role": "model", "parts": [{"text": THOUGHT, "thought": True}, {"text": DONE}]}}
    request = {"model": "gemini", "contents": [{"role": "user", "parts": [{"text": ASK}]}], "config": {"system_instruction": SYSTEM}}
    sent = {
        "gen_ai.operation.name": "call_llm",
        "gcp.vertex.agent.llm_request": text(request),
        "gcp.vertex.agent.llm_response": text(answer),
    }
    whole = kit(span(0, "call_llm", sent, number=1))
    assert isinstance(whole, Span)
    found = told(whole, call(0, [], said(THOUGHT, DONE), 9))
    assert [(s["kind"], s.get("form")) for s in found["steps"]] == [
        ("user_message", None),
        ("reasoning", "full"),
        ("assistant_message", None),
    ]
    assert [p["text"] for p in found["system_prompts"]] == [SYSTEM]


def test_a_tools_arguments_and_answer_are_found_under_the_kits_own_keys() -> None:
    sent = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "look_up", "gen_ai.tool.call.id": CALL_ID}
    own = {"gcp.vertex.agent.tool_call_args": text(ARGUMENTS), "gcp.vertex.agent.tool_response": RESULT}
    (step,) = told(kit(span(0, "execute_tool look_up", {**sent, **own})))["steps"]
    assert (step["tool"]["arguments"], step["tool"]["result"], step["tool"]["call_id"]) == (ARGUMENTS, {"charges": 2}, CALL_ID)
