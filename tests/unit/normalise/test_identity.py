"""Identity lands in a dozen places; what is not one is not taken for one."""

from __future__ import annotations

from typing import Any

import pytest

from auditlog.item import INT, KVLIST, STRING, Context, Log, Rest, Span
from auditlog.normalise.identity import best_session, identify
from auditlog.vocabulary import Identity


def of(*attributes: tuple[str, int, Any], resource: list[tuple[str, int, Any]] | None = None) -> Identity:
    return identify(Span(Context(resource=resource), b"\1" * 16, b"\2" * 8, "x", 1, 2, list(attributes)))


def sessions(*attributes: tuple[str, int, Any]) -> list[str]:
    return [d.value for d in of(*attributes).sessions]


@pytest.mark.parametrize(
    "key",
    [
        "session.id",
        "gen_ai.conversation.id",
        "traceloop.association.properties.session_id",
        "lmnr.association.properties.session_id",
        "langfuse.session.id",
        "langfuse.trace.metadata.session_id",
        "ai.telemetry.metadata.sessionId",
        "ai.settings.context.sessionId",
        "langsmith.metadata.session_id",
        "langsmith.metadata.thread_id",
        "session_id",
        "sessionId",
        "mlflow.trace.session",
    ],
)
def test_a_session_is_found_wherever_it_stands(key: str) -> None:
    assert sessions((key, STRING, "s-1")) == ["s-1"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("thread.id", "140"),
        ("thread.name", "main"),
        ("langsmith.trace.session_id", "p-1"),
        ("session_id", "[Scrubbed due to 'session']"),
        ("session.id", ""),
        ("session.id", "None"),
        ("gen_ai.conversation.id", "resp_0a1b2c"),
        ("http.request.session_id", "h"),
        ("mcp.session.id", "a connection"),
        ("browser.session.id", "b"),
        ("gen_ai.request.seed", "7"),
    ],
)
def test_what_only_looks_like_a_session_is_none(key: str, value: str) -> None:
    assert sessions((key, STRING, value)) == []


def test_the_thread_of_the_operating_system_is_no_conversation() -> None:
    assert sessions(("thread.id", INT, 140_000)) == []


def test_metadata_as_json_text_is_looked_into() -> None:
    found = of(("metadata", STRING, '{"customer_id": "ACME-2024", "session_id": "s", "nested": {"user_id": 7}, "n": [1]}'))
    assert [d.value for d in found.customers] == ["ACME-2024"]
    assert [d.value for d in found.sessions] == ["s"]
    assert [d.value for d in found.users] == ["7"]
    assert found.customers[0].key == "metadata.customer_id"


def test_metadata_as_a_key_value_list_is_looked_into() -> None:
    assert [d.value for d in of(("metadata", KVLIST, [("customerId", STRING, "A")])).customers] == ["A"]


def test_broken_metadata_declares_nothing() -> None:
    assert of(("metadata", STRING, '{"customer_id": "A"')) == Identity()


def test_a_value_with_quotes_of_its_own_is_unwrapped() -> None:
    found = of(("mlflow.traceTag.customer_id", STRING, '"ACME-2024"'), ("user.id", STRING, '"'))
    assert [d.value for d in found.customers] == ["ACME-2024"]
    assert [d.value for d in found.users] == ['"']


def test_any_kind_of_subject_is_found_and_technical_ids_are_not() -> None:
    found = of(
        ("patient.id", STRING, "4711"), ("app.ticket_id", STRING, "T1"), ("k8s.pod.id", STRING, "p"), ("gen_ai.tool.call.id", STRING, "c")
    )
    assert [(d.kind, d.value) for d in found.subjects] == [("patient", "4711"), ("ticket", "T1")]


def test_the_more_explicit_session_wins_and_ties_break_by_value() -> None:
    found = of(("metadata", STRING, '{"session_id": "a"}'), ("gen_ai.conversation.id", STRING, "b"), ("session.id", STRING, "c"))
    assert best_session(found.sessions) == "c"
    assert best_session([*of(("session.id", STRING, "z")).sessions, *found.sessions]) == "c"
    assert best_session([]) is None


def test_a_session_id_may_be_long_and_hold_any_character() -> None:
    value = "s\0" + "ä" * 13_000
    assert sessions(("session.id", STRING, value)) == [value]


def test_an_agent_is_named_by_the_process_only_where_nobody_names_it() -> None:
    resource = [("service.name", STRING, "billing"), ("service.version", STRING, "1.4")]
    assert [(a.name, a.version) for a in of(resource=resource).agents] == [("billing", "1.4")]
    named = of(("gen_ai.agent.name", STRING, "refunds"), ("gen_ai.agent.version", STRING, "3"), resource=resource)
    assert [(a.name, a.version) for a in named.agents] == [("refunds", "3")]


def test_a_log_record_declares_in_attributes_and_body() -> None:
    body = (KVLIST, [("session_id", STRING, "s"), ("content", KVLIST, [("session_id", STRING, "not this")])])
    found = identify(Log(Context(), 1, 0, body, [("user.id", STRING, "u")]))
    assert [d.value for d in found.sessions] == ["s"]
    assert [d.value for d in found.users] == ["u"]


def test_a_rest_event_declares_its_own_members() -> None:
    members = [
        ("session_id", b'"s"'),
        ("customer_id", b'"ACME"'),
        ("agent.name", b'"refunds"'),
        ("attributes", b'{"patient_id": "9"}'),
        ("user_id", b"{"),
    ]
    found = identify(Rest([b""] * 6, members))
    assert (found.sessions[0].value, found.customers[0].value, found.agents[0].name) == ("s", "ACME", "refunds")
    assert [(d.kind, d.value) for d in found.subjects] == [("patient", "9")]
    assert found.users == ()
