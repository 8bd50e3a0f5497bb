"""Owns reading evidence back: events as rows, their content by key in a second query, and the items that they were."""

from __future__ import annotations

import uuid
from collections import ChainMap
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec
import psycopg

from auditlog.item import UNREADABLE, Context, Item
from auditlog.proof import canonical
from auditlog.store import fields, unpack
from auditlog.store.content import decode
from auditlog.store.pack import SHARED_PREFIX, content_key

_COLUMNS: Final = "trace_key, event_id, bucket, batch_no, project_id, received_at, occurred_at, skeleton, vals"
_ORDER: Final = "ORDER BY occurred_at NULLS LAST, trace_key, event_id"
_PAGE: Final = 2_000  # events per round of content, so that memory follows the page and not the session


class Stored(NamedTuple):
    """One event as stored, and the item that it was. `id` is public: 64 hex digits, trace key and event ID."""

    id: str
    trace_key: uuid.UUID
    event_id: uuid.UUID
    bucket: int
    batch_no: int
    project_id: int
    received_at: datetime
    occurred_at: datetime | None
    digest: bytes
    item: Item


Row = tuple[Any, ...]
Content = dict[tuple[int, int, bytes], dict[bytes, bytes]]
"""Content by (project, bucket, prefix) and SHA-256."""
Secrets = Callable[[int], bytes]
"""project_id to the project's secret, 32 bytes: content keys are keyed with it (auditlog.secrets)."""


def public_id(trace_key: uuid.UUID, event_id: uuid.UUID) -> str:
    return trace_key.hex + event_id.hex


def split_id(public: str) -> tuple[uuid.UUID, uuid.UUID] | None:
    """(trace key, event ID), or None for what is no event ID."""
    try:
        if len(public) != 64 or not public.isascii() or not public.isalnum():
            return None
        return uuid.UUID(hex=public[:32]), uuid.UUID(hex=public[32:])
    except ValueError:
        return None


def _fields(parsed: unpack.Parsed, wanted: Callable[[str], bool]) -> set[int]:
    """The fields in which a wanted value may stand: those of its key, and the two that are not cut at keys."""
    keys = map(fields.key_of, parsed.structure[2][::2]) if parsed.structure[0] != UNREADABLE else ()
    return {fields.RESOURCE, fields.BODY, *(fields.field_of(key)[0] for key in keys if wanted(key))}


