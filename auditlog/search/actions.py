"""Owns finding actions: the filters of `GET /api/v1/actions`, and the page of tool calls that match, newest first."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

from django.db.models import Exists, F, OuterRef, Q, QuerySet, Window
from django.db.models.functions import RowNumber

from auditlog.derive.keys import term_digest, to_text, value_digests
from auditlog.derive.models import Action, ActionAmount, ActionValue, Declared, Session, Trace
from auditlog.search import cursor, parameters
from auditlog.search.filters import Filter, IdentityFilters, before
from auditlog.search.parameters import PAGED
from auditlog.search.scope import Scope

OUTCOMES: Final = ("returned", "failed", "refused", "unknown")
CHECKS: Final = {"not_offered": {"offered": False}, "arguments_invalid": {"arguments_valid": False}}
OF_ONE_CALL: Final = ("value", "outcome", "check", "amount_min", "amount_max")  # what a search for sessions may ask of one of its calls


class ActionFilters(IdentityFilters):
    """Filters of tool calls. Those of identity mean the session that the call belongs to."""

    tool = Filter("by_tool", "The name of the tool.")
    outcome = Filter("by_outcome", "How the call ended; `unknown` means that it may have happened.", values=OUTCOMES)
    value = Filter("by_value", "Any scalar in the arguments or the result: an invoice, a credit ID, an e-mail address; 400 finds 400.0.")
    check = Filter("by_check", "What the call fails of what was offered in that very request.", values=tuple(CHECKS))
    amount_min = Filter("by_amount", "An amount in the arguments or the result, at least this.", "number")
    amount_max = Filter("by_amount", "An amount in the arguments or the result, at most this; with `amount_min` the same amount.", "number")
    from_ = Filter("by_start", "It happened at this time or later: `2026-03-01` or `2026-03-01T10:00:00Z`.")
    to = Filter("by_end", "It happened by this time; a day means its end.")

    session_column = "session_key"

    def __init__(self, *args: Any, began: Q | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.began = began or Q()  # when their sessions did, where that is known

    class Meta:
        model = Action
        fields: tuple[str, ...] = ()

    def by_tool(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        return rows.filter(tool_digest=term_digest(self.scope.project_id, "tool", value))

    def by_outcome(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        return rows.filter(outcome=parameters.one_of(name, value, OUTCOMES))

    def by_check(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        return rows.filter(**CHECKS[parameters.one_of(name, value, tuple(CHECKS))])

    def by_value(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        same = _same(self.scope, ActionValue).filter(self.began, digest__in=value_digests(self.scope.project_id, value))
        return rows.filter(Exists(same))

    def by_amount(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        if name == "amount_max" and self.data.get("amount_min"):
            return rows  # applied with amount_min: both have to hold for the same amount
        return rows.filter(Exists(_between(_same(self.scope, ActionAmount).filter(self.began), self.data)))

    def by_start(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        return rows.filter(sort_at__gte=parameters.moment("from", value, self.zone))

    def by_end(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        return rows.filter(sort_at__lte=parameters.moment("to", value, self.zone, end=True))


PARAMETERS: Final = ActionFilters.parameters()


def _same(scope: Scope, model: type[Any]) -> QuerySet[Any]:
    """Rows of the action of the query around."""
    return scope.of(model).filter(session_key=OuterRef("session_key"), step=OuterRef("step"))


def _between(amounts: QuerySet[Any], given: dict[str, str]) -> QuerySet[Any]:
    """Those of these amounts that `amount_min` and `amount_max` allow."""
    for name, column in (("amount_min", "amount__gte"), ("amount_max", "amount__lte")):
        if given.get(name):
            amounts = amounts.filter(**{column: parameters.number(name, given[name])})
    return amounts


def several(given: dict[str, str]) -> bool:
    """Whether more than an amount, or more than a value, is asked of one call."""
    asked = {name for name, value in given.items() if value}
    return not (asked <= {"amount_min", "amount_max"} or asked == {"value"})


def sessions_of(scope: Scope, given: dict[str, str], began: Q) -> QuerySet[Any]:
    """Keys of the sessions that `began` then with an action that fulfils all of these filters.

    An amount or a value asked for alone is looked up without the actions: joined to them it took twice as long.
    """
    if several(given):
        return matching(scope, given, began).filter(began).values("session_key")
    if given.get("value"):
        return scope.of(ActionValue).filter(began, digest__in=value_digests(scope.project_id, given["value"])).values("session_key")
    return _between(scope.of(ActionAmount), given).filter(began).values("session_key")


def sessions_tried(scope: Scope, given: dict[str, str]) -> QuerySet[Any]:
    """The same of a value or an amount alone, as it is asked of one session after the other, whose row is the query around."""
    if given.get("value"):  # the index of values leads to those of one moment, where all values of each session were read before
        same = scope.of(ActionValue).filter(began_at=OuterRef("sort_at"), digest__in=value_digests(scope.project_id, given["value"]))
        return same.values("session_key")
    # A session has a dozen amounts, found by its key. PostgreSQL 18 takes the primary key, asked for its first column and its last, for
    # a thousand look-ups, and read all amounts of that size instead: 150 to 300 µs a session. A sum is nothing that an index is asked for.
    own = ActionAmount._default_manager.alias(of=F("edition") + 0).filter(of=scope.edition, project_id=scope.project_id)
    return _between(own, given).values("session_key")


def matching(scope: Scope, given: dict[str, str], began: Q | None = None) -> QuerySet[Any]:
    """The actions that fulfil all of these filters. Raises Problem."""
    found: QuerySet[Any] = ActionFilters(data=given, queryset=scope.of(Action), scope=scope, began=began).qs
    return found


class Amount(NamedTuple):
    amount: Decimal
    currency: str | None
    side: str
    pointer: str


class Around(NamedTuple):
    """What a row says of the session that its action belongs to."""

    session_id: str
    agent: dict[str, str | None]
    subjects: list[tuple[str, str]]


class Page(NamedTuple):
    rows: list[Action]
    next: str | None


def page(scope: Scope, given: dict[str, str]) -> Page:
    """The actions that match `given`. Raises Problem("parameter_invalid") for whatever cannot be read."""
    parameters.only(given, PARAMETERS | PAGED)
    rows = matching(scope, given)
    if given.get("cursor"):
        at, tie = cursor.decode(given["cursor"])
        key, colon, step = tie.partition(":")
        if not colon or not step.isascii() or not step.isdigit() or len(step) > 9:
            raise parameters.invalid("cursor", "is none that this service gave out. Start again without it.")
        rows = rows.filter(before(at, session_key=key, step=int(step)))
    count = parameters.limit(given.get("limit"))
    found = list(rows.order_by("-sort_at", "-session_key", "-step")[: count + 1])
    last = found[count - 1] if len(found) > count else None
    return Page(found[:count], cursor.encode(last.sort_at, f"{last.session_key}:{last.step}") if last else None)


class Call(NamedTuple):
    """What a line of the ledger says of an action."""

    session_key: str
    step: int
    tool: str
    outcome: str
    offered: bool | None
    arguments_valid: bool | None
    sort_at: datetime
    amount: Decimal | None
    currency: str | None
    object: str | None


def of_sessions(scope: Scope, keys: list[str], asked: dict[str, str], most: int) -> dict[str, list[Call]]:
    """The last actions of each session that fulfil `asked`, newest first, one query for a page.

    One more than `most` where there are more.
    """
    place = Window(RowNumber(), partition_by=F("session_key"), order_by=[F("sort_at").desc(), F("step").desc()])
    rows = matching(scope, asked).filter(session_key__in=keys).annotate(place=place).filter(place__lte=most + 1)
    found: dict[str, list[Call]] = {key: [] for key in keys}
    for row in rows.order_by("-sort_at", "-step").values_list(*Call._fields):
        found[row[0]].append(Call(*row))
    return found


def amounts(scope: Scope, rows: list[Action]) -> dict[tuple[str, int], list[Amount]]:
    """The amounts of each action: one query for a whole page."""
    found: dict[tuple[str, int], list[Amount]] = defaultdict(list)
    wanted = {(row.session_key, row.step) for row in rows}
    near = scope.of(ActionAmount).filter(session_key__in={key for key, _ in wanted}, step__in={step for _, step in wanted})
    for key, step, *amount in near.order_by("n").values_list("session_key", "step", "amount", "currency", "side", "pointer"):
        if (key, step) in wanted:
            found[key, step].append(Amount(*amount))
    return found


def around(scope: Scope, rows: list[Action]) -> dict[str, Around]:
    """What each action's session is and whom it concerns: three queries for a whole page."""
    keys = {row.session_key for row in rows}
    found = {
        key: Around(to_text(session_id), {"name": name, "version": version}, [])
        for key, session_id, name, version in scope.of(Session)
        .filter(key__in=keys)
        .values_list("key", "session_id", "agent_name", "agent_version")
    }
    session_of = dict(scope.of(Trace).filter(session_key__in=keys).values_list("trace_key", "session_key"))
    declared = scope.of(Declared).filter(trace_key__in=list(session_of)).exclude(kind__in=("session", "agent", "agent_version"))
    for trace_key, kind, value in declared.order_by("rank", "kind", "value").values_list("trace_key", "kind", "value"):
        one = found.get(session_of[trace_key])
        if one is not None and (pair := (kind, to_text(value))) not in one.subjects:
            one.subjects.append(pair)
    return found
