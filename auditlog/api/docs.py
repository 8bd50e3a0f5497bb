"""Owns the description of the read API for programs (`/api/v1/schema`) and for people (`/api/v1/docs`), both of one document."""

from __future__ import annotations

import json
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from rest_framework.request import Request
from rest_framework.response import Response

from auditlog.api import schema
from auditlog.api.authentication import key_text
from auditlog.api.views import ReadView
from auditlog.search.scope import Scope
from auditlog.web import zones


class Schema(ReadView):
    """This description, as OpenAPI 3.1."""

    answers = {schema.JSON: {"type": "object", "required": ["openapi", "paths"]}}

    def answer(self, request: Request, scope: Scope, given: dict[str, str], **names: str) -> Response:
        return Response(schema.document())


class Docs(ReadView):
    """This description, as a page. It is rendered on the server: no script of somebody else's, and none inline."""

    answers = {"text/html": {"type": "string"}}

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        # Whoever sends neither key nor cookie is a person who has to log in first.
        if key_text(request) is None and not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        answer: HttpResponseBase = super().dispatch(request, *args, **kwargs)
        return answer

    def answer(self, request: Request, scope: Scope, given: dict[str, str], **names: str) -> HttpResponse:
        plain: HttpRequest = request._request
        return render(plain, "docs.html", {"info": marked(schema.document()["info"]), "operations": operations()} | zones.context(plain))


def code(text: str) -> list[tuple[bool, str]]:
    """A text in parts, and of each whether it stood between backticks."""
    return [(number % 2 == 1, part) for number, part in enumerate(text.split("`"))]


def marked(described: dict[str, Any]) -> dict[str, Any]:
    return described | {"description": code(described["description"])}


def operations() -> list[dict[str, Any]]:
    """The operations as the page shows them."""
    found = []
    for path, methods in schema.document()["paths"].items():
        for method, operation in methods.items():
            parameters = operation.get("parameters", [])
            success = operation["responses"]["200"]["content"]
            found.append(
                {
                    "method": method.upper(),
                    "path": path,
                    "anchor": operation["operationId"],
                    "description": code(operation["description"]),
                    "parameters": [marked(p) | {"type": p["schema"]["type"], "values": p["schema"].get("enum", [])} for p in parameters],
                    "answers": [(media, json.dumps(body["schema"], indent=2)) for media, body in success.items() if body["schema"]],
                    "failures": [(status, code(r["description"])) for status, r in operation["responses"].items() if status != "200"],
                }
            )
    return found
