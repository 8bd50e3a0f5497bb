"""Owns a verification of the database from beginning to end, in portions that may be days apart: the progress says what is next.

First the log (leaves, checkpoints, tiles), then batch after batch with its events and contents, then what lies in the buckets without any
batch. Read-only; nothing is trusted; every query is bounded, so that it may run beside ingest.
"""

from __future__ import annotations

import uuid
from array import array
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import msgspec
import psycopg

from auditlog.store.reader import Secrets
from auditlog.verify import log, timestamps
from auditlog.verify.batches import Checker, Fault
from auditlog.verify.log import Pin, Walk
from auditlog.verify.timestamps import Trusted

LEAVES: Final = 256 * 16
BATCHES: Final = 500
EVENTS: Final = 2_000  # of a portion, unless one batch has more
_NUMBERS: Final = 5_000  # batches looked up at once
MOST_FAULTS: Final = 200  # kept; more are counted
HORIZON: Final = timedelta(minutes=10)  # a part that was committed so long before a checkpoint and is not sealed was passed over

Stage = Literal["log", "tiles", "batches", "buckets", "done"]


class Scope(msgspec.Struct, frozen=True):
    """What is verified: everything, or the batches that hold events of some traces, one batch, or those of a range of receipt."""

    batch_no: int | None = None
    session: str | None = None
    trace_keys: list[uuid.UUID] | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def everything(self) -> bool:
        return self == Scope()


class Progress(msgspec.Struct):
    """Where a verification is, and what it found. Survives as JSON between two portions."""

    stage: Stage = "log"
    walk: Walk = msgspec.field(default_factory=Walk)
    after: int = 0  # the batch or bucket that was done last
    signed: tuple[int, bytes] | None = None  # size and root of the newest checkpoint that the log was compared with
    leaves: int = 0
    batches: int = 0
    events: int = 0
    contents: int = 0
    withheld: int = 0
    timestamps: int = 0
    signatures_unchecked: int = 0  # of them: the setting does not name their authorities
    not_sealed: int = 0  # parts that no leaf stands for yet
    faults: list[Fault] = []
    fault_count: int = 0

    def found(self, faults: Sequence[Fault]) -> None:
        self.fault_count += len(faults)
        self.faults += faults[: MOST_FAULTS - len(self.faults)]


