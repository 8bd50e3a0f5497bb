"""Owns `manage.py erase`: requests of erasure by command, from what was asked to the certificate."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import psycopg
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from auditlog.management.given import OwnersCommand, moment
from auditlog.management.people import person
from auditlog.models import Project
from auditlog.retention import erasures, fulfil
from auditlog.retention.erasures import DUE_DAYS, Asked, Decision, Erasure
from auditlog.store import fields
from auditlog.store.projects import project_secrets


class Command(OwnersCommand):
    help = "List, enter, preview, decide and carry out requests of erasure. As the owner."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", help="Slug of the project.")
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--request", nargs="+", metavar="NAME=VALUE", help=f"Enter one: {', '.join(erasures.CONCERNS)}, or event=ID ...")
        what.add_argument("--preview", type=int, metavar="ID", help="What would go. Changes nothing.")
        what.add_argument("--decide", type=int, metavar="ID", help="Decide it, with --outcome and --reason.")
        what.add_argument("--carry-out", type=int, metavar="ID", help="Carry out what was decided, or finish it. Cannot be undone.")
        what.add_argument("--lift", type=int, metavar="ID", help="End a restriction, with --reason: what it hides is shown again.")
        parser.add_argument("--by", metavar="USERNAME", help="Who enters, decides or lifts: an account with the role compliance.")
        parser.add_argument("--outcome", choices=erasures.OUTCOMES)
        parser.add_argument("--field", nargs="+", default=[], choices=sorted(fields.NAMES.values()), help="Of the outcome redact.")
        parser.add_argument("--until", help="Of the outcome restrict: when it is to be looked at again.")
        parser.add_argument("--reason", default="", help="Why it is asked for, or why it is decided so. Kept: name nobody.")
        parser.add_argument("--basis", default="", help="The law or contract it is asked under.")
        parser.add_argument("--asked-by", default="", help="Who asked, for instance the number of their letter. Kept: name nobody.")
        parser.add_argument("--received", help="When it was received; now without it.")
        parser.add_argument("--due", help=f"Until when it is to be decided; {DUE_DAYS} days after its receipt without it.")

    def run(self, conn: psycopg.Connection[Any], given: dict[str, Any]) -> None:
        project = Project.objects.filter(slug=given["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {given['project']!r}.")
        if given["request"] is not None:
            made = erasures.request(conn, person(given["by"]), project.pk, _asked(given))
            self.stdout.write(f"Request {made.id} is entered, due on {made.due_at:%Y-%m-%d}.")
        elif given["preview"] is not None:
            self._print(erasures.preview(conn, erasures.get(conn, project.pk, given["preview"])))
        elif given["decide"] is not None:
            chosen = [number for number, name in fields.NAMES.items() if name in given["field"]]
            until = moment(given["until"]) if given["until"] else None
            decision = Decision(given["outcome"] or "", given["reason"], chosen, until)
            made = erasures.decide(conn, person(given["by"]), project.pk, given["decide"], decision)
            self.stdout.write(f"Request {made.id} is decided: {made.outcome}. Carry it out: --carry-out {made.id}")
        elif given["carry_out"] is not None:
            told = lambda step: self.stdout.write(f"{step} ...")  # noqa: E731
            self._print(fulfil.carry_out(conn, project.pk, given["carry_out"], project_secrets(conn), told=told))
        elif given["lift"] is not None:
            fulfil.lift(conn, person(given["by"]), project.pk, given["lift"], given["reason"], project_secrets(conn))
            self.stdout.write(f"The restriction of request {given['lift']} is lifted.")
        else:
            self._list(conn, project.pk)

    def _list(self, conn: psycopg.Connection[Any], project_id: int) -> None:
        for each in erasures.listed(conn, project_id):
            self.stdout.write(f"request {each.id}  {_stands(each)}  received {each.received_at:%Y-%m-%d}  due {each.due_at:%Y-%m-%d}")

    def _print(self, what: dict[str, Any]) -> None:
        self.stdout.write(json.dumps(what, indent=2))


def _stands(each: Erasure) -> str:
    """How a request stands, and what is left to do."""
    if each.outcome is not None and each.recorded_at is None:
        return f"{each.outcome} (not finished: run --carry-out again)"
    if each.until is not None and each.lifted_at is None:
        return f"restricted until {each.until:%Y-%m-%d}{' (to be looked at again)' if each.until <= timezone.now() else ''}"
    return erasures.standing(each)


def _asked(given: dict[str, Any]) -> Asked:
    scope: dict[str, Any] = {}
    for pair in given["request"]:
        name, sign, value = pair.partition("=")
        if not sign:
            raise CommandError(f"{pair!r} is not NAME=VALUE.")
        if name == "event":
            scope.setdefault("events", []).append(value)
        elif name in scope:
            raise CommandError(f"{name} is given twice; enter a request for each.")
        else:
            scope[name] = value
    received = moment(given["received"]) if given["received"] else timezone.now()
    due = moment(given["due"]) if given["due"] else received + timedelta(days=DUE_DAYS)
    return Asked(scope, given["reason"], given["basis"], given["asked_by"], received, due)
