"""Owns the only INSERT of evidence: one request, one transaction; it returns after COMMIT or raises.

Success means durable. Whatever kills this process, PostgreSQL or the machine before `conn.commit()` has returned, the client
has no answer and sends again; a resend finds what is stored by primary key and is acknowledged once more. Nothing is half
stored: content, events, batch and parts commit together.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Container, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TypeVar

import psycopg
from psycopg import errors as pg

from auditlog import metrics
from auditlog.errors import Problem
from auditlog.item import Item
from auditlog.proof import merkle
from auditlog.store import arrays, durability, kept, partitions, server
from auditlog.store.arrays import Byteas, Integers, Smallints
from auditlog.store.content import Compressor
from auditlog.store.copying import rows_of
from auditlog.store.pack import SHARED_PREFIX, Packed, Packer, content_key

log = logging.getLogger(__name__)

T = TypeVar("T")

_ATTEMPTS: Final = 6  # each conflict means that somebody else has committed, so two or three are enough in practice
_KNOWN_MAX: Final = 300_000  # committed content remembered per writer, about 100 bytes each
_SLICE: Final = 10_000  # rows of a statement: 190,000 messages in one took longer than it may, and again each time they came
_COPY_EVENTS: Final = (
    "COPY event (trace_key, bucket, event_id, batch_no, project_id, item, occurred_at, received_at, trace_id, span_id, skeleton, vals) "
    "FROM STDIN (FORMAT binary)"
)
_INSERT_CONTENT: Final = (
    "INSERT INTO content (bucket, content_key, codec, bytes) "
    "SELECT %b, k, c, b FROM unnest(%b::bytea[], %b::smallint[], %b::bytea[]) AS t (k, c, b) ON CONFLICT DO NOTHING"
)
_BUCKETS: Final = f"SELECT nextval('batch_no_seq'), bucket, generation, state, {durability.SAFE}, {durability.FLUSH} FROM bucket WHERE "
_OPEN: Final = f"{_BUCKETS} bucket = ANY(%b) ORDER BY bucket FOR SHARE"  # a number more than is needed for each bucket but the first
_INSERT_BATCH: Final = (
    "WITH b AS (INSERT INTO batch (batch_no, project_id, key_id, protocol, received_at, system_id, acknowledged, duplicates, receipt_root) "
    "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)) INSERT INTO part (batch_no, bucket, count, root, class_version) "
)
_INSERT_PARTS: Final = f"{_INSERT_BATCH}SELECT %s, b, n, r, v FROM unnest(%b::int[], %b::int[], %b::bytea[], %b::int[]) AS t (b, n, r, v)"
# Nearly every request goes into one bucket: the same without arrays saves 85 of 530 µs of CPU (docs/bench).
_OPEN_ONE: Final = f"{_BUCKETS} bucket = %b FOR SHARE"
_INSERT_PART: Final = f"{_INSERT_BATCH}VALUES (%s, %b, %b, %b, %b)"
_ALIVE: Final = f"SELECT nextval('batch_no_seq'), {durability.SAFE}"
_LOOK_EVERY: Final = 60.0  # seconds; what each transaction asks itself (durability.SAFE) is what may change in between
_STORED: Final = (
    "SELECT uuid_send(e.trace_key) || uuid_send(e.event_id), sha256(e.skeleton) FROM unnest(%s::text[], %s::text[]) AS t (k, i) "
    "JOIN event e ON e.trace_key = t.k::uuid AND e.event_id = t.i::uuid AND e.bucket = %s"
)


class Project(NamedTuple):
    """What the writer must know of a project. secret: 32 bytes, never stored in the clear; period: "month" or "day".

    class_version: of the retention class, the one in force; 0: nobody said. rules: classes by attributes of the resource, before this one.
    """

    project_id: int
    secret: bytes
    class_no: int
    period: str
    class_version: int = 0
    rules: tuple[kept.Rule, ...] = ()


class _Part(NamedTuple):
    """What of a request goes into one bucket. events: in the order of their places, so that two writers never wait in a circle."""

    bucket: partitions.Bucket
    class_version: int
    events: list[Packed]


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
        classes = _by_class(project, batch, self._packer.pack(batch, project.secret))
        return self._write(project, classes, key_id=key_id, protocol=protocol, received_at=received_at)

    def has(self, project: Project, packed: Sequence[Packed], received_at: datetime) -> bool:
        """Whether all of these events are stored in the project's class, as received then."""
        (part,) = _parts(project, _in_one(project, packed), received_at)
        return len(self._stored(part)) == len(packed)

    def put(self, project: Project, packed: Sequence[Packed], *, key_id: int | None, protocol: int, received_at: datetime) -> Written:
        """The same as `write` of what is packed, into the project's class and the period of `received_at` and no other. Raises
        Problem("state_conflict") where that takes nothing any more."""
        return self._write(project, _in_one(project, packed), key_id=key_id, protocol=protocol, received_at=received_at, later=False)

    def _write(
        self, project: Project, classes: dict[kept.Class, list[Packed]], *, key_id: int | None, protocol: int, received_at: datetime,
        later: bool = True,
    ) -> Written:  # fmt: skip
        """later: what comes when its period has been closed is received at this moment."""
        duplicates: dict[bytes, bytes] = {}
        lost = 0
        for attempt in range(_ATTEMPTS):
            parts = _parts(project, classes, received_at)
            try:
                return self._transaction(project, _without(parts, duplicates), duplicates, key_id, protocol, received_at)
            except pg.UniqueViolation:
                # Sent before, or by another worker right now (it has committed, else we would still wait): read back and go on.
                self._rollback()
                duplicates = {key: digest for part in parts for key, digest in self._stored(part).items()}
            except (pg.DeadlockDetected, pg.SerializationFailure):
                self._rollback()
            except _Closed:
                self._rollback()
                if not later:
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
        self, project: Project, parts: list[_Part], duplicates: dict[bytes, bytes], key_id: int | None, protocol: int,
        received_at: datetime,
    ) -> Written:  # fmt: skip
        conn = self._connection()
        # Dying anywhere before commit() returns loses nothing that was acknowledged; PostgreSQL drops the open transaction.
        batch_no = self._open(conn, [part.bucket for part in parts])
        missing, referred, learned = 0, 0, []
        for part in parts:
            content, new = self._missing(project, part)
            learned.append(new)
            missing += len(content)
            referred += sum(len(event.longs) + len(event.shared) for event in part.events)
            self._put(conn, project, part, content, batch_no, received_at)
        stored = [[event.digest for event in part.events] for part in parts]
        roots = [merkle.batch_root(digests) for digests in stored]
        everything = [digest for digests in stored for digest in digests] + list(duplicates.values())
        root = merkle.batch_root(everything) if duplicates or len(parts) > 1 else roots[0]
        new_ones = len(everything) - len(duplicates)
        named = (batch_no, project.project_id, key_id, protocol, received_at, self._system_id, len(everything), len(duplicates), root)
        self._name(conn, named, parts, [len(digests) for digests in stored], roots)
        self._warned = False
        conn.commit()
        if self._warned:
            # A wait for a synchronous standby that somebody cancelled ends so: committed here, and perhaps nowhere else. What asks again
            # finds duplicates, and its own COMMIT waits for the standby to have them too.
            raise psycopg.OperationalError("COMMIT has succeeded with a warning")
        # Only now is the content known to be there. Dying here costs a cache, and the client asks again and gets the same answer.
        for new in learned:
            self._learn(new)
        metrics.looked_up("content", referred - missing, missing)
        return Written(batch_no, root, len(everything), new_ones, len(duplicates))

    def _name(
        self, conn: psycopg.Connection[Any], batch: tuple[Any, ...], parts: list[_Part], counts: list[int], roots: list[bytes]
    ) -> None:
        """The rows of the batch and of its parts."""
        if len(parts) == 1:
            conn.execute(_INSERT_PART, (*batch, batch[0], parts[0].bucket.number, counts[0], roots[0], parts[0].class_version))
            return
        numbers, versions = Integers([part.bucket.number for part in parts]), Integers([part.class_version for part in parts])
        conn.execute(_INSERT_PARTS, (*batch, batch[0], numbers, Integers(counts), Byteas(roots), versions))

    def _put(
        self, conn: psycopg.Connection[Any], project: Project, part: _Part, content: dict[bytes, bytes], batch_no: int,
        received_at: datetime,
    ) -> None:  # fmt: skip
        bucket = part.bucket.number
        for keys in _slices(sorted(content)):  # sorted, as events are: two writers with the same content never wait in a circle
            codecs, rows = zip(*[self._compressor.encode(content[key]) for key in keys], strict=True)
            conn.execute(_INSERT_CONTENT, (bucket, Byteas(keys), Smallints(codecs), Byteas(rows)))
        for events in _slices(part.events):
            with conn.cursor().copy(_COPY_EVENTS) as copy:
                copy.write(rows_of(events, bucket, batch_no, project.project_id, received_at))

    def _open(self, conn: psycopg.Connection[Any], buckets: list[partitions.Bucket]) -> int:
        """The batch's number. Holds the buckets' generations until the end of the transaction, so that known content stays."""
        numbers = [bucket.number for bucket in buckets]
        ask, wanted = (_OPEN_ONE, numbers[0]) if len(numbers) == 1 else (_OPEN, Integers(numbers))
        found = conn.execute(ask, (wanted,)).fetchall()
        if len(found) < len(numbers):
            conn.rollback()
            there = {row[1] for row in found}
            for bucket in buckets:
                if bucket.number not in there:
                    started = time.monotonic()
                    partitions.ensure(conn, bucket)
                    seconds = round(time.monotonic() - started, 3)
                    log.error("ingest.bucket_was_missing", extra={"bucket": bucket.number, "seconds": seconds})
            found = conn.execute(ask, (wanted,)).fetchall()
            if len(found) < len(numbers):
                raise Problem("store_unavailable", f"The partitions of the buckets {numbers} could not be made.")
        for _, number, generation, state, safe, _ in found:
            if not safe and not self._anyway:
                conn.rollback()
                self._look(conn)  # names what it is; unless it has been mended this very moment
                raise Problem(
                    "store_unavailable", "Settings of the database are being changed; nothing of the batch was stored. Send it again."
                )
            if state != "open":
                raise _Closed
            if self._generation.get(number) != generation:
                for key in [key for key in self._known if key[1] == number]:
                    self._known_count -= len(self._known.pop(key))
                self._generation[number] = generation
        return int(found[0][0])

    def _missing(self, project: Project, part: _Part) -> tuple[dict[bytes, bytes], dict[tuple[int, int, bytes], set[bytes]]]:
        """Content not known to be committed, by key; and what will be known of it after COMMIT."""
        content: dict[bytes, bytes] = {}
        learned: dict[tuple[int, int, bytes], set[bytes]] = {}
        bucket = part.bucket.number
        for event in part.events:
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

    def _stored(self, part: _Part) -> dict[bytes, bytes]:
        """Of a part's events, those that are stored in its bucket: trace key + event ID to the stored digest."""
        keys, ids = [event.trace_key.hex() for event in part.events], [event.event_id.hex() for event in part.events]
        conn = self._connection()
        rows = conn.execute(_STORED, (keys, ids, part.bucket.number)).fetchall()
        conn.rollback()
        return {bytes(key): bytes(digest) for key, digest in rows}


