"""Owns `/results.csv` and `/results.json`: all that a search finds as a file, read and sent in portions, with a stated end."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import Final, NamedTuple

from django.db.models import Case, Value, When
from django.http import HttpRequest, StreamingHttpResponse
from django.urls import reverse
from django.utils import timezone

from auditlog.derive.keys import to_text
from auditlog.derive.models import Action, Session
from auditlog.errors import Problem
from auditlog.export import table
from auditlog.search import actions, parameters, sessions
from auditlog.search.scope import Scope
from auditlog.web import ranges, recent, sentence, streams, zones
from auditlog.web.access import Access, Right
from auditlog.web.guard import page
from auditlog.web.links import step_address

MOST: Final = 10_000  # rows of one file
_PORTION: Final = "50"  # sessions read at a time
CUT: Final = f"Cut short: these are the newest {MOST:,} rows, and there are more. Narrow the time range, or add a filter."

Row = dict[str, table.Value]


class Search(NamedTuple):
    """What is to be exported, for whom, and as they read it."""

    scope: Scope
    given: dict[str, str]
    zone: tzinfo
    zone_name: str
    content: bool
    only_sessions: bool
    host: str


# Writes nothing; each portion has a transaction of its own, so that a slow reader holds none open.
@page(Right.FIND, content=True, writes=True)
def results_csv(request: HttpRequest, access: Access) -> StreamingHttpResponse:
    search = _search(request, access)
    return _answer(request, access, search, "csv", "text/csv; charset=utf-8")


@page(Right.FIND, content=True, writes=True)  # likewise
def results_json(request: HttpRequest, access: Access) -> StreamingHttpResponse:
    search = _search(request, access)
    return _answer(request, access, search, "json", "application/json")


def _search(request: HttpRequest, access: Access) -> Search:
    asked, zone = sentence.read(request.GET), zones.context(request)
    for name, message in asked.wrong.items():
        raise Problem("parameter_invalid", f"The search cannot be read. {name[:64]}: {message}")
    scope = Scope(access.project.pk)
    given = ranges.applied(asked.given, timezone.now(), zone["zone"])
    given, _ = recent.within(scope, {name: value for name, value in given.items() if name not in parameters.PAGED}, zone["zone"])
    only_sessions = request.GET.get("view") == "sessions"
    host = request.build_absolute_uri("/").rstrip("/")
    return Search(scope, given, zone["zone"], zone["zone_name"], Right.CONTENT in access.rights, only_sessions, host)


def _answer(request: HttpRequest, access: Access, search: Search, form: str, media_type: str) -> StreamingHttpResponse:
    """What cannot be read, or takes too long from the start, is a page that says so and no file."""
    portions = _portions(search)
    portions = itertools.chain([next(portions)], portions)
    kind, now = "sessions" if search.only_sessions else "actions", datetime.now(UTC)
    filters = search.given
    access.record("results.download", filters=filters, rows=kind, format=form, content=search.content)
    about = {
        "project": access.project.slug,
        "search": filters,
        "made_at": now.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "made_by": access.user.get_username(),
        "time_zone": search.zone_name,
        "rows": kind,
        "content": search.content,
        "page": search.host + sentence.address(request.GET, reverse("search")),
    }
    parts = streams.as_csv(_columns(search), portions) if form == "csv" else streams.as_json(about, portions, _number)
    answer = StreamingHttpResponse(parts, content_type=media_type)
    answer["Content-Disposition"] = f'attachment; filename="auditlog-{kind}-{now:%Y%m%dT%H%M%SZ}.{form}"'
    return answer


def _number(value: object) -> str:
    """Amounts as the API has them: digits in a text, so that none is rounded on its way."""
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _portions(search: Search) -> Iterator[list[Row] | str]:
    """The rows as they stand in the ledger, and last, where there are more than these, why."""
    sent = 0

    def read(at: str | None) -> streams.Page:
        given = search.given | {"limit": _PORTION} | ({"cursor": at} if at else {})
        found = sessions.page(search.scope, given, search.zone, content=search.content)
        return _rows(search, found.rows, MOST - sent + 1), found.next

    for portion in streams.portions(read):
        if isinstance(portion, str):
            yield portion
            return
        yield portion[: MOST - sent]
        sent += len(portion)
        if sent > MOST:
            yield CUT
            return


def _rows(search: Search, found: list[Session], most: int) -> list[Row]:
    identities = sessions.identities(search.scope, found)
    if search.only_sessions:
        return [_session(search, row, identities[row.key]) for row in found[:most]]
    of = {row.key: row for row in found}
    asked = {name: search.given[name] for name in (*actions.OF_ONE_CALL, "tool") if search.given.get(name)}
    place = Case(*(When(session_key=key, then=Value(n)) for n, key in enumerate(of)), default=Value(len(of)))
    calls = actions.matching(search.scope, asked).filter(session_key__in=list(of)).annotate(place=place)
    return [_action(search, row, of[row.session_key], identities[row.session_key])
            for row in calls.order_by("place", "-sort_at", "-step")[:most]]  # fmt: skip


def _times(search: Search, name: str, at: datetime | None) -> Row:
    """UTC for programs, and as the reader reads it."""
    shown = None if at is None else at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    local = None if at is None else at.astimezone(search.zone).isoformat(timespec="microseconds")
    return {f"{name}_utc": shown, f"{name}_local": local}


def _of(search: Search, row: Session, identity: dict[str, list[str]]) -> Row:
    """What both kinds of rows say of the session."""
    return {
        "time_zone": search.zone_name,
        "session_id": to_text(row.session_id),
        "agent": row.agent_name,
        "agent_version": row.agent_version,
        "customers": identity["customer"],
        "users": identity["user"],
    }


def _action(search: Search, row: Action, session: Session, identity: dict[str, list[str]]) -> Row:
    content: Row = {"amount": row.amount, "currency": row.currency, "object": row.object} if search.content else {}
    return {
        **_times(search, "time", row.occurred_at),
        **_of(search, session, identity),
        "step": row.step + 1,
        "tool": row.tool,
        "call_id": row.call_id,
        "outcome": row.outcome,
        **content,
        "offered": row.offered,
        "arguments_valid": row.arguments_valid,
        "findings": [str(one["code"]) for one in session.findings if one.get("step") == row.step],
        "page": search.host + step_address(row.session_key, row.step),
    }


def _session(search: Search, row: Session, identity: dict[str, list[str]]) -> Row:
    content: Row = {"request": row.opening} if search.content else {}
    return {
        **_times(search, "started", row.started_at),
        **_times(search, "ended", row.ended_at),
        **_of(search, row, identity),
        **content,
        "model_calls": row.model_calls,
        "tool_calls": row.tool_calls,
        "cost_usd": row.cost_usd,
        "trail": row.verdict,
        "gaps": row.gaps if row.verdict else None,
        "findings": [str(one["code"]) for one in row.findings],
        "page": search.host + reverse("session", args=[row.key]),
    }


def _columns(search: Search) -> tuple[str, ...]:
    """The names of the columns: those that a row has, in its order."""
    session = Session(key="-", session_id=b"", findings=[], gaps=0)
    nobody: dict[str, list[str]] = {"customer": [], "user": []}
    if search.only_sessions:
        return tuple(_session(search, session, nobody))
    return tuple(_action(search, Action(session_key="-", step=0), session, nobody))
