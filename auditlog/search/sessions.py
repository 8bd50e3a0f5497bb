"""Owns finding sessions: the filters that a person or a program may set, and the page of sessions that match.

Every filter of identity matches exactly, whatever the length of the value. A session matches a range of time when it was going
on in it. Filters of actions have to hold for one and the same action.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any, Final

from django.db import connection
from django.db.models import Exists, F, FloatField, Func, OuterRef, Q, QuerySet

from auditlog.derive.keys import term_digest, to_bytes, to_text, value_digest, value_digests
from auditlog.derive.models import ActionValue, Declared, SearchText, Session, SessionTerm
from auditlog.errors import Problem
from auditlog.reconstruct.gaps import CODES
from auditlog.search import actions, cursor, parameters, wording
from auditlog.search.filters import Each, Filter, IdentityFilters, before
from auditlog.search.parameters import PAGED
from auditlog.search.scope import Scope, trace_condition
from auditlog.search.wording import LONGEST

CONTENT: Final = ("q", "value", "amount_min", "amount_max", "system_prompt")  # parameters that tell, by what they find, what was said
VERDICTS: Final = ("complete", "gaps", "unevaluable")
_LONG: Final = timedelta(days=1)
# Few sessions last longer than a day, and an index knows those (migration 0012). The condition is the index's own, word for word.
_LONG_ONES: Final = """
    SELECT min(sort_at) FROM (
      SELECT sort_at FROM session WHERE project_id = %s AND edition = %s AND ended_at >= %s AND ended_at - sort_at > interval '1 day'
      OFFSET 0) AS long_ones"""  # OFFSET: else the least is looked for along the ledger, through all that are short
_SECONDS: Final = Func(F("sort_at"), template="date_part('epoch', %(expressions)s)", output_field=FloatField())  # no datetime is made
_EVERY: Final = 8  # sessions of which at least one matches where matches are called dense
_NEAREST: Final = 2_000  # sessions that are looked into for the newest of large sets
_AMONG: Final = """
    SELECT count(*) FROM (SELECT FROM session WHERE project_id = %s AND edition = %s AND sort_at BETWEEN %s AND %s LIMIT %s) AS near"""
# The first traces of each session, session by session through the index: none has to be read that is not wanted.
_TRACES: Final = """
    SELECT t.trace_key, t.session_key, t.trace_id FROM unnest(%s::text[]) AS shown (key), LATERAL (
      SELECT * FROM trace WHERE project_id = %s AND edition = %s AND session_key = shown.key ORDER BY first_at, trace_key LIMIT %s) AS t
    ORDER BY t.first_at, t.trace_key"""
_DECLARED: Final = """
    SELECT trace_key, kind, value FROM declared
    WHERE trace_key = ANY(%s) AND project_id = %s AND edition = %s AND kind IN ('user', 'customer') ORDER BY rank, value"""
_VERSION: Final = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)


class SessionFilters(IdentityFilters):
    """Filters of `GET /api/v1/sessions` and of the search page; `scope` and `zone` come from the caller."""

    agent_version = Filter("by_agent_version", "The version of an agent that took part; with `agent`, of that one.")
    tool = Filter("by_tool", "The name of a tool that was called.")
    tool_schema = Filter("by_version", "A tool offered in exactly this form: its version, the SHA-256 of its canonical JSON.")
    system_prompt = Filter("by_version", "Exactly this instruction: its version, the SHA-256 of its text, or the text itself.")
    model = Filter("by_term", "A model as it was asked for.")
    response_model = Filter("by_term", "A model as it answered.")
    response_id = Filter("by_term", "The ID that a provider gave a model's answer.")
    finding = Filter("by_term", "The code of a finding.")
    gap = Filter("by_gap", "The code of a gap in the trail.", values=CODES)
    verdict = Filter("by_verdict", "What is believed of the trail.", values=VERDICTS)
    value = Filter("by_action", "Any scalar in the arguments or the result of a call: an invoice, a credit ID, an e-mail address.")
    outcome = Filter("by_action", "How a call ended.", values=actions.OUTCOMES)
    check = Filter("by_action", "What a call fails of what was offered in that very request.", values=tuple(actions.CHECKS))
    amount_min = Filter("by_action", "An amount in a call, at least this.", "number")
    amount_max = Filter("by_action", "An amount in a call, at most this.", "number")
    min_cost = Filter("by_cost", "What the model calls cost in US dollars, at least this. What is not priced has no cost.", "number")
    max_cost = Filter("by_cost", "What the model calls cost in US dollars, at most this.", "number")
    min_tool_calls = Filter("by_tool_calls", "Tool calls, at least this many.", "integer")
    from_ = Filter("by_start", "It was going on at this time or later: `2026-03-01` or `2026-03-01T10:00:00Z`.")
    to = Filter("by_end", "It had begun by this time; a day means its end.")
    q = Filter("by_anything", "Words of its texts, or exactly any ID: session, trace, user, customer, response, call, or value of a call.")

    class Meta:
        model = Session
        fields: tuple[str, ...] = ()

    def by_tool(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        if any(self.data.get(one) for one in actions.OF_ONE_CALL):
            return rows  # asked for together with what has to hold for the same call
        return self.by_term(rows, name, value)

    def by_action(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        if not self.content and name not in ("outcome", "check"):
            raise Problem("scope_missing", f"The filter `{name}` asks for content, which your role may not read.")
        if name != next(one for one in actions.OF_ONE_CALL if self.data.get(one)):
            return rows  # all of them are applied once, together
        asked = {one: self.data[one] for one in (*actions.OF_ONE_CALL, "tool") if self.data.get(one)}
        sessions = actions.sessions_of(self.scope, asked, self._began())
        if actions.several(asked):
            # Asked for the first few hundred, the planner takes one condition and tries the other on each, however rare both together are.
            self.known["open"] = True
            return rows.filter(Each(sessions.query)) if self.one_by_one else rows.filter(key__in=sessions)
        return self.within(rows, sessions, actions.sessions_tried(self.scope, asked) if self.one_by_one else None)

    def _began(self) -> Q:
        """When sessions of the range that is asked for began."""
        start, end = self.data.get("from"), self.data.get("to")
        began = Q(began_at__gte=earliest(self.scope, parameters.moment("from", start, self.zone), self.known)) if start else Q()
        return began & Q(began_at__lte=parameters.moment("to", end, self.zone, end=True)) if end else began

    def by_version(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        if _VERSION.fullmatch(value):
            return self.by_term(rows, name, value.lower())
        if name == "system_prompt":
            if not self.content:
                raise Problem(
                    "scope_missing", "Your role may not ask for the text of an instruction; write its version, 64 hexadecimal digits."
                )
            return self.by_term(rows, name, hashlib.sha256(to_bytes(value)).hexdigest())
        raise parameters.invalid(name, "is no version; write its 64 hexadecimal digits.", value)

    def by_verdict(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        return rows.filter(verdict=parameters.one_of(name, value, VERDICTS))

    def by_gap(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        return self.by_term(rows, name, parameters.one_of(name, value, CODES))

    def by_cost(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        limit: Decimal = parameters.number(name, value)
        return rows.filter(cost_usd__gte=limit) if name == "min_cost" else rows.filter(cost_usd__lte=limit)

    def by_tool_calls(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        return rows.filter(tool_calls__gte=parameters.count(name, value))

    def by_start(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        start = parameters.moment("from", value, self.zone)
        going_on = Q(ended_at__gte=start) | Q(ended_at=None, sort_at__gte=start)
        return rows.filter(going_on, sort_at__gte=earliest(self.scope, start, self.known))

    def by_end(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        return rows.filter(sort_at__lte=parameters.moment("to", value, self.zone, end=True))

    def by_anything(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        named = identified(self.scope, value, content=self.content)
        said = saying(self.scope, value) if self.content else None
        if said is None and not self.content:
            return self.within(rows, named)
        if "named" not in self.known:
            self.known["named"] = named.exists()
        if said is None:
            if not self.known["named"]:  # an empty list would say that nobody said it
                raise parameters.invalid(
                    name, f"is no identifier of this project, and words are searched for up to {LONGEST:,} bytes.", value
                )
            return self.within(rows, named)
        if not self.known["named"]:
            # The usual case of words. As a condition of its own the planner knows how common they are: it reads the ledger from its newest
            # end where they are, and the index of words where they are not. In a union it knows nothing, and read all of the texts.
            self.known["open"] = True
            if self.one_by_one:
                return rows.filter(Each(said.values("session_key").query))
            return rows.filter(Exists(said.filter(session_key=OuterRef(self.session_column))))
        with connection.cursor() as cursor:  # until the end of this transaction; texts are long, which the planner does not count
            cursor.execute("SELECT set_config('enable_seqscan', 'off', true)")
        return rows.filter(key__in=named.union(said.values("session_key")))


PARAMETERS: Final = SessionFilters.parameters()


def identified(scope: Scope, text: str, *, content: bool) -> QuerySet[Any]:
    """Keys of the sessions that this text identifies exactly, as whatever, or (with `content`) that have it in a call.

    One union and not a row of ORs: the few keys are found by index, whatever the number of sessions.
    """
    exact = text.strip()
    digests = [value_digest(scope.project_id, kind, to_bytes(exact)) for kind in ("session", "subject")]  # all other kinds have one digest
    traces = Q(trace_key__in=scope.of(Declared).filter(digest__in=digests).values("trace_key"))
    try:
        traces |= trace_condition(parameters.trace_id("q", exact.removeprefix("trace:").replace("-", "")))
    except Problem:
        pass  # it may still be an identifier of another kind
    terms = [term_digest(scope.project_id, kind, exact) for kind in ("response_id", "call_id", "user", "customer", "agent")]
    found = [
        scope.sessions_of(traces),
        scope.of(SessionTerm).filter(digest__in=terms).values("session_key"),
        scope.of(Session).filter(key=exact[:64].lower().replace("\0", "")).values("key"),
    ]
    if content:
        found.append(scope.of(ActionValue).filter(digest__in=value_digests(scope.project_id, exact)).values("session_key"))
    return found[0].union(*found[1:], all=True)


def saying(scope: Scope, text: str) -> QuerySet[Any] | None:
    """Texts that contain these words; None for what is too long to be words."""
    asked = wording.read(text)
    return None if asked is None else scope.of(SearchText).filter(tsv=wording.Words(asked))


def earliest(scope: Scope, start: datetime, known: dict[str, Any]) -> datetime:
    """No session that was going on at this time began before. Without this bound the ledger is read to its oldest end for them."""
    if "began" not in known:
        with connection.cursor() as long_ones:
            long_ones.execute(_LONG_ONES, [scope.project_id, scope.edition, start])
            known["began"] = long_ones.fetchone()[0]
    began: datetime | None = known["began"]
    first = start - _LONG if start - datetime.min.replace(tzinfo=UTC) > _LONG else start
    return first if began is None else min(began, first)


class Page:
    """One page of sessions, newest first."""

    def __init__(self, rows: list[Session], following: str | None, times: Sequence[float] = (), ahead: int = 0) -> None:
        self.rows = rows
        self.next = following
        self.times = times  # of what matches, in seconds since 1970, newest first
        self.ahead = ahead  # of how many; where there are as many, older ones may match as well


def matching(scope: Scope, given: dict[str, str], zone: tzinfo = UTC, *, content: bool = True, **how: Any) -> QuerySet[Any]:
    """The sessions that fulfil all of these filters. Raises Problem."""
    found: QuerySet[Any] = SessionFilters(data=given, queryset=scope.of(Session), scope=scope, zone=zone, content=content, **how).qs
    return found


def page(scope: Scope, given: dict[str, str], zone: tzinfo = UTC, *, content: bool = True, ahead: int = 0) -> Page:
    """The sessions that match `given`. Raises Problem("parameter_invalid") for whatever cannot be read.

    `ahead`: of how many matches the times are wanted, too.
    """
    parameters.only(given, PARAMETERS | PAGED)
    count, known = parameters.limit(given.get("limit")), dict[str, Any]()

    @functools.cache
    def rows(*, one_by_one: bool) -> QuerySet[Any]:
        return _behind(given, matching(scope, given, zone, content=content, known=known, one_by_one=one_by_one))

    each = rows(one_by_one=True)
    # "sets": by filter the keys of its sessions, or None where they are many; "open": something was asked whose sessions nobody counted
    sets, opened = known.get("sets", {}), known.get("open", False)
    many = (bool(sets) or opened) and all(keys is None for keys in sets.values())
    near = _near(each, _ledger(scope, given, zone, known), count + 1, max(count + 1, ahead)) if many and not opened else None
    same = not opened and None not in sets.values()  # both ways ask the same
    newest, complete = near or (_newest(rows(one_by_one=same), count + 1), True)
    times = [at.timestamp() for at, _ in newest]
    if near is None and count < len(newest) < ahead:
        # Asked for a thousand rows the planner reads every amount or value that there is, where a few sessions more of the ledger
        # would do; asked to try one session after the other where hardly any matches it would read all of the ledger.
        dense = many and _dense(scope, newest)
        behind = before(newest[-1][0], key=newest[-1][1])
        end = _nearest(_ledger(scope, given, zone, known).filter(behind)) if dense else None
        older = rows(one_by_one=dense or same).filter(behind, _since(end)).order_by("-sort_at", "-key")
        times += older.values_list(_SECONDS, flat=True)[: ahead - len(newest)]
        complete = end is None
    ahead = ahead if complete else min(ahead, len(times))  # of older ones nothing is said
    shown = newest[:count]
    whole = {row.key: row for row in scope.of(Session).filter(key__in=[key for _, key in shown])}
    found = [whole[key] for _, key in shown if key in whole]  # one that joined another in between is found under that
    return Page(found, cursor.encode(*shown[-1]) if len(newest) > count else None, times[:ahead], ahead)


def _behind(given: dict[str, str], rows: QuerySet[Any]) -> QuerySet[Any]:
    """The rows behind the cursor, if there is one."""
    if not given.get("cursor"):
        return rows
    at, key = cursor.decode(given["cursor"])
    return rows.filter(before(at, key=key))


def _ledger(scope: Scope, given: dict[str, str], zone: tzinfo, known: dict[str, Any]) -> QuerySet[Any]:
    """The sessions of the range of time that is asked for, whatever they are: from the newest that may match to the oldest."""
    ledger = scope.of(Session)
    if given.get("from"):
        ledger = ledger.filter(sort_at__gte=earliest(scope, parameters.moment("from", given["from"], zone), known))
    if given.get("to"):
        ledger = ledger.filter(sort_at__lte=parameters.moment("to", given["to"], zone, end=True))
    return _behind(given, ledger)


def _near(rows: QuerySet[Any], ledger: QuerySet[Any], least: int, most: int) -> tuple[list[tuple[datetime, str]], bool] | None:
    """The newest of these rows, looked for among the newest of the ledger one after the other, and whether no older ones were left out.

    None where fewer than `least` are among those. A set of tens of thousands took 30 to 80 ms to be made where twenty of its sessions are
    found among the first forty.
    """
    last = _nearest(ledger)
    found = _newest(rows.filter(_since(last)), most)
    return (found, last is None or len(found) == most) if last is None or len(found) >= least else None


def _nearest(ledger: QuerySet[Any]) -> tuple[datetime, str] | None:
    """The session down to which these are tried one after the other; None: there are not so many."""
    rows = ledger.order_by("-sort_at", "-key").values_list("sort_at", "key")
    return next(iter(rows[_NEAREST : _NEAREST + 1]), None)


def _since(last: tuple[datetime, str] | None) -> Q:
    """Sessions down to this one."""
    return Q() if last is None else Q(sort_at__gte=last[0]) & (Q(sort_at__gt=last[0]) | Q(key__gte=last[1]))


def _newest(rows: QuerySet[Any], count: int) -> list[tuple[datetime, str]]:
    return list(rows.order_by("-sort_at", "-key").values_list("sort_at", "key")[:count])


def _dense(scope: Scope, newest: list[tuple[datetime, str]]) -> bool:
    """Whether at least one of every few sessions is among these, the newest that match."""
    most = _EVERY * len(newest)
    with connection.cursor() as counting:
        counting.execute(_AMONG, [scope.project_id, scope.edition, newest[-1][0], newest[0][0], most])
        return bool(counting.fetchone()[0] < most)


def identities(scope: Scope, rows: Iterable[Session], most: int | None = None) -> dict[str, dict[str, list[str]]]:
    """Per session key, what is declared of its users and customers, and its trace IDs: two queries for a whole page.

    `most`: of each session's first traces only. One may have thousands, and a line of the ledger shows two customers.
    """
    keys = [row.key for row in rows]
    found: dict[str, dict[str, list[str]]] = {key: {"user": [], "customer": [], "trace": []} for key in keys}
    if not keys:
        return found
    with connection.cursor() as cursor:
        cursor.execute(_TRACES, [keys, scope.project_id, scope.edition, most])
        traces = cursor.fetchall()
        session_of = {trace_key: session_key for trace_key, session_key, _ in traces}
        cursor.execute(_DECLARED, [list(session_of), scope.project_id, scope.edition])
        declared = cursor.fetchall()
    for _, session_key, trace_id in traces:
        if trace_id:
            found[session_key]["trace"].append(bytes(trace_id).hex())
    for trace_key, kind, value in declared:
        values = found[session_of[trace_key]][kind]
        if (text := to_text(value)) not in values:
            values.append(text)
    return found
