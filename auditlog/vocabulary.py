"""Owns the one small vocabulary that every dialect translates into and that reconstruction speaks; it knows no vendor.

A *fact* is what one stored item says about one thing: a model call, a tool run, an agent's run, a single message, an error, a
happening. Several items may state facts about the same thing (a span, its log record, another library's span); joining them
is the work of `reconstruct`, never of a dialect.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

from auditlog.item import Item


class Received(Protocol):
    """One stored item as normalise and reconstruct see it; `store.reader.Stored` is one."""

    @property
    def id(self) -> str: ...
    @property
    def received_at(self) -> datetime: ...
    @property
    def item(self) -> Item: ...


class Arrived(msgspec.Struct, frozen=True):
    """The smallest thing that is `Received`, for callers without a store."""

    id: str
    received_at: datetime
    item: Item


# -- where a fact comes from ---------------------------------------------------------------------------------------------------


class Where(msgspec.Struct, frozen=True, eq=False):
    """The item that states a fact: its identity, its place in the trace, its time in nanoseconds (0: not sent)."""

    event_id: str
    received_at: datetime
    trace_id: str = ""  # hex, or empty
    span_id: str = ""
    parent_id: str = ""
    start: int = 0
    end: int = 0
    layer: str = ""  # who instrumented: the scope's name; two layers may report the same call
    log: bool = False  # a log record: its span_id is that of the span it was emitted in
    name: str = ""
    order: int = 0  # the sender's own sequence number, where there is one


# -- parts of messages ---------------------------------------------------------------------------------------------------------

Form: TypeAlias = Literal["full", "summary", "encrypted", "redacted", "unknown"]
Role: TypeAlias = Literal["system", "user", "assistant", "tool"]


class Text(msgspec.Struct, frozen=True, tag="text"):
    text: str


class Reasoning(msgspec.Struct, frozen=True, tag="reasoning"):
    text: str
    form: Form = "unknown"


class Call(msgspec.Struct, frozen=True, tag="call"):
    """A tool call as the model wrote it. `arguments_raw` is verbatim; `arguments` is parsed, or None where it is broken."""

    name: str
    call_id: str | None = None
    arguments: Any = None
    arguments_raw: str | None = None
    other_ids: tuple[str, ...] = ()  # IDs of the item that carried the call: some senders use them where the call's ID belongs


class Result(msgspec.Struct, frozen=True, tag="result"):
    """What came back from a tool, verbatim (text, or any JSON the sender structured)."""

    result: Any
    call_id: str | None = None
    name: str | None = None
    failed: bool | None = None  # None: the sender did not say
    refused: bool = False  # it is no tool's answer: the model is told that the tool was not run


class Approval(msgspec.Struct, frozen=True, tag="approval"):
    """That somebody is asked whether a call may run, or what was decided; both name the approval, the first also the call."""

    approval_id: str
    approved: bool | None = None  # None: it is being asked
    call_id: str | None = None
    call: Call | None = None  # where the call itself stands only here
    reason: str | None = None


class Media(msgspec.Struct, frozen=True, tag="media"):
    """An image, a file, a sound: a reference or inline bytes. A URI that nobody fetched is a gap, never evidence."""

    media_type: str = ""
    uri: str = ""
    data: str = ""
    digest: str = ""


class Other(msgspec.Struct, frozen=True, tag="other"):
    """A part of a kind that nobody here knows: kept as sent."""

    kind: str
    value: Any


Part: TypeAlias = Text | Reasoning | Call | Result | Approval | Media | Other


class Message(msgspec.Struct, frozen=True):
    role: Role
    parts: tuple[Part, ...]
    name: str | None = None


class Tool(msgspec.Struct, frozen=True):
    """A tool as it was offered to the model; `parameters` is its JSON Schema, None where the sender recorded only the name."""

    name: str
    description: str | None = None
    parameters: Any = None


class Usage(msgspec.Struct, frozen=True):
    """What the provider charged. `input_tokens` includes what came from the cache; None: not said."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None


# -- facts ---------------------------------------------------------------------------------------------------------------------


