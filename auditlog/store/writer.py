"""Owns the only INSERT of evidence: one request, one transaction; it returns after COMMIT or raises.

Success means durable. Whatever kills this process, PostgreSQL or the machine before `conn.commit()` has returned, the client
has no answer and sends again; a resend finds what is stored by primary key and is acknowledged once more. Nothing is half
stored: content, events, batch and parts commit together.
"""

from __future__ import annotations

import logging
import struct
import time
from collections.abc import Callable, Container, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, TypeVar

import psycopg
from psycopg import errors as pg

from auditlog import metrics
from auditlog.errors import Problem
from auditlog.item import Item
from auditlog.proof import merkle
from auditlog.store import arrays, durability, partitions, server
from auditlog.store.arrays import Byteas, Smallints
from auditlog.store.content import Compressor
from auditlog.store.pack import SHARED_PREFIX, Packed, Packer, content_key

log = logging.getLogger(__name__)

T = TypeVar("T")

_ATTEMPTS: Final = 6  # each conflict means that somebody else has committed, so two or three are enough in practice
_KNOWN_MAX: Final = 300_000  # committed content remembered per writer, about 100 bytes each
_PG_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_PG_EPOCH_US: Final = 946_684_800_000_000
_COPY_EVENTS: Final = (
    "COPY event (trace_key, bucket, event_id, batch_no, project_id, item, occurred_at, received_at, trace_id, span_id, skeleton, vals) "
    "FROM STDIN (FORMAT binary)"
)
_COPY_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_END: Final = b"\xff\xff"
_HEAD: Final = struct.Struct(">hi16siii16siqiiih")
_TIME: Final = struct.Struct(">iq")
_LENGTH: Final = struct.Struct(">i")
_NULL: Final = _LENGTH.pack(-1)
_MICROSECOND: Final = timedelta(microseconds=1)
_SLICE: Final = 10_000  # rows of a statement: 190,000 messages in one took longer than it may, and again each time they came
_INSERT_CONTENT: Final = (
    "INSERT INTO content (bucket, content_key, codec, bytes) "
    "SELECT %b, k, c, b FROM unnest(%b::bytea[], %b::smallint[], %b::bytea[]) AS t (k, c, b) ON CONFLICT DO NOTHING"
)
_OPEN: Final = (
    f"SELECT nextval('batch_no_seq'), generation, state, {durability.SAFE}, {durability.FLUSH} FROM bucket WHERE bucket = %s FOR SHARE"
)
_INSERT_BATCH: Final = (
    "WITH b AS (INSERT INTO batch (batch_no, project_id, key_id, protocol, received_at, system_id, acknowledged, duplicates, receipt_root) "
    "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)) "
    "INSERT INTO part (batch_no, bucket, count, root, class_version) VALUES (%s, %s, %s, %s, %s)"
)
_ALIVE: Final = f"SELECT nextval('batch_no_seq'), {durability.SAFE}"
_LOOK_EVERY: Final = 60.0  # seconds; what each transaction asks itself (durability.SAFE) is what may change in between
_STORED: Final = (
    "SELECT uuid_send(e.trace_key) || uuid_send(e.event_id), sha256(e.skeleton) FROM unnest(%s::text[], %s::text[]) AS t (k, i) "
    "JOIN event e ON e.trace_key = t.k::uuid AND e.event_id = t.i::uuid AND e.bucket = %s"
)


class Project(NamedTuple):
    """What the writer must know of a project. secret: 32 bytes, never stored in the clear; period: "month" or "day".

    class_version: of the retention class, the one in force; 0: nobody said.
    """

    project_id: int
    secret: bytes
    class_no: int
    period: str
    class_version: int = 0


class Written(NamedTuple):
    """What was acknowledged: so many events under `root`, of which `duplicates` were stored before."""

    batch_no: int
    root: bytes
    acknowledged: int
    stored: int
    duplicates: int


class _Closed(Exception):
    """The bucket was closed between two statements: the period has ended, ask the clock again."""


