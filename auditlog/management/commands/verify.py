"""Owns `manage.py verify`: the database, or some of it, against what was acknowledged, sealed and signed."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

import psycopg
from django.core.management.base import BaseCommand, CommandError, CommandParser

from auditlog import conf, verifications
from auditlog.derive.read import current_edition
from auditlog.errors import Problem
from auditlog.export.origins import check
from auditlog.management.given import moment
from auditlog.models import Project
from auditlog.search import evidence
from auditlog.search.scope import Scope
from auditlog.store.connect import connect
from auditlog.verify.log import Pin
from auditlog.verify.standalone import Wrong, read_checkpoint
from auditlog.verify.whole import Progress
from auditlog.verify.whole import Scope as Verified

TELL_SECONDS = 10.0


class Command(BaseCommand):
    help = "Verify everything, or one batch, session or range. Interrupted, the same command goes on. 1: something is wrong."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--session", metavar="KEY", help="The batches that hold records of this session.")
        parser.add_argument("--batch", metavar="N", type=int, dest="batch_no")
        parser.add_argument("--from", metavar="TIME", dest="since", type=moment, help="Received then or later: 2026-03-01 or RFC 3339.")
        parser.add_argument("--to", metavar="TIME", dest="until", type=moment, help="Received before then.")
        parser.add_argument("--checkpoint", metavar="FILE", type=Path, help="One kept elsewhere: the log must still have its root.")

        parser.add_argument("--origins", action="store_true", help="Instead: what was imported, against the logs that it came from.")

    def handle(self, *_: Any, session: str | None, checkpoint: Path | None, origins: bool, **asked: Any) -> None:
        if origins:
            self._origins()
            return
        try:
            scope = Verified(asked["batch_no"], session, _traces(session) if session else None, asked["since"], asked["until"])
            pins = [] if checkpoint is None else [_pin(checkpoint)]
            if pins and not scope.everything:
                raise CommandError("A checkpoint is compared with the whole log: leave the scope out.")
            row = verifications.begin(scope)
            if row.progress is not None:
                self.stdout.write(f"Going on with verification {row.pk} of {row.started_at:%Y-%m-%d %H:%M} UTC.")
            verifications.go_on(row, tell=self._progress(), pins=pins)
        except (Problem, Wrong, conf.SettingError, OSError, psycopg.Error) as error:
            raise CommandError(str(error).strip(), returncode=2) from error
        self._report(row)
        if row.fault_count:
            raise CommandError("Something is wrong.")

    def _origins(self) -> None:
        wrong = False
        for project in Project.objects.order_by("slug"):
            for one in check(evidence.raw_connection(), Scope(project.pk)):
                self.stdout.write(
                    f"{project.slug}, export {one.manifest[:16]}…: {one.proven:,} events lie in the checkpoint of {one.size:,} leaves that "
                    f"{one.origin} signed; {one.absent:,} of its parts are not here"
                )
                for fault in one.faults:
                    self.stdout.write(f"  {fault}")
                wrong = wrong or bool(one.faults)
        if wrong:
            raise CommandError("Something is wrong.")

    def _report(self, row: Any) -> None:
        self.stdout.write(", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in row.counts.items()))
        if row.counts["not_sealed"]:
            self.stdout.write(f"{row.counts['not_sealed']:,} parts are not sealed yet: whether one is missing cannot be said of them.")
        if row.counts["signatures_unchecked"]:
            said = f"Of {row.counts['signatures_unchecked']:,} timestamps the signature was NOT checked"
            self.stdout.write(f"{said}: AUDITLOG_TIMESTAMP_AUTHORITIES does not name their authorities.")
        if row.log_size is None and not any(row.scope.values()):
            self.stdout.write("Nothing is sealed: only what batches say of themselves was compared.")
        for fault in row.faults:
            about = f"batch {fault['batch_no']}" if fault["batch_no"] is not None else "log"
            event = f", event {fault['event']}" if fault["event"] else ""
            self.stdout.write(f"{fault['code']}  {about}{event}: {fault['message']}")
        if row.cut_short:
            self.stdout.write(f"CUT SHORT: {row.fault_count:,} faults, the first {len(row.faults)} are above.")

    def _progress(self) -> Any:
        last = time.monotonic()

        def told(progress: Progress) -> None:
            nonlocal last
            if (now := time.monotonic()) - last > TELL_SECONDS:
                last = now
                self.stdout.write(
                    f"{progress.stage}: {progress.leaves:,} leaves, {progress.batches:,} batches, {progress.fault_count:,} faults"
                )

        return told


def _traces(key: str) -> list[uuid.UUID]:
    """The traces of a session of any project. Raises CommandError for a key of none."""
    with connect("web", autocommit=True) as conn:
        query = "SELECT trace_key FROM trace WHERE session_key = %s AND edition = %s ORDER BY 1"
        found = [row[0] for row in conn.execute(query, (key, current_edition(conn.cursor())))]
    if not found:
        raise CommandError(f"There is no session {key!r}.")
    return found


def _pin(file: Path) -> Pin:
    checkpoint = read_checkpoint(file.read_text())
    return Pin(checkpoint.size, checkpoint.root, f"{file} says")