class ModelCall(msgspec.Struct, tag="model_call", eq=False):
    """One request to a model, as one item reports it."""

    where: Where
    requested_model: str | None = None
    response_model: str | None = None
    response_id: str | None = None
    provider: str | None = None
    parameters: dict[str, Any] = {}
    usage: Usage | None = None
    finish_reason: str | None = None
    system: tuple[str, ...] = ()
    tools: tuple[Tool, ...] | None = None  # None: the sender did not say; (): it said that none were offered
    input: tuple[Message, ...] = ()
    output: tuple[Message, ...] = ()
    agent: str | None = None
    error: str | None = None
    cost_usd: float | None = None
    request_key: str | None = None  # equal in the two items that a library writes for one streamed call: its request and its answer


class ToolRun(msgspec.Struct, tag="tool_run", eq=False):
    """One execution of a tool, as one item reports it."""

    where: Where
    name: str
    call_id: str | None = None
    arguments: Any = None
    arguments_raw: str | None = None
    result: Any = None
    returned: bool = False  # a result was recorded (it may be null)
    error: str | None = None
    agent: str | None = None
    tool: Tool | None = None  # what the item says about the tool itself


class AgentRun(msgspec.Struct, tag="agent_run", eq=False):
    """One agent, chain or workflow at work: encloses model calls and tool runs, is never one of them."""

    where: Where
    name: str | None = None
    version: str | None = None
    system: tuple[str, ...] = ()
    tools: tuple[Tool, ...] | None = None
    input: tuple[Message, ...] = ()
    output: tuple[Message, ...] = ()
    usage: Usage | None = None
    error: str | None = None
    history: tuple[Message, ...] = ()  # the conversation as the run left it: told where no call of a model is recorded


class MessageRecord(msgspec.Struct, tag="message", eq=False):
    """One message recorded on its own. It belongs to the model call of its span where there is one."""

    where: Where
    message: Message
    direction: Literal["input", "output"]
    finish_reason: str | None = None
    agent: str | None = None


class Failure(msgspec.Struct, tag="failure", eq=False):
    """Something went wrong and the item says so."""

    where: Where
    text: str
    kind: str | None = None


HappeningKind: TypeAlias = Literal["approval", "guardrail", "retrieval", "handoff", "feedback", "outcome", "other"]


class Happening(msgspec.Struct, tag="happening", eq=False):
    """An approval, a guardrail's verdict, a retrieval, a hand-off, feedback, an outcome."""

    where: Where
    kind: HappeningKind
    text: str = ""
    detail: dict[str, Any] = {}
    actor: str | None = None
    about: str | None = None  # the event or call that it concerns, as the sender names it
    agent: str | None = None


class Numbered(msgspec.Struct, tag="numbered", eq=False):
    """The sender counts its items. Where it also says how many there are, the trail can be proven to lack none."""

    where: Where
    number: int
    sender: str = ""  # whose count it is, where several count side by side
    count: int | None = None  # said once, with the last: how many there are in all


Fact: TypeAlias = ModelCall | ToolRun | AgentRun | MessageRecord | Failure | Happening | Numbered


class Condition(msgspec.Struct, frozen=True):
    """What an item says about itself, whatever it says about the world."""

    dropped_attributes: int = 0
    dropped_events: int = 0
    withheld: int = 0  # values that were stored and are gone or kept back
    kept: float = 1.0  # the share of traces that the sender's sampler keeps
    sampled: bool | None = None  # of a log record within a trace; None: nothing can be said


class Reading(msgspec.Struct, eq=False):
    """All that one item says. `understood` is false when only the fallback could speak."""

    where: Where
    facts: list[Fact]
    dialects: tuple[str, ...] = ()
    understood: bool = False
    condition: Condition = Condition()


# -- identity ------------------------------------------------------------------------------------------------------------------


class Declared(msgspec.Struct, frozen=True, order=True):
    """A value that an item declares about whom or what it concerns. The lowest rank is the most explicit declaration."""

    rank: int
    value: str
    key: str = ""  # provenance: where it stood
    kind: str = ""  # of a subject: user, customer, patient, ticket, ...


class AgentName(msgspec.Struct, frozen=True, order=True):
    rank: int
    name: str
    version: str | None = None


class Identity(msgspec.Struct, frozen=True):
    """What one item declares about its session and subjects; each tuple is sorted, best first, each value once."""

    sessions: tuple[Declared, ...] = ()
    users: tuple[Declared, ...] = ()
    customers: tuple[Declared, ...] = ()
    subjects: tuple[Declared, ...] = ()  # all kinds but user and customer
    agents: tuple[AgentName, ...] = ()
