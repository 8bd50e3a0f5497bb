"""Owns the search page: a sentence of filters in the address, a ledger of actions under their sessions, the same ledger kept up to date."""

from __future__ import annotations

import functools
from datetime import tzinfo
from time import monotonic
from typing import Any, Final

from django.db import connection
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from auditlog.errors import Problem
from auditlog.search import cursor, parameters, received, sessions
from auditlog.search.bounds import bounded
from auditlog.search.scope import Scope
from auditlog.search.spread import looked_at, spread
from auditlog.web import ranges, recent, results, rows, saved, sentence, zones
from auditlog.web.access import Access, Right
from auditlog.web.bars import bars
from auditlog.web.entries import Reader, entries
from auditlog.web.found import COUNTED, counts
from auditlog.web.guard import page, show
from auditlog.web.sentence import HINTS, Asked, Part, address

SHOWN: Final = "20"  # sessions of a page where the address does not say
# Parameters that the form sends again though no part of it shows them.
KEPT: Final = ("tz", "view", "live", "limit", "when", COUNTED, recent.RANGE)
_HINT_SECONDS: Final = 2  # that looking for what would match without one part may take, all parts together


class Found:
    """What one search brought, or why it brought nothing."""

    def __init__(self) -> None:
        self.page = sessions.Page([], None)
        self.rows: list[SafeString] = []
        self.given: dict[str, str] = {}  # the filters as they were applied, ranges of time in dates
        self.recent: recent.Range | None = None  # the range that was applied because the address names none
        self.counts: dict[str, Any] = {}
        self.problem: Problem | None = None
        self.wrong: dict[str, str] = {}
        self.hints: list[Part] = []  # parts without which something would match
        self.hinted = False  # whether all parts were looked at
        self.hints_at = ""  # the address that looks for them, where this one was not to: they take as long as searches of their own
        self.reading = False  # whether something was received that no session shows yet


# Writes nothing; it ends its transaction itself, to say what it asked for when that took too long.
@page(Right.FIND, content=True, writes=True)
def search(request: HttpRequest, access: Access) -> HttpResponse:
    if sentence.untidy(request.GET):
        return HttpResponseRedirect(address(request.GET))
    zone, asked = zones.context(request)["zone"], sentence.read(request.GET)
    partial = request.headers.get("HX-Request") == "true"
    found = Found()
    try:
        with bounded():
            _find(request, access, asked, zone, found, ahead=not partial and "cursor" not in asked.given)
    except Problem as error:
        if error.code != "query_timeout":
            raise
        found.problem = error
    if not (found.rows or found.problem):
        _nothing(access, request.GET, asked, zone, found)
    if _nothing_new(request, found.page):
        return HttpResponse(status=204)  # what is on the page stays; nothing was shown, so nothing is recorded
    if found.rows:
        access.record("search", filters=found.given, sessions=[row.key for row in found.page.rows])
    context = _around(request, access, asked, found, zone) | found.counts
    context |= bars(request.GET, spread(found.page.times, found.page.ahead), zone)
    if not partial:
        context |= saved.menu(access) | {"later": bool(found.hints_at)}
    status = found.problem.kind.http if found.problem else 200
    return show(request, access, "_ledger.html" if partial else "search.html", context, status)


def _find(request: HttpRequest, access: Access, asked: Asked, zone: tzinfo, found: Found, *, ahead: bool) -> None:
    scope, now, content = Scope(access.project.pk), timezone.now(), Right.CONTENT in access.rights
    try:
        if asked.wrong:
            raise Problem("parameter_invalid", next(iter(asked.wrong.values())))
        found.given, found.recent = recent.within(scope, ranges.applied(asked.given, now, zone), zone)
        found.page = sessions.page(
            scope, {"limit": SHOWN, **found.given}, zone, content=content, ahead=looked_at(found.given) if ahead else 0
        )
    except Problem as error:
        if error.code not in ("parameter_invalid", "scope_missing"):
            raise
        found.problem, found.wrong = error, sentence.problems(scope, asked, now, zone, content=content)
        return
    only_sessions = request.GET.get("view") == "sessions"
    shown = entries(scope, found.page.rows, found.given, Reader(zone, content, only_sessions))
    found.rows = [rows.entry(one, only_sessions=only_sessions) for one in shown]
    if found.rows and request.headers.get("HX-Request") != "true":
        found.counts = counts(scope, request.GET, found.given, zone, functools.partial(address, request.GET), content=content)


