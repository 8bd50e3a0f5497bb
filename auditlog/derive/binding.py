"""Owns what one group of events adds to the derived tables: pure, and a union, so that no order of arrival can matter."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Protocol

import msgspec

from auditlog.derive.deeds import MEMBERS, Deed, deed
from auditlog.derive.keys import to_bytes
from auditlog.item import Item, Rest, Span, Unreadable
from auditlog.normalise.identity import REST_ROLES, identify, role_of
from auditlog.vocabulary import Identity

_REST = {*REST_ROLES, "attributes", "subjects"}  # members of a REST event that declare
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Stored(Protocol):
    """What derive needs of a stored event (`store.reader.Stored` is one)."""

    @property
    def trace_key(self) -> uuid.UUID: ...
    @property
    def event_id(self) -> uuid.UUID: ...
    @property
    def bucket(self) -> int: ...
    @property
    def batch_no(self) -> int: ...
    @property
    def project_id(self) -> int: ...
    @property
    def received_at(self) -> datetime: ...
    @property
    def occurred_at(self) -> datetime | None: ...
    @property
    def digest(self) -> bytes: ...
    @property
    def item(self) -> Item: ...


class TraceFacts(msgspec.Struct):
    """What a group of events says about one trace."""

    project_id: int
    trace_key: uuid.UUID
    received_first: datetime
    received_last: datetime
    trace_id: bytes | None = None
    buckets: set[int] = msgspec.field(default_factory=set)
    first_at: datetime | None = None
    last_at: datetime | None = None
    declared: dict[tuple[str, bytes], int] = msgspec.field(default_factory=dict)  # (kind, value) -> best rank


class Quarantine(msgspec.Struct, frozen=True):
    project_id: int
    trace_key: uuid.UUID
    event_id: uuid.UUID
    bucket: int
    batch_no: int
    received_at: datetime
    code: str


class Group(msgspec.Struct):
    """Everything that a group of batches adds."""

    traces: dict[tuple[int, uuid.UUID], TraceFacts]
    quarantined: list[Quarantine]
    events: dict[tuple[int, uuid.UUID], set[uuid.UUID]]  # event IDs by trace
    read: Counter[int]  # events by project
    deeds: list[Deed]  # what people and programs did here
    digests: dict[tuple[int, int], list[bytes]]  # by batch and bucket
    uncounted: Counter[int]  # of these: the service's own events, and copies received in two buckets of which this group has both


def tells(key: str) -> bool:
    """Whether an attribute of this name may declare an identity, or is of a deed: binding reads the long values of no other."""
    return role_of(key, False) is not None or key in _REST or key in MEMBERS


def moment(nanoseconds: int) -> datetime | None:
    """A sender's time; None where it sent none. Every value that fits 64 bits is a date (the last is in 2554)."""
    return _EPOCH + timedelta(microseconds=nanoseconds // 1000) if nanoseconds > 0 else None


def declarations(identity: Identity) -> Iterator[tuple[str, bytes, int]]:
    """(kind, value, rank) of all that one item declares."""
    for session in identity.sessions:
        yield "session", to_bytes(session.value), session.rank
    for kind, subjects in (("user", identity.users), ("customer", identity.customers), (None, identity.subjects)):
        for subject in subjects:
            yield kind or subject.kind, to_bytes(subject.value), subject.rank
    for agent in identity.agents:
        yield "agent", to_bytes(agent.name), agent.rank
        if agent.version is not None:
            yield "agent_version", agent_version(agent.name, agent.version), agent.rank


def agent_version(name: str, version: str) -> bytes:
    """One value of an agent's name and version together. JSON, because either may contain any separator."""
    return json.dumps([name, version]).encode("ascii")


def _add(facts: TraceFacts, stored: Stored) -> None:
    item = stored.item
    facts.buckets.add(stored.bucket)
    facts.received_first = min(facts.received_first, stored.received_at)
    facts.received_last = max(facts.received_last, stored.received_at)
    if not isinstance(item, Unreadable) and item.trace_id:
        facts.trace_id = item.trace_id
    times = [t for t in (stored.occurred_at, moment(item.end) if isinstance(item, Span) else None) if t is not None]
    if times:
        facts.first_at = min([*times, facts.first_at] if facts.first_at else times)
        facts.last_at = max([*times, facts.last_at] if facts.last_at else times)
    for kind, value, rank in declarations(identify(item)):
        known = facts.declared.get((kind, value))
        facts.declared[kind, value] = rank if known is None else min(known, rank)


def gather(events: Iterable[Stored]) -> Group:
    """Sums up a group of events per trace. Repeated events change nothing but the digests, of which there are then too many to be kept."""
    group = Group({}, [], {}, Counter(), [], {}, Counter())
    for stored in events:
        group.read[stored.project_id] += 1
        group.digests.setdefault((stored.batch_no, stored.bucket), []).append(stored.digest)
        item = stored.item
        if isinstance(item, Rest) and item.governance:
            group.uncounted[stored.project_id] += 1
            group.deeds.append(deed(stored))
            continue  # what happened to the service itself is no session of an agent
        ids = group.events.setdefault((stored.project_id, stored.trace_key), set())
        if stored.event_id in ids:
            group.uncounted[stored.project_id] += 1
        ids.add(stored.event_id)
        if isinstance(item, Unreadable):
            group.quarantined.append(
                Quarantine(
                    stored.project_id, stored.trace_key, stored.event_id, stored.bucket, stored.batch_no, stored.received_at, item.code
                )
            )
            continue
        key = (stored.project_id, stored.trace_key)
        facts = group.traces.get(key)
        if facts is None:
            facts = group.traces[key] = TraceFacts(*key, stored.received_at, stored.received_at)
        _add(facts, stored)
    return group
