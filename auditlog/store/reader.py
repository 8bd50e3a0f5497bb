"""Owns reading evidence back: events as rows, their content by key in a second query, and the items that they were."""

from __future__ import annotations

import logging
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec
import psycopg

from auditlog.errors import Problem
from auditlog.item import UNREADABLE, Context, Item
from auditlog.proof import canonical
from auditlog.store import arrays, fields, unpack
from auditlog.store.content import decode, size_of
from auditlog.store.pack import SHARED_PREFIX, content_key

log = logging.getLogger(__name__)

_KEYS: Final = "trace_key, event_id, bucket, batch_no, project_id, received_at, occurred_at"
_COLUMNS: Final = f"{_KEYS}, skeleton, vals"
_ORDER: Final = "ORDER BY occurred_at NULLS LAST, trace_key, event_id"
_SIZE: Final = "octet_length(skeleton) + octet_length(vals)"  # known without reading them
_PAGE: Final = 2_000  # events per round of content, so that memory follows the page and not the session
MOST_AT_ONCE: Final = 64 * 1024 * 1024  # bytes of rows, or of content, that a page may bring; one event may be as large by itself
_ANY: Final = 1 << 62
_RESTRICTED: Final = (
    "SELECT project_id, trace_key, event_id, max(erasure) FROM restricted WHERE project_id = ANY(%s) AND trace_key = ANY(%s) "
    "GROUP BY 1, 2, 3"
)
_EVER: Final = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


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
    gone: tuple[int, ...]  # fields of which no value is there any more, or may be shown


Row = tuple[Any, ...]
"""trace_key, event_id, bucket, batch_no, project_id, received_at, occurred_at, skeleton, vals, and more."""


class Pieces(dict[bytes, bytes]):
    """Content by SHA-256: of one prefix, and behind it what is `shared`."""

    __slots__ = ("shared",)
    shared: dict[bytes, bytes]

    def __missing__(self, sha: bytes) -> bytes:
        return self.shared[sha]


Content = dict[tuple[int, int, bytes], Pieces]
"""Content by (project, bucket, prefix)."""
Wanted = defaultdict[tuple[int, int], dict[tuple[bytes, bytes], bool]]
"""What is to be fetched by (project, bucket): (prefix, SHA-256), and whether it is a node."""
Secrets = Callable[[int], bytes]
"""project_id to the project's secret, 32 bytes: content keys are keyed with it (auditlog.secrets)."""


def digests_of_part(conn: psycopg.Connection[Any], bucket: int, batch_no: int) -> list[tuple[uuid.UUID | None, uuid.UUID, bytes]]:
    """(trace key, event ID, digest) of every event that a part ever had, by digest: the order of the leaves under its root.

    Where the trace key is None the event was disposed of, and of it the digest is what stayed.
    """
    place = f"WHERE bucket = {int(bucket)} AND batch_no = %s"
    there = conn.execute(f"SELECT trace_key, event_id, sha256(skeleton) FROM event {place}", (batch_no,))
    rows = [(trace_key, event_id, bytes(digest)) for trace_key, event_id, digest in there]
    gone = conn.execute(f"SELECT event_id, digest FROM tombstone {place}", (batch_no,))
    return sorted(rows + [(None, event_id, bytes(digest)) for event_id, digest in gone], key=lambda row: row[2])


def leaves_of_part(conn: psycopg.Connection[Any], bucket: int, batch_no: int) -> list[bytes]:
    """The digests of `digests_of_part` alone, ascending. As one value each: rows of them cost the client more than all else of a proof."""
    place = f"WHERE bucket = {int(bucket)} AND batch_no = %s"
    there = conn.execute(f"SELECT string_agg(sha256(skeleton), ''::bytea) FROM event {place}", (batch_no,)).fetchone()
    gone = conn.execute(f"SELECT string_agg(digest, ''::bytea) FROM tombstone {place}", (batch_no,)).fetchone()
    whole = b"".join(bytes(row[0]) for row in (there, gone) if row is not None and row[0] is not None)
    return sorted(whole[start : start + 32] for start in range(0, len(whole), 32))


