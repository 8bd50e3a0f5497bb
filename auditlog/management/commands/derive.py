"""Owns `manage.py derive`: the process that keeps the derived tables up with the evidence."""

from __future__ import annotations

import logging
import signal
import threading
import time
from typing import Any

import psycopg
from django.core.management.base import BaseCommand, CommandParser

from auditlog import metrics
from auditlog.derive.consume import NotAlone, Pass, declaring
from auditlog.derive.projects import ProjectSecrets
from auditlog.derive.summary import summarise
from auditlog.derive.text import Texts, index_texts
from auditlog.derive.timeline import Timelines
from auditlog.errors import Problem
from auditlog.platform import logs, process, telemetry
from auditlog.store.connect import connect
from auditlog.store.reader import Reader

log = logging.getLogger(__name__)

IDLE_SECONDS = 0.25
AWAY_SECONDS = 1.0
SUMMARISE_AT_LEAST_EVERY = 5.0  # seconds: binding goes first, but a busy ingest must not keep the ledger from being written


class Command(BaseCommand):
    help = "Consume committed batches: bind traces to sessions, summarise sessions, index their words. Runs until it is told to stop."
    requires_system_checks: list[str] = []  # a warning about pages must not keep the pass from running

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="Stop when nothing is left to do.")

    def handle(self, *_: Any, once: bool = False, **__: Any) -> None:
        if not once:
            logs.catch()
            telemetry.start("derive")
            process.collect_seldom()
        stop = threading.Event()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: stop.set())
        while not stop.is_set():
            try:
                with connect("derive") as conn:
                    self._run(conn, stop, once)
                return
            except (psycopg.OperationalError, psycopg.errors.UndefinedTable, Problem, NotAlone) as error:
                # Away, restarting, not migrated yet, or another process still has the lock: nothing is lost, it is tried again.
                if once:
                    raise
                log.warning("derive.waiting", extra={"error_kind": type(error).__name__})
                stop.wait(AWAY_SECONDS)

    def _run(self, conn: psycopg.Connection[tuple[Any, ...]], stop: threading.Event, once: bool) -> None:
        conn.autocommit = True
        reader = Reader(conn, ProjectSecrets(conn))
        work = Pass(conn, declaring(reader))
        timelines, texts = Timelines(reader), Texts()
        process.ready()
        while not stop.is_set():
            if work.superseded():
                raise NotAlone("a rebuild put another edition in the place of this one")
            busy = False
            enough = time.monotonic() + SUMMARISE_AT_LEAST_EVERY
            while (done := work.step()) and not stop.is_set():
                metrics.batches_derived.add(done)
                busy = True
                if time.monotonic() > enough:
                    break
            # Binding first, then the ledger, then words: each waits only for what is before it, and none for ever.
            busy = bool(summarise(conn, work.edition, timelines, texts)) or busy
            if index_texts(conn, work.edition, texts, timelines) or busy:
                continue
            if once:
                return
            stop.wait(IDLE_SECONDS)
