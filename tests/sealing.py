"""Owns a second sealed log for tests, from RFC 6962 and the C2SP pages alone: what reads a log is not tested by what made it.

Slow and plain: every root is computed from the definition, each time.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.emptying import empty

ORIGIN: Final = "auditlog/00000000000007e4"
TABLES: Final = ("anchor", "checkpoint", "log_key", "tile", "leaf")


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def mth(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if not leaves:
        return sha256(b"")
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0])
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:]))


def path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    """RFC 6962, section 2.1.1, word for word."""
    if len(leaves) == 1:
        return []
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return [*path(m, leaves[:k]), mth(leaves[k:])] if m < k else [*path(m - k, leaves[k:]), mth(leaves[:k])]


def public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def vkey(key: Ed25519PrivateKey, name: str = ORIGIN) -> str:
    """As signed-note writes a verifier key."""
    data = b"\x01" + public(key)
    return f"{name}+{key_hash(name, data).hex()}+{b64encode(data).decode()}"


def key_hash(name: str, data: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + data)[:4]


def note(size: int, root: bytes, keys: Sequence[Ed25519PrivateKey], name: str = ORIGIN) -> str:
    text = f"{name}\n{size}\n{b64encode(root).decode()}\n"
    lines = [b64encode(key_hash(name, b"\x01" + public(key)) + key.sign(text.encode())).decode() for key in keys]
    return text + "\n" + "".join(f"— {name} {line}\n" for line in lines)


def entry(conn: psycopg.Connection[Any], batch_no: int, bucket: int) -> bytes:
    """The eleven lines of docs/adr/013."""
    row = conn.execute(
        "SELECT b.project_id, b.received_at, p.count, p.root, b.acknowledged, b.duplicates, b.receipt_root, p.class_version "
        "FROM part p JOIN batch b USING (batch_no) WHERE p.batch_no = %s AND p.bucket = %s", (batch_no, bucket),
    ).fetchone()  # fmt: skip
    assert row
    project, received, count, root, acknowledged, duplicates, receipt, class_version = row
    lines = (
        "auditlog part 1", f"batch {batch_no}", f"bucket {bucket}", f"project {project}",
        f"received {received.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z", f"count {count}", f"root {root.hex()}",
        f"acknowledged {acknowledged}", f"duplicates {duplicates}", f"receipt {receipt.hex()}", f"class {class_version}",
    )  # fmt: skip
    return "".join(f"{line}\n" for line in lines).encode()


class Sealer:
    """Seals what is not sealed yet, when a test asks for it."""

    def __init__(self, conn: psycopg.Connection[Any]) -> None:
        self.conn = conn
        self.key = Ed25519PrivateKey.generate()
        self.rotating: Ed25519PrivateKey | None = None
        empty(conn, *TABLES)
        self._announce(0)

    def _announce(self, size: int) -> None:
        self.conn.execute("INSERT INTO log_key SELECT count(*) + 1, %s, %s, now(), %s FROM log_key", (ORIGIN, public(self.key), size))

    def rotate(self) -> None:
        """The next checkpoint is signed by the old key and the new one."""
        self.rotating, self.key = self.key, Ed25519PrivateKey.generate()

    def leaves(self) -> list[bytes]:
        return [bytes(row[0]) for row in self.conn.execute("SELECT entry FROM leaf ORDER BY leaf_index")]

    def seal(self) -> int:
        """One round. Returns the size."""
        size = len(self.leaves())
        parts = self.conn.execute(
            "SELECT p.batch_no, p.bucket FROM part p JOIN batch b USING (batch_no) LEFT JOIN leaf l USING (batch_no, bucket) "
            "WHERE l.leaf_index IS NULL ORDER BY b.xid, 1, 2"
        ).fetchall()
        for number, (batch_no, bucket) in enumerate(parts, size):
            values = (number, batch_no, bucket, entry(self.conn, batch_no, bucket))
            self.conn.execute("INSERT INTO leaf VALUES (%s, %s, %s, %s, now())", values)
        self.checkpoint()
        return size + len(parts)

    def checkpoint(self) -> None:
        leaves = self.leaves()
        self._tiles(leaves)
        keys = [self.key]
        if self.rotating is not None:
            self._announce(len(leaves))
            keys, self.rotating = [self.rotating, self.key], None
        root = mth(leaves)
        self.conn.execute(
            "INSERT INTO checkpoint VALUES (%s, %s, %s, %s)", (len(leaves), root, note(len(leaves), root, keys), datetime.now(UTC))
        )

    def _tiles(self, leaves: list[bytes]) -> None:
        level, hashes = 0, [sha256(b"\x00" + leaf) for leaf in leaves]
        while len(hashes) >= 256:
            tiles = [b"".join(hashes[n : n + 256]) for n in range(0, len(hashes) - 255, 256)]
            for number, tile in enumerate(tiles):
                self.conn.execute("INSERT INTO tile VALUES (%s, %s, %s) ON CONFLICT DO NOTHING", (level, number, tile))
            width = 256 ** (level + 1)
            hashes = [mth(leaves[n * width : (n + 1) * width]) for n in range(len(tiles))]
            level += 1
