"""Owns what the read API says of the sealed log: its checkpoints, the proof of an event, and the log as files (C2SP tlog-tiles)."""

from __future__ import annotations

import base64
from typing import Any, Final

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from rest_framework.request import Request
from rest_framework.response import Response

from auditlog import conf
from auditlog.api import errors, shapes
from auditlog.api.authentication import KeyAuthentication, key_text
from auditlog.api.rendering import instant
from auditlog.api.schema import JSON
from auditlog.api.views import ReadView, listed
from auditlog.errors import Problem
from auditlog.proof import merkle, tiles
from auditlog.seal.log import Contradiction, Head
from auditlog.search import sealed
from auditlog.search.bounds import bounded
from auditlog.search.parameters import PAGED
from auditlog.search.scope import Scope
from auditlog.web.access import access_of

_FOR_GOOD: Final = "max-age=31536000, immutable"


def _checkpoint(head: Head) -> dict[str, Any]:
    return {"size": head.size, "root": head.root.hex(), "note": head.note, "signed_at": instant(head.signed_at)}


class CheckpointList(ReadView):
    """Signed statements of the log's size and root, newest first, each with what others said of it. The log is one for all projects."""

    parameters = PAGED
    answers = {JSON: shapes.listed(shapes.CHECKPOINT)}

    def answer(self, request: Request, scope: Scope, given: dict[str, str], **names: str) -> Response:
        page = sealed.checkpoints(given)
        rows = [
            _checkpoint(head)
            | {"anchors": [{"kind": one.kind, "name": one.name, "anchored_at": instant(one.anchored_at)} for one in anchors]}
            for head, anchors in page.rows
        ]
        return listed(request, rows, page.next)


class EventProof(ReadView):
    """What proves an event to somebody who trusts nobody here: from its digest to a signed checkpoint. Not sealed yet: 409."""

    recorded = "event.proof"
    answers = {JSON: shapes.PROOF}

    def answer(self, request: Request, scope: Scope, given: dict[str, str], **names: str) -> Response:
        return Response(as_json(names["public_id"], sealed.proof(scope, names["public_id"])))


def as_json(public_id: str, found: sealed.Proof) -> dict[str, Any]:
    """Hashes are hex; with the paths, `docs/concepts.md` says how to check it by hand."""
    part, leaf = found.part, found.sealed
    return {
        "id": public_id,
        "digest": found.digest.hex(),
        "part": {
            "batch": str(part.batch),
            "bucket": part.bucket,
            "count": part.events,
            "index": found.part_index,
            "path": [step.hex() for step in found.part_path],
        },
        "leaf": {
            "index": leaf.leaf_index,
            "entry": leaf.entry.decode("ascii"),
            "hash": merkle.leaf_hash(leaf.entry).hex(),
            "path": [step.hex() for step in leaf.path],
        },
        "checkpoint": _checkpoint(leaf.head),
        "keys": [
            {
                "name": one.key.name,
                "public_key": base64.b64encode(one.key.public).decode(),
                "created_at": instant(one.created_at),
                "from_size": one.from_size,
            }
            for one in sealed.signing_keys()
        ],
    }


# -- the log as files, for witnesses and for tools of others


@require_safe
def checkpoint(request: HttpRequest) -> HttpResponse:
    """The newest checkpoint, the whole signed note."""
    return _file(request, None)


@require_safe
def tile(request: HttpRequest, name: str) -> HttpResponse:
    """A tile of hashes, or a bundle of entries."""
    return _file(request, name)


def _file(request: HttpRequest, name: str | None) -> HttpResponse:
    try:
        _allow(request)
        with bounded():
            response = _newest() if name is None else _tile(name)
    except (Problem, OperationalError, InterfaceError) as error:
        response = errors.plain(errors.to_problem(error))
        response["Cache-Control"] = "no-store"
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _allow(request: HttpRequest) -> None:
    """A key that reads, a member who is logged in, or everybody where the operator says so. Raises Problem."""
    if conf.get("AUDITLOG_LOG_PUBLIC"):
        return
    if key_text(request) is not None:
        found = KeyAuthentication().authenticate(request)
        if found is None or "read" not in found[1].scopes:
            raise Problem("scope_missing", "This API key has not the scope `read`. Use a key that has it.")
    elif access_of(request) is None:
        raise Problem("key_missing", "Send an API key as `Authorization: Bearer <key>` or `x-api-key: <key>`.")


def _newest() -> HttpResponse:
    store = sealed.log()
    head = store.head()
    if head is None:
        raise Problem("not_found", "Nothing is sealed yet, so that there is no checkpoint.")
    return HttpResponse(store.cosigned(head), content_type="text/plain; charset=utf-8", headers={"Cache-Control": "no-cache"})


def _tile(name: str) -> HttpResponse:
    named, log = tiles.read(name), sealed.log(remembering=False)
    head = log.head()
    try:
        data = log.tile(named, head.size) if named and head else None
    except Contradiction as error:
        raise sealed.contradicted(str(error)) from error
    if data is None:
        raise Problem("not_found", "The log has no such tile, or not yet. Its addresses are those of c2sp.org/tlog-tiles.")
    scope = "public" if conf.get("AUDITLOG_LOG_PUBLIC") else "private"
    return HttpResponse(data, content_type="application/octet-stream", headers={"Cache-Control": f"{scope}, {_FOR_GOOD}"})
