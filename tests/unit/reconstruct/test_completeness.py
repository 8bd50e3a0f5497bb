"""What a trail lacks is named, with its step and how to close it; what cannot be known is never called complete."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from auditlog.ingest import rest
from auditlog.item import GONE, KVLIST, STRING, WITHHELD, Context, Item, Log, Rest, Span
from auditlog.normalise.condition import share_kept
from tests.corpus import RECEIVED
from tests.unit.reconstruct.build import SECOND, START, answer, call, model, span_of, text, told, tool

TOOLS = [{"name": "pay", "parameters": {"type": "object"}}]
ASKED = [text("system", "be kind"), text("user", "pay")]
CALL = call("call_00000000001", "pay", {"a": 1})
WHOLE = (
    model(0, ASKED, [CALL], tools=TOOLS, span=5),
    tool(2, "pay", call_id="call_00000000001", arguments={"a": 1}, result="ok", span=6),
    model(4, [*ASKED, CALL, answer("call_00000000001", "ok")], [text("assistant", "done")], tools=TOOLS, span=7),
)


def gaps(*items: Item) -> dict[str, dict[str, Any]]:
    return {g["code"]: g for g in told(*items)["completeness"]["gaps"]}


def numbered(at: int, kind: str = "message", **members: Any) -> Rest:
    sent = {"kind": kind, "sequence": at, **members}
    return Rest(
        [b""] * (len(sent) + 1), [(k, json.dumps(v).encode()) for k, v in sent.items()], session_id="s", time=START + min(at, 999) * SECOND
    )


def counted(*numbers: int, **last: Any) -> list[Rest]:
    said = [{"role": "user", "content": "hi"}]
    return [numbered(n, input=said, **(last if n == numbers[-1] else {})) for n in numbers]


def with_state(state: str) -> list[Span]:
    return [msgspec.structs.replace(span, trace_state=state) for span in WHOLE]


def test_a_trail_that_lacks_nothing_is_complete_and_so_is_its_action() -> None:
    shown = told(*WHOLE)
    assert shown["completeness"] == {"verdict": "complete", "basis": "no_gap_found", "gaps": []}
    assert shown["steps"][1]["completeness"] == {"verdict": "complete", "basis": "no_gap_found", "gaps": []}


def test_a_gap_of_one_action_is_not_one_of_another() -> None:
    two = {"role": "assistant", "parts": [*CALL["parts"], *call("call_00000000002", "pay", {"a": 2})["parts"]]}
    shown = told(model(0, ASKED, [two], tools=TOOLS, span=5), WHOLE[1])
    assert [(s["completeness"]["verdict"], s["completeness"]["gaps"]) for s in shown["steps"][1:]] == [
        ("complete", []),
        ("gaps", ["result_missing"]),
    ]


def test_an_action_of_which_only_the_name_is_known_cannot_be_judged() -> None:
    shown = told(model(0, ASKED, [call("c", "pay", None)], tools=TOOLS))
    assert shown["steps"][1]["completeness"]["verdict"] == "unevaluable"


def test_a_result_whose_call_was_never_recorded_is_a_step_with_that_said() -> None:
    shown = told(model(0, [*ASKED, answer("call_00000000009", "paid")], [text("assistant", "done")], tools=TOOLS))
    step = shown["steps"][1]
    assert (step["tool"]["name"], step["tool"]["result"], step["tool"]["outcome"]) == ("(not recorded)", "paid", "returned")
    assert [(g["code"], g["step"]) for g in shown["completeness"]["gaps"]] == [("call_missing", 1)]


def test_a_tool_whose_name_is_missing_is_told_of_in_whole_sentences() -> None:
    nameless = msgspec.structs.replace(tool(3, "", call_id="call_00000000007", arguments={}, result="ok"), name="")
    shown = told(*WHOLE, nameless)
    assert shown["steps"][2]["tool"]["name"] == "(not recorded)"
    (found,) = [one["message"] for one in shown["completeness"]["gaps"] if one["code"] == "call_missing"]
    assert found.startswith("A tool whose name is not known ran, but")


def test_a_tool_that_no_model_asked_for_lacks_its_call() -> None:
    stray = tool(3, "erase", call_id="call_00000000007", arguments={}, result="ok")
    found = gaps(*WHOLE, stray)
    assert found["call_missing"]["step"] == 2
    assert not gaps(stray).get("call_missing")  # nobody says that a model was at work


def test_a_tool_offered_by_name_alone_cannot_be_checked() -> None:
    first = model(0, ASKED, [CALL], tools=[{"name": "pay"}], span=5)
    assert gaps(first, WHOLE[1])["schema_missing"]["step"] == 1


def test_one_request_without_tools_among_others_is_named_at_its_call() -> None:
    other = call("call_00000000002", "pay", {"a": 2})
    ran = tool(8, "pay", call_id="call_00000000002", arguments={"a": 2}, result="ok")
    found = gaps(*WHOLE, model(6, [*ASKED, text("user", "again")], [other]), ran)
    assert found["tools_missing"]["step"] == 4


def test_a_request_that_says_that_nothing_was_offered_lacks_no_tools() -> None:
    shown = told(model(0, ASKED, [CALL], tools=[]), WHOLE[1])
    assert shown["steps"][1]["tool"]["offered"] is False
    assert not shown["completeness"]["gaps"]


@pytest.mark.parametrize(("part", "word"), [({"encrypted_content": "gAAA"}, "encrypted"), ({"type": "redacted_thinking"}, "redacted")])
def test_reasoning_that_the_provider_keeps_to_itself_is_missing_even_where_nothing_was_billed(part: Any, word: str) -> None:
    answered = {"role": "assistant", "parts": [{"type": "reasoning", **part}, {"type": "text", "content": "done"}]}
    assert word in gaps(model(0, ASKED, [answered], tools=TOOLS))["reasoning_missing"]["message"]


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        ("", 1.0),
        ("ot=th:0", 1.0),
        ("ot=th:c", 0.25),
        ("vendor=x,ot=rv:1234;th:8", 0.5),
        ("ot=p:2;r:3", 0.25),
        ("ot=p:63", 1.0),
        ("other=th:c", 1.0),
        ("ot=th:" + "f" * 15, 1.0),
    ],
)
def test_the_share_of_traces_that_is_kept_is_read_from_the_tracestate(state: str, kept: float) -> None:
    assert share_kept(state) == kept


def test_a_sampled_trace_is_never_complete_and_names_the_variable() -> None:
    assert not gaps(*with_state("ot=th:0"))
    assert "0.25" in gaps(*with_state("ot=th:c"))["trace_sampled"]["message"]
    assert "OTEL_TRACES_SAMPLER" in gaps(*with_state("ot=th:c"))["trace_sampled"]["message"]


def test_log_records_that_are_not_marked_as_sampled_and_stand_alone_were_sampled_away() -> None:
    said = [("gen_ai.output.messages", STRING, json.dumps([text("assistant", "x")]))]
    log = Log(Context(), START, 0, None, said, b"\1" * 16, b"\2" * 8, event_name="gen_ai.client.inference.operation.details")
    assert gaps(log)["trace_sampled"]["count"] == 1
    assert "trace_sampled" not in gaps(msgspec.structs.replace(log, flags=1))


def test_attributes_and_events_that_the_sender_dropped_name_the_variables_to_set() -> None:
    lost = msgspec.structs.replace(WHOLE[0], dropped_attributes=2, dropped_events=3)
    found = gaps(lost, *WHOLE[1:])
    assert "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT" in found["attributes_dropped"]["message"]
    assert (found["events_dropped"]["count"], "OTEL_SPAN_EVENT_COUNT_LIMIT" in found["events_dropped"]["message"]) == (3, True)


def test_values_that_are_not_known_any_more_are_counted_however_deep() -> None:
    gone = msgspec.structs.replace(
        WHOLE[1], attributes=[*WHOLE[1].attributes, ("a", WITHHELD, None), ("b", KVLIST, [("c", WITHHELD, None)])]
    )
    assert gaps(WHOLE[0], gone, WHOLE[2])["content_withheld"]["count"] == 2


def test_what_is_withheld_of_a_rest_event_is_not_told_as_if_it_had_been_said() -> None:
    event = Rest([b""] * 4, [("kind", b'"tool_call"'), ("tool.name", b'"pay"'), ("tool.arguments", GONE)], time=START)
    shown = told(event)
    assert shown["steps"][0]["tool"]["arguments_raw"] is None
    assert "content_withheld" in {g["code"] for g in shown["completeness"]["gaps"]}


def test_a_sender_may_say_withheld_and_is_told_word_for_word() -> None:
    said = rest.read(
        json.dumps({"events": [{"kind": "reasoning", "at": "2026-03-01T10:00:00Z", "reasoning": "withheld"}]}).encode(), "application/json"
    )
    shown = told(*said.items)
    assert [(step["kind"], step["text"]) for step in shown["steps"]] == [("reasoning", "withheld")]
    assert "content_withheld" not in {g["code"] for g in shown["completeness"]["gaps"]}


def test_clocks_that_contradict_each_other_are_named() -> None:
    asked, ran, last = WHOLE
    backwards = msgspec.structs.replace(last, end=last.start - 1)
    assert gaps(asked, ran, backwards)["clock_end_before_start"]["count"] == 1
    child = msgspec.structs.replace(asked, parent_span_id=last.span_id)
    assert gaps(child, ran, last)["clock_child_before_parent"]["count"] == 1
    early = msgspec.structs.replace(ran, start=ran.start - 60 * SECOND, end=ran.end - 60 * SECOND)
    assert gaps(asked, early, last)["clock_result_before_call"]["step"] == 1


def test_what_is_dated_later_than_it_was_received_is_named_with_by_how_much() -> None:
    moved = int(RECEIVED.timestamp()) * SECOND - START
    apart = {"a year": 366 * 86_400, "hours": 7_300, "minutes": 185, "seconds": 62, "a few seconds": 58}
    asked, ran, last = (
        msgspec.structs.replace(one, start=one.start + moved - 60 * SECOND, end=one.end + moved - 60 * SECOND) for one in WHOLE
    )
    for by, words in zip(apart.values(), ("366 days", "2 hours", "3 minutes", "62 seconds", None), strict=True):
        for times in ({"start": by}, {"end": by}):
            ahead = msgspec.structs.replace(last, **{name: START + moved + seconds * SECOND for name, seconds in times.items()})
            found = gaps(asked, ran, ahead)
            assert ("clock_after_receipt" in found) == (words is not None)
            assert words is None or f"1 items are dated up to {words} later" in found["clock_after_receipt"]["message"]


def test_one_trace_that_names_two_customers_under_one_key_contradicts_itself() -> None:
    named = [span_of(n, [("customer.id", STRING, who)], span=20 + n) for n, who in enumerate(("ACME", "Beta"))]
    found = gaps(*WHOLE, *named)["identity_contradictory"]
    assert all(w in found["message"] for w in ("ACME", "Beta", "customer.id"))
    assert "identity_contradictory" not in gaps(*WHOLE, named[0], named[0])
    elsewhere = msgspec.structs.replace(named[1], trace_id=b"\7" * 16)
    assert "identity_contradictory" not in gaps(*WHOLE, named[0], elsewhere)


def test_content_that_is_only_a_reference_is_missing_in_prompt_and_answer() -> None:
    image = {"type": "uri", "modality": "image", "uri": "https://example.org/a.png"}
    assert "a.png" in gaps(model(0, [{"role": "user", "parts": [image]}], [text("assistant", "x")]))["content_not_fetched"]["message"]
    answered = {"role": "assistant", "parts": [image]}
    assert "answer" in gaps(model(0, ASKED, [answered]))["content_not_fetched"]["message"]
    inline = {"type": "blob", "mime_type": "image/png", "content": "aGk="}
    assert "content_not_fetched" not in gaps(model(0, [{"role": "user", "parts": [inline]}], [text("assistant", "x")]))


@pytest.mark.parametrize("numbers", [(1, 2, 3), (0, 1, 2)])
def test_a_count_without_holes_and_with_its_number_told_proves_the_trail(numbers: tuple[int, ...]) -> None:
    shown = told(*counted(*numbers, sequence_count=3))
    assert shown["completeness"] == {"verdict": "complete", "basis": "sequence_proven", "gaps": []}
    assert told(*counted(*numbers))["completeness"]["basis"] == "no_gap_found"  # nobody said that this was the last
    assert told(*counted(*numbers, attributes={"sequence_count": 3}))["completeness"]["basis"] == "sequence_proven"


def test_an_item_that_nobody_counted_leaves_the_trail_unproven() -> None:
    assert told(*counted(1, 2, 3, sequence_count=3), *WHOLE)["completeness"]["basis"] == "no_gap_found"


def test_holes_in_the_count_are_named_at_either_end_and_in_the_middle() -> None:
    found = gaps(*counted(3, 4, 7, sequence_count=9))["sequence_hole"]
    assert found["count"] == 6
    assert "number 1 to 2, 5 to 6, 8 to 9" in found["message"]


def test_a_count_of_any_size_is_bounded_work() -> None:
    assert gaps(*counted(1, 10**18))["sequence_hole"]["count"] == 10**18 - 2
    many = gaps(*counted(*range(1, 400, 2)))["sequence_hole"]
    assert (many["count"], many["message"].count(",") < 10, "…" in many["message"]) == (199, True, True)


def test_each_agent_may_count_its_own_and_a_number_given_twice_is_said() -> None:
    mine, theirs = ([numbered(n, agent={"name": who}, sequence_count=2) for n in (1, 2)] for who in ("a", "b"))
    assert told(*mine, *theirs)["completeness"]["basis"] == "sequence_proven"
    assert gaps(*counted(1, 2), numbered(2, kind="outcome"))["sequence_repeated"]["count"] == 1


def test_a_count_that_is_smaller_than_what_was_counted_is_wrong() -> None:
    assert "sequence_count_wrong" in gaps(*counted(1, 2, 3, sequence_count=2))
