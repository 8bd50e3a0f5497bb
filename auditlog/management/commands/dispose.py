"""Owns `manage.py dispose`: scheduled deletion by command, from what is due to the certificate."""

from __future__ import annotations

import json
from typing import Any

import psycopg
from django.core.management.base import CommandParser

from auditlog.management.given import OwnersCommand
from auditlog.management.people import person
from auditlog.retention import dispositions, execute
from auditlog.store.projects import project_secrets


class Command(OwnersCommand):
    help = "List what is due and what is proposed, or propose, approve, refuse, cancel and execute a scheduled deletion. As the owner."

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--dry-run", type=int, metavar="BUCKET", help="What a disposition of this bucket would be. Changes nothing.")
        what.add_argument("--propose", type=int, metavar="BUCKET", help="Propose it.")
        what.add_argument("--approve", type=int, metavar="ID", help="Approve a proposal of somebody else.")
        what.add_argument("--refuse", type=int, metavar="ID", help="Refuse a proposal.")
        what.add_argument("--cancel", type=int, metavar="ID", help="Take a proposal back.")
        what.add_argument("--execute", type=int, metavar="ID", help="Execute it, or finish what was interrupted. Cannot be undone.")
        parser.add_argument("--by", metavar="USERNAME", help="Who decides: an account with the role compliance.")
        parser.add_argument("--reason", default="", help="Why it is refused or cancelled.")

    def run(self, conn: psycopg.Connection[Any], given: dict[str, Any]) -> None:
        if given["dry_run"] is not None:
            self._print(dispositions.report(conn, given["dry_run"]))
        elif given["propose"] is not None:
            made = dispositions.propose(conn, person(given["by"]), given["propose"])
            self._print(made.report)
            self.stdout.write(f"Disposition {made.id} is proposed.")
        elif given["approve"] is not None:
            dispositions.approve(conn, person(given["by"]), given["approve"])
            self.stdout.write(f"Disposition {given['approve']} is approved.")
        elif given["execute"] is not None:
            told = lambda step: self.stdout.write(f"{step} ...")  # noqa: E731
            self._print(execute.execute(conn, person(given["by"]), given["execute"], project_secrets(conn), told=told))
        elif given["refuse"] is not None or given["cancel"] is not None:
            state = "cancelled" if given["refuse"] is None else "refused"
            number = given["cancel"] if given["refuse"] is None else given["refuse"]
            dispositions.end(conn, person(given["by"]), number, state, given["reason"])
            self.stdout.write(f"Disposition {number} is {state}.")
        else:
            self._list(conn)

    def _list(self, conn: psycopg.Connection[Any]) -> None:
        for row in dispositions.buckets(conn):
            due = "due since" if row.due else "due on"
            self.stdout.write(
                f"bucket {row.bucket}  {row.starts:%Y-%m-%d} to {row.ends:%Y-%m-%d}  class {row.class_no} ({row.class_name})  {row.state}  "
                f"{due} {row.due_at:%Y-%m-%d}"
            )
        for one in dispositions.listed(conn):
            unfinished = (
                " (not finished: run --execute again)" if one.state == "executed" and not (one.recorded_at and one.forgotten_at) else ""
            )
            self.stdout.write(f"disposition {one.id}  bucket {one.bucket}  {one.state}{unfinished}  by {one.proposed_by['name']}")

    def _print(self, what: dict[str, Any]) -> None:
        self.stdout.write(json.dumps(what, indent=2))
