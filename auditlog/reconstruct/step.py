"""Owns one step: a thing that happened, what is known of it, and which items state it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable
from datetime import datetime
from typing import Any

from auditlog.reconstruct.keys import arguments_key
from auditlog.vocabulary import Call, Form, Media, Message, Result, Text, Where

PROMPT, ANSWER, AFTER = 0, 1, 2  # phases of one call: what went in stands before what came out
NEIGHBOURS = 4  # messages of a prompt in which the parts of one answer may stand
UNIQUE = 12  # characters from which a call's ID is taken to be unique; shorter ones ("call_0") are counted per answer by some
UNNAMED = "(not recorded)"  # a tool of which only a result without a name is known, or whose name is missing
NUMBERED = re.compile(r"(.+?)[_-](\d{1,3})$")
Place = tuple[int, int, int, int]  # time, ordinal of the call, phase, position


class Step:
    """One thing that happened, and everything that is known of it."""

    def __init__(self, kind: str, place: Place, at: int, where: Iterable[Where], text: str = "") -> None:
        self.kind, self.place, self.at, self.text = kind, place, at, text
        self.event_ids: set[str] = set()
        self.places: list[tuple[str, str]] = []  # the spans that state it
        self.names: set[str] = set()  # what other items may call it: the IDs of the spans and events that state it
        self.received_at: datetime | None = None
        self.form: Form | None = None
        self.call: int | None = None  # ordinal of the model call
        self.agent: str | None = None
        self.actor: str | None = None
        self.tool: Tooling | None = None
        self.detail: dict[str, Any] = {}
        self.traces: list[str] = []  # of a user's message: in which it was first seen
        self.from_prompt = False  # known only because a later prompt repeats it
        self.stated_by(where)

    def stated_by(self, wheres: Iterable[Where]) -> None:
        for where in wheres:
            self.event_ids.add(where.event_id)
            if where.span_id:
                self.names.add(where.span_id)
                self.places.append((where.trace_id, where.span_id))
            if self.received_at is None or where.received_at < self.received_at:
                self.received_at = where.received_at


class Tooling:
    """What is known of one tool call: from the model's answer, the tool's own span, the log, and the next prompt."""

    def __init__(self, call: Call) -> None:
        self.name, self.call_id = call.name, call.call_id
        self.ids = {i for i in (call.call_id, *call.other_ids) if i} if not made_up(call) else set()
        self.arguments, self.arguments_raw = call.arguments, call.arguments_raw
        self.result: Any = None
        self.returned = False
        self.failed = False
        self.error: str | None = None
        self.started = 0
        self.ended = 0
        self.spans: list[tuple[str, str]] = []  # of its own execution
        self.ran = False  # an item of the tool's own was seen
        self.executed = False  # and it tells of an execution: it took time, or it returned something
        self.executed_arguments: Any = None  # what it ran with, where that is not what the model wrote
        self.refused = False  # somebody or something decided that it must not run
        self.only_result = False  # nothing is known of the call but what came back

    @property
    def key(self) -> tuple[str, bytes | None]:
        return self.name, arguments_key(self.arguments, self.arguments_raw)

    def answer(self, result: Result) -> None:
        if not self.returned and result.result is not None:
            self.result, self.returned = result.result, True
        self.failed = self.failed or bool(result.failed)
        self.refused = self.refused or result.refused


class Asked:
    """One approval, from its request to its decision."""

    def __init__(self, place: Place, wheres: Iterable[Where]) -> None:
        self.place, self.wheres = place, list(wheres)
        self.call_ids: list[str] = []
        self.approved: bool | None = None
        self.reason: str | None = None


class Prompt(Counter[Any]):
    """What was seen so far of one prompt: how often each thing, and its calls in order, to be paired with results by position."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Step] = []
        self.seen: set[int] = set()
        self.paired: set[int] = set()
        self.result_ids: set[str] = set()

    def next_unanswered(self, part: Result) -> Step | None:
        """The first call of this prompt that no result has answered: IDs of other kinds, or none, are matched by position."""
        for step in self.calls:
            tool = step.tool
            if tool is None or id(step) in self.paired or tool.ids & self.result_ids or (part.name and part.name != tool.name):
                continue
            self.paired.add(id(step))
            return step
        return None


def message_text(message: Message) -> str:
    """The text of a message; what is not text is named, so that nothing looks as if it had not been there."""
    said: list[str] = []
    for part in message.parts:
        if isinstance(part, Text):
            said.append(part.text)
        elif isinstance(part, Media):
            said.append(f"[{part.media_type or 'media'}{' ' + part.uri if part.uri else ''}]")
    return "\n".join(s for s in said if s)


def made_up(call: Call | Tooling) -> bool:
    """Whether an ID only numbers the calls of a tool (`search_0`), because the provider gave none: it may stand in every answer."""
    numbered = NUMBERED.match(call.call_id) if call.call_id is not None else None
    return numbered is not None and numbered[1] == call.name


def by_name(part: Result, called: Container[str]) -> Result:
    """A result whose ID is made up names its tool, and no call."""
    numbered = NUMBERED.match(part.call_id) if part.call_id is not None else None
    if numbered is None or numbered[1] not in called:
        return part
    return Result(part.result, None, numbered[1], part.failed, part.refused)


def opening(messages: tuple[Message, ...]) -> tuple[str, ...]:
    """What tells one conversation's prompts from another's: the texts of their first messages."""
    return tuple(message_text(m) for m in messages[:2])
