"""Owns compliance exports over the API (`/api/v1/exports`), for keys with the scope `export`."""

from __future__ import annotations

from functools import partial
from typing import Any, Final, Literal

import msgspec
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response

from auditlog.api import shapes
from auditlog.api.authentication import Caller
from auditlog.api.rendering import instant, name_of
from auditlog.api.retention import body
from auditlog.api.schema import JSON
from auditlog.api.views import ReadView, newest_first, number
from auditlog.disclosure import exports
from auditlog.disclosure.exports import Export, Release
from auditlog.search import evidence, parameters
from auditlog.search.bounds import bounded
from auditlog.search.parameters import PAGED
from auditlog.search.scope import Scope
from auditlog.web.exports import recorded_as, zipped

ZIP: Final = "application/zip"


class Wanted(exports.Wanted, frozen=True, forbid_unknown_fields=True):
    """Body of `POST /api/v1/exports`."""


class Turned(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /api/v1/exports/{export}`."""

    do: Literal["pause", "resume", "cancel"]


class Released(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /api/v1/exports/{export}/releases`."""

    recipient: str
    purpose: str
    description: str


TURNS: Final = {"pause": exports.pause, "resume": exports.resume, "cancel": exports.cancel}


def as_json(job: Export) -> dict[str, Any]:
    return {
        "id": str(job.id), "state": job.state, "scope": job.scope, "recipient": job.recipient, "purpose": job.purpose,
        "formats": job.formats, "withheld": len(job.withheld), "client_key": job.client_key,
        "requested_at": instant(job.requested_at), "requested_by": name_of(job.requested_by),
        "progress": {
            "events": job.events, "events_expected": job.expected, "bytes": job.size, "bytes_per_second": job.rate,
            "seconds_left": job.seconds_left,
        },
        "started_at": instant(job.started_at), "finished_at": instant(job.finished_at), "expires_at": instant(job.expires_at),
        "removed_at": instant(job.removed_at), "counts": job.counts,
        "manifest_sha256": job.manifest_sha256 and bytes(job.manifest_sha256).hex(), "error": job.error or None,
        "copied_to": job.copied_to or None, "withdrawn_by": None if job.withdrawn_by is None else str(job.withdrawn_by),
    }  # fmt: skip


def release_json(one: Release) -> dict[str, Any]:
    return {
        "id": str(one.id), "recipient": one.recipient, "purpose": one.purpose, "description": one.description,
        "released_at": instant(one.released_at), "released_by": name_of(one.released_by),
    }  # fmt: skip


class ExportView(ReadView):
    """What all of them share: a key with the scope `export`, which is recorded by what it does."""

    required_scope = "export"

    def caller(self, request: Request) -> Caller:
        caller = request.auth
        assert isinstance(caller, Caller)  # HasScope refuses everybody else
        parameters.only(request.query_params, ())
        return caller


class ExportList(ExportView):
    """Compliance exports of the project, newest first. A key with the scope `export`."""

    http_method_names = ["get", "head", "options", "post"]
    parameters = PAGED
    answers = {JSON: shapes.listed(shapes.EXPORT)}
    takes = shapes.EXPORT_WANTED
    gives = shapes.EXPORT

    def answer(self, request: Request, scope: Scope, given: dict[str, str], **names: str) -> Response:
        rows = partial(exports.listed, evidence.raw_connection(), scope.project_id)
        return newest_first(request, given, rows, lambda one: one.requested_at, as_json)

    def post(self, request: Request) -> Response:
        """Ask for an export. `scope` names one of `everything`, `sessions`, `search`, `hold` and `class`, or only a range by `from` and
        `to`. The same `client_key` again is the same export. Codes: `scope_empty`, `parameter_invalid`, `not_found`; `export_empty` where
        it would hold nothing; `state_conflict` where the `client_key` asked for something else before."""
        caller = self.caller(request)
        wanted = body(request, Wanted)
        return Response(as_json(exports.request(evidence.raw_connection(), caller.actor, caller.project.pk, wanted)))


class ExportDetail(ExportView):
    """One export: its state and progress, and in the end what it holds."""

    http_method_names = ["get", "head", "options", "post"]
    answers = {JSON: shapes.EXPORT}
    takes = shapes.of(do={"type": "string", "enum": list(TURNS)})
    gives = shapes.EXPORT

    def answer(self, request: Request, scope: Scope, given: dict[str, str], **names: str) -> Response:
        return Response(as_json(exports.get(evidence.raw_connection(), scope.project_id, number(names["export"], "export"))))

    def post(self, request: Request, export: str) -> Response:
        """Pause, resume or cancel it. The body is `{"do": "pause"}`. What is complete stays until a cancel. Code: `state_conflict` where
        its state does not allow that."""
        caller = self.caller(request)
        sent = body(request, Turned)
        return Response(as_json(TURNS[sent.do](evidence.raw_connection(), caller.actor, caller.project.pk, number(export, "export"))))


class ExportReleases(ExportView):
    """To whom an export was given, what for, and what was in it, oldest first."""

    http_method_names = ["get", "head", "options", "post"]
    answers = {JSON: shapes.listed(shapes.RELEASE)}
    takes = shapes.of(recipient=shapes.TEXT, purpose=shapes.TEXT, description=shapes.TEXT)
    gives = shapes.RELEASE

    def answer(self, request: Request, scope: Scope, given: dict[str, str], **names: str) -> Response:
        conn = evidence.raw_connection()
        job = exports.get(conn, scope.project_id, number(names["export"], "export"))
        return Response({"results": [release_json(one) for one in exports.releases(conn, [job.id])[job.id]], "next": None})

    def post(self, request: Request, export: str) -> Response:
        """Record a release. The body is `{"recipient", "purpose", "description"}`, none of them empty. Code: `state_conflict` unless the
        export is done."""
        caller = self.caller(request)
        sent = body(request, Released)
        job = number(export, "export")
        conn = evidence.raw_connection()
        made = exports.release(conn, caller.actor, caller.project.pk, job, sent.recipient, sent.purpose, sent.description)
        return Response(release_json(made))


class ExportDownload(ExportView):
    """All of its files as one ZIP, made while it is sent. Each download is recorded. Code: `state_conflict` unless it is done."""

    answers = {ZIP: {"type": "string", "format": "binary"}}

    def get(self, request: Request, **names: str) -> HttpResponseBase:  # type: ignore[override]
        caller = self.caller(request)
        with bounded():
            found = exports.get(evidence.raw_connection(), caller.project.pk, number(names["export"], "export"))
        job = exports.finished(found, "downloaded")
        caller.record("export.download", recorded_as(job))
        return zipped(job)