class Writer:
    """Writes requests over one connection of its own; one per thread. Connects when needed and again after a loss.

    Where the server's settings would lose what is acknowledged it refuses (docs/adr/011); with `anyway` it says so in the log and writes.
    """

    def __init__(self, connect: Callable[[], psycopg.Connection[Any]], *, anyway: bool = False) -> None:
        self._connect = connect
        self._anyway = anyway
        self._looked = 0.0
        self._conn: psycopg.Connection[Any] | None = None
        self._system_id = 0
        self._packer = Packer()
        self._compressor = Compressor()
        self._known: dict[tuple[int, int, bytes], set[bytes]] = {}  # (project, bucket, prefix): SHA-256 of committed content
        self._known_count = 0
        self._generation: dict[int, int] = {}
        self._warned = False

    def write(self, project: Project, batch: Sequence[Item], *, key_id: int | None, protocol: int, received_at: datetime) -> Written:
        """Stores one request and returns once it is committed. Raises Problem("store_unavailable" or "store_unsafe"): nothing may be
        assumed stored."""
        packed = self._packer.pack(batch, project.secret)
        return self.put(project, packed, key_id=key_id, protocol=protocol, received_at=received_at)

    def has(self, project: Project, packed: Sequence[Packed], received_at: datetime) -> bool:
        """Whether all of these events are stored, as received then."""
        bucket = partitions.bucket_at(project.class_no, project.period, received_at)
        return len(self._stored(packed, bucket.number)) == len(packed)

    def put(
        self, project: Project, packed: Sequence[Packed], *, key_id: int | None, protocol: int, received_at: datetime, now: bool = True
    ) -> Written:
        """The same of what is packed. now: where the period of `received_at` takes nothing any more, it is received at this moment; else
        Raises Problem("state_conflict")."""
        packed = sorted(packed, key=_place)
        duplicates: dict[bytes, bytes] = {}
        lost = 0
        for attempt in range(_ATTEMPTS):
            bucket = partitions.bucket_at(project.class_no, project.period, received_at)
            fresh = [event for event in packed if event.trace_key + event.event_id not in duplicates] if duplicates else packed
            try:
                return self._transaction(project, bucket, fresh, duplicates, key_id, protocol, received_at)
            except pg.UniqueViolation:
                # Sent before, or by another worker right now (it has committed, else we would still wait): read back and go on.
                self._rollback()
                duplicates = self._stored(packed, bucket.number)
            except (pg.DeadlockDetected, pg.SerializationFailure):
                self._rollback()
            except _Closed:
                self._rollback()
                if not now:
                    message = f"The period of {received_at:%Y-%m-%d} is closed: something of it was disposed of. It takes nothing more."
                    raise Problem("state_conflict", message) from None
                received_at = datetime.now(UTC)
            except (psycopg.OperationalError, psycopg.InterfaceError, pg.InternalError_) as error:
                # PostgreSQL restarted, is full or away. Once over a new connection: an idle one may just have been stale.
                # Whether the COMMIT before the loss went through is unknown; asking again is safe, a resend is a duplicate.
                self.close()
                lost += 1
                if lost > 1 or isinstance(error, pg.DiskFull):
                    raise _unavailable(error) from error
            except psycopg.Error as error:
                self.close()
                log.error("ingest.write_failed", extra={"sqlstate": error.sqlstate, "attempt": attempt})
                raise _unavailable(error) from error
        raise Problem("store_unavailable", "The batch met a conflict too often; nothing of it was stored. Send it again.")

    def close(self) -> None:
        """Forgets the connection, and with it what is known of the database: another one may answer next time."""
        conn, self._conn = self._conn, None
        self._known.clear()
        self._known_count = 0
        self._generation.clear()
        if conn is not None:
            conn.close()

    def alive(self) -> bool:
        """Whether the store takes writes now (for health checks): connects where needed."""
        try:
            row = self._connection().execute(_ALIVE).fetchone()
            self._connection().rollback()
        except (psycopg.Error, Problem):
            self.close()
            return False
        return bool(row and row[1]) or self._anyway

    def _connection(self) -> psycopg.Connection[Any]:
        if self._conn is None:
            conn = self._connect()
            row = conn.execute("SELECT system_identifier FROM pg_control_system()").fetchone()
            conn.add_notice_handler(self._notice)
            arrays.register(conn)
            self._system_id = row[0] if row else 0
            self._conn = conn
            self._look(conn)
        elif time.monotonic() - self._looked > _LOOK_EVERY:
            self._look(self._conn)
        return self._conn

    def _look(self, conn: psycopg.Connection[Any]) -> None:
        """All checks of the server's settings, outside any transaction. Raises Problem("store_unsafe"), and then asks anew next time."""
        found = durability.refused(durability.findings(server.look(conn)))
        conn.commit()
        self._looked = time.monotonic()
        if not found:
            return
        if not self._anyway:
            self.close()
            raise server.refusal(found)
        log.error("store.unsafe_database", extra={"checks": [one.id for one in found]})

    def _notice(self, said: pg.Diagnostic) -> None:
        self._warned = self._warned or said.severity_nonlocalized == "WARNING"

    def _rollback(self) -> None:
        if self._conn is not None:
            try:
                self._conn.rollback()
            except psycopg.Error:
                self.close()

    def _transaction(
        self, project: Project, bucket: partitions.Bucket, fresh: list[Packed], duplicates: dict[bytes, bytes],
        key_id: int | None, protocol: int, received_at: datetime,
    ) -> Written:  # fmt: skip
        conn = self._connection()
        # Dying anywhere before commit() returns loses nothing that was acknowledged; PostgreSQL drops the open transaction.
        batch_no = self._open(conn, bucket)
        content, learned = self._missing(project, bucket.number, fresh)
        for keys in _slices(sorted(content)):  # sorted, as events are: two writers with the same content never wait in a circle
            codecs, rows = zip(*[self._compressor.encode(content[key]) for key in keys], strict=True)
            conn.execute(_INSERT_CONTENT, (bucket.number, Byteas(keys), Smallints(codecs), Byteas(rows)))
        for events in _slices(fresh):
            with conn.cursor().copy(_COPY_EVENTS) as copy:
                copy.write(_rows(events, bucket.number, batch_no, project.project_id, received_at))
        stored = [event.digest for event in fresh]
        part_root = merkle.batch_root(stored)
        root = merkle.batch_root(stored + list(duplicates.values())) if duplicates else part_root
        count = len(stored) + len(duplicates)
        conn.execute(_INSERT_BATCH, (
            batch_no, project.project_id, key_id, protocol, received_at, self._system_id, count, len(duplicates), root,
            batch_no, bucket.number, len(stored), part_root, project.class_version,
        ))  # fmt: skip
        self._warned = False
        conn.commit()
        if self._warned:
            # A wait for a synchronous standby that somebody cancelled ends so: committed here, and perhaps nowhere else. What asks again
            # finds duplicates, and its own COMMIT waits for the standby to have them too.
            raise psycopg.OperationalError("COMMIT has succeeded with a warning")
        # Only now is the content known to be there. Dying here costs a cache, and the client asks again and gets the same answer.
        self._learn(learned)
        referred = sum(len(event.longs) + len(event.shared) for event in fresh)
        metrics.looked_up("content", referred - len(content), len(content))
        return Written(batch_no, root, count, len(stored), len(duplicates))

    def _open(self, conn: psycopg.Connection[Any], bucket: partitions.Bucket) -> int:
        """The batch's number. Holds the bucket's generation until the end of the transaction, so that known content stays."""
        row = conn.execute(_OPEN, (bucket.number,)).fetchone()
        if row is None:
            conn.rollback()
            started = time.monotonic()
            partitions.ensure(conn, bucket)
            log.error("ingest.bucket_was_missing", extra={"bucket": bucket.number, "seconds": round(time.monotonic() - started, 3)})
            row = conn.execute(_OPEN, (bucket.number,)).fetchone()
            if row is None:
                raise Problem("store_unavailable", f"The partitions of bucket {bucket.number} could not be made.")
        batch_no, generation, state, safe, _ = row
        if not safe and not self._anyway:
            conn.rollback()
            self._look(conn)  # names what it is; unless it has been mended this very moment
            raise Problem(
                "store_unavailable", "Settings of the database are being changed; nothing of the batch was stored. Send it again."
            )
        if state != "open":
            raise _Closed
        if self._generation.get(bucket.number) != generation:
            for key in [key for key in self._known if key[1] == bucket.number]:
                self._known_count -= len(self._known.pop(key))
            self._generation[bucket.number] = generation
        return int(batch_no)

    def _missing(
        self, project: Project, bucket: int, fresh: list[Packed]
    ) -> tuple[dict[bytes, bytes], dict[tuple[int, int, bytes], set[bytes]]]:
        """Content not known to be committed, by key; and what will be known of it after COMMIT."""
        content: dict[bytes, bytes] = {}
        learned: dict[tuple[int, int, bytes], set[bytes]] = {}
        for event in fresh:
            for prefix, longs in ((event.prefix, event.longs), (SHARED_PREFIX, event.shared)):
                if not longs:
                    continue
                place = (project.project_id, bucket, prefix)
                known: Container[bytes] = self._known.get(place, ())
                new = learned.get(place)
                for sha, data in longs:
                    if sha in known or (new is not None and sha in new):
                        continue
                    if new is None:
                        new = learned[place] = set()
                    new.add(sha)
                    content[content_key(project.secret, prefix, sha)] = data
        return content, learned

    def _learn(self, learned: dict[tuple[int, int, bytes], set[bytes]]) -> None:
        for place, shas in learned.items():
            known = self._known.setdefault(place, set())
            self._known_count -= len(known)
            known |= shas
            self._known_count += len(known)
        if self._known_count > _KNOWN_MAX:
            self._known.clear()
            self._known_count = 0

    def _stored(self, packed: Sequence[Packed], bucket: int) -> dict[bytes, bytes]:
        """Of these events, those that are stored: trace key + event ID to the stored digest."""
        keys, ids = [event.trace_key.hex() for event in packed], [event.event_id.hex() for event in packed]
        conn = self._connection()
        rows = conn.execute(_STORED, (keys, ids, bucket)).fetchall()
        conn.rollback()
        return {bytes(key): bytes(digest) for key, digest in rows}


