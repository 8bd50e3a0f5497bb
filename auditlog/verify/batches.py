"""Owns the check of stored batches against what was promised when they were acknowledged: fields, digests, contents, roots, counts.

It trusts nothing but the bytes in the tables: every number is computed again, none is read. The mathematics are those of the offline
verifier (auditlog/verify/standalone.py), so that both say the same of the same bytes.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import psycopg

from auditlog.errors import Problem
from auditlog.store import fields
from auditlog.store.content import decode
from auditlog.store.pack import SHARED_PREFIX, content_key
from auditlog.store.reader import Secrets, public_id
from auditlog.verify import standalone
from auditlog.verify.standalone import Event, Wrong

_KNOWN: Final = 50_000  # contents remembered as checked, about 200 bytes each
_AT_ONCE: Final = 500  # contents fetched by one query
_EVENTS: Final = (
    "SELECT trace_key, event_id, bucket, batch_no, project_id, received_at, occurred_at, skeleton, vals, item, trace_id, span_id "
    "FROM event WHERE batch_no BETWEEN %(low)s AND %(high)s AND batch_no = ANY(%(batches)s)"
)
_PARTS: Final = (
    "SELECT p.batch_no, p.bucket, p.count, p.root, b.project_id, b.received_at, coalesce(k.state = 'disposed', false), "
    "EXISTS (SELECT FROM disposition d WHERE d.bucket = p.bucket AND d.state = 'executed') "
    "FROM part p JOIN batch b USING (batch_no) LEFT JOIN bucket k ON k.bucket = p.bucket WHERE p.batch_no = ANY(%s) ORDER BY 1, 2"
)
_TOMBSTONES: Final = "SELECT batch_no, bucket, digest FROM tombstone WHERE batch_no = ANY(%s)"
_CONTENT: Final = "SELECT content_key, codec, bytes FROM content WHERE bucket = %s AND content_key = ANY(%s)"


class Fault(NamedTuple):
    """One contradiction. Codes are listed in docs/reference/verification.md; event: its public ID."""

    code: str
    batch_no: int | None
    event: str | None
    message: str


class Checked(NamedTuple):
    events: int
    contents: int
    withheld: int  # fields whose values were erased
    faults: list[Fault]


class _Part(NamedTuple):
    batch_no: int
    bucket: int
    events: int
    root: bytes
    project_id: int
    received_at: datetime
    disposed: bool
    certified: bool  # a certificate says that something of the bucket was disposed of


class _Ref(NamedTuple):
    """Who refers to a content, for whoever has to name it."""

    sha: bytes
    node: bool
    batch_no: int
    event: str
    field: int
    secret: bytes  # of the project: the keys of what a node refers to are made with it


_Wanted = dict[tuple[int, bytes], _Ref]
"""By bucket and content key."""


class Checker:
    """Checks batches, many with one query; remembers for a while which contents were right."""

    def __init__(self, conn: psycopg.Connection[Any], secrets: Secrets) -> None:
        self._conn = conn
        self._secrets = secrets
        self._known: dict[tuple[int, bytes], list[tuple[bytes, bool]]] = {}  # what a node refers to; nothing for other content

    def check(self, numbers: Sequence[int], *, everywhere: bool = False) -> Checked:
        """Everything that is wrong with some batches. everywhere: events are also looked for where no part says that they are."""
        parts = {(part.batch_no, part.bucket): part for part in (_Part(*row) for row in self._conn.execute(_PARTS, (list(numbers),)))}
        there = {part.batch_no for part in parts.values()}
        faults = [
            Fault("part_missing", number, None, f"batch {number} has no part: it was never acknowledged, or its row was removed")
            for number in numbers
            if number not in there
        ]
        digests: dict[tuple[int, int], list[bytes]] = defaultdict(list)
        wanted: _Wanted = {}
        withheld = events = contents = 0
        for row in self._rows(numbers, None if everywhere else {part.bucket for part in parts.values() if not part.disposed}):
            batch_no, public = row[3], public_id(row[0], row[1])
            digests[batch_no, row[2]].append(hashlib.sha256(row[7]).digest())
            events += 1
            try:
                event = standalone.read_event(row[7], row[8])
            except Wrong as wrong:
                faults.append(Fault(wrong.code, batch_no, public, wrong.message))
                continue
            faults += _contradictions(row, public, event, parts.get((batch_no, row[2])))
            withheld += len(event.missing)
            try:
                secret = self._secrets(row[4])
            except (LookupError, Problem):
                faults.append(Fault("project_unknown", batch_no, public, f"project {row[4]} does not exist; contents were not looked for"))
                continue
            for field, sha, node in event.references:
                prefix = SHARED_PREFIX if field in fields.SHARED else event.prefix
                wanted.setdefault((row[2], content_key(secret, prefix, sha)), _Ref(sha, node, batch_no, public, field, secret))
            if len(wanted) >= _AT_ONCE:
                contents += self._contents(wanted, faults)
                wanted = {}
        contents += self._contents(wanted, faults)
        for batch_no, bucket, digest in self._conn.execute(_TOMBSTONES, (list(numbers),)):
            part = parts.get((batch_no, bucket))
            if part is not None and part.certified:  # the bucket was rewritten: of what left it the digests are kept
                digests[batch_no, bucket].append(bytes(digest))
        faults += _of_parts(parts, digests)
        return Checked(events, contents, withheld, faults)

    def _rows(self, numbers: Sequence[int], buckets: set[int] | None) -> Iterable[tuple[Any, ...]]:
        if not numbers or buckets == set():
            return []
        where = "" if buckets is None else f" AND bucket IN ({', '.join(str(int(bucket)) for bucket in sorted(buckets))})"
        asked = {"low": min(numbers), "high": max(numbers), "batches": list(numbers)}
        return self._binary(f"{_EVENTS}{where} ORDER BY batch_no, trace_key, event_id", asked)

    def _binary(self, query: str, given: Any) -> Iterable[tuple[Any, ...]]:
        """By a cursor of psycopg's own kind: those of Django's connection, which pages come with, have no binary form."""
        return psycopg.Cursor(self._conn).execute(query, given, binary=True)

    def _contents(self, wanted: _Wanted, faults: list[Fault]) -> int:
        """Follows every reference, nodes included, and hashes what is found. Returns how many were read."""
        read = 0
        while wanted:
            below: _Wanted = {}
            todo = {place: one for place, one in wanted.items() if place not in self._known}
            for place in wanted.keys() - todo.keys():
                self._below(place, wanted[place], below)
            for bucket in {bucket for bucket, _ in todo}:
                keys = [key for at, key in todo if at == bucket]
                for start in range(0, len(keys), _AT_ONCE):
                    for key, codec, data in self._binary(_CONTENT, (bucket, keys[start : start + _AT_ONCE])):
                        read += 1
                        one = todo.pop((bucket, bytes(key)))
                        if fault := self._content((bucket, bytes(key)), one, codec, data):
                            faults.append(fault)
                        else:
                            self._below((bucket, bytes(key)), one, below)
            for one in todo.values():
                message = f"{fields.NAMES[one.field]}: content {one.sha.hex()} is not there"
                faults.append(Fault("content_missing", one.batch_no, one.event, message))
            wanted = below
        if len(self._known) > _KNOWN:
            self._known.clear()
        return read

    def _content(self, place: tuple[int, bytes], one: _Ref, codec: int, stored: bytes) -> Fault | None:
        try:
            data = decode(codec, stored)
            if hashlib.sha256(data).digest() == one.sha:
                self._known[place] = standalone.node_refers(data) if one.node else []
                return None
        except (ValueError, Wrong):
            pass  # damaged, or no node: it is not what its name says
        return Fault("content_changed", one.batch_no, one.event, f"{fields.NAMES[one.field]}: content is not what {one.sha.hex()} names")

    def _below(self, place: tuple[int, bytes], one: _Ref, below: _Wanted) -> None:
        """What a node refers to lies under the prefix of the node."""
        for sha, node in self._known.get(place, ()):
            key = content_key(one.secret, place[1][:4], sha)
            below.setdefault((place[0], key), one._replace(sha=sha, node=node))


def _contradictions(row: tuple[Any, ...], public: str, event: Event, part: _Part | None) -> Iterable[Fault]:
    _, _, bucket, batch_no, project_id, received_at, occurred_at, _, _, item, trace_id, span_id = row
    for field in event.changed:
        message = f"{fields.NAMES.get(field, field)}: the values are not those that were committed"
        yield Fault("field_changed", batch_no, public, message)
    occurred = None if occurred_at is None else (occurred_at - standalone.EPOCH) // timedelta(microseconds=1)
    differing = standalone.columns_differ(event, public, item, bytes(trace_id or b"").hex(), bytes(span_id or b"").hex(), occurred)
    if part is not None:
        columns = {"project_id": project_id == part.project_id, "received_at": received_at == part.received_at}
        differing += [name for name, fits in columns.items() if not fits]
    for name in differing:
        yield Fault("column_changed", batch_no, public, f"{name} contradicts the event's skeleton or its batch")
    if part is None:
        yield Fault("event_stray", batch_no, public, f"no part says that batch {batch_no} has events in bucket {bucket}")


def _of_parts(parts: dict[tuple[int, int], _Part], digests: dict[tuple[int, int], list[bytes]]) -> Iterable[Fault]:
    for key, part in parts.items():
        name = f"batch {part.batch_no} in bucket {part.bucket}"
        if part.disposed and not part.certified:
            yield Fault("certificate_missing", part.batch_no, None, f"{name} is marked as disposed of, but no certificate says so")
        if part.disposed:
            continue
        found = digests.get(key, [])
        if len(found) != part.events:
            yield Fault("count_differs", part.batch_no, None, f"{name} holds {len(found)} events, {part.events} were stored")
        if standalone.merkle_root(sorted(found)) != bytes(part.root):
            yield Fault("root_differs", part.batch_no, None, f"the digests of {name} do not give the acknowledged root")


def check_batch(conn: psycopg.Connection[Any], batch_no: int, secrets: Secrets) -> list[Fault]:
    """Everything that is wrong with one batch; empty if it is as acknowledged. Withheld fields are no fault."""
    return Checker(conn, secrets).check([batch_no], everywhere=True).faults
