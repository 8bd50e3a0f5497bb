"""Owns "Why?": what is recorded around one step, from which a person may judge why it was taken. It never says why by itself."""

from __future__ import annotations

from typing import Any, Final

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from auditlog.derive.index import prompt_version
from auditlog.derive.read import SessionFacts
from auditlog.errors import Problem
from auditlog.reconstruct.scalars import scalars
from auditlog.search import evidence, explain, passages
from auditlog.search.scope import Scope
from auditlog.search.versions import in_force
from auditlog.web import present
from auditlog.web.access import Access, Right
from auditlog.web.guard import page, show
from auditlog.web.models import Pin
from auditlog.web.pins import pinned

SEEN: Final = 24  # earlier steps that are listed, the last ones; all are on the session's page
SAID: Final = 160  # characters of each
ORIGINS: Final = 4  # places shown for each value


@page(Right.CONTENT)
def why(request: HttpRequest, access: Access, key: str, number: int) -> HttpResponse:
    scope = Scope(access.project.pk)
    facts = evidence.session(scope, key)
    if facts.key != key:
        return HttpResponseRedirect(reverse("why", args=[facts.key, number]))
    timeline = explain.session_timeline(scope, facts)
    steps = timeline["steps"]
    if not 1 <= number <= len(steps):
        raise Problem("not_found", f"This session has {len(steps):,} steps; there is no step {number:,}.")
    step = steps[number - 1]
    access.record("session.view", session=facts.key, content=True, step=number)
    context = {
        "facts": facts,
        "number": number,
        "step": step,
        "speaker": present.SPEAKERS.get(step["kind"], step["kind"]),
        "tool": step.get("tool"),
        "checks": present.checks(step["tool"]) if step.get("tool") else [],
        "reasoning": _reasoning(timeline, step),
        "values": _values(facts, timeline, step),
        "approvals": [_line(one) | {"by": one.get("actor")} for one in steps if one["kind"] == "approval" and one["n"] < step["n"]],
        **_seen(timeline, step),
        "instructions": _instructions(scope, timeline, step, pinned(access, step)),
    }
    partial = request.headers.get("HX-Request") == "true"
    return show(request, access, "_why.html" if partial else "why.html", context | {"partial": partial})


def _reasoning(timeline: dict[str, Any], step: dict[str, Any]) -> dict[str, Any]:
    """That of the model call that led to the step; without one the last before it, which is said."""
    before = [one for one in timeline["steps"][: step["n"]] if one["kind"] == "reasoning"]
    own = [one for one in before if step.get("model_call") is not None and one.get("model_call") == step["model_call"]]
    return {"steps": [present.row(one, {}) for one in own or before[-1:]], "own": bool(own)}


def _values(facts: SessionFacts, timeline: dict[str, Any], step: dict[str, Any]) -> list[dict[str, Any]]:
    """Each value of the call with the places where it stood before."""
    tool = step.get("tool") or {}
    arguments = tool.get("arguments") if tool.get("arguments") is not None else tool.get("arguments_raw")
    values = dict(scalars(arguments))
    declared = {value: kind for kind, value in (*facts.subjects, ("session", facts.session_id))}
    found = []
    for origin in tool.get("origins") or ():
        value = values.get(origin["pointer"])
        places = [
            {**_line(timeline["steps"][n]), "passage": passages.where(timeline["steps"][n], value)} for n in origin["steps"][:ORIGINS]
        ]
        found.append(
            {
                "name": present.pointed(origin["pointer"]),
                "value": str(value)[:SAID],
                "cut": len(str(value)) > SAID,
                "places": places,
                "more": len(origin["steps"]) - len(places),
                "instruction": bool(origin.get("system_prompt")),
                "declared": declared.get(str(value), ""),
            }
        )
    return found


def _line(step: dict[str, Any]) -> dict[str, Any]:
    """One step in a line: its number, who or what, and its first words."""
    tool = step.get("tool")
    if tool is not None:
        said, who = tool.get("result") if tool.get("result") is not None else tool.get("error"), tool["name"]
        said = said if isinstance(said, str) or said is None else present.block(said).peek
    else:
        said, who = step.get("text") or "", present.SPEAKERS.get(step["kind"], step["kind"])
    text = " ".join((said or "")[: SAID * 4].split())
    return {"number": step["n"] + 1, "at": step.get("at"), "who": who, "said": text[:SAID] + ("…" if len(text) > SAID else "")}


def _seen(timeline: dict[str, Any], step: dict[str, Any]) -> dict[str, Any]:
    """What had happened before, but for reasoning, which has its own place."""
    before = [one for one in timeline["steps"][: step["n"]] if one["kind"] != "reasoning"]
    return {"seen": [_line(one) for one in before[-SEEN:]], "seen_before": max(0, len(before) - SEEN)}


def _instructions(scope: Scope, timeline: dict[str, Any], step: dict[str, Any], pins: list[Pin]) -> list[dict[str, Any]]:
    """The instruction in force at the step, whole. Where several began at the same step, all of them."""
    known = [prompt for prompt in timeline["system_prompts"] if prompt["first_step"] <= step["n"]] or timeline["system_prompts"][:1]
    newest = max((prompt["first_step"] for prompt in known), default=0)
    words = passages.words_of_call(step["tool"]) if step.get("tool") else set()
    found = []
    for prompt in timeline["system_prompts"]:
        if prompt in known and prompt["first_step"] == newest:
            marked = passages.paragraphs(prompt["text"], words)
            since = in_force(scope, [prompt["text"]])
            version = prompt_version(prompt["text"])
            own = [pin for pin in pins if pin.prompt == version]
            found.append({"version": version, "first": prompt["first_step"] + 1, "since": since.get(prompt["text"]), "paragraphs": marked,
                          "pins": [{"pin": pin, "text": prompt["text"][pin.start : pin.end].strip()} for pin in own],
                          "pinned": {pin.start for pin in own},
                          "shared": any(piece.shared for one in marked for piece in one.pieces)})  # fmt: skip
    return found
