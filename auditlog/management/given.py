"""Owns how commands read what is given to them, and how those that decide on retention run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import psycopg
from django.core.management.base import BaseCommand, CommandError

from auditlog import governance
from auditlog.errors import Problem
from auditlog.store.connect import connect


def moment(text: str) -> datetime:
    """A day or a time, UTC where it names no zone. Raises CommandError."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise CommandError(f"{text!r} is no time. Write 2026-03-01 or 2026-03-01T10:00:00Z.") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


class OwnersCommand(BaseCommand):
    """A command over the owner's connection; a refusal is its error, and what was decided is recorded before it ends."""

    requires_system_checks: list[str] = []

    def handle(self, *_: Any, **given: Any) -> None:
        try:
            with connect("owner", autocommit=True) as conn:
                self.run(conn, given)
        except Problem as problem:
            raise CommandError(f"{problem.code}: {problem.message}") from problem
        finally:
            governance.close()

    def run(self, conn: psycopg.Connection[Any], given: dict[str, Any]) -> None:
        raise NotImplementedError
