"""Each thing once, however many layers, spans, logs and later prompts repeat it."""

from __future__ import annotations

import json
import time
from typing import Any

from auditlog.item import INT, KVLIST, STRING, Context, Log
from auditlog.reconstruct.actions import actions
from tests.unit.reconstruct.build import START, answer, call, kinds, model, span_of, text, told, tool, tools_of

ASK = text("user", "refund 400")
CALL = call("call_00000000001", "pay", {"amount": 400})


def test_a_conversation_repeated_in_every_prompt_is_told_once() -> None:
    history = [ASK, CALL, answer("call_00000000001", "ok")]
    shown = told(
        model(0, [ASK], [CALL]), tool(1, "pay", call_id="call_00000000001", result="ok"), model(2, history, [text("assistant", "done")])
    )
    assert kinds(shown) == ["user_message", "tool_call", "assistant_message"]
    assert tools_of(shown)[0]["result"] == "ok"
    assert tools_of(shown)[0]["outcome"] == "returned"


def test_the_same_words_said_twice_in_one_conversation_are_two_steps() -> None:
    history = [text("user", "yes"), text("assistant", "sure?"), text("user", "yes")]
    shown = told(model(0, history[:1], history[1:2]), model(2, history, [text("assistant", "done")]))
    assert kinds(shown) == ["user_message", "assistant_message", "user_message", "assistant_message"]


def test_the_same_question_in_a_new_trace_after_an_answer_was_asked_again() -> None:
    shown = told(model(0, [ASK], [text("assistant", "no")]), model(5, [ASK], [text("assistant", "no")], trace=2))
    assert kinds(shown) == ["user_message", "assistant_message", "user_message", "assistant_message"]


def test_two_layers_with_the_same_response_id_are_one_call_even_in_two_traces() -> None:
    shown = told(
        model(0, [ASK], [text("assistant", "hi")], response="r", usage=(7, 2)),
        model(0, [], [], trace=2, layer="sdk", response="r", usage=(7, 2), gen_ai__request__model="m"),
    )
    assert (shown["totals"]["model_calls"], shown["totals"]["input_tokens"]) == (1, 7)
    assert shown["model_calls"][0]["requested_model"] == "m"
    assert len(shown["model_calls"][0]["event_ids"]) == 2


def test_a_response_id_that_a_gateway_repeats_does_not_swallow_calls() -> None:
    one, two = (
        model(0, [ASK], [text("assistant", "a")], response="r", usage=(7, 2)),
        model(60, [ASK], [text("assistant", "b")], response="r", usage=(8, 2)),
    )
    assert told(one, two)["totals"]["model_calls"] == 2


def test_a_layer_around_one_call_is_that_call_and_a_layer_around_several_is_none() -> None:
    inner = model(1, [ASK], [text("assistant", "a")], span=2, parent=1, usage=(7, 2))
    outer = model(0, [], [], span=1, seconds=9, usage=(7, 2))
    assert told(outer, inner)["totals"]["model_calls"] == 1
    other = model(3, [ASK], [text("assistant", "b")], span=3, parent=1, usage=(8, 2))
    shown = told(model(0, [], [], span=1, seconds=9, usage=(15, 4)), inner, other)
    assert (shown["totals"]["model_calls"], shown["totals"]["input_tokens"]) == (2, 15)


def test_layers_that_know_nothing_of_each_other_are_joined_by_time_and_usage() -> None:
    one, other = model(0, [ASK], [text("assistant", "a")], usage=(7, 2)), model(0, [], [], span=9, layer="sdk", usage=(7, 2))
    assert told(one, other)["totals"]["model_calls"] == 1
    assert told(one, model(0, [], [], span=9, layer="lib", usage=(7, 2)))["totals"]["model_calls"] == 2  # parallel calls of one library
    assert told(one, model(30, [], [], span=9, layer="sdk", usage=(7, 2)))["totals"]["model_calls"] == 2  # another time


def test_a_span_and_its_log_record_are_one_call() -> None:
    said = [("gen_ai.output.messages", STRING, json.dumps([text("assistant", "from the log")])), ("gen_ai.usage.input_tokens", INT, 7)]
    log = Log(
        Context(),
        START,
        0,
        None,
        said,
        (1).to_bytes(16, "big"),
        (5).to_bytes(8, "big"),
        event_name="gen_ai.client.inference.operation.details",
    )
    shown = told(model(0, [], [], span=5, usage=(7, 2)), log)
    assert shown["totals"]["model_calls"] == 1
    assert [s["text"] for s in shown["steps"]] == ["from the log"]


