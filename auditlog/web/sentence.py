"""Owns the search as a sentence: its parts with their words, what is wrong with each, and the addresses that change one of them."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from datetime import datetime, tzinfo
from typing import Final, NamedTuple

from django.http import QueryDict
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from auditlog.errors import Problem
from auditlog.search import parameters, sessions
from auditlog.search.scope import Scope
from auditlog.web import ranges, recent
from auditlog.web.found import COUNTED

FILTERS: Final = {  # of what: name, label of its field, words in the sentence, what its field shows as an example
    "Whom it concerns": (
        ("customer_id", "Customer", "customer is", "ACME-2024"),
        ("user_id", "User", "user is", "u-4711"),
        ("subject", "Anything else it is about", "about", "patient:4711"),
        ("session_id", "Session", "session is", "as its sender named it"),
        ("trace_id", "Trace", "trace is", "32 hexadecimal digits"),
    ),
    "What was called": (
        ("tool", "Tool", "called", "issue_credit"),
        ("value", "Value in a call", "a call says", "cr_55d0"),
        ("amount_min", "Amount at least", "amount ≥", "400"),
        ("amount_max", "Amount at most", "amount ≤", "400"),
        ("outcome", "Outcome of a call", "a call ended", ""),
        ("check", "Check that a call failed", "a call failed the check", ""),
        ("min_tool_calls", "Tool calls at least", "tool calls ≥", "5"),
    ),
    "Who did it": (
        ("agent", "Agent", "agent is", "refunds"),
        ("agent_version", "Agent version", "agent version is", "3.2.0"),
        ("model", "Model asked for", "asked for the model", "gpt-5-mini"),
        ("response_model", "Model that answered", "answered by", "gpt-5-mini-2025-08-07"),
        ("response_id", "Response", "response is", "chatcmpl-…"),
        ("system_prompt", "Instruction", "under the instruction", "its text, or its SHA-256"),
        ("tool_schema", "Tool schema", "offered the tool schema", "its SHA-256"),
    ),
    "What to believe": (
        ("verdict", "Trail", "trail is", ""),
        ("finding", "Finding", "finding is", "unknown_tool"),
        ("gap", "Gap", "gap is", ""),
        ("min_cost", "Cost at least", "cost ≥ $", "0.10"),
        ("max_cost", "Cost at most", "cost ≤ $", "0.10"),
    ),
}
WORDS: Final = {name: (label, words, example) for group in FILTERS.values() for name, label, words, example in group}
TIME: Final = ("from", "to", "when", recent.RANGE)
HINTS: Final = "hints"  # the parameter of an address that asks what would match where nothing does
VIEW: Final = ("tz", "view", "live", "since", COUNTED, HINTS)  # parameters of the page that filter nothing
OF_CONTENT: Final = ("value", "amount_min", "amount_max")  # not offered to whoever may not read it
ANY_TIME: Final[dict[str, str | None]] = {**dict.fromkeys(TIME), recent.RANGE: recent.ALL}
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


class Field(NamedTuple):
    """What a part is edited in."""

    name: str
    label: str
    value: str = ""
    values: tuple[str, ...] = ()  # to choose from; none: anything may be typed
    kind: str = "text"
    example: str = ""


class Part(NamedTuple):
    words: str
    value: str
    fields: tuple[Field, ...]
    problem: str  # why it cannot be searched for; empty: it can
    without: str  # address of the same search without it


class Asked(NamedTuple):
    """What an address asks for: each filter once, and per name why it cannot be read, where that is known already."""

    given: dict[str, str]
    wrong: dict[str, str]


def read(query: QueryDict) -> Asked:
    """Empty fields of the form are no filters."""
    given, wrong = {}, {}
    known = {*sessions.PARAMETERS, *parameters.PAGED, "when", recent.RANGE}
    for name, values in query.lists():
        filled = [value for value in values if value]
        if not filled or name in VIEW:
            continue
        given[name] = filled[-1]
        if name not in known:
            wrong[name] = "There is no filter of this name."
            continue
        try:
            parameters.once(name, filled)
        except Problem as problem:
            wrong[name] = beside(problem, name)
    return Asked(given, wrong)


def address(query: QueryDict, path: str = "/", /, **changed: str | None) -> str:
    """The same search with some parameters set or (None) taken away; it starts at its first page again."""
    made = query.copy()
    for name in ("cursor", "since", HINTS, *changed):
        made.pop(name, None)
    for name, values in list(made.lists()):
        made.setlist(name, [value for value in values if value])
    for name, value in changed.items():
        if value is not None:
            made[name] = value
    if made.get("from") or made.get("to"):
        made.pop("when", None)
    if made.get("from") or made.get("to") or made.get("when"):
        made.pop(recent.RANGE, None)
    said = made.urlencode()
    return f"{path}?{said}" if said else path


def untidy(query: QueryDict) -> bool:
    """Whether a form sent this without JavaScript: with its empty fields, and with dates beside the preset that they replace."""
    empty = any(not value for _, values in query.lists() for value in values)
    dated = "from" in query or "to" in query
    return empty or ("when" in query and dated) or (recent.RANGE in query and (dated or "when" in query))


def problems(scope: Scope, asked: Asked, now: datetime, zone: tzinfo, *, content: bool) -> dict[str, str]:
    """Per filter why it cannot be searched for, each looked at by itself: a search names only the first that it meets."""
    found = dict(asked.wrong)
    for name, value in asked.given.items():
        if name in found or name == "q":
            continue
        try:
            if name == recent.RANGE:
                parameters.one_of(name, value, (recent.ALL,))
            elif name == "when":
                ranges.days(value, now, zone)
            elif name == "limit":
                parameters.limit(value)
            elif name != "cursor":
                sessions.matching(scope, {name: value}, zone, content=content)
        except Problem as problem:
            found[name] = beside(problem, name)
    return found


def beside(problem: Problem, name: str) -> str:
    """What is wrong, as it is read beside the name and the value: without either."""
    value = str(problem.detail.get("value", ""))
    for known in (
        f"The parameter `{name}` is {value!r}, which ",
        f"The parameter `{name}` is {value!r}…, which ",
        f"The parameter `{name}` ",
    ):
        if problem.message.startswith(known):
            return problem.message.removeprefix(known)
    return problem.message


def parts(query: QueryDict, asked: Asked, wrong: dict[str, str]) -> list[Part]:
    """What the sentence says, in the order of the address, but for its words (q) and its time."""
    found = []
    for name, value in asked.given.items():
        if name in ("q", *TIME, *parameters.PAGED) and not (name == "limit" and name in wrong):
            continue
        words = WORDS[name][1] if name in WORDS else f"{name.replace('_', ' ')} is"
        found.append(Part(words, value, (field(name, value),), wrong.get(name, ""), address(query, **{name: None})))
    return found


def field(name: str, value: str = "") -> Field:
    label, _, example = WORDS.get(name, (name.replace("_", " "), "", ""))
    known = sessions.PARAMETERS.get(name)
    values = known.values if known else ()
    if value and value not in values:
        values = ()  # it is wrong, and stays as it was typed
    return Field(name, label, value, values, known.type if known else "text", example)


def time(query: QueryDict, given: dict[str, str], wrong: dict[str, str], zone: tzinfo, newest: recent.Range | None = None) -> Part:
    """The part that is always there: any time, one of the presets, between two dates, or the `newest` days that have data."""
    start, end, when = given.get("from", ""), given.get("to", ""), given.get("when", "")
    dated = bool(start or end)
    words = ranges.words(start or None, end or None, zone) if dated or not when else ranges.PRESETS.get(when, when)
    words = newest.words if newest else words
    said = " ".join(wrong[name] for name in TIME if name in wrong)
    fields = (Field("from", "From", start, kind=_kind(start)), Field("to", "Until the end of", end, kind=_kind(end)))
    return Part(words, "", fields, said, address(query, **ANY_TIME) if dated or when or newest or said else "")


def _kind(value: str) -> str:
    """A day is chosen from a calendar; what is more than a day, or none at all, can only be typed."""
    return "date" if not value or _DAY.fullmatch(value) else "text"


def presets(query: QueryDict, given: dict[str, str], *, newest: bool) -> list[tuple[str, str, bool]]:
    """Words and address of each preset, and whether it is the one in force; `newest`: the days that have data are."""
    cleared: dict[str, str | None] = dict.fromkeys(TIME)
    dated = given.get("from") or given.get("to")
    when = "" if dated else given.get("when", "")
    found = [(words, address(query, **cleared | {"when": name}), name == when) for name, words in ranges.PRESETS.items()]
    everything = not newest and not dated and not when
    return [
        *found,
        (f"last {recent.DAYS} days with data", address(query, **cleared), newest),
        ("any time", address(query, **ANY_TIME), everything),
    ]


def offered(given: Iterable[str], *, content: bool) -> SafeString:
    """What can be added: every filter that the sentence has not, as `_offered.html` prints it."""
    return _menu(frozenset(name for name in given if name in WORDS), content)


@functools.lru_cache(maxsize=64)  # twenty fields of nothing but our own words, which every search printed anew
def _menu(given: frozenset[str], content: bool) -> SafeString:
    found = []
    for group, filters in FILTERS.items():
        fields = [field(name) for name, *_ in filters if name not in given and (content or name not in OF_CONTENT)]
        if fields:
            found.append((group, fields))
    return render_to_string("_offered.html", {"offered": found})
