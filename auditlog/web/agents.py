"""Owns `/agents`: which agents there are, how far their trails can be believed, and what these lack most."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse

from auditlog.search import agents, parameters
from auditlog.search.scope import Scope
from auditlog.web import recent, zones
from auditlog.web.access import Access, Right
from auditlog.web.guard import page, show

SHOWN: Final = 200  # agents of a page; the API lists all of them


@page(Right.FIND)
def counted(request: HttpRequest, access: Access) -> HttpResponse:
    given = {name: parameters.once(name, values) for name, values in request.GET.lists() if name != "tz" and values != [""]}
    found = agents.agents(Scope(access.project.pk), given, zones.context(request)["zone"])
    context = {
        "rows": [_row(row, given) for row in found.rows[:SHOWN]],
        "hidden": max(0, len(found.rows) - SHOWN),
        "counted": found.sessions,
        "cut": found.cut,
        "given": given,
    }
    return show(request, access, "agents.html", context)


def _row(row: agents.Counted, given: dict[str, str]) -> dict[str, Any]:
    def sessions(**more: str) -> str:
        named = {"agent": row.name} if row.name is not None else {}
        counted = given or {recent.RANGE: recent.ALL}  # else the search page would show the newest days of them alone
        return "/?" + urlencode({**named, **more, **counted}, errors="replace")

    named = row.name is not None  # sessions without an agent cannot be asked for
    trails = (
        ("complete", row.complete, "good", "complete"),
        ("with gaps", row.with_gaps, "open-tone", "gaps"),
        ("cannot be checked", row.unevaluable, "muted", "unevaluable"),
        ("being read", row.sessions - row.complete - row.with_gaps - row.unevaluable, "muted", None),
    )
    return {
        "counted": row,
        "href": sessions() if named else None,
        "trails": [
            (words, count, tone, sessions(verdict=verdict) if named and verdict else None)
            for words, count, tone, verdict in trails
            if count
        ],
        "gaps": [
            (
                gap.code.replace("_", " "),
                gap.sessions,
                sessions(gap=gap.code) if named else None,
                max(1, round(100 * gap.sessions / row.sessions)),
            )
            for gap in row.gaps
        ],
    }
