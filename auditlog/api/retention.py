"""Owns legal holds (`/api/v1/holds`) and retention classes (`GET /api/v1/retention-classes`)."""

from __future__ import annotations

from functools import partial
from typing import Any, TypeVar

import msgspec
from rest_framework.request import Request
from rest_framework.response import Response

from auditlog.api import shapes
from auditlog.api.authentication import Caller
from auditlog.api.rendering import instant, name_of
from auditlog.api.schema import JSON
from auditlog.api.views import ReadView, newest_first, number
from auditlog.errors import Problem
from auditlog.retention import classes, holds
from auditlog.search import evidence, parameters
from auditlog.search.bounds import bounded
from auditlog.search.parameters import PAGED
from auditlog.search.scope import Scope

T = TypeVar("T")


class Placed(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /api/v1/holds`."""

    name: str
    reason: str
    scope: dict[str, str]


class Released(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /api/v1/holds/{hold}`."""

    release_reason: str


def as_json(hold: holds.Hold) -> dict[str, Any]:
    return {
        "id": str(hold.id),
        "name": hold.name,
        "reason": hold.reason,
        "scope": hold.scope,
        "placed_at": instant(hold.placed_at),
        "placed_by": name_of(hold.placed_by),
        "released_at": instant(hold.released_at),
        "released_by": name_of(hold.released_by),
        "release_reason": hold.release_reason,
    }


def with_count(hold: holds.Hold) -> dict[str, Any]:
    """With how many sessions it holds now."""
    with bounded():
        count = holds.count(hold) if hold.released_at is None else 0
    return as_json(hold) | {"sessions": count, "more_sessions": count == holds.COUNTED}


def body(request: Request, form: type[T]) -> T:
    """What was sent, in its form. Raises Problem("parameter_invalid"); the message names members and types, never content."""
    try:
        return msgspec.json.decode(request._request.body, type=form)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem("parameter_invalid", f"The body cannot be read: {error}. Send the JSON object that this address takes.") from None


class WritingView(ReadView):
    """A view that also changes something, for a key with the scope `admin`."""

    http_method_names = ["get", "head", "options", "post"]

    @property
    def required_scope(self) -> str:
        return "admin" if self.request.method == "POST" else "read"

    def caller(self, request: Request) -> Caller:
        caller = request.auth
        assert isinstance(caller, Caller)  # HasScope refuses everybody else
        parameters.only(request.query_params, ())
        if "read" not in caller.scopes:  # how many sessions match is told, and may not be guessed by
            raise Problem("scope_missing", "This takes a key with both scopes, `read` and `admin`.")
        return caller


class HoldList(WritingView):
    """Legal holds of the project, newest first, released ones too. What a hold's filters match is neither disposed of nor erased."""

    parameters = PAGED
    answers = {JSON: shapes.listed(shapes.HOLD)}
    takes = shapes.of(name=shapes.TEXT, reason=shapes.TEXT, scope=shapes.FILTERS)
    gives = shapes.HOLD_COUNTED

    def answer(self, request: Request, scope: Scope, given: dict[str, str], **names: str) -> Response:
        rows = partial(holds.listed, evidence.raw_connection(), scope.project_id)
        return newest_first(request, given, rows, lambda one: one.placed_at, as_json)

    def post(self, request: Request) -> Response:
        """Place a hold. The body is `{"name", "reason", "scope"}`; `scope` has filters of `GET /api/v1/sessions`, at least one. From the
        answer on nothing that matches can go, nor what will match later. A key with the scopes `read` and `admin`. Codes: `scope_empty`,
        `parameter_invalid`; `overloaded` where something is being disposed of at this moment: send it again."""
        caller = self.caller(request)
        sent = body(request, Placed)
        made = holds.place(evidence.raw_connection(), caller.actor, caller.project.pk, sent.name, sent.reason, sent.scope)
        return Response(with_count(made))


class HoldDetail(WritingView):
    """One hold, with the number of sessions that it holds now, counted up to 10,000."""

    answers = {JSON: shapes.HOLD_COUNTED}
    takes = shapes.of(release_reason=shapes.TEXT)
    gives = shapes.HOLD_COUNTED

    def answer(self, request: Request, scope: Scope, given: dict[str, str], **names: str) -> Response:
        return Response(with_count(holds.get(evidence.raw_connection(), scope.project_id, number(names["hold"], "hold"))))

    def post(self, request: Request, hold: str) -> Response:
        """Release a hold. The body is `{"release_reason"}`. What another hold holds stays held. A key with the scopes `read` and `admin`.
        Code: `state_conflict` where it was released before."""
        caller = self.caller(request)
        sent = body(request, Released)
        found = holds.release(evidence.raw_connection(), caller.actor, caller.project.pk, number(hold, "hold"), sent.release_reason)
        return Response(with_count(found))


class RetentionClasses(ReadView):
    """Every version of every retention class, and which are in force. A version never changes; in force is the highest approved one."""

    answers = {JSON: shapes.listed(shapes.RETENTION_CLASS)}

    def answer(self, request: Request, scope: Scope, given: dict[str, str], **names: str) -> Response:
        found = classes.versions(evidence.raw_connection())
        in_force = {one.class_no: one.version for one in found if one.in_force_at is not None}
        rows = [
            {
                "class": one.class_no,
                "version": one.version,
                "name": one.name,
                "days": one.days,
                "clock": one.clock,
                "clock_of": one.clock_of,
                "floor_days": one.floor_days,
                "basis": one.basis,
                "second_person": one.second_person,
                "created_at": instant(one.created_at),
                "in_force": in_force.get(one.class_no) == one.version,
                "in_force_at": instant(one.in_force_at),
            }
            for one in found
        ]
        return Response({"results": rows, "next": None})
