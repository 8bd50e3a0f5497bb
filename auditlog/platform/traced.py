"""Owns the middleware that traces pages and reads: by the route that answered, never by the address, which holds what was looked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from auditlog import tracing

QUIET: Final = ("healthz", "readyz", "metrics")  # asked every few seconds by machines


class Traced:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        with tracing.request("GET", request.headers.get) as told:
            response = self._get_response(request)
            match = request.resolver_match
            if match is None or match.url_name in QUIET:  # None: a static file, or no address of ours
                told.forgotten = True
            else:
                method = request.method if request.method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS") else "OTHER"
                told.name = f"{method} /{match.route}"
                told.attributes |= {"http.route": f"/{match.route}", "http.request.method": method}
            told.answered(response.status_code)
            return response
