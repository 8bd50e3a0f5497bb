"""Owns `GET /metrics`: the metrics of every process as Prometheus text, for whoever has a key with the scope `admin`.

They count for all projects together, so that a key that reads one project does not see them, and nobody does without a key.
"""

from __future__ import annotations

import time
from typing import Any, Final

from django.db import InterfaceError, OperationalError
from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.views import APIView

from auditlog import conf, keys
from auditlog.api.authentication import Caller, HasScope, KeyAuthentication, key_text
from auditlog.api.views import AlwaysJSON
from auditlog.errors import Problem
from auditlog.platform import exposition

GOOD_FOR: Final = 600.0  # seconds that a key which was good still reads metrics while the database is away: that is when they are needed
_MOST: Final = 100


class ScraperAuthentication(KeyAuthentication):
    """As everywhere, but for the time in which nobody can be asked."""

    good: Final[dict[bytes, tuple[Caller, float]]] = {}

    def authenticate(self, request: Request) -> tuple[None, Caller] | None:
        digest = keys.digest(key_text(request) or "")
        try:
            found = super().authenticate(request)
        except (OperationalError, InterfaceError):
            caller, until = self.good.get(digest, (None, 0.0))
            if caller is None or until < time.monotonic():
                raise
            return None, caller
        except Problem:
            self.good.pop(digest, None)
            raise
        if found is not None:
            if len(self.good) >= _MOST:
                self.good.clear()
            self.good[digest] = found[1], time.monotonic() + GOOD_FOR
        return found


class Metrics(APIView):
    """Prometheus text."""

    authentication_classes = (ScraperAuthentication,)
    permission_classes = (HasScope,)
    content_negotiation_class = AlwaysJSON
    required_scope = "admin"
    http_method_names = ["get", "head"]
    schema = None  # it belongs to the service and not to the read API

    def get(self, request: Request, **_: Any) -> HttpResponse:
        answers = exposition.gather(conf.get("AUDITLOG_DATA") / "metrics")
        return HttpResponse(exposition.text(answers), content_type=exposition.CONTENT_TYPE, headers={"Cache-Control": "no-store"})