def restricted(conn: psycopg.Connection[Any], rows: Sequence[Row]) -> dict[tuple[int, uuid.UUID, uuid.UUID], int]:
    """Of rows as Row says: (project, trace key, event ID) of each whose values may not be shown, and the request by which."""
    if not rows:
        return {}
    found = conn.execute(_RESTRICTED, (list({row[4] for row in rows}), list({row[0] for row in rows}))).fetchall()
    return {(project, trace_key, event_id): erasure for project, trace_key, event_id, erasure in found}


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


def parsed(row: Row) -> unpack.Parsed:
    """Both halves of a row taken apart. Raises Problem("evidence_unreadable")."""
    try:
        return unpack.parse(bytes(row[7]), bytes(row[8]))
    except unpack.FormatError as error:
        raise _damaged(f"event {public_id(row[0], row[1])}", error) from error


def _damaged(what: str, error: Exception) -> Problem:
    log.error("evidence.unreadable", extra={"what": what, "error_kind": type(error.__cause__ or error).__name__}, exc_info=error)
    return Problem(
        "evidence_unreadable",
        f"What is stored of {what} cannot be read: {error}. It was changed behind the service, or a newer version wrote it. "
        "Nothing that it stands in can be shown, all else can. Run manage.py verify: it says what is wrong.",
    )


def _led_to(node: bytes) -> list[tuple[bytes, bool]]:
    try:
        return unpack.references(msgspec.msgpack.decode(node))
    except (msgspec.DecodeError, TypeError, RecursionError) as error:
        raise _damaged("a long conversation", error) from error


class TooLarge(Exception):
    """These events have more content than there is room for."""


