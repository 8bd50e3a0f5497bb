"""Owns `/find`: links from tickets and chats, which know an identifier of the sender's and none of our keys."""

from __future__ import annotations

from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from auditlog.errors import Problem
from auditlog.search import parameters
from auditlog.search.locate import PARAMETERS, locate
from auditlog.search.scope import Scope
from auditlog.web.access import Access, Right
from auditlog.web.guard import page
from auditlog.web.links import step_address


@page(Right.FIND, content=True)
def find(request: HttpRequest, access: Access) -> HttpResponse:
    given = {name: parameters.once(name, values) for name, values in request.GET.lists() if name != "tz"}
    parameters.only(given, PARAMETERS)
    asked = [(name, value) for name, value in given.items() if value]
    if len(asked) != 1:
        raise Problem("parameter_invalid", f"Say what to find, in one parameter: {', '.join(PARAMETERS)}.")
    ((name, value),) = asked
    if name == "value":
        access.need(Right.CONTENT)  # whether a value was said is content
    place = locate(Scope(access.project.pk), name, value)
    if place is None:
        words = name.replace("_id", " ID").replace("_", " ")
        raise Problem("not_found", f"Nothing in this project has this {words}. It is compared exactly, capital letters included.")
    if place.several:
        return HttpResponseRedirect(f"{reverse('search')}?{urlencode({name: value}, errors='replace')}")
    if place.step is None:
        return HttpResponseRedirect(reverse("session", args=[place.key]))
    return HttpResponseRedirect(step_address(place.key, place.step))
