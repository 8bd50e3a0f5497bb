"""Owns the versions of an instruction: when each was first and last seen in the project, in which order an agent had them, and where."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final, NamedTuple

from django.db.models import OuterRef, Subquery

from auditlog.derive.index import clean, prompt_version
from auditlog.derive.keys import term_digest
from auditlog.derive.models import Session, SessionTerm, Version
from auditlog.search.scope import Scope

MOST: Final = 50  # versions of one agent that are listed, the newest


class Seen(NamedTuple):
    version: str  # SHA-256 of the text
    first: datetime
    last: datetime


class Listed(NamedTuple):
    """One version among those of an agent; `number` counts them by first use, None where there are more than MOST."""

    seen: Seen
    words: str  # the first ones
    session: str  # key of the session that used it first
    number: int | None


def in_force(scope: Scope, texts: Iterable[str]) -> dict[str, Seen]:
    """When each of these instructions was used first and last, by its text. What was not summarised yet is missing."""
    of = {term_digest(scope.project_id, "system_prompt", prompt_version(text)): text for text in texts}
    rows = scope.of(Version).filter(digest__in=list(of)).values_list("digest", "version", "first_seen", "last_seen")
    return {of[digest]: Seen(version, first, last) for digest, version, first, last in rows}


def of_agent(scope: Scope, agent: str) -> list[Listed]:
    """The instructions of an agent, by the agent of the session that used each first, the newest first."""
    terms = scope.of(SessionTerm).filter(digest=OuterRef("digest")).order_by("seen_at")
    prompts = scope.of(Version).filter(kind="system_prompt").order_by("-last_seen")
    rows = list(prompts.annotate(used_by=Subquery(terms.values("session_key")[:1]))[: 4 * MOST])
    own = set(scope.of(Session).filter(key__in={row.used_by for row in rows}, agent_name=clean(agent)).values_list("key", flat=True))
    found = sorted((row for row in rows if row.used_by in own), key=lambda row: (row.first_seen, row.version))
    numbered = len(rows) < 4 * MOST and len(found) <= MOST
    return [
        Listed(Seen(row.version, row.first_seen, row.last_seen), row.name, row.used_by, n + 1 if numbered else None)
        for n, row in reversed(list(enumerate(found)))
    ][:MOST]
