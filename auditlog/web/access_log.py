"""Owns `/access`: who did what with evidence, in plain words, and the same as a file."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime
from typing import Any, Final

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import reverse

from auditlog.errors import Problem
from auditlog.search import deeds, parameters
from auditlog.search.scope import Scope
from auditlog.web import streams, zones
from auditlog.web.access import Access, Right
from auditlog.web.guard import page, show

WORDS: Final = {
    "search": "searched", "results.download": "downloaded results of a search", "access.view": "looked at this list",
    "access.download": "downloaded this list", "access.read": "read this list over the API",
    "session.view": "looked at a decision", "event.view": "looked at a record", "quarantine.view": "looked at what could not be read",
    "dossier.view": "opened a dossier", "dossier.pdf": "made a dossier's PDF", "request.download": "downloaded a model call",
    "search.save": "saved a search", "search.change": "changed a saved search", "search.remove": "removed a saved search",
    "passage.pin": "pinned a passage", "passage.unpin": "took a pin away",
    "session.read": "read a session over the API", "sessions.read": "listed sessions over the API",
    "event.read": "read a record over the API",
    "event.download": "downloaded a record as it was sent", "event.proof": "asked for a proof", "actions.read": "listed calls over the API",
    "login": "logged in", "login.failed": "tried to log in and failed", "logout": "logged out", "password.change": "changed the password",
    "key.use": "used a key on this day",
    "key.create": "made a key", "key.change": "changed a key", "key.rotate": "rotated a key", "key.revoke": "revoked a key",
    "member.add": "added a member", "member.change": "changed a member", "member.remove": "removed a member",
    "member.link": "made a link for a member to log in", "project.change": "changed a setting of the project",
    "log.restore": "accepted a restored backup", "log.rotate": "rotated the log's key", "export": "exported from the command line",
    "import": "began to bring in files", "import.end": "brought in files", "import.origin": "kept what an export's origin says of it",
    "export.request": "asked for an export", "export.pause": "paused an export", "export.resume": "let an export go on",
    "export.cancel": "cancelled an export", "export.download": "downloaded an export", "export.release": "released an export",
    "hold.place": "placed a hold", "hold.release": "released a hold", "class.revise": "revised a retention class",
    "class.make": "made a retention class", "class.rules": "changed which classes evidence goes into", "clock.tell": "told of an event",
    "class.extend": "had something kept as a longer class says", "class.unextend": "ended that something is kept as a longer class says",
    "class.approve": "approved a retention class", "class.choose": "chose a retention class", "agent.flag": "flagged an agent",
    "disposition.propose": "proposed a deletion", "disposition.approve": "approved a deletion", "disposition.refuse": "refused a deletion",
    "erasure.request": "entered a request of erasure", "erasure.decide": "decided a request of erasure",
    "erasure.certificate": "carried out a request of erasure, with a certificate", "erasure.lift": "lifted a restriction",
    "disposition.cancel": "cancelled a deletion", "disposition.certificate": "deleted, with a certificate",
}  # fmt: skip
_PORTION: Final = "200"
_CASE: Final = "case:"
COLUMNS: Final = ("time_utc", "who", "kind", "id", "action", "objects", "purpose", "case", "record", "recorded")


def _given(request: HttpRequest) -> dict[str, str]:
    return {name: parameters.once(name, values) for name, values in request.GET.lists() if name != "tz" and values != [""]}


@page(Right.OVERSEE)
def access_log(request: HttpRequest, access: Access) -> HttpResponse:
    given, zone = _given(request), zones.context(request)["zone"]
    problem = None
    try:
        found = deeds.page(Scope(access.project.pk), given, zone)
    except Problem as wrong:
        if wrong.kind.http != 400:
            raise
        found, problem = deeds.Page([], None), wrong
    else:
        access.record("access.view", filters=given)
    following = request.GET.copy()
    following["cursor"] = found.next or ""
    filters = request.GET.copy()
    for name in ("cursor", "tz"):
        filters.pop(name, None)
    context = {
        "rows": [_row(one) for one in found.rows],
        "next": f"?{following.urlencode()}" if found.next else None,
        "first": "cursor" not in given,
        "given": given,
        "filtered": any(given.get(name) for name in deeds.PARAMETERS),
        "problem": problem,
        "actions": sorted(WORDS.items(), key=lambda one: one[1]),
        "query": filters.urlencode(),
    }
    return show(request, access, "access.html", context, 200 if problem is None else 400)


def _row(one: deeds.Deed) -> dict[str, Any]:
    objects = [each for each in one.row.objects if not each.startswith(_CASE)]
    return {
        "deed": one,
        "words": WORDS.get(one.row.action, one.row.action),
        "objects": [_object(each) for each in objects[:3]],
        "more": max(0, len(objects) - 3),
        "case": _case(one),
        "recorded": json.dumps(one.recorded, indent=2, ensure_ascii=False) if one.recorded else "",
    }


def _case(one: deeds.Deed) -> str:
    """The case that somebody named as what they read for: it is found like an object, and stands beside the purpose."""
    return next((each.removeprefix(_CASE) for each in one.row.objects if each.startswith(_CASE)), "")


def _object(text: str) -> dict[str, str]:
    kind, _, name = text.partition(":")
    href = reverse(kind, args=[name]) if kind in ("session", "event") and "/" not in name else ""
    return {"kind": kind, "name": name, "text": text, "href": href}


@page(Right.OVERSEE, writes=True)  # writes nothing but the record; each portion has a transaction of its own
def as_csv(request: HttpRequest, access: Access) -> StreamingHttpResponse:
    return _file(request, access, "csv", "text/csv; charset=utf-8")


@page(Right.OVERSEE, writes=True)  # likewise
def as_json(request: HttpRequest, access: Access) -> StreamingHttpResponse:
    return _file(request, access, "json", "application/json")


def _file(request: HttpRequest, access: Access, form: str, media_type: str) -> StreamingHttpResponse:
    given = {name: value for name, value in _given(request).items() if name not in parameters.PAGED}
    scope, zone = Scope(access.project.pk), zones.context(request)["zone"]

    def read(at: str | None) -> streams.Page:
        found = deeds.page(scope, given | {"limit": _PORTION} | ({"cursor": at} if at else {}), zone)
        return [_cells(one, form) for one in found.rows], found.next

    portions = streams.portions(read)
    portions = itertools.chain([next(portions)], portions)  # raises for what cannot be read: then there is no file
    access.record("access.download", filters=given, format=form)
    parts = streams.as_csv(COLUMNS, portions) if form == "csv" else streams.as_json({"filters": given}, portions)
    answer = StreamingHttpResponse(parts, content_type=media_type)
    answer["Content-Disposition"] = f'attachment; filename="auditlog-access-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.{form}"'
    return answer


def _cells(one: deeds.Deed, form: str) -> streams.Row:
    row = one.row
    at = row.at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    recorded = json.dumps(one.recorded, ensure_ascii=False) if form == "csv" else one.recorded
    values = (at, row.actor_name, row.actor_kind, row.actor_id, row.action, row.objects, row.purpose, _case(one), one.id, recorded)
    return dict(zip(COLUMNS, values, strict=True))
