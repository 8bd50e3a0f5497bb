"""Owns how decisions on retention become evidence: one governance event in each project that they concern."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, LiteralString

import msgspec
import psycopg

from auditlog import governance, secrets
from auditlog.errors import Problem
from auditlog.governance import Action, Actor
from auditlog.retention.rows import rows
from auditlog.store import kept, writer

IN_FORCE: Final[LiteralString] = (  # of each class its version in force
    "(SELECT DISTINCT ON (class_no) * FROM retention_class WHERE in_force_at IS NOT NULL ORDER BY class_no, version DESC)"
)


def record(
    conn: psycopg.Connection[Any], projects: Iterable[int], actor: Actor, action: Action, about: Mapping[str, Any], *,
    identity: str | None = None, at: datetime | None = None,
) -> None:  # fmt: skip
    """Returns once it is committed, over a connection of its own. Raises Problem: then the caller must not go on.

    identity, at: what makes a repetition the same event, which is stored once.
    """
    for project in _stored(conn, projects):
        governance.record(project, actor, action, about, identity=identity, at=at)


def stored(conn: psycopg.Connection[Any], project_id: int) -> writer.Project:
    """A project as the store knows it, with the version of its class that is in force. Raises Problem("not_found")."""
    for project in _stored(conn, [project_id]):
        return project
    raise Problem("not_found", f"There is no project {project_id}.")


def _stored(conn: psycopg.Connection[Any], projects: Iterable[int]) -> list[writer.Project]:
    found = rows(
        conn,
        f"SELECT p.id, p.secret_wrapped, p.class_no, p.period, c.version, {kept.RULES} FROM project p "
        f"LEFT JOIN {IN_FORCE} c USING (class_no) WHERE p.id = ANY(%s) ORDER BY p.id",
        (sorted(projects),),
    )
    return [
        writer.Project(project_id, secrets.unwrap(bytes(wrapped)), class_no, period, version or 0, kept.rules(given))
        for project_id, wrapped, class_no, period, version, given in found
    ]


def who(actor: Actor) -> dict[str, str]:
    """As tables keep it: {"kind", "id", "name"}."""
    return {"kind": actor.kind, "id": actor.id, "name": actor.name}


def actor_of(row: Mapping[str, str]) -> Actor:
    return msgspec.convert(dict(row), Actor)


def same(row: Mapping[str, str], actor: Actor) -> bool:
    """Whether it is the same person or key."""
    return (row["kind"], row["id"]) == (actor.kind, actor.id)
