"""Owns the one shape of an error in the API: {"error": {"code", "message", "detail"}}. A message never quotes stored content."""

from __future__ import annotations

import logging
from typing import Any

from django.core.exceptions import DisallowedHost, PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from rest_framework import exceptions
from rest_framework.response import Response

from auditlog.errors import Problem

log = logging.getLogger(__name__)


def body(problem: Problem) -> dict[str, Any]:
    return {"error": {"code": problem.code, "message": problem.message, "detail": problem.detail}}


def headers(problem: Problem) -> dict[str, str]:
    found = {}
    if problem.kind.http == 401:
        found["WWW-Authenticate"] = 'Bearer realm="auditlog"'
    if problem.retry_after is not None:
        found["Retry-After"] = str(problem.retry_after)
    return found


def to_problem(error: BaseException) -> Problem:
    """What any exception of a view says to the outside."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, Http404 | exceptions.NotFound):
        return Problem("not_found", "There is no such object in this project.")
    if isinstance(error, exceptions.MethodNotAllowed):
        return Problem("method_not_allowed", "This address does not take this method; docs/reference/api.md says which.")
    if isinstance(error, exceptions.NotAuthenticated | exceptions.AuthenticationFailed):
        return Problem("key_missing", "Send an API key as `Authorization: Bearer <key>` or `x-api-key: <key>`.")
    if isinstance(error, exceptions.PermissionDenied | PermissionDenied):
        return Problem("scope_missing", "This caller may not do that.")
    if isinstance(error, DisallowedHost):
        return Problem("parameter_invalid", "This host name is not one of AUDITLOG_ALLOWED_HOSTS.")
    if isinstance(error, exceptions.NotAcceptable):
        return Problem("parameter_invalid", "The answer is JSON; send `Accept: application/json`.")
    if isinstance(error, exceptions.APIException) and error.status_code < 500:
        return Problem("parameter_invalid", "The request cannot be read.")
    if isinstance(error, OperationalError | InterfaceError):
        log.warning("api.store_unavailable", extra={"error_kind": type(error).__name__})
        return Problem("store_unavailable", "The database is not answering. Nothing was lost; ask again in a moment.")
    log.error("api.internal", exc_info=error)
    return Problem("internal", "The service failed to answer. Nothing was lost; the failure is in its log.")


def handler(error: Exception, _context: dict[str, Any]) -> Response:
    """REST framework's exception handler."""
    problem = to_problem(error)
    return Response(body(problem), status=problem.kind.http, headers=headers(problem))


def plain(problem: Problem) -> JsonResponse:
    """The same answer outside REST framework's views."""
    return JsonResponse(body(problem), status=problem.kind.http, headers=headers(problem))


@csrf_exempt
@never_cache
def no_such_path(_request: HttpRequest, **_: Any) -> JsonResponse:
    """Any path under /api/ that is not there: JSON, and never a redirect."""
    return plain(Problem("not_found", "There is no such address in the API. See docs/reference for what there is."))
