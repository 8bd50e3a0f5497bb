"""Owns what the ledger shows of a session and what it is found by: a function of all its events, written again after one was added.

Display copies only. What PostgreSQL's text cannot hold (NUL, lone surrogates) is replaced here; the evidence keeps it.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import psycopg

from auditlog.derive import index, paging, read, sql
from auditlog.derive.consume import describe
from auditlog.derive.index import clean
from auditlog.derive.said import Part, parts
from auditlog.derive.text import Texts
from auditlog.derive.write import Entry, write
from auditlog.reconstruct.actions import Action, actions, notable_of

log = logging.getLogger(__name__)

Build = Callable[[read.SessionFacts], dict[str, Any]]
_AT_ONCE: Final = 8  # binding waits for so many at most
_OPENING: Final = 400  # characters of the first request


def opening(steps: list[dict[str, Any]]) -> str:
    """The first words of the first request, on one line."""
    for step in steps:
        if step["kind"] == "user_message" and (step.get("text") or "").strip():
            return " ".join(step["text"][: _OPENING * 4].split())[:_OPENING]
    return ""


def summary(facts: read.SessionFacts, timeline: dict[str, Any], found: list[Action]) -> dict[str, Any]:
    """The columns of one session's summary."""
    completeness = timeline.get("completeness") or {}
    agent = facts.agent
    totals = timeline["totals"]
    return {
        "agent_name": clean(agent["name"]),
        "agent_version": clean(agent["version"]),
        "opening": clean(opening(timeline["steps"])),
        "totals": json.dumps(clean(totals)),
        "model_calls": totals.get("model_calls", 0),
        "tool_calls": totals.get("tool_calls", 0),
        "cost_usd": _cost(totals.get("cost_usd")),
        "verdict": completeness.get("verdict"),
        "gaps": len(completeness.get("gaps") or ()),
        "findings": json.dumps(clean(timeline.get("findings") or [])),
        "last_action": json.dumps(clean(notable_of(found))),
        "error": "",
    }


def _cost(cost: float | None) -> str | None:
    """None, too, for a number that no bill can hold: a sender may write any."""
    return format(cost, ".12f") if cost is not None and abs(cost) < 1e25 else None


class Summary(NamedTuple):
    columns: dict[str, Any]
    rows: index.Rows
    texts: list[Part]
    kept: list[bytes]  # parts of its timeline, where it is long


def _summary(facts: read.SessionFacts, timeline: dict[str, Any]) -> Summary:
    found = actions(timeline)
    texts, cut = parts(timeline)
    why = [*timeline.get("cut", ()), *(["words"] if cut else [])]
    kept = paging.kept(timeline)
    columns = {**summary(facts, timeline, found), "cut": ", ".join(why), "parts": len(kept)}
    return Summary(columns, index.rows(facts, timeline, found), texts, kept)


def _failed(facts: read.SessionFacts, error: Exception) -> Summary:
    empty: dict[str, Any] = {"steps": [], "totals": {}, "completeness": None}
    return Summary({**summary(facts, empty, []), "error": describe(error), "cut": "", "parts": 0}, index.NOTHING, [], [])


def summarise(conn: psycopg.Connection[Any], edition: int, build: Build, texts: Texts | None = None) -> int:
    """Writes the summaries of a few sessions that need one. Returns how many; 0: nothing is due."""
    due = conn.execute(sql.STALE, (edition, _AT_ONCE)).fetchall()
    if not due:
        return 0
    # The marks are cleared in the transaction that read the events; only this process sets them, so no event can slip between.
    with conn.transaction():
        sessions = [facts for key, project_id in due if (facts := read.session_facts(conn.cursor(), edition, project_id, key))]
        ahead = getattr(build, "ahead", None)
        if ahead is not None:
            _try(conn, lambda: ahead(sessions))  # what cannot be read will fail again for its own session
        made = {facts.key: _made(conn, facts, build) for facts in sessions}
        entries = []
        for facts in sessions:
            one, seconds = made[facts.key]
            row = conn.execute(sql.SUMMARISED, {**one.columns, "edition": edition, "key": facts.key, "summary_seconds": seconds}).fetchone()
            assert row is not None  # session_facts found it in this transaction
            entries.append(Entry(facts.project_id, facts.key, row[0], one.rows))
            if one.kept or facts.parts:
                paging.write(conn, edition, facts.project_id, facts.key, one.kept)
        write(conn, edition, entries)
    if texts is not None:
        for key, (one, _) in made.items():
            texts.put(key, one.texts)
    return len(due)


def _try(conn: psycopg.Connection[Any], work: Callable[[], object]) -> Exception | None:
    """Does what may fail for what one session holds; the transaction goes on, and the error is told."""
    try:
        with conn.transaction():
            work()
    except psycopg.OperationalError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever one session holds must not keep the others from the ledger
        return error
    return None


def _made(conn: psycopg.Connection[Any], facts: read.SessionFacts, build: Build) -> tuple[Summary, float]:
    began = time.monotonic()
    found: list[Summary] = []
    error = _try(conn, lambda: found.append(_summary(facts, build(facts))))
    if error is not None:
        log.error("derive.summary_failed", extra={"session": facts.key, "error_kind": type(error).__name__})
        found.append(_failed(facts, error))
    return found[0], time.monotonic() - began
