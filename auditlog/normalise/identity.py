"""Owns what one item declares about its session, user, customer, other subjects and agent: pure, cheap, and without a dialect.

Identity lands in a dozen places, so a key is read by its words, not looked up in a list of vendors: `traceloop.association.
properties.session_id`, `ai.telemetry.metadata.sessionId` and `session.id` all end in the words "session", "id". The only
tables here are the namespaces in which an ID is technical (`http.…`, `k8s.…`) and, inside such namespaces, the places that
belong to the sender (`….metadata.…`, `….association.properties.…`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import msgspec

from auditlog.item import INT, KVLIST, STRING, Attribute, Item, Log, Rest, Span, Unreadable
from auditlog.normalise import notation
from auditlog.vocabulary import AgentName, Declared, Identity

# Namespaces of conventions and libraries: an ID in them is theirs, unless it stands in one of FREE.
_TECHNICAL = """
ai android anthropic app_server artifact aws azure browser cicd client cloud cloudevents code container cpu db deployment
destination device dns elasticsearch error event event_loop exception faas feature_flag file gcp gen_ai geo graph graphql
hardware heroku host http input ios job jvm k8s langfuse langsmith linux llm lmnr log logfire mcp message_context messaging
mlflow net network nodejs oci openai openinference opentracing opentracing_ref os otel output peer process profile prompt
pydantic_ai python retrieval rpc server service smolagents source span system telemetry test thread tls tool traceloop url
user_agent vcs webengine
"""
TECHNICAL = frozenset(_TECHNICAL.split())
# Places inside those namespaces where the sender's own keys stand.
FREE = re.compile(
    r"(?:^|\.)(?:metadata|association\.properties|settings\.context|telemetry\.metadata|tracetag|tracetags|baggage|tags|labels|custom|extra)\.",
    re.IGNORECASE,
)
# Keys whose value is a bag of the sender's own keys, as JSON text or as a key-value list.
BAGS = re.compile(r"(?:^|\.)(?:[a-z_]{0,40}metadata|association\.properties|settings\.context|mlflow\.tracetags?|baggage)$", re.IGNORECASE)
WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

OF_CONVERSATION = frozenset(("gen_ai.conversation.id", "gen_ai.thread.id"))
SESSION = {"session": 0, "conversation": 2, "chat": 4, "thread": 6}
# What they call a session is a connection: one MCP session serves many conversations, one conversation uses several.
TRANSPORTS = frozenset(
    ("browser", "client", "db", "http", "jsonrpc", "mcp", "messaging", "net", "network", "rpc", "server", "tls", "webengine")
)
# Kinds of ID that say nothing about whom or what a session concerns.
_NO_SUBJECT = """
agent artifact assistant batch block call category channel checkpoint choice cluster commit completion connection container
correlation crew cycle deployment device document event execution experiment fingerprint flow function generation graph group guid
id instance invocation item job key link log message metadata method model node ns observation operation output parent part
pipeline pod policy process project prompt provider region registry release request resource response revision root row run
runtime sandbox schema scope script sdk sequence server service snapshot source span stage state step stream system task team
template test tool trace tracing transaction type vector version vertex worker workflow workspace x y
"""
NO_SUBJECT = frozenset(_NO_SUBJECT.split())
PROVIDER_RESPONSE = ("resp_", "chatcmpl-", "chatcmpl_", "msg_")
NOTHING = frozenset(("", "none", "null", "undefined", "nan", "n/a", "unknown"))
DEPTH = 3  # of a bag of the sender's own keys
RESOURCE_RANK = 40
BODY_RANK = 60


class Role(msgspec.Struct, frozen=True):
    what: str  # "session", "subject", "agent", "version" or "bag"
    kind: str = ""
    rank: int = 0


def words(key: str) -> list[str]:
    return [w.lower() for w in WORDS.findall(key)]


@lru_cache(maxsize=8192)
def role_of(key: str, free: bool) -> Role | None:
    """What an attribute of this name declares, if anything. `free`: it stands among the sender's own keys."""
    if len(key) > 200:
        return None
    if BAGS.search(key):
        return Role("bag")
    inside_free = free or FREE.search(key) is not None
    said = words(key)
    if not said:
        return None
    agent = _agent_role(key, said, free)
    if agent is not None:
        return agent
    if said[-1] == "id" and len(said) > 1:
        return _id_role(key, said[-2], inside_free, free)
    if said[-1] in ("sessionid", "userid", "customerid", "conversationid", "threadid"):
        return _id_role(key, said[-1][:-2], inside_free, free)
    if inside_free and said[-1] in ("user", "customer"):
        return Role("subject", said[-1], 30)
    if key in ("user", "enduser", "customer", "llm.user", "gen_ai.user") and not free:
        return Role("subject", "customer" if key == "customer" else "user", 30)
    if said[-2:] == ["trace", "session"] or said[-2:] == ["trace", "user"]:
        return Role("session", rank=1) if said[-1] == "session" else Role("subject", "user", 1)
    return None


