"""OpenTelemetry's GenAI conventions, at the versions and in the spellings that are in use: each tells the same story."""

from __future__ import annotations

from typing import Any

import pytest

from auditlog.item import Item
from tests.unit.normalise.senders import (
    ARGUMENTS,
    ASK,
    CALL_ID,
    DONE,
    FUNCTION,
    RESULT,
    SYSTEM,
    THOUGHT,
    TOOL,
    log,
    openai_call,
    openai_history,
    span,
    story,
    text,
    told,
)

ONE = {"gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 5}
TWO = {"gen_ai.usage.input_tokens": 20, "gen_ai.usage.output_tokens": 7}
CHAT = {"gen_ai.operation.name": "chat", "gen_ai.system": "openai", "gen_ai.request.model": "gpt"}

ASKED = {"role": "user", "parts": [{"type": "text", "content": ASK}]}
CALLED = {
    "role": "assistant",
    "parts": [
        {"type": "reasoning", "content": THOUGHT},
        {"type": "tool_call", "id": CALL_ID, "name": "look_up", "arguments": ARGUMENTS},
    ],
}
ANSWERED = {"role": "tool", "parts": [{"type": "tool_call_response", "id": CALL_ID, "response": RESULT}]}
SAID = {"role": "assistant", "parts": [{"type": "text", "content": DONE}], "finish_reason": "stop"}
HISTORY = [ASKED, CALLED, ANSWERED]
INSTRUCTIONS = [{"type": "text", "content": SYSTEM}]


@pytest.mark.parametrize("write", [text, lambda v: v], ids=["as JSON text", "structured"])
def test_messages_as_attributes_of_the_span(write: Any) -> None:
    both = {**CHAT, "gen_ai.system_instructions": write(INSTRUCTIONS), "gen_ai.tool.definitions": write([{"type": "function", **FUNCTION}])}
    story(
        span(0, "chat gpt", {**both, **ONE, "gen_ai.input.messages": write([ASKED]), "gen_ai.output.messages": write([CALLED])}),
        span(2, "execute_tool look_up", {
            "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "look_up", "gen_ai.tool.call.id": CALL_ID,
            "gen_ai.tool.call.arguments": write(ARGUMENTS), "gen_ai.tool.call.result": RESULT, "gen_ai.tool.type": "function",
        }),
        span(4, "chat gpt", {**both, **TWO, "gen_ai.input.messages": write(HISTORY), "gen_ai.output.messages": write([SAID])}),
    )  # fmt: skip


def test_messages_in_the_event_of_operation_details() -> None:
    name = "gen_ai.client.inference.operation.details"
    both = {**CHAT, "gen_ai.system_instructions": INSTRUCTIONS, "gen_ai.tool.definitions": [{"type": "function", **FUNCTION}]}
    one = {**both, "gen_ai.input.messages": [ASKED], "gen_ai.output.messages": [CALLED]}
    two = {**both, "gen_ai.input.messages": HISTORY, "gen_ai.output.messages": [SAID]}
    story(
        span(0, "chat", {**CHAT, **ONE}, number=7), span(3, "chat", {**CHAT, **TWO}, number=8),
        log(1, name, None, one, within=7), log(4, name, None, two, within=8),
    )  # fmt: skip
    first, second = ({k: text(v) for k, v in said.items() if k.endswith(".messages")} for said in (one, two))
    story(
        span(0, "chat", {**CHAT, **ONE}, events=[(name, first)]),
        span(3, "chat", {**CHAT, **TWO}, events=[(name, second)]),
        system=False,
        tools=False,
    )


def messages_one_by_one() -> list[list[tuple[str, dict[str, Any]]]]:
    asked: list[tuple[str, dict[str, Any]]] = [
        ("gen_ai.system.message", {"content": SYSTEM, "role": "system"}),
        ("gen_ai.user.message", {"content": ASK}),
    ]
    called = {"role": "assistant", "tool_calls": [openai_call()]}
    answered: list[tuple[str, dict[str, Any]]] = [
        ("gen_ai.assistant.message", {"tool_calls": [openai_call()]}),
        ("gen_ai.tool.message", {"id": CALL_ID, "content": RESULT}),
    ]
    return [
        [*asked, ("gen_ai.choice", {"index": 0, "finish_reason": "tool_calls", "message": called})],
        [*asked, *answered, ("gen_ai.choice", {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": DONE}})],
    ]


def test_one_log_record_per_message() -> None:
    one, two = messages_one_by_one()
    found: list[Item] = [span(0, "chat", {**CHAT, **ONE}, number=7), span(3, "chat", {**CHAT, **TWO}, number=8)]
    found += [log(0, name, body, {"gen_ai.system": "openai"}, within=7, order=n) for n, (name, body) in enumerate(one)]
    found += [log(3, name, body, {"gen_ai.system": "openai"}, within=8, order=n) for n, (name, body) in enumerate(two)]
    story(*found, thought=False, tools=False)


def flat(body: dict[str, Any]) -> dict[str, Any]:
    """Attributes of span events hold no objects: those are JSON texts."""
    return {k: text(v) if isinstance(v, dict | list) else v for k, v in body.items()}


@pytest.mark.parametrize(
    "write", [flat, lambda body: {"gen_ai.system": "openai", "gen_ai.event.content": text(body)}], ids=["as attributes", "as one JSON text"]
)
def test_one_span_event_per_message(write: Any) -> None:
    one, two = ([(name, write(body)) for name, body in turn] for turn in messages_one_by_one())
    story(span(0, "chat", {**CHAT, **ONE}, events=one), span(3, "chat", {**CHAT, **TWO}, events=two), thought=False, tools=False)


def test_prompt_and_completion_in_span_events_and_operations_of_older_names() -> None:
    chat = {**CHAT, "gen_ai.operation.name": "chat.completions"}
    usage = [{"gen_ai.response.prompt_tokens": i, "gen_ai.response.completion_tokens": o} for i, o in ((10, 5), (20, 7))]
    called = [{"message": {"role": "assistant", "tool_calls": [openai_call()]}, "finish_reason": "tool_calls"}]
    done = [{"message": {"role": "assistant", "content": DONE}, "finish_reason": "stop"}]
    events = [
        [("gen_ai.content.prompt", {"gen_ai.prompt": text(asked)}), ("gen_ai.content.completion", {"gen_ai.completion": text(answer)})]
        for asked, answer in ((openai_history()[:2], called), (openai_history(), done))
    ]
    story(
        span(0, "chat.completions gpt", {**chat, **usage[0]}, events=events[0]),
        span(3, "chat.completions gpt", {**chat, **usage[1]}, events=events[1]),
        thought=False, tools=False,
    )  # fmt: skip


def test_prompt_and_completion_as_attributes_of_a_provider_s_bodies() -> None:
    asked = [{"model": "gpt", "messages": h, "tools": [TOOL]} for h in (openai_history()[:2], openai_history())]
    called = {"choices": [{"message": {"role": "assistant", "reasoning_content": THOUGHT, "tool_calls": [openai_call()]}}]}
    done = {"choices": [{"message": {"role": "assistant", "content": DONE}, "finish_reason": "stop"}]}
    story(
        span(0, "llm", {**CHAT, **ONE, "gen_ai.prompt": text(asked[0]), "gen_ai.completion": text(called)}),
        span(3, "llm", {**CHAT, **TWO, "gen_ai.prompt": text(asked[1]), "gen_ai.completion": text(done)}),
    )


def test_an_agent_s_span_gives_system_prompt_and_tools_and_is_no_call() -> None:
    agent = {
        "gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "clara", "gen_ai.conversation.id": "s-1",
        "gen_ai.usage.input_tokens": 30, "gen_ai.usage.output_tokens": 12, "gen_ai.system_instructions": SYSTEM,
        "gen_ai.tool.definitions": text([{"type": "function", **FUNCTION}]), "gen_ai.input.messages": text([ASKED]),
    }  # fmt: skip
    shown = story(
        span(0, "invoke_agent clara", agent, number=1),
        span(1, "chat", {**CHAT, **ONE, "gen_ai.input.messages": text([ASKED]), "gen_ai.output.messages": text([CALLED])}, parent=1),
        span(3, "chat", {**CHAT, **TWO, "gen_ai.input.messages": text(HISTORY), "gen_ai.output.messages": text([SAID])}, parent=1),
    )  # fmt: skip
    assert (shown["session_id"], shown["agent"]["name"]) == ("s-1", "clara")


def test_a_hand_off_names_both_agents() -> None:
    shown = told(
        span(0, "handoff", {"gen_ai.operation.name": "handoff", "gen_ai.handoff.from_agent": "clara", "gen_ai.handoff.to_agent": "ben"})
    )
    (step,) = shown["steps"]
    assert (step["kind"], step["text"], step["actor"]) == ("handoff", "clara → ben", "clara")
    assert step["detail"] == {"from": "clara", "to": "ben"}


def test_an_evaluation_is_feedback_on_the_answer_that_it_names() -> None:
    said = {
        "gen_ai.evaluation.name": "Relevance", "gen_ai.evaluation.score.value": 0.4, "gen_ai.evaluation.score.label": "poor",
        "gen_ai.evaluation.explanation": "Off topic", "gen_ai.response.id": "r1",
    }  # fmt: skip
    (step,) = told(log(0, "gen_ai.evaluation.result", None, said))["steps"]
    assert (step["kind"], step["text"], step["detail"]["score.value"]) == ("feedback", "Off topic", 0.4)


def test_an_operation_without_model_usage_or_messages_is_no_call() -> None:
    assert told(span(0, "prompt", {"gen_ai.operation.name": "chat", "gen_ai.system": "x"}))["totals"]["model_calls"] == 0
    assert told(span(0, "embed", {"gen_ai.operation.name": "embeddings", "gen_ai.request.model": "m", **ONE}))["totals"]["model_calls"] == 0


def test_several_tools_under_one_span_are_no_call_of_their_own() -> None:
    said = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "(merged tools)", "gen_ai.tool.call.id": "e-1"}
    assert told(span(0, "execute_tool (merged)", said))["totals"]["tool_calls"] == 0


def test_pictures_and_files_are_named_where_they_stand() -> None:
    parts = [
        {"type": "text", "content": "What is this?"},
        {"type": "uri", "uri": "https://example.com/a.png", "mime_type": "image/png", "modality": "image"},
        {"type": "blob", "content": "aGk=", "mime_type": "image/png", "modality": "image"},
        {"type": "file", "file_id": "file-1", "modality": "image"},
    ]
    shown = told(span(0, "chat", {**CHAT, "gen_ai.input.messages": text([{"role": "user", "parts": parts}])}))
    assert shown["steps"][0]["text"] == "What is this?\n[image/png https://example.com/a.png]\n[image/png]\n[image file-1]"
    assert "content_not_fetched" in {g["code"] for g in shown["completeness"]["gaps"]}
