"""Owns `GET /api/v1/events`, one event as it is understood, and the original exactly as it was sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from auditlog.api import shapes
from auditlog.api.rendering import instant
from auditlog.api.schema import JSON
from auditlog.api.views import ReadView, download, listed
from auditlog.derive import missing
from auditlog.search import events, evidence, meaning, original
from auditlog.search.parameters import PAGED
from auditlog.search.scope import Scope
from auditlog.store import fields
from auditlog.store.reader import Stored
from auditlog.vocabulary import Reading


def as_json(stored: Stored, said: Reading | None) -> dict[str, Any]:
    """An event as lists show it: where and when, and its kind, but no content."""
    item = stored.item
    return {
        "id": stored.id,
        "item": meaning.item_name(stored),
        "kind": meaning.kind(said),
        "name": meaning.name(stored),
        "trace_id": (getattr(item, "trace_id", b"") or b"").hex() or None,
        "span_id": (getattr(item, "span_id", b"") or b"").hex() or None,
        "occurred_at": instant(stored.occurred_at),
        "received_at": instant(stored.received_at),
        "batch": str(stored.batch_no),
        "digest": stored.digest.hex(),
    }


def withheld(stored: Stored, requests: Sequence[missing.Request]) -> dict[str, Any]:
    """The fields of which an event shows no value, the requests by which that is, and of how many fields it is by none."""
    return {
        "fields": fields.names(stored.gone),
        "requests": [
            {
                "request": str(one.number),
                "outcome": one.outcome,
                "decided_at": instant(one.decided_at),
                "until": instant(one.until),
                "fields": one.named,
            }
            for one in requests
        ],
        "unaccounted": missing.unaccounted(stored.gone, requests),
    }


class EventList(ReadView):
    """Stored items, oldest first. By when they happened where a filter says of what or from when, else by when they were received.

    A page may hold fewer rows than asked for, even none, and still have a `next`: a search through everything is done in portions.
    """

    parameters = events.PARAMETERS | PAGED
    answers = {JSON: shapes.listed(shapes.EVENT)}

    def answer(self, request: Request, scope: Scope, given: dict[str, str], **names: str) -> Response:
        page = events.page(scope, given)
        return listed(request, [as_json(stored, meaning.reading(stored)) for stored in page.events], page.next)


class EventDetail(ReadView):
    """One stored item, and what it says in the one vocabulary that all instrumentations are translated into."""

    recorded = "event.read"
    content = True
    answers = {JSON: shapes.EVENT_DETAIL}

    def answer(self, request: Request, scope: Scope, given: dict[str, str], **names: str) -> Response:
        stored = evidence.event(scope, names["public_id"])
        said = meaning.reading(stored)
        body = as_json(stored, said) | {"vocabularies": list(said.dialects) if said else [], "facts": meaning.facts(said)}
        body["withheld"] = withheld(stored, evidence.requests(scope, stored))
        if said is None:
            body |= {"code": getattr(stored.item, "code", None), "message": getattr(stored.item, "message", None)}
        return Response(body)


class EventRaw(ReadView):
    """The original: the OTLP item as OTLP/JSON, the REST event as it was sent, or its bytes where JSON cannot carry it."""

    recorded = "event.download"
    content = True
    answers = {JSON: shapes.ANYTHING, "application/octet-stream": shapes.ANYTHING}

    def answer(self, request: Request, scope: Scope, given: dict[str, str], **names: str) -> HttpResponse:
        stored = evidence.event(scope, names["public_id"])
        data, media_type, suffix = original.of(stored.item)
        return download(data, media_type, f"{stored.id}.{suffix}")
