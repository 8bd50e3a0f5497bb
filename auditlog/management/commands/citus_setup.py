"""Owns `manage.py citus_setup`: prints the statements that distribute the tables over a Citus cluster, or runs them."""

from __future__ import annotations

from typing import Any

import psycopg
from django.core.management.base import BaseCommand, CommandError, CommandParser

from auditlog.errors import Problem
from auditlog.platform import citus
from auditlog.store.connect import connect


class Command(BaseCommand):
    help = (
        "Prints how the tables are distributed over a Citus cluster. --run does it, on the coordinator. Read docs/operate/scale.md first."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--run", action="store_true", help="Run the statements; tables that are distributed already are left alone.")

    def handle(self, *_: Any, run: bool = False, **__: Any) -> None:
        if not run:
            self.stdout.write(_script())
            return
        try:
            with connect("owner") as conn:
                moved = citus.run(conn)
        except (Problem, psycopg.Error) as error:
            raise CommandError(str(error).strip()) from error
        self.stdout.write("\n".join(f"distributed: {table}" for table in moved) or "Everything was distributed already.")


def _script() -> str:
    lines = ["-- Run on the coordinator, as the owner, once manage.py setup has run."]
    lines += citus.statements().values()
    lines.append("-- Stay on the coordinator:")
    lines += [f"--   {table}: {place.reason}" for table, place in citus.PLAN.items() if isinstance(place, citus.Local)]
    return "\n".join(lines)
