"""Owns how the pass and the pages come by a project's secret, which reading content needs."""

from __future__ import annotations

from typing import Any

import psycopg

from auditlog import secrets


class ProjectSecrets:
    """project_id to secret, remembered for as long as its owner lives: a project's secret never changes."""

    def __init__(self, conn: psycopg.Connection[Any]) -> None:
        self._conn = conn
        self._known: dict[int, bytes] = {}

    def __call__(self, project_id: int) -> bytes:
        if project_id not in self._known:
            row = self._conn.execute("SELECT secret_wrapped FROM project WHERE id = %s", (project_id,)).fetchone()
            if row is None:
                raise LookupError(f"project {project_id} does not exist")
            self._known[project_id] = secrets.unwrap(row[0])
        return self._known[project_id]
