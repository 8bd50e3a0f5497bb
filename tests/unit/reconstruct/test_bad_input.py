"""Input that contradicts itself, repeats itself, or is far too long: told once, and the same in any order."""

from __future__ import annotations

import itertools
import time
from typing import Any

import msgspec
import pytest

from auditlog.item import INT, STRING, Item, Span
from auditlog.normalise import shapes
from auditlog.reconstruct.timeline import timeline
from tests.corpus import arrived
from tests.unit.reconstruct.build import SECOND, answer, call, kinds, model, span_of, text, told, tool, tools_of

YEAR = 365 * 24 * 3600
CALL = call("call_00000000001", "pay", {"amount": 400})


def in_any_order(*items: Item) -> dict[str, Any]:
    """The timeline, if it is the same for every order of arrival."""
    events = arrived(items)
    shown = [timeline(order, key="k") for order in itertools.islice(itertools.permutations(events), 24)]
    assert all(s == shown[0] for s in shown)
    return shown[0]


def test_a_span_sent_while_open_and_again_when_done_is_one_thing_with_all_that_is_known() -> None:
    opened = model(0, [text("user", "refund 400")], [], span=5, response="r")
    done = model(0, [text("user", "refund 400")], [CALL], span=5, usage=(7, 2), response="r")
    begun = tool(2, "pay", call_id="call_00000000001", arguments={"amount": 400}, span=6)
    ended = tool(2, "pay", call_id="call_00000000001", arguments={"amount": 400}, result="ok", span=6)
    shown = in_any_order(opened, done, begun, ended)
    assert kinds(shown) == ["user_message", "tool_call"]
    assert (shown["totals"]["model_calls"], shown["totals"]["input_tokens"]) == (1, 7)
    assert (tools_of(shown)[0]["result"], tools_of(shown)[0]["outcome"]) == ("ok", "returned")


def test_two_versions_of_a_span_that_contradict_each_other_are_both_told_the_same_way_in_any_order() -> None:
    one, two = (model(0, [text("user", "hi")], [text("assistant", said)], span=5, usage=(7, 2)) for said in ("yes", "no"))
    shown = in_any_order(one, two)
    assert shown["totals"]["model_calls"] == 1
    assert sorted(s["text"] for s in shown["steps"][1:]) == ["no", "yes"]


def test_a_clock_that_is_a_year_off_neither_loses_nor_doubles_anything() -> None:
    asked = [text("user", "refund 400"), CALL, answer("call_00000000001", "ok")]
    first, last = model(0, asked[:1], [CALL]), model(4, asked, [text("assistant", "done")])
    late = tool(2, "pay", call_id="call_00000000001", arguments={"amount": 400}, result="ok")
    for shift in (YEAR * SECOND, -YEAR * SECOND):
        moved = msgspec.structs.replace(late, start=late.start + shift, end=late.end + shift)
        shown = in_any_order(first, moved, last)
        assert kinds(shown) == ["user_message", "tool_call", "assistant_message"]
        assert tools_of(shown)[0]["result"] == "ok"


@pytest.mark.parametrize(("start", "at"), [(0, None), (2**64 - 1, "2554-07-21T23:34:33.709551Z")])
def test_the_first_and_the_last_time_that_can_be_sent_are_survived(start: int, at: str | None) -> None:
    odd = msgspec.structs.replace(model(0, [text("user", "hi")], [text("assistant", "a")]), start=start, end=start)
    shown = told(odd)
    assert kinds(shown) == ["user_message", "assistant_message"]
    assert shown["steps"][0]["at"] == at


def test_sessions_that_contradict_each_other_in_one_trace_have_one_winner_in_any_order() -> None:
    spans = [model(n, [text("user", f"q{n}")], [], session__id=name) for n, name in enumerate(("b", "a", "x" * 13_000 + "\0"))]
    assert in_any_order(*spans)["session_id"] == "a"


def test_every_span_its_own_ancestor_is_survived() -> None:
    ring: list[Item] = [
        span_of(
            n,
            [("gen_ai.operation.name", STRING, "chat"), ("gen_ai.usage.input_tokens", INT, 1), ("gen_ai.usage.output_tokens", INT, n)],
            span=n + 1,
            parent=(n + 1) % 4 + 1,
        )
        for n in range(4)
    ]
    in_any_order(*ring)
    own: Span = span_of(0, [("gen_ai.operation.name", STRING, "execute_tool"), ("gen_ai.tool.name", STRING, "pay")], span=3, parent=3)
    assert kinds(told(own)) == ["tool_call"]


