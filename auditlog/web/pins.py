"""Owns pinning: a person marks the passage of an instruction that they hold to matter for a step, with their name and the time."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from auditlog.derive.index import prompt_version
from auditlog.errors import Problem
from auditlog.search import evidence, explain, passages
from auditlog.search.scope import Scope
from auditlog.web.access import Access, Right
from auditlog.web.guard import page, posted
from auditlog.web.models import Pin

MOST = 20  # of one step


def anchor(step: dict[str, Any]) -> dict[str, str]:
    """What names a step for good."""
    return {"event": min(step["event_ids"], default=""), "call_id": (step.get("tool") or {}).get("call_id") or ""}


def pinned(access: Access, step: dict[str, Any]) -> list[Pin]:
    return list(Pin.objects.filter(project=access.project, **anchor(step)).order_by("start"))


@page(Right.PIN | Right.CONTENT, writes=True)
def pin(request: HttpRequest, access: Access, key: str, number: int) -> HttpResponse:
    """`prompt`: version of the instruction; `passage`: the place at which the passage begins, as the page has it."""
    posted(request)
    scope = Scope(access.project.pk)
    timeline = explain.session_timeline(scope, evidence.session(scope, key))
    if not 1 <= number <= len(timeline["steps"]):
        raise Problem("not_found", "This session has no such step.")
    step = timeline["steps"][number - 1]
    version, start = request.POST.get("prompt", ""), request.POST.get("passage", "")
    text = next((one["text"] for one in timeline["system_prompts"] if prompt_version(one["text"]) == version), "")
    found = next((one for one in passages.paragraphs(text, set()) if str(one.start) == start), None)
    if found is None:
        raise Problem("parameter_invalid", "There is no such passage in the recorded instruction. Open Why again and choose one.")
    if len(pinned(access, step)) >= MOST:
        raise Problem("parameter_invalid", f"{MOST} passages are pinned to this step already. Remove one first.")
    access.record("passage.pin", session=key, step=number - 1, prompt=version, start=found.start, end=found.end, **anchor(step))
    place = {"project": access.project, "prompt": version, "start": found.start, **anchor(step)}
    Pin.objects.get_or_create(**place, defaults={"end": found.end, "user": access.user, "name": access.user.get_username()})
    return HttpResponseRedirect(reverse("why", args=[key, number]) + "#instruction")


@page(Right.PIN | Right.CONTENT, writes=True)
def unpin(request: HttpRequest, access: Access, key: str, number: int, pk: int) -> HttpResponse:
    posted(request)
    evidence.session(Scope(access.project.pk), key)
    found = Pin.objects.filter(pk=pk, project=access.project).first()
    if found is None:
        raise Problem("not_found", "There is no such pinned passage; somebody may have removed it.")
    about = {"prompt": found.prompt, "start": found.start, "event": found.event, "by": found.name}
    access.record("passage.unpin", session=key, step=number - 1, **about)
    found.delete()
    return HttpResponseRedirect(reverse("why", args=[key, number]) + "#instruction")
