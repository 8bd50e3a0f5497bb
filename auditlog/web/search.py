"""Owns the search page: filters in the address, a ledger of actions under their sessions, and the same ledger kept up to date."""

from __future__ import annotations

import functools
from datetime import timedelta
from typing import Any, Final

from django.http import HttpRequest, HttpResponse, QueryDict

from auditlog.derive.keys import to_text
from auditlog.derive.models import Action, Session
from auditlog.errors import Problem
from auditlog.search import actions, cursor, parameters, sessions
from auditlog.search.scope import Scope
from auditlog.search.spread import MOST, Spread, spread
from auditlog.web import ranges, zones
from auditlog.web.access import Access, Right
from auditlog.web.found import COUNTED, counts, passages
from auditlog.web.guard import page, show
from auditlog.web.links import step_address

FILTERS: Final = (  # name, label in the form, words in the sentence
    ("customer_id", "Customer", "whose customer is"),
    ("user_id", "User", "whose user is"),
    ("session_id", "Session ID", "named"),
    ("trace_id", "Trace ID", "with the trace"),
    ("subject", "Other subject", "about"),
    ("agent", "Agent", "whose agent is"),
    ("tool", "Tool", "that called"),
    ("value", "Value in a call", "with a call that says"),
    ("amount_min", "Amount at least", "with an amount ≥"),
    ("amount_max", "Amount at most", "with an amount ≤"),
    ("from", "From", "from"),
    ("to", "To", "until"),
)
LINKED: Final = (  # the same, in the form only where a link brought them
    ("agent_version", "Agent version", "with the agent version"),
    ("outcome", "Outcome", "with a call that ended"),
    ("check", "Check failed", "with a call that failed the check"),
    ("model", "Model asked for", "that asked for the model"),
    ("response_model", "Model that answered", "answered by the model"),
    ("response_id", "Response ID", "with the response"),
    ("system_prompt", "Instruction", "under the instruction"),
    ("tool_schema", "Tool schema", "offered the tool schema"),
    ("finding", "Finding", "with the finding"),
    ("verdict", "Trail", "whose trail is"),
    ("min_cost", "Cost at least", "that cost at least $"),
    ("max_cost", "Cost at most", "that cost at most $"),
    ("min_tool_calls", "Tool calls at least", "with at least so many tool calls:"),
)
VIEW: Final = ("tz", "view", "live", "since", COUNTED, ranges.RANGE)  # parameters of the page that filter nothing
SHOWN: Final = "30"  # sessions of a page where the address does not say
ACTIONS_SHOWN: Final = 4  # of one session; the rest is counted, and on its page


def asked(query: QueryDict) -> dict[str, str]:
    """The filters in an address: empty fields of the form are no filters."""
    given = {name: [value for value in values if value] for name, values in query.lists() if name not in VIEW}
    return {name: parameters.once(name, values) for name, values in given.items() if values}


def address(query: QueryDict, **changed: str | None) -> str:
    """The same search with some parameters set or (None) taken away; it starts at its first page again."""
    made = query.copy()
    for name in ("cursor", "since", *changed):
        made.pop(name, None)
    for empty in [name for name, value in made.items() if not value]:
        made.pop(empty)
    for name, value in changed.items():
        if value is not None:
            made[name] = value
    return "/?" + made.urlencode() if made else "/"


@page(Right.FIND)
def search(request: HttpRequest, access: Access) -> HttpResponse:
    scope, zone = Scope(access.project.pk), zones.context(request)["zone"]
    given: dict[str, str] = {}
    problem, found, recent = None, sessions.Page([], None), None
    within: dict[str, str] = {}
    content = Right.CONTENT in access.rights
    partial = request.headers.get("HX-Request") == "true"
    try:
        given = asked(request.GET)
        recent = ranges.default(scope, request.GET, zone)
        within = given | ({"from": recent.since} if recent else {})
        ahead = 0 if partial or given.get("cursor") else MOST
        found = sessions.page(scope, {"limit": SHOWN, **within}, zone, content=content, ahead=ahead)
    except Problem as error:
        if error.code not in ("parameter_invalid", "scope_missing"):
            raise
        problem = error
    if _nothing_new(request, found):
        return HttpResponse(status=204)  # what is on the page stays; nothing was shown, so nothing is recorded
    if found.rows:
        access.record("search", filters=within, sessions=[row.key for row in found.rows])
    context = _around(request, given) | {
        "rows": _rows(scope, found.rows, given, only_sessions=request.GET.get("view") == "sessions", content=content),
        "next": address(request.GET, cursor=found.next) if found.next else None,
        "poll": address(request.GET, since=cursor.encode(found.rows[0].sort_at, found.rows[0].key) if found.rows else None),
        "problem": problem,
        "recent": recent,
        "recent_all": address(request.GET, range=ranges.ALL),
    }
    context |= _bars(request.GET, spread(found.times))
    if found.rows and not partial:
        context |= counts(scope, request.GET, within, zone, functools.partial(address, request.GET), content=content)
    return show(request, access, "_ledger.html" if partial else "search.html", context, problem.kind.http if problem else 200)


