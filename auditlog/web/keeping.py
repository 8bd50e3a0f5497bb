"""Owns what `/retention` does with rules, clocks and longer classes, and `/retention/preview`: what a change of a class would do."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from auditlog.errors import Problem
from auditlog.retention import classes, clocks, preview, reclassify, rules
from auditlog.search import evidence, parameters
from auditlog.store.kept import Rule
from auditlog.web import zones
from auditlog.web.access import Access, Right
from auditlog.web.guard import page, posted, show
from auditlog.web.retention import EndForm, LongerForm, RuleForm, TellForm, refused, shown


@page(Right.GOVERN, writes=True)
def add(request: HttpRequest, access: Access) -> HttpResponse:
    """One more rule."""
    posted(request)
    conn = evidence.raw_connection()
    form = RuleForm(request.POST, versions=classes.versions(conn))
    if form.is_valid():
        said = form.cleaned_data
        try:
            rules.add(conn, access.actor, access.project.pk, Rule(said["attribute"], said["value"], said["class_no"]), said["place"])
        except Problem as problem:
            refused(form, problem)
    if form.errors:
        return shown(request, access, {"rule": form}, 400)
    messages.success(request, f"From now on {said['attribute']}={said['value']} goes into class {said['class_no']}.")
    return HttpResponseRedirect(reverse("retention") + "#rules")


@page(Right.GOVERN, writes=True)
def remove(request: HttpRequest, access: Access) -> HttpResponse:
    posted(request)
    attribute, value = request.POST.get("attribute", ""), request.POST.get("value", "")
    rules.remove(evidence.raw_connection(), access.actor, access.project.pk, attribute, value)
    messages.success(request, f"There is no rule for {attribute}={value} any more. What is stored stays where it is.")
    return HttpResponseRedirect(reverse("retention") + "#rules")


@page(Right.GOVERN, writes=True)
def tell(request: HttpRequest, access: Access) -> HttpResponse:
    """That something happened, from which clocks begin."""
    posted(request)
    form = TellForm(request.POST)
    if form.is_valid():
        said = form.cleaned_data
        try:
            at = parameters.moment("at", said["at"], zones.context(request)["zone"]) if said["at"] else None
            clocks.tell(evidence.raw_connection(), access.actor, access.project.pk, said["kind"], said["value"], said["event"], at)
        except Problem as problem:
            refused(form, problem)
    if form.errors:
        return shown(request, access, {"tell": form}, 400)
    does = "does not run" if at is None else f"runs from {at:%Y-%m-%d}"
    messages.success(request, f"The clock of {said['kind']} {said['value']} {does}.")
    return HttpResponseRedirect(reverse("retention") + "#clocks")


@page(Right.GOVERN, writes=True)
def lengthen(request: HttpRequest, access: Access) -> HttpResponse:
    """What matches is kept as a longer class says."""
    posted(request)
    conn = evidence.raw_connection()
    form = LongerForm(request.POST, versions=classes.versions(conn))
    if form.is_valid():
        said, may_read = form.cleaned_data, Right.CONTENT in access.rights
        try:
            reclassify.make(conn, access.actor, access.project.pk, said["class_no"], said["reason"], form.scope, content=may_read)
        except Problem as problem:
            refused(form, problem)
    if form.errors:
        return shown(request, access, {"longer": form}, 400)
    messages.success(request, f"What matches is kept as class {said['class_no']} says, where its own says less.")
    return HttpResponseRedirect(reverse("retention") + "#longer")


@page(Right.GOVERN, writes=True)
def shorten(request: HttpRequest, access: Access, number: int) -> HttpResponse:
    """Ends that something is kept longer."""
    posted(request)
    form = EndForm(request.POST)
    conn, number = evidence.raw_connection(), min(number, 2**63 - 1)
    reclassify.get(conn, access.project.pk, number)
    if not form.is_valid():
        messages.error(request, str(next(iter(form.errors.values()))[0]))
        return HttpResponseRedirect(reverse("retention") + "#longer")
    try:
        reclassify.end(conn, access.actor, access.project.pk, number, form.cleaned_data["reason"])
    except Problem as problem:
        if problem.kind.http not in (400, 409):
            raise
        messages.error(request, problem.message)
    else:
        messages.success(request, "It is ended: what matched goes by its own class again.")
    return HttpResponseRedirect(reverse("retention") + "#longer")


@page(Right.GOVERN)
def foreseen(request: HttpRequest, access: Access) -> HttpResponse:
    """The preview; what cannot be previewed is said in its place."""
    conn = evidence.raw_connection()
    given = {name: request.GET.get(name, "") for name in ("class", "days", "clock")}
    newest = {one.class_no: one for one in classes.versions(conn) if one.in_force_at is not None}
    context = {"given": given, "classes": list(newest.values()), "project": access.project}
    try:
        if given["class"]:
            asked = (given["class"], given["days"] or None, given["clock"] or None)
            found = preview.asked(conn, *asked, project_id=access.project.pk)
            context |= {"found": found, "periods": [one for one in found.periods if one.events]}
    except Problem as problem:
        if problem.kind.http not in (400, 404, 409):
            raise
        return show(request, access, "retention_preview.html", context | {"problem": problem}, problem.kind.http)
    return show(request, access, "retention_preview.html", context)
