"""Owns how fast an export goes and when it stops: never faster than its rate, at once when its row says so, else at a file's end.

Every query of the export passes here, in each of its phases, so that it needs no thread of its own and can be stopped anywhere.
"""

from __future__ import annotations

import time
from typing import Any, Final

import psycopg

from auditlog import conf
from auditlog.export.files import Files, Interrupted

SLICE: Final = 240.0  # seconds that a worker gives to one export before other jobs have their turn
AT_MOST: Final = 900.0  # then it stops within a file, too; with a statement's time it is less than Celery's limit
TOLD_EVERY: Final = 1.0
STATEMENT: Final = 300_000  # milliseconds
_BEGUN: Final = 4 * 1024 * 1024  # bytes of a file that are cheap to write again
_TOLD: Final = (
    "UPDATE export_job SET seen_at = now(), events = %(events)s, bytes = %(bytes)s, rate = %(rate)s, seconds_left = %(left)s, "
    "attempts = CASE WHEN %(files)s THEN 0 ELSE attempts END WHERE id = %(id)s AND state = 'running' RETURNING id"
)


class Stopped(Interrupted):
    """Somebody paused or cancelled it."""


class SliceOver(Interrupted):
    """Others have their turn; it goes on after its last complete file."""


class Pace:
    """Of one slice. `rows`: the connection that writes the row; `expected`: how many events there will be."""

    def __init__(self, rows: psycopg.Connection[Any], number: int, files: Files, expected: int) -> None:
        self._rows, self._number, self._files, self._expected = rows, number, files, expected
        self._before = self.events = files.count("events/")
        self._rate = int(conf.get("AUDITLOG_EXPORT_RATE"))
        self._began = self._told = time.monotonic()
        self._bytes, self._complete = files.size, files.complete

    def tell(self, written: int) -> None:
        """How many events this slice has written."""
        self.events = self._before + written
        self.step()

    def step(self) -> None:
        """Waits until the rate allows more. Raises Stopped, SliceOver."""
        while True:
            now = time.monotonic()
            if now - self._told >= TOLD_EVERY:
                self._told = now
                self._tell(now)
                self._end(now)
            ahead = (self._written - self._bytes) / self._rate - (now - self._began)
            if ahead <= 0:
                return
            time.sleep(min(ahead, TOLD_EVERY / 2))

    @property
    def _written(self) -> int:
        return self._files.size + self._files.drafted

    def _tell(self, now: float) -> None:
        spent = now - self._began
        rate = (self._written - self._bytes) / spent
        each = (self.events - self._before) / spent
        left = (self._expected - self.events) / each if each and self._expected > self.events else None
        told = {
            "id": self._number, "events": self.events, "bytes": self._written, "rate": rate, "left": left,
            "files": self._files.complete > self._complete,
        }  # fmt: skip
        if self._rows.execute(_TOLD, told).fetchone() is None:
            raise Stopped

    def _end(self, now: float) -> None:
        over = now - self._began
        if over > AT_MOST or (over > SLICE and self._files.complete > self._complete and self._files.drafted < _BEGUN):
            raise SliceOver


class Paced(psycopg.Connection[Any]):
    """A connection that asks the pace before each query."""

    pace: Pace | None = None

    def execute(self, *query: Any, **how: Any) -> Any:
        if self.pace is not None:
            self.pace.step()
        return super().execute(*query, **how)
