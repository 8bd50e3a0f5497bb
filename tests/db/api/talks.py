"""Owns sessions of a chosen length for tests of pages: each model call repeats the whole conversation, as instrumentation sends it."""

from __future__ import annotations

import json
from typing import Any

from auditlog.item import INT, STRING, Attribute, Context, Item, Span

START = 1_790_000_000 * 10**9
LONG = "The order arrived late and the customer asks for the credit that the policy allows in such a case. " * 3


def talk(session: str, turns: int, said: str = LONG) -> list[Item]:
    """2 steps a turn: a request, then reasoning and a tool call for every turn but the last, which answers."""
    context = Context(resource=[("service.name", STRING, "shop")], scope=("test", "1"))
    trace = session.encode().rjust(16, b"\1")[-16:]
    prompt: list[Any] = [{"role": "user", "parts": [{"type": "text", "content": f"{said} {session}"}]}]
    items: list[Item] = []

    def span(name: str, attributes: list[Attribute]) -> None:
        at = START + len(items) * 10**9
        known: list[Attribute] = [("session.id", STRING, session), ("customer.id", STRING, f"customer-{session}")]
        items.append(Span(context, trace, (len(items) + 1).to_bytes(8), name, at, at + 10**8, known + attributes))

    for turn in range(turns):
        call = {"type": "tool_call", "id": f"c{turn}", "name": "look_up", "arguments": {"page": turn, "amount_usd": turn}}
        last = {"type": "text", "content": f"{said} Done."}
        answer = [last] if turn == turns - 1 else [{"type": "reasoning", "content": f"{turn} {said}"}, call]
        output = [{"role": "assistant", "parts": answer, "finish_reason": "stop"}]
        span("chat", [
            ("gen_ai.operation.name", STRING, "chat"), ("gen_ai.request.model", STRING, "m"), ("gen_ai.provider.name", STRING, "p"),
            ("gen_ai.usage.input_tokens", INT, turn), ("gen_ai.response.id", STRING, f"{session}-{turn}"),
            ("gen_ai.input.messages", STRING, json.dumps(prompt)), ("gen_ai.output.messages", STRING, json.dumps(output)),
        ])  # fmt: skip
        if turn < turns - 1:
            result = json.dumps({"page": turn, "notes": f"{turn} {said}"})
            span("execute_tool look_up", [
                ("gen_ai.operation.name", STRING, "execute_tool"), ("gen_ai.tool.name", STRING, "look_up"),
                ("gen_ai.tool.call.id", STRING, f"c{turn}"), ("gen_ai.tool.call.arguments", STRING, json.dumps(call["arguments"])),
                ("gen_ai.tool.call.result", STRING, result),
            ])  # fmt: skip
            prompt.append({"role": "assistant", "parts": answer})
            prompt.append({"role": "tool", "parts": [{"type": "tool_call_response", "id": f"c{turn}", "response": result}]})
    return items
