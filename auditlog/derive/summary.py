"""Owns what the ledger shows of a session: a function of all its events, written again after one was added.

Display copies only. What PostgreSQL's text cannot hold (NUL, lone surrogates) is replaced here; the evidence keeps it.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import Any, Final

import psycopg

from auditlog.derive import actions, read, sql
from auditlog.derive.consume import describe

log = logging.getLogger(__name__)

BUILD = Callable[[read.SessionFacts], dict[str, Any]]
_AT_ONCE: Final = 20
_OPENING: Final = 400  # characters of the first request


def clean(value: Any) -> Any:
    """A value as text and jsonb of PostgreSQL can hold it."""
    if isinstance(value, str):
        return value.replace("\0", "\u2400").encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {clean(str(key)): clean(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [clean(child) for child in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    return value


def opening(steps: list[dict[str, Any]]) -> str:
    """The first words of the first request, on one line."""
    for step in steps:
        if step["kind"] == "user_message" and (step.get("text") or "").strip():
            return " ".join(step["text"][: _OPENING * 4].split())[:_OPENING]
    return ""


def summary(facts: read.SessionFacts, timeline: dict[str, Any]) -> dict[str, Any]:
    """The columns of one session's summary."""
    completeness = timeline.get("completeness") or {}
    agent = facts.agent
    return {
        "agent_name": clean(agent["name"]),
        "agent_version": clean(agent["version"]),
        "opening": clean(opening(timeline["steps"])),
        "totals": json.dumps(clean(timeline["totals"])),
        "verdict": completeness.get("verdict"),
        "gaps": len(completeness.get("gaps") or ()),
        "findings": json.dumps(clean(timeline.get("findings") or [])),
        "last_action": json.dumps(clean(actions.notable(timeline))),
        "error": "",
    }


def _failed(facts: read.SessionFacts, error: Exception) -> dict[str, Any]:
    empty: dict[str, Any] = {"steps": [], "totals": {}, "completeness": None}
    return {**summary(facts, empty), "error": describe(error)}


def summarise(conn: psycopg.Connection[Any], edition: int, build: BUILD) -> int:
    """Writes the summaries of a few sessions that need one. Returns how many; 0: nothing is due."""
    due = conn.execute(sql.STALE, (edition, _AT_ONCE)).fetchall()
    for key, project_id in due:
        began = time.monotonic()
        # One snapshot for what is declared and for the events, and the mark is cleared with it: no event can slip between.
        with conn.transaction():
            facts = read.session_facts(conn.cursor(), edition, project_id, key)
            if facts is None:
                continue
            try:
                with conn.transaction():
                    row = summary(facts, build(facts))
            except psycopg.OperationalError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever one session holds must not keep the others from the ledger
                log.error("derive.summary_failed", extra={"session": key, "error_kind": type(error).__name__})
                row = _failed(facts, error)
            conn.execute(sql.SUMMARISED, {**row, "edition": edition, "key": key, "summary_seconds": time.monotonic() - began})
    return len(due)
