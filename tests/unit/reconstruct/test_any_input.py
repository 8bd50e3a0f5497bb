"""Whatever was stored can be read: no item breaks a timeline, and only the items decide what it says."""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditlog.item import INT, STRING, Context, Item, Log, Span
from auditlog.normalise.identity import identify
from auditlog.reconstruct.actions import actions
from auditlog.reconstruct.timeline import timeline
from tests.corpus import arrived
from tests.item_strategies import any_item, conversations

TRACE = b"\1" * 16
words = st.sampled_from(["yes", "no", "refund 400", '{"type": "reasoning", "summary": []}', "", "\0", "ä\ud83d\ude00"])
call_ids = st.sampled_from([None, "call_0", "call_488061028576217f", "fc_1"])
parts = st.one_of(
    st.builds(lambda t: {"type": "text", "content": t}, words),
    st.builds(lambda t: {"type": "reasoning", "content": t}, words),
    st.builds(lambda i, a: {"type": "tool_call", "id": i, "name": "pay", "arguments": a}, call_ids, st.sampled_from([{"a": 1}, "{", None])),
    st.builds(lambda i, r: {"type": "tool_call_response", "id": i, "response": r}, call_ids, words | st.none()),
    st.sampled_from([{}, {"type": 7}, {"type": "image", "uri": 3}, {"toolUse": {}}, {"reasoningContent": 1}]),
)
messages = st.lists(
    st.builds(
        lambda r, p: {"role": r, "parts": p}, st.sampled_from(["user", "assistant", "tool", "system", None]), st.lists(parts, max_size=3)
    )
)
CONTEXT = Context(scope=("one", "1"))


@st.composite
def model_spans(draw: st.DrawFn) -> Span:
    """Calls and tools in one small trace: parents may be unknown, of each other, or themselves; ends may precede starts."""
    found: list[Any] = [("gen_ai.operation.name", STRING, draw(st.sampled_from(["chat", "execute_tool", "invoke_agent", "", "x"])))]
    for key in ("gen_ai.input.messages", "gen_ai.output.messages"):
        found.append((key, STRING, draw(messages.map(json.dumps) | conversations())))
    found.append(("gen_ai.response.id", STRING, draw(st.sampled_from(["r1", "r2", ""]))))
    found.append(("gen_ai.usage.input_tokens", INT, draw(st.integers(0, 2))))
    found.append(("gen_ai.usage.output_tokens", INT, 1))
    found.append(("gen_ai.tool.name", STRING, "pay"))
    small = st.integers(1, 4).map(lambda n: n.to_bytes(8, "big"))
    return Span(
        context=draw(st.sampled_from([CONTEXT, Context(scope=("two", "1"))])),
        trace_id=TRACE,
        span_id=draw(small),
        name="s",
        parent_span_id=draw(small | st.just(b"")),
        start=draw(st.integers(0, 6)),
        end=draw(st.integers(0, 6)),
        attributes=found,
    )


def told(shown: dict[str, Any]) -> dict[str, Any]:
    return {**shown, "steps": [{k: v for k, v in s.items() if k != "received_at"} for s in shown["steps"]]}


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(any_item, max_size=6))
def test_no_item_breaks_a_timeline(found: list[Item]) -> None:
    shown = timeline(arrived(found), key="k")
    msgspec.json.encode({**shown, "steps": len(shown["steps"])})
    assert [s["n"] for s in shown["steps"]] == list(range(len(shown["steps"])))
    assert len(actions(shown)) == shown["totals"]["tool_calls"]
    for item in found:
        identify(item)


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(model_spans(), max_size=7), st.integers(0, 1000))
def test_neither_order_nor_repetition_changes_what_is_told(found: list[Item], seed: int) -> None:
    events = arrived(found)
    expected = told(timeline(events, key="k"))
    again = events + events[: len(events) // 2]
    random.Random(seed).shuffle(again)
    assert told(timeline(again, key="k")) == expected


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(model_spans(), min_size=1, max_size=7))
def test_every_model_call_is_counted_once_and_every_step_belongs_to_one(found: list[Item]) -> None:
    shown = timeline(arrived(found), key="k")
    stated = [i for c in shown["model_calls"] for i in c["event_ids"]]
    assert shown["totals"]["model_calls"] == len(shown["model_calls"])
    assert len(shown["model_calls"]) <= len(set(stated)) or not stated
    assert all(s["model_call"] is None or s["model_call"] < len(shown["model_calls"]) for s in shown["steps"])


def test_a_log_without_a_trace_is_a_session_of_its_own() -> None:
    log = Log(CONTEXT, 5, 0, (STRING, "hello"), [("session.id", STRING, "s-1")])
    assert timeline(arrived([log]))["session_id"] == "s-1"
