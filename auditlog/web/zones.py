"""Owns the time zone in which a reader reads: a parameter of the address, else what the reader chose last, else UTC."""

from __future__ import annotations

import re
from datetime import UTC, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.http import HttpRequest
from django.http.response import HttpResponseBase

COOKIE: Final = "tz"
_FORM: Final = re.compile(r"[A-Za-z0-9_+\-]{1,32}(/[A-Za-z0-9_+\-]{1,32}){0,2}", re.ASCII)
OFFERED: Final = (
    "UTC", "Europe/London", "Europe/Zurich", "Europe/Berlin", "Europe/Paris", "Europe/Athens", "America/New_York", "America/Chicago",
    "America/Denver", "America/Los_Angeles", "America/Sao_Paulo", "Africa/Johannesburg", "Asia/Dubai", "Asia/Kolkata", "Asia/Singapore",
    "Asia/Shanghai", "Asia/Tokyo", "Australia/Sydney",
)  # fmt: skip


def named(name: str) -> tzinfo | None:
    """The zone of this name, or None: the name comes from outside and must not become a path."""
    if name == "UTC":
        return UTC
    if not _FORM.fullmatch(name):
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def context(request: HttpRequest) -> dict[str, Any]:
    """What every page knows of the reader's zone."""
    for name in (request.GET.get("tz"), request.COOKIES.get(COOKIE)):
        if name and (zone := named(name)) is not None:
            return {"zone": zone, "zone_name": name, "zones": OFFERED}
    return {"zone": UTC, "zone_name": "UTC", "zones": OFFERED}


def remember(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    name = request.GET.get("tz")
    if name and named(name) is not None:
        response.set_cookie(COOKIE, name, max_age=365 * 24 * 3600, httponly=True, samesite="Lax", secure=request.is_secure())
    return response
