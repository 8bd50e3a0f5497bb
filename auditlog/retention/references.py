"""Owns which content events refer to: directly, and through the nodes of their conversations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import psycopg

from auditlog.store import fields, unpack
from auditlog.store.content import decode
from auditlog.store.pack import SHARED_PREFIX, content_key

Reference = tuple[bytes, bool]
"""SHA-256 of a piece of content, and whether it is a node that refers to more."""


def of_entries(encoded: bytes) -> set[Reference]:
    return set(unpack.references(msgspec.msgpack.decode(encoded)))


def by_prefix(parsed: unpack.Parsed) -> dict[bytes, set[Reference]]:
    """What one event refers to, by the prefix under which it lies."""
    found: dict[bytes, set[Reference]] = {}
    for field, encoded in parsed.entries.items():
        if references := of_entries(encoded):
            found.setdefault(SHARED_PREFIX if field in fields.SHARED else parsed.prefix, set()).update(references)
    return found


def closure(conn: psycopg.Connection[Any], secret: bytes, bucket: int, prefix: bytes, start: Iterable[Reference]) -> set[bytes]:
    """SHA-256 of all content that these references reach, through nodes."""
    reached: set[bytes] = set()
    wanted = set(start)
    while wanted:
        reached |= {sha for sha, _ in wanted}
        nodes = [content_key(secret, prefix, sha) for sha, node in wanted if node]
        rows = (
            conn.execute("SELECT codec, bytes FROM content WHERE bucket = %s AND content_key = ANY(%s)", (bucket, nodes)).fetchall()
            if nodes
            else []
        )
        wanted = {ref for codec, data in rows for ref in of_entries(decode(codec, bytes(data))) if ref[0] not in reached}
    return reached
