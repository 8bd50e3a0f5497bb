"""Owns the background pass over committed batches: each once, in one transaction with what came of it, wherever it is killed.

1. Find committed batches that this edition has not consumed, below the snapshot's horizon (`sql.PENDING`).
2. Read their events, sum up what they say about traces (`binding.gather`, pure).
3. Merge it into the derived tables; choose each touched trace's session again; write touched sessions again.
4. Mark the batches consumed and commit. Killed before this line, nothing of 3 remains; after it, nothing is repeated.
A group that fails is tried batch by batch; a batch that fails three times is set aside in `derive_failure`.
"""

from __future__ import annotations

import logging
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import psycopg

from auditlog.derive import leaves, sql
from auditlog.derive.binding import Group, Stored, TraceFacts, gather, tells
from auditlog.derive.keys import session_key, trace_session_key, value_digest
from auditlog.derive.write import forget
from auditlog.errors import Problem
from auditlog.store.ranges import Ranges
from auditlog.store.reader import Reader

log = logging.getLogger(__name__)

Connection = psycopg.Connection[tuple[Any, ...]]
ReadBatches = Callable[[Sequence[int]], Iterable[Stored]]

ATTEMPTS: Final = 3
GROUP_EVENTS: Final = 2000  # a group is closed at this many events: memory, and how long one transaction may take
GROUP_BATCHES: Final = 64
LOCK: Final = 7206  # advisory lock: one pass per edition


def declaring(reader: Reader) -> ReadBatches:
    """Reads events with what may declare an identity, and without the long values that cannot: those are most of the bytes."""
    return lambda batch_nos: reader.stream_of_batches(batch_nos, tells)


class Batch(NamedTuple):
    batch_no: int
    project_id: int
    xid: int
    events: int


class NotAlone(Exception):
    """Another process runs the pass of this edition."""


