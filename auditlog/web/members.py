"""Owns the pages of members: add a person, change roles, end a membership, and the link by which a new person chooses a password."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth import get_user_model
from django.contrib.auth import views as auth
from django.contrib.auth.tokens import default_token_generator
from django.db import transaction
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse, reverse_lazy
from django.utils.decorators import method_decorator
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode
from django.views.decorators.cache import never_cache

from auditlog.errors import Problem
from auditlog.models import Member
from auditlog.web import zones
from auditlog.web.access import Access, Right
from auditlog.web.forms import MemberForm, RolesForm, WordForm, day_end, last_day
from auditlog.web.guard import page, posted, show
from auditlog.web.settings import overview


@page(Right.MANAGE, writes=True)
def add(request: HttpRequest, access: Access) -> HttpResponse:
    posted(request)
    form = MemberForm(request.POST)
    if not form.is_valid():
        return overview(request, access, member_form=form, status=400)
    name, roles, until = form.cleaned_data["username"], form.cleaned_data["roles"], day_end(form.cleaned_data["expires"])
    people = get_user_model().objects
    with transaction.atomic():
        user = people.filter(username=name).first()
        if user is not None and Member.objects.filter(user=user, project=access.project).exists():
            form.add_error("username", f"{name} is a member already. Change the roles on the member's own page.")
            return overview(request, access, member_form=form, status=400)
        if user is None:
            user = people.create_user(username=name)
        member = Member.join(user, access.project, roles, until)
        access.record("member.add", member=name, roles=roles, expires_at=until)
    if user.has_usable_password():
        messages.success(request, f"{name} is a member now, and logs in as before.")
        return HttpResponseRedirect(reverse("settings"))
    return _welcome(request, access, member)


@page(Right.MANAGE, writes=True)
def detail(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    member = _member(access, pk)
    if request.method != "POST":
        return _shown(request, access, member)
    form = RolesForm(request.POST)
    if not form.is_valid():
        return _shown(request, access, member, form=form)
    roles, until = form.cleaned_data["roles"], day_end(form.cleaned_data["expires"])
    with transaction.atomic():
        if ("admin" not in roles or until is not None) and _last_admin(access, member):
            form.add_error(None, "Nothing was changed: nobody could manage this project any more. Make somebody else an admin first.")
            return _shown(request, access, member, form=form)
        Member.join(member.user, access.project, roles, until)
        access.record("member.change", member=member.user.get_username(), roles=roles, expires_at=until)
    messages.success(request, f"{member.user.get_username()} has the roles {', '.join(roles)} from now on.")
    return HttpResponseRedirect(reverse("settings"))


@page(Right.MANAGE, writes=True)
def remove(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    posted(request)
    member = _member(access, pk)
    form = WordForm(request.POST, word="remove")
    if not form.is_valid():
        return _shown(request, access, member, remove_form=form)
    name = member.user.get_username()
    with transaction.atomic():
        if _last_admin(access, member):
            form.add_error(None, "Nothing was changed: nobody could manage this project any more. Make somebody else an admin first.")
            return _shown(request, access, member, remove_form=form)
        member.delete()
        access.record("member.remove", member=name)
    messages.success(request, f"{name} is no member any more, and sees nothing from this moment on.")
    return HttpResponseRedirect(reverse("settings"))


@page(Right.MANAGE, writes=True)
def link(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    """A new link to choose a password, for who lost either. Whoever holds it becomes that person, so that it is recorded."""
    posted(request)
    member = _member(access, pk)
    if Member.objects.filter(user=member.user).exclude(project=access.project).exists():
        raise Problem("scope_missing", "This person is a member of another project, too: an administrator of one may not take over both.")
    access.record("member.link", member=member.user.get_username())
    return _welcome(request, access, member)


def _member(access: Access, pk: int) -> Member:
    found = Member.objects.filter(project=access.project, pk=pk).select_related("user").first()
    if found is None:
        raise Problem("not_found", "There is no such member in this project.")
    return found


def _last_admin(access: Access, member: Member) -> bool:
    """Whether without this member nobody manages the project for good. Locks the members: two admins could remove each other."""
    lasting = Member.objects.select_for_update().filter(Q(expires_at=None), project=access.project, user__is_active=True)
    admins = [one.pk for one in lasting if one.groups.filter(name="admin").exists()]
    return admins == [member.pk]


def _welcome(request: HttpRequest, access: Access, member: Member) -> HttpResponse:
    """The link is in this answer and nowhere else."""
    names = [urlsafe_base64_encode(force_bytes(member.user.pk)), default_token_generator.make_token(member.user)]
    address = request.build_absolute_uri(reverse("welcome", args=names))
    return show(request, access, "member_link.html", {"member": member, "address": address})


def _shown(
    request: HttpRequest, access: Access, member: Member, *, form: RolesForm | None = None, remove_form: WordForm | None = None
) -> HttpResponse:
    initial = {"roles": [group.name for group in member.groups.all()], "expires": last_day(member.expires_at)}
    context = {
        "member": member,
        "form": form or RolesForm(initial=initial),
        "remove_form": remove_form or WordForm(word="remove"),
    }
    return show(request, access, "member.html", context, status=400 if form or remove_form else 200)


@method_decorator(never_cache, name="dispatch")
class Welcome(auth.PasswordResetConfirmView):
    """`/welcome/…`: whoever was given the link chooses a password. The link works once, and for three days."""

    template_name = "welcome.html"
    success_url = reverse_lazy("login")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {**super().get_context_data(**kwargs), **zones.context(self.request)}
