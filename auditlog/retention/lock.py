"""Owns the one lock under which evidence is held, disposed of and erased, so that none of the three can overtake another."""

from __future__ import annotations

from typing import Any, Final

import psycopg

from auditlog.errors import Problem

LOCK: Final = 7220
_WAIT: Final = "10s"


def take(conn: psycopg.Connection[Any]) -> None:
    """Until the end of the caller's transaction. Raises Problem("overloaded") where another holds it for long: nothing was changed."""
    try:
        row = conn.execute("SELECT current_setting('lock_timeout'), set_config('lock_timeout', %s, true)", (_WAIT,)).fetchone()
        conn.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        conn.execute("SELECT set_config('lock_timeout', %s, true)", (row[0] if row else "0",))
    except psycopg.errors.LockNotAvailable:
        raise Problem(
            "overloaded", "Evidence is being disposed of or erased at this moment, so nothing was changed. Try again in a minute."
        ) from None
