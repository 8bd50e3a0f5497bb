"""Frameworks through OpenInference, Traceloop and their own instrumentation: each tells the same story."""

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
    SCHEMA,
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


# -- OpenInference -------------------------------------------------------------------------------------------------------------


def flattened(side: str, messages: list[dict[str, Any]], *, contents: bool = False) -> dict[str, Any]:
    """Messages as `llm.input_messages.N.message.…`; with `contents` each text is an entry of a list."""
    out: dict[str, Any] = {}
    for n, message in enumerate(messages):
        p = f"llm.{side}_messages.{n}.message."
        out[p + "role"] = message["role"]
        if message.get("reasoning_content"):
            out[p + "contents.0.message_content.type"] = "reasoning"
            out[p + "contents.0.message_content.text"] = message["reasoning_content"]
        if message.get("content"):
            key = "contents.0.message_content.text" if contents and message["role"] != "tool" else "content"
            out[p + key] = message["content"]
            if contents:
                out[p + "contents.0.message_content.type"] = "text"
        if message.get("tool_call_id"):
            out[p + "tool_call_id"] = message["tool_call_id"]
        for m, call in enumerate(message.get("tool_calls") or ()):
            q = f"{p}tool_calls.{m}.tool_call."
            out |= {q + "id": call["id"], q + "function.name": "look_up", q + "function.arguments": call["function"]["arguments"]}
    return out


def llm(at: int, asked: list[Any], out: Any, counts: tuple[int, int], *, contents: bool = False, **more: Any) -> Item:
    said = {
        "openinference.span.kind": "LLM",
        "llm.model_name": "gpt",
        "llm.provider": "openai",
        "llm.invocation_parameters": "{}",
        "llm.tools.0.tool.json_schema": text(TOOL),
        "llm.token_count.prompt": counts[0],
        "llm.token_count.completion": counts[1],
        "session.id": "s-1",
        "user.id": "u-1",
        "metadata": text({"customer_id": "ACME-2024"}),
        **flattened("input", asked, contents=contents),
        **flattened("output", [out], contents=contents),
        **more,
    }
    return span(at, "ChatCompletion", said, scope="openinference.instrumentation.x", parent=99)


THINKING = {"role": "assistant", "reasoning_content": THOUGHT, "tool_calls": [openai_call()]}
FINAL = {"role": "assistant", "content": DONE}


@pytest.mark.parametrize("contents", [False, True], ids=["plain contents", "lists of contents"])
def test_openinference_of_a_provider(contents: bool) -> None:
    tool = {
        "openinference.span.kind": "TOOL",
        "tool.name": "look_up",
        "tool.description": "Look it up",
        "tool.parameters": text(SCHEMA),
        "input.value": text(ARGUMENTS),
        "output.value": text({"charges": 2}),
        "graph.node.id": "tools",
        "tool_call.id": CALL_ID,
    }
    agent = {"openinference.span.kind": "AGENT", "agent.name": "clara", "input.value": ASK, "output.value": DONE, "graph.node.id": "clara"}
    shown = story(
        span(0, "run", agent, number=99),
        llm(1, openai_history()[:2], THINKING, (10, 5), contents=contents),
        span(3, "look_up", tool, parent=99),
        llm(5, openai_history(), FINAL, (20, 7), contents=contents),
    )
    assert (shown["session_id"], shown["user_ids"], shown["customer_ids"]) == ("s-1", ["u-1"], ["ACME-2024"])
    assert shown["agent"]["name"] == "clara"


def test_openinference_of_a_crew() -> None:
    kickoff = {
        "openinference.span.kind": "CHAIN",
        "crew_key": "k",
        "crew_id": "7f",
        "crew_inputs": "{}",
        "output.value": text({"raw": DONE}),
        "crew_agents": text([{"role": "Support", "goal": "help"}]),
        "crew_tasks": text([{"description": ASK}]),
    }
    task = {"openinference.span.kind": "AGENT", "graph.node.id": "Support", "task_key": "t", "task_id": "9", "output.value": DONE}
    tool = {"openinference.span.kind": "TOOL", "tool.name": "look_up", "input.value": text(ARGUMENTS), "output.value": RESULT}
    shown = story(
        span(0, "Crew.kickoff", kickoff, number=98),
        span(1, "Support._execute_core", task, number=99, parent=98),
        llm(2, openai_history()[:2], THINKING, (10, 5)),
        span(3, "ToolUsage._use", tool, parent=99),
        llm(5, openai_history(), FINAL, (20, 7)),
    )
    assert shown["session_id"] == "s-1"
    assert not any(s["kind"] == "error" for s in shown["steps"])