def test_messages_logged_one_by_one_belong_to_the_call_of_their_span() -> None:
    def log(at: int, name: str, body: list[tuple[str, int, object]]) -> Log:
        return Log(Context(), START + at, 0, (KVLIST, body), [], (1).to_bytes(16, "big"), (5).to_bytes(8, "big"), event_name=name)

    logs = [
        log(1, "gen_ai.user.message", [("content", STRING, "refund 400")]),
        log(2, "gen_ai.choice", [("index", INT, 0), ("message", KVLIST, [("content", STRING, "done")])]),
    ]
    shown = told(model(0, [], [], span=5, usage=(7, 2)), *logs)
    assert (kinds(shown), shown["totals"]["model_calls"]) == (["user_message", "assistant_message"], 1)
    assert told(*logs)["totals"]["model_calls"] == 1  # the span itself was never received


def test_spans_of_agents_repeat_tokens_and_are_no_calls() -> None:
    agent = span_of(0, [("gen_ai.operation.name", STRING, "invoke_agent"), ("gen_ai.usage.input_tokens", INT, 7)], span=1, seconds=9)
    shown = told(agent, model(1, [ASK], [text("assistant", "a")], parent=1, usage=(7, 2)))
    assert (shown["totals"]["model_calls"], shown["totals"]["input_tokens"]) == (1, 7)


def test_calls_without_ids_meet_their_runs_by_name_and_arguments_in_order() -> None:
    calls = {"role": "assistant", "parts": [*call(None, "pay", {"a": 1})["parts"], *call(None, "pay", {"a": 2})["parts"]]}
    runs = tool(3, "pay", arguments={"a": 2}, result="two"), tool(4, "pay", arguments={"a": 1.0}, result="one")
    shown = told(model(0, [ASK], [calls]), *runs)
    assert [(t["arguments"], t["result"]) for t in tools_of(shown)] == [({"a": 1}, "one"), ({"a": 2}, "two")]


def test_a_result_with_another_id_than_its_call_is_matched_by_position() -> None:
    item = call("fc_1", "pay", {"a": 1})
    shown = told(model(0, [ASK], [item]), model(2, [ASK, item, answer("call_1", "ok")], [text("assistant", "done")]))
    assert [(t["call_id"], t["result"]) for t in tools_of(shown)] == [("call_1", "ok")]


def test_the_same_call_made_twice_is_two_actions() -> None:
    one, two = call("call_00000000001", "look", {"a": 1}), call("call_00000000002", "look", {"a": 1})
    history = [ASK, one, answer("call_00000000001", "x"), two, answer("call_00000000002", "y")]
    shown = told(model(0, [ASK], [one]), model(2, history[:3], [two]), model(4, history, [text("assistant", "done")]))
    assert [(t["call_id"], t["result"]) for t in tools_of(shown)] == [("call_00000000001", "x"), ("call_00000000002", "y")]


def test_two_libraries_that_trace_one_execution_tell_of_one() -> None:
    runs = tool(3, "pay", arguments={"a": 1}, span=7), tool(3, "pay", arguments={"a": 1}, result="ok", span=8, layer="other")
    assert len(tools_of(told(*runs))) == 1


def test_an_error_that_climbs_through_enclosing_spans_is_told_once() -> None:
    spans = [span_of(n, [("x", STRING, "y")], span=n + 1, parent=n, seconds=9 - n, status=(2, "boom")) for n in range(3)]
    assert kinds(told(*spans)) == ["error"]


def test_arguments_that_one_layer_left_out_are_taken_from_another() -> None:
    bare = {
        "role": "assistant",
        "parts": [{"type": "tool_call", "id": "call_00000000001", "name": "pay"}, *text("assistant", "x")["parts"]],
    }
    full = {"role": "assistant", "parts": [*call("call_00000000001", "pay", {})["parts"]]}
    shown = told(model(0, [ASK], [bare], response="r", usage=(7, 2)), model(0, [], [full], span=9, layer="sdk", response="r", usage=(7, 2)))
    assert [(t["call_id"], t["arguments"]) for t in tools_of(shown)] == [("call_00000000001", {})]


def test_calls_of_one_millisecond_stand_in_the_order_in_which_their_prompts_grew_whatever_their_span_ids() -> None:
    """JavaScript's clock has whole milliseconds: a model that answers at once begins and ends with the call before it."""
    said = [ASK, CALL, answer("c1", "ok"), call("c2", "mail", {"to": "a"}), answer("c2", "sent")]
    for spans in ((1, 2, 3), (3, 2, 1), (2, 3, 1)):
        first, second, last = (
            model(0, said[:n], [told_], span=span, seconds=0)
            for n, told_, span in zip((1, 3, 5), (said[1], said[3], text("assistant", "done")), spans, strict=True)
        )
        shown = told(last, second, first)
        assert kinds(shown) == ["user_message", "tool_call", "tool_call", "assistant_message"], spans
        assert [one["name"] for one in tools_of(shown)] == ["pay", "mail"], spans