class Reader:
    """Reads events over a connection that the caller owns; the caller says which project may be seen."""

    def __init__(self, conn: psycopg.Connection[Any], secrets: Secrets) -> None:
        self._conn = conn
        self._secrets = secrets

    def event(self, project_id: int, public: str) -> Stored | None:
        """One event of a project by its public ID, or None. Received twice across buckets: the first one."""
        ids = split_id(public)
        if ids is None:
            return None
        rows = self._rows(
            f"SELECT {_COLUMNS} FROM event WHERE bucket IN ({{buckets}}) AND trace_key = %s AND event_id = %s AND project_id = %s "
            "ORDER BY received_at, batch_no LIMIT 1", (*ids, project_id),
        )  # fmt: skip
        return self.load(rows)[0] if rows else None

    def events_of_traces(self, project_id: int, trace_keys: Sequence[uuid.UUID], limit: int | None = None) -> list[Stored]:
        """All events of these traces, in order of occurrence. Each event once, however often and in whichever bucket received."""
        return self.load(self.rows_of_traces(project_id, trace_keys, limit))

    def rows_of_traces(self, project_id: int, trace_keys: Sequence[uuid.UUID], limit: int | None = None) -> list[Row]:
        """The same, not yet loaded; for whoever loads page by page. A row begins with trace key and event ID."""
        rows = self._rows(
            f"SELECT {_COLUMNS} FROM event WHERE bucket IN ({{buckets}}) AND trace_key = ANY(%s) AND project_id = %s "
            f"{_ORDER}, received_at LIMIT %s",
            (list(trace_keys), project_id, limit),
        )  # fmt: skip
        seen: set[tuple[uuid.UUID, uuid.UUID]] = set()
        once = []
        for row in rows:
            if (row[0], row[1]) not in seen:
                seen.add((row[0], row[1]))
                once.append(row)
        return once

    def copies_of_traces(
        self, project_id: int, trace_keys: Sequence[uuid.UUID], wanted: Callable[[str], bool] | None = None
    ) -> list[Stored]:
        """All events of these traces, each as often as it was received; `wanted` as below."""
        where = "bucket IN ({buckets}) AND trace_key = ANY(%s) AND project_id = %s"
        return self.load(self._rows(f"SELECT {_COLUMNS} FROM event WHERE {where} {_ORDER}", (list(trace_keys), project_id)), wanted)

    def events_of_batches(self, batch_nos: Sequence[int], wanted: Callable[[str], bool] | None = None) -> list[Stored]:
        """What these batches stored (duplicates of earlier ones are not theirs). Cheap: BRIN on batch_no, parts name the buckets.

        `wanted` says of an attribute's key whether its value is; the long values of fields with no such key come back WITHHELD.
        """
        parts = self._conn.execute("SELECT DISTINCT bucket FROM part WHERE batch_no = ANY(%s) AND count > 0", (list(batch_nos),)).fetchall()
        if not parts:
            return []
        buckets = ", ".join(str(int(row[0])) for row in parts)
        rows = self._conn.execute(
            f"SELECT {_COLUMNS} FROM event WHERE bucket IN ({buckets}) AND batch_no BETWEEN %s AND %s AND batch_no = ANY(%s) "
            f"ORDER BY batch_no, occurred_at NULLS LAST, trace_key, event_id", (min(batch_nos), max(batch_nos), list(batch_nos)),
        ).fetchall()  # fmt: skip
        return self.load(rows, wanted)

    def _rows(self, query: str, parameters: tuple[Any, ...]) -> list[Row]:
        """Runs a query with the literal list of buckets that still exist: a plan of 0.3 ms instead of 7.7."""
        buckets = [str(int(row[0])) for row in self._conn.execute("SELECT bucket FROM bucket WHERE state <> 'disposed'")]
        if not buckets:
            return []
        return self._conn.execute(query.format(buckets=", ".join(buckets)), parameters).fetchall()

    def load(self, rows: Sequence[Row], wanted: Callable[[str], bool] | None = None, known: Content | None = None) -> list[Stored]:
        """Rows of _COLUMNS as events with their items. Content is fetched page by page.

        `known`: what earlier calls for the same session fetched, to be handed on empty. A later prompt repeats the earlier ones, and
        the nodes of a conversation lead backwards: without it they are followed from the end to the beginning, one query each.
        """
        loaded: list[Stored] = []
        contexts: dict[bytes, Context] = {}
        for start in range(0, len(rows), _PAGE):
            page = rows[start : start + _PAGE]
            parsed = [unpack.parse(bytes(row[7]), bytes(row[8])) for row in page]
            content = self._content([(row[4], row[2], one) for row, one in zip(page, parsed, strict=True)], wanted, known)
            for row, one in zip(page, parsed, strict=True):
                own, shared = (content.get((row[4], row[2], prefix), {}) for prefix in (one.prefix, SHARED_PREFIX))
                item = unpack.build(one, ChainMap(own, shared), contexts)
                trace_key, event_id, bucket, batch_no, project, received, occurred = row[:7]
                digest = canonical.digest(bytes(row[7]))
                loaded.append(
                    Stored(public_id(trace_key, event_id), trace_key, event_id, bucket, batch_no, project, received, occurred, digest, item)
                )
        return loaded

    def _content(
        self,
        events: Iterable[tuple[int, int, unpack.Parsed]],
        wanted_key: Callable[[str], bool] | None = None,
        known: Content | None = None,
    ) -> Content:
        """All content of these events, and what was known; nodes are followed round by round."""
        found: Content = {} if known is None else known
        wanted: dict[tuple[int, int], dict[bytes, tuple[bytes, bytes, bool]]] = {}  # content key: (prefix, SHA-256, is it a node)

        def want(project: int, bucket: int, prefix: bytes, sha: bytes, node: bool) -> None:
            have = found.setdefault((project, bucket, prefix), {})
            if sha not in have:
                wanted.setdefault((project, bucket), {})[content_key(self._secrets(project), prefix, sha)] = (prefix, sha, node)

        for project, bucket, parsed in events:
            chosen = None if wanted_key is None else _fields(parsed, wanted_key)
            for field, encoded in parsed.entries.items():
                if chosen is not None and field not in chosen:
                    continue
                prefix = SHARED_PREFIX if field in fields.SHARED else parsed.prefix
                for sha, node in unpack.references(msgspec.msgpack.decode(encoded)):
                    want(project, bucket, prefix, sha, node)
        while wanted:
            round_, wanted = wanted, {}
            for (project, bucket), keys in round_.items():
                nodes = []
                for key, data in self._bytes(bucket, list(keys)):
                    prefix, sha, node = keys[key]
                    found[project, bucket, prefix][sha] = data
                    if node:
                        nodes.append((prefix, data))
                for prefix, data in nodes:  # after all of this round: what it brought is not asked for again
                    for below, is_node in unpack.references(msgspec.msgpack.decode(data)):
                        want(project, bucket, prefix, below, is_node)
        return found

    def _bytes(self, bucket: int, keys: list[bytes]) -> Iterable[tuple[bytes, bytes]]:
        rows = self._conn.execute(
            f"SELECT content_key, codec, bytes FROM content WHERE bucket = {int(bucket)} AND content_key = ANY(%s)", (keys,)
        ).fetchall()
        return [(bytes(key), decode(codec, bytes(data))) for key, codec, data in rows]
