"""Owns `/sessions/<key>/dossier`, as a page and as a PDF. What the person states comes by POST, is printed, and is kept nowhere."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from auditlog.derive.read import SessionFacts
from auditlog.errors import Problem
from auditlog.reconstruct import actions
from auditlog.search import evidence, explain
from auditlog.search.bounds import bounded
from auditlog.search.proofs import proofs
from auditlog.search.scope import Scope
from auditlog.web import zones
from auditlog.web.access import Access, Right
from auditlog.web.dossier import pdf
from auditlog.web.dossier.document import Document, document, title
from auditlog.web.dossier.parts import Clock
from auditlog.web.dossier.stated import Stated, StatedForm
from auditlog.web.dossier.summary import NOT_PROOF, Case, Preparer
from auditlog.web.guard import page, show
from auditlog.web.text import plain


@page(Right.CONTENT, writes=True)  # writes nothing; the transaction ends before the PDF is set, which takes longer than a query may
def dossier(request: HttpRequest, access: Access, key: str) -> HttpResponse:
    case, form, moved = _case(request, access, key)
    if moved:
        return HttpResponseRedirect(reverse("dossier", args=[moved]))
    made = document(case)
    access.record("dossier.view", **_about(case, made))
    context = {
        "document": made,
        "facts": case.facts,
        "form": form,
        "step": None if case.step is None else case.step["n"] + 1,
        "calls": [(s["n"] + 1, s["tool"]["name"]) for s in case.timeline["steps"] if s["kind"] == "tool_call"],
        "not_proof": NOT_PROOF,
    }
    return show(request, access, "dossier.html", context, 400 if form.is_bound and form.errors else 200)


@page(Right.CONTENT, writes=True)
def dossier_pdf(request: HttpRequest, access: Access, key: str) -> HttpResponse:
    case, form, moved = _case(request, access, key)
    if moved:
        return HttpResponseRedirect(reverse("dossier-pdf", args=[moved]))
    if form.is_bound and form.errors:
        raise Problem("parameter_invalid", " ".join(str(errors[0]) for errors in form.errors.values()))
    made = document(case)
    printed = pdf.made(made)
    access.record("dossier.pdf", **_about(case, made), sha256=hashlib.sha256(printed).hexdigest())
    answer = HttpResponse(printed, content_type="application/pdf")
    answer["Content-Disposition"] = f'attachment; filename="dossier-{made.id}.pdf"'
    return answer


def _about(case: Case, made: Document) -> dict[str, Any]:
    """What is recorded of it. Not the words that were stated: they are no evidence of the agent's, and the PDF's digest binds them."""
    step = None if case.step is None else case.step["n"]
    return {"session": case.facts.key, "step": step, "dossier": made.id, "stated": case.stated.names}


def _case(request: HttpRequest, access: Access, key: str) -> tuple[Case, StatedForm, str]:
    """(what the dossier is made from, its form, the key to which the session moved)."""
    with bounded():
        scope = Scope(access.project.pk)
        facts = evidence.session(scope, key)
        timeline = explain.session_timeline(scope, facts)
        proven = proofs(facts)
    step = _step(request, timeline)
    instructions = [prompt["text"] for prompt in timeline["system_prompts"]]
    posted = request.method == "POST"
    name = access.user.get_full_name() or access.user.get_username()
    form = StatedForm(request.POST if posted else None, instructions=instructions)
    stated = form.stated() if posted and form.is_valid() else Stated()
    zone = zones.context(request)
    preparer = Preparer(name, access.roles, datetime.now(UTC).isoformat(timespec="milliseconds"))
    case = Case(facts, timeline, step, proven, stated, preparer, Clock(zone["zone"], zone["zone_name"]))
    if not posted:
        form.initial = {"question": plain(_question(case)), "answered_by": name}  # stored text in a field shows what hides, too
    return case, form, facts.key if facts.key != key else ""


def _step(request: HttpRequest, timeline: dict[str, Any]) -> dict[str, Any] | None:
    """The action that it is about: the one asked for, else the one that names the session."""
    wanted = request.POST.get("step") or request.GET.get("step") or ""
    calls: dict[int, dict[str, Any]] = {step["n"]: step for step in timeline["steps"] if step["kind"] == "tool_call"}
    if wanted:
        number = int(wanted) - 1 if wanted.isascii() and wanted.isdigit() and len(wanted) < 7 else -1
        if number not in calls:
            raise Problem(
                "parameter_invalid", "`step` must be the number of a step that is a tool call, as the session's page counts them."
            )
        return calls[number]
    line = actions.notable(timeline)
    return None if line is None else calls[line["n"]]


def _question(case: Case) -> str:
    """What the form proposes. It is printed only if the person sends it."""
    agent: SessionFacts = case.facts
    return "" if case.step is None else f"Why did {agent.agent['name'] or 'the agent'} do this: {title(case)}?"
