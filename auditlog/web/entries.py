"""Owns what the entries of the ledger say: one a session, with those of its actions that were asked for; web/rows.py prints them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import Any, Final, NamedTuple

from django.urls import reverse

from auditlog.derive.keys import to_text
from auditlog.derive.models import Session
from auditlog.search import actions, sessions
from auditlog.search.actions import Call
from auditlog.search.scope import Scope
from auditlog.web import markup
from auditlog.web.found import passages
from auditlog.web.links import step_address
from auditlog.web.tags import cost, count, money, printed

ACTIONS_SHOWN: Final = 4  # of one session; the rest is counted, and on its page
TRACES_READ: Final = 20  # of one session, for whom it concerns
_TONES: Final = {"returned": "good", "unknown": "open-tone"}
_WORDS: Final = {"unknown": "outcome unknown"}


class Reader(NamedTuple):
    """Who reads the ledger: in which time zone, whether content, and whether sessions only."""

    zone: tzinfo
    content: bool
    only_sessions: bool


def entries(scope: Scope, rows: list[Session], given: Mapping[str, str], reader: Reader) -> list[dict[str, Any]]:
    """Members as web/rows.py prints them: a str that it escapes, or HTML of `markup`."""
    keys = [row.key for row in rows]
    identities = sessions.identities(scope, rows, TRACES_READ)
    of_one_call = {name: given[name] for name in (*actions.OF_ONE_CALL, "tool") if given.get(name)}
    calls = {} if reader.only_sessions else actions.of_sessions(scope, keys, of_one_call, ACTIONS_SHOWN)
    said = passages(scope, keys, given.get("q", "")) if reader.content else {}
    return [
        {
            **_session(row, reader),
            **_whom(identities[row.key]),
            "actions": _actions(row, calls.get(row.key, []), reader),
            "hidden": _hidden(row, calls.get(row.key, []), of_one_call),
            "excerpts": said.get(row.key, ()),
        }
        for row in rows
    ]


def _session(row: Session, reader: Reader) -> dict[str, Any]:
    tone, trail = _trail(row)
    totals = row.totals or {}
    charged = totals.get("cost_usd")
    return {
        "url": reverse("session", args=[row.key]),
        "time": printed(row.started_at, reader.zone, "ledger"),
        "agent": markup.of(row.agent_name or "unnamed"),
        "agent_known": row.agent_name is not None,
        "version": markup.of(row.agent_version) if row.agent_version else "",
        "content": reader.content,
        "opening": markup.of(row.opening) if reader.content and row.opening else "",
        "session_id": markup.of(to_text(row.session_id)),
        "tone": tone,
        "trail": trail,
        "read": bool(row.verdict),
        "calls": f"{count(totals.get('model_calls'), 'model call')} · {count(totals.get('tool_calls'), 'tool call')}",
        "cost": None if charged is None else cost(charged),
    }


def _trail(row: Session) -> tuple[str, str]:
    """Class and words of what is believed of the trail."""
    if row.verdict == "complete":
        return "good", "complete"
    if row.verdict == "gaps":
        return "open-tone", count(row.gaps, "gap")
    return "muted", "cannot be checked" if row.verdict else "being read"


def _whom(identity: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The customers, else a user: two fit into the column."""
    customers = [markup.of(one) for one in identity["customer"][:2]]
    return {"customers": customers, "user": markup.of(identity["user"][0]) if identity["user"] and not customers else ""}


def _actions(row: Session, own: Sequence[Call], reader: Reader) -> list[dict[str, Any]]:
    findings: dict[int, list[str]] = {}
    for finding in row.findings:
        findings.setdefault(finding.get("step"), []).append(finding["message"])
    return [_action(row, one, findings.get(one.step, []), reader) for one in own[:ACTIONS_SHOWN]]


def _action(row: Session, one: Call, findings: Sequence[str], reader: Reader) -> dict[str, Any]:
    wrong = (["never offered"] if one.offered is False else []) + (["arguments invalid"] if one.arguments_valid is False else [])
    return {
        "url": step_address(row.key, one.step),
        "time": printed(one.sort_at, reader.zone, "ledger"),
        "tool": markup.of(one.tool),
        "amount": money(one.amount, one.currency) if reader.content and one.amount is not None else "",
        "object": markup.of(one.object) if reader.content and one.object else "",
        "tone": _TONES.get(one.outcome, "bad"),
        "outcome": _WORDS.get(one.outcome, one.outcome),
        "wrong": [*wrong, *(markup.of(message) for message in findings)],
    }


def _hidden(row: Session, own: Sequence[Call], of_one_call: Mapping[str, str]) -> str:
    """What a session's entry says of its calls that are not in the ledger."""
    if len(own) > ACTIONS_SHOWN:
        return f"the last {ACTIONS_SHOWN} {'that match ' if of_one_call else ''}shown"
    return "those that match shown" if of_one_call and len(own) < row.tool_calls else ""
