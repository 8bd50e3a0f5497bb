"""Owns how a session's timeline comes about: what is declared of it, all its stored events, and the pure reconstruction."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from auditlog.derive.read import SessionFacts
from auditlog.item import Log, Rest, Span, Unreadable
from auditlog.reconstruct.request import request_of
from auditlog.reconstruct.timeline import timeline
from auditlog.store.reader import Content, Reader, Row, Stored

# A session is reconstructed in memory, so what is taken of one has an end; the first that happened are taken, and it is said.
MOST_EVENTS: Final = 50_000
MOST_BYTES: Final = 192 * 1024 * 1024  # of values: each model call repeats its whole conversation
_PAGE: Final = 200
_AHEAD: Final = 400  # events of several small sessions that are read at once


def build(reader: Reader, facts: SessionFacts) -> dict[str, Any]:
    """The timeline of the contract. The same for the ledger's summary, the API and the pages."""
    return _timeline(facts, *_events(reader, facts))


def request(reader: Reader, facts: SessionFacts, number: int) -> dict[str, Any] | None:
    """A model call as a request that can be sent again (reconstruct.request)."""
    return request_of(_events(reader, facts)[0], number)


class Timelines:
    """Makes timelines of several sessions one after the other, reading the events of small ones at once."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._ahead: dict[str, list[Stored]] = {}

    def ahead(self, sessions: Sequence[SessionFacts]) -> None:
        """Reads what the next sessions need, if it is little; else each will be read by itself."""
        self._ahead = {}
        of_project: dict[int, dict[uuid.UUID, str]] = defaultdict(dict)
        for facts in sessions:
            of_project[facts.project_id].update(dict.fromkeys(facts.trace_keys, facts.key))
        for project_id, session_of in of_project.items():
            rows = self._reader.rows_of_traces(project_id, list(session_of), _AHEAD)
            if len(rows) < _AHEAD:
                found: dict[str, list[Stored]] = {key: [] for key in session_of.values()}
                for stored in self._reader.load(rows):
                    found[session_of[stored.trace_key]].append(stored)
                self._ahead.update(found)

    def __call__(self, facts: SessionFacts) -> dict[str, Any]:
        events = self._ahead.pop(facts.key, None)
        return build(self._reader, facts) if events is None else _timeline(facts, events, "")


def _events(reader: Reader, facts: SessionFacts) -> tuple[list[Stored], str]:
    """(events, what was left out)."""
    rows: list[Row] = reader.rows_of_traces(facts.project_id, facts.trace_keys, MOST_EVENTS + 1)
    events: list[Stored] = []
    size = 0
    content: Content = {}
    for start in range(0, min(len(rows), MOST_EVENTS), _PAGE):
        if size > MOST_BYTES:
            return events, f"everything after the first {len(events)} events: they are too large"
        page = reader.load(rows[start : min(start + _PAGE, MOST_EVENTS)], known=content)
        size += sum(map(_size, page))
        events += page
    return events, f"everything after the first {MOST_EVENTS} events" if len(rows) > MOST_EVENTS else ""


def _size(stored: Stored) -> int:
    item = stored.item
    if isinstance(item, Unreadable):
        return len(item.raw)
    if isinstance(item, Rest):
        return sum(len(raw) for _, raw in item.members)
    assert isinstance(item, Span | Log)
    return sum(len(value) if isinstance(value, str | bytes) else 64 for _, _, value in item.attributes)


def _timeline(facts: SessionFacts, events: Sequence[Stored], cut: str) -> dict[str, Any]:
    made = timeline(events, key=facts.key, session_id=facts.session_id)
    if cut:
        made["cut"] = [cut]
        _lacks(made, "session_cut", f"Not shown: {cut}.")
    if facts.lost:
        which = f"certificate{'s' if len(facts.lost) > 1 else ''} {', '.join(facts.lost)}"
        _lacks(made, "content_disposed", f"A part of this session was deleted when its time was over, by a scheduled deletion: {which}.")
    return made


def _lacks(made: dict[str, Any], code: str, message: str) -> None:
    """Something that no item can tell is missing."""
    completeness = made["completeness"]
    completeness["gaps"] = [*completeness["gaps"], {"code": code, "step": None, "message": message}]
    if completeness["verdict"] == "complete":
        completeness["verdict"] = "gaps"