class Pass:
    """One edition's pass over a connection in autocommit; after psycopg.OperationalError make another of both."""

    def __init__(self, conn: Connection, read: ReadBatches, state: str = "current") -> None:
        self._conn = conn
        self._read = read
        self._ranges = Ranges(conn)
        row = conn.execute(sql.EDITION, (state,)).fetchone()
        if row is None:
            raise LookupError(f"there is no edition that is {state!r}")
        self.edition = int(row[0])
        self._system_id = int(_one(conn.execute(sql.SYSTEM_ID))[0])
        # After a restore this cluster counts transactions anew: its own batches are looked for from the first on.
        self._watermark = int(row[2]) if int(row[1]) == self._system_id else 0
        self._foreign = True  # looked for once per start: a running cluster does not come by batches of another
        if not _one(conn.execute("SELECT pg_try_advisory_lock(%s, %s)", (LOCK, self.edition)))[0]:
            raise NotAlone(f"edition {self.edition} is being filled by another process")

    def superseded(self) -> bool:
        """Whether a rebuild put another edition in the place of this one."""
        return self._conn.execute(sql.STATE, (self.edition,)).fetchone() in (None, ("old",))

    def release(self) -> None:
        """Lets go of the edition, so that another process may fill it."""
        self._conn.execute("SELECT pg_advisory_unlock(%s, %s)", (LOCK, self.edition))

    def step(self) -> int:
        """Consumes one group. Returns how many batches were looked at; 0: nothing to do."""
        pending = self._pending()
        if not pending:
            return 0
        group = _first_group(pending)
        self._ranges.catch_up()
        try:
            self._consume(group)
        except psycopg.OperationalError:
            raise  # the database, not the batch: nobody's attempt
        except Exception as error:  # noqa: BLE001 - whatever one batch holds must not stop the batches behind it
            if len(group) == 1:
                self._set_aside(group[0], error)
            else:
                self._one_by_one(group)
        return len(group)

    def drain(self) -> int:
        """Consumes until nothing is left below the horizon."""
        total = 0
        while done := self.step():
            total += done
        return total

    def _pending(self) -> list[Batch]:
        known = {"system_id": self._system_id, "edition": self.edition, "attempts": ATTEMPTS, "limit": GROUP_BATCHES}
        if self._foreign:
            rows = self._conn.execute(sql.PENDING_FOREIGN, known).fetchall()
            if rows:
                return [Batch(*row) for row in rows]
            self._foreign = False
        # The horizon is taken first: whatever is below it had committed before the next statement looks.
        horizon = int(_one(self._conn.execute(sql.HORIZON))[0])
        rows = self._conn.execute(sql.PENDING, {**known, "watermark": str(self._watermark), "horizon": str(horizon)}).fetchall()
        # Of the batches that were failing before, none is the first that nobody has looked at.
        self._watermark = min((row[2] for row in rows if row[2] >= self._watermark), default=horizon)
        return [Batch(*row) for row in rows]

    def _one_by_one(self, group: Sequence[Batch]) -> None:
        for batch in group:
            try:
                self._consume([batch])
            except psycopg.OperationalError:
                raise
            except Exception as error:  # noqa: BLE001 - as in step
                self._set_aside(batch, error)

    def _set_aside(self, batch: Batch, error: Exception) -> None:
        # The kind of the error and where it came from, never its text: that may quote stored content.
        row = self._conn.execute(sql.FAILED, (self.edition, batch.batch_no, batch.project_id, describe(error))).fetchone()
        log.error(
            "derive.batch_failed",
            extra={"batch_no": batch.batch_no, "attempt": row[0] if row else None, "error_kind": type(error).__name__},
        )

    def _consume(self, batches: Sequence[Batch]) -> None:
        numbers = [batch.batch_no for batch in batches]
        with self._conn.transaction():
            group = gather(self._read(numbers))
            quarantined = merge(self._conn, self.edition, group)
            self._tally(batches, group, quarantined)
            leaves.keep(self._conn, self.edition, group.digests)
            self._conn.execute(sql.FORGET_FAILURE, (self.edition, numbers))
            self._conn.execute(sql.CONSUMED, (self.edition, numbers))
            if not self._foreign:
                self._conn.execute(sql.WATERMARK, (self._system_id, self._watermark, self.edition))
            # Killed here: the transaction is rolled back by PostgreSQL and the batches are pending as before.

    def _tally(self, batches: Sequence[Batch], group: Group, quarantined: Counter[int]) -> None:
        uncounted = group.uncounted + self._repeated(group)
        for project_id in sorted({batch.project_id for batch in batches}):
            mine = [batch for batch in batches if batch.project_id == project_id]
            events = group.read[project_id] - uncounted[project_id]  # not what its parts promise: some may have been disposed of since
            self._conn.execute(sql.TALLY, (self.edition, project_id, events, len(mine), quarantined[project_id]))

    def _repeated(self, group: Group) -> Counter[int]:
        """Events that were consumed before, from another bucket: received twice across the end of a period, counted once."""
        traces = list(group.traces)
        keys = {"edition": self.edition, "project_id": [p for p, _ in traces], "trace_key": [key for _, key in traces]}
        crossing = [(p, key) for p, key in self._conn.execute(sql.CROSSING, keys).fetchall()] if traces else []
        if not crossing:
            return Counter()
        rows = [(p, key, event_id) for p, key in crossing for event_id in sorted(group.events[p, key])]
        columns = [list(column) for column in zip(*rows, strict=True)]
        names = ("project_id", "trace_key", "event_id")
        found = self._conn.execute(sql.REPEATED, {"edition": self.edition, **dict(zip(names, columns, strict=True))})
        return Counter(dict(found.fetchall()))


def _one(cursor: psycopg.Cursor[tuple[Any, ...]]) -> tuple[Any, ...]:
    row = cursor.fetchone()
    assert row is not None  # each of these statements returns exactly one row
    return row


def describe(error: BaseException) -> str:
    """An error without its message: kind, and the place in our code."""
    if isinstance(error, Problem) and error.__cause__ is not None:  # what went wrong, not how it is told
        error = error.__cause__
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f" in {place.tb_frame.f_globals.get('__name__', '?')}:{place.tb_lineno}" if place else ""
    return f"{type(error).__name__}{where}"


def _first_group(pending: Sequence[Batch]) -> list[Batch]:
    group: list[Batch] = []
    events = 0
    for batch in pending:
        if group and events + batch.events > GROUP_EVENTS:
            break
        group.append(batch)
        events += batch.events
    return group