class Reader:
    """Reads events over a connection that the caller owns; the caller says which project may be seen."""

    def __init__(self, conn: psycopg.Connection[Any], secrets: Secrets) -> None:
        self.conn = conn
        self._secrets = secrets
        # Bytes as they are, not in hex; the cursors of pages' connections do not know how.
        self._binary = not issubclass(conn.cursor_factory, psycopg.ClientCursor)
        if self._binary:
            arrays.register(conn)

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

    def rows_of_traces(
        self, project_id: int, trace_keys: Sequence[uuid.UUID], limit: int | None = None, most: int = _ANY,
        since: datetime | None = None, until: datetime | None = None,
    ) -> list[Row]:  # fmt: skip
        """The same, not yet loaded; for whoever loads page by page. A row begins with trace key and event ID.

        `most`: bytes of all skeletons and values together; those of rows behind are None, and such rows cannot be loaded. `since`, `until`:
        of receipt, until not included.
        """
        received = "received_at >= %s AND received_at < %s AND " if since or until else ""
        range_ = (since or _EVER[0], until or _EVER[1]) if received else ()
        return self._rows(
            f"SELECT {_KEYS}, CASE WHEN total <= %s THEN skeleton END, CASE WHEN total <= %s THEN vals END FROM ("
            f"SELECT *, sum({_SIZE}) OVER ({_ORDER}) AS total FROM ("
            # Once each before the limit counts: rows of a period that were sent again in the next would take the place of what follows.
            f"SELECT DISTINCT ON (occurred_at, trace_key, event_id) {_COLUMNS} FROM event "
            f"WHERE {received}bucket IN ({{buckets}}) AND trace_key = ANY(%s) AND project_id = %s {_ORDER}, received_at, batch_no LIMIT %s"
            f") AS once) AS summed {_ORDER}",
            (most, most, *range_, list(trace_keys), project_id, limit),
        )  # fmt: skip

    def copies_of_traces(
        self, project_id: int, trace_keys: Sequence[uuid.UUID], wanted: Callable[[str], bool] | None = None
    ) -> list[Stored]:
        """All events of these traces, each as often as it was received; `wanted` as below."""
        where = "bucket IN ({buckets}) AND trace_key = ANY(%s) AND project_id = %s"
        return self.load(self._rows(f"SELECT {_COLUMNS} FROM event WHERE {where} {_ORDER}", (list(trace_keys), project_id)), wanted)

    def events_of_batches(self, batch_nos: Sequence[int], wanted: Callable[[str], bool] | None = None) -> list[Stored]:
        """What these batches stored (duplicates of earlier ones are not theirs). Cheap: BRIN on batch_no, parts name the buckets.

        `wanted` says of an attribute's key whether it is: others are left out, and long values of fields with no such key WITHHELD.
        """
        return list(self.stream_of_batches(batch_nos, wanted))

    def stream_of_batches(self, batch_nos: Sequence[int], wanted: Callable[[str], bool] | None = None) -> Iterator[Stored]:
        """The same one after the other, for whoever keeps none: MOST_AT_ONCE of them are in memory, however large the batches are."""
        parts = self.conn.execute("SELECT DISTINCT bucket FROM part WHERE batch_no = ANY(%s) AND count > 0", (list(batch_nos),)).fetchall()
        if not parts:
            return
        buckets = ", ".join(str(int(row[0])) for row in parts)
        order = "ORDER BY batch_no, occurred_at NULLS LAST, trace_key, event_id"
        portion, last = 0, 0
        while portion <= last:
            rows = self.conn.execute(
                f"SELECT {_COLUMNS}, whole FROM (SELECT {_COLUMNS}, div(sum({_SIZE}) OVER ({order}) - ({_SIZE}), %s) AS portion, "
                f"div(sum({_SIZE}) OVER (), %s) AS whole FROM event WHERE bucket IN ({buckets}) AND batch_no BETWEEN %s AND %s "
                f"AND batch_no = ANY(%s)) AS summed WHERE portion = %s {order}",
                (MOST_AT_ONCE, MOST_AT_ONCE, min(batch_nos), max(batch_nos), list(batch_nos), portion), binary=self._binary,
            ).fetchall()  # fmt: skip
            if rows:
                last = int(rows[0][-1])
            for page in self.pages(rows, wanted):
                yield from page
            portion += 1

    def pages(
        self, rows: Sequence[Row], wanted: Callable[[str], bool] | None = None, known: Content | None = None, count: int = _PAGE
    ) -> Iterator[Iterator[Stored]]:
        """These rows loaded, so many at once as bring MOST_AT_ONCE, and `count` at most; what one event has is never too much.

        Of a page all content is there when it is handed out, and each item is made in its turn: before the next page.
        """
        start, few = 0, count
        while start < len(rows):
            page = rows[start : start + few]
            try:
                loaded = self._stored(self.shown(page), wanted, known, MOST_AT_ONCE if len(page) > 1 else _ANY, {})
            except TooLarge:
                few = max(1, few // 8)
                continue
            yield loaded
            start, few = start + len(page), min(count, few * 2)

    def _rows(self, query: str, parameters: tuple[Any, ...]) -> list[Row]:
        """Runs a query with the literal list of buckets that still exist: a plan of 0.3 ms instead of 7.7."""
        buckets = [str(int(row[0])) for row in self.conn.execute("SELECT bucket FROM bucket WHERE state <> 'disposed'")]
        if not buckets:
            return []
        return self.conn.execute(query.format(buckets=", ".join(buckets)), parameters, binary=self._binary).fetchall()

    def shown(self, rows: Sequence[Row]) -> Sequence[Row]:
        """These rows without the values that are restricted."""
        hidden = restricted(self.conn, rows)
        if not hidden:
            return rows
        return [(*row[:8], unpack.blank(parsed(row).vals), *row[9:]) if (row[4], row[0], row[1]) in hidden else row for row in rows]

    def load(
        self, rows: Sequence[Row], wanted: Callable[[str], bool] | None = None, known: Content | None = None, most: int = _ANY
    ) -> list[Stored]:
        """Rows of _COLUMNS as events with their items. Content is fetched page by page. Raises TooLarge before a page has more than `most`.

        `known`: what earlier calls for the same session fetched, to be handed on empty. A later prompt repeats the earlier ones, and
        the nodes of a conversation lead backwards: without it they are followed from the end to the beginning, one query each.
        """
        loaded: list[Stored] = []
        contexts: dict[bytes, Context] = {}
        for start in range(0, len(rows), _PAGE):
            loaded += self._stored(self.shown(rows[start : start + _PAGE]), wanted, known, most, contexts)
        return loaded

    def page(self, rows: Sequence[Row], known: Content) -> Iterator[Stored]:
        """The same for a caller who has asked what is restricted and keeps no event: what is restricted from then on is not looked for.

        All content is fetched into `known` before this returns; then each item is made in its turn, and dies before the next.
        """
        return self._stored(rows, None, known, _ANY, {})

    def _stored(
        self, rows: Sequence[Row], wanted: Callable[[str], bool] | None, known: Content | None, most: int, contexts: dict[bytes, Context]
    ) -> Iterator[Stored]:
        apart = [parsed(row) for row in rows]
        content = self._content([(row[4], row[2], one) for row, one in zip(rows, apart, strict=True)], wanted, known, most)

        def made(row: Row, one: unpack.Parsed) -> Stored:
            pieces = content.get((row[4], row[2], one.prefix)) or Pieces()
            pieces.shared = content.get((row[4], row[2], SHARED_PREFIX), {})
            trace_key, event_id, bucket, batch_no, project, received, occurred = row[:7]
            public = public_id(trace_key, event_id)
            try:
                item = unpack.build(one, pieces, contexts, wanted)
            except unpack.FormatError as error:
                raise _damaged(f"event {public}", error) from error
            digest = canonical.digest(bytes(row[7]))
            return Stored(public, trace_key, event_id, bucket, batch_no, project, received, occurred, digest, item, one.gone)

        return (made(row, one) for row, one in zip(rows, apart, strict=True))  # an error in one of them ends the caller, never the page

    def _content(
        self,
        events: Iterable[tuple[int, int, unpack.Parsed]],
        wanted_key: Callable[[str], bool] | None = None,
        known: Content | None = None,
        most: int = _ANY,
    ) -> Content:
        """All content of these events, and what was known; nodes are followed round by round."""
        known = {} if known is None else known
        # Handed on only when all of it is there: of a node that is known nobody asks what it leads to.
        found: Content = {}
        wanted: Wanted = defaultdict(dict)

        def want(project: int, bucket: int, prefix: bytes, references: list[tuple[bytes, bool]]) -> None:
            place = (project, bucket, prefix)
            here, before = found.setdefault(place, Pieces()), known.get(place, ())
            for sha, node in references:
                if sha not in here and sha not in before:
                    wanted[project, bucket][prefix, sha] = node

        for project, bucket, parsed in events:
            chosen = parsed.values.keys() if wanted_key is None else _fields(parsed, wanted_key)
            for field, entries in parsed.values.items():
                if field in chosen and (references := unpack.references(entries)):
                    want(project, bucket, SHARED_PREFIX if field in fields.SHARED else parsed.prefix, references)
        while wanted:
            round_, wanted = wanted, defaultdict(dict)
            for (project, bucket), named in round_.items():
                secret = self._secrets(project)
                keys = {content_key(secret, prefix, sha): (prefix, sha, node) for (prefix, sha), node in named.items()}
                nodes = []
                for key, data in self._bytes(bucket, list(keys), most):
                    most -= len(data)
                    prefix, sha, node = keys[key]
                    found[project, bucket, prefix][sha] = data
                    if node:
                        nodes.append((prefix, data))
                for prefix, data in nodes:  # after all of this round: what it brought is not asked for again
                    want(project, bucket, prefix, _led_to(data))
        for place, pieces in found.items():
            known.setdefault(place, Pieces()).update(pieces)
        return known

    def _bytes(self, bucket: int, keys: list[bytes], most: int) -> list[tuple[bytes, bytes]]:
        """Raises TooLarge before more than `most` is in memory, be it as stored or as sent."""
        wanted = arrays.Byteas(keys) if self._binary else keys
        rows = self.conn.execute(
            "SELECT content_key, codec, CASE WHEN sum(octet_length(bytes)) OVER (ROWS UNBOUNDED PRECEDING) <= %s THEN bytes END "
            f"FROM content WHERE bucket = {int(bucket)} AND content_key = ANY(%s)", (most, wanted), binary=self._binary,
        ).fetchall()  # fmt: skip
        if any(data is None for *_, data in rows) or sum(size_of(codec, bytes(data)) for _, codec, data in rows) > most:
            raise TooLarge
        try:
            return [(bytes(key), decode(codec, bytes(data))) for key, codec, data in rows]
        except ValueError as error:
            raise _damaged("a long value", error) from error
