"""Whatever stands under the keys of a vocabulary is read without raising: lone types, broken JSON, deep nesting, huge numbers."""

from __future__ import annotations

import itertools
import json
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditlog.item import Item, Log, Span
from auditlog.normalise import notation
from auditlog.normalise.identity import identify
from auditlog.normalise.read import BY_WORDS, DIALECTS, read_all
from auditlog.normalise.values import Memo
from auditlog.reconstruct.timeline import timeline
from tests.corpus import arrived
from tests.item_strategies import any_item, conversations, json_values
from tests.unit.normalise.senders import attributes, log, openai_history, span, text, told

_KEYS = """
gen_ai.operation.name gen_ai.request.model gen_ai.input.messages gen_ai.output.messages gen_ai.system_instructions
gen_ai.tool.definitions gen_ai.tool.name gen_ai.tool.call.arguments gen_ai.tool.call.result gen_ai.tool.call.id gen_ai.response.id
gen_ai.response.finish_reasons gen_ai.usage.input_tokens gen_ai.usage.output_tokens gen_ai.prompt gen_ai.completion
gen_ai.prompt.0.content gen_ai.prompt.0.role gen_ai.completion.0.tool_calls.0.arguments gen_ai.completion.0.tool_calls
gen_ai.handoff.from_agent events openinference.span.kind llm.input_messages.0.message.contents.0.message_content.text
llm.input_messages.0.message.tool_calls.0.tool_call.function.arguments llm.input_messages.0 llm.output_messages.0.message.content
llm.tools.0.tool.json_schema llm.tools.0.tool input.value output.value tool.name tool.parameters
retrieval.documents.0.document.content llm.invocation_parameters llm.token_count.prompt metadata session.id user.id
traceloop.span.kind traceloop.entity.input traceloop.entity.output llm.request.type llm.request.functions.0.parameters
langsmith.span.kind langfuse.observation.type langfuse.observation.input langfuse.observation.output
langfuse.observation.usage_details mlflow.spanType mlflow.spanInputs mlflow.spanOutputs mlflow.chat.tools ai.operationId ai.prompt
ai.prompt.messages ai.prompt.tools ai.response.toolCalls ai.response.reasoning ai.toolCall.args ai.toolCall.result logfire.msg
request_data response_data tool_name braintrust.span_attributes braintrust.input_json braintrust.output_json braintrust.metrics
braintrust.metadata lmnr.span.type lmnr.span.input lmnr.span.output gcp.vertex.agent.llm_request gcp.vertex.agent.llm_response
lk.chat_ctx lk.response.text event.name prompt body
"""
KEYS = _KEYS.split()
WORDS = st.sampled_from(
    [
        "chat",
        "execute_tool",
        "invoke_agent",
        "LLM",
        "TOOL",
        "CHAIN",
        "AGENT",
        "tool",
        "llm",
        "generation",
        "CHAT_MODEL",
        "ai.toolCall",
        "ai.generateText.doGenerate",
        "{",
        "[",
        "{'a': ",
        "[[[[",
        '{"messages": 1}',
        '{"choices": [null, 1, {}]}',
        '"\\ud800"',
        "",
    ]
)
SHAPES = st.recursive(
    json_values | st.sampled_from(["text", "tool_use", 10**400, "assistant", "user"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "role",
                    "content",
                    "parts",
                    "type",
                    "tool_calls",
                    "function",
                    "arguments",
                    "id",
                    "name",
                    "text",
                    "message",
                    "messages",
                    "choices",
                    "output",
                    "usage",
                    "tools",
                    "data",
                    "kwargs",
                    "config",
                    "generations",
                    "tokens",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)
SENT = st.one_of(
    WORDS,
    SHAPES.map(json.dumps),
    SHAPES.map(str),
    conversations(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.booleans(),
    st.binary(max_size=20),
    st.lists(WORDS | st.integers(0, 9), max_size=3),
    st.dictionaries(st.sampled_from(["role", "content", "parts", "type"]), WORDS, max_size=3),
)
EVENTS = st.sampled_from(
    [
        "gen_ai.user.message",
        "gen_ai.choice",
        "gen_ai.tool.message",
        "gen_ai.content.prompt",
        "exception",
        "acme.tool_result",
        "acme.user_prompt",
        "acme.api_request",
        "acme.api_response_body",
        "gen_ai.client.inference.operation.details",
        "gen_ai.evaluation.result",
    ]
)


@st.composite
def items_of_vocabularies(draw: st.DrawFn) -> Item:
    said: dict[str, Any] = draw(st.dictionaries(st.sampled_from(KEYS), SENT, max_size=7))
    if draw(st.booleans()):
        events = [(draw(EVENTS), draw(st.dictionaries(st.sampled_from(["content", "message", "gen_ai.prompt"]), SENT, max_size=2)))]
        return span(draw(st.integers(0, 3)), "x", said, events=events, parent=draw(st.integers(0, 13)))
    body = draw(st.none() | SENT)
    made = log(draw(st.integers(0, 3)), draw(EVENTS), None, said, within=draw(st.integers(0, 13)))
    return msgspec.structs.replace(made, body=attributes({"b": body})[0][1:] if body is not None else None)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(items_of_vocabularies() | any_item, max_size=4))
def test_no_value_under_a_known_key_breaks_reading(found: list[Item]) -> None:
    events = arrived(found)
    assert len(read_all(events)) == len(events)
    for event, dialect in itertools.product(events, (*DIALECTS, BY_WORDS)):
        if dialect.recognises(event.item):
            dialect.translate(event, Memo())  # unguarded: no vocabulary may need the net under it
    for item in found:
        identify(item)
    shown = timeline(events, key="k")
    assert [s["n"] for s in shown["steps"]] == list(range(len(shown["steps"])))


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize("depth", [10, 200, 900, 5_000, 200_000])
@pytest.mark.parametrize("key", ["gen_ai.input.messages", "gen_ai.tool.definitions", "gen_ai.prompt", "metadata", "events"])
def test_nesting_of_any_depth_is_survived(key: str, depth: int) -> None:
    value = f'{{"messages": {nested(depth)}}}' if key == "metadata" else nested(depth)
    said = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", key: value}
    assert told(span(0, "chat", said))["totals"]["model_calls"] == 1
    deep: Any = "x"
    for _ in range(min(depth, 300)):
        deep = {"role": "user", "content": [deep]} if isinstance(deep, dict) else {"content": deep}
    assert told(span(0, "chat", {**said, key: json.dumps(deep)}))["totals"]["model_calls"] == 1


def test_huge_numbers_are_values_and_no_counts() -> None:
    said = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "m",
        "gen_ai.usage.input_tokens": "9" * 400,
        "gen_ai.usage.output_tokens": 1e300,
        "gen_ai.output.messages": '[{"role": "assistant", "parts": [{"type": "tool_call", "name": "f", "arguments": {"n": 1'
        + "0" * 400
        + "}}]}]",
    }
    shown = told(span(0, "chat", said))
    assert shown["totals"]["input_tokens"] is None
    assert shown["totals"]["tool_calls"] == 1


def test_bytes_where_text_belongs_are_read_as_text() -> None:
    said = {"gen_ai.operation.name": "chat", "gen_ai.input.messages": text(openai_history()[:2]).encode(), "gen_ai.request.model": b"\xff"}
    assert [s["kind"] for s in told(span(0, "chat", said))["steps"]] == ["user_message"]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("{'a': None, 'b': (1, True), 'c': 'it\\'s'}", {"a": None, "b": [1, True], "c": "it's"}),
        ("[{'type': 'text'}]", [{"type": "text"}]),
        ("{'a': __import__('os')}", None),
        ("{'a': open}", None),
        ("{'a': " + "-" * 5_000 + "1}", None),
        ("{'a': " + "1+" * 5_000 + "1}", None),
        ("[" * 5_000 + "]" * 5_000, None),
        ("{'a': '\\d'}", None),
        ("{'a': " + "9" * 6_000 + "}", None),
        ("'text'", None),
        ("{" + "'a': 1, " * 20_000 + "}", None),
    ],
)
def test_python_s_notation_is_read_and_never_executed(written: str, value: Any) -> None:
    assert notation.value(written) == value


