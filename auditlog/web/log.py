"""Owns `/log`: what was signed last, whether all is sealed or what keeps it from being, checkpoints and keys, and how to check them."""

from __future__ import annotations

import math
from typing import Any, Final

from django.http import HttpRequest, HttpResponse

from auditlog.proof import note
from auditlog.search import parameters, sealed
from auditlog.web.access import Access, Right
from auditlog.web.guard import page, show

SHOWN: Final = "20"  # checkpoints of a page
LATE: Final = 60.0  # seconds after which waiting is no longer usual


@page(Right.FIND)
def log(request: HttpRequest, access: Access) -> HttpResponse:
    given = {name: parameters.once(name, values) for name, values in request.GET.lists() if name != "tz" and values != [""]}
    listed = sealed.checkpoints(given, SHOWN)
    head = sealed.log().head()
    keys = sealed.signing_keys()
    waiting, sealer = sealed.standing(access.project.pk)
    following = request.GET.copy()
    following["cursor"] = listed.next or ""
    context = {
        "head": head,
        "signers": _signers(head.note, keys) if head else [],
        "waiting": waiting,
        "late": waiting.lag > LATE,
        "seconds": max(1, math.ceil(waiting.lag)),
        "sealer": sealer,
        "rows": [{"head": one, "anchors": anchors} for one, anchors in listed.rows],
        "next": f"?{following.urlencode()}" if listed.next else None,
        "first": "cursor" not in given,
        "keys": [{"text": one.key.text(), "created_at": one.created_at, "from_size": one.from_size} for one in keys],
        "address": request.build_absolute_uri("/log/v1/"),
    }
    return show(request, access, "log.html", context)


def _signers(text: str, keys: list[sealed.LogKey]) -> list[dict[str, Any]]:
    """Who signed a note, as it says itself; whether the signatures are right is for whoever checks it."""
    _, signatures = note.parse(text)
    known = {one.key.id for one in keys}
    return [{"name": one.name, "id": one.key_id.hex(), "ours": one.key_id in known} for one in signatures]
