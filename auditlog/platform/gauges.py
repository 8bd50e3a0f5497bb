"""Owns the metrics that stand in the database: how far the background pass is behind, and which jobs wait. The web process tells them.

Read when somebody asks for metrics, all at once; a database that does not answer in time leaves them out, and holds up nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, LiteralString

import msgspec

from auditlog import metrics
from auditlog.derive import sql
from auditlog.derive.waiting import waiting
from auditlog.seal.standing import unsealed
from auditlog.store.connect import connect
from auditlog.verify.whole import Scope

logger = logging.getLogger(__name__)

_WITHIN: Final = 0.5  # seconds that an answer waits for the database, and that its numbers serve all gauges of the answer
OF_THE_DATABASE: Final = ("auditlog.derive.", "auditlog.job.", "auditlog.seal.pending", "auditlog.seal.lag", "auditlog.verification.")
_JOBS: Final[LiteralString] = "SELECT count(*) FROM job WHERE state = 'pending' AND due_at <= now()"
_VERIFIED: Final[LiteralString] = """
    SELECT extract(epoch FROM now() - finished_at)::float8, fault_count FROM verification
    WHERE finished_at IS NOT NULL AND scope = %s::jsonb ORDER BY finished_at DESC LIMIT 1"""
_EVERYTHING: Final = msgspec.json.encode(Scope()).decode()

Values = dict[str, float]


class Gauges:
    """The values by metric, as they were read a moment ago."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="gauges")
        self._lock = threading.Lock()
        self._asked: Future[Values] | None = None
        self._until = 0.0

    def value(self, name: str) -> float | None:
        """None: not known now."""
        with self._lock:
            if self._asked is None or (self._asked.done() and self._until < time.monotonic()):
                self._asked, self._until = self._pool.submit(read), time.monotonic() + _WITHIN
            asked = self._asked
        try:
            return asked.result(max(0.0, self._until - time.monotonic())).get(name)
        except TimeoutError:
            return None  # it still hangs; the next who asks looks at the same question


def read() -> Values:
    """All of them, over a connection of its own; none where the database is away or not set up yet."""
    try:
        with connect("web", autocommit=True) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', '5s', false)")
            edition = cursor.execute(sql.EDITION, ("current",)).fetchone()
            jobs = cursor.execute(_JOBS).fetchone()
            if edition is None or jobs is None:
                return {}
            verified = cursor.execute(_VERIFIED, (_EVERYTHING,)).fetchone()
            behind = waiting(cursor, int(edition[0]))
            open_ends = unsealed(cursor)
    except Exception as error:  # noqa: BLE001 - away, refused, not migrated: gauges are left out and the reason is logged
        logger.warning("telemetry.gauges_not_read", extra={"error_kind": type(error).__name__})
        return {}
    return {
        "auditlog.derive.pending": behind.pending,
        "auditlog.derive.lag": behind.lag,
        "auditlog.derive.text.lag": behind.text_lag,
        "auditlog.derive.stale": behind.stale,
        "auditlog.derive.failed": behind.failed,
        "auditlog.seal.pending": open_ends.batches,
        "auditlog.seal.lag": open_ends.lag,
        "auditlog.job.pending": jobs[0],
        **({} if verified is None else {"auditlog.verification.age": verified[0], "auditlog.verification.faults": verified[1]}),
    }


def register() -> None:
    """Once, in the process that tells them."""
    gauges = Gauges()

    def observe(name: str) -> None:
        metrics.observe(name, lambda: gauges.value(name))

    for name, metric in metrics.METRICS.items():
        if metric.kind == metrics.GAUGE and name.startswith(OF_THE_DATABASE):
            observe(name)
