"""Owns how a process reaches PostgreSQL: which URL, as which role of `roles.sql`, with which time limits."""

from __future__ import annotations

import os
from typing import Any

import psycopg
from psycopg import conninfo

from auditlog import conf
from auditlog.errors import Problem

ROLES = ("owner", "ingest", "web", "derive", "sealer")


def _base() -> str:
    url = str(conf.get("DATABASE_URL"))
    if url:
        return url
    # The supervisor writes where its embedded PostgreSQL listens, so that a command in another shell finds it.
    file = conf.get("AUDITLOG_DATA") / "database-url"
    try:
        return str(file.read_text()).strip()
    except OSError as error:
        raise Problem(
            "store_unavailable", "no database: DATABASE_URL is not set and no embedded PostgreSQL is running; start it with `make run`"
        ) from error


def url(role: str) -> str:
    """The conninfo of a role. Raises Problem("store_unavailable") where no database is configured.

    With one owner URL each process takes its role by a start-up option (RESET ROLE leads back to it, not to the owner).
    """
    own = "" if role == "owner" else str(conf.get(f"AUDITLOG_{role.upper()}_DATABASE_URL"))
    if own or role == "owner":
        return own or _base()
    parts = conninfo.conninfo_to_dict(_base())
    options = f"{parts.get('options') or ''} -c role=auditlog_{role}".strip()
    return conninfo.make_conninfo(_base(), options=options)


def connect(role: str, **settings: Any) -> psycopg.Connection[tuple[Any, ...]]:
    """A connection of a role. Raises psycopg.OperationalError, Problem("store_unavailable")."""
    settings.setdefault("connect_timeout", 3)
    settings.setdefault("application_name", f"auditlog {role} {os.getpid()}")
    return psycopg.connect(url(role), **settings)


def writer_connection() -> psycopg.Connection[Any]:
    """A connection for a Writer: as the ingest role, with statements that end before a sender's patience does."""
    connection = connect("ingest", tcp_user_timeout=8000)
    connection.execute(
        "SELECT set_config('statement_timeout', '7s', false), set_config('lock_timeout', '5s', false), "
        "set_config('idle_in_transaction_session_timeout', '30s', false)"
    )
    connection.commit()
    return connection
