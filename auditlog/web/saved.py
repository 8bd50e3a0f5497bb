"""Owns saved searches: a member keeps a search under a name, opens, renames, shares and removes it. Others' are as if they were not."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.contrib import messages
from django.db import IntegrityError, connection, transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import reverse

from auditlog.errors import Problem
from auditlog.search import sessions
from auditlog.web import recent, sentence, zones
from auditlog.web.access import Access, Right
from auditlog.web.guard import page, posted, show
from auditlog.web.models import SavedSearch

MOST: Final = 100  # of one member
MENU: Final = 12  # of the list beside the search
LONGEST: Final = 8_000  # characters of the address
# What `seen` gives, asked by every search: 0.2 ms of CPU instead of 1.4 as the ORM puts it together.
_MENU: Final = """
    SELECT s.name, s.query, u.username, s.user_id = %s AS own FROM saved_search AS s JOIN auth_user AS u ON u.id = s.user_id
    WHERE s.project_id = %s AND (s.user_id = %s OR s.shared) ORDER BY s.name, s.id LIMIT %s"""
_GONE: Final = "There is no such saved search; somebody may have removed it."


class SaveForm(forms.Form):
    name = forms.CharField(max_length=80, error_messages={"required": "Give the search a name."})
    shared = forms.BooleanField(required=False)


def may_share(access: Access) -> bool:
    return bool(access.rights & (Right.PIN | Right.MANAGE))


def seen(access: Access) -> QuerySet[SavedSearch]:
    """A member's own and what others of the project share."""
    found = SavedSearch.objects.filter(Q(user=access.user) | Q(shared=True), project=access.project)
    return found.select_related("user").order_by("name", "pk")


def menu(access: Access) -> dict[str, Any]:
    """The list beside the search, as long as one reads it at a glance; the rest is on its own page."""
    with connection.cursor() as cursor:
        cursor.execute(_MENU, [access.user.pk, access.project.pk, access.user.pk, MENU + 1])
        rows = cursor.fetchall()
    shown = [{"name": name, "of": None if own else of, "address": f"/?{query}" if query else "/"} for name, query, of, own in rows[:MENU]]
    return {"saved": shown, "saved_more": len(rows) > MENU, "may_share": may_share(access)}


def known(query: QueryDict) -> str:
    """Of an address what is a search: no place in the list, no zone, and nothing that no search knows."""
    kept = QueryDict(mutable=True)
    for name, values in query.lists():
        filled = [value for value in values if value]
        if filled and (name in sessions.PARAMETERS or name in ("when", recent.RANGE, "view")):
            kept[name] = filled[-1]
    return kept.urlencode()


@page(Right.FIND, writes=True)
def searches(request: HttpRequest, access: Access) -> HttpResponse:
    """`/searches`: the list; posted to, it keeps one more."""
    if request.method == "POST":
        return _save(request, access)
    zone = zones.context(request)["zone"]
    rows = [_row(access, one, zone) for one in seen(access)]
    return show(request, access, "searches.html", {"rows": rows, "may_share": may_share(access)})


def _row(access: Access, one: SavedSearch, zone: Any) -> dict[str, Any]:
    query = QueryDict(one.query)
    asked = sentence.read(query)
    own = one.user_id == access.user.pk
    return {
        "row": one,
        "own": own,
        "removable": own or Right.MANAGE in access.rights,
        "address": sentence.address(query),
        "q": asked.given.get("q", ""),
        "parts": sentence.parts(query, asked, {}),
        "time": sentence.time(query, asked.given, {}, zone),
        "sessions": query.get("view") == "sessions",
    }


def _save(request: HttpRequest, access: Access) -> HttpResponse:
    query = known(QueryDict(request.POST.get("query", "")))
    back = HttpResponseRedirect(f"/?{query}" if query else "/")
    form = SaveForm(request.POST)
    own = SavedSearch.objects.filter(project=access.project, user=access.user)
    problem = ""
    if not form.is_valid():
        problem = str(next(iter(form.errors.values()))[0])
    elif len(query) > LONGEST:
        problem = f"This search is too long to be saved: {len(query):,} characters of at most {LONGEST:,}."
    elif own.filter(name=form.cleaned_data["name"]).exists():
        problem = "You have a saved search of that name. Choose another name, or rename that one."
    elif own.count() >= MOST:
        problem = f"You have {MOST} saved searches. Remove one first."
    if problem:
        messages.error(request, f"The search was not saved. {problem}")
        return back
    shared = form.cleaned_data["shared"] and may_share(access)
    try:
        with transaction.atomic():
            row = SavedSearch.objects.create(
                project=access.project, user=access.user, name=form.cleaned_data["name"], query=query, shared=shared
            )
            access.record("search.save", search=row.pk, name=row.name, query=query, shared=shared)
    except IntegrityError:
        return back  # the button was pressed twice: the other request saved it, and says so
    messages.success(request, "The search is saved. It stands in the list under Saved.")
    return back


def _visible(access: Access, pk: int) -> SavedSearch:
    found = seen(access).filter(pk=pk).first()
    if found is None:
        raise Problem("not_found", _GONE)
    return found


@page(Right.FIND, writes=True)
def detail(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    """`/searches/<pk>`: leads to the search, for a link that stays; posted to, it renames one's own."""
    row = _visible(access, pk)
    if request.method != "POST":
        return HttpResponseRedirect(f"/?{row.query}" if row.query else "/")
    if row.user_id != access.user.pk:
        raise Problem("scope_missing", "Only the person who saved it can change it.")
    form, back = SaveForm(request.POST), HttpResponseRedirect(reverse("searches"))
    if not form.is_valid():
        messages.error(request, f"Nothing was changed. {next(iter(form.errors.values()))[0]}")
        return back
    name, shared = form.cleaned_data["name"], form.cleaned_data["shared"] and may_share(access)
    if SavedSearch.objects.filter(project=access.project, user=access.user, name=name).exclude(pk=row.pk).exists():
        messages.error(request, "Nothing was changed. You have another saved search of that name.")
        return back
    row.name, row.shared = name, shared
    with transaction.atomic():
        row.save(update_fields=["name", "shared"])
        access.record("search.change", search=row.pk, name=name, shared=shared)
    messages.success(request, "The saved search was changed.")
    return back


@page(Right.FIND, writes=True)
def remove(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    posted(request)
    row = _visible(access, pk)
    if row.user_id != access.user.pk and Right.MANAGE not in access.rights:
        raise Problem("scope_missing", "Only the person who saved it, or an admin, can remove it.")
    with transaction.atomic():
        access.record("search.remove", search=row.pk, name=row.name, query=row.query, by=row.user.get_username())
        row.delete()
    messages.success(request, "The saved search was removed. What it found stays.")
    return HttpResponseRedirect(reverse("searches"))