def _place(event: Packed) -> tuple[bytes, bytes]:
    return event.trace_key, event.event_id


def _slices(of: list[T]) -> Iterator[list[T]]:
    return (of[start : start + _SLICE] for start in range(0, len(of), _SLICE))


def _rows(events: list[Packed], bucket: int, batch_no: int, project_id: int, received_at: datetime) -> bytes:
    """The events as PostgreSQL's binary COPY format (documented with COPY), which costs half of writing them value by value."""
    received = (received_at - _PG_EPOCH) // _MICROSECOND
    out = [_COPY_HEADER]
    for event in events:
        # 12 columns: trace_key, bucket, event_id, batch_no, project_id, item, ...
        out.append(_HEAD.pack(12, 16, event.trace_key, 4, bucket, 16, event.event_id, 8, batch_no, 4, project_id, 2, event.item))
        occurred = event.occurred_ns
        out.append(_NULL if occurred is None else _TIME.pack(8, occurred // 1000 - _PG_EPOCH_US))
        out.append(_TIME.pack(8, received))
        for data in (event.trace_id or None, event.span_id or None, event.skeleton, event.vals):
            out += (_NULL,) if data is None else (_LENGTH.pack(len(data)), data)
    out.append(_COPY_END)
    return b"".join(out)


def _unavailable(error: psycopg.Error) -> Problem:
    return Problem(
        "store_unavailable", f"The store cannot take the batch now ({type(error).__name__}); nothing of it was acknowledged. Send it again."
    )