def _agent_role(key: str, said: list[str], free: bool) -> Role | None:
    if said[-2:] == ["agent", "name"]:
        if key == "gen_ai.agent.name":
            return Role("agent", rank=0)
        return Role("agent", rank=30 if free else 2 if len(said) == 2 else 20)
    if said[-2:] == ["agent", "version"]:
        return Role("version", rank=0 if key == "gen_ai.agent.version" else 2)
    return None


def _id_role(key: str, kind: str, inside_free: bool, bag: bool) -> Role | None:
    namespace, _, rest = key.partition(".")
    technical = namespace.lower() in TECHNICAL and not inside_free
    said = words(rest)
    if kind in SESSION:
        if key in OF_CONVERSATION:
            return Role("session", rank=10)
        if namespace.lower() in TRANSPORTS and not inside_free:
            return None
        # langfuse.session.id and gcp.vertex.agent.session_id are sessions; thread.id and browser.tab.session.id are not
        if technical and not (kind == "session" and (len(said) == 2 or said[-3:-2] == ["agent"])):
            return None
        return Role("session", rank=SESSION[kind] + (20 if bag else 12 if "." in key and inside_free else 0 if key == "session.id" else 1))
    if technical and kind not in ("user", "enduser", "customer"):
        return None
    if technical and len(said) > 2:
        return None
    if kind in NO_SUBJECT:
        return None
    rank = 20 if bag else 10 if inside_free else 0
    return Role("subject", "user" if kind == "enduser" else kind, rank)


def plain_value(kind: int, value: Any) -> str | None:
    """A declared value as text; None where there is none: empty, scrubbed, or not a scalar."""
    if kind == INT:
        return str(value)
    if kind != STRING or not isinstance(value, str):
        return None
    text = value.strip()
    if len(text) >= 2 and text[0] == '"' == text[-1]:  # some senders write the JSON text of a string
        try:
            inner = msgspec.json.decode(text)
        except msgspec.DecodeError:
            inner = None
        if isinstance(inner, str):
            value, text = inner, inner.strip()
    if text.lower() in NOTHING or text.startswith("[Scrubbed due to"):
        return None
    return str(value)


class Found:
    """What was declared so far; the best rank of each value wins, so that the order of attributes does not matter."""

    def __init__(self) -> None:
        self.best: dict[tuple[str, str, str], Declared] = {}
        self.names: dict[str, int] = {}
        self.version: tuple[int, str] | None = None

    def add(self, role: Role, key: str, kind: int, value: Any, extra: int) -> None:
        text = plain_value(kind, value)
        if text is None:
            return
        rank = role.rank + extra
        if role.what == "agent":
            self.names[text] = min(rank, self.names.get(text, rank))
        elif role.what == "version":
            if self.version is None or (rank, text) < self.version:
                self.version = (rank, text)
        else:
            if role.what == "session" and "conversation" in key and text.startswith(PROVIDER_RESPONSE):
                return  # a previous response's ID written where the conversation's belongs
            found = Declared(rank, text, key, role.kind)
            slot = (role.what, role.kind, text)
            if slot not in self.best or found < self.best[slot]:
                self.best[slot] = found

    def identity(self) -> Identity:
        ordered = sorted(self.best.items(), key=lambda pair: pair[1])
        pick = [(what, kind, declared) for (what, kind, _), declared in ordered]
        return Identity(
            sessions=tuple(d for what, _, d in pick if what == "session"),
            users=tuple(d for what, kind, d in pick if what == "subject" and kind == "user"),
            customers=tuple(d for what, kind, d in pick if what == "subject" and kind == "customer"),
            subjects=tuple(d for what, kind, d in pick if what == "subject" and kind not in ("user", "customer")),
            agents=tuple(sorted(AgentName(rank, name, self.version[1] if self.version else None) for name, rank in self.names.items())),
        )


