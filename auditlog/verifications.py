"""Owns the record of verifications: begun, gone on with from where it was, finished; by the background workers once a day, and by command.

The row is kept after each portion. Killed in between: that portion is done again. Two processes never work on the same one: whoever has
the advisory lock of its row does.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import msgspec
from django.utils import timezone

from auditlog import conf
from auditlog.errors import Problem
from auditlog.models import Verification
from auditlog.seal import timestamps
from auditlog.store.connect import connect
from auditlog.store.projects import project_secrets
from auditlog.verify.log import Pin
from auditlog.verify.whole import Progress, Run, Scope

logger = logging.getLogger(__name__)

EVERY: Final = timedelta(hours=24)
SLICE: Final = 600.0  # seconds that a background worker gives to it before other jobs have their turn
_LOCK: Final = 7211

Tell = Callable[[Progress], None]


def begin(scope: Scope) -> Verification:
    """The unfinished one of this scope, else a new one."""
    asked = msgspec.to_builtins(scope)
    unfinished = Verification.objects.filter(finished_at=None, scope=asked).order_by("-started_at").first()
    return unfinished or Verification.objects.create(scope=asked)


def go_on(
    row: Verification, seconds: float | None = None, pause: float = 0.0, tell: Tell = lambda _: None, pins: list[Pin] | None = None
) -> bool:
    """Works on it, for at most so long. Returns whether it is finished.

    Raises Problem("overloaded") where another process does already, SettingError.
    """
    until = None if seconds is None else time.monotonic() + seconds
    with connect("web", autocommit=True) as conn:
        conn.execute("SELECT set_config('default_transaction_read_only', 'on', false)")
        got = conn.execute("SELECT pg_try_advisory_lock(%s, %s)", (_LOCK, row.pk % 2**31)).fetchone()
        if not got or not got[0]:
            raise Problem("overloaded", f"Verification {row.pk} is being worked on by another process. Wait until it is finished.")
        row.refresh_from_db()
        known = None if row.progress is None else msgspec.convert(row.progress, Progress)
        scope, trusted = msgspec.convert(row.scope, Scope), {one.name: one.roots for one in timestamps.configured()}
        run = Run(conn, project_secrets(conn), scope, known, [*(pins or []), *_remembered(row)], trusted)
        while not run.done:
            run.step()
            _keep(row, run.progress)
            tell(run.progress)
            if until is not None and time.monotonic() > until:
                break
            time.sleep(pause)
        if run.done:
            _finish(row, run.progress)
    return run.done


def _remembered(row: Verification) -> list[Pin]:
    """What earlier verifications saw of the log: whoever rewrites it has to rewrite these, too."""
    seen = Verification.objects.exclude(pk=row.pk).filter(finished_at__isnull=False, log_size__isnull=False, faults=[])
    return [
        Pin(one.log_size or 0, bytes(one.log_root or b""), f"the verification of {one.finished_at:%Y-%m-%d %H:%M} UTC saw")
        for one in seen.order_by("-finished_at")[:100]
    ]


def _keep(row: Verification, progress: Progress) -> None:
    row.progress = msgspec.to_builtins(progress)
    row.faults = [fault._asdict() for fault in progress.faults]
    row.fault_count = progress.fault_count
    counted = ("leaves", "batches", "events", "contents", "withheld", "timestamps", "signatures_unchecked", "not_sealed")
    row.counts = {name: getattr(progress, name) for name in counted}
    row.save(update_fields=["progress", "faults", "fault_count", "counts"])


def _finish(row: Verification, progress: Progress) -> None:
    row.finished_at, row.progress = timezone.now(), None
    row.log_size, row.log_root = progress.signed or (None, None)
    row.save()
    if row.fault_count:
        logger.error("verify.faults_found", extra={"verification": row.pk, "faults": row.fault_count, "events": progress.events})
    else:
        logger.info("verify.finished", extra={"verification": row.pk, "events": progress.events})


def due() -> bool:
    """Whether one of everything is to be begun, or to be gone on with."""
    everything = Verification.objects.filter(scope=msgspec.to_builtins(Scope()))
    last = everything.order_by("-started_at").first()
    return last is None or last.finished_at is None or last.started_at < timezone.now() - EVERY


def work() -> dict[str, Any] | None:
    """A background worker's turn: SLICE seconds of the daily one."""
    row = begin(Scope())
    pause = conf.get("AUDITLOG_VERIFY_PAUSE") / 1000
    finished = go_on(row, SLICE, pause)
    return {"verification": row.pk, "finished": finished, "faults": row.fault_count}
