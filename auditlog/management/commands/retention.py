"""Owns `manage.py retention`: classes by command, from a new version to the class that a project or a key sends into."""

from __future__ import annotations

from typing import Any

import psycopg
from django.core.management.base import CommandError, CommandParser

from auditlog.management.given import OwnersCommand
from auditlog.management.people import person
from auditlog.retention import classes


class Command(OwnersCommand):
    help = "List retention classes, or revise, approve or choose one, or flag an agent as high-risk. As the owner."

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_mutually_exclusive_group()
        what.add_argument(
            "--revise", type=int, metavar="CLASS", help="Another version of a class, with --days and perhaps --second-person."
        )
        what.add_argument("--approve", type=int, nargs=2, metavar=("CLASS", "VERSION"), help="Put a version in force that waits for it.")
        what.add_argument(
            "--choose", metavar="PROJECT", help="The class of what a project sends from now on: with --class, for --key alone."
        )
        what.add_argument("--flag", nargs=2, metavar=("PROJECT", "AGENT"), help="This agent is a high-risk system.")
        what.add_argument("--unflag", nargs=2, metavar=("PROJECT", "AGENT"), help="This agent is not, or not any more.")
        parser.add_argument("--days", type=int, help="Days that evidence is kept after the end of the period in which it was received.")
        parser.add_argument("--second-person", choices=["yes", "no"], help="Whether a disposition needs an approver.")
        parser.add_argument("--class", type=int, dest="class_no", metavar="CLASS", help="Without it a key has its project's.")
        parser.add_argument("--key", metavar="ID", help="Public ID of a key of the project.")
        parser.add_argument("--by", metavar="USERNAME", help="Who decides: an account with the role compliance.")

    def run(self, conn: psycopg.Connection[Any], given: dict[str, Any]) -> None:
        self._do(conn, given)
        self._list(conn)

    def _do(self, conn: psycopg.Connection[Any], given: dict[str, Any]) -> None:
        if given["revise"] is not None:
            if given["days"] is None:
                raise CommandError("Say how long: --days N.")
            second = None if given["second_person"] is None else given["second_person"] == "yes"
            classes.revise(conn, person(given["by"]), given["revise"], given["days"], second_person=second)
        elif given["approve"] is not None:
            classes.approve(conn, person(given["by"]), *given["approve"])
        elif given["choose"] is not None:
            classes.choose(conn, person(given["by"]), _project(conn, given["choose"]), given["class_no"], given["key"])
        elif given["flag"] is not None or given["unflag"] is not None:
            slug, agent = given["flag"] or given["unflag"]
            classes.flag(conn, person(given["by"]), _project(conn, slug), agent, given["flag"] is not None)

    def _list(self, conn: psycopg.Connection[Any]) -> None:
        found = classes.versions(conn)
        newest = {one.class_no: one.version for one in found if one.in_force_at is not None}
        for one in found:
            state = (
                "in force" if newest.get(one.class_no) == one.version else "waits for a second person" if one.in_force_at is None else "was"
            )
            self.stdout.write(f"class {one.class_no} version {one.version}  {one.name}  {one.days} days  {state}  {one.basis}")


def _project(conn: psycopg.Connection[Any], slug: str) -> int:
    row = conn.execute("SELECT id FROM project WHERE slug = %s", (slug,)).fetchone()
    if row is None:
        raise CommandError(f"There is no project {slug!r}.")
    return int(row[0])
