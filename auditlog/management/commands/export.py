"""Owns `manage.py export`: a folder with the evidence of a project, or of some sessions, and everything to check it with."""

from __future__ import annotations

import getpass
import json
import time
import uuid
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from django.core.management.base import BaseCommand, CommandError, CommandParser

from auditlog import governance
from auditlog.derive import read
from auditlog.errors import Problem
from auditlog.export.choice import Wish, Withheld
from auditlog.export.folder import export
from auditlog.export.forms.write import DEFAULT, EVIDENCE, FORMS
from auditlog.management.given import moment
from auditlog.retention import recording
from auditlog.store.connect import connect
from auditlog.store.projects import project_secrets
from auditlog.web.handed import Pages

TELL_SECONDS = 10.0


class Command(BaseCommand):
    help = "Write a folder with evidence, proofs and a verifier. Interrupted, the same command goes on. docs/howto/export.md"
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--to", metavar="FOLDER", required=True, type=Path, help="A folder that does not exist yet, or was begun so.")
        parser.add_argument("--project", metavar="SLUG", help="Needed where there is more than one.")
        parser.add_argument("--session", metavar="KEY", action="append", default=[], help="Only this session; may be given more than once.")
        parser.add_argument("--from", metavar="TIME", dest="since", type=moment, help="Received then or later: 2026-03-01 or RFC 3339.")
        parser.add_argument("--to-time", metavar="TIME", dest="until", type=moment, help="Received before then.")
        parser.add_argument(
            "--format", metavar="NAME", dest="formats", action="append", choices=(EVIDENCE, *FORMS),
            help=f"Besides the evidence, which is always in it: {', '.join(FORMS)}; may be given more than once. {EVIDENCE}: nothing else. "
            f"Without it: {', '.join(DEFAULT)}.",
        )  # fmt: skip
        parser.add_argument("--recipient", required=True, help="Who gets it. Stands in the manifest and in the record of the export.")
        parser.add_argument("--purpose", required=True, help="What for. Likewise.")
        parser.add_argument(
            "--withhold", metavar="FILE", type=Path, help='Lines of {"id", "field" or null, "reason", "basis"}: leave that out, and say so.'
        )

    def handle(self, *_: Any, to: Path, project: str | None, session: list[str], withhold: Path | None, **asked: Any) -> None:
        try:
            with connect("web", autocommit=True) as conn:
                number, name = self._project(conn, project)
                wish = Wish(
                    number, name, asked["recipient"], asked["purpose"], session,
                    _traces(conn, number, session) if session else None, asked["since"], asked["until"], _withheld(withhold),
                    asked["formats"] or DEFAULT,
                )  # fmt: skip
                scope = {"sessions": session, "from": wish.since, "to": wish.until, "withheld": len(wish.withheld), "formats": wish.formats}
                about = {"recipient": wish.recipient, "purpose": wish.purpose, "scope": scope, "folder": str(to)}
                recording.record(conn, [number], governance.Actor("shell", getpass.getuser(), getpass.getuser()), "export", about)
                done = export(conn, project_secrets(conn), wish, to, self._progress(), Pages())
        except (Problem, OSError, psycopg.Error) as error:
            raise CommandError(str(error).strip()) from error
        finally:
            governance.close()
        self.stdout.write(f"{done.events:,} events, {done.contents:,} contents, {done.parts:,} parts, {done.bytes:,} bytes in {to}")
        if done.withheld:
            self.stdout.write(f"Left out, and named in withheld.jsonl: {done.withheld:,}")
        if done.not_sealed:
            self.stdout.write(f"NOT in it: {done.not_sealed:,} events of the scope that no checkpoint covers yet. Export again for them.")

    def _project(self, conn: psycopg.Connection[Any], slug: str | None) -> tuple[int, str]:
        rows = conn.execute("SELECT slug, id, name FROM project ORDER BY slug").fetchall()
        found = [row for row in rows if slug in (None, row[0])]
        if len(found) != 1:
            raise CommandError(f"Say which project: --project {' | '.join(row[0] for row in rows)}")
        return found[0][1], found[0][2]

    def _progress(self) -> Any:
        started = last = time.monotonic()

        def told(events: int) -> None:
            nonlocal last
            if (now := time.monotonic()) - last > TELL_SECONDS:
                last = now
                self.stdout.write(f"{events:,} events, {events / (now - started):,.0f} a second")

        return told


def _traces(conn: psycopg.Connection[Any], project_id: int, keys: list[str]) -> list[uuid.UUID]:
    """The traces of these sessions, in one order. Raises CommandError for a key of none."""
    cursor = conn.cursor()
    edition = read.current_edition(cursor)
    traces: set[uuid.UUID] = set()
    for key in keys:
        facts = read.session_facts(cursor, edition, project_id, key)
        if facts is None:
            raise CommandError(f"There is no session {key!r} in this project.")
        traces.update(facts.trace_keys)
    return sorted(traces)


def _withheld(file: Path | None) -> list[Withheld]:
    if file is None:
        return []
    try:
        return [msgspec.convert(json.loads(line), Withheld) for line in file.read_text().splitlines() if line.strip()]
    except (ValueError, msgspec.ValidationError) as error:
        raise CommandError(f"{file}: {error}") from error