def _scan(attributes: Iterable[Attribute], found: Found, extra: int) -> None:
    for key, kind, value in attributes:
        role = role_of(key, False)
        if role is None:
            continue
        if role.what == "bag":
            _scan_bag(_bag(kind, value), found, key, extra, 0)
        elif role.kind != "thread" or kind == STRING:
            found.add(role, key, kind, value, extra)


def _bag(kind: int, value: Any) -> Iterator[tuple[str, int, Any]]:
    if kind == KVLIST:
        yield from value
        return
    if kind != STRING or not isinstance(value, str) or not value.lstrip().startswith("{"):
        return
    try:
        parsed = msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError):
        parsed = notation.value(value)  # not JSON: some write Python's notation; anything else declares nothing
    yield from _members(parsed)


def _members(parsed: Any) -> Iterator[tuple[str, int, Any]]:
    for key, value in parsed.items() if isinstance(parsed, dict) else ():
        if isinstance(value, str):
            yield key, STRING, value
        elif isinstance(value, int) and not isinstance(value, bool):
            yield key, INT, value
        elif isinstance(value, dict):
            yield key, KVLIST, list(_members(value))


def _scan_bag(members: Iterable[Attribute], found: Found, place: str, extra: int, depth: int) -> None:
    for key, kind, value in members:
        if kind == KVLIST:
            if depth < DEPTH:
                _scan_bag(value, found, f"{place}.{key}", extra, depth + 1)
            continue
        role = role_of(key, True)
        if role is not None and role.what != "bag":
            found.add(role, f"{place}.{key}", kind, value, extra)


def _service(resource: list[Attribute] | None, found: Found) -> None:
    """The process's name stands in for the agent's where nobody named an agent: the last rank of all."""
    said = {key: value for key, kind, value in resource or () if kind == STRING and key in ("service.name", "service.version")}
    name = said.get("service.name")
    if name and not found.names and not name.startswith("unknown_service"):
        found.names[name] = 90
        if found.version is None and said.get("service.version"):
            found.version = (90, said["service.version"])


def identify(item: Item) -> Identity:
    """What this one item declares. Pure, never raises on content; the same item always declares the same."""
    found = Found()
    if isinstance(item, Span):
        _scan(item.attributes, found, 0)
        _scan(item.context.resource or (), found, RESOURCE_RANK)
        _service(item.context.resource, found)
    elif isinstance(item, Log):
        _scan(item.attributes, found, 0)
        if item.body is not None and item.body[0] == KVLIST:
            _scan_bag((m for m in item.body[1] if m[1] != KVLIST), found, "body", BODY_RANK, DEPTH)
        _scan(item.context.resource or (), found, RESOURCE_RANK)
        _service(item.context.resource, found)
    elif isinstance(item, Rest):
        _scan_rest(item, found)
    elif isinstance(item, Unreadable) and item.context is not None:
        _scan(item.context.resource or (), found, RESOURCE_RANK)
    return found.identity()


REST_ROLES = {
    "session_id": Role("session"),
    "user_id": Role("subject", "user"),
    "customer_id": Role("subject", "customer"),
    "agent.name": Role("agent"),
    "agent.version": Role("version"),
}


def _scan_rest(item: Rest, found: Found) -> None:
    for path, raw in item.members:
        role = REST_ROLES.get(path)
        if role is None and path not in ("attributes", "subjects"):
            continue
        try:
            value = msgspec.json.decode(raw)
        except (msgspec.DecodeError, RecursionError):
            continue  # kept verbatim all the same; it only declares nothing
        if role is None:
            _scan_bag(_members(value), found, path, 0, 0)
        elif isinstance(value, str | int) and not isinstance(value, bool):
            found.add(role, path, STRING if isinstance(value, str) else INT, value, 0)


def best_session(declared: Iterable[Declared]) -> str | None:
    """The session ID of a trace, given what all its items declared: the most explicit one; ties break by value, never by order."""
    best = min(declared, default=None)
    return None if best is None else best.value
