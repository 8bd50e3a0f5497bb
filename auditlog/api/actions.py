"""Owns `GET /api/v1/actions`: one row per tool call, which is how "$400, ACME-2024, in March" is found."""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from auditlog.api import shapes
from auditlog.api.rendering import instant
from auditlog.api.schema import JSON
from auditlog.api.views import ReadView, listed
from auditlog.derive.models import Action
from auditlog.search import actions, spoken
from auditlog.search.parameters import PAGED
from auditlog.search.scope import Scope
from auditlog.web.links import step_address


def as_json(row: Action, said: spoken.Spoken, moved: list[actions.Amount], around: actions.Around | None) -> dict[str, Any]:
    return {
        "session": row.session_key,
        "session_id": around.session_id if around else None,
        "step": row.step,
        "tool": row.tool,
        "call_id": row.call_id,
        "outcome": row.outcome,
        "offered": row.offered,
        "arguments_valid": row.arguments_valid,
        "occurred_at": instant(row.occurred_at),
        "ended_at": instant(row.ended_at),
        "arguments": said.arguments,
        "result": said.result,
        "error": said.error,
        "cut": said.cut,
        "amounts": [
            {"amount": format(one.amount.normalize(), "f"), "currency": one.currency, "side": one.side, "pointer": one.pointer}
            for one in moved
        ],
        "subjects": [{"kind": kind, "value": value} for kind, value in (around.subjects if around else ())],
        "agent": around.agent if around else {"name": None, "version": None},
        "event_ids": row.event_ids,
    }


class ActionList(ReadView):
    """Tool calls that fulfil every filter given, newest first, each with the address of the page that shows the very step."""

    parameters = actions.PARAMETERS | PAGED
    recorded = "actions.read"
    content = True
    answers = {JSON: shapes.listed(shapes.ACTION)}

    def answer(self, request: Request, scope: Scope, given: dict[str, str], **names: str) -> Response:
        page = actions.page(scope, given)
        said, moved, around = spoken.spoken(scope, page.rows), actions.amounts(scope, page.rows), actions.around(scope, page.rows)
        rows = []
        for row in page.rows:
            place = (row.session_key, row.step)
            found = as_json(row, said[place], moved.get(place, []), around.get(row.session_key))
            rows.append(found | {"page": request.build_absolute_uri(step_address(row.session_key, row.step))})
        return listed(request, rows, page.next)
