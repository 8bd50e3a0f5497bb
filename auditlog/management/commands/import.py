"""Owns `manage.py import`: OTLP/JSON that was kept elsewhere comes in as what exporters send, an export as it was."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import psycopg
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from auditlog import conf, governance
from auditlog.errors import Problem
from auditlog.export.incoming import Counts as Brought
from auditlog.export.incoming import Incoming, due, own
from auditlog.ingest.files import Batch, Counts, Importer, Trouble
from auditlog.management.commands.seal import operator, record_as_operator
from auditlog.models import Project
from auditlog.retention import classes, recording
from auditlog.search import evidence
from auditlog.store.connect import writer_connection
from auditlog.store.writer import Project as StoredProject
from auditlog.store.writer import Writer

TELL_SECONDS: Final = 10.0
_MOST_NAMED: Final = 1_000  # documents on standard error; all of them are in the file of --report


class Command(BaseCommand):
    help = "Store OTLP/JSON files, or an export of another installation. Given again, nothing is stored twice. docs/howto/import.md"
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument(
            "--otlp",
            metavar="FILE",
            nargs="+",
            help="OTLP/JSON, also as gzip or zstd: one request a line, or one document; - is standard input.",
        )
        what.add_argument("--export", metavar="FOLDER", type=Path, help="An export of another installation, unpacked.")
        parser.add_argument("--key", metavar="NAME+HASH+KEY", action="append", default=[], help="Of the log that sealed the export.")
        parser.add_argument("--although-due", action="store_true", help="Even where the class would dispose of some of it at once.")
        parser.add_argument("--project", metavar="SLUG", help="Needed where there is more than one.")
        parser.add_argument("--after-line", metavar="N", type=int, default=0, help="Of the first file: go on behind this line.")
        parser.add_argument(
            "--report", metavar="FILE", type=Path, help="Append a line of JSON for each batch (its receipt) and each trouble."
        )

    def handle(self, *_: Any, otlp: list[str] | None, export: Path | None, project: str | None, **asked: Any) -> None:
        if export is None:
            self._otlp(otlp or [], project, asked["after_line"], asked["report"])
        else:
            self._export(export, project, asked["key"], asked["although_due"])

    def _export(self, folder: Path, project: str | None, keys: list[str], although_due: bool) -> None:
        writer = Writer(writer_connection)
        incoming = None
        try:
            row = _project(project)
            into = recording.stored(evidence.raw_connection(), row.pk)
            incoming = Incoming(folder, keys)
            about = self._allowed(incoming, into, although_due)
            record_as_operator(row, "import", about)
            counts = self._brought(incoming, writer, into)
            record_as_operator(row, "import.end", about | {"counts": msgspec.to_builtins(counts)})
        except Problem as problem:
            raise CommandError(f"{problem.code}: {problem.message}") from problem
        except (OSError, psycopg.Error, DatabaseError) as error:
            raise CommandError(f"{str(error).strip()} {AGAIN}") from error
        finally:
            writer.close()
            governance.close()
            if incoming is not None:
                incoming.close()
        self.stdout.write(
            f"{counts.events - counts.there:,} events stored, {counts.there:,} were there before; {counts.papers:,} records of what their "
            "origin says of them. `manage.py verify --origins` proves it, once the background pass has seen them."
        )

    def _allowed(self, incoming: Incoming, into: StoredProject, although_due: bool) -> dict[str, Any]:
        """What is recorded of the import. Raises Problem where it must not be."""
        conn = evidence.raw_connection()
        told = incoming.told()
        for note in told.notes:
            self.stdout.write(note)
        if own(conn, incoming.keys()):
            raise Problem(
                "state_conflict", "A log of this very installation sealed this export: what it holds is here, or was disposed of."
            )
        days = classes.in_force(conn, into.class_no).days
        ended = due(into, told, days, datetime.now(UTC))
        if ended is not None and not although_due:
            raise Problem(
                "state_conflict",
                f"Nothing was stored. The project's class keeps {days:,} days, and the oldest, until {ended:%Y-%m-%d}, is due "
                "already: the next disposition would take it. Choose a longer class for the project first, or say --although-due.",
            )
        manifest = told.manifest
        return {
            "format": manifest["format"], "manifest_sha256": told.manifest_sha256, "made_at": manifest["made_at"],
            "project": manifest["project"], "scope": manifest["scope"], "recipient": manifest["recipient"], "purpose": manifest["purpose"],
            "logs": incoming.keys(), "checkpoint": manifest["checkpoint"], "events": told.events,
        }  # fmt: skip

    def _brought(self, incoming: Incoming, writer: Writer, into: StoredProject) -> Brought:
        papers, at = 0, datetime.fromisoformat(incoming.told().manifest["made_at"])
        for paper in incoming.papers():
            name = f"{paper.manifest} {paper.file} {paper.piece}"
            governance.record(into, operator(), "import.origin", msgspec.to_builtins(paper), identity=name, at=at)
            papers += 1
        last = time.monotonic()

        def tell(counts: Brought) -> None:
            nonlocal last
            if (now := time.monotonic()) - last > TELL_SECONDS:
                last = now
                self.stdout.write(f"{counts.events:,} events")

        counts = incoming.store(writer, into, tell)
        counts.papers = papers
        return counts

    def _otlp(self, otlp: list[str], project: str | None, after_line: int, report: Path | None) -> None:
        writer = Writer(writer_connection)
        try:
            row = _project(project)
            sources = [(name, _open(name)) for name in otlp]  # before anything is stored: a name that is misspelt is known at once
            about = {"files": [{"name": name, "bytes": _size(source)} for name, source in sources], "format": "otlp-json"}
            record_as_operator(row, "import", about)
            with Told(self, report) as told:
                into = recording.stored(evidence.raw_connection(), row.pk)
                work = Importer(writer, into, int(conf.get("AUDITLOG_MAX_BODY")), told.stored, told.trouble)
                try:
                    for number, (name, source) in enumerate(sources):
                        work.file(name, source, 0 if number else after_line)
                finally:
                    told.end(work.counts)
                record_as_operator(row, "import.end", about | {"counts": work.counts})
        except Problem as problem:
            raise CommandError(f"{problem.code}: {problem.message} {AGAIN}") from problem
        except (OSError, psycopg.Error, DatabaseError) as error:
            raise CommandError(f"{str(error).strip()} {AGAIN}") from error
        finally:
            writer.close()
            governance.close()
        if work.counts.refused or work.counts.quarantined:
            raise CommandError("Not all of it could be read: see above. The rest is stored.")


AGAIN: Final = "What was told as stored is stored; the same command goes on, and stores nothing twice."


def _project(slug: str | None) -> Project:
    found = [row for row in Project.objects.order_by("slug") if slug in (None, row.slug)]
    if len(found) != 1:
        raise CommandError(f"Say which project: --project {' | '.join(Project.objects.order_by('slug').values_list('slug', flat=True))}")
    return found[0]


def _open(name: str) -> io.BufferedReader:
    return io.BufferedReader(io.FileIO(sys.stdin.fileno(), closefd=False) if name == "-" else io.FileIO(name), 1 << 20)


def _size(source: io.BufferedReader) -> int | None:
    """Bytes of a file; None of a pipe."""
    return os.fstat(source.fileno()).st_size if source.seekable() else None


class Told:
    """What a person is told: troubles on standard error, progress now and then; all of it as lines of JSON where a file is named."""

    def __init__(self, command: BaseCommand, report: Path | None) -> None:
        self._command = command
        self._report = report.open("a", encoding="utf-8") if report else None
        self._started = self._last = time.monotonic()
        self._named = 0

    def __enter__(self) -> Told:
        return self

    def __exit__(self, *_: object) -> None:
        if self._report:
            self._report.close()

    def stored(self, batch: Batch) -> None:
        self._line({"file": batch.file, "first_line": batch.first, "last_line": batch.last, "receipt": batch.receipt})
        if (now := time.monotonic()) - self._last > TELL_SECONDS:
            self._last = now
            self._command.stdout.write(f"{batch.file}:{batch.last}  {self._rate(batch.counts)}")

    def trouble(self, trouble: Trouble) -> None:
        self._line(trouble._asdict())
        self._named += 1
        if self._named <= _MOST_NAMED:
            self._command.stderr.write(f"{trouble.file}:{trouble.line}: {trouble.code}: {trouble.message}")

    def end(self, counts: Counts) -> None:
        if self._named > _MOST_NAMED:
            self._command.stderr.write(f"… and {self._named - _MOST_NAMED:,} more; --report FILE names all of them.")
        self._command.stdout.write(self._rate(counts))
        self._command.stdout.write(
            f"{counts.stored:,} stored, {counts.duplicates:,} were stored before, {counts.quarantined:,} in quarantine, "
            f"{counts.own:,} of the service itself left out, {counts.refused:,} documents refused."
        )

    def _rate(self, counts: Counts) -> str:
        seconds = max(time.monotonic() - self._started, 0.001)
        return f"{counts.documents:,} documents, {counts.items:,} items, {counts.items / seconds:,.0f} items a second"

    def _line(self, value: dict[str, Any] | Sequence[Any]) -> None:
        if self._report:
            self._report.write(json.dumps(value) + "\n")
            self._report.flush()
