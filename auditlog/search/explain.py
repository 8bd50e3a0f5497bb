"""Owns the timeline of one session as pages and API show it: kept parts where it is long and they are current, else put together anew."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, NamedTuple

from django.db import connection

from auditlog.derive import paging
from auditlog.derive.read import SessionFacts
from auditlog.derive.timeline import build, request
from auditlog.search import evidence
from auditlog.search.scope import Scope

# Up to so many kept parts a session that grew a moment ago is put together anew (a second); a longer one is shown as it was.
_ANEW: Final = 11


class Decision(NamedTuple):
    """One page of a session's timeline (derive.paging)."""

    head: dict[str, Any]
    page: dict[str, Any]
    number: int  # of the page, from 1
    as_of: datetime | None  # set where records that came since then are not in it yet


def decision(scope: Scope, facts: SessionFacts, number: int) -> Decision:
    """The page of this number; the last one where there are fewer."""
    if facts.parts and (facts.current or facts.parts > _ANEW):
        with connection.cursor() as cursor:
            kept = paging.read(cursor, scope.edition, facts.key, number)
        if kept is not None:
            head, page = kept
            return Decision(head, page, min(number, head["pages"]), None if facts.current else facts.summarised_at)
    timeline = build(evidence.reader(), facts)
    number = min(number, paging.pages_of(timeline))
    return Decision(paging.head_of(timeline), paging.page_of(timeline, number), number, None)


def model_request(facts: SessionFacts, number: int) -> dict[str, Any] | None:
    """Model call `number`, from 0, as a request that can be sent again; None: the session has none of this number."""
    return request(evidence.reader(), facts, number)


def session_timeline(scope: Scope, facts: SessionFacts) -> dict[str, Any]:
    """The reconstructed decision, as docs/reference/api.md describes it."""
    if facts.parts and facts.current:
        with connection.cursor() as cursor:
            kept = paging.read_whole(cursor, scope.edition, facts.key)
        if kept is not None:
            return kept
    return build(evidence.reader(), facts)
