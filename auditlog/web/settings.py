"""Owns `/settings`: a person's own account for everybody, and for who manages a project its keys and members."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.forms import PasswordChangeForm
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from auditlog.models import ApiKey, Member
from auditlog.web.access import ROLES, Access, Right
from auditlog.web.forms import KeyForm, MemberForm
from auditlog.web.guard import page, show


@page(Right(0), writes=True)
def settings(request: HttpRequest, access: Access) -> HttpResponse:
    return overview(request, access)


def overview(
    request: HttpRequest, access: Access, *, key_form: KeyForm | None = None, member_form: MemberForm | None = None, status: int = 200
) -> HttpResponse:
    """The page, with the form that could not be read where there is one."""
    context: dict[str, Any] = {"roles": [(name, ROLES[name].words) for name in access.roles], "me": access}
    if Right.MANAGE in access.rights:
        keys = ApiKey.objects.filter(project=access.project).order_by("revoked_at", "pk")
        members = Member.objects.filter(project=access.project).select_related("user").prefetch_related("groups").order_by("user__username")
        context |= {
            "keys": [(key, _state(key)) for key in keys],
            "members": [
                {"row": one, "roles": [name for name in ROLES if name in {g.name for g in one.groups.all()}],
                 "waiting": not one.user.has_usable_password()}
                for one in members
            ],
            "key_form": key_form or KeyForm(initial={"scopes": ["ingest"]}),
            "member_form": member_form or MemberForm(initial={"roles": ["investigator"]}),
        }  # fmt: skip
    return show(request, access, "settings.html", context, status)


def _state(key: ApiKey) -> tuple[str, str]:
    """How a key stands: words, and their tone."""
    if key.revoked_at is not None:
        return "revoked", "muted"
    if key.expired:
        return "expired", "muted"
    return ("valid", "good") if key.expires_at is None else ("valid until", "open-tone")


@page(Right(0), writes=True)
def password(request: HttpRequest, access: Access) -> HttpResponse:
    """`/settings/password`: every other session of this person ends with the old password."""
    form = PasswordChangeForm(access.user, request.POST or None)
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            user = form.save()
            access.record("password.change")
        update_session_auth_hash(request, user)
        messages.success(request, "The password was changed. Wherever else you were logged in, you are logged out.")
        return HttpResponseRedirect(reverse("settings"))
    return show(request, access, "password.html", {"form": form}, 400 if request.method == "POST" else 200)