def merge(conn: Connection, edition: int, group: Group) -> Counter[int]:
    """Merges what a group of events says into the derived tables. In the caller's transaction. By project: what is newly quarantined."""
    quarantined: Counter[int] = Counter()
    for q in group.quarantined:
        row = (edition, q.project_id, q.trace_key, q.event_id, q.bucket, q.batch_no, q.received_at, q.code)
        quarantined[q.project_id] += conn.execute(sql.QUARANTINED, row).rowcount
    if group.deeds:
        with conn.cursor() as cursor:
            cursor.executemany(sql.DEEDS, [(edition, *msgspec.structs.astuple(one)) for one in group.deeds])
    # Sorted, so that two passes over different editions or a reader with locks never wait for each other in a circle.
    traces = [group.traces[key] for key in sorted(group.traces)]
    if not traces:
        return quarantined
    _merge_traces(conn, edition, traces)
    _merge_declared(conn, edition, traces)
    _bind(conn, edition, [t.project_id for t in traces], [t.trace_key for t in traces])
    return quarantined


def _merge_traces(conn: Connection, edition: int, traces: Sequence[TraceFacts]) -> None:
    conn.execute(
        sql.TRACES,
        {
            "edition": edition,
            "project_id": [t.project_id for t in traces],
            "trace_key": [t.trace_key for t in traces],
            "trace_id": [t.trace_id for t in traces],
            "own_key": [trace_session_key(t.project_id, t.trace_id or t.trace_key.bytes) for t in traces],
            "buckets": ["{" + ",".join(map(str, sorted(t.buckets))) + "}" for t in traces],
            "first_at": [t.first_at for t in traces],
            "last_at": [t.last_at for t in traces],
            "received_first": [t.received_first for t in traces],
            "received_last": [t.received_last for t in traces],
        },
    )


def _merge_declared(conn: Connection, edition: int, traces: Sequence[TraceFacts]) -> None:
    rows = [(t.project_id, t.trace_key, kind, value, rank) for t in traces for (kind, value), rank in sorted(t.declared.items())]
    if not rows:
        return
    conn.execute(
        sql.DECLARED,
        {
            "edition": edition,
            "project_id": [row[0] for row in rows],
            "trace_key": [row[1] for row in rows],
            "kind": [row[2] for row in rows],
            "digest": [value_digest(row[0], row[2], row[3]) for row in rows],
            "value": [row[3] for row in rows],
            "rank": [row[4] for row in rows],
        },
    )


def _bind(conn: Connection, edition: int, project_ids: list[int], trace_keys: list[uuid.UUID]) -> None:
    """Late binding: every touched trace chooses its session again, and every session that gained or lost one is rewritten."""
    keys = {"edition": edition, "project_id": project_ids, "trace_key": trace_keys}
    sessions: dict[str, tuple[int, bytes, bool]] = {}
    left: set[str] = set()
    for project_id, trace_key, trace_id, own_key, current, declared in conn.execute(sql.CHOSEN, keys).fetchall():
        if declared is None:
            chosen = own_key
            sessions[chosen] = (project_id, b"trace:" + bytes(trace_id or trace_key.bytes).hex().encode(), False)
        else:
            chosen = session_key(project_id, bytes(declared))
            sessions[chosen] = (project_id, bytes(declared), True)
        if chosen != current:
            left.add(current)
            conn.execute(sql.REBIND, (chosen, edition, project_id, trace_key))
    known = conn.execute(sql.SESSION_IDS, (edition, sorted(left))).fetchall() if left else []
    for key, project_id, session_id, is_declared in known:
        sessions.setdefault(key, (project_id, bytes(session_id), is_declared))
    ordered = sorted(sessions)
    conn.execute(
        sql.SESSIONS,
        {
            "edition": edition,
            "key": ordered,
            "project_id": [sessions[key][0] for key in ordered],
            "session_id": [sessions[key][1] for key in ordered],
            "declared": [sessions[key][2] for key in ordered],
        },
    )
    if left:
        emptied = conn.execute(sql.EMPTIED, {"edition": edition, "keys": sorted(left)}).fetchall()
        forget(conn, edition, [row[0] for row in emptied])
