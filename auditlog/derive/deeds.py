"""Owns what a governance event is found by: who did what, to which objects, when and what for. Pure."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

import msgspec

from auditlog.derive.keys import to_bytes
from auditlog.item import Rest

MEMBERS: Final = frozenset(("action", "actor", "about"))  # of the event: read whatever their length
# Members of `about` that name an object, and what kind it is. Others say how or why.
_KINDS: Final = {
    "session": "session", "sessions": "session", "event": "event", "events": "event", "hold": "hold", "export": "export",
    "disposition": "disposition", "erasure": "erasure", "key": "key", "new_key": "key", "member": "member", "search": "search",
    "class": "class", "agent": "agent", "clock": "clock", "case": "case",
}  # fmt: skip
_WHY: Final = ("purpose", "reason", "release_reason", "basis")
# Over the API the address is what is recorded.
_ADDRESS: Final = re.compile(r"/api/v1/(session|event)s/([^/]+)")
LONGEST: Final = 200  # characters of an object's name, an actor's and a purpose; the event has all of them


class Deed(msgspec.Struct, frozen=True):
    """One row of the access log. objects: `kind:name`, each once, sorted."""

    project_id: int
    trace_key: uuid.UUID
    event_id: uuid.UUID
    bucket: int
    at: datetime
    action: str
    actor_kind: str
    actor_id: str
    actor_name: str
    objects: list[str]
    purpose: str


def deed(stored: Any) -> Deed:
    """`stored`: a governance event (`binding.Stored`). What it lacks is empty: no record is without a row."""
    item: Rest = stored.item
    members = {name: _read(raw) for name, raw in item.members if name in MEMBERS}
    actor, about = (value if isinstance(value, dict) else {} for value in (members.get("actor"), members.get("about")))
    purpose = next((about[name] for name in _WHY if isinstance(about.get(name), str)), "")
    return Deed(
        stored.project_id, stored.trace_key, stored.event_id, stored.bucket, stored.occurred_at or stored.received_at,
        _text(members.get("action")), _text(actor.get("kind")), _text(actor.get("id")), _text(actor.get("name")),
        sorted(set(_objects(about))), _text(purpose),
    )  # fmt: skip


def _objects(about: dict[str, Any]) -> Iterator[str]:
    for name, kind in _KINDS.items():
        value = about.get(name)
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, str | int) and not isinstance(one, bool) and one != "":
                yield f"{kind}:{_text(str(one))}"
    found = _ADDRESS.match(str(about.get("path", "")))
    if found:
        yield f"{found[1]}:{_text(found[2])}"


def _read(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):  # was erased, or is not ours
        return None


def _text(value: Any) -> str:
    """As PostgreSQL can keep it: no NUL, no half of a character."""
    text = value if isinstance(value, str) else ""
    return to_bytes(text.replace("\0", "\ufffd")).decode("utf-8", "replace")[:LONGEST]
