"""Owns `/exports`: exports are asked for, watched, paused, downloaded and released here, and the list says to whom each went."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.urls import reverse

from auditlog.disclosure import archive
from auditlog.disclosure import exports as jobs
from auditlog.disclosure.exports import Export, Wanted
from auditlog.disclosure.scope import Asked
from auditlog.errors import Problem
from auditlog.export.choice import Withheld
from auditlog.export.forms.write import DEFAULT, FORMS
from auditlog.retention import classes, holds
from auditlog.search import evidence, sessions
from auditlog.store.reader import split_id
from auditlog.web import zones
from auditlog.web.access import Access, Right
from auditlog.web.guard import page, posted, show
from auditlog.web.retention import FILTERS

SHOWN: Final = 100
TURNS: Final = {"pause": jobs.pause, "resume": jobs.resume, "cancel": jobs.cancel}
EVERYTHING, SEARCH = "everything", "search"
_SAID: Final = {"pause": "is paused; what is complete stays", "resume": "goes on", "cancel": "is cancelled; its files are removed"}


WORDS_OF_FORMS: Final = {
    "html": "pages to read and print, one a session", "csv": "tables for a spreadsheet", "otlp": "OTLP/JSON, to send to another system",
    "parquet": "Parquet, for analysis",
}  # fmt: skip


class ExportForm(forms.Form):
    """What, for whom, what for. Filters of a search are those of the holds, and any other that the address brought."""

    what = forms.ChoiceField(label="Export")
    received_from = forms.CharField(required=False, max_length=40, label="Received from")
    received_to = forms.CharField(required=False, max_length=40, label="Received to")
    recipient = forms.CharField(max_length=500, label="Recipient")
    purpose = forms.CharField(max_length=1000, label="Purpose")
    formats = forms.MultipleChoiceField(required=False, choices=[(name, WORDS_OF_FORMS[name]) for name in FORMS])
    withheld = forms.CharField(required=False, label="Leave out", widget=forms.Textarea)

    def __init__(self, *args: Any, choices: list[tuple[str, str]], also: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["what"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = choices
        self._names = [*FILTERS, *(name for name in also if name not in FILTERS)]
        for name in self._names:
            label = FILTERS.get(name, name.replace("_", " ").capitalize())
            self.fields[name] = forms.CharField(required=False, max_length=4000, label=label, strip=False)

    @property
    def filters(self) -> list[Any]:
        return [self[name] for name in self._names]

    @property
    def scope(self) -> Asked:
        given = self.cleaned_data
        kind, _, number = given["what"].partition(":")
        search = {name: given[name] for name in self._names if given.get(name)}
        if kind == SEARCH and not search:
            raise Problem("scope_empty", "A search has at least one filter: fill one in.", detail={"parameter": "what"})
        if kind != SEARCH and search:
            raise Problem("parameter_invalid", "Filters belong to a search: choose it, or empty them.", detail={"parameter": "what"})
        return Asked(
            everything=kind == EVERYTHING,
            search=search,
            hold=number if kind == "hold" else None,
            class_no=int(number) if kind == "class" else None,
            since=given["received_from"] or None,
            until=given["received_to"] or None,
        )

    def clean_withheld(self) -> list[Withheld]:
        """Each line: the record's ID, after a slash the number of a field or nothing, then reason and basis between semicolons."""
        found = []
        for line in filter(str.strip, self.cleaned_data["withheld"].splitlines()):
            place, reason, basis = ([part.strip() for part in line.split(";", 2)] + ["", ""])[:3]
            record, slash, field = place.partition("/")
            if split_id(record) is None or not reason or not basis or (slash and not (field.isascii() and field.isdigit())):
                raise forms.ValidationError(f"The line “{line[:80]}” cannot be read. Write: record ID; reason; legal basis.")
            found.append(Withheld(record, int(field) if slash else None, reason, basis))
        return found


class ReleaseForm(forms.Form):
    recipient = forms.CharField(max_length=500)
    purpose = forms.CharField(max_length=1000)
    description = forms.CharField(max_length=4000)


@page(Right.EXPORT, writes=True)
def exports(request: HttpRequest, access: Access) -> HttpResponse:
    """The page; posted to, it asks for an export. A search's filters in the address fill the form."""
    choices = _choices(access)
    given = {name: request.GET[name] for name in sessions.PARAMETERS if request.GET.get(name)}
    if request.method != "POST":
        initial = given | {"what": SEARCH if given else EVERYTHING, "formats": DEFAULT}
        return _shown(request, access, ExportForm(initial=initial, choices=choices, also=list(given)), opened=bool(given))
    form = ExportForm(request.POST, choices=choices, also=[name for name in sessions.PARAMETERS if request.POST.get(name)])
    if not form.is_valid():
        return _shown(request, access, form, 400)
    try:
        values = form.cleaned_data
        wanted = Wanted(form.scope, values["recipient"], values["purpose"], values["withheld"], values["formats"])
        job = jobs.request(evidence.raw_connection(), access.actor, access.project.pk, wanted)
    except Problem as problem:
        if problem.kind.http not in (400, 403, 404, 409, 504):
            raise
        named = problem.detail.get("parameter")
        form.add_error(str(named) if named in form.fields else None, problem.message)
        return _shown(request, access, form, 400)
    messages.success(request, f"Export {job.id} is asked for. It begins as soon as a worker is free.")
    return HttpResponseRedirect(reverse("exports"))