def _place(event: Packed) -> tuple[bytes, bytes]:
    return event.trace_key, event.event_id


def _by_class(project: Project, batch: Sequence[Item], packed: list[Packed]) -> dict[kept.Class, list[Packed]]:
    """The events of a request by the class that each goes into, sorted. Without rules that is one, and nothing is looked at."""
    if not project.rules or not packed:
        return _in_one(project, packed)
    otherwise = kept.Class(project.class_no, project.class_version)
    found: dict[kept.Class, list[Packed]] = {}
    for kind, event in zip(kept.classes(project.rules, otherwise, batch), packed, strict=True):
        found.setdefault(kind, []).append(event)
    return {kind: sorted(events, key=_place) for kind, events in found.items()}


def _in_one(project: Project, packed: Sequence[Packed]) -> dict[kept.Class, list[Packed]]:
    return {kept.Class(project.class_no, project.class_version): sorted(packed, key=_place)}


def _parts(project: Project, classes: dict[kept.Class, list[Packed]], received_at: datetime) -> list[_Part]:
    """In the order of their buckets, which is that in which every writer takes them."""
    return sorted(
        _Part(partitions.bucket_at(kind.number, project.period, received_at), kind.version, events) for kind, events in classes.items()
    )


def _without(parts: list[_Part], duplicates: dict[bytes, bytes]) -> list[_Part]:
    """The parts without what is stored. A part of which nothing is left stays: it says that nothing was new."""
    if not duplicates:
        return parts
    return [part._replace(events=[event for event in part.events if event.trace_key + event.event_id not in duplicates]) for part in parts]


def _slices(of: list[T]) -> Iterator[list[T]]:
    return (of[start : start + _SLICE] for start in range(0, len(of), _SLICE))


def _unavailable(error: psycopg.Error) -> Problem:
    return Problem(
        "store_unavailable", f"The store cannot take the batch now ({type(error).__name__}); nothing of it was acknowledged. Send it again."
    )
