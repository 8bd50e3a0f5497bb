"""Owns where an identifier from a ticket or a chat leads: to one step of one session, to several sessions, or nowhere."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from auditlog.derive.models import Trace
from auditlog.search import actions, evidence, parameters, sessions
from auditlog.search.explain import session_timeline
from auditlog.search.parameters import Parameter
from auditlog.search.scope import Scope, trace_condition

PARAMETERS: Final = {
    "session_id": Parameter("A session, as its sender named it."),
    "trace_id": Parameter("A trace: 32 hexadecimal digits. Leads to its first step."),
    "response_id": Parameter("The ID that a provider gave a model's answer. Leads to the first step of that model call."),
    "value": Parameter("Any scalar in the arguments or the result of a tool call. Leads to that call."),
}


class Place(NamedTuple):
    """Where it leads. `several`: to more than one place, and `key` is only the first of them."""

    key: str
    step: int | None
    several: bool


def locate(scope: Scope, name: str, value: str) -> Place | None:
    """Raises Problem("parameter_invalid")."""
    if name == "value":
        rows = actions.page(scope, {name: value, "limit": "2"}).rows
        return Place(rows[0].session_key, rows[0].step, len(rows) > 1) if rows else None
    found = sessions.page(scope, {name: value, "limit": "2"}).rows
    if not found:
        return None
    if len(found) > 1:
        return Place(found[0].key, None, several=True)
    key = found[0].key
    if name == "response_id":
        return Place(key, _of_response(session_timeline(scope, evidence.session(scope, key)), value), several=False)
    if name == "trace_id" and found[0].traces > 1:
        return Place(key, _of_trace(scope, key, value), several=False)
    return Place(key, None, several=False)


def _of_response(timeline: dict[str, Any], response_id: str) -> int | None:
    calls = {call["n"] for call in timeline["model_calls"] if call["response_id"] == response_id}
    return next((step["n"] for step in timeline["steps"] if step.get("model_call") in calls), None)


def _of_trace(scope: Scope, key: str, trace_id: str) -> int | None:
    condition = trace_condition(parameters.trace_id("trace_id", trace_id))
    traces = tuple(trace_key.hex for trace_key in scope.of(Trace).filter(condition).values_list("trace_key", flat=True))
    steps = session_timeline(scope, evidence.session(scope, key))["steps"]
    return next((step["n"] for step in steps if any(event.startswith(traces) for event in step["event_ids"])), None)
