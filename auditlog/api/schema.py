"""Owns the description of the read API as OpenAPI 3.1: made from the views, so that it cannot say what they do not do."""

from __future__ import annotations

import functools
import inspect
from typing import Any, Final

from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse

from auditlog.web.purpose import CASE, PURPOSE

JSON: Final = "application/json"

_DESCRIPTION: Final = """\
What AI agents were told, saw, thought, called and got back. An API key with the scope `read` sees the evidence of its project, and
nothing of any other. Lists are pages: `next` is the address of the next page, or null after the last one; nothing is counted. All
filters given must be fulfilled. A parameter that is not listed, that is given twice or that cannot be read is answered 400
`parameter_invalid`, never left out. Times are UTC; a day means the whole day."""
_FAILURES: Final = {
    "400": "`parameter_invalid`: a parameter is unknown, given twice, or cannot be read. `detail` names it.",
    "401": "`key_missing`, `key_unknown`, `key_revoked`, `key_expired`",
    "403": "`scope_missing`: the key may not do this; `purpose_required`: the project asks what content is read for",
    "404": "`not_found`: there is no such object in the key's project",
    "409": "`not_sealed_yet`: stored, and sealed within seconds; `log_contradicted`: what is stored is not what was sealed; "
    "`evidence_unreadable`: something that the answer would hold was changed so that it cannot be read; the message says what",
    "503": "`store_unavailable`, `internal`: nothing was lost, ask again",
    "504": "`query_timeout`: nothing was lost; narrow the time range, or add a filter",
}
_REFUSED: Final = {"409": "Nothing was changed: the code and the message say why"}
_ERROR_REF: Final = {"$ref": "#/components/schemas/Error"}
_PATH: Final = {
    "key": "The session's `key`.",
    "public_id": "The event's `id`, 64 hexadecimal digits.",
    "hold": "The hold's `id`.",
    "erasure": "The request's `id`.",
    "reclassification": "The row's `id`.",
    "export": "The export's `id`.",
    "class_no": "The number of a retention class.",
}
_STATED: Final = {
    PURPOSE: "What this is read for, where the project asks for it. All but ASCII percent-encoded as UTF-8, `%` as `%25`.",
    CASE: "The number of a case, where there is one; likewise encoded.",
}


class Described(AutoSchema):
    """One operation, from what its view declares: docstring, `parameters`, `answers`."""

    def get_operation_id(self) -> str:
        return f"{self.view.__class__.__name__}{'Post' if self.method == 'POST' else ''}"

    def get_summary(self) -> str:
        return self._doc().split(". ")[0].rstrip(".")

    def get_description(self) -> str:
        return self._doc()

    def _doc(self) -> str:
        said = self.view.post if self.method == "POST" else self.view.__class__
        return " ".join((inspect.getdoc(said) or "").split())

    def get_tags(self) -> list[str]:
        return [self.path.removeprefix("/api/v1/").split("/")[0]]

    def get_auth(self) -> list[dict[str, list[str]]]:
        return [{"bearer": []}, {"header": []}]

    def get_override_parameters(self) -> list[Any]:
        path = {name: doc for name, doc in _PATH.items() if f"{{{name}}}" in self.path}
        stated = _STATED if self.view.content else {}
        found = [OpenApiParameter(name, str, OpenApiParameter.PATH, description=doc) for name, doc in path.items()]
        found += [OpenApiParameter(name, str, OpenApiParameter.HEADER, description=doc) for name, doc in stated.items()]
        return found + [
            OpenApiParameter(
                name,
                {"type": parameter.type, **({"enum": list(parameter.values)} if parameter.values else {})},
                OpenApiParameter.QUERY,
                description=parameter.doc,
            )
            for name, parameter in ({} if self.method == "POST" else self.view.parameters).items()
        ]

    def get_request_serializer(self) -> Any:
        return {JSON: self.view.takes}

    def get_response_serializers(self) -> dict[Any, Any]:
        found = {JSON: self.view.gives} if self.method == "POST" else self.view.answers
        answers = {("200", media): OpenApiResponse(shape, "What was asked for") for media, shape in found.items()}
        failures = _FAILURES | (_REFUSED if self.method == "POST" else {})
        return answers | {(status, JSON): OpenApiResponse(_ERROR_REF, words) for status, words in failures.items()}


ERROR: Final = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "detail"],
            "properties": {"code": {"type": "string"}, "message": {"type": "string"}, "detail": {"type": "object"}},
        }
    },
}


@functools.cache
def document() -> dict[str, Any]:
    """The whole description."""
    generator: Any = SchemaGenerator  # it has no types
    found: dict[str, Any] = generator(urlconf="auditlog.urls").get_schema(request=None, public=True)
    found["info"] = {"title": "Auditlog read API", "version": "1", "description": " ".join(_DESCRIPTION.split())}
    found["components"] = {
        "schemas": {"Error": ERROR},
        "securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer <key>`"},
            "header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
        },
    }
    return found
