"""Owns what is asked of the PostgreSQL server before it is trusted: the facts of `durability`, by a connection of the role concerned."""

from __future__ import annotations

import threading
import time
from typing import Any, Final, LiteralString

import psycopg

from auditlog import conf
from auditlog.errors import Problem
from auditlog.store import durability
from auditlog.store.connect import connect
from auditlog.store.durability import WEB, Fact, Finding

# The version's text names the system that PostgreSQL runs on. A table that may be derived again may be unlogged.
_LOOK: Final[LiteralString] = """
    SELECT s.name, s.setting, s.source, s.context, session_user, current_database() FROM pg_settings s WHERE s.name = ANY(%s)
    UNION ALL SELECT 'in_recovery', CASE WHEN pg_is_in_recovery() THEN 'on' ELSE 'off' END, '', '', session_user, current_database()
    UNION ALL SELECT 'platform', CASE WHEN version() LIKE '%%darwin%%' THEN 'darwin' WHEN version() ~* 'mingw|msvc|windows|visual'
        THEN 'windows' ELSE 'other' END, '', '', session_user, current_database()
    UNION ALL SELECT 'unlogged', coalesce(string_agg(c.oid::regclass::text, ', ' ORDER BY c.relname), ''), '', '', session_user,
        current_database() FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relpersistence = 'u'
        AND obj_description(c.oid, 'pg_class') IS DISTINCT FROM 'derived'"""


def look(conn: psycopg.Connection[Any]) -> dict[str, Fact]:
    """What the server says to this connection's role. Raises psycopg.Error."""
    rows = conn.execute(_LOOK, (durability.SETTINGS,)).fetchall()
    # From a database without an encoding (E013) psycopg gives text as bytes.
    told = ([text.decode() if isinstance(text, bytes) else text for text in row] for row in rows)
    return {name: Fact(value, *rest) for name, value, *rest in told if value is not None}


def ask() -> list[Finding]:
    """Every finding, asked as ingest and as the pages, each over a connection of its own. Raises psycopg.Error, Problem."""
    with connect("ingest") as conn:
        facts = look(conn)
    with connect("web") as conn:
        facts |= {f"{WEB}{name}": fact for name, fact in look(conn).items()}
    return durability.findings(facts)


def refusal(found: list[Finding]) -> Problem:
    """What a sender is told while settings of the server would lose what it sends."""
    first, more = found[0], len(found) - 1
    others = f" (and {', '.join(one.id for one in found[1:])})" if more else ""
    return Problem(
        "store_unsafe",
        f"Nothing was stored, because the database might lose it: {first.message} ({first.id}){others}. "
        f"For the operator: {first.hint} Or start the service with AUDITLOG_UNSAFE_DATABASE=1. Send it again.",
        detail={"checks": [one.id for one in found]},
    )


class Standing:
    """What stands between ingest and the server's settings, for pages and health checks, asked when one of them comes and
    the last answer is older than `remembered` seconds: that one waits for it, some 5 ms."""

    def __init__(self, remembered: float = 10.0) -> None:
        self.remembered = remembered
        self._lock = threading.Lock()
        self._found: list[Finding] = []
        self._until = float("-inf")

    def dangers(self) -> list[Finding]:
        """Findings on which ingest refuses, or would without AUDITLOG_UNSAFE_DATABASE. While nobody answers: what was known last."""
        if time.monotonic() < self._until or not self._lock.acquire(blocking=False):
            return self._found  # one asks, the others do not wait
        try:
            self._until = time.monotonic() + self.remembered
            with connect("ingest") as conn:
                self._found = durability.refused(durability.findings(look(conn)))
        except (psycopg.Error, Problem):
            pass  # away: that is said elsewhere, and these settings are not what is wrong now
        finally:
            self._lock.release()
        return self._found

    def forget(self) -> None:
        self._until = float("-inf")


def allowed() -> bool:
    """Whether the operator said that ingest is to store all the same."""
    return bool(conf.get("AUDITLOG_UNSAFE_DATABASE"))


standing: Final = Standing()
