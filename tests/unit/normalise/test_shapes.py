"""What a message, a part and a tool look like, whoever wrote them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from auditlog.normalise import parts, shapes
from auditlog.normalise.values import Memo
from auditlog.vocabulary import Call, Media, Message, Reasoning, Result, Text


def one(value: Any) -> Message:
    (found,) = shapes.messages(value, Memo())
    return found


@pytest.mark.parametrize(
    "part",
    [
        {"type": "reasoning", "content": "why"},
        {"type": "thinking", "thinking": "why", "signature": "x"},
        {"kind": "thinking", "text": "why"},
        {"reasoningContent": {"reasoningText": {"text": "why"}}},
        {"type": "reasoning", "text": '[{"type": "reasoning_text", "text": "why"}]'},
        {"thought": True, "text": "why"},
    ],
)
def test_reasoning_has_many_shapes(part: dict[str, Any]) -> None:
    assert one([{"role": "assistant", "content": [part]}]).parts == (Reasoning("why", "full"),)


def test_each_summary_of_reasoning_is_a_part_and_hidden_reasoning_says_so() -> None:
    summaries = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}]}
    assert parts.parts([summaries]) == [Reasoning("a", "summary"), Reasoning("b", "summary")]
    assert parts.parts([{"type": "reasoning", "summary": [], "encrypted_content": "x"}]) == [Reasoning("", "encrypted")]
    assert parts.parts([{"type": "redacted_thinking", "data": "x"}]) == [Reasoning("", "redacted")]


@pytest.mark.parametrize(
    "call",
    [
        {"type": "tool_call", "id": "c", "name": "pay", "arguments": {"a": 1}},
        {"type": "tool_use", "id": "c", "name": "pay", "input": {"a": 1}},
        {"toolUse": {"toolUseId": "c", "name": "pay", "input": {"a": 1}}},
        {"type": "tool-call", "toolCallId": "c", "toolName": "pay", "input": {"a": 1}},
        {"functionCall": {"id": "c", "name": "pay", "args": {"a": 1}}},
    ],
)
def test_a_call_is_a_call_in_every_shape(call: dict[str, Any]) -> None:
    assert one([{"role": "assistant", "content": [call]}]).parts == (Call("pay", "c", {"a": 1}),)


def test_a_calls_own_id_is_told_from_the_id_of_its_item() -> None:
    (found,) = parts.parts([{"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "pay", "arguments": '{"a": 1}'}])
    assert found == Call("pay", "call_1", {"a": 1}, '{"a": 1}', ("fc_1",))


def test_broken_arguments_stay_verbatim_and_unparsed() -> None:
    assert parts.arguments('{"a": ') == (None, '{"a": ')
    assert parts.arguments('"{\\"a\\": 1}"') == ({"a": 1}, '"{\\"a\\": 1}"')
    assert parts.arguments({"a": 1}) == ({"a": 1}, None)
    assert parts.arguments(None) == (None, None)


@pytest.mark.parametrize(
    "answer",
    [
        {"role": "tool", "tool_call_id": "c", "content": "done"},
        {"role": "tool", "content": [{"type": "tool_call_response", "id": "c", "response": "done"}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": [{"type": "text", "text": "done"}]}]},
        {"role": "user", "content": [{"toolResult": {"toolUseId": "c", "content": [{"text": "done"}]}}]},
        {"type": "function_call_output", "call_id": "c", "output": "done"},
        {"role": "tool", "content": [{"type": "tool-result", "toolCallId": "c", "output": {"type": "text", "value": "done"}}]},
    ],
)
def test_an_answer_is_an_answer_in_every_shape(answer: dict[str, Any]) -> None:
    (found,) = one([answer]).parts
    assert isinstance(found, Result)
    assert (found.call_id, found.result) == ("c", "done")


def test_an_item_list_keeps_calls_beside_messages_in_order() -> None:
    items = [
        {"role": "user", "content": "q"},
        {"type": "reasoning", "summary": [{"text": "r"}]},
        {"type": "function_call", "call_id": "c", "name": "f"},
    ]
    assert [m.role for m in shapes.messages(items, Memo())] == ["user", "assistant", "assistant"]


def test_serialised_messages_of_a_framework_are_unwrapped() -> None:
    human = {"lc": 1, "type": "constructor", "id": ["x", "HumanMessage"], "kwargs": {"content": "q", "type": "human"}}
    ai = {"type": "ai", "data": {"content": "", "tool_calls": [{"name": "f", "args": {"a": 1}, "id": "c"}]}}
    assert one([human]) == Message("user", (Text("q"),))
    assert one([ai]) == Message("assistant", (Call("f", "c", {"a": 1}),))


def test_a_part_written_into_a_text_is_read_and_any_other_text_is_text() -> None:
    assert parts.parts([{"type": "text", "content": '{"type": "reasoning", "summary": [{"text": "why"}]}'}]) == [
        Reasoning("why", "summary")
    ]
    assert parts.parts([{"type": "text", "content": '{"type": "invoice", "total": 400}'}]) == [Text('{"type": "invoice", "total": 400}')]


def test_what_is_no_text_is_kept_as_what_it_is() -> None:
    (image,) = parts.parts([{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}])
    assert isinstance(image, Media)
    assert image.uri == "https://example.com/a.png"


def test_a_repeated_prompt_is_parsed_once() -> None:
    memo = Memo()
    first = shapes.messages(json.dumps([{"role": "user", "content": "q"}]), memo)
    second = shapes.messages(json.dumps([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]), memo)
    assert second[0] is first[0]


@pytest.mark.parametrize(
    "tool",
    [
        {"name": "pay", "description": "d", "parameters": {"type": "object"}},
        {"type": "function", "function": {"name": "pay", "description": "d", "parameters": {"type": "object"}}},
        {"name": "pay", "description": "d", "input_schema": {"type": "object"}},
        {"toolSpec": {"name": "pay", "description": "d", "inputSchema": {"json": {"type": "object"}}}},
        {"function_declarations": [{"name": "pay", "description": "d", "parameters": {"type": "object"}}]},
        '{"name": "pay", "description": "d", "inputSchema": {"type": "object"}}',
    ],
)
def test_a_tool_is_a_tool_in_every_shape(tool: Any) -> None:
    (found,) = parts.tools([tool])
    assert (found.name, found.description, found.parameters) == ("pay", "d", {"type": "object"})