def _nothing(access: Access, query: QueryDict, asked: Asked, zone: tzinfo, found: Found) -> None:
    """What is said where nothing was found."""
    if not _filtered(asked):
        with bounded():
            found.reading = received.anything(Scope(access.project.pk))
    elif query.get(HINTS) == "1":
        _hint(access, query, asked, zone, found)
    else:
        found.hints_at = address(query, hints="1")


def _hint(access: Access, query: QueryDict, asked: Asked, zone: tzinfo, found: Found) -> None:
    """Why nothing was found: the parts without each of which something would be, as far as that is seen soon."""
    scope, content = Scope(access.project.pk), Right.CONTENT in access.rights
    given = found.given
    parts, time = sentence.parts(query, asked, {}), sentence.time(query, asked.given, {}, zone, found.recent)
    parts += [time] if time.without else []
    if "q" in given:
        parts.append(Part("the words", given["q"], (), "", address(query, q=None)))
    until = monotonic() + _HINT_SECONDS
    for part in parts:
        dropped = {field.name for field in part.fields} or {"q"}
        rest = {name: value for name, value in given.items() if name not in {*dropped, *parameters.PAGED}}
        left = until - monotonic()
        try:
            with bounded(), connection.cursor() as database:
                database.execute("SELECT set_config('statement_timeout', %s, true)", [f"{max(1, int(left * 1000))}ms"])
                if sessions.page(scope, {**rest, "limit": "1"}, zone, content=content).rows:
                    found.hints.append(part)
        except Problem as error:
            if error.code != "query_timeout":
                raise
            return  # what was searched for is answered; this was only to help
    found.hinted = True


def _filtered(asked: Asked) -> bool:
    return any(name not in (*parameters.PAGED, recent.RANGE) for name in asked.given)


def _nothing_new(request: HttpRequest, found: sessions.Page) -> bool:
    """Whether a page that keeps itself up to date shows the newest session already."""
    since = request.GET.get("since")
    if not since or not found.rows:
        return False
    return cursor.decode(since) == (found.rows[0].sort_at, found.rows[0].key)


def _around(request: HttpRequest, access: Access, asked: Asked, found: Found, zone: tzinfo) -> dict[str, Any]:
    """The ledger and what stands around it: the sentence, what can be added to it, and where the switches lead."""
    query, given, shown = request.GET, asked.given, found.page.rows
    only_sessions, content = query.get("view") == "sessions", Right.CONTENT in access.rights
    parts, time = sentence.parts(query, asked, found.wrong), sentence.time(query, given, found.wrong, zone, found.recent)
    newest = cursor.encode(shown[0].sort_at, shown[0].key) if shown else None
    return {
        "rows": found.rows,
        "problem": found.problem,
        "slow": found.problem is not None and found.problem.code == "query_timeout",
        "unplaced": found.problem is not None and not any(part.problem for part in (*parts, time)),
        "hints": found.hints,
        "hinted": found.hinted,
        "hints_at": found.hints_at,
        "reading": found.reading,
        "parts": parts,
        "time": time,
        "presets": sentence.presets(query, given, newest=found.recent is not None),
        "recent": found.recent,
        "recent_all": address(query, **sentence.ANY_TIME),
        "recent_ahead": address(query, **{"from": found.recent.after}) if found.recent and found.recent.ahead else None,
        "offered": sentence.offered(given, content=content),
        "kept": [(name, value) for name, value in query.items() if name in KEPT and name not in found.wrong],
        "q": given.get("q", ""),
        "q_problem": found.wrong.get("q", ""),
        "filtered": _filtered(asked),
        "csv": address(query, reverse("results-csv"), limit=None, live=None),
        "json": address(query, reverse("results-json"), limit=None, live=None),
        "export": address(query, reverse("exports"), limit=None, live=None, view=None),
        "export_most": results.MOST,
        "first": not given.get("cursor"),
        "next": address(query, cursor=found.page.next) if found.page.next else None,
        "poll": address(query, since=newest),
        "only_sessions": only_sessions,
        "other_view": address(query, view=None if only_sessions else "sessions"),
        "live": query.get("live") == "1" and not given.get("cursor"),
        "other_live": address(query, live=None if query.get("live") == "1" else "1"),
        "host": request.build_absolute_uri("/").rstrip("/"),
    }
