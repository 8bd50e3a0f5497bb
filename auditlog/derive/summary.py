"""Owns what the ledger shows of a session and what it is found by: a function of all its events, written again after one was added.

Display copies only. What PostgreSQL's text cannot hold (NUL, lone surrogates) is replaced here; the evidence keeps it.
"""

from __future__ import annotations

import json
import logging
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import nullcontext
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
_AT_ONCE: Final = 16  # binding waits for so many at most
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
        sessions = _due(conn, edition, due)
        ahead = getattr(build, "ahead", None)
        if ahead is not None:
            _try(conn, lambda: ahead(sessions))  # what cannot be read will fail again for its own session
        made = {facts.key: _made(conn, facts, build) for facts in sessions}
        said = json.dumps([{"key": key, "summary_seconds": seconds, **one.columns} for key, (one, seconds) in made.items()])
        sort_at = dict(conn.execute(sql.SUMMARISED, {"edition": edition, "summaries": said}).fetchall())
        write(conn, edition, [Entry(facts.project_id, facts.key, sort_at[facts.key], made[facts.key][0].rows) for facts in sessions])
        for facts in sessions:
            kept = made[facts.key][0].kept
            if kept or facts.parts:
                paging.write(conn, edition, facts.project_id, facts.key, kept)
    if texts is not None:
        for key, (one, _) in made.items():
            texts.put(key, one.texts)
    return len(due)


def _due(conn: psycopg.Connection[Any], edition: int, due: list[tuple[str, int]]) -> list[read.SessionFacts]:
    """What is declared of these sessions, in their order."""
    of_project: dict[int, list[str]] = defaultdict(list)
    for key, project_id in due:
        of_project[project_id].append(key)
    found: dict[str, read.SessionFacts] = {}
    for project_id, keys in of_project.items():
        found |= read.facts_of_sessions(conn.cursor(), edition, project_id, keys)
    return [found[key] for key, _ in due if key in found]


def _try(conn: psycopg.Connection[Any] | None, work: Callable[[], object]) -> Exception | None:
    """Does what may fail for what one session holds; the transaction goes on, and the error is told. None: it does not ask the database."""
    try:
        with conn.transaction() if conn is not None else nullcontext():
            work()
    except psycopg.OperationalError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever one session holds must not keep the others from the ledger
        return error
    return None


def _made(conn: psycopg.Connection[Any], facts: read.SessionFacts, build: Build) -> tuple[Summary, float]:
    began = time.monotonic()
    found: list[Summary] = []
    is_read = getattr(build, "is_read", None)
    error = _try(None if is_read is not None and is_read(facts) else conn, lambda: found.append(_summary(facts, build(facts))))
    if error is not None:
        log.error("derive.summary_failed", extra={"session": facts.key, "error_kind": type(error).__name__})
        found.append(_failed(facts, error))
    return found[0], time.monotonic() - began
