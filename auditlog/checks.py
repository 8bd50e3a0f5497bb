"""Owns that `manage.py check --database default` (and `migrate`) says what is wrong with the PostgreSQL server, and how to mend it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import psycopg
from django.core import checks
from django.db import DatabaseError, connections

from auditlog.errors import Problem
from auditlog.store import server

SILENT: Final = "auditlog.E000"  # nobody could be asked


@checks.register(checks.Tags.database)
def server_settings(*, databases: Collection[str] | None = None, **_: Any) -> list[checks.CheckMessage]:
    """The findings of `auditlog.store.durability`, asked as the roles concerned. Nothing is asked of a database that is not set up yet."""
    if "default" not in (databases or ()):
        return []
    try:
        with connections["default"].cursor() as cursor:
            cursor.execute("SELECT to_regclass('event') IS NULL")
            if cursor.fetchone()[0]:
                return []
        found = server.ask()
    except (DatabaseError, psycopg.Error, Problem) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        hint = "Start PostgreSQL, and run: manage.py setup (it makes the roles; DATABASE_URL and AUDITLOG_*_DATABASE_URL say where)."
        return [checks.Error(f"the database cannot be asked as every role: {said}", hint=hint, id=SILENT)]
    # Told to store all the same, an operator is warned and not stopped: `migrate` runs these checks, too.
    error_level = checks.WARNING if server.allowed() else checks.ERROR
    return [checks.CheckMessage(error_level if one.error else checks.WARNING, one.message, hint=one.hint, id=one.id) for one in found]
