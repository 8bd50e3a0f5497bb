"""Owns how a session's timeline comes about: what is declared of it, all its stored events, and the pure reconstruction."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Final

from auditlog.derive import missing
from auditlog.derive.paging import STEPS
from auditlog.derive.read import SessionFacts
from auditlog.item import Log, Rest, Span, Unreadable
from auditlog.reconstruct.request import request_of
from auditlog.reconstruct.timeline import timeline
from auditlog.store.reader import Content, Reader, Row, Stored, TooLarge

# A session is reconstructed in memory, so what is taken of one has an end; the first that happened are taken, and it is said.
MOST_EVENTS: Final = 50_000
MOST_BYTES: Final = 192 * 1024 * 1024  # of values: each model call repeats its whole conversation
_PAGE: Final = 200
_AHEAD: Final = 400  # events of several small sessions that are read at once
_AHEAD_BYTES: Final = 16 * 1024 * 1024  # of them
Ask = Callable[[], Sequence[missing.Request]]


def build(reader: Reader, facts: SessionFacts, ask: Ask | None = None) -> dict[str, Any]:
    """The timeline of the contract. The same for the ledger's summary, the API and the pages.

    Facts without a session ID (""): the session's ID is what its events say. `ask`: by which requests values are missing, where the caller
    asks for them, too.
    """
    events, cut = _events(reader, facts)
    return _timeline(facts, events, cut, ask or _requests(reader, facts, events))


def request(reader: Reader, facts: SessionFacts, number: int) -> dict[str, Any] | None:
    """A model call as a request that can be sent again (reconstruct.request)."""
    return request_of(_events(reader, facts)[0], number)


class Timelines:
    """Makes timelines of several sessions one after the other, reading the events of small ones at once.

    For the summary, its terms and words; those of several pages are whole, because they are kept (derive.paging).
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._ahead: dict[str, list[Stored]] = {}
        self._room = 0  # bytes that may still be read ahead

    def ahead(self, sessions: Sequence[SessionFacts]) -> None:
        """Reads what the next sessions need, of as many at once as it is little of; a large one will be read by itself."""
        self._ahead, self._room = {}, _AHEAD_BYTES
        of_project: dict[int, dict[uuid.UUID, str]] = defaultdict(dict)
        for facts in sessions:
            of_project[facts.project_id].update(dict.fromkeys(facts.trace_keys, facts.key))
        for project_id, session_of in of_project.items():
            self._read(project_id, session_of)

    def _read(self, project_id: int, session_of: dict[uuid.UUID, str]) -> None:
        rows = self._reader.rows_of_traces(project_id, list(session_of), _AHEAD, self._room)
        keys = sorted(set(session_of.values()))
        if len(rows) < _AHEAD:
            self._load(rows, session_of)
        elif len(keys) > 1:
            first = set(keys[: len(keys) // 2])
            self._read(project_id, {trace: key for trace, key in session_of.items() if key in first})
            self._read(project_id, {trace: key for trace, key in session_of.items() if key not in first})

    def _load(self, rows: Sequence[Row], session_of: dict[uuid.UUID, str]) -> None:
        """All of these sessions, or none: of half a session nobody may make a timeline."""
        if any(row[-1] is None for row in rows):
            return
        found: dict[str, list[Stored]] = {key: [] for key in session_of.values()}
        try:
            for stored in self._reader.load(rows, most=self._room):
                found[session_of[stored.trace_key]].append(stored)
                self._room -= _size(stored)
        except TooLarge:
            return
        self._ahead |= found

    def is_read(self, facts: SessionFacts) -> bool:
        """Whether a session's timeline can be made without a statement that can break the transaction."""
        return facts.key in self._ahead

    def __call__(self, facts: SessionFacts) -> dict[str, Any]:
        ahead = self._ahead.pop(facts.key, None)
        events, cut = (ahead, "") if ahead is not None else _events(self._reader, facts)
        return _timeline(facts, events, cut, _requests(self._reader, facts, events), brief=STEPS)


def _events(reader: Reader, facts: SessionFacts) -> tuple[list[Stored], str]:
    """(events, what was left out)."""
    rows: list[Row] = reader.rows_of_traces(facts.project_id, facts.trace_keys, MOST_EVENTS + 1, MOST_BYTES)
    whole = [row for row in rows[:MOST_EVENTS] if row[-1] is not None]
    events: list[Stored] = []
    size = 0
    content: Content = {}
    for page in reader.pages(whole, known=content, count=_PAGE):
        loaded = list(page)
        size += sum(map(_size, loaded))
        events += loaded
        if size > MOST_BYTES:
            break
    if len(events) < min(len(rows), MOST_EVENTS):
        return events, f"everything after the first {len(events)} events: they are too large"
    return events, f"everything after the first {MOST_EVENTS} events" if len(rows) > MOST_EVENTS else ""


def _requests(reader: Reader, facts: SessionFacts, events: Sequence[Stored]) -> Ask:
    """What asks by which requests values of these events are missing; should that fail, the transaction goes on."""

    def ask() -> list[missing.Request]:
        with reader.conn.transaction():
            gone = [(one.trace_key, one.event_id) for one in events if one.gone]
            return missing.of_events(reader.conn, facts.project_id, gone)

    return ask


def _size(stored: Stored) -> int:
    item = stored.item
    if isinstance(item, Unreadable):
        return len(item.raw)
    if isinstance(item, Rest):
        return sum(len(raw) for _, raw in item.members)
    assert isinstance(item, Span | Log)
    return sum(len(value) if isinstance(value, str | bytes) else 64 for _, _, value in item.attributes)


def _timeline(facts: SessionFacts, events: Sequence[Stored], cut: str, ask: Ask, brief: int = 0) -> dict[str, Any]:
    made = timeline(events, key=facts.key, session_id=facts.session_id or None, brief=brief)
    if cut:
        made["cut"] = [cut]
        _lacks(made, "session_cut", f"Not shown: {cut}.")
    if facts.lost:
        _lacks(
            made, "content_disposed",
            f"A part of this session was deleted when its time was over, by a scheduled deletion: {missing.certificates(facts.lost)}.",
        )  # fmt: skip
    missing.cite(made, ask)
    return made


def _lacks(made: dict[str, Any], code: str, message: str) -> None:
    """Something that no item can tell is missing."""
    completeness = made["completeness"]
    completeness["gaps"] = [*completeness["gaps"], {"code": code, "step": None, "message": message}]
    if completeness["verdict"] == "complete":
        completeness["verdict"] = "gaps"
