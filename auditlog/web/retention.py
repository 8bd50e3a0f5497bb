"""Owns `/retention`: legal holds, placed and released here, the classes, and what is due. Deleting needs the owner of the database.

Its forms of rules and clocks are read by keeping.py, which shows this page again where something is wrong with them.
"""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from auditlog.errors import Problem
from auditlog.retention import classes, clocks, dispositions, erasures, holds, reclassify, rules
from auditlog.search import evidence
from auditlog.search.bounds import bounded
from auditlog.web import zones
from auditlog.web.access import Access, Right
from auditlog.web.forms import WordForm
from auditlog.web.guard import page, posted, show

SHOWN: Final = 200  # holds; released ones are the oldest as a rule
FILTERS: Final = {  # those of the search that people hold by, with the words of their fields; the API takes every filter
    "session_id": "Session", "customer_id": "Customer", "user_id": "User", "subject": "Anybody else, as kind:value", "agent": "Agent",
    "tool": "A tool that was called", "from": "From, as 2026-03-01", "to": "To", "q": "Words or an identifier",
}  # fmt: skip


def choices_of(versions: list[classes.Version]) -> list[tuple[int, str]]:
    """Of each class the version that is in force."""
    newest = {one.class_no: one for one in versions if one.in_force_at is not None}
    return [(one.class_no, f"{one.class_no} {one.name}, {one.days:,} days") for one in newest.values()]


class ScopeForm(forms.Form):
    """At least one filter; filters are read by the search itself."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, label in FILTERS.items():
            self.fields[name] = forms.CharField(required=False, max_length=500, label=label, strip=False)

    @property
    def filters(self) -> list[Any]:
        return [self[name] for name in FILTERS]

    @property
    def scope(self) -> dict[str, str]:
        return {name: self.cleaned_data[name] for name in FILTERS if self.cleaned_data.get(name)}


class HoldForm(ScopeForm):
    name = forms.CharField(max_length=120, label="Name of the hold")
    reason = forms.CharField(max_length=1000, label="Reason")


class LongerForm(ScopeForm):
    """What is kept as a longer class says."""

    prefix = "longer"
    class_no = forms.TypedChoiceField(label="Kept as", coerce=int)
    reason = forms.CharField(max_length=1000, label="Reason")

    def __init__(self, *args: Any, versions: list[classes.Version], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["class_no"].choices = choices_of(versions)  # type: ignore[attr-defined]


class EndForm(WordForm):
    reason = forms.CharField(max_length=1000, label="Why it is not kept longer any more")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, word="end", **kwargs)


class ReleaseForm(WordForm):
    reason = forms.CharField(max_length=1000, label="Why it is released")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, word="release", **kwargs)


class RuleForm(forms.Form):
    """One rule; whether it may be is said by `rules` itself."""

    prefix = "rule"
    attribute = forms.CharField(max_length=1000, label="Attribute of the resource", strip=False)
    value = forms.CharField(max_length=1000, label="Its value, exactly", required=False, strip=False)
    class_no = forms.TypedChoiceField(label="Goes into", coerce=int)
    place = forms.IntegerField(min_value=1, required=False, label="Place")

    def __init__(self, *args: Any, versions: list[classes.Version], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["class_no"].choices = choices_of(versions)  # type: ignore[attr-defined]


class TellForm(forms.Form):
    """What was told of somebody; whether it can be read is said by `clocks` itself."""

    prefix = "tell"
    kind = forms.CharField(max_length=60, label="Of whom", initial="customer")
    value = forms.CharField(max_length=1000, label="Which one, exactly as in the records", strip=False)
    event = forms.CharField(max_length=1000, label="What happened")
    at = forms.CharField(max_length=40, label="When", required=False)


@page(Right.GOVERN, writes=True)
def retention(request: HttpRequest, access: Access) -> HttpResponse:
    """The page; posted to, it places a hold. A search's filters in the address fill the form."""
    if request.method != "POST":
        given = {name: request.GET[name] for name in FILTERS if request.GET.get(name)}
        return shown(request, access, {"form": HoldForm(initial=given)})
    form = HoldForm(request.POST)
    if not form.is_valid():
        return shown(request, access, {"form": form}, 400)
    try:
        may_read = Right.CONTENT in access.rights
        hold = holds.place(
            evidence.raw_connection(), access.actor, access.project.pk, form.cleaned_data["name"], form.cleaned_data["reason"], form.scope,
            content=may_read,
        )  # fmt: skip
    except Problem as problem:
        refused(form, problem)
        return shown(request, access, {"form": form}, 400)
    messages.success(request, f"The hold “{hold.name}” stands. Nothing that it matches can be deleted or erased.")
    return HttpResponseRedirect(reverse("retention"))


