"""Owns the pages of API keys: make, change, rotate with an overlap, revoke. A key's text is shown once, in the answer that made it."""

from __future__ import annotations

from datetime import timedelta

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone

from auditlog.errors import Problem
from auditlog.models import ApiKey
from auditlog.web.access import Access, Right
from auditlog.web.forms import KeyForm, RotateForm, WordForm, day_end, last_day
from auditlog.web.guard import page, posted, show
from auditlog.web.settings import overview


def _key(access: Access, pk: int) -> ApiKey:
    found = ApiKey.objects.filter(project=access.project, pk=pk).first()
    if found is None:
        raise Problem("not_found", "There is no such key in this project.")
    return found


@page(Right.MANAGE, writes=True)
def create(request: HttpRequest, access: Access) -> HttpResponse:
    posted(request)
    form = KeyForm(request.POST)
    if not form.is_valid():
        return overview(request, access, key_form=form, status=400)
    with transaction.atomic():
        row, text = ApiKey.issue(access.project, form.cleaned_data["name"], form.cleaned_data["scopes"])
        row.expires_at = day_end(form.cleaned_data["expires"])
        row.save(update_fields=["expires_at"])
        access.record("key.create", key=row.public_id, name=row.name, scopes=row.scopes, expires_at=row.expires_at)
    return show(request, access, "key_made.html", {"key": row, "text": text, "old": None})


@page(Right.MANAGE, writes=True)
def detail(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    row = _key(access, pk)
    if request.method != "POST":
        return _shown(request, access, row)
    form = KeyForm(request.POST)
    if row.revoked_at is not None or not form.is_valid():
        return _shown(request, access, row, form=form)
    row.name, row.scopes, row.expires_at = form.cleaned_data["name"], form.cleaned_data["scopes"], day_end(form.cleaned_data["expires"])
    with transaction.atomic():
        row.save(update_fields=["name", "scopes", "expires_at"])
        access.record("key.change", key=row.public_id, name=row.name, scopes=row.scopes, expires_at=row.expires_at)
    messages.success(request, f"The key {row.public_id} was changed. Senders notice within two seconds.")
    return HttpResponseRedirect(reverse("key", args=[row.pk]))


@page(Right.MANAGE, writes=True)
def rotate(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    posted(request)
    old = _key(access, pk)
    form = RotateForm(request.POST)
    if not form.is_valid() or _ended(old):
        return _shown(request, access, old, rotate_form=form)
    ends = timezone.now() + timedelta(hours=int(form.cleaned_data["overlap"]))
    with transaction.atomic():
        row, text = ApiKey.issue(access.project, old.name, old.scopes)
        row.expires_at = old.expires_at
        row.save(update_fields=["expires_at"])
        old.expires_at = ends if old.expires_at is None else min(ends, old.expires_at)
        old.save(update_fields=["expires_at"])
        access.record("key.rotate", key=old.public_id, new_key=row.public_id, expires_at=old.expires_at)
    return show(request, access, "key_made.html", {"key": row, "text": text, "old": old})


@page(Right.MANAGE, writes=True)
def revoke(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    posted(request)
    row = _key(access, pk)
    form = WordForm(request.POST, word="revoke")
    if not form.is_valid():
        return _shown(request, access, row, revoke_form=form)
    if row.revoked_at is None:
        row.revoked_at = timezone.now()
        with transaction.atomic():
            row.save(update_fields=["revoked_at"])
            access.record("key.revoke", key=row.public_id)
    messages.success(request, f"The key {row.public_id} is revoked. What it sent stays.")
    return HttpResponseRedirect(reverse("settings"))


def _ended(row: ApiKey) -> bool:
    return row.revoked_at is not None or row.expired


def _shown(
    request: HttpRequest, access: Access, row: ApiKey, *,
    form: KeyForm | None = None, rotate_form: RotateForm | None = None, revoke_form: WordForm | None = None,
) -> HttpResponse:  # fmt: skip
    wrong = any(one is not None for one in (form, rotate_form, revoke_form))
    context = {
        "key": row,
        "ended": _ended(row),
        "form": form or KeyForm(initial={"name": row.name, "scopes": row.scopes, "expires": last_day(row.expires_at)}),
        "rotate_form": rotate_form or RotateForm(initial={"overlap": "24"}),
        "revoke_form": revoke_form or WordForm(word="revoke"),
    }
    return show(request, access, "key.html", context, status=400 if wrong else 200)
