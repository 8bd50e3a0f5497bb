"""Owns what every view of the read API shares: who may call it, its answer's form, and the parameters of its address."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar, TypeVar

from django.http import HttpResponse
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from auditlog.api.authentication import BrowserAuthentication, Caller, HasScope, KeyAuthentication
from auditlog.api.rendering import VerbatimJSONRenderer
from auditlog.api.schema import Described
from auditlog.errors import Problem
from auditlog.governance import Action
from auditlog.search import cursor, parameters
from auditlog.search.bounds import bounded
from auditlog.search.parameters import Parameter
from auditlog.search.scope import Scope
from auditlog.web.access import Right

T = TypeVar("T")


class AlwaysJSON(BaseContentNegotiation):
    """There is one form of answer, so that no header and no parameter can choose another."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        return renderers[0], renderers[0].media_type


class ReadView(APIView):
    """A view that reads. Its project is the caller's, always; its parameters are those that it names, and no others."""

    authentication_classes = (KeyAuthentication, BrowserAuthentication)
    permission_classes = (HasScope,)
    renderer_classes = (VerbatimJSONRenderer,)
    content_negotiation_class = AlwaysJSON
    http_method_names = ["get", "head", "options"]
    schema = Described()

    parameters: ClassVar[Mapping[str, Parameter]] = {}
    right: ClassVar[Right | None] = None  # what a person needs besides content
    recorded: ClassVar[Action | None] = None  # what an answer with content is recorded as; an error shows none
    content: ClassVar[bool | tuple[str, ...]] = False  # whether an answer says what was said: always, or with one of these parameters
    answers: ClassVar[Mapping[str, Any]] = {}  # media type to JSON schema, for the reference
    takes: ClassVar[Any] = None  # JSON schema of what a POST sends and, below, of its answer; for the reference too
    gives: ClassVar[Any] = None

    def get(self, request: Request, **names: str) -> HttpResponse:
        caller = request.auth
        assert isinstance(caller, Caller)  # HasScope refuses everybody else
        if self.right is not None:
            caller.need(self.right)
        found = given(request)
        parameters.only(found, self.parameters)
        content = self.content if isinstance(self.content, bool) else any(name in found for name in self.content)
        caller = caller.stating(request.headers, content=content)
        with bounded():
            response = self.answer(request, Scope(caller.project.pk), found, **names)
        if self.recorded is not None:
            caller.record(self.recorded, {"path": request.path, "parameters": found})
        return response

    def answer(self, request: Request, scope: Scope, given: dict[str, str], **names: str) -> HttpResponse:
        """The answer to a caller who may, from one project, by parameters that all exist."""
        raise NotImplementedError

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        response.headers["Cache-Control"] = "no-store"  # evidence does not stay behind in a cache
        return response


def given(request: Request) -> dict[str, str]:
    """The query string: each parameter once, and with a value."""
    found = {name: parameters.once(name, values) for name, values in request.query_params.lists()}
    for name, value in found.items():
        if not value and name != "cursor":  # left out it would mean everything, and nobody can have meant that
            raise parameters.invalid(name[:64], "is empty; give it a value, or leave it out.")
    return found


def number(text: str, what: str) -> int:
    """The number of an object in an address. Raises Problem("not_found") for what is none: no such object can be there."""
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Problem("not_found", f"There is no such {what} in this project.")
    return int(text)


def listed(request: Request, results: list[Any], following: str | None) -> Response:
    """One page of a list: {"results", "next"}."""
    if following is None:
        return Response({"results": results, "next": None})
    query = request.query_params.copy()
    query["cursor"] = following
    return Response({"results": results, "next": request.build_absolute_uri(f"{request.path}?{query.urlencode()}")})


def newest_first(
    request: Request, given: Mapping[str, str], rows: Callable[[int | None, int], list[T]], at: Callable[[T], datetime],
    shown: Callable[[T], dict[str, Any]],
) -> Response:  # fmt: skip
    """One page of a list by numbers (`id`), falling. rows: those below a number, at most so many; at: a row's time, for the cursor."""
    count = parameters.limit(given.get("limit"))
    found = rows(cursor.below(given), count + 1)
    last: Any = found[count - 1] if len(found) > count else None
    return listed(request, [shown(row) for row in found[:count]], last and cursor.encode(at(last), str(last.id)))


def download(data: bytes, media_type: str, name: str) -> HttpResponse:
    """Stored bytes as an attachment that no browser may interpret."""
    response = HttpResponse(data, content_type=media_type)
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    return response
