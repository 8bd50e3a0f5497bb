"""Owns how fast an export goes and when it stops: never faster than its rate, at once when its row says so, else at a file's end.

Every query of the export passes here, in each of its phases, so that it needs no thread of its own and can be stopped anywhere.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

import psycopg

from auditlog import conf
from auditlog.export.files import DRAFT

SLICE: Final = 240.0  # seconds that a worker gives to one export before other jobs have their turn
AT_MOST: Final = 900.0  # then it stops within a file, too; with a statement's time it is less than Celery's limit
TOLD_EVERY: Final = 1.0
STATEMENT: Final = 300_000  # milliseconds
_BEGUN: Final = 4 * 1024 * 1024  # bytes of a file that are cheap to write again
_TOLD: Final = (
    "UPDATE export_job SET seen_at = now(), events = %(events)s, bytes = %(bytes)s, rate = %(rate)s, seconds_left = %(left)s, "
    "attempts = CASE WHEN %(files)s THEN 0 ELSE attempts END WHERE id = %(id)s AND state = 'running' RETURNING id"
)


class Stopped(Exception):
    """Somebody paused or cancelled it."""


class SliceOver(Exception):
    """Others have their turn; it goes on after its last complete file."""


class Written(NamedTuple):
    files: int
    draft: int
    bytes: int  # of all


class Folder:
    """How much an export has written. Complete files never change, so each is measured once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, int] = {}

    def written(self) -> Written:
        for folder in (self._folder, self._folder / "events", self._folder / "contents"):
            if not folder.is_dir():
                continue
            with os.scandir(folder) as found:
                for entry in found:
                    if entry.name != DRAFT and entry.path not in self._known and entry.is_file():
                        self._known[entry.path] = entry.stat().st_size
        try:
            draft = (self._folder / DRAFT).stat().st_size
        except FileNotFoundError:
            draft = 0
        return Written(len(self._known), draft, sum(self._known.values()) + draft)


class Pace:
    """Of one slice. `rows`: the connection that writes the row; `events`: written before this slice began, `expected` in the end."""

    def __init__(self, rows: psycopg.Connection[Any], number: int, folder: Path, events: int, expected: int) -> None:
        self._rows, self._number, self._folder = rows, number, Folder(folder)
        self._before, self._expected = events, expected
        self.events = events
        self._rate = int(conf.get("AUDITLOG_EXPORT_RATE"))
        self._began = self._told = time.monotonic()
        self._first = self._last = self._folder.written()

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
                self._last = self._folder.written()
                self._tell(now)
                self._end(now)
            ahead = (self._last.bytes - self._first.bytes) / self._rate - (now - self._began)
            if ahead <= 0:
                return
            time.sleep(min(ahead, TOLD_EVERY / 2))

    def _tell(self, now: float) -> None:
        spent = now - self._began
        rate = (self._last.bytes - self._first.bytes) / spent
        each = (self.events - self._before) / spent
        left = (self._expected - self.events) / each if each and self._expected > self.events else None
        told = {
            "id": self._number, "events": self.events, "bytes": self._last.bytes, "rate": rate, "left": left,
            "files": self._last.files > self._first.files,
        }  # fmt: skip
        if self._rows.execute(_TOLD, told).fetchone() is None:
            raise Stopped

    def _end(self, now: float) -> None:
        over = now - self._began
        if over > AT_MOST or (over > SLICE and self._last.files > self._first.files and self._last.draft < _BEGUN):
            raise SliceOver


class Paced(psycopg.Connection[Any]):
    """A connection that asks the pace before each query."""

    pace: Pace | None = None

    def execute(self, *query: Any, **how: Any) -> Any:
        if self.pace is not None:
            self.pace.step()
        return super().execute(*query, **how)
