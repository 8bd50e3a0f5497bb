"""Owns the way into every page: somebody who is logged in, whose role allows it, with bounds on what it asks of the database."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlsplit

from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.views import redirect_to_login
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import add_never_cache_headers

from auditlog.errors import Problem
from auditlog.search.bounds import bounded
from auditlog.web import zones
from auditlog.web.access import Access, Right, access_of

log = logging.getLogger(__name__)

View = Callable[..., HttpResponseBase]
NO_MEMBER = "You are not a member of any project, or not any more. Ask an administrator to add you."


def page(right: Right, *, content: bool = False, writes: bool = False) -> Callable[[View], View]:
    """The view is called with (request, access, ...). Unless it `writes`, it runs in a transaction that can only read.

    `content`: it shows content to whoever may read that, and something to others; a view whose right is CONTENT does so anyway.
    """
    content = content or Right.CONTENT in right

    def around(view: View) -> View:
        @functools.wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            try:
                if not request.user.is_authenticated:
                    return redirect_to_login(request.get_full_path())
                response: HttpResponseBase = _answer(view, right, content, writes, request, *args, **kwargs)
            except Problem as problem:
                response = failure(request, problem)
            except (OperationalError, InterfaceError) as error:
                log.warning("page.store_unavailable", extra={"error_kind": type(error).__name__})
                request.user = AnonymousUser()  # the page of the failure must not ask the database who this is
                response = failure(request, Problem("store_unavailable", "The database is not answering."))
            add_never_cache_headers(response)  # evidence does not stay behind in a browser's cache
            return zones.remember(request, response)

        return guarded

    return around


def _answer(view: View, right: Right, content: bool, writes: bool, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
    access = access_of(request)
    if access is None:
        raise Problem("scope_missing", NO_MEMBER)
    setattr(request, "access", access)  # noqa: B010 - the frame of every page asks for it; HttpRequest knows no such attribute
    access.need(right)
    if content and Right.CONTENT in access.rights:
        try:
            access = access.reading()
        except Problem as problem:
            return _asked(request, problem)
    if writes:
        return view(request, access, *args, **kwargs)
    with bounded():
        return view(request, access, *args, **kwargs)


def _asked(request: HttpRequest, problem: Problem) -> HttpResponse:
    """Where a purpose is to be stated first: the form, which leads back. What was sent by a form is refused, and nothing done."""
    form = f"{reverse('purpose')}?next="
    if request.headers.get("HX-Request") == "true":  # a part of a page cannot be the form: the page that it is of goes there
        shown = urlsplit(request.headers.get("HX-Current-URL", ""))
        response = failure(request, problem)
        response["HX-Redirect"] = form + quote(f"{shown.path}?{shown.query}")
        return response
    if request.method in ("GET", "HEAD"):
        return HttpResponseRedirect(form + quote(request.get_full_path()))
    return failure(request, problem)


def posted(request: HttpRequest) -> None:
    """Raises Problem unless the request is a POST: an address that changes something may not be a link."""
    if request.method != "POST":
        raise Problem("method_not_allowed", "This address changes something, so that it cannot be opened as a page. Use the form.")


def show(request: HttpRequest, access: Access, template: str, context: dict[str, Any], status: int = 200) -> HttpResponse:
    """A page with what every page knows."""
    allowed = {"content": Right.CONTENT in access.rights, "manage": Right.MANAGE in access.rights, "pin": Right.PIN in access.rights}
    allowed |= {"govern": Right.GOVERN in access.rights, "export": Right.EXPORT in access.rights, "oversee": Right.OVERSEE in access.rights}
    return render(request, template, context | {"may": allowed} | zones.context(request), status=status)


def failure(request: HttpRequest, problem: Problem) -> HttpResponse:
    response = render(request, "error.html", {"problem": problem, **zones.context(request)}, status=problem.kind.http)
    add_never_cache_headers(response)  # it may name who is logged in
    return response