@page(Right.GOVERN, writes=True)
def release(request: HttpRequest, access: Access, number: int) -> HttpResponse:
    posted(request)
    form = ReleaseForm(request.POST)
    hold = holds.get(evidence.raw_connection(), access.project.pk, min(number, 2**63 - 1))
    if not form.is_valid():
        messages.error(request, str(next(iter(form.errors.values()))[0]))
        return HttpResponseRedirect(reverse("retention"))
    holds.release(evidence.raw_connection(), access.actor, access.project.pk, hold.id, form.cleaned_data["reason"])
    messages.success(request, f"The hold “{hold.name}” is released. What no other hold holds can be deleted when its time is over.")
    return HttpResponseRedirect(reverse("retention"))


def refused(form: forms.Form, problem: Problem) -> None:
    """Says in a form what its sender can mend; raises any other problem."""
    if problem.kind.http not in (400, 403, 409):
        raise problem
    named = {"class": "class_no"}.get(str(problem.detail.get("parameter")), problem.detail.get("parameter"))
    form.add_error(str(named) if named in form.fields else None, problem.message)


def shown(request: HttpRequest, access: Access, given: dict[str, forms.Form], status: int = 200) -> HttpResponse:
    """given: forms with what was typed: `form` of a hold, `longer`, `rule`, `tell`."""
    conn = evidence.raw_connection()
    zone = zones.context(request)["zone"]
    found = holds.listed(conn, access.project.pk, limit=SHOWN)
    versions = classes.versions(conn)
    in_force = {one.class_no: one.version for one in versions if one.in_force_at is not None}
    told = clocks.listed(conn, access.project.pk, limit=SHOWN + 1)
    kept = reclassify.listed(conn, access.project.pk, limit=SHOWN + 1)
    with bounded():
        counts = {hold.id: holds.count(hold) for hold in found if hold.released_at is None}
    context = {
        "form": HoldForm(),
        "longer": LongerForm(versions=versions),
        "rule": RuleForm(versions=versions),
        "tell": TellForm(),
        **given,
        "rules": rules.in_force(conn, access.project.pk).rules,
        "told": told[:SHOWN],
        "more_told": len(told) > SHOWN,
        "by_event": any(one.clock_of for one in versions if in_force.get(one.class_no) == one.version),
        "standing": [(hold, _words(hold), counts[hold.id]) for hold in found if hold.released_at is None],
        "released": [(hold, _words(hold)) for hold in found if hold.released_at is not None],
        "counted": holds.COUNTED,
        "longer_kept": [(one, _words(one)) for one in kept[:SHOWN]],
        "more_longer": len(kept) > SHOWN,
        "versions": [(one, _state(one, in_force)) for one in versions],
        "class_no": access.project.class_no,
        "high_risk_days": classes.HIGH_RISK_DAYS,
        "periods": dispositions.buckets(conn),
        "dispositions": [one for one in dispositions.listed(conn) if one.state in ("proposed", "approved", "executed")],
        "requests": erasures.waiting(conn, access.project.pk),
        "zone": zone,
    }
    return show(request, access, "retention.html", context, status)


def _words(one: holds.Hold | reclassify.Reclassified) -> list[tuple[str, str]]:
    return [(FILTERS.get(name, name).partition(",")[0], value) for name, value in one.scope.items()]


def _state(one: classes.Version, in_force: dict[int, int]) -> tuple[str, str]:
    """How a version stands: words, and their tone."""
    if in_force.get(one.class_no) == one.version:
        return "in force", "good"
    return ("waits for a second person", "open-tone") if one.in_force_at is None else ("until a later version", "muted")