@page(Right.EXPORT, writes=True)
def turn(request: HttpRequest, access: Access, number: int) -> HttpResponse:
    """Pause, resume, cancel."""
    posted(request)
    name = request.POST.get("do", "")
    if name not in TURNS:
        raise Problem("parameter_invalid", "Say what to do: pause, resume or cancel.")
    try:
        TURNS[name](evidence.raw_connection(), access.actor, access.project.pk, number)
        messages.success(request, f"Export {number} {_SAID[name]}.")
    except Problem as problem:  # it may have ended between the page and the click
        if problem.code != "state_conflict":
            raise
        messages.error(request, problem.message)
    return HttpResponseRedirect(reverse("exports"))


@page(Right.EXPORT, writes=True)
def release(request: HttpRequest, access: Access, number: int) -> HttpResponse:
    posted(request)
    form = ReleaseForm(request.POST)
    if not form.is_valid():
        messages.error(request, "A release names its recipient, its purpose and what was disclosed. Nothing was recorded.")
        return HttpResponseRedirect(reverse("exports"))
    jobs.release(evidence.raw_connection(), access.actor, access.project.pk, number, **form.cleaned_data)
    messages.success(request, f"The release of export {number} to {form.cleaned_data['recipient']} is recorded.")
    return HttpResponseRedirect(reverse("exports"))


@page(Right.EXPORT, writes=True)
def download(request: HttpRequest, access: Access, number: int) -> StreamingHttpResponse:
    job = jobs.finished(jobs.get(evidence.raw_connection(), access.project.pk, number), "downloaded")
    access.record("export.download", **recorded_as(job))
    return zipped(job)


def recorded_as(job: Export) -> dict[str, Any]:
    """What is recorded of a download."""
    return {"export": job.id, "manifest_sha256": job.manifest_sha256 and bytes(job.manifest_sha256).hex()}


def zipped(job: Export) -> StreamingHttpResponse:
    """The folder as one ZIP, of a length that is known when it ends."""
    name = f"auditlog-export-{job.id}"
    response = StreamingHttpResponse(archive.stream(job.folder, name), content_type="application/zip")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.zip"'
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _choices(access: Access) -> list[tuple[str, str]]:
    conn = evidence.raw_connection()
    found = [(EVERYTHING, "everything of this project"), (SEARCH, "sessions that a search finds")]
    found += [(f"hold:{hold.id}", f"what the hold “{hold.name}” holds") for hold in holds.standing(conn, access.project.pk)]
    in_force = {one.class_no: one for one in classes.versions(conn) if one.in_force_at is not None}
    return found + [(f"class:{number}", f"traces kept in class {number}, {one.name}") for number, one in sorted(in_force.items())]


def _shown(request: HttpRequest, access: Access, form: ExportForm, status: int = 200, *, opened: bool = False) -> HttpResponse:
    conn = evidence.raw_connection()
    found = jobs.listed(conn, access.project.pk, limit=SHOWN + 1)
    released = jobs.releases(conn, [job.id for job in found])
    context = {
        "form": form,
        "opened": opened or form.is_bound or not found,
        "searched": opened or any(form.data.get(name) for name in form.fields if name in sessions.PARAMETERS),
        "jobs": [_row(job, released[job.id]) for job in found[:SHOWN]],
        "more": len(found) > SHOWN,
        "going_on": any(job.state in jobs.GOES_ON for job in found[:SHOWN]),
        "zone": zones.context(request)["zone"],
    }
    return show(request, access, "exports.html", context, status)


_TONES: Final = {"done": "good", "failed": "bad", "paused": "open-tone", "expired": "muted", "cancelled": "muted"}


def _row(job: Export, released: list[jobs.Release]) -> dict[str, Any]:
    share = min(job.events / job.expected, 1.0) if job.expected else 0.0
    return {
        "job": job, "what": words(job.asked), "releases": released, "tone": _TONES.get(job.state, ""),
        "goes_on": job.state in jobs.GOES_ON, "can_resume": job.state in ("paused", "failed"),
        "can_cancel": job.state in (*jobs.GOES_ON, "paused", "failed"), "percent": int(share * 100),
        "texts": job.state == "running" and bool(job.expected) and share >= 1.0,
        "manifest": job.manifest_sha256 and bytes(job.manifest_sha256).hex(),
    }  # fmt: skip


def words(asked: Asked) -> list[tuple[str, str]]:
    """A scope as parts of a sentence: words, and a value that somebody gave."""
    found: list[tuple[str, str]] = []
    if asked.search:
        found += [(FILTERS.get(name, name.replace("_", " ").capitalize()).partition(",")[0], value) for name, value in asked.search.items()]
    elif asked.sessions:
        found += [("Session", key) for key in asked.sessions]
    elif asked.hold is not None:
        found.append(("What is held by hold", asked.hold))
    elif asked.class_no is not None:
        found.append(("Traces kept in class", str(asked.class_no)))
    else:
        found.append(("Everything of the project", ""))
    found += [("received from", asked.since)] if asked.since else []
    return found + ([("received to", asked.until)] if asked.until else [])
