"""Owns `/sessions/<key>/instructions`: the instructions that were in force, step by step, and how they differ from other versions."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from auditlog.derive.index import prompt_version
from auditlog.errors import Problem
from auditlog.search import evidence, explain, versions
from auditlog.search.scope import Scope
from auditlog.web.access import Access, Right
from auditlog.web.changes import changes
from auditlog.web.guard import page, show


@page(Right.CONTENT)
def instructions(request: HttpRequest, access: Access, key: str) -> HttpResponse:
    """`?with=<version>`: compared with that version of the agent's, else each with the one before it in the session."""
    scope = Scope(access.project.pk)
    facts = evidence.session(scope, key)
    if facts.key != key:
        return HttpResponseRedirect(reverse("instructions", args=[facts.key]))
    timeline = explain.session_timeline(scope, facts)
    prompts = timeline["system_prompts"]
    listed = versions.of_agent(scope, facts.agent["name"]) if facts.agent["name"] else []
    other = _other(scope, listed, request.GET.get("with", ""))
    access.record("session.view", session=facts.key, content=True, **({"compared": request.GET["with"]} if other is not None else {}))
    known = versions.in_force(scope, [prompt["text"] for prompt in prompts])
    numbers = {one.seen.version: one.number for one in listed}
    shown = []
    for n, prompt in enumerate(prompts):
        version = prompt_version(prompt["text"])
        before = other if other is not None else prompts[n - 1]["text"] if n else None
        until = next((later["first_step"] for later in prompts[n + 1 :] if later["first_step"] > prompt["first_step"]), None)
        shown.append(
            {
                "text": prompt["text"],
                "version": version,
                "number": numbers.get(version),
                "first": prompt["first_step"] + 1,
                "last": until if until is not None else len(timeline["steps"]),
                "seen": known.get(prompt["text"]),
                "changes": None if before is None else changes(before, prompt["text"]),
            }
        )
    here = {one["version"] for one in shown}
    context = {"facts": facts, "prompts": shown, "listed": listed, "here": here, "compared": request.GET.get("with") if other else ""}
    return show(request, access, "instructions.html", context)


def _other(scope: Scope, listed: list[versions.Listed], version: str) -> str | None:
    """The text of another version, read from the session that used it first. Raises Problem."""
    if not version:
        return None
    found = next((one for one in listed if one.seen.version == version), None)
    texts: list[dict[str, Any]] = []
    if found is not None:
        texts = explain.session_timeline(scope, evidence.session(scope, found.session))["system_prompts"]
    text = next((prompt["text"] for prompt in texts if prompt_version(prompt["text"]) == version), None)
    if text is None:
        raise Problem("not_found", "This agent has no instruction of this version. Choose one from the list.")
    return str(text)
