"""Owns when a login ends by itself: after a time without a request, and after a time from the login, whatever happened since."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse

from auditlog import conf

NOTED_EVERY: Final = 60  # seconds: reading pages must not write a session each time
_SEEN: Final = "seen"
_BEGAN: Final = "began"


class Expiry:
    """Middleware. The session's own age is the same length, so that the cookie of a closed browser goes, too."""

    def __init__(self, answer: Callable[[HttpRequest], HttpResponse]) -> None:
        self._answer = answer
        self._idle = int(conf.get("AUDITLOG_SESSION_IDLE"))
        self._longest = int(conf.get("AUDITLOG_SESSION_LENGTH"))

    def __call__(self, request: HttpRequest) -> HttpResponse:
        session = request.session
        if session.get("_auth_user_id"):
            now = int(time.time())
            began, seen = session.setdefault(_BEGAN, now), session.get(_SEEN, now)
            if now - seen >= self._idle or now - began >= self._longest:
                logout(request)
            elif _SEEN not in session or now - seen >= min(NOTED_EVERY, self._idle // 2):
                session[_SEEN] = now
        return self._answer(request)
