"""Owns what filters of sessions and of actions share: a filter with its documentation, and the sessions that a filter means."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, tzinfo
from typing import Any, Final

import django_filters
from django.db import connection
from django.db.models import BooleanField, Q, QuerySet, Subquery

from auditlog.derive.binding import agent_version
from auditlog.derive.keys import term_digest, to_text
from auditlog.derive.models import SessionTerm
from auditlog.search import parameters
from auditlog.search.parameters import Parameter
from auditlog.search.scope import Scope, trace_condition

MANY: Final = 500  # rows of a set: as many and more are not named one by one
_SHOWN_TOO: Final = ("user", "customer", "agent")  # kinds that a timeline may show where no event declared them


class Filter(django_filters.Filter):
    """One filter, with what the reference says about it. Its method raises Problem for a value that cannot be read."""

    def __init__(self, method: str, doc: str, type: str = "string", values: tuple[str, ...] = ()) -> None:
        super().__init__(method=method)
        self.parameter = Parameter(doc, type, values)


class Each(Subquery):
    """Whether a session is among these, asked of each session by itself: OFFSET keeps the planner from making one set of all of them.

    For where most sessions match and some rows are wanted; else the set is what the planner should choose.
    """

    template = '(EXISTS (SELECT FROM (%(subquery)s) AS among (key) WHERE among.key = "session"."key" OFFSET 0))'
    output_field = BooleanField()


class IdentityFilters(django_filters.FilterSet):
    """Filters by what a session is and whom it concerns. `session_column` says where the rows hold the session's key.

    `content`: whether the caller may ask what was said; without it an answer to such a filter would tell it one guess at a time.
    `one_by_one`: rows are tried in their order (Each). `known`: what building the same question before had to ask.
    """

    session_id = Filter("by_session", "The session's ID as its sender named it, of any length; `trace:<hex>` where it was not named.")
    trace_id = Filter("by_trace", "A trace of the session: 32 hexadecimal digits.")
    user_id = Filter("by_subject", "A user whom the session names.")
    customer_id = Filter("by_subject", "A customer whom the session names.")
    subject = Filter("by_any_subject", "Whoever else it concerns, as `kind:value`, for instance `patient:4711`.")
    agent = Filter("by_subject", "The name of an agent that took part.")

    session_column = "key"

    def __init__(
        self,
        data: Mapping[str, str],
        *args: Any,
        scope: Scope,
        zone: tzinfo = UTC,
        content: bool = True,
        one_by_one: bool = False,
        known: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.asked = {name: one for name, one in self.base_filters.items() if data.get(name)}
        self.base_filters: dict[str, Any] = {}  # else all thirty are copied for each question
        super().__init__(data, *args, **kwargs)
        self.one_by_one = one_by_one
        self.sets = 0  # that were asked for
        self.known = {} if known is None else known
        self.scope = scope
        self.zone = zone
        self.content = content

    @property
    def qs(self) -> QuerySet[Any]:
        """The rows that all filters allow.

        No form lies in between (`form` and `errors` say nothing): a value stays as it came, with spaces around it, or NUL.
        """
        rows: QuerySet[Any] = self.queryset.all()
        for name, one in self.asked.items():
            rows = getattr(self, one.method)(rows, one.field_name, self.data[name])
        return rows

    @classmethod
    def get_filters(cls) -> dict[str, Any]:
        filters = dict(super().get_filters())
        return {name.rstrip("_"): found for name, found in filters.items()}  # `from` is a keyword of Python

    @classmethod
    def parameters(cls) -> dict[str, Parameter]:
        return {name: found.parameter for name, found in cls.get_filters().items()}

    def within(self, rows: QuerySet[Any], sessions: QuerySet[Any], tried: QuerySet[Any] | None = None) -> QuerySet[Any]:
        """Of these rows those whose session is among `sessions`, which are few, and named, or many, and left to the planner.

        It cannot tell which: it takes every customer for the average one, and of few it would try every session of the ledger.
        `tried`: the same sessions as they are asked for one by one, where another question is quicker for a single one.
        """
        few = self._few(sessions)
        if few is not None:
            return rows.filter(**{f"{self.session_column}__in": few})
        if self.one_by_one:
            return rows.filter(Each((sessions if tried is None else tried).query))
        return rows.filter(**{f"{self.session_column}__in": sessions})

    def _few(self, sessions: QuerySet[Any]) -> list[str] | None:
        """The keys, where they are few."""
        asked = self.known.setdefault("sets", {})
        number, self.sets = self.sets, self.sets + 1  # filters are applied in one order, whatever is built of them
        if number not in asked:
            with connection.cursor() as cursor:  # the ORM would make a dict of each of the many
                cursor.execute(*sessions[:MANY].query.sql_with_params())
                keys = [key for (key,) in cursor.fetchall()]
            asked[number] = sorted(set(keys)) if len(keys) < MANY else None
        found: list[str] | None = asked[number]
        return found

    def by_session(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        named = self.scope.sessions_declaring("session", value)
        if value.startswith("trace:") and len(value) == 38:
            named = named.union(self._of_trace(name, value[6:]), all=True)
        return self.within(rows, named)

    def _of_trace(self, name: str, value: str) -> QuerySet[Any]:
        return self.scope.sessions_of(trace_condition(parameters.trace_id(name, value)))

    def by_trace(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        return self.within(rows, self._of_trace(name, value))

    def by_subject(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        return self.within(rows, concerning(self.scope, name.removesuffix("_id"), value))

    def by_any_subject(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        kind, colon, rest = value.partition(":")
        if not colon or not kind or not rest or "\0" in kind:
            raise parameters.invalid(name, "is no subject; write kind:value, for instance patient:4711.", value)
        return self.within(rows, concerning(self.scope, kind.lower(), rest))

    def by_term(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        return self.within(rows, showing(self.scope, name, value))

    def by_agent_version(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        agent = self.data.get("agent")  # of that agent, where both are asked for
        return self.within(rows, showing(self.scope, name, to_text(agent_version(agent, value)) if agent else value))


def showing(scope: Scope, kind: str, text: str) -> QuerySet[Any]:
    """Keys of the sessions whose timeline shows this."""
    return scope.of(SessionTerm).filter(digest=term_digest(scope.project_id, kind, text)).values("session_key")


def concerning(scope: Scope, kind: str, value: str) -> QuerySet[Any]:
    """Keys of the sessions that concern this subject, whether an event declared it or the timeline shows it; some twice.

    All of them would have to be found before the first could be told if each were told once.
    """
    declared = scope.sessions_declaring(kind, value)
    return declared.union(showing(scope, kind, value), all=True) if kind in _SHOWN_TOO else declared


def before(at: Any, **ties: Any) -> Q:
    """Rows after the cursor of a list that runs from the newest to the oldest: earlier, or as early and smaller in each tie in turn."""
    condition = Q(sort_at__lt=at)
    equal = Q(sort_at=at)
    for column, value in ties.items():
        condition |= equal & Q(**{f"{column}__lt": value})
        equal &= Q(**{column: value})
    return Q(sort_at__lte=at) & condition  # the first half is what the index is asked for
