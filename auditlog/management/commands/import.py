"""Owns `manage.py import`: OTLP/JSON that was kept elsewhere, at any age, comes in through the same path as what exporters send."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import psycopg
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from auditlog import conf, governance
from auditlog.errors import Problem
from auditlog.ingest.files import Batch, Counts, Importer, Trouble
from auditlog.management.commands.seal import record_as_operator
from auditlog.models import Project
from auditlog.retention import recording
from auditlog.search import evidence
from auditlog.store.connect import writer_connection
from auditlog.store.writer import Writer

TELL_SECONDS: Final = 10.0
_MOST_NAMED: Final = 1_000  # documents on standard error; all of them are in the file of --report


class Command(BaseCommand):
    help = "Store OTLP/JSON files: one request a line, or one document. Given again, nothing is stored twice. docs/howto/import.md"
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--otlp", metavar="FILE", nargs="+", required=True, help="OTLP/JSON, also as gzip or zstd; - is standard input."
        )
        parser.add_argument("--project", metavar="SLUG", help="Needed where there is more than one.")
        parser.add_argument("--after-line", metavar="N", type=int, default=0, help="Of the first file: go on behind this line.")
        parser.add_argument(
            "--report", metavar="FILE", type=Path, help="Append a line of JSON for each batch (its receipt) and each trouble."
        )

    def handle(self, *_: Any, otlp: list[str], project: str | None, after_line: int, report: Path | None, **__: Any) -> None:
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
