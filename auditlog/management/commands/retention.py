"""Owns `manage.py retention`: classes by command, from a new one to the rules by which a project's evidence goes into them."""

from __future__ import annotations

from typing import Any

import psycopg
from django.core.management.base import CommandError, CommandParser

from auditlog.management.given import OwnersCommand, moment
from auditlog.management.people import person
from auditlog.retention import classes, clocks, preview, reclassify, rules
from auditlog.store.kept import Rule


class Command(OwnersCommand):
    help = (
        "List retention classes; make, revise, approve or choose one, by rules too; keep something longer; tell of an event; flag an "
        "agent. As the owner."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--make", metavar="NAME", help="Another class, with --days, --basis and perhaps --clock and --second-person.")
        what.add_argument(
            "--revise", type=int, metavar="CLASS", help="Another version of a class, with --days and perhaps --clock, --second-person."
        )
        what.add_argument("--preview", type=int, metavar="CLASS", help="What --revise with --days and --clock would do; changes nothing.")
        what.add_argument("--approve", type=int, nargs=2, metavar=("CLASS", "VERSION"), help="Put a version in force that waits for it.")
        what.add_argument(
            "--choose", metavar="PROJECT", help="The class of what a project sends from now on: with --class, for --key alone."
        )
        what.add_argument("--rules", metavar="PROJECT", help="List the rules of a project, in the order in which they decide.")
        what.add_argument(
            "--rule", nargs=2, metavar=("PROJECT", "ATTRIBUTE=VALUE"),
            help="What comes from a resource with this attribute goes into --class from now on; --place 1: before all other rules.",
        )  # fmt: skip
        what.add_argument("--unrule", nargs=2, metavar=("PROJECT", "ATTRIBUTE=VALUE"), help="Remove a rule.")
        what.add_argument(
            "--tell", nargs=3, metavar=("PROJECT", "KIND", "VALUE"),
            help="--event happened to this customer, user, session, ...: clocks begin --at this time, or never (--at none).",
        )  # fmt: skip
        what.add_argument(
            "--reclassify", nargs="+", metavar=("PROJECT", "FILTER=VALUE"),
            help="Keep what matches these filters of a search as --class says, where its own class says less; with --reason.",
        )  # fmt: skip
        what.add_argument(
            "--end", nargs=2, metavar=("PROJECT", "ID"), help="End a reclassification that somebody else made; with --reason."
        )
        what.add_argument("--reclassified", metavar="PROJECT", help="List the reclassifications of a project.")
        what.add_argument("--flag", nargs=2, metavar=("PROJECT", "AGENT"), help="This agent is a high-risk system.")
        what.add_argument("--unflag", nargs=2, metavar=("PROJECT", "AGENT"), help="This agent is not, or not any more.")
        parser.add_argument("--days", type=int, help="Days that evidence is kept after the end of the period in which it was received.")
        parser.add_argument("--basis", help="What asks for a class: a law, a contract, or that nothing does.")
        parser.add_argument(
            "--clock", metavar="WHOSE", help="receipt, or whose event the days are counted from as well: customer, user, ..."
        )
        parser.add_argument("--second-person", choices=["yes", "no"], help="Whether a disposition needs an approver.")
        parser.add_argument("--class", type=int, dest="class_no", metavar="CLASS", help="Without it a key has its project's.")
        parser.add_argument("--key", metavar="ID", help="Public ID of a key of the project.")
        parser.add_argument("--place", type=int, metavar="N", help="Of a rule, counted from 1; without it, it is the last.")
        parser.add_argument("--event", help="In words: account closed.")
        parser.add_argument("--at", metavar="TIME", help="When it happened, UTC where it names no zone; none: the clock does not run.")
        parser.add_argument("--reason", help="Why it is kept longer, or is not any more.")
        parser.add_argument("--by", metavar="USERNAME", help="Who decides: an account with the role compliance.")

    def run(self, conn: psycopg.Connection[Any], given: dict[str, Any]) -> None:
        if given["preview"] is not None:
            self._preview(preview.preview(conn, given["preview"], _days(given), given["clock"]))
        elif (of := given["rules"] or (given["rule"] or given["unrule"] or [None])[0]) is not None:
            self._rules(conn, _project(conn, of), given)
        elif (of := given["reclassified"] or (given["reclassify"] or given["end"] or [None])[0]) is not None:
            self._reclassify(conn, _project(conn, of), given)
        else:
            self._do(conn, given)
            self._list(conn)

    def _do(self, conn: psycopg.Connection[Any], given: dict[str, Any]) -> None:
        second = None if given["second_person"] is None else given["second_person"] == "yes"
        if given["make"] is not None:
            clock = given["clock"] or classes.RECEIPT
            classes.make(
                conn, person(given["by"]), given["make"], _days(given), given["basis"] or "", clock=clock, second_person=bool(second)
            )
        elif given["revise"] is not None:
            how = {"second_person": second, "clock": given["clock"], "basis": given["basis"]}
            classes.revise(conn, person(given["by"]), given["revise"], _days(given), **how)
        elif given["approve"] is not None:
            classes.approve(conn, person(given["by"]), *given["approve"])
        elif given["choose"] is not None:
            classes.choose(conn, person(given["by"]), _project(conn, given["choose"]), given["class_no"], given["key"])
        elif given["tell"] is not None:
            slug, kind, value = given["tell"]
            if not given["at"]:
                raise CommandError("Say when it happened: --at 2026-03-01, or --at none where the clock does not run any more.")
            at = None if given["at"] == "none" else moment(given["at"])
            clocks.tell(conn, person(given["by"]), _project(conn, slug), kind, value, given["event"] or "", at)
        elif given["flag"] is not None or given["unflag"] is not None:
            slug, agent = given["flag"] or given["unflag"]
            classes.flag(conn, person(given["by"]), _project(conn, slug), agent, given["flag"] is not None)

    def _rules(self, conn: psycopg.Connection[Any], project: int, given: dict[str, Any]) -> None:
        if given["rule"] is not None:
            if given["class_no"] is None:
                raise CommandError("Say into which class: --class N.")
            rules.add(conn, person(given["by"]), project, Rule(*_pair(given["rule"][1]), given["class_no"]), given["place"])
        elif given["unrule"] is not None:
            rules.remove(conn, person(given["by"]), project, *_pair(given["unrule"][1]))
        for place, rule in enumerate(rules.in_force(conn, project).rules, 1):
            self.stdout.write(f"{place}  {rule.attribute}={rule.value}  class {rule.class_no}")
        self.stdout.write("otherwise the class of the key, else that of the project")

    def _reclassify(self, conn: psycopg.Connection[Any], project: int, given: dict[str, Any]) -> None:
        if given["reclassify"] is not None:
            if given["class_no"] is None:
                raise CommandError("Say as which class it is kept: --class N.")
            scope = dict(_pair(each) for each in given["reclassify"][1:])
            reclassify.make(conn, person(given["by"]), project, given["class_no"], given["reason"] or "", scope)
        elif given["end"] is not None:
            if not given["end"][1].isascii() or not given["end"][1].isdigit():
                raise CommandError(f"{given['end'][1]!r} is no number of a reclassification; --reclassified PROJECT lists them.")
            reclassify.end(conn, person(given["by"]), project, min(int(given["end"][1]), 2**63 - 1), given["reason"] or "")
        for one in reclassify.listed(conn, project):
            scope_told = " ".join(f"{name}={value}" for name, value in one.scope.items())
            ended = f"  ended by {one.ended_by['name']}: {one.end_reason}" if one.ended_by else ""
            self.stdout.write(
                f"reclassification {one.id}  class {one.class_no}  {scope_told}  by {one.made_by['name']}: {one.reason}{ended}"
            )

    def _preview(self, found: preview.Preview) -> None:
        for one in found.periods:
            waiting = f", of which {one.waiting} traces wait for an event" if one.waiting else ""
            self.stdout.write(
                f"bucket {one.bucket}  {one.starts:%Y-%m-%d} to {one.ends:%Y-%m-%d}  due {one.before:%Y-%m-%d}, then {one.then:%Y-%m-%d}"
                f"  {one.events} events  {one.sessions} sessions{waiting}"
            )
        self.stdout.write(
            f"due at once that is not due now: {found.becomes} buckets, {found.becomes_events} events, {found.becomes_sessions} sessions"
        )
        self.stdout.write(
            f"not due that is due now: {found.postponed} buckets, {found.postponed_events} events, {found.postponed_sessions} sessions"
        )
        if found.longer:
            self.stdout.write(f"{found.longer} reclassifications keep what is in other classes as this one says; that is not counted")
        self.stdout.write("It would wait for a second person." if found.waits else "It would be in force at once.")

    def _list(self, conn: psycopg.Connection[Any]) -> None:
        found = classes.versions(conn)
        newest = {one.class_no: one.version for one in found if one.in_force_at is not None}
        for one in found:
            state = (
                "in force" if newest.get(one.class_no) == one.version else "waits for a second person" if one.in_force_at is None else "was"
            )
            clock = f" (and after the event of its {one.clock_of})" if one.clock_of else ""
            self.stdout.write(f"class {one.class_no} version {one.version}  {one.name}  {one.days} days{clock}  {state}  {one.basis}")


def _days(given: dict[str, Any]) -> int:
    if given["days"] is None:
        raise CommandError("Say how long: --days N.")
    return int(given["days"])


def _pair(text: str) -> tuple[str, str]:
    """An attribute has no =, a value may."""
    attribute, found, value = text.partition("=")
    if not found:
        raise CommandError(f"{text!r} is no name with a value. Write NAME=VALUE, for instance deployment.environment.name=dev.")
    return attribute, value


def _project(conn: psycopg.Connection[Any], slug: str) -> int:
    row = conn.execute("SELECT id FROM project WHERE slug = %s", (slug,)).fetchone()
    if row is None:
        raise CommandError(f"There is no project {slug!r}.")
    return int(row[0])
