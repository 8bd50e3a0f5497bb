"""How a call ended: returned, failed, refused, or unknown. A refusal is no answer of the tool, whatever text went back to the model."""

from __future__ import annotations

import json
from typing import Any

import pytest

from auditlog.item import INT, STRING, Context, Item, Log, Rest
from tests.unit.reconstruct.build import SECOND, START, answer, call, kinds, model, span_of, text, told, tool, tools_of

ASK = text("user", "pay")
CALL = call("call_00000000001", "pay", {"a": 1})
NO = "The user does not want this."


def decision(at: int, verdict: str, **more: Any) -> Log:
    said = {"tool_name": "pay", "decision": verdict, "source": "user", **more}
    sent = [(k, STRING, v) for k, v in said.items()]
    return Log(Context(), START + at * SECOND, 0, None, sent, (1).to_bytes(16, "big"), event_name="agent.tool_decision")


def turn(*between: Item, result: str = NO) -> dict[str, Any]:
    return told(model(0, [ASK], [CALL]), *between, model(9, [ASK, CALL, answer("call_00000000001", result)], [text("assistant", "done")]))


def test_a_denied_call_is_refused_although_its_refusal_came_back_as_a_result() -> None:
    shown = turn(decision(2, "reject", call_id="call_00000000001"))
    assert [(t["outcome"], t["result"]) for t in tools_of(shown)] == [("refused", NO)]
    assert [(s["kind"], s["actor"]) for s in shown["steps"] if s["kind"] == "approval"] == [("approval", "user")]


def test_a_denial_that_names_only_the_tool_concerns_the_last_call_of_it() -> None:
    assert tools_of(turn(decision(2, "reject")))[0]["outcome"] == "refused"
    assert tools_of(turn(decision(2, "reject", tool_name="other")))[0]["outcome"] == "returned"
    assert tools_of(turn(decision(2, "accept")))[0]["outcome"] == "returned"


def test_an_execution_that_was_recorded_is_worth_more_than_a_denial() -> None:
    ran = tool(4, "pay", call_id="call_00000000001", result="paid")
    assert tools_of(turn(decision(2, "reject", call_id="call_00000000001"), ran, result="paid"))[0]["outcome"] == "returned"


def test_an_execution_that_failed_because_it_was_denied_is_a_refusal() -> None:
    ran = tool(4, "pay", call_id="call_00000000001", status=(2, "permission denied"))
    assert tools_of(turn(decision(2, "reject", call_id="call_00000000001"), ran))[0]["outcome"] == "refused"


def test_a_result_that_says_that_execution_was_denied_is_a_refusal() -> None:
    denied = {
        "type": "tool-result",
        "toolCallId": "call_00000000001",
        "toolName": "pay",
        "output": {"type": "execution-denied", "reason": NO},
    }
    shown = told(model(0, [ASK], [CALL]), model(3, [ASK, CALL, {"role": "tool", "content": [denied]}], [text("assistant", "done")]))
    assert [(t["outcome"], t["result"]) for t in tools_of(shown)] == [("refused", NO)]


@pytest.mark.parametrize(("approved", "outcome", "decided"), [(False, "refused", "denied"), (True, "returned", "approved")])
def test_an_approval_asked_and_given_in_prompts_is_one_step(approved: bool, outcome: str, decided: str) -> None:
    asked = {
        "role": "assistant",
        "parts": [*CALL["parts"], {"type": "tool-approval-request", "approvalId": "ap", "toolCallId": "call_00000000001"}],
    }
    given = {"role": "tool", "content": [{"type": "tool-approval-response", "approvalId": "ap", "approved": approved, "reason": "so"}]}
    history = [ASK, asked, given, answer("call_00000000001", "x")]
    shown = told(
        model(0, [ASK], [asked]),
        model(3, history, [text("assistant", "a")]),
        model(6, [*history, text("user", "and?")], [text("assistant", "b")]),
    )
    approvals = [s for s in shown["steps"] if s["kind"] == "approval"]
    assert [(s["text"], s["detail"]) for s in approvals] == [("so", {"decision": decided, "tool": "pay"})]
    assert [t["outcome"] for t in tools_of(shown)] == [outcome]
    assert kinds(shown)[:3] == ["user_message", "tool_call", "approval"]


def test_an_approval_that_nobody_answered_is_pending_and_its_call_unknown() -> None:
    asked = {"type": "mcp_approval_request", "id": "mcpr_0000000001", "name": "pay", "arguments": '{"a": 1}', "server_label": "bank"}
    shown = told(model(0, [ASK], [asked]))
    assert [(t["name"], t["arguments"], t["outcome"]) for t in tools_of(shown)] == [("pay", {"a": 1}, "unknown")]
    assert [s["detail"]["decision"] for s in shown["steps"] if s["kind"] == "approval"] == ["pending"]


def test_a_call_at_a_server_that_was_denied_is_refused() -> None:
    asked = {"type": "mcp_approval_request", "id": "mcpr_0000000001", "name": "pay", "arguments": '{"a": 1}', "server_label": "bank"}
    denied = {"type": "mcp_approval_response", "approval_request_id": "mcpr_0000000001", "approve": False}
    shown = told(model(0, [ASK], [asked]), model(3, [ASK, asked, denied], [text("assistant", "done")]))
    assert [t["outcome"] for t in tools_of(shown)] == ["refused"]


def test_a_rest_approval_that_denies_what_an_event_says_was_executed_is_shown_beside_it() -> None:
    def rest(at: int, **members: Any) -> Rest:
        return Rest([b""] * (len(members) + 1), [(k, json.dumps(v).encode()) for k, v in members.items()], time=START + at * SECOND)

    ran = {"kind": "tool_call", "id": "t1", "tool.name": "pay", "tool.arguments": {}, "tool.result": "paid"}
    denied = {"kind": "approval", "about": "t1", "agent.name": "desk", "approval.decision": "denied", "approval.by": "ann"}
    shown = told(rest(0, **ran), rest(1, **denied))
    assert [t["outcome"] for t in tools_of(shown)] == ["returned"]
    assert [(s["kind"], s["agent"], s["actor"]) for s in shown["steps"]] == [("tool_call", None, None), ("approval", "desk", "ann")]


def test_steps_bear_the_name_of_the_agent_around_them() -> None:
    agent = span_of(
        0, [("gen_ai.operation.name", STRING, "invoke_agent"), ("gen_ai.agent.name", STRING, "desk"), ("n", INT, 1)], span=1, seconds=20
    )
    shown = told(agent, model(1, [ASK], [CALL], parent=1), tool(3, "pay", call_id="call_00000000001", result="ok", parent=1))
    assert [(s["kind"], s["agent"]) for s in shown["steps"]] == [("user_message", None), ("tool_call", "desk")]
    assert shown["model_calls"][0]["agent"] == "desk"