def conversation(turns: int) -> list[Item]:
    history: list[Any] = [text("system", "be kind")]
    spans: list[Item] = []
    for n in range(turns):
        step = call(f"call_{n:016}", "look", {"n": n})
        history.append(text("user", f"question {n}"))
        spans.append(model(4 * n, list(history), [step], usage=(n, 1)))
        history += [step, answer(f"call_{n:016}", f"r{n}"), text("assistant", f"answer {n}")]
        spans.append(model(4 * n + 2, history[:-1], history[-1:], usage=(n, 2)))
    return spans


@pytest.mark.parametrize("turns", [20, 80])
def test_a_conversation_that_is_resent_every_turn_is_parsed_once(turns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[bytes] = []
    read = shapes._raw_message

    def counted(raw: bytes, *rest: Any) -> Any:
        parsed.append(raw)
        return read(raw, *rest)

    monkeypatch.setattr(shapes, "_raw_message", counted)
    shown = told(*conversation(turns))
    assert len(shown["steps"]) == 3 * turns
    assert len(parsed) <= 8 * turns  # not turns squared


def test_a_value_far_back_in_a_long_session_is_found() -> None:
    spans = conversation(60)
    last = call("call_last00000000", "pay", {"a": "question 3", "b": "question 59", "c": "never said"})
    shown = told(*spans, model(400, [text("user", "pay")], [last]))
    origins = {o["pointer"]: o["steps"] for o in tools_of(shown)[-1]["origins"]}
    steps = shown["steps"]
    assert [steps[n]["text"] for n in origins["/a"]][:1] == ["question 3"]
    assert [steps[n]["text"] for n in origins["/b"]] == ["question 59"]
    assert origins["/c"] == []


def test_what_the_tool_returned_is_told_and_not_what_was_written_around_it() -> None:
    shown = told(
        model(0, [text("user", "hi")], [CALL]),
        tool(1, "pay", call_id="call_00000000001", result='{"id": "cr_1"}'),
        model(3, [text("user", "hi"), CALL, answer("call_00000000001", 'Observation:\n{"id": "cr_1"}')], [text("assistant", "done")]),
    )
    assert tools_of(shown)[0]["result"] == '{"id": "cr_1"}'


def seconds(*items: Item) -> tuple[float, dict[str, Any]]:
    begun = time.process_time()
    shown = told(*items)
    return time.process_time() - begun, shown


def test_a_message_of_a_million_tokens_is_told_whole_and_once_in_bounded_time() -> None:
    long = "refund 400 " * 400_000  # 4.4 million characters, about a million tokens
    asked = [text("user", long), CALL, answer("call_00000000001", long)]
    took, shown = seconds(
        model(0, asked[:1], [CALL]), model(3, asked, [text("assistant", "done")]), model(6, [*asked, text("user", "x")], [])
    )
    assert kinds(shown) == ["user_message", "tool_call", "assistant_message", "user_message"]
    assert (shown["steps"][0]["text"], tools_of(shown)[0]["result"]) == (long, long)
    assert took < 20


def test_ten_thousand_tools_in_every_request_are_offered_once_in_bounded_time() -> None:
    tools = [{"name": f"t{n}", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}} for n in range(10_000)]
    calls = [call(f"call_{n:016}", f"t{n}", {"a": n}) for n in range(20)]
    took, shown = seconds(*(model(2 * n, [text("user", "hi")], [c], tools=tools) for n, c in enumerate(calls)))
    assert len(shown["tools_offered"]) == 10_000
    assert [(t["offered"], t["arguments_valid"]) for t in tools_of(shown)] == [(True, True)] * 20
    assert took < 20


def test_a_span_id_that_two_traces_or_two_things_share_loses_neither() -> None:
    one, two = model(0, [text("user", "a")], [text("assistant", "b")], span=5), tool(2, "pay", arguments={"a": 1}, result="ok", span=5)
    other = model(4, [text("user", "c")], [text("assistant", "d")], span=5, trace=2)
    assert kinds(in_any_order(one, two, other)) == ["user_message", "assistant_message", "tool_call", "user_message", "assistant_message"]


def test_a_chain_of_ten_thousand_spans_inside_each_other_is_survived() -> None:
    chain: list[Item] = [span_of(0, [], span=n + 1, parent=n, seconds=9) for n in range(10_000)]
    took, shown = seconds(*chain, model(1, [text("user", "a")], [text("assistant", "b")], span=20_000, parent=10_000))
    assert kinds(shown) == ["user_message", "assistant_message"]
    assert took < 20
