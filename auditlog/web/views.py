"""Owns the pages of stored records: one event, and what could not be read; each asks the same modules as the API."""

from __future__ import annotations

from typing import Final

from django.http import HttpRequest, HttpResponse

from auditlog.derive.missing import unaccounted
from auditlog.search import evidence, meaning, original, quarantine, sealed
from auditlog.search.scope import Scope
from auditlog.store import fields
from auditlog.web import jsontext, present
from auditlog.web.access import Access, Right
from auditlog.web.guard import page, show

RAW_SHOWN: Final = 200_000  # characters of an original on the event page; all of it is a download away


@page(Right.CONTENT)
def event(request: HttpRequest, access: Access, public_id: str) -> HttpResponse:
    scope = Scope(access.project.pk)
    stored = evidence.event(scope, public_id)
    access.record("event.view", event=stored.id)
    said = meaning.reading(stored)
    data, media_type, _ = original.of(stored.item)
    raw = None
    if media_type == "application/json":
        try:
            raw = jsontext.indented(jsontext.parse(data.decode("utf-8")))
        except ValueError:
            raw = data.decode("utf-8", "replace")
    requests = evidence.requests(scope, stored)
    facts = [{"kind": fact.pop("kind"), "block": present.block(fact)} for fact in meaning.facts(said)]
    context = {
        "stored": stored,
        "item": meaning.item_name(stored),
        "kind": meaning.kind(said).replace("_", " "),
        "name": meaning.name(stored),
        "trace_id": (getattr(stored.item, "trace_id", b"") or b"").hex(),
        "span_id": (getattr(stored.item, "span_id", b"") or b"").hex(),
        "session_key": evidence.session_of(scope, stored),
        "digest": stored.digest.hex(),
        "sealed": sealed.place_in_log(stored.batch_no, stored.bucket),
        "missing": fields.names(stored.gone),
        "requests": requests,
        "unaccounted": unaccounted(stored.gone, requests),
        "facts": facts,
        "raw": None if raw is None else raw[:RAW_SHOWN],
        "cut": raw is not None and len(raw) > RAW_SHOWN,
        "size": len(data),
        "reason": getattr(stored.item, "message", "") if said is None else "",
    }
    return show(request, access, "event.html", context)


@page(Right.FIND, content=True)
def unreadable(request: HttpRequest, access: Access) -> HttpResponse:
    """`/quarantine`: what arrived and could not be decoded, with the reason and what to do at the sender."""
    content = Right.CONTENT in access.rights
    found = quarantine.page(Scope(access.project.pk), {name: str(value) for name, value in request.GET.items() if name != "tz" and value})
    if found.rows and content:
        access.record("quarantine.view", events=[row.id for row in found.rows])
    following = request.GET.copy()
    following["cursor"] = found.next or ""
    context = {
        "rows": found.rows,
        "codes": found.codes,
        "code": request.GET.get("code", ""),
        "next": f"?{following.urlencode()}" if found.next else None,
        "first": not request.GET.get("cursor"),
    }
    return show(request, access, "quarantine.html", context)
