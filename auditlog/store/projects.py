"""Owns the way from a project's number to its secret, for whoever reads evidence over a connection of their own."""

from __future__ import annotations

from typing import Any

import psycopg

from auditlog import secrets
from auditlog.errors import Problem
from auditlog.store.reader import Secrets


def project_secrets(conn: psycopg.Connection[Any]) -> Secrets:
    """A function that gives a project's secret, unwrapped once per project. Raises Problem("not_found"), SettingError."""
    known: dict[int, bytes] = {}

    def secret(project_id: int) -> bytes:
        if project_id not in known:
            row = conn.execute("SELECT secret_wrapped FROM project WHERE id = %s", (project_id,)).fetchone()
            if row is None:
                raise Problem("not_found", f"there is no project {project_id}")
            known[project_id] = secrets.unwrap(bytes(row[0]))
        return known[project_id]

    return secret
