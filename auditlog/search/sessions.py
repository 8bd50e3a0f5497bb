"""Owns finding sessions: the filters that a person or a program may set, and the page of sessions that match.

Every filter of identity matches what any event of a session declared, exactly and whatever its length. A session matches a
range of time when it was going on in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, tzinfo
from typing import Any, Final

import django_filters
from django import forms
from django.db.models import Q, QuerySet

from auditlog.derive.keys import to_bytes, to_text, value_digest
from auditlog.derive.models import Declared, Edition, Session, Trace
from auditlog.errors import Problem
from auditlog.search import cursor, parameters


def current_edition() -> int:
    """The edition that readers see."""
    number = Edition.objects.filter(state="current").values_list("number", flat=True).first()
    if number is None:
        raise Problem("store_unavailable", "The database is not set up yet. Wait until /readyz answers 200.")
    return int(number)


class Scope:
    """One project in the current edition: what every query starts from, so that none can forget it."""

    def __init__(self, project_id: int, edition: int | None = None) -> None:
        self.project_id = project_id
        self.edition = current_edition() if edition is None else edition

    def of(self, model: type[Any]) -> QuerySet[Any]:
        found: QuerySet[Any] = model._default_manager.filter(edition=self.edition, project_id=self.project_id)
        return found

    def declaring(self, kind: str, value: str) -> QuerySet[Any]:
        """Trace keys of the traces in which this was declared."""
        digest = value_digest(self.project_id, kind, to_bytes(value))
        return self.of(Declared).filter(kind=kind, digest=digest).values("trace_key")

    def sessions_of(self, traces: Q) -> QuerySet[Any]:
        return self.of(Trace).filter(traces).values("session_key")


class Verbatim(forms.Field):
    """A value as it came: identifiers may begin with a space or contain NUL, which Django's CharField refuses."""

    def to_python(self, value: Any) -> str:
        return "" if value is None else str(value)


class Filter(django_filters.Filter):
    field_class = Verbatim


class SessionFilters(django_filters.FilterSet):
    """Filters of `GET /api/v1/sessions` and of the search page; `scope` and `zone` come from the caller."""

    session_id = Filter(method="by_session")
    trace_id = Filter(method="by_trace")
    user_id = Filter(method="by_subject")
    customer_id = Filter(method="by_subject")
    subject = Filter(method="by_any_subject")
    agent = Filter(method="by_subject")
    from_ = Filter(method="by_start")
    to = Filter(method="by_end")
    q = Filter(method="by_anything")

    class Meta:
        model = Session
        fields: tuple[str, ...] = ()

    def __init__(self, *args: Any, scope: Scope, zone: tzinfo = UTC, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.scope = scope
        self.zone = zone

    @classmethod
    def get_filters(cls) -> dict[str, Any]:
        filters = dict(super().get_filters())
        filters["from"] = filters.pop("from_")  # a keyword of Python
        return filters

    def _declaring(self, rows: QuerySet[Any], kind: str, value: str) -> QuerySet[Any]:
        return rows.filter(key__in=self.scope.sessions_of(Q(trace_key__in=self.scope.declaring(kind, value))))

    def by_session(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        declared = self._declaring(rows, "session", value)
        if value.startswith("trace:") and len(value) == 38:
            return declared | self.by_trace(rows, name, value[6:])
        return declared

    def by_trace(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        return rows.filter(key__in=self.scope.sessions_of(trace_condition(parameters.trace_id(name, value))))

    def by_subject(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        return self._declaring(rows, name.removesuffix("_id"), value)

    def by_any_subject(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        kind, colon, rest = value.partition(":")
        if not colon or not kind or not rest or "\0" in kind:
            raise parameters.invalid(name, "is no subject; write kind:value, for instance patient:4711.")
        return self._declaring(rows, kind.lower(), rest)

    def by_start(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        start = parameters.moment("from", value, self.zone)
        return rows.filter(Q(ended_at__gte=start) | Q(ended_at=None, sort_at__gte=start))

    def by_end(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        return rows.filter(sort_at__lte=parameters.moment("to", value, self.zone, end=True))

    def by_anything(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        return rows.filter(anything(self.scope, value))


def trace_condition(trace_id: bytes) -> Q:
    """A trace by its ID; 16 bytes may also be the key of what has no trace ID."""
    return Q(trace_id=trace_id) | Q(trace_id=None, trace_key=trace_id.hex())


PARAMETERS: Final = tuple(SessionFilters.get_filters())


def anything(scope: Scope, text: str) -> Q:
    """Sessions that this text identifies exactly, as whatever: session, trace, user, customer or any other subject, or agent."""
    text = text.strip()
    digests = [value_digest(scope.project_id, kind, to_bytes(text)) for kind in ("session", "subject")]  # all other kinds have one digest
    condition = Q(trace_key__in=scope.of(Declared).filter(digest__in=digests).values("trace_key"))
    hexadecimal = text.removeprefix("trace:").replace("-", "")
    try:
        condition |= trace_condition(parameters.trace_id("q", hexadecimal))
    except Problem:
        pass  # it may still be an identifier of another kind
    return Q(key__in=scope.sessions_of(condition)) | Q(key=text[:64].lower().replace("\0", ""))


class Page:
    """One page of sessions, newest first."""

    def __init__(self, rows: list[Session], following: str | None) -> None:
        self.rows = rows
        self.next = following


def page(scope: Scope, given: dict[str, str], zone: tzinfo = UTC) -> Page:
    """The sessions that match `given`. Raises Problem("parameter_invalid") for whatever cannot be read."""
    parameters.only(given, (*PARAMETERS, "cursor", "limit"))
    rows = SessionFilters(data=given, queryset=scope.of(Session), scope=scope, zone=zone).qs
    if given.get("cursor"):
        at, key = cursor.decode(given["cursor"])
        rows = rows.filter(Q(sort_at__lt=at) | Q(sort_at=at, key__lt=key))
    count = parameters.limit(given.get("limit"))
    found = list(rows.order_by("-sort_at", "-key")[: count + 1])
    more = len(found) > count
    found = found[:count]
    return Page(found, cursor.encode(found[-1].sort_at, found[-1].key) if more else None)


def identities(scope: Scope, rows: Iterable[Session]) -> dict[str, dict[str, list[str]]]:
    """Per session key, what is declared of its users and customers, and its trace IDs: two queries for a whole page."""
    keys = [row.key for row in rows]
    found: dict[str, dict[str, list[str]]] = {key: {"user": [], "customer": [], "trace": []} for key in keys}
    traces = list(
        scope.of(Trace).filter(session_key__in=keys).order_by("first_at", "trace_key").values_list("trace_key", "session_key", "trace_id")
    )
    session_of = {trace_key: session_key for trace_key, session_key, _ in traces}
    for _, session_key, trace_id in traces:
        if trace_id:
            found[session_key]["trace"].append(bytes(trace_id).hex())
    declared = scope.of(Declared).filter(trace_key__in=list(session_of), kind__in=("user", "customer"))
    for trace_key, kind, value in declared.order_by("rank", "value").values_list("trace_key", "kind", "value"):
        values = found[session_of[trace_key]][kind]
        if (text := to_text(value)) not in values:
            values.append(text)
    return found