def test_openinference_of_a_declared_program() -> None:
    chain = {
        "openinference.span.kind": "CHAIN",
        "input.value": text({"question": ASK}),
        "output.value": str({"answer": DONE}),
        "input.mime_type": "application/json",
        "output.mime_type": "application/json",
    }
    said = {
        "openinference.span.kind": "LLM",
        "llm.model_name": "gpt",
        "output.value": text([DONE]),
        "output.mime_type": "application/json",
        "input.value": text({"prompt": None, "messages": openai_history()[:2], "kwargs": {}}),
        "input.mime_type": "application/json",
    }
    shown = told(span(0, "Predict.forward", chain, number=1), span(1, "LM.__call__", said, parent=1))
    assert [(s["kind"], s["text"]) for s in shown["steps"]] == [("user_message", ASK), ("assistant_message", DONE)]
    assert [p["text"] for p in shown["system_prompts"]] == [SYSTEM]


def test_retrieved_documents_and_hand_offs() -> None:
    documents = {
        "openinference.span.kind": "RETRIEVER",
        "input.value": "refund rules",
        "retrieval.documents.0.document.content": "Never.",
        "retrieval.documents.0.document.score": 0.9,
        "retrieval.documents.0.document.id": "d-1",
    }
    handoff = {"openinference.span.kind": "TOOL", "graph.node.id": "ben", "graph.node.parent_id": "clara"}
    shown = told(span(0, "retrieve", documents), span(2, "handoff to ben", handoff))
    assert [(s["kind"], s["text"]) for s in shown["steps"]] == [("retrieval", "refund rules"), ("handoff", "handoff to ben")]
    assert shown["steps"][0]["detail"]["documents"] == [{"content": "Never.", "score": 0.9, "id": "d-1"}]
    assert shown["totals"]["tool_calls"] == 0


# -- Traceloop -----------------------------------------------------------------------------------------------------------------


def test_traceloop_of_a_graph() -> None:
    q = "traceloop.association.properties."
    common = {
        q + "thread_id": "s-1",
        q + "user_id": "u-1",
        q + "langgraph_step": 1,
        q + "langgraph_node": "agent",
        q + "ls_model_name": "gpt",
        q + "langgraph_checkpoint_ns": "agent:1",
        "traceloop.workflow.name": "LangGraph",
        "traceloop.entity.path": "agent",
    }
    prompt = {f"gen_ai.prompt.{n}.{k}": v for n, m in enumerate(openai_history()) for k, v in m.items() if isinstance(v, str)}
    called = {f"gen_ai.prompt.2.tool_calls.0.{k}": v for k, v in (("id", CALL_ID), ("name", "look_up"), ("arguments", text(ARGUMENTS)))}
    model = {**common, "llm.request.type": "chat", "gen_ai.request.model": "gpt", "gen_ai.system": "OpenAI"}
    model |= {"llm.request.functions.0.name": "look_up", "llm.request.functions.0.parameters": text(SCHEMA)}
    asked = {k: v for k, v in prompt.items() if int(k.split(".")[2]) < 2}
    reply = {k.replace("gen_ai.prompt.2", "gen_ai.completion.0"): v for k, v in called.items()}
    tool = {
        **common,
        "traceloop.span.kind": "tool",
        "traceloop.entity.name": "look_up",
        "traceloop.entity.input": text({"input_str": str(ARGUMENTS), "tags": [], "metadata": {}, "inputs": ARGUMENTS}),
        "traceloop.entity.output": text({"output": {"lc": 1, "kwargs": {"content": RESULT, "tool_call_id": CALL_ID, "type": "tool"}}}),
    }
    shown = story(
        span(0, "LangGraph.workflow", {**common, "traceloop.span.kind": "workflow"}, number=1),
        span(1, "ChatOpenAI.chat", {**model, **asked, **ONE, **reply, "gen_ai.completion.0.role": "assistant"}, parent=1),
        span(3, "look_up.tool", tool, parent=1),
        span(5, "ChatOpenAI.chat", {**model, **prompt, **called, **TWO, "gen_ai.completion.0.content": DONE}, parent=1),
        thought=False,
    )
    assert (shown["session_id"], shown["user_ids"]) == ("s-1", ["u-1"])


