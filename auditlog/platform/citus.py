"""Owns how the tables would lie in a Citus cluster, and the statements that put them there (docs/operate/scale.md: what is in the way).

Evidence is distributed by what it is read by: events by their trace, content by its own key. Derived tables lie with the session or the
trace that they are of. What gives batches an order stays on the coordinator: transaction numbers are one order on one machine only.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import psycopg

from auditlog.errors import Problem


class Distributed(NamedTuple):
    """Rows lie by the hash of `column`, beside those of `beside` with the same value (an empty text: a group of its own)."""

    column: str
    beside: str = ""


class Reference(NamedTuple):
    """A copy on every machine, because distributed tables are joined with it."""

    reason: str


class Local(NamedTuple):
    """On the coordinator alone."""

    reason: str


_ORDER: Final = Local("one order of transactions, and a snapshot over it, exist on one machine only (xid8, pg_current_snapshot)")
_PASS: Final = Local("joined with batch, by the one pass")
_PEOPLE: Final = Local("few rows, for people and keys")
_DJANGO: Final = Local("Django's own")

# Roots come before what lies beside them.
PLAN: Final[dict[str, Distributed | Reference | Local]] = {
    "project": Reference("sessions are joined with it (text_index); rows of people refer to it"),
    # evidence
    "event": Distributed("trace_key"),
    "content": Distributed("content_key"),
    "batch": _ORDER, "part": _ORDER,
    "leaf": _ORDER, "tile": _ORDER, "checkpoint": _ORDER, "log_key": _ORDER, "anchor": _ORDER,
    "bucket": Local("its generation is locked by each transaction of the writer"),
    "tombstone": Local("read with the parts whose roots it completes"),
    # derived
    "trace": Distributed("trace_key", "event"), "declared": Distributed("trace_key", "event"),
    "quarantined": Distributed("trace_key", "event"),
    "access_log": Distributed("trace_key", "event"),
    "session": Distributed("key"),
    "action": Distributed("session_key", "session"), "action_value": Distributed("session_key", "session"),
    "action_amount": Distributed("session_key", "session"), "session_term": Distributed("session_key", "session"),
    "timeline_part": Distributed("session_key", "session"), "search_text": Distributed("session_key", "session"),
    "version": Distributed("digest"),
    "part_leaves": Local("written where part is read, and deleted by its tombstones"),
    "derived": _PASS, "derive_failure": _PASS, "edition": _PASS, "tally": _PASS,
    # governance
    "api_key": _PEOPLE, "member": _PEOPLE, "member_group": _PEOPLE, "saved_search": _PEOPLE, "pin": _PEOPLE, "login_failure": _PEOPLE,
    "job": _PEOPLE, "verification": _PEOPLE,
    "retention_class": _PEOPLE, "retention_rules": _PEOPLE, "clock_event": _PEOPLE, "reclassified": _PEOPLE,
    "agent_flag": _PEOPLE, "hold": _PEOPLE, "disposition": _PEOPLE,
    "export_job": _PEOPLE, "export_release": _PEOPLE,
    "erasure": _PEOPLE, "erasure_item": _PEOPLE, "erasure_content": _PEOPLE, "restricted": _PEOPLE, "restricted_session": _PEOPLE,
    "session_loss": Local("few rows: sessions that lost a part of theirs and still have another"),
    "auth_user": _DJANGO, "auth_group": _DJANGO, "auth_permission": _DJANGO, "auth_group_permissions": _DJANGO,
    "auth_user_groups": _DJANGO, "auth_user_user_permissions": _DJANGO, "django_session": _DJANGO, "django_content_type": _DJANGO,
    "django_migrations": _DJANGO,
}  # fmt: skip

_MISSING: Final = """
    SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus'), EXISTS (SELECT FROM pg_available_extensions WHERE name = 'citus'),
           to_regclass('event') IS NOT NULL"""


def statements() -> dict[str, str]:
    """By table, in the order in which they have to be run."""
    made = {}
    for table, place in PLAN.items():
        if isinstance(place, Reference):
            made[table] = f"SELECT create_reference_table('{table}');"
        elif isinstance(place, Distributed):
            made[table] = f"SELECT create_distributed_table('{table}', '{place.column}', colocate_with => '{place.beside or 'none'}');"
    return made


def require(conn: psycopg.Connection[Any]) -> None:
    """Raises Problem("store_unavailable") where the statements cannot be run: no extension, or no tables yet."""
    row = conn.execute(_MISSING).fetchone()
    installed, available, migrated = row or (False, False, False)
    if not installed:
        todo = (
            "Run: CREATE EXTENSION citus; on the coordinator and on each worker, then SELECT citus_add_node(…) for each worker."
            if available
            else "Install Citus on the coordinator and on each worker, with shared_preload_libraries = 'citus', and start them again."
        )
        raise Problem("store_unavailable", f"The database {conn.info.dbname!r} has no extension citus, so nothing was distributed. {todo}")
    if not migrated:
        raise Problem("store_unavailable", f"The database {conn.info.dbname!r} has no tables yet. Run: manage.py setup")


def run(conn: psycopg.Connection[Any]) -> list[str]:
    """Distributes what is not distributed yet, one statement per transaction; may be repeated. The tables that it moved."""
    require(conn)
    conn.autocommit = True  # create_distributed_table copies rows: one table's failure must not undo the others
    done = {row[0] for row in conn.execute("SELECT logicalrelid::regclass::text FROM pg_dist_partition")}
    moved = []
    for table, statement in statements().items():
        if table not in done:
            conn.execute(statement.encode())
            moved.append(table)
    return moved


__all__ = ["PLAN", "Distributed", "Local", "Reference", "require", "run", "statements"]
