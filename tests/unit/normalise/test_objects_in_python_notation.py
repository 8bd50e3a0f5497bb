"""Objects that a library wrote down in Python's notation are read without running anything, and in time that grows with them."""

from __future__ import annotations

import time
from typing import Any

import pytest

from auditlog.normalise import notation
from auditlog.normalise.shapes import answer_of, messages
from auditlog.normalise.transcript import messages as spoken
from auditlog.normalise.values import Memo
from auditlog.vocabulary import Call, Message, Result, Text

CASES: list[tuple[str, Any]] = [
    (
        "ChatMessage(role=<MessageRole.USER: 'user'>, blocks=[TextBlock(block_type='text', text='it\\'s <A.B: 1> x=1')])",
        {"role": "user", "blocks": [{"block_type": "text", "text": "it's <A.B: 1> x=1"}]},
    ),
    ("content='4 due' name='look_up' tool_call_id='c1'", {"content": "4 due", "name": "look_up", "tool_call_id": "c1"}),
    ("[A(x=<lib.Context object at 0x7f00>, y=-1)]", [{"x": None, "y": -1}]),
    ("The result (a) is x", None),
    ("f(x=[i for i in y])", None),
    ("__import__('os').system('true')", None),
    ("a=1; b=2", None),
]


@pytest.mark.parametrize(("written", "meant"), CASES)
def test_an_object_is_its_members_and_anything_else_is_a_text(written: str, meant: Any) -> None:
    assert notation.objects(written) == meant


@pytest.mark.parametrize(
    "written", ["a='" + "\\'" * 40_000, "a=" + "' " * 40_000, "A(" + "(" * 50_000, "A(x=" + "-" * 50_000 + "1)", "a=<b" * 20_000]
)
def test_a_hostile_text_costs_no_more_than_its_length(written: str) -> None:
    begun = time.perf_counter()
    notation.objects(written)
    assert time.perf_counter() - begun < 2


def test_a_container_as_a_key_is_no_notation_since_each_around_it_would_escape_it_once_more() -> None:
    deep = 9  # at thirty-eight, which a hundred and sixty characters are enough for, no memory would hold it
    assert notation.objects("A(a=" + "{" * deep + "'\\'\"'" + ":1}" * deep + ")") is None
    assert notation.objects("A(a={('x', 1): 2})") is None
    assert notation.objects("A(a={1: 2, None: 3})") == {"a": {"1": 2, "None": 3}}


def test_a_message_and_an_answer_that_were_written_down_are_what_they_were() -> None:
    said = "ChatMessage(role=<MessageRole.USER: 'user'>, blocks=[TextBlock(block_type='text', text='Why?')])"
    assert messages([said, "plain"], Memo()) == (Message("user", (Text("Why?"),)), Message("user", (Text("plain"),)))
    assert answer_of("content='4 due' name='look_up' tool_call_id='c1'") == Result("4 due", "c1", "look_up")
    assert answer_of('{"content": [{"type": "text", "text": "4 due"}], "isError": false}') == Result("4 due")
    assert answer_of("a plain answer=4") is None


def test_a_transcript_is_its_messages_and_a_text_without_a_role_is_one() -> None:
    found = spoken("system: Be kind.\nuser: Why?\nIn March?\nassistant: None\ntool: 4 due", "user", Memo())
    assert [(m.role, getattr(m.parts[0], "text", None)) for m in found] == [
        ("system", "Be kind."),
        ("user", "Why?\nIn March?"),
        ("tool", None),
    ]
    assert spoken("Tell the user: hello", "user", Memo()) == (Message("user", (Text("Tell the user: hello"),)),)
    whole = spoken(
        "user: [{'role': 'user', 'content': 'Why?'}, {'role': 'assistant', 'tool_calls': [{'id': 'c1', 'name': 'f'}]}]", "user", Memo()
    )
    assert [type(p) for m in whole for p in m.parts] == [Text, Call]