class Run:
    """One process' part of a verification. `conn` reads, in autocommit. Each `step` is a portion; the caller keeps `progress` after it."""

    def __init__(
        self,
        conn: psycopg.Connection[Any],
        secrets: Secrets,
        scope: Scope,
        progress: Progress | None = None,
        pins: Sequence[Pin] = (),
        trusted: Trusted | None = None,
    ) -> None:
        self._conn = conn
        self._scope = scope
        self._pins = pins
        self._trusted = trusted or {}
        self._checker = Checker(conn, secrets)
        self.progress = progress or Progress(stage="log" if scope.everything else "batches")

    @property
    def done(self) -> bool:
        return self.progress.stage == "done"

    def step(self) -> None:
        {"log": self._log, "tiles": self._tiles, "batches": self._batches, "buckets": self._bucket}[self.progress.stage]()

    def _next(self, stage: Stage) -> None:
        self.progress.stage, self.progress.after = stage, -1 if stage == "buckets" else 0

    def _log(self) -> None:
        walk, first = self.progress.walk, self.progress.walk.next
        more, faults = log.walk(self._conn, walk, LEAVES, self._pins)
        self.progress.leaves = walk.next
        stamps = timestamps.check(self._conn, first, walk.next if more else 2**62, self._trusted)
        faults += stamps.faults
        self.progress.timestamps += stamps.total
        self.progress.signatures_unchecked += stamps.unchecked
        if not more:
            faults += log.beyond(self._conn, walk, self._pins)
            newest = log.newest(self._conn, walk.next)
            self.progress.signed = newest and newest[:2]
            self._next("tiles")
        self.progress.found(faults)

    def _tiles(self) -> None:
        self.progress.found(log.upper_tiles(self._conn))
        self._next("batches")

    def _batches(self) -> None:
        numbers = self._portion()
        if not numbers:
            self._next("buckets" if self._scope.everything else "done")
            return
        checked = self._checker.check(numbers, everywhere=self._scope.batch_no is not None)
        progress = self.progress
        progress.found(checked.faults)
        if not self._scope.everything:
            leaves, faults = log.leaves_of(self._conn, numbers)
            progress.leaves += leaves
            progress.found(faults)
        self._unsealed(numbers)
        progress.batches += len(numbers)
        progress.events += checked.events
        progress.contents += checked.contents
        progress.withheld += checked.withheld
        progress.after = numbers[-1]

    def _portion(self) -> list[int]:
        """The next batches in the order of their numbers, as many as have so many events together."""
        scope = self._scope
        rows = self._conn.execute(
            "SELECT b.batch_no, (SELECT coalesce(sum(p.count), 0) FROM part p WHERE p.batch_no = b.batch_no) FROM batch b "
            "WHERE b.batch_no > %(after)s AND (%(batch)s::bigint IS NULL OR b.batch_no = %(batch)s) "
            "AND (%(since)s::timestamptz IS NULL OR b.received_at >= %(since)s) "
            "AND (%(until)s::timestamptz IS NULL OR b.received_at < %(until)s) "
            "AND (%(chosen)s::bigint[] IS NULL OR b.batch_no = ANY(%(chosen)s)) "
            f"ORDER BY 1 LIMIT {BATCHES}",
            {
                "after": self.progress.after, "batch": scope.batch_no, "since": scope.since, "until": scope.until,
                "chosen": None if scope.trace_keys is None else self._of_traces(scope.trace_keys),
            },
        ).fetchall()  # fmt: skip
        numbers: list[int] = []
        events = 0
        for number, count in rows:
            if numbers and events + count > EVENTS:
                break
            numbers.append(int(number))
            events += count
        return numbers

    def _of_traces(self, trace_keys: list[uuid.UUID]) -> list[int]:
        query = f"SELECT DISTINCT batch_no FROM event WHERE trace_key = ANY(%s) AND batch_no > %s ORDER BY 1 LIMIT {BATCHES}"
        return [row[0] for row in self._conn.execute(query, (trace_keys, self.progress.after))]

    def _unsealed(self, numbers: list[int]) -> None:
        """Parts without a leaf: said; and a fault where a checkpoint came long after them."""
        newest = log.newest(self._conn)
        for number, bucket, received_at in self._conn.execute(
            "SELECT p.batch_no, p.bucket, b.received_at FROM part p JOIN batch b USING (batch_no) WHERE p.batch_no = ANY(%s) "
            "AND b.protocol <> 7 "  # an export folder: received long ago, and stored perhaps a moment ago
            "AND NOT EXISTS (SELECT FROM leaf l WHERE l.batch_no = p.batch_no AND l.bucket = p.bucket)", (numbers,),
        ).fetchall():  # fmt: skip
            self.progress.not_sealed += 1
            if newest is not None and received_at < newest[2] - HORIZON:
                message = f"batch {number} in bucket {bucket} has no leaf, and later ones were sealed: it was added, or its leaf removed"
                self.progress.found([Fault("part_not_sealed", number, None, message)])

    def _bucket(self) -> None:
        """Events that no part knows of, in the next bucket that still holds evidence."""
        row = self._conn.execute(
            "SELECT bucket FROM bucket WHERE bucket > %s AND state <> 'disposed' ORDER BY 1 LIMIT 1", (self.progress.after,)
        ).fetchone()
        if row is None:
            self._next("done")
            return
        bucket = int(row[0])
        numbers = array("q")
        with self._conn.cursor() as cursor:
            for (number,) in cursor.stream(f"SELECT DISTINCT batch_no FROM event WHERE bucket = {bucket}"):
                numbers.append(number)
        for start in range(0, len(numbers), _NUMBERS):
            asked = numbers[start : start + _NUMBERS].tolist()
            known = self._conn.execute("SELECT batch_no FROM part WHERE bucket = %s AND batch_no = ANY(%s)", (bucket, asked))
            self._strays(bucket, sorted(set(asked) - {row[0] for row in known}))
        self.progress.after = bucket

    def _strays(self, bucket: int, numbers: list[int]) -> None:
        if numbers:
            query = "SELECT batch_no, count(*), min(trace_key::text || event_id::text) FROM event"
            rows = self._conn.execute(f"{query} WHERE bucket = {bucket} AND batch_no = ANY(%s) GROUP BY 1 ORDER BY 1", (numbers,))
            self.progress.found([
                Fault("event_stray", number, public.replace("-", ""), f"{count} events of batch {number} in bucket {bucket} have no part")
                for number, count, public in rows
            ])  # fmt: skip
