"""Owns `/api/v1/reclassifications`: what is kept as a longer class says, made and listed."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
from rest_framework.request import Request
from rest_framework.response import Response

from auditlog.api import shapes
from auditlog.api.rendering import instant, name_of
from auditlog.api.retention import WritingView, body
from auditlog.api.schema import JSON
from auditlog.api.views import ReadView, newest_first, number
from auditlog.retention import reclassify
from auditlog.search import evidence
from auditlog.search.parameters import PAGED
from auditlog.search.scope import Scope


class Wanted(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /api/v1/reclassifications`."""

    reason: str
    scope: dict[str, str]
    class_no: int = msgspec.field(name="class")


class ReclassificationList(WritingView):
    """What is kept as a longer class says, wherever it lies: newest first, what was ended too."""

    parameters = PAGED
    answers = {JSON: shapes.listed(shapes.RECLASSIFICATION)}
    takes = shapes.RECLASSIFICATION_WANTED
    gives = shapes.RECLASSIFICATION

    def answer(self, request: Request, scope: Scope, given: dict[str, str], **names: str) -> Response:
        rows = partial(reclassify.listed, evidence.raw_connection(), scope.project_id)
        return newest_first(request, given, rows, lambda one: one.made_at, _as_json)

    def post(self, request: Request) -> Response:
        """Keep what matches as a class says, where its own says less. The body is `{"class", "reason", "scope"}`; `scope` has filters of
        `GET /api/v1/sessions`, at least one. What comes later and matches is kept, too. A key with the scopes `read` and `admin`. Codes:
        `scope_empty`, `parameter_invalid`, `not_found` for a class that is not in force; `overloaded` where something is being disposed of
        at this moment: send it again."""
        caller = self.caller(request)
        sent = body(request, Wanted)
        conn = evidence.raw_connection()
        return Response(_as_json(reclassify.make(conn, caller.actor, caller.project.pk, sent.class_no, sent.reason, sent.scope)))


class ReclassificationDetail(ReadView):
    """One of them. It is ended by a second person, on the page or by command."""

    answers = {JSON: shapes.RECLASSIFICATION}

    def answer(self, request: Request, scope: Scope, given: dict[str, str], **names: str) -> Response:
        found = reclassify.get(evidence.raw_connection(), scope.project_id, number(names["reclassification"], "reclassification"))
        return Response(_as_json(found))


def _as_json(found: reclassify.Reclassified) -> dict[str, Any]:
    return {
        "id": str(found.id),
        "class": found.class_no,
        "reason": found.reason,
        "scope": found.scope,
        "made_at": instant(found.made_at),
        "made_by": name_of(found.made_by),
        "ended_at": instant(found.ended_at),
        "ended_by": name_of(found.ended_by),
        "end_reason": found.end_reason,
    }
