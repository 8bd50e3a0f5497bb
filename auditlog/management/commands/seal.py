"""Owns `manage.py seal`: the process that seals the log, and the operator's word that a restored database is the one to go on with."""

from __future__ import annotations

import getpass
import logging
import os
import signal
import threading
import time
from typing import Any, Final

import psycopg
from django.core.management.base import BaseCommand, CommandError, CommandParser

from auditlog import conf, governance, metrics
from auditlog.errors import Problem
from auditlog.models import Project
from auditlog.platform import logs, process, telemetry
from auditlog.retention import recording
from auditlog.seal import keys, restored, timestamps, witnesses
from auditlog.seal.copies import Copies, Differs
from auditlog.seal.refusal import Flag, Refused
from auditlog.seal.sealer import MOST, NotAlone, Sealer
from auditlog.search import evidence
from auditlog.store.connect import connect

log = logging.getLogger(__name__)

EVERY: Final = 1.0  # seconds between two rounds
REFUSED_EVERY: Final = 5.0
TOLD_EVERY: Final = 60.0
HELD_AFTER: Final = 30.0  # seconds that a committed batch may wait for an older transaction before it is said


class Command(BaseCommand):
    help = "Seal committed batches in the log and sign checkpoints. Runs until it is told to stop."
    requires_system_checks: list[str] = []  # a warning about pages must not keep the log from growing

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="Stop when nothing is left to seal; 1: the sealer refuses.")
        parser.add_argument(
            "--accept-restore", metavar="REASON", help="Go on from the database as it is, though something newer was signed; recorded."
        )

    def handle(self, *_: Any, once: bool = False, accept_restore: str | None = None, **__: Any) -> None:
        if accept_restore is not None:
            self._accept(accept_restore)
            return
        if once:
            self._once()
            return
        logs.catch()
        telemetry.start("sealer")
        stop, asked, authorities = threading.Event(), witnesses.configured(), timestamps.configured()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        witnesses.start(asked, stop)
        timestamps.start(authorities, stop)
        Loop(stop).run()

    def _once(self) -> None:
        with connect("sealer", autocommit=True) as conn:
            try:
                self.stdout.write(f"{Sealer(conn).drain()} parts sealed.")
            except (Refused, NotAlone) as error:
                raise CommandError(str(error)) from error

    def _accept(self, reason: str) -> None:
        if not reason.strip():
            raise CommandError("Say why the database is older: the reason is recorded.")
        with connect("sealer", autocommit=True) as conn:
            try:
                plan = restored.look(conn, keys.path())
            except Refused as error:
                raise CommandError(str(error)) from error
            # Recorded in every project before it is done: the log is one for all.
            about = {"reason": reason, "size": plan.now.size, "signed_size": plan.before.size if plan.before else None}
            for project in Project.objects.all():
                record_as_operator(project, "log.restore", about)
            restored.accept(keys.path(), plan, reason)
        self.stdout.write(f"The log goes on from checkpoint {plan.now.size}.")


def operator() -> governance.Actor:
    """Somebody who may run commands where the service runs; which person that was, the machine knows."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())  # one without a name, as in some containers
    return governance.Actor("shell", user, user)


def record_as_operator(project: Project, action: governance.Action, about: dict[str, Any]) -> None:
    """Raises CommandError: then it must not go on."""
    try:
        stored = recording.stored(evidence.raw_connection(), project.pk)
        governance.record(stored, operator(), action, about)
    except Problem as problem:
        raise CommandError(f"This has to be recorded first: {problem.message}") from problem


class Loop:
    """The process: seals, waits, and says what keeps it from sealing."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._refused = False
        self._told: dict[str, float] = {}
        metrics.observe("auditlog.seal.refused", lambda: float(self._refused))

    def run(self) -> None:
        while not self._stop.is_set():
            try:
                with connect("sealer", autocommit=True) as conn:
                    self._seal(conn)
                return
            except NotAlone:
                process.ready()  # it stands by
                if self._may_tell("standby"):
                    log.info("seal.standby")
            except (psycopg.Error, Problem, OSError) as error:
                # Away, restarting, not migrated yet, or the file beside the key cannot be written: nothing is lost, it is tried again.
                if self._may_tell("waiting"):
                    log.warning("seal.waiting", extra={"error_kind": type(error).__name__})
            self._stop.wait(EVERY)

    def _seal(self, conn: psycopg.Connection[Any]) -> None:
        sealer, flag = Sealer(conn), Flag(conn)
        folder = conf.get("AUDITLOG_ANCHOR_DIR")
        copies = Copies(conn, folder) if folder else None
        while not self._stop.is_set():
            try:
                done = sealer.round()
            except Refused as error:
                self._refused = True
                if flag.set(error.why) or self._may_tell("refused"):
                    log.error("seal.refused", extra={"reason": error.why.code})
                process.ready()
                self._stop.wait(REFUSED_EVERY)
                continue
            if flag.set(None):
                log.info("seal.resumed")
            self._refused = False
            process.ready()
            if copies is not None:
                self._copy(copies)
            if done < MOST:
                self._tell_held_back(sealer)
                self._stop.wait(EVERY)

    def _copy(self, copies: Copies) -> None:
        """Sealing goes on where a copy cannot be written: it is tried again, and what is missing stands on the page of the log."""
        try:
            copies.turn()
        except Differs:
            log.error("seal.copy_differs")
        except OSError as error:
            log.warning("seal.not_copied", extra={"error_kind": type(error).__name__})

    def _tell_held_back(self, sealer: Sealer) -> None:
        """A transaction that somebody left open keeps everything younger from being sealed: the sealer waits, and says so."""
        batches, seconds = sealer.held_back()
        if seconds > HELD_AFTER and self._may_tell("held back"):
            log.warning("seal.held_back", extra={"batches": batches, "seconds": round(seconds, 1)})

    def _may_tell(self, what: str) -> bool:
        now = time.monotonic()
        if now - self._told.get(what, float("-inf")) < TOLD_EVERY:
            return False
        self._told[what] = now
        return True
