"""Owns what tests of the log stand on: the bench of the pass's tests, a key in a folder of its own, and a sealer that may be killed."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest

from auditlog.item import STRING, Context, Span
from auditlog.proof import note
from auditlog.seal.sealer import Sealer
from auditlog.store.connect import connect, url
from tests.db.derived import Bench, bench, owner

__all__ = ["bench", "owner"]


def span() -> Span:
    return Span(Context(), secrets.token_bytes(16), secrets.token_bytes(8), "x", 1, 2, [("session.id", STRING, "s-1")])


def mth(leaves: Sequence[bytes]) -> bytes:
    """The root over entries, as RFC 6962 defines it."""
    if len(leaves) < 2:
        return hashlib.sha256(b"\0" + leaves[0] if leaves else b"").digest()
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + mth(leaves[:k]) + mth(leaves[k:])).digest()


class Mortal(psycopg.Connection[Any]):
    """A connection that is cut before its statement number `lives`, as by a kill of the sealer."""

    lives: int | None = None

    def execute(self, *args: Any, **names: Any) -> Any:
        if self.lives is not None:
            if self.lives == 0:
                self.close()
                raise psycopg.OperationalError("killed")
            self.lives -= 1
        return super().execute(*args, **names)


class Seals:
    """A log that is sealed by one sealer after another."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self.bench = bench
        self.key_file = folder / "log.key"
        self.conn: Mortal | None = None

    def start(self) -> Sealer:
        """As after a start: nothing is remembered but what is stored."""
        self.leave()
        self.conn = Mortal.connect(url("sealer"), autocommit=True)
        return Sealer(self.conn, self.key_file)

    def leave(self) -> None:
        if self.conn is not None and not self.conn.closed:
            self.conn.lives = None
            self.conn.execute("SELECT pg_advisory_unlock_all()")
            self.conn.close()

    def send(self, count: int = 1) -> None:
        for _ in range(count):
            self.bench.send([span()])

    def plant(self, count: int) -> None:
        """Batches of one part without events: what is sealed of them costs no sending."""
        self.bench.owner.execute(
            "WITH b AS (INSERT INTO batch (batch_no, project_id, protocol, received_at, system_id, acknowledged, duplicates, receipt_root) "
            "SELECT nextval('batch_no_seq'), 1, 1, now(), system_identifier, 0, 0, sha256('') "
            "FROM pg_control_system(), generate_series(1, %s) RETURNING batch_no) "
            "INSERT INTO part (batch_no, bucket, count, root) SELECT batch_no, 1, 0, sha256('') FROM b",
            (count,),
        )

    def entries(self) -> list[bytes]:
        rows = self.bench.rows("SELECT leaf_index, entry FROM leaf ORDER BY leaf_index")
        assert [row[0] for row in rows] == list(range(len(rows))), "indexes are dense from 0"
        return [bytes(row[1]) for row in rows]

    def checkpoints(self) -> list[tuple[int, bytes, str]]:
        return [(size, bytes(root), text) for size, root, text in self.bench.rows("SELECT size, root, note FROM checkpoint ORDER BY size")]

    def keys(self) -> list[note.Key]:
        return [note.Key(name, bytes(public)) for name, public in self.bench.rows("SELECT name, public_key FROM log_key ORDER BY key_no")]


@pytest.fixture
def seals(bench: Bench, tmp_path: Path) -> Iterator[Seals]:
    made = Seals(bench, tmp_path)
    yield made
    made.leave()


@pytest.fixture
def web(django_db_setup: None) -> Iterator[psycopg.Connection[Any]]:
    """As pages and API ask."""
    with connect("web", autocommit=True) as conn:
        yield conn
