"""Owns `GET /api/v1/events`, one event as it is understood, and the original exactly as it was sent."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from auditlog.api.rendering import instant
from auditlog.api.views import ReadView, download, given, listed
from auditlog.search import evidence, meaning, original, parameters
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


class EventList(ReadView):
    def get(self, request: Request) -> Response:
        page = evidence.events(self.scope(request), given(request))
        return listed(request, [as_json(stored, meaning.reading(stored)) for stored in page.events], page.next)


class EventDetail(ReadView):
    def get(self, request: Request, public_id: str) -> Response:
        parameters.only(given(request), ())
        stored = evidence.event(self.scope(request), public_id)
        said = meaning.reading(stored)
        body = as_json(stored, said) | {"vocabularies": list(said.dialects) if said else [], "facts": meaning.facts(said)}
        if said is None:
            body |= {"code": getattr(stored.item, "code", None), "message": getattr(stored.item, "message", None)}
        return Response(body)


class EventRaw(ReadView):
    """The original: the OTLP item as OTLP/JSON, the REST event, or its bytes where JSON cannot carry it."""

    def get(self, request: Request, public_id: str) -> HttpResponse:
        parameters.only(given(request), ())
        stored = evidence.event(self.scope(request), public_id)
        data, media_type, suffix = original.of(stored.item)
        return download(data, media_type, f"{stored.id}.{suffix}")