def test_texts_inside_of_a_written_object_are_found() -> None:
    written = "Message(content='no', reasoning_content='it\\'s\\nso', other=Thing(reasoning_content=None), unreasoning_content='x')"
    assert notation.texts_of(written, "reasoning_content") == ["it's\nso"]
    assert notation.texts_of("reasoning_content='never closed", "reasoning_content") == []


def test_a_conversation_that_is_resent_with_blanks_or_cut_is_read_as_when_read_alone() -> None:
    history = openai_history()
    texts = [json.dumps(history[:n], indent=indent) for n in (1, 2, 3, 4) for indent in (None, 2)]
    texts += [texts[3][:-1], texts[3][:-1] + ", 1]", texts[3][:-1] + ",]", texts[3][:-1] + ", {}]", "[]", "[ ]"]
    spans = [
        span(n, "chat", {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.input.messages": t})
        for n, t in enumerate(texts)
    ]
    together = [list(r.facts) for r in read_all(arrived(spans))]
    alone = [read_all(arrived([s]))[0].facts for s in spans]
    assert [[f.input for f in facts] for facts in together] == [[f.input for f in facts] for facts in alone]  # type: ignore[union-attr]


def test_an_item_without_anything_is_read() -> None:
    nothing = span(0, "", {})
    assert isinstance(nothing, Span) and read_all(arrived([nothing]))[0].facts == []
    empty = log(0, "", None)
    assert isinstance(empty, Log) and read_all(arrived([empty]))[0].facts == []
