"""Owns `manage.py rebuild`: derived data computed again from evidence, beside what is there, and then instead of it."""

from __future__ import annotations

import os
import time
from typing import Any

import psycopg
from django.core.management.base import BaseCommand, CommandError, CommandParser

from auditlog.derive import rebuild
from auditlog.derive.consume import NotAlone, Pass, declaring
from auditlog.derive.projects import ProjectSecrets
from auditlog.derive.read import current_edition
from auditlog.derive.text import index_again
from auditlog.derive.timeline import Timelines
from auditlog.platform import process
from auditlog.store.connect import connect
from auditlog.store.reader import Reader

TELL_SECONDS = 10.0


class Command(BaseCommand):
    help = "Compute all derived data again from evidence, beside the current edition, then swap. Ingest and reading go on meanwhile."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_mutually_exclusive_group()
        what.add_argument(
            "--check", action="store_true", help="Compare the new edition with the current one, then remove it; 1: they differ."
        )
        what.add_argument("--discard", action="store_true", help="Give up a rebuild that was interrupted.")
        what.add_argument("--failed", action="store_true", help="Only try the batches again that were set aside.")
        what.add_argument("--words", metavar="PROJECT", help="Only the text index of a project (slug), after it was switched on or off.")

    def handle(self, *_: Any, check: bool, discard: bool, failed: bool, words: str | None, **__: Any) -> None:
        with connect("derive", autocommit=True) as conn:
            if failed:
                self.stdout.write(f"{rebuild.try_again(conn)} batches will be tried again by the running pass.")
            elif words is not None:
                self._words(conn, words)
            else:
                try:
                    self._rebuild(conn, check, discard)
                except (rebuild.Refused, NotAlone) as error:
                    raise CommandError(f"{error}. The current edition is as it was.") from error

    def _words(self, conn: psycopg.Connection[Any], slug: str) -> None:
        row = conn.execute("SELECT id FROM project WHERE slug = %s", (slug,)).fetchone()
        if row is None:
            raise CommandError(f"There is no project {slug!r}.")
        count = index_again(conn, current_edition(conn.cursor()), int(row[0]))
        self.stdout.write(f"The running pass will index the words of {count} sessions again.")

    def _rebuild(self, conn: psycopg.Connection[Any], check: bool, discard: bool) -> None:
        if leftover := rebuild.old(conn):
            self._remove(conn)
            if not check and not discard:
                self.stdout.write(f"An earlier rebuild had swapped already; removed edition {leftover}. Run this again for another one.")
                return
        if discard:
            row = conn.execute("SELECT number FROM edition WHERE state = 'filling'").fetchone()
            if row is not None:
                rebuild.discard(conn, int(row[0]))
                self._remove(conn)
            self.stdout.write("Nothing is being rebuilt.")
            return
        os.nice(5)  # what is current goes first
        process.collect_seldom()
        edition = rebuild.begin(conn)
        reader = Reader(conn, ProjectSecrets(conn))
        work = Pass(conn, declaring(reader), "filling")
        self.stdout.write(f"Filling edition {edition}.")
        rebuild.fill(conn, work, Timelines(reader), self._progress())
        if check:
            self._check(conn, work, reader)
            return
        rebuild.swap(conn, edition)
        work.release()
        self.stdout.write(f"Edition {edition} is current. Removing the old one.")
        self._remove(conn)
        self.stdout.write("Done.")

    def _check(self, conn: psycopg.Connection[Any], work: Pass, reader: Reader) -> None:
        differences = rebuild.compare(conn, work.edition, patience=0)
        deadline = time.monotonic() + 60
        while differences is None and time.monotonic() < deadline:
            rebuild.fill(conn, work, Timelines(reader))
            differences = rebuild.compare(conn, work.edition, patience=0.5)
        rebuild.discard(conn, work.edition)
        work.release()
        self._remove(conn)
        if differences is None:
            raise CommandError("Ingest did not pause for a moment, so the two editions were never at one point.", returncode=2)
        for table, current, new in differences:
            self.stdout.write(f"{table}: {current} rows only in the current edition, {new} only in the new one")
        if differences:
            raise CommandError("The editions differ.")
        self.stdout.write(f"The editions are equal in all {len(rebuild.TABLES)} tables.")

    def _remove(self, conn: psycopg.Connection[Any]) -> None:
        for number in rebuild.old(conn):
            rebuild.remove(conn, number)

    def _progress(self) -> Any:
        last = time.monotonic()

        def told(batches: int) -> None:
            nonlocal last
            if time.monotonic() - last > TELL_SECONDS:
                last = time.monotonic()
                self.stdout.write(f"{batches} batches")

        return told
