"""Owns what a session is found by: from its timeline to the rows of actions, values, amounts, terms and versions (pure)."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

import msgspec

from auditlog.derive.keys import scalar_digest, term_digest, to_bytes
from auditlog.derive.read import SessionFacts
from auditlog.reconstruct.actions import Action, line
from auditlog.reconstruct.keys import ByIdentity, canonical

SHOWN: Final = 200  # characters of a name that is only shown
_EVENTS: Final = 50  # event IDs of one action
_ENCODE: Final = msgspec.msgpack.Encoder(enc_hook=str).encode


class ActionRow(NamedTuple):
    step: int
    tool: str
    tool_digest: uuid.UUID
    call_id: str | None
    outcome: str
    offered: bool | None
    arguments_valid: bool | None
    occurred_at: datetime | None
    ended_at: datetime | None
    amount: Decimal | None
    currency: str | None
    object: str | None
    event_ids: str
    digest: uuid.UUID


class Scalar(NamedTuple):
    step: int
    n: int
    digest: uuid.UUID
    side: str
    pointer: str


class AmountRow(NamedTuple):
    step: int
    n: int
    amount: Decimal
    currency: str | None
    side: str
    pointer: str


class Term(NamedTuple):
    digest: uuid.UUID
    kind: str
    seen_at: datetime | None


class VersionRow(NamedTuple):
    digest: uuid.UUID
    kind: str
    version: str
    name: str


class Rows(NamedTuple):
    """All that one session is found by."""

    actions: list[ActionRow]
    values: list[Scalar]
    amounts: list[AmountRow]
    terms: list[Term]
    versions: list[VersionRow]


NOTHING: Final = Rows([], [], [], [], [])


def clean(value: Any) -> Any:
    """A value as text and jsonb of PostgreSQL can hold it."""
    if isinstance(value, str):
        if value.isascii() and "\0" not in value:  # most of what there is
            return value
        return value.replace("\0", "\u2400").encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {clean(str(key)): clean(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [clean(child) for child in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    return value


def at(stamp: str | None) -> datetime | None:
    return None if stamp is None else datetime.fromisoformat(stamp)


def rows(facts: SessionFacts, timeline: dict[str, Any], actions: list[Action]) -> Rows:
    """The rows of one session; the same timeline always makes the same."""
    terms, versions = _terms(facts, timeline)
    return Rows(
        [_action(facts.project_id, action) for action in actions],
        [
            Scalar(action.step, n, scalar_digest(facts.project_id, value.text), value.side, clean(value.pointer))
            for action in actions
            for n, value in enumerate(action.values)
        ],
        [
            AmountRow(action.step, n, amount.amount, amount.currency, amount.side, clean(amount.pointer))
            for action in actions
            for n, amount in enumerate(action.amounts)
        ],
        terms,
        versions,
    )


def _action(project_id: int, action: Action) -> ActionRow:
    shown = line(action)
    events = json.dumps(action.event_ids[:_EVENTS])
    checks = (action.outcome, action.offered, action.arguments_valid)
    said = _ENCODE([to_bytes(repr(action.values)), repr(action.amounts), repr((action.at, action.ended_at)), checks, events])
    named = to_bytes(f"{action.tool}\0{action.call_id}")
    return ActionRow(
        step=action.step,
        tool=clean(action.tool)[:SHOWN],
        tool_digest=term_digest(project_id, "tool", action.tool),
        call_id=clean(action.call_id)[:SHOWN] if action.call_id is not None else None,
        outcome=action.outcome,
        offered=action.offered,
        arguments_valid=action.arguments_valid,
        occurred_at=at(action.at),
        ended_at=at(action.ended_at),
        amount=None if shown["amount"] is None else Decimal(shown["amount"]),
        currency=shown["currency"],
        object=clean(shown["object"]),
        event_ids=events,
        digest=uuid.UUID(bytes=hashlib.blake2b(said + named, digest_size=16).digest()),
    )


def prompt_version(text: str) -> str:
    """What a system prompt is called: the SHA-256 of its UTF-8, as `sha256sum` prints it."""
    return hashlib.sha256(to_bytes(text)).hexdigest()


def schema_version(tool: dict[str, Any]) -> str:
    """What a tool as offered is called: the SHA-256 of its name, description and parameters as canonical JSON."""
    known, named = _versions(tool["parameters"]), (tool["name"], tool["description"])
    found = known.get(named)
    if found is None:
        said = {"name": tool["name"], "description": tool["description"], "parameters": tool["parameters"]}
        found = known[named] = hashlib.sha256(canonical(said)).hexdigest()
    return found


def _none_yet(parameters: Any) -> dict[tuple[str, str | None], str]:
    return {}


_versions: Final = ByIdentity(_none_yet, len)  # of each schema, by name and description


def _terms(facts: SessionFacts, timeline: dict[str, Any]) -> tuple[list[Term], list[VersionRow]]:
    stamps = [at(step.get("at")) for step in timeline["steps"]]

    def of_step(n: int) -> datetime | None:
        return stamps[n] if 0 <= n < len(stamps) else None

    found: dict[tuple[str, str], datetime | None] = {}

    def add(kind: str, text: Any, seen: datetime | None) -> None:
        if isinstance(text, str) and text:
            known = found.get((kind, text))
            found[kind, text] = min(known, seen) if known and seen else known or seen

    for kind, text, seen in _said(facts, timeline):
        add(kind, text, seen)
    names: dict[tuple[str, str], str] = {}
    for prompt in timeline.get("system_prompts") or ():
        version = prompt_version(prompt["text"])
        names["system_prompt", version] = " ".join(prompt["text"][: SHOWN * 2].split())
        add("system_prompt", version, of_step(prompt["first_step"]))
    for tool in timeline.get("tools_offered") or ():
        version = schema_version(tool)
        names["tool_schema", version] = tool["name"]
        add("tool_schema", version, of_step(tool["first_step"]))
    digests = {said: term_digest(facts.project_id, *said) for said in found}
    terms = [Term(digests[said], said[0], seen) for said, seen in found.items()]
    versions = [VersionRow(digests[said], *said, clean(name)[:SHOWN]) for said, name in names.items()]
    return sorted(terms, key=lambda term: term.digest), sorted(versions)


def _said(facts: SessionFacts, timeline: dict[str, Any]) -> Iterator[tuple[str, Any, datetime | None]]:
    """(kind, text, first seen) of everything but versions."""
    agents = [(agent["name"], agent["version"]) for agent in timeline.get("agents") or ()] + facts.agents
    for name, version in agents:
        yield "agent", name, None
        if name and version:
            yield "agent_version", json.dumps([name, version]), None
            yield "agent_version", version, None
    for step in timeline["steps"]:
        if step["kind"] == "tool_call":
            yield "tool", step["tool"]["name"], at(step.get("at"))
            yield "call_id", step["tool"].get("call_id"), at(step.get("at"))
    for call in timeline.get("model_calls") or ():
        began = at(call["started_at"])
        yield "model", call["requested_model"], began
        yield "response_model", call["response_model"], began
        yield "response_id", call["response_id"], began
    completeness = timeline.get("completeness") or {}
    yield "verdict", completeness.get("verdict"), None
    for gap in completeness.get("gaps") or ():
        yield "gap", gap["code"], None
    for finding in timeline.get("findings") or ():
        yield "finding", finding["code"], None
    for kind in ("user", "customer"):
        for value in timeline.get(f"{kind}_ids") or ():
            yield kind, value, None
