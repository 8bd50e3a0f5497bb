"""Owns taking one protection away from a process, named by DRILL_WITHOUT; Python runs this file at its start where it is on the path."""

from __future__ import annotations

import os
import queue
import sys
import threading
from typing import Any


def flush() -> None:
    """COMMIT returns before anything is on disk."""
    from auditlog.store import durability, writer

    off = "set_config('synchronous_commit', 'off', true)"
    writer._OPEN = writer._OPEN.replace(durability.FLUSH, off)  # type: ignore[misc]
    writer._OPEN_ONE = writer._OPEN_ONE.replace(durability.FLUSH, off)  # type: ignore[misc]


def commit_first() -> None:
    """Success is answered at once; a thread writes behind it, as fast as it can."""
    from auditlog.ingest import receive
    from auditlog.proof import merkle
    from auditlog.store.connect import writer_connection
    from auditlog.store.writer import Writer, Written

    waiting: queue.Queue[Any] = queue.Queue()

    def write() -> None:
        writer = Writer(writer_connection)
        while True:
            project, found, names = waiting.get()
            try:
                writer.write(project, found, **names)
            except Exception:  # noqa: BLE001, this is the mistake that the drill must see
                continue

    def keep(store: Any, caller: Any, found: Any, protocol: int, received_at: Any, size: int) -> Any:
        if waiting.empty() and not any(thread.name == "behind" for thread in threading.enumerate()):
            threading.Thread(target=write, name="behind", daemon=True).start()
        waiting.put((caller.project, found.items, {"key_id": caller.key_id, "protocol": protocol, "received_at": received_at}))
        return Written(0, merkle.batch_root([]), len(found.items), len(found.items), 0)

    receive.keep = keep


def unavailable() -> None:
    """What the database cannot do now is an error of ours: 500, INTERNAL."""
    from auditlog.errors import CODES, Kind

    CODES["store_unavailable"] = CODES["overloaded"] = Kind(500, 13)


def retry() -> None:
    """A conflict is the sender's to repeat."""
    from auditlog.store import writer

    writer._ATTEMPTS = 1  # type: ignore[misc]


def time_out() -> None:
    """A request waits for the database for as long as that takes."""
    from auditlog.ingest import work
    from auditlog.store.connect import connect

    work.ANSWER_WITHIN = 3600.0  # type: ignore[misc]
    work.writer_connection = lambda: connect("ingest")  # type: ignore[attr-defined]


def horizon() -> None:
    """The pass goes beyond transactions that are still open."""
    from auditlog.derive import sql

    sql.HORIZON = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"  # type: ignore[misc]


def partition() -> None:
    """Partitions are somebody else's business."""
    from auditlog.store import partitions

    partitions.ensure = lambda conn, bucket: False


def limit() -> None:
    """A body is unpacked whole, however large."""
    from auditlog.ingest import compression

    expand = compression.expand
    compression.expand = lambda body, encoding, limit: expand(body, encoding, 1 << 40)


def revocation() -> None:
    """A key is revoked from a moment on, by the clock of whoever asks."""
    from datetime import UTC, datetime

    from auditlog.ingest import auth

    judge = auth._judge

    def by_clock(known: Any, text: str, scope: str) -> Any:
        later = known.revoked_at is not None and known.revoked_at > datetime.now(UTC)
        return judge(known._replace(revoked_at=None) if later else known, text, scope)

    auth._judge = by_clock


def restart() -> None:
    """PostgreSQL that does not start three times is given up."""
    from auditlog.platform.embedded import Embedded, PostgresError
    from auditlog.platform.supervisor import Stop

    start = Embedded.start
    failures: list[PostgresError] = []

    def limited(self: Embedded) -> bool:
        try:
            return start(self)
        except PostgresError as error:
            failures.append(error)
            if len(failures) >= 3:
                raise Stop("PostgreSQL was started in vain three times.") from error
            raise

    Embedded.start = limited  # type: ignore[method-assign]


def warning() -> None:
    """A COMMIT that succeeds is a success, whatever is said with it."""
    from auditlog.store.writer import Writer

    Writer._notice = lambda self, said: None  # type: ignore[method-assign]


def one_transaction() -> None:
    """The sealer commits each statement for itself."""
    import contextlib

    import psycopg

    if "seal" in sys.argv:
        psycopg.Connection.transaction = lambda self, *_, **__: contextlib.nullcontext()  # type: ignore[method-assign,assignment]


def seal_horizon() -> None:
    """The sealer goes beyond transactions that are still open."""
    from auditlog.seal import sql

    sql.HORIZON = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text"  # type: ignore[misc]


def signed() -> None:
    """The sealer does not ask what it signed before."""
    from auditlog.seal.sealer import Sealer

    Sealer._owed = lambda self, head: None  # type: ignore[method-assign]


def hold_lock() -> None:
    """Holding and deleting do not wait for each other."""
    from auditlog.retention import lock

    lock.take = lambda conn: None


PROTECTIONS = {
    "flush": flush, "commit first": commit_first, "503": unavailable, "retry": retry, "time-out": time_out, "horizon": horizon,
    "partition": partition, "limit": limit, "revocation": revocation, "restart": restart,
    "warning": warning, "one transaction": one_transaction, "seal horizon": seal_horizon, "signed": signed,
    "hold lock": hold_lock,
}  # fmt: skip

if os.environ.get("DRILL_WITHOUT") in PROTECTIONS:
    PROTECTIONS[os.environ["DRILL_WITHOUT"]]()
