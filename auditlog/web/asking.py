"""Owns `/purpose`, where a person says why they look before content is shown, and the switch by which a project asks for it."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

from auditlog.models import Project
from auditlog.web import purpose
from auditlog.web.access import Access, Right
from auditlog.web.guard import page, posted, show


class PurposeForm(forms.Form):
    purpose = forms.CharField(label="Purpose", error_messages={"required": "Say what you look for. It stands in the record of each view."})
    case = forms.CharField(label="Case", required=False)

    def clean_purpose(self) -> str:
        return self._said("purpose", purpose.LONGEST)

    def clean_case(self) -> str:
        return self._said("case", purpose.LONGEST_CASE)

    def _said(self, name: str, most: int) -> str:
        text: str = self.cleaned_data[name]
        if wrong := purpose.wrong(text, most):
            raise ValidationError(f"What you wrote {wrong}")
        return text


class AskForm(forms.Form):
    ask = forms.TypedChoiceField(choices=[("1", "ask"), ("0", "do not")], coerce=lambda value: value == "1")


@page(Right.FIND, writes=True)  # not CONTENT, which would ask first what is stated here
def stated(request: HttpRequest, access: Access) -> HttpResponse:
    """`?next=`: the page that was asked for, to which it goes on."""
    access.need(Right.CONTENT)
    onward = _local(request.POST.get("next") or request.GET.get("next") or "")
    if not access.project.ask_purpose:
        return HttpResponseRedirect(onward)
    form = PurposeForm(request.POST if request.method == "POST" else None, initial=access.stated._asdict() if access.stated else {})
    if form.is_valid():
        purpose.state(request.session, access.project.pk, purpose.Stated(form.cleaned_data["purpose"], form.cleaned_data["case"]))
        return HttpResponseRedirect(onward)
    context: dict[str, Any] = {"form": form, "next": onward, "hours": purpose.HOLDS_FOR // 3600, "project": access.project}
    return show(request, access, "purpose.html", context, 400 if form.is_bound else 200)


def _local(address: str) -> str:
    """An address of ours, or the first page: a link to the form must not lead to somebody else's pages."""
    return address if address.startswith("/") and url_has_allowed_host_and_scheme(address, allowed_hosts=None) else reverse("search")


@page(Right.MANAGE, writes=True)
def ask(request: HttpRequest, access: Access) -> HttpResponse:
    """`/settings/purpose`: from the next request on, also for whoever is reading."""
    posted(request)
    form = AskForm(request.POST)
    if form.is_valid():
        with transaction.atomic():
            Project.objects.filter(pk=access.project.pk).update(ask_purpose=form.cleaned_data["ask"])
            access.record("project.change", ask_purpose=form.cleaned_data["ask"])
        said = "Content is shown to whoever says what for" if form.cleaned_data["ask"] else "Nobody is asked what they read content for"
        messages.success(request, f"{said}, from now on.")
    return HttpResponseRedirect(reverse("settings"))
