"""Owns the pages for what no view answers: no such address, a request that cannot be read or trusted, and our own failures."""

from __future__ import annotations

from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse

from auditlog.errors import Problem
from auditlog.web.guard import failure


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Django's handler404."""
    return failure(request, Problem("not_found", "There is no page at this address."))


def unreadable(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Django's handler400: among others a name of this host that nobody allowed."""
    foreign = isinstance(exception, DisallowedHost)
    said = "This host name is not one of AUDITLOG_ALLOWED_HOSTS." if foreign else "The request cannot be read."
    return failure(_of_nobody(request), Problem("parameter_invalid", said))


def forged(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Django's CSRF_FAILURE_VIEW."""
    said = "This form is too old, or it was not made here. Nothing was changed; go back, load the page again and repeat."
    return failure(_of_nobody(request), Problem("scope_missing", said))


def broken(request: HttpRequest) -> HttpResponse:
    """Django's handler500: says nothing of what went wrong, which is in the log."""
    said = "This page could not be made. Nothing was lost; the failure is in the service's log."
    return failure(_of_nobody(request), Problem("internal", said))


def _of_nobody(request: HttpRequest) -> HttpRequest:
    """Such a page must not ask who is logged in: the database may be what failed, or the request was refused before anybody looked."""
    request.user = AnonymousUser()
    return request
