"""Owns `/retention/erasures`: requests of erasure, entered, looked at and decided here. Only the owner of the database carries them out."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone

from auditlog.errors import Problem
from auditlog.retention import erasures
from auditlog.retention.erasures import DUE_DAYS, Asked, Decision, Erasure
from auditlog.search import evidence
from auditlog.search.bounds import bounded
from auditlog.store import fields
from auditlog.web import zones
from auditlog.web.access import Access, Right
from auditlog.web.forms import day_end
from auditlog.web.guard import page, posted, show
from auditlog.web.retention import refused

SHOWN: Final = 200  # requests; the oldest are closed as a rule
CONCERNS: Final = {  # what a request may name, with the words of its fields
    "customer_id": "Customer", "user_id": "User", "session_id": "Session", "trace_id": "Trace", "subject": "Anybody else, as kind:value",
}  # fmt: skip
OUTCOMES: Final = (
    ("erase", "Erase: every value of these records goes, for good"),
    ("redact", "Redact: the values of the fields below go, for good"),
    ("restrict", "Restrict: nothing goes, and nobody sees or finds it until it is lifted"),
    ("refuse", "Refuse: nothing happens, and the reason is kept"),
)


class AskForm(forms.Form):
    """A request as it came in; whether it can be understood is said by `erasures` itself."""

    events = forms.CharField(required=False, label="Or single records, by their IDs", widget=forms.Textarea)
    reason = forms.CharField(max_length=1000, label="Why it is asked for")
    basis = forms.CharField(max_length=1000, label="The law or contract")
    asked_by = forms.CharField(max_length=1000, label="Who asked")
    received = forms.DateField(required=False, label="Received on")
    due = forms.DateField(required=False, label="To be decided until")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, label in CONCERNS.items():
            self.fields[name] = forms.CharField(required=False, max_length=1000, label=label, strip=False)

    @property
    def concerns(self) -> list[Any]:
        return [self[name] for name in CONCERNS]

    @property
    def asked(self) -> Asked:
        said = self.cleaned_data
        scope: dict[str, Any] = {name: said[name] for name in CONCERNS if said.get(name)}
        if said["events"].split():
            scope["events"] = said["events"].split()
        received = datetime.combine(said["received"], time(), UTC) if said["received"] else timezone.now()
        due = day_end(said["due"]) or received + timedelta(days=DUE_DAYS)
        return Asked(scope, said["reason"], said["basis"], said["asked_by"], received, due)


class DecideForm(forms.Form):
    """What is decided; whether it may be is said by `erasures` itself."""

    outcome = forms.ChoiceField(choices=OUTCOMES, label="Outcome", error_messages={"required": "Choose an outcome."})
    fields_ = forms.TypedMultipleChoiceField(
        choices=[(str(number), name) for number, name in fields.NAMES.items()], coerce=int, required=False, label="Fields"
    )
    until = forms.DateField(required=False, label="Look at it again on")
    reason = forms.CharField(max_length=1000, label="Why it is decided so")

    @property
    def decision(self) -> Decision:
        said = self.cleaned_data
        until: date | None = said["until"]
        return Decision(said["outcome"], said["reason"], said["fields_"], datetime.combine(until, time(), UTC) if until else None)


@page(Right.GOVERN, writes=True)
def requests(request: HttpRequest, access: Access) -> HttpResponse:
    """The list; posted to, it enters a request."""
    form = AskForm(request.POST or None, initial={name: request.GET[name] for name in CONCERNS if request.GET.get(name)})
    if request.method == "POST" and form.is_valid():
        try:
            made = erasures.request(evidence.raw_connection(), access.actor, access.project.pk, form.asked)
        except Problem as problem:
            refused(form, problem)
        else:
            messages.success(request, f"Request {made.id} is entered. Nothing is erased yet.")
            return HttpResponseRedirect(reverse("erasure", args=[made.id]))
    found = erasures.listed(evidence.raw_connection(), access.project.pk, limit=SHOWN + 1)
    context = {
        "form": form,
        "opened": bool(form.errors or form.initial),
        "found": [(one, erasures.standing(one), words(one)) for one in found[:SHOWN]],
        "more": len(found) > SHOWN,
        "now": timezone.now(),
        "due_days": DUE_DAYS,
        "zone": zones.context(request)["zone"],
    }
    return show(request, access, "erasures.html", context, 400 if request.method == "POST" else 200)


@page(Right.GOVERN, writes=True)
def detail(request: HttpRequest, access: Access, number: int) -> HttpResponse:
    found = erasures.get(evidence.raw_connection(), access.project.pk, min(number, 2**63 - 1))
    return _shown(request, access, found, DecideForm())


@page(Right.GOVERN, writes=True)
def decide(request: HttpRequest, access: Access, number: int) -> HttpResponse:
    posted(request)
    found = erasures.get(evidence.raw_connection(), access.project.pk, min(number, 2**63 - 1))
    form = DecideForm(request.POST)
    if form.is_valid():
        try:
            with transaction.atomic():  # Django's, because what it concerns is searched over this same connection
                found = erasures.decide(evidence.raw_connection(), access.actor, access.project.pk, found.id, form.decision)
        except Problem as problem:
            refused(form, problem)
        else:
            messages.success(request, f"Request {found.id} is decided. It happens when the owner of the database carries it out.")
            return HttpResponseRedirect(reverse("erasure", args=[found.id]))
    return _shown(request, access, found, form, 400)


def _shown(request: HttpRequest, access: Access, found: Erasure, form: DecideForm, status: int = 200) -> HttpResponse:
    context: dict[str, Any] = {
        "one": found,
        "standing": erasures.standing(found),
        "concerns": words(found),
        "fields": fields.names(found.fields or ()),
        "form": form,
        "project": access.project,
        "now": timezone.now(),
        "zone": zones.context(request)["zone"],
    }
    if found.state == "open":
        try:
            with bounded():
                context["preview"] = erasures.preview(evidence.raw_connection(), found)
        except Problem as problem:
            context["unseen"] = problem
    return show(request, access, "erasure.html", context, status)


def words(found: Erasure) -> list[tuple[str, str | None]]:
    """Whom it concerns: what is named, and its value, None where that went with what was erased."""
    named: list[tuple[str, str | None]] = []
    for name, value in found.scope.items():
        if name == "events":
            named.append((f"{len(value)} records by their IDs" if len(value) > 1 else "a record", ", ".join(value[:3])))
        else:
            named.append((CONCERNS.get(name, name).partition(",")[0], value))
    return named
