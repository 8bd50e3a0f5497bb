"""What platforms and frameworks write under keys of their own: each tells the same story."""

from __future__ import annotations

from typing import Any

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
    openai_call,
    openai_history,
    span,
    story,
    text,
    told,
)

ONE = {"gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 5}
TWO = {"gen_ai.usage.input_tokens": 20, "gen_ai.usage.output_tokens": 7}
THINKING = {"role": "assistant", "content": None, "reasoning_content": THOUGHT, "tool_calls": [openai_call()]}
FINAL = {"role": "assistant", "content": DONE}
REQUESTS = [{"model": "gpt", "messages": h, "tools": [TOOL]} for h in (openai_history()[:2], openai_history())]
RESPONSES = [
    {
        "id": f"chatcmpl-{n}",
        "model": "gpt-1",
        "choices": [{"message": m, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": i, "completion_tokens": o, "total_tokens": i + o},
    }
    for n, (m, i, o) in enumerate(((THINKING, 10, 5), (FINAL, 20, 7)))
]


def serialised(kind: str, **kwargs: Any) -> dict[str, Any]:
    return {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", kind], "kwargs": kwargs}


def test_langsmith_of_a_chain() -> None:
    system, asked = serialised("SystemMessage", content=SYSTEM), serialised("HumanMessage", content=ASK)
    block = [{"type": "thinking", "thinking": THOUGHT}]
    calls = [{"name": "look_up", "args": ARGUMENTS, "id": CALL_ID, "type": "tool_call"}]
    called = serialised(
        "AIMessage", content=block, tool_calls=calls, usage_metadata={"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
    )
    answered = serialised("ToolMessage", content=RESULT, tool_call_id=CALL_ID, name="look_up", status="success")
    done = serialised("AIMessage", content=DONE, usage_metadata={"input_tokens": 20, "output_tokens": 7, "total_tokens": 27})

    def run(at: int, kind: str, name: str, sent: Any, out: Any, **more: Any) -> Any:
        operation = {"llm": "chat", "tool": "execute_tool", "prompt": "chat"}.get(kind, kind)
        said = {
            "langsmith.span.kind": kind,
            "langsmith.trace.name": name,
            "langsmith.trace.session_id": "p-1",
            "gen_ai.system": "openai",
            "langsmith.trace.session_name": "default",
            "gen_ai.operation.name": operation,
            "langsmith.metadata.thread_id": "s-1",
            "langsmith.metadata.customer_id": "ACME-2024",
            "langsmith.metadata.user_id": "u-1",
            "gen_ai.prompt": text(sent),
            "gen_ai.completion": text(out),
            **more,
        }
        return span(at, name, said, scope="langsmith", parent=0 if at == 0 else 10)

    shown = story(
        run(0, "chain", "LangGraph", {"messages": [asked]}, {"messages": [asked, called, answered, done]}),
        run(1, "prompt", "ChatPromptTemplate", {"question": ASK}, {"messages": [system, asked]}),
        run(
            2,
            "llm",
            "ChatOpenAI",
            {"messages": [[system, asked]]},
            {"generations": [[{"text": "", "message": called}]]},
            **ONE,
            **{"gen_ai.request.model": "gpt"},
        ),
        run(4, "tool", "look_up", {"input": str(ARGUMENTS)}, {"output": answered}),
        run(
            6,
            "llm",
            "ChatOpenAI",
            {"messages": [[system, asked, called, answered]]},
            {"generations": [[{"text": DONE, "message": done}]]},
            **TWO,
            **{"gen_ai.request.model": "gpt"},
        ),
        tools=False,
    )
    assert (shown["session_id"], shown["user_ids"], shown["customer_ids"]) == ("s-1", ["u-1"], ["ACME-2024"])


def test_langsmith_of_a_provider_s_client() -> None:
    common = {"langsmith.span.kind": "llm", "gen_ai.operation.name": "chat", "langsmith.metadata.session_id": "s-1"}
    spans = [
        span(3 * n, "ChatOpenAI", {**common, "gen_ai.prompt": text(REQUESTS[n]), "gen_ai.completion": text(RESPONSES[n])}) for n in range(2)
    ]
    assert story(*spans)["session_id"] == "s-1"


def test_google_adk_with_bodies_on_its_spans() -> None:
    config = {"system_instruction": SYSTEM, "tools": [{"function_declarations": [{**FUNCTION}]}]}
    asked = {"role": "user", "parts": [{"text": ASK}]}
    called = {
        "role": "model",
        "parts": [{"text": THOUGHT, "thought": True}, {"function_call": {"id": CALL_ID, "name": "look_up", "args": ARGUMENTS}}],
    }
    answered = {"role": "user", "parts": [{"function_response": {"id": CALL_ID, "name": "look_up", "response": {"result": RESULT}}}]}
    done = {"role": "model", "parts": [{"text": DONE}]}
    p = "gcp.vertex.agent."

    def call(at: int, contents: list[Any], out: Any, usage: dict[str, Any]) -> Any:
        request = {"model": "gemini", "config": config, "contents": contents}
        return span(
            at,
            "call_llm",
            {
                "gen_ai.system": "gcp.vertex.agent",
                "gen_ai.request.model": "gemini",
                p + "invocation_id": "e-1",
                p + "session_id": "s-1",
                p + "event_id": "ev",
                p + "llm_request": text(request),
                p + "llm_response": text({"content": out, "finish_reason": "STOP"}),
                **usage,
            },
            scope="gcp.vertex.agent",
        )

    tool = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "look_up",
        "gen_ai.tool.type": "FunctionTool",
        "gen_ai.tool.description": "Look it up",
        "gen_ai.tool.call.id": "<not specified>",
        p + "tool_call_args": text(ARGUMENTS),
        p + "tool_response": text({"result": RESULT}),
        p + "llm_request": "{}",
        p + "llm_response": "{}",
    }
    shown = story(
        call(0, [asked], called, ONE),
        span(2, "execute_tool look_up", tool, scope="gcp.vertex.agent"),
        call(4, [asked, called, answered], done, TWO),
        result={"result": RESULT},
    )
    assert shown["session_id"] == "s-1"


def test_litellm_s_own_export() -> None:
    common = {
        "gen_ai.request.model": "gpt",
        "llm.request.type": "acompletion",
        "gen_ai.operation.name": "acompletion",
        "gen_ai.system": "openai",
        "llm.is_streaming": "False",
        "llm.user": "u-1",
        "metadata.requester_metadata": str({"session_id": "s-1"}),
        "hidden_params": "{}",
        "llm.request.functions.0.name": "look_up",
        "llm.request.functions.0.description": "Look it up",
        "llm.request.functions.0.parameters": text(SCHEMA),
    }

    def parts(message: dict[str, Any]) -> dict[str, Any]:
        said = [{"type": "text", "content": message["content"]}] if message.get("content") else []
        calls = [{"type": "tool_call", "id": CALL_ID, "name": "look_up", "arguments": text(ARGUMENTS)}] if message.get("tool_calls") else []
        if message["role"] == "tool":
            said = [{"type": "tool_call_response", "id": CALL_ID, "response": RESULT}]
        return {"role": message["role"], "parts": said + calls}

    def call(at: int, history: list[Any], out: Any, usage: dict[str, Any]) -> Any:
        said = {**common, **usage, "gen_ai.input.messages": text([parts(m) for m in history]), "gen_ai.output.messages": text([parts(out)])}
        calls = {"gen_ai.completion.0.function_call.name": "look_up", "gen_ai.completion.0.function_call.arguments": text(ARGUMENTS)}
        return span(at, "litellm_request", {**said, **(calls if out.get("tool_calls") else {})}, scope="litellm")

    shown = story(call(0, openai_history()[:2], THINKING, ONE), call(3, openai_history(), FINAL, TWO), thought=False)
    assert (shown["session_id"], shown["user_ids"]) == ("s-1", ["u-1"])


def test_laminar() -> None:
    common = {"lmnr.association.properties.session_id": "s-1", "lmnr.association.properties.user_id": "u-1", "lmnr.span.path": ["a", "b"]}
    model = {**common, "lmnr.span.type": "LLM", "gen_ai.system": "openai", "gen_ai.request.model": "gpt"}
    tool = {**common, "lmnr.span.type": "TOOL", "lmnr.span.input": text(ARGUMENTS), "lmnr.span.output": text({"charges": 2})}
    shown = story(
        span(0, "chat", {**model, **ONE, "lmnr.span.input": text(openai_history()[:2]), "lmnr.span.output": text([THINKING])}),
        span(2, "look_up", tool),
        span(4, "chat", {**model, **TWO, "lmnr.span.input": text(openai_history()), "lmnr.span.output": text([FINAL])}),
        tools=False,
    )
    assert (shown["session_id"], shown["user_ids"]) == ("s-1", ["u-1"])


def test_braintrust() -> None:
    def said(kind: str, sent: Any, out: Any, **metrics: int) -> dict[str, Any]:
        return {
            "braintrust.span_attributes": text({"type": kind, "name": "x"}),
            "braintrust.input_json": text(sent),
            "braintrust.output_json": text(out),
            "braintrust.metrics": text(metrics),
            "braintrust.parent": "project_name:p",
            "braintrust.metadata": text({"model": "gpt", "session_id": "s-1", "customer_id": "ACME-2024", "tools": [TOOL]}),
        }

    shown = story(
        span(
            0,
            "Chat Completion",
            said("llm", openai_history()[:2], [{"index": 0, "message": THINKING}], prompt_tokens=10, completion_tokens=5),
        ),
        span(2, "look_up", said("tool", ARGUMENTS, {"charges": 2})),
        span(4, "Chat Completion", said("llm", openai_history(), [{"index": 0, "message": FINAL}], prompt_tokens=20, completion_tokens=7)),
    )
    assert (shown["session_id"], shown["customer_ids"]) == ("s-1", ["ACME-2024"])
    assert shown["model_calls"][0]["requested_model"] == "gpt"


def test_agentops() -> None:
    model = {
        "agentops.span.kind": "llm",
        "gen_ai.system": "openai",
        "gen_ai.request.model": "gpt",
        "gen_ai.prompt.0.role": "system",
        "gen_ai.prompt.0.content": SYSTEM,
        "gen_ai.prompt.1.role": "user",
        "gen_ai.prompt.1.content": ASK,
    }
    called = {
        "gen_ai.completion.0.role": "assistant",
        "gen_ai.completion.0.finish_reason": "tool_calls",
        "gen_ai.completion.0.tool_calls.0.id": CALL_ID,
        "gen_ai.completion.0.tool_calls.0.name": "look_up",
        "gen_ai.completion.0.tool_calls.0.arguments": text(ARGUMENTS),
        "gen_ai.completion.0.tool_calls.0.type": "function",
    }
    tool = {
        "agentops.span.kind": "tool",
        "agentops.entity.name": "look_up",
        "agentops.entity.input": text({"args": [], "kwargs": ARGUMENTS}),
        "agentops.entity.output": text({"charges": 2}),
    }
    usage = [{"gen_ai.usage.prompt_tokens": i, "gen_ai.usage.completion_tokens": o} for i, o in ((10, 5), (20, 7))]
    story(
        span(0, "openai.chat", {**model, **called, **usage[0]}),
        span(2, "look_up.tool", tool),
        span(4, "openai.chat", {**model, **usage[1], "gen_ai.completion.0.role": "assistant", "gen_ai.completion.0.content": DONE}),
        thought=False,
        tools=False,
    )


def test_spring_ai() -> None:
    common: dict[str, Any] = {"gen_ai.operation.name": "chat", "gen_ai.system": "openai", "gen_ai.request.model": "gpt"}
    common |= {"spring.ai.model.request.tool.names": '["look_up"]', "gen_ai.response.finish_reasons": ["STOP"]}
    tool = {
        "spring.ai.kind": "tool_call",
        "spring.ai.tool.definition.name": "look_up",
        "spring.ai.tool.definition.description": "Look it up",
        "spring.ai.tool.definition.schema": text(SCHEMA),
        "spring.ai.tool.call.arguments": text(ARGUMENTS),
        "spring.ai.tool.call.result": text({"charges": 2}),
        "gen_ai.operation.name": "framework",
        "gen_ai.system": "spring_ai",
    }
    client = {"spring.ai.kind": "chat_client", "spring.ai.chat.client.conversation.id": "s-1", "gen_ai.operation.name": "framework"}
    shown = told(
        span(0, "chat_client", client, number=1),
        span(1, "chat gpt", {**common, **ONE, "gen_ai.prompt": [ASK], "gen_ai.completion": [""]}, parent=1),
        span(3, "tool_call look_up", tool, parent=1),
        span(5, "chat gpt", {**common, **TWO, "gen_ai.prompt": [ASK], "gen_ai.completion": [DONE]}, parent=1),
    )
    assert shown["session_id"] == "s-1"
    assert [s["kind"] for s in shown["steps"]] == ["user_message", "tool_call", "assistant_message"]
    assert shown["steps"][1]["tool"]["arguments"] == ARGUMENTS
    assert (shown["totals"]["model_calls"], shown["totals"]["input_tokens"]) == (2, 30)


def test_mastra() -> None:
    call = {"type": "tool-call", "toolCallId": CALL_ID, "toolName": "look_up", "args": ARGUMENTS}
    answer = {"type": "tool-result", "toolCallId": CALL_ID, "toolName": "look_up", "output": {"type": "json", "value": {"charges": 2}}}
    history = [
        {"role": "user", "content": [{"type": "text", "text": ASK}]},
        {"role": "assistant", "content": [call]},
        {"role": "tool", "content": [answer]},
    ]
    model = {"gen_ai.operation.name": "chat", "mastra.span.type": "model_generation", "gen_ai.request.model": "gpt"}
    tool = {
        "gen_ai.operation.name": "execute_tool",
        "mastra.span.type": "tool_call",
        "gen_ai.tool.name": "look_up",
        "gen_ai.tool.call.arguments": text(ARGUMENTS),
        "gen_ai.tool.call.result": text({"charges": 2}),
        "gen_ai.tool.call.id": CALL_ID,
    }
    agent = {
        "gen_ai.operation.name": "invoke_agent",
        "mastra.span.type": "agent_run",
        "gen_ai.agent.name": "clara",
        "gen_ai.conversation.id": "s-1",
        "gen_ai.system_instructions": SYSTEM,
        "gen_ai.tool.definitions": text(["look_up"]),
        "mastra.metadata.userId": "u-1",
        "mastra.agent_run.input": ASK,
    }
    called = [{"role": "assistant", "parts": [{"type": "tool_call", "id": CALL_ID, "name": "look_up", "arguments": text(ARGUMENTS)}]}]
    one = {"gen_ai.input.messages": text({"messages": history[:1]}), "gen_ai.output.messages": text(called)}
    two = {"gen_ai.input.messages": text({"messages": history}), "gen_ai.output.messages": text({"text": DONE})}
    shown = told(
        span(0, "invoke_agent clara", agent, number=1),
        span(1, "chat gpt", {**model, **ONE, **one}, parent=1),
        span(2, "execute_tool look_up", tool, parent=1),
        span(4, "chat gpt", {**model, **TWO, **two}, parent=1),
    )
    assert [s["kind"] for s in shown["steps"]] == ["user_message", "tool_call", "assistant_message"]
    assert [p["text"] for p in shown["system_prompts"]] == [SYSTEM]
    assert (shown["session_id"], shown["user_ids"], shown["agent"]["name"]) == ("s-1", ["u-1"], "clara")


def test_a_vocabulary_that_nobody_has_met() -> None:
    model = {"acme.span_kind": "LLM", "acme.model": "gpt", "acme.session_id": "s-1", "acme.tools": text([TOOL])}
    tool = {"acme.span_kind": "TOOL", "acme.tool.name": "look_up", "acme.arguments": text(ARGUMENTS), "acme.result": text({"charges": 2})}
    shown = story(
        span(
            0,
            "m",
            {
                **model,
                "acme.input": text(openai_history()[:2]),
                "acme.output": text(THINKING),
                "acme.usage.input_tokens": 10,
                "acme.usage.output_tokens": 5,
            },
        ),
        span(2, "t", tool),
        span(
            4,
            "m",
            {
                **model,
                "acme.input": text(openai_history()),
                "acme.output": DONE,
                "acme.usage.input_tokens": 20,
                "acme.usage.output_tokens": 7,
            },
        ),
    )
    assert shown["session_id"] == "s-1"


def test_spans_of_other_work_are_nobody_s_conversation() -> None:
    http = {"http.request.method": "POST", "http.request.body": "hello", "http.response.body": "world", "url.full": "https://example.com"}
    sql = {"db.operation.name": "SELECT", "db.query.text": "select 1", "db.response.returned_rows": 3}
    car = {"car.model": "T", "car.request": "drive"}
    task = {"faas.span.type": "function", "faas.name": "resize", "job.kind": "task"}
    assert told(span(0, "POST", http), span(1, "SELECT", sql), span(2, "car", car), span(3, "resize", task))["steps"] == []


def test_a_guardrail_of_which_only_the_name_was_sent_is_a_step_under_its_name() -> None:
    (step,) = told(span(0, "no threats", {"openinference.span.kind": "GUARDRAIL"}))["steps"]
    assert (step["kind"], step["text"], "detail" in step) == ("guardrail", "no threats", False)