# -- frameworks that instrument themselves -------------------------------------------------------------------------------------


def typed_messages() -> list[dict[str, Any]]:
    return [
        {"role": "system", "parts": [{"type": "text", "content": SYSTEM}]},
        {"role": "user", "parts": [{"type": "text", "content": ASK}]},
        {
            "role": "assistant",
            "parts": [
                {"type": "thinking", "content": THOUGHT},
                {"type": "tool_call", "id": CALL_ID, "name": "look_up", "arguments": text(ARGUMENTS)},
            ],
        },
        {"role": "user", "parts": [{"type": "tool_call_response", "id": CALL_ID, "name": "look_up", "result": RESULT}]},
        {"role": "assistant", "parts": [{"type": "text", "content": DONE}]},
    ]


def test_pydantic_ai_from_version_two_on() -> None:
    history = typed_messages()
    model = {
        "gen_ai.operation.name": "chat",
        "gen_ai.system": "openai",
        "gen_ai.request.model": "gpt",
        "gen_ai.conversation.id": "s-1",
        "model_request_parameters": text({"function_tools": [{"name": "look_up", "parameters_json_schema": SCHEMA}], "output_tools": []}),
    }
    agent = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "clara",
        "pydantic_ai.all_messages": text(history),
        "final_result": DONE,
        "gen_ai.usage.input_tokens": 30,
        "gen_ai.usage.output_tokens": 12,
        "agent_name": "clara",
    }
    tool = {
        "gen_ai.tool.name": "look_up",
        "gen_ai.tool.call.id": CALL_ID,
        "tool_arguments": text(ARGUMENTS),
        "tool_response": text({"charges": 2}),
        "logfire.msg": "running tool: look_up",
    }
    shown = story(
        span(0, "agent run", agent, number=1),
        span(
            1, "chat", {**model, **ONE, "gen_ai.input.messages": text(history[:2]), "gen_ai.output.messages": text(history[2:3])}, parent=1
        ),
        span(3, "running tool", tool, parent=1),
        span(
            5, "chat", {**model, **TWO, "gen_ai.input.messages": text(history[:4]), "gen_ai.output.messages": text(history[4:])}, parent=1
        ),
    )
    assert (shown["session_id"], shown["agent"]["name"]) == ("s-1", "clara")


def test_pydantic_ai_version_one() -> None:
    def event(kind: str, **said: Any) -> dict[str, Any]:
        return {"event.name": kind, "gen_ai.message.index": 0, **said}

    asked = [event("gen_ai.system.message", content=SYSTEM, role="system"), event("gen_ai.user.message", content=ASK, role="user")]
    called = event("gen_ai.choice", index=0, message={"role": "assistant", "tool_calls": [openai_call()]})
    history = [
        *asked,
        event("gen_ai.assistant.message", role="assistant", tool_calls=[openai_call()]),
        event("gen_ai.tool.message", role="tool", id=CALL_ID, name="look_up", content=RESULT),
    ]
    done = event("gen_ai.choice", index=0, message={"role": "assistant", "content": DONE})
    model = {"gen_ai.operation.name": "chat", "gen_ai.system": "openai", "gen_ai.request.model": "gpt"}
    story(
        span(0, "agent run", {"agent_name": "clara", "all_messages_events": text([*history, done]), "final_result": DONE}, number=1),
        span(1, "chat gpt", {**model, **ONE, "events": text([*asked, called])}, parent=1),
        span(
            3, "running tool", {"gen_ai.tool.name": "look_up", "gen_ai.tool.call.id": CALL_ID, "tool_arguments": text(ARGUMENTS)}, parent=1
        ),
        span(5, "chat gpt", {**model, **TWO, "events": text([*history, done])}, parent=1),
        thought=False,
        tools=False,
    )