def _nothing_new(request: HttpRequest, found: sessions.Page) -> bool:
    """Whether a page that keeps itself up to date shows the newest session already."""
    since = request.GET.get("since")
    if not since or not found.rows:
        return False
    return cursor.decode(since) == (found.rows[0].sort_at, found.rows[0].key)


def _around(request: HttpRequest, given: dict[str, str]) -> dict[str, Any]:
    """What stands around the ledger: the form, the filters as sentences, and where its switches lead."""
    query = request.GET
    linked = tuple(one for one in LINKED if one[0] in given)
    only_sessions = query.get("view") == "sessions"
    return {
        "fields": [(name, label, given.get(name, "")) for name, label, _ in FILTERS + linked],
        "chips": [(words, given[name], address(query, **{name: None})) for name, _, words in FILTERS + LINKED if name in given],
        "q": given.get("q", ""),
        "filtered": any(name not in parameters.PAGED for name in given),
        "first": not given.get("cursor"),
        "only_sessions": only_sessions,
        "other_view": address(query, view=None if only_sessions else "sessions"),
        "live": query.get("live") == "1" and not given.get("cursor"),
        "other_live": address(query, live=None if query.get("live") == "1" else "1"),
        "host": request.build_absolute_uri("/").rstrip("/"),
    }


def _bars(query: QueryDict, found: Spread) -> dict[str, Any]:
    """The bars as they are drawn, 1000 wide and 40 high; each leads to its own stretch of time."""
    if not found.bars:
        return {}
    step, highest = 1000 / len(found.bars), max(bar.sessions for bar in found.bars)
    bars = [
        {
            "count": bar.sessions,
            "start": bar.start,
            "x": f"{n * step:.2f}",
            "y": f"{40 - max(3, 40 * bar.sessions / highest):.1f}",
            "height": f"{max(3, 40 * bar.sessions / highest):.1f}",
            "href": address(query, **{"from": bar.start.isoformat(), "to": (bar.end - timedelta(microseconds=1)).isoformat()}),
        }
        for n, bar in enumerate(found.bars)
        if bar.sessions
    ]
    return {"bars": bars, "bar_width": f"{max(step - 2, step * 0.8):.2f}", "bars_cut": MOST if found.cut else None,
            "bars_from": found.bars[0].start, "bars_to": found.bars[-1].end}  # fmt: skip


def _rows(scope: Scope, rows: list[Session], given: dict[str, str], *, only_sessions: bool, content: bool) -> list[dict[str, Any]]:
    """One entry a session, with those of its actions that were asked for, and what was said where words were."""
    identities = sessions.identities(scope, rows)
    of_one_call = {name: given[name] for name in (*actions.OF_ONE_CALL, "tool") if given.get(name)}
    calls = {} if only_sessions else actions.of_sessions(scope, [row.key for row in rows], of_one_call, ACTIONS_SHOWN)
    said = passages(scope, [row.key for row in rows], given.get("q", "")) if content else {}
    entries = []
    for row in rows:
        own = calls.get(row.key, [])
        findings: dict[int, list[str]] = {}
        for finding in row.findings:
            findings.setdefault(finding.get("step"), []).append(finding["message"])
        shown = [
            {"row": one, "url": step_address(row.key, one.step), "findings": findings.get(one.step, [])} for one in own[:ACTIONS_SHOWN]
        ]
        entries.append(
            {
                "session": row,
                "session_id": to_text(row.session_id),
                **identities[row.key],
                "actions": shown,
                "excerpts": said.get(row.key, ()),
                "hidden": _hidden(row, own, of_one_call),
            }
        )
    return entries


def _hidden(row: Session, own: list[Action], of_one_call: dict[str, str]) -> str:
    """What a session's entry says of its calls that are not in the ledger."""
    if len(own) > ACTIONS_SHOWN:
        return f"the last {ACTIONS_SHOWN} {'that match ' if of_one_call else ''}shown"
    return "those that match shown" if of_one_call and len(own) < row.tool_calls else ""
