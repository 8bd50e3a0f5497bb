"""Owns the pages: search, the decision, one event; each asks the same modules as the API and renders on the server."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any, Final

from django.contrib.auth.views import redirect_to_login
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import add_never_cache_headers

from auditlog.derive.keys import to_text
from auditlog.errors import Problem
from auditlog.search import evidence, explain, meaning, original, parameters, sessions
from auditlog.search.bounds import bounded
from auditlog.search.scope import Scope
from auditlog.web import jsontext, present, zones
from auditlog.web.access import project_of

log = logging.getLogger(__name__)

View = Callable[..., HttpResponse]
FILTERS: Final = (  # name, label in the form, words in the sentence
    ("customer_id", "Customer", "whose customer is"),
    ("user_id", "User", "whose user is"),
    ("session_id", "Session ID", "named"),
    ("trace_id", "Trace ID", "with the trace"),
    ("subject", "Other subject", "about"),
    ("agent", "Agent", "whose agent is"),
    ("tool", "Tool", "that called"),
    ("value", "Value in a call", "with a call that says"),
    ("amount_min", "Amount at least", "with an amount ≥"),
    ("amount_max", "Amount at most", "with an amount ≤"),
    ("from", "From", "from"),
    ("to", "To", "until"),
)
LINKED: Final = (  # the same, in the form only where a link brought them
    ("agent_version", "Agent version", "with the agent version"),
    ("outcome", "Outcome", "with a call that ended"),
    ("model", "Model asked for", "that asked for the model"),
    ("response_model", "Model that answered", "answered by the model"),
    ("response_id", "Response ID", "with the response"),
    ("system_prompt", "Instruction", "under the instruction"),
    ("tool_schema", "Tool schema", "offered the tool schema"),
    ("finding", "Finding", "with the finding"),
    ("verdict", "Trail", "whose trail is"),
    ("min_cost", "Cost at least", "that cost at least $"),
    ("max_cost", "Cost at most", "that cost at most $"),
    ("min_tool_calls", "Tool calls at least", "with at least so many tool calls:"),
)
RAW_SHOWN: Final = 200_000  # characters of an original on the event page; all of it is a download away


def page(view: View) -> View:
    """Every page: somebody who is logged in and has a project; errors that say what happened to the data."""

    @functools.wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        try:
            project = project_of(request.user)
            if project is None:
                return failure(
                    request, Problem("scope_missing", "You are not a member of any project yet. Ask an administrator to add you.")
                )
            with bounded():
                response = view(request, Scope(project.pk), *args, **kwargs)
        except Problem as problem:
            response = failure(request, problem)
        except (OperationalError, InterfaceError) as error:
            log.warning("page.store_unavailable", extra={"error_kind": type(error).__name__})
            response = failure(request, Problem("store_unavailable", "The database is not answering."))
        add_never_cache_headers(response)  # evidence does not stay behind in a browser's cache
        return zones.remember(request, response)

    return guarded


def failure(request: HttpRequest, problem: Problem) -> HttpResponse:
    return render(request, "error.html", {"problem": problem, **zones.context(request)}, status=problem.kind.http)


def _given(request: HttpRequest) -> dict[str, str]:
    """The filters in the address: empty fields of the form are no filters."""
    given = {name: [value for value in values if value] for name, values in request.GET.lists() if name != "tz"}
    return {name: parameters.once(name, values) for name, values in given.items() if values}


def _without(request: HttpRequest, name: str) -> str:
    query: QueryDict = request.GET.copy()
    for gone in (name, "cursor"):
        query.pop(gone, None)
    for empty in [key for key, value in query.items() if not value]:
        query.pop(empty)
    return "/?" + query.urlencode() if query else "/"


@page
def search(request: HttpRequest, scope: Scope) -> HttpResponse:
    given: dict[str, str] = {}
    settings = zones.context(request)
    problem, found = None, sessions.Page([], None)
    try:
        given = _given(request)
        found = sessions.page(scope, given, settings["zone"])
    except Problem as error:
        if error.code != "parameter_invalid":
            raise
        problem = error
    identities = sessions.identities(scope, found.rows)
    following = request.GET.copy()
    following["cursor"] = found.next or ""
    chips = [(words, given[name], _without(request, name)) for name, _, words in FILTERS + LINKED if name in given]
    context = {
        "fields": [(name, label, given.get(name, "")) for name, label, _ in FILTERS + tuple(one for one in LINKED if one[0] in given)],
        "q": given.get("q", ""),
        "chips": chips,
        "filtered": bool(chips or given.get("q")),
        "rows": [{"session": row, "session_id": to_text(row.session_id), **identities[row.key]} for row in found.rows],
        "next": f"?{following.urlencode()}" if found.next else None,
        "first": not given.get("cursor"),
        "problem": problem,
        "host": request.build_absolute_uri("/").rstrip("/"),
    }
    return render(request, "search.html", context | settings, status=400 if problem else 200)


@page
def session(request: HttpRequest, scope: Scope, key: str) -> HttpResponse:
    facts = evidence.session(scope, key)
    if facts.key != key:
        return HttpResponseRedirect(reverse("session", args=[facts.key]))
    timeline = explain.session_timeline(facts)
    pages = max(1, -(-len(timeline["steps"]) // present.STEPS_PER_PAGE))
    wanted = request.GET.get("page", "1")
    number = min(int(wanted), pages) if wanted.isascii() and wanted.isdigit() and 0 < len(wanted) < 6 and int(wanted) else 1
    context = {
        "facts": facts,
        "timeline": timeline,
        "headline": present.headline(timeline),
        "verdict": present.verdict(timeline),
        "rows": present.rows(timeline, number),
        "marks": present.marks(timeline) if pages == 1 else [],
        "tools": [
            tool | {"schema": present.block(tool["parameters"]) if tool["parameters"] else None} for tool in timeline["tools_offered"]
        ],
        "page": number,
        "pages": range(1, pages + 1),
        "first_words": next((s["text"] for s in timeline["steps"] if s["kind"] == "user_message" and s.get("text")), ""),
        "subjects": [pair for pair in facts.subjects if pair[0] not in ("user", "customer")],
    }
    return render(request, "session.html", context | zones.context(request))


@page
def event(request: HttpRequest, scope: Scope, public_id: str) -> HttpResponse:
    stored = evidence.event(scope, public_id)
    said = meaning.reading(stored)
    data, media_type, _ = original.of(stored.item)
    raw = None
    if media_type == "application/json":
        try:
            raw = jsontext.indented(jsontext.parse(data.decode("utf-8")))
        except ValueError:
            raw = data.decode("utf-8", "replace")
    facts = [{"kind": fact.pop("kind"), "block": present.block(fact)} for fact in meaning.facts(said)]
    context = {
        "stored": stored,
        "item": meaning.item_name(stored),
        "kind": meaning.kind(said).replace("_", " "),
        "name": meaning.name(stored),
        "trace_id": (getattr(stored.item, "trace_id", b"") or b"").hex(),
        "span_id": (getattr(stored.item, "span_id", b"") or b"").hex(),
        "session_key": evidence.session_of(scope, stored),
        "digest": stored.digest.hex(),
        "facts": facts,
        "raw": None if raw is None else raw[:RAW_SHOWN],
        "cut": raw is not None and len(raw) > RAW_SHOWN,
        "size": len(data),
        "reason": getattr(stored.item, "message", "") if said is None else "",
    }
    return render(request, "event.html", context | zones.context(request))


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Django's handler404."""
    return failure(request, Problem("not_found", "There is no page at this address."))


def broken(request: HttpRequest) -> HttpResponse:
    """Django's handler500: says nothing of what went wrong, which is in the log."""
    return failure(request, Problem("internal", "This page could not be made. Nothing was lost; the failure is in the service's log."))