def test_agent_framework_s_previous_response_is_no_session() -> None:
    history = typed_messages()
    history[3]["role"] = "tool"
    model = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt",
        "gen_ai.conversation.id": "resp_68a",
        "gen_ai.tool.definitions": text([TOOL]),
    }
    agent = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "clara",
        "gen_ai.agent.id": "a-1",
        "gen_ai.usage.input_tokens": 30,
        "gen_ai.usage.output_tokens": 12,
        "gen_ai.system_instructions": text([{"type": "text", "content": SYSTEM}]),
        "gen_ai.input.messages": text(history[1:2]),
        "gen_ai.output.messages": text(history[2:]),
    }
    tool = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "look_up",
        "gen_ai.tool.call.id": CALL_ID,
        "gen_ai.tool.call.arguments": text(ARGUMENTS),
        "gen_ai.tool.call.result": RESULT,
        "gen_ai.tool.type": "function",
    }
    shown = story(
        span(0, "invoke_agent clara", agent, number=1),
        span(
            1,
            "chat gpt",
            {**model, **ONE, "gen_ai.input.messages": text(history[1:2]), "gen_ai.output.messages": text(history[2:3])},
            parent=1,
        ),
        span(3, "execute_tool look_up", tool, parent=1),
        span(
            5,
            "chat gpt",
            {**model, **TWO, "gen_ai.input.messages": text(history[1:4]), "gen_ai.output.messages": text(history[4:])},
            parent=1,
        ),
    )
    assert shown["session_id"] == f"trace:{1:032x}"


def test_a_voice_agent_s_own_keys() -> None:
    ctx = {"items": [{"type": "message", "role": "system", "content": [SYSTEM]}, {"type": "message", "role": "user", "content": [ASK]}]}
    tool = {
        "lk.function_tool.id": CALL_ID,
        "lk.function_tool.name": "look_up",
        "lk.function_tool.arguments": text(ARGUMENTS),
        "lk.function_tool.output": RESULT,
        "lk.function_tool.is_error": False,
    }
    shown = told(
        span(0, "llm_node", {"lk.chat_ctx": text(ctx), "lk.response.text": DONE, "gen_ai.request.model": "gpt"}),
        span(2, "function_tool", tool),
    )
    assert [s["kind"] for s in shown["steps"]] == ["user_message", "assistant_message", "tool_call"]
    assert shown["steps"][2]["tool"]["arguments"] == ARGUMENTS
    assert [p["text"] for p in shown["system_prompts"]] == [SYSTEM]


@pytest.mark.parametrize(
    ("prefix", "tool"),
    [
        ("claude_code", {"tool_name": "look_up", "tool_input": text(ARGUMENTS), "success": "true"}),
        ("gemini_cli", {"function_name": "look_up", "function_args": text(ARGUMENTS), "success": True}),
        ("codex", {"tool_name": "look_up", "call_id": CALL_ID, "arguments": text(ARGUMENTS), "output": RESULT, "success": "true"}),
    ],
)
def test_a_command_line_agent_that_writes_log_events(prefix: str, tool: dict[str, Any]) -> None:
    common = {"session.id": "s-1", "user.id": "u-1", "app.version": "1"}
    result = "tool_call" if prefix == "gemini_cli" else "tool_result"
    shown = told(
        log(0, f"{prefix}.user_prompt", f"{prefix}.user_prompt", {**common, "prompt": ASK, "prompt_length": "24"}),
        log(
            1,
            f"{prefix}.api_request",
            f"{prefix}.api_request",
            {**common, "model": "m", "input_tokens": "10", "output_tokens": "5", "cost_usd": "0.01"},
        ),
        log(2, f"{prefix}.{result}", f"{prefix}.{result}", {**common, **tool}),
    )
    assert [s["kind"] for s in shown["steps"]] == ["user_message", "tool_call"]
    assert shown["steps"][0]["text"] == ASK
    assert (shown["steps"][1]["tool"]["name"], shown["steps"][1]["tool"]["arguments"]) == ("look_up", ARGUMENTS)
    assert (shown["totals"]["model_calls"], shown["totals"]["input_tokens"], shown["totals"]["cost_usd"]) == (1, 10, 0.01)
    assert (shown["session_id"], shown["user_ids"]) == ("s-1", ["u-1"])


def test_tools_of_a_request_are_read_in_every_usual_shape() -> None:
    definitions = [
        FUNCTION,
        TOOL,
        {"name": "look_up", "input_schema": SCHEMA},
        {"name": "look_up", "parametersJsonSchema": SCHEMA},
        {"toolSpec": {"name": "look_up", "inputSchema": {"json": SCHEMA}}},
        {"name": "look_up", "inputSchema": {"jsonSchema": SCHEMA}},
    ]
    for definition in definitions:
        shown = told(
            span(0, "chat", {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.tool.definitions": text([definition])})
        )
        assert [(t["name"], t["parameters"]) for t in shown["tools_offered"]] == [("look_up", SCHEMA)]
