"""Owns the check of stored batches against what was promised when they were acknowledged: fields, digests, roots, counts.

It trusts nothing but the bytes in the tables: every number is computed again, none is read.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import psycopg

from auditlog import item as items
from auditlog.proof import canonical, merkle
from auditlog.store import fields, unpack
from auditlog.store.content import decode
from auditlog.store.pack import SHARED_PREFIX, content_key
from auditlog.store.reader import Secrets, public_id


class Fault(NamedTuple):
    """One contradiction. code: field_changed, column_changed, content_missing, content_changed, root_differs, count_differs, unreadable,
    certificate_missing."""

    code: str
    batch_no: int
    event: str | None  # public event ID
    message: str


class _Row(NamedTuple):
    trace_key: uuid.UUID
    event_id: uuid.UUID
    bucket: int
    project_id: int
    item: int
    trace_id: bytes | None
    span_id: bytes | None
    skeleton: bytes
    vals: bytes


_EVENTS = (
    "SELECT trace_key, event_id, bucket, project_id, item, trace_id, span_id, skeleton, vals "
    "FROM event WHERE batch_no = %s ORDER BY trace_key, event_id"
)
_TOMBSTONES = "SELECT digest FROM tombstone WHERE bucket = %s AND batch_no = %s"


def _disposed(conn: psycopg.Connection[Any], bucket: int) -> tuple[bool, bool]:
    """(whether the bucket is disposed of, whether there is a certificate that something of it was)."""
    row = conn.execute(
        "SELECT b.state = 'disposed', EXISTS (SELECT FROM disposition d WHERE d.bucket = b.bucket AND d.state = 'executed') "
        "FROM bucket b WHERE b.bucket = %s", (bucket,),
    ).fetchone()  # fmt: skip
    return (False, False) if row is None else (row[0], row[1])


def check_batch(conn: psycopg.Connection[Any], batch_no: int, secrets: Secrets) -> list[Fault]:
    """Everything that is wrong with one batch; empty if it is as acknowledged. Withheld fields are no fault, nor is what a certificate
    says was disposed of."""
    parts = conn.execute("SELECT bucket, count, root FROM part WHERE batch_no = %s", (batch_no,)).fetchall()
    if not parts:
        return [Fault("count_differs", batch_no, None, f"batch {batch_no} has no part: it was never acknowledged, or its row was removed")]
    rows = [_Row(*row) for row in conn.execute(_EVENTS, (batch_no,))]
    faults = [fault for row in rows for fault in _check_event(conn, batch_no, row, secrets)]
    for bucket, count, root in parts:
        disposed, certified = _disposed(conn, bucket)
        if disposed and not certified:
            faults.append(
                Fault("certificate_missing", batch_no, None, f"bucket {bucket} is marked as disposed of, but no certificate says so")
            )
        if disposed:
            continue
        digests = [canonical.digest(bytes(row.skeleton)) for row in rows if row.bucket == bucket]
        if certified:  # the bucket was rewritten: of what left it the digests are kept
            digests += [bytes(row[0]) for row in conn.execute(_TOMBSTONES, (bucket, batch_no))]
        if len(digests) != count:
            faults.append(
                Fault(
                    "count_differs", batch_no, None, f"bucket {bucket} holds {len(digests)} events of batch {batch_no}, {count} were stored"
                )
            )
        if merkle.batch_root(digests) != bytes(root):
            faults.append(
                Fault(
                    "root_differs", batch_no, None, f"the digests of batch {batch_no} in bucket {bucket} do not give the acknowledged root"
                )
            )
    return faults


def _check_event(conn: psycopg.Connection[Any], batch_no: int, row: _Row, secrets: Secrets) -> Iterator[Fault]:
    public = public_id(row.trace_key, row.event_id)
    try:
        yield from _contradictions(conn, batch_no, public, row, secrets)
    except psycopg.Error:
        raise  # the database, not the event
    except Exception as error:  # noqa: BLE001 - bytes that somebody changed may break any reader; the event is named, the others are checked
        yield Fault("unreadable", batch_no, public, f"what is stored cannot be taken apart ({type(error).__name__})")


def _contradictions(conn: psycopg.Connection[Any], batch_no: int, public: str, row: _Row, secrets: Secrets) -> Iterator[Fault]:
    try:
        parsed = unpack.parse(bytes(row.skeleton), bytes(row.vals))
    except unpack.FormatError as error:
        yield Fault("unreadable", batch_no, public, str(error))
        return
    for field, verdict in unpack.check(parsed).items():
        if verdict == "changed":
            yield Fault(
                "field_changed", batch_no, public, f"{fields.NAMES.get(field, field)}: the values are not those that were committed"
            )
    if not _columns_agree(row, parsed):
        yield Fault("column_changed", batch_no, public, "a column contradicts the event's skeleton")
    yield from _check_content(conn, batch_no, public, row, parsed, secrets(row.project_id))


def _columns_agree(row: _Row, parsed: unpack.Parsed) -> bool:
    head = parsed.structure[1]
    trace_id = head[0] if row.item != items.UNREADABLE else b""
    span_id = head[1] if row.item in (items.SPAN, items.LOG) else b""
    return (
        parsed.structure[0] == row.item
        and parsed.event_id == row.event_id.bytes
        and bytes(row.trace_id or b"") == trace_id
        and bytes(row.span_id or b"") == span_id
        and (not trace_id or row.trace_key.bytes == trace_id)
    )


def _check_content(
    conn: psycopg.Connection[Any], batch_no: int, public: str, row: _Row, parsed: unpack.Parsed, secret: bytes
) -> Iterator[Fault]:
    """Follows every reference, nodes included, and hashes what is found."""
    for field, encoded in parsed.entries.items():
        prefix = SHARED_PREFIX if field in fields.SHARED else parsed.prefix
        wanted = dict(unpack.references(msgspec.msgpack.decode(encoded)))
        while wanted:
            keys = {content_key(secret, prefix, sha): sha for sha in wanted}
            found = {
                keys[bytes(key)]: decode(codec, bytes(data))
                for key, codec, data in conn.execute(
                    "SELECT content_key, codec, bytes FROM content WHERE bucket = %s AND content_key = ANY(%s)", (row.bucket, list(keys))
                )
            }
            below: dict[bytes, bool] = {}
            for sha, node in wanted.items():
                data = found.get(sha)
                if data is None:
                    yield Fault("content_missing", batch_no, public, f"{fields.NAMES[field]}: content {sha.hex()} is not there")
                elif hashlib.sha256(data).digest() != sha:
                    yield Fault("content_changed", batch_no, public, f"{fields.NAMES[field]}: content is not what {sha.hex()} names")
                elif node:
                    below |= dict(unpack.references(msgspec.msgpack.decode(data)))
            wanted = below
