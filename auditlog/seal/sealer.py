"""Owns sealing: parts of committed batches become leaves of the log, and a checkpoint is signed over them, a round in one transaction.

1. Look at the last checkpoint and at what is stored; what does not agree, or is older than what was signed, is refused.
2. Take parts without a leaf, in the order of their transactions below the snapshot's horizon.
3. Write their leaves, the tiles that they complete, and the checkpoint; then, on disk beside the key, what it says (`signed.py`).
4. Commit. Killed before this line, nothing of the round is stored, and the next one makes the same of the same parts.
Two sealers: one holds the advisory lock, the other waits; were both at work, the primary key of `leaf` would refuse the second.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

import psycopg

from auditlog import metrics
from auditlog.proof import checkpoint, leaf, merkle, note, tree
from auditlog.seal import keys, signed, sql
from auditlog.seal.log import Contradiction, Head, Log
from auditlog.seal.refusal import LOCK, PRESENT, Refused, Why

log = logging.getLogger(__name__)

Connection = psycopg.Connection[tuple[Any, ...]]

MOST: Final = 1_000  # parts of a round
LOOK_EVERY: Final = 60.0  # seconds after which the right edge is computed from all that is stored, not only from its last leaves


class NotAlone(Exception):
    """Another process seals this database."""


class Part(NamedTuple):
    """An unsealed part: what its leaf says of it, and its transaction."""

    leaf: leaf.Leaf
    xid: int


class Sealer:
    """Seals over a connection in autocommit; after psycopg.Error make another of both."""

    def __init__(self, conn: Connection, key_file: Path | None = None) -> None:
        self._conn = conn
        self._key_file = key_file or keys.path()
        self._signed_file = signed.path(self._key_file)
        self._system_id = int(_one(conn.execute(sql.SYSTEM_ID))[0])
        self._edge: tree.Edge | None = None
        self._looked = 0.0
        self._agreed: signed.Signed | None = None  # what the file said when it was last compared with what is stored
        self._foreign: int | None = None  # the first unsealed batch of another cluster, whose batches go first
        self._watermark: int | None = None  # whatever this cluster did below this transaction is sealed; None: not known
        if not _one(conn.execute("SELECT pg_try_advisory_lock(%s, %s)", (LOCK, PRESENT)))[0]:
            raise NotAlone("another process seals this database")

    def round(self) -> int:
        """Seals up to MOST parts. Returns how many; 0: nothing is left below the horizon. Raises Refused, OSError, psycopg.Error."""
        with self._conn.transaction():
            done = self._round()
        if done is None:
            return 0
        # Only now is the round known to be stored. Killed here: the next start looks at everything.
        self._edge, rotates, parts = done
        if rotates:
            keys.put_in_place(self._key_file)
        if self._foreign is None:
            self._watermark = parts[-1].xid
        else:
            self._foreign = parts[-1].leaf.batch
        metrics.leaves_sealed.add(len(parts))
        return len(parts)

    def drain(self) -> int:
        """Seals until nothing is left below the horizon."""
        total = 0
        while done := self.round():
            total += done
        return total

    def release(self) -> None:
        """Lets go of the database, so that another process may seal it."""
        self._conn.execute("SELECT pg_advisory_unlock_all()")

    def held_back(self) -> tuple[int, float]:
        """Committed batches that a transaction left open holds back, and the age of the oldest in seconds."""
        count, age = _one(self._conn.execute(sql.HELD_BACK, (self._system_id,)))
        return int(count), max(float(age), 0.0)

    def _round(self) -> tuple[tree.Edge, bool, list[Part]] | None:
        head = self._head()
        size = head.size if head else 0
        owed = self._owed(head)
        parts = self._pending(owed.size - size if owed else MOST)
        if owed and size + len(parts) < owed.size:
            raise Refused(Why.RESTORED)
        if not parts:
            return None
        signing = keys.signing(self._conn, self._key_file)
        edge = self._looked_at(head)
        entries = [leaf.entry(part.leaf) for part in parts]
        made = edge.append(map(merkle.leaf_hash, entries))
        now = signed.Signed(edge.size, edge.root())
        if owed and owed != now:
            raise Refused(Why.RESTORED)
        self._write(size, parts, entries, made)
        text = checkpoint.body(checkpoint.Checkpoint(signing.origin, now.size, now.root))
        self._conn.execute(sql.ADD_CHECKPOINT, (now.size, now.root, note.sign(text, signing.signers)))
        if signing.fresh is not None:
            number, key = signing.fresh
            self._conn.execute(keys.ADD, (number, key.name, key.public, now.size if signing.rotates else 0))
        signed.write(self._signed_file, now)
        return edge, signing.rotates, parts

    def _head(self) -> Head | None:
        """The last checkpoint. Raises Refused where there are more or fewer leaves than it covers."""
        head = Log(self._conn).head()
        (leaves,) = _one(self._conn.execute(sql.LEAVES))
        if leaves != (head.size if head else 0):
            raise Refused(Why.ROOT_DIFFERS)
        return head

    def _owed(self, head: Head | None) -> signed.Signed | None:
        """The tree that this round has to come to, because it may have been signed already. Raises Refused for an older database."""
        size = head.size if head else 0
        try:
            last = signed.read(self._signed_file)
        except (ValueError, KeyError, TypeError) as error:
            raise Refused(Why.SIGNED_MISSING) from error
        if last is None:
            if head is not None:
                raise Refused(Why.SIGNED_MISSING)
            return None
        if last.size > size:
            if last.size - size > MOST:
                raise Refused(Why.RESTORED)
            return last
        if self._edge is None:
            self._edge = self._looked_at(head)
        if last != self._agreed and self._root_of(last.size, head) != last.root:
            raise Refused(Why.RESTORED)
        self._agreed = last
        return None

    def _root_of(self, size: int, head: Head | None) -> bytes:
        """The root of the first leaves of what is stored; fewer than all after a start on another machine than the one that sealed last."""
        if head is not None and head.size == size:
            return head.root
        return tree.root(size, Log(self._conn).nodes(head.size if head else 0))

    def _looked_at(self, head: Head | None) -> tree.Edge:
        """The right edge as it is stored: its last leaves each time, all of it now and then. Raises Refused unless its root was signed."""
        size, root = (head.size, head.root) if head else (0, merkle.EMPTY_ROOT)
        store = Log(self._conn)
        try:
            if self._edge is None or self._edge.size != size or time.monotonic() - self._looked > LOOK_EVERY:
                edge = store.edge(size)
                self._looked = time.monotonic()
            else:
                edge = self._edge.with_leaves(store.leaf_hashes(size // tree.WIDTH * tree.WIDTH, size))
        except Contradiction as error:
            raise Refused(Why.ROOT_DIFFERS) from error
        if edge.root() != root:
            raise Refused(Why.ROOT_DIFFERS)
        return edge

    def _pending(self, limit: int) -> list[Part]:
        # The horizon is taken first: whatever is below it had committed before the next statement looks.
        horizon = str(_one(self._conn.execute(sql.HORIZON))[0])
        if self._watermark is None:  # a start: everything is looked at once
            first = _one(self._conn.execute(sql.FIRST, (self._system_id,)))[0]
            (self._foreign,) = _one(self._conn.execute(sql.FIRST_FOREIGN, (self._system_id,)))
            self._watermark = min(int(first or horizon), int(horizon))
        known = {"system_id": self._system_id, "limit": limit, "horizon": horizon}
        if self._foreign is not None:
            rows = self._conn.execute(sql.PENDING_FOREIGN, {**known, "watermark": self._foreign}, binary=True).fetchall()
            if rows:
                return [_part(row) for row in rows]
            self._foreign = None
        rows = self._conn.execute(sql.PENDING, {**known, "watermark": str(self._watermark)}, binary=True).fetchall()
        if not rows:
            self._watermark = int(horizon)
        return [_part(row) for row in rows]

    def _write(self, first: int, parts: list[Part], entries: list[bytes], made: list[tree.Tile]) -> None:
        self._conn.execute(sql.ADD_LEAVES, (first, [part.leaf.batch for part in parts], [part.leaf.bucket for part in parts], entries))
        if made:
            self._conn.execute(sql.ADD_TILES, ([t.level for t in made], [t.number for t in made], [t.hashes for t in made]))


def _part(row: tuple[Any, ...]) -> Part:
    batch, bucket, project, received, count, root, acknowledged, duplicates, receipt, class_version, xid = row
    return Part(
        leaf.Leaf(batch, bucket, project, received, count, bytes(root), acknowledged, duplicates, bytes(receipt), class_version), int(xid)
    )


def _one(cursor: psycopg.Cursor[tuple[Any, ...]]) -> tuple[Any, ...]:
    row = cursor.fetchone()
    assert row is not None  # each of these statements returns exactly one row
    return row