def test_runs_at_the_same_time_whose_short_ids_happen_to_be_equal_stay_two_calls() -> None:
    asked = [
        model(0, [ASK], [call("c0", "pay", {"amount": amount})], trace=trace, span=trace * 10) for trace, amount in ((1, 400), (2, 25))
    ]
    runs = [
        tool(2, "pay", call_id="c0", arguments={"amount": amount}, result=f"paid {amount}", trace=trace, span=trace * 10 + 1)
        for trace, amount in ((1, 400), (2, 25))
    ]
    found = {shown["arguments"]["amount"]: shown["result"] for shown in tools_of(told(*asked, *runs))}
    assert found == {400: "paid 400", 25: "paid 25"}


def test_what_a_call_ran_with_is_said_where_it_is_not_what_the_model_wrote() -> None:
    def ran(arguments: Any) -> list[Any]:
        shown = told(
            model(0, [text("user", "pay")], [call("call_00000000001", "pay", {"amount": 400})]),
            tool(2, "pay", arguments=arguments, call_id="call_00000000001", result="paid"),
        )
        (told_of,) = tools_of(shown)
        (action,) = actions(shown)
        return [told_of["arguments"], told_of.get("executed_arguments"), [v.text for v in action.values if v.side == "arguments"]]

    assert ran({"amount": 200}) == [{"amount": 400}, {"amount": 200}, ["200"]]
    assert ran({"amount": 400.0}) == [{"amount": 400}, None, ["400"]]
    assert ran({"amount": 400, "currency": "EUR"})[1] == {"amount": 400, "currency": "EUR"}
    assert ran({"config": {"tags": ["x"]}}) == [{"amount": 400}, None, ["400"]]  # a record of something else
    assert ran(None) == [{"amount": 400}, None, ["400"]]


def test_a_request_that_failed_within_a_call_that_failed_is_told_once() -> None:
    def errors(kind: str) -> list[str]:
        said = [("gen_ai.operation.name", STRING, "chat"), ("gen_ai.input.messages", STRING, json.dumps([ASK]))]
        outer = span_of(0, said, span=1, seconds=3, name="chat", status=(2, "429: slow down"))
        inner = span_of(1, [("error.type", STRING, kind)], span=2, parent=1, name="POST", status=(2, ""), layer="http")
        return [s["text"] for s in told(outer, inner)["steps"] if s["kind"] == "error"]

    assert errors("429") == ["429: slow down"]
    assert sorted(errors("503")) == ["429: slow down", "POST: 503"]


def test_an_answer_of_thousands_of_parts_that_two_layers_tell_costs_no_more_than_its_length() -> None:
    def layers(of: int, *, same: bool) -> dict[str, Any]:
        said = [text("assistant", f"x{n} ") for n in range(of)]
        other = said if same else [text("assistant", f"y{n}") for n in range(of)]
        bare, whole = [call("c1", "pay", None)], [call("c1", "pay", {"amount": 400})]
        return told(model(0, [ASK], said + bare, response="r"), model(0, [], other + whole, trace=2, layer="sdk", response="r"))

    begun = time.perf_counter()
    shown, twice = layers(6_000, same=True), layers(6_000, same=False)
    assert time.perf_counter() - begun < 8
    assert (len(shown["steps"]), len(twice["steps"])) == (6_002, 12_002)
    assert [one["arguments"] for one in tools_of(shown)] == [{"amount": 400}]


def test_an_answer_in_another_notation_is_read_once_and_not_for_each_call_that_it_may_belong_to() -> None:
    written = "[{'a': 1, 'b': [" + "'x', " * 18_000 + "]}, None]"
    calls = [tool(n, "pay", call_id=f"c{n}", result=json.dumps({"a": n})) for n in range(100)]
    begun = time.perf_counter()
    told(*calls, model(101, [answer(None, written)], [text("assistant", "done")]))
    assert time.perf_counter() - begun < 4


def test_thousands_of_results_without_calls_are_each_told_once_and_soon() -> None:
    calls = [tool(n, "pay", call_id=f"c{n}", result=f"result {n} of a call") for n in range(4_000)]
    lost = [answer(f"d{n}", f"result {n} of a {'call' if n % 2 else 'lost call'}") for n in range(8_000)]
    begun = time.perf_counter()
    shown = told(*calls, model(8_001, lost, [text("assistant", "done")]))
    assert time.perf_counter() - begun < 6
    assert len(tools_of(shown)) == 10_000
