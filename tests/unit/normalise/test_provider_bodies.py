"""Requests and responses as providers write them, under keys of anybody's: each tells the same story."""

from __future__ import annotations

from typing import Any

from tests.unit.normalise.senders import ARGUMENTS, ASK, CALL_ID, DONE, RESULT, SCHEMA, SYSTEM, THOUGHT, TOOL, span, story, text

FINAL = {"role": "assistant", "content": DONE}


def test_a_local_model_s_bodies() -> None:
    def body(message: dict[str, Any], i: int, o: int) -> dict[str, Any]:
        return {"model": "llama", "message": message, "done": True, "done_reason": "stop", "prompt_eval_count": i, "eval_count": o}

    call = {"function": {"name": "look_up", "arguments": ARGUMENTS}}
    history = [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": ASK},
        {"role": "assistant", "thinking": THOUGHT, "tool_calls": [call]},
        {"role": "tool", "tool_name": "look_up", "content": RESULT},
    ]
    requests = [{"model": "llama", "messages": h, "tools": [TOOL]} for h in (history[:2], history)]
    answers = [body({"role": "assistant", "content": "", "thinking": THOUGHT, "tool_calls": [call]}, 10, 5), body(FINAL, 20, 7)]
    spans = [
        span(3 * n, "ollama.chat", {"ollama.model": "llama", "ollama.request": text(requests[n]), "ollama.response": text(answers[n])})
        for n in range(2)
    ]
    story(*spans, call_id=None)


def test_a_provider_s_bodies_with_anthropic_and_bedrock_shapes() -> None:
    thinking = {"type": "thinking", "thinking": THOUGHT, "signature": "x"}
    use = {"type": "tool_use", "id": CALL_ID, "name": "look_up", "input": ARGUMENTS}
    history: list[Any] = [
        {"role": "user", "content": ASK},
        {"role": "assistant", "content": [thinking, use]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": CALL_ID, "content": [{"type": "text", "text": RESULT}]}]},
    ]
    tools = [{"name": "look_up", "description": "Look it up", "input_schema": SCHEMA}]
    requests = [{"model": "c", "system": SYSTEM, "tools": tools, "messages": h} for h in (history[:1], history)]
    answers = [
        {"type": "message", "role": "assistant", "content": c, "usage": {"input_tokens": i, "output_tokens": o}}
        for c, i, o in (([thinking, use], 10, 5), ([{"type": "text", "text": DONE}], 20, 7))
    ]
    kind = {"x.span.type": "llm"}
    story(*(span(3 * n, "m", {**kind, "x.input": text(requests[n]), "x.output": text(answers[n])}) for n in range(2)))

    said: list[Any] = [
        {"role": "user", "content": [{"text": ASK}]},
        {
            "role": "assistant",
            "content": [
                {"reasoningContent": {"reasoningText": {"text": THOUGHT}}},
                {"toolUse": {"toolUseId": CALL_ID, "name": "look_up", "input": ARGUMENTS}},
            ],
        },
        {"role": "user", "content": [{"toolResult": {"toolUseId": CALL_ID, "content": [{"text": RESULT}]}}]},
        {"role": "assistant", "content": [{"text": DONE}]},
    ]
    config = {"tools": [{"toolSpec": {"name": "look_up", "description": "Look it up", "inputSchema": {"json": SCHEMA}}}]}
    asked = [{"modelId": "c", "system": [{"text": SYSTEM}], "toolConfig": config, "messages": h} for h in (said[:1], said[:3])]
    replies = [
        {"output": {"message": m}, "stopReason": "end_turn", "usage": {"inputTokens": i, "outputTokens": o, "totalTokens": i + o}}
        for m, i, o in ((said[1], 10, 5), (said[3], 20, 7))
    ]
    story(*(span(3 * n, "m", {**kind, "x.input": text(asked[n]), "x.output": text(replies[n])}) for n in range(2)))
