"""Owns what a database needs beside its tables: roles with their rights, and the tables of the embedded broker."""

from __future__ import annotations

import psycopg
from django.db import connection, connections, transaction
from django.db.backends.utils import CursorWrapper
from pgmq import get_embedded_install_sql
from psycopg.conninfo import conninfo_to_dict

from auditlog import conf
from auditlog.store import roles


def apply(using: str) -> None:
    """May be repeated, and two setups may do it at once. Does nothing on a database that is not migrated."""
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        cursor.execute("SELECT to_regclass('event') IS NOT NULL AND to_regclass('job') IS NOT NULL")
        if not cursor.fetchone()[0]:
            return
        cursor.execute("SELECT pg_advisory_xact_lock(7206)")
        roles.apply(cursor)
        cursor.execute("GRANT SELECT ON django_migrations TO auditlog_web, auditlog_derive")  # /readyz asks whether all are applied
        _install_broker(cursor)


def logins() -> list[str]:
    """Lets the roles log in that have a URL of their own, with that URL's password; the names of those it changed.

    A URL that works already is left alone: whoever runs the database may have made that role, and may keep its password.
    """
    made = []
    for role in ("ingest", "web", "derive", "sealer"):
        url = conf.get(f"AUDITLOG_{role.upper()}_DATABASE_URL")
        parts = conninfo_to_dict(url) if url else {}
        if not parts.get("password") or _works(url):
            continue
        user = str(parts["user"])
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT format('%%I', %s::text), format('%%L', %s::text)", [user, parts["password"]])
            name, password = cursor.fetchone()
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [user])
            if cursor.fetchone() is None:
                cursor.execute(f"CREATE ROLE {name}")
            cursor.execute(f"ALTER ROLE {name} LOGIN PASSWORD {password}")
            if user != f"auditlog_{role}":
                cursor.execute(f"GRANT auditlog_{role} TO {name}")
        made.append(user)
    return made


def _works(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


def _install_broker(cursor: CursorWrapper) -> None:
    """The queue tables of kombu's pgmq transport, owned by the role that workers and pages connect as.

    pgmq's own installer fails when it is repeated (plain CREATE FUNCTION), and a queue's indexes can be made only by the
    owner of its tables: hence the guard, and the schema that belongs to `auditlog_web`. Its script begins with CREATE SCHEMA
    IF NOT EXISTS, which asks for the right to create even where the schema exists: granted for this transaction only.
    """
    cursor.execute("SELECT to_regclass('pgmq.meta') IS NULL")
    if not cursor.fetchone()[0]:
        return
    cursor.execute("CREATE SCHEMA IF NOT EXISTS pgmq AUTHORIZATION auditlog_web")
    cursor.execute("SELECT format('%I', current_database())")
    database = cursor.fetchone()[0]
    cursor.execute(f"GRANT CREATE ON DATABASE {database} TO auditlog_web")
    cursor.execute("SET LOCAL ROLE auditlog_web")
    cursor.execute(get_embedded_install_sql())
    cursor.execute("RESET ROLE")
    cursor.execute(f"REVOKE CREATE ON DATABASE {database} FROM auditlog_web")
