"""Owns the checks of the field table: usual keys are sorted as a person would, and interned names never move."""

import hashlib

import pytest

from auditlog.store import fields
from auditlog.store.fields import ARGUMENTS, IDENTITY, INPUT, OTHER, OUTPUT, RESULT, SYSTEM, TOOLS


@pytest.mark.parametrize("key, field", [
    ("gen_ai.system_instructions", SYSTEM), ("gen_ai.tool.definitions", TOOLS), ("llm.tools.0.tool.json_schema", TOOLS),
    ("gen_ai.input.messages", INPUT), ("llm.input_messages.3.message.content", INPUT), ("input.value", INPUT),
    ("gen_ai.prompt.0.content", INPUT),
    ("gen_ai.output.messages", OUTPUT), ("llm.output_messages.0.message.content", OUTPUT), ("output.value", OUTPUT),
    ("gen_ai.tool.call.arguments", ARGUMENTS), ("tool.arguments", ARGUMENTS), ("gen_ai.tool.call.result", RESULT), ("tool.result", RESULT),
    ("session.id", IDENTITY), ("user.id", IDENTITY), ("customer.id", IDENTITY), ("customer_id", IDENTITY), ("metadata", IDENTITY),
    ("traceloop.association.properties.user_id", IDENTITY), ("langfuse.user.id", IDENTITY), ("enduser.id", IDENTITY),
    ("gen_ai.request.model", OTHER), ("gen_ai.usage.input_tokens", OTHER), ("", OTHER), ("\0", OTHER),
])  # fmt: skip
def test_a_usual_key_belongs_to_the_field_a_person_would_name(key: str, field: int) -> None:
    assert fields.field_of(key)[0] == field


def test_session_keys_are_ranked_and_personal() -> None:
    assert [fields.field_of(key)[:2] for key in fields.SESSION_KEYS] == [(IDENTITY, rank) for rank in range(len(fields.SESSION_KEYS))]
    assert fields.field_of("user.id")[1] == fields.NO_RANK


def test_interned_names_are_where_they_always_were() -> None:
    """Stored skeletons name attributes by their place. The first 94 never move; append, then add a line here."""
    first = fields.INTERNED[:94]
    assert hashlib.sha256("\n".join(first).encode()).hexdigest()[:16] == "f668593ee3d0e676"
    assert len(set(fields.INTERNED)) == len(fields.INTERNED)
    assert all(fields.key_of(fields.field_of(key)[2]) == key for key in fields.INTERNED)
    assert fields.key_of(fields.field_of("my.own.key")[2]) == "my.own.key"


def test_the_memo_stays_bounded_when_a_sender_invents_keys() -> None:
    for n in range(45_000):
        fields.field_of(f"k{n}")
    assert len(fields._memo) <= 20_000


def test_a_key_as_long_as_a_body_is_not_remembered() -> None:
    long = "x" * 1_000_000 + ".user_id"
    assert fields.field_of(long) == (IDENTITY, fields.NO_RANK, long)
    assert long not in fields._memo
    assert fields.field_of("short.user_id")[0] == IDENTITY
    assert "short.user_id" in fields._memo
