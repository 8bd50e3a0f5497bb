"""Owns requests of erasure over the API (`/api/v1/erasures`): a key enters and reads them; deciding is a person's, on the page."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import msgspec
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from auditlog.api import shapes
from auditlog.api.rendering import instant, name_of
from auditlog.api.retention import WritingView, body
from auditlog.api.schema import JSON
from auditlog.api.views import ReadView, newest_first, number
from auditlog.retention import erasures
from auditlog.retention.erasures import DUE_DAYS, Asked, Erasure
from auditlog.search import evidence, parameters
from auditlog.search.parameters import PAGED
from auditlog.search.scope import Scope
from auditlog.store import fields
from auditlog.web.access import Right


class Entered(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /api/v1/erasures`."""

    scope: dict[str, str | list[str]]
    reason: str
    basis: str
    asked_by: str
    received_at: str | None = None
    due_at: str | None = None


class ErasureList(WritingView):
    """Requests of erasure, newest first: whom each concerns, how it was decided, and its certificate. Of one that erased something `scope`
    has the names of its filters and no values any more. A key with the scope `admin`."""

    right = Right.GOVERN
    parameters = PAGED
    answers = {JSON: shapes.listed(shapes.ERASURE)}
    takes = shapes.ERASURE_WANTED
    gives = shapes.ERASURE

    @property
    def required_scope(self) -> str:
        return "admin"

    def answer(self, request: Request, scope: Scope, given: dict[str, str], **names: str) -> Response:
        rows = partial(erasures.listed, evidence.raw_connection(), scope.project_id)
        return newest_first(request, given, rows, lambda one: one.entered_at, as_json)

    def post(self, request: Request) -> Response:
        """Enter a request. The body is `{"scope", "reason", "basis", "asked_by", "received_at", "due_at"}`; `scope` is
        `{"events": [IDs]}`, or has at least one of `session_id`, `trace_id`, `subject`, `user_id`, `customer_id`. `received_at` is now
        without it, and `due_at` 30 days later. Nothing is erased: a person decides, on the page, and the owner of the database carries it
        out. A key with the scopes `read` and `admin`. Codes: `scope_empty`, `parameter_invalid`."""
        caller = self.caller(request)
        sent = body(request, Entered)
        received = timezone.now() if sent.received_at is None else parameters.moment("received_at", sent.received_at)
        due = received + timedelta(days=DUE_DAYS) if sent.due_at is None else parameters.moment("due_at", sent.due_at)
        asked = Asked(sent.scope, sent.reason, sent.basis, sent.asked_by, received, due)
        return Response(as_json(erasures.request(evidence.raw_connection(), caller.actor, caller.project.pk, asked)))


class ErasureDetail(ReadView):
    """One request. A key with the scope `admin`."""

    right, required_scope = Right.GOVERN, "admin"
    answers = {JSON: shapes.ERASURE}

    def answer(self, request: Request, scope: Scope, given: dict[str, str], **names: str) -> Response:
        return Response(as_json(erasures.get(evidence.raw_connection(), scope.project_id, number(names["erasure"], "request"))))


class ErasurePreview(ReadView):
    """What an open request would be about at this moment: how many records, which of their fields, and which holds stand in the way.
    Changes nothing. `unreadable`: items of the project that could not be read, of which nobody can say whom they concern. Codes:
    `derive_behind` while something is not understood yet, `state_conflict` where it is decided. A key with the scope `admin`."""

    right, required_scope = Right.GOVERN, "admin"
    answers = {JSON: shapes.ERASURE_PREVIEW}

    def answer(self, request: Request, scope: Scope, given: dict[str, str], **names: str) -> Response:
        conn = evidence.raw_connection()
        found = erasures.preview(conn, erasures.get(conn, scope.project_id, number(names["erasure"], "request")))
        held = [{**one, "hold": str(one["hold"])} for one in found["holds"]]
        return Response(found | {"erasure": str(found["erasure"]), "holds": held})


def as_json(one: Erasure) -> dict[str, Any]:
    return {
        "id": str(one.id),
        "state": one.state,
        "scope": one.scope,
        "reason": one.reason,
        "basis": one.basis,
        "asked_by": one.asked_by,
        "received_at": instant(one.received_at),
        "due_at": instant(one.due_at),
        "entered_at": instant(one.entered_at),
        "entered_by": name_of(one.entered_by),
        "outcome": one.outcome,
        "fields": None if one.fields is None else fields.names(one.fields),
        "until": instant(one.until),
        "outcome_reason": one.outcome_reason,
        "decided_at": instant(one.decided_at),
        "decided_by": name_of(one.decided_by),
        "certificate": one.certificate,
        "lifted_at": instant(one.lifted_at),
        "lifted_by": name_of(one.lifted_by),
        "lift_reason": one.lift_reason,
    }
