"""Owns the page of one decision: the document of a session, page by page."""

from __future__ import annotations

import json
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from auditlog.derive.read import SessionFacts
from auditlog.errors import Problem
from auditlog.search import evidence, explain, versions
from auditlog.search.scope import Scope
from auditlog.web import present, redact, waterfall
from auditlog.web.access import Access, Right
from auditlog.web.guard import page, show
from auditlog.web.links import step_href


def wanted_page(text: str) -> int:
    """The number of a page as an address says it; what is none means the first."""
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 6 else 1


@page(Right.FIND, content=True)
def session(request: HttpRequest, access: Access, key: str) -> HttpResponse:
    scope = Scope(access.project.pk)
    facts = evidence.session(scope, key)
    if facts.key != key:
        return HttpResponseRedirect(reverse("session", args=[facts.key]))
    content = Right.CONTENT in access.rights
    number = wanted_page(request.GET.get("page", "1"))
    access.record("session.view", session=facts.key, content=content, **({"page": number} if number > 1 else {}))
    found = explain.decision(scope, facts, number)
    if not content:
        found = found._replace(head=redact.head(found.head), page=redact.page(found.page))
    partial = request.headers.get("HX-Request") == "true"
    context = _steps(facts, found) | ({} if partial else _around(request, scope, facts, found))
    return show(request, access, "_steps.html" if partial else "session.html", context | {"facts": facts})


@page(Right.CONTENT)
def model_request(request: HttpRequest, access: Access, key: str, number: int) -> HttpResponse:
    """A model call as a file to send again. `number` counts from 1, as the page does."""
    facts = evidence.session(Scope(access.project.pk), key)
    found = explain.model_request(facts, number - 1)
    if found is None:
        raise Problem("not_found", "This session has no model call of this number.")
    try:
        written = json.dumps(found, indent=2)
    except ValueError:
        raise Problem("not_found", "This call has a number too long to be written as JSON; its records have it.") from None
    access.record("request.download", session=facts.key, model_call=number - 1)
    answer = HttpResponse(written, content_type="application/json")
    answer["Content-Disposition"] = f'attachment; filename="request-{facts.key}-{number}.json"'
    return answer


def _addressed(rows: list[present.Row], key: str, page: int) -> list[present.Row]:
    """The rows with the addresses that stand in them: hundreds on a page, and looked up by a template they were a tenth of its time."""
    whys, events = reverse("why", args=[key, 0]).removesuffix("0"), reverse("event", args=["0"]).removesuffix("0")
    call, request = reverse("request", args=[key, 0]).rsplit("0", 1)
    for row in rows:
        row.label, row.href, row.why = str(row.number), step_href(key, page, row.number), f"{whys}{row.number}"
        if row.new_call:
            row.request = f"{call}{row.new_call['number']}{request}"
        first, several = row.events[: present.RECORDS_SHOWN], len(row.events) > 1
        row.records = [(f"record {n}" if several else "record", f"{events}{one}", one) for n, one in enumerate(first, 1)]
        row.unlisted = len(row.events) - len(first)
        for note in row.notes:
            note.links = [(str(n), step_href(key, page, n)) for n in note.steps]
    return rows


def _steps(facts: SessionFacts, found: explain.Decision) -> dict[str, Any]:
    agents = [agent["name"] for agent in found.head["agents"] if agent["name"]]
    rows = _addressed(present.rows(found.page), facts.key, found.number)
    pages = found.head["pages"]
    return {
        "groups": present.groups(rows, agents),
        "several": len(agents) > 1,
        "page": found.number,
        "following": found.number + 1 if found.number < pages else None,
        "pages": range(1, pages + 1),
    }


def _quoted(facts: SessionFacts) -> str:
    """What a quotation says of where it stands, before its step and time."""
    agent = " ".join(part for part in (facts.agent["name"], facts.agent["version"]) if part)
    return f"Session {facts.session_id}{f', {agent}' if agent else ''}"


def _around(request: HttpRequest, scope: Scope, facts: SessionFacts, found: explain.Decision) -> dict[str, Any]:
    """What stands above the steps, and at their edge."""
    head = found.head
    since = versions.in_force(scope, [prompt["text"] for prompt in head["system_prompts"] if prompt["text"]])
    prompts = [prompt | {"since": seen.first if (seen := since.get(prompt["text"])) else None} for prompt in head["system_prompts"]]
    schemas = [tool | {"schema": present.block(tool["parameters"]) if tool["parameters"] else None} for tool in head["tools_offered"]]
    return {
        "timeline": head | {"system_prompts": prompts},
        "quoted": _quoted(facts),
        "headline": head["headline"],
        "verdict": present.verdict(head["completeness"]),
        "marks": waterfall.marks(found.page, present.SPEAKERS),
        "tools": schemas,
        "link": request.build_absolute_uri(request.path) + (f"?page={found.number}" if found.number > 1 else ""),
        "as_of": found.as_of,
        "first_words": head["opening"],
        "subjects": [pair for pair in facts.subjects if pair[0] not in ("user", "customer")],
    }
