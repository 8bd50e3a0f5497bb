"""Owns what an export is of: the sealed parts in its scope, in the order of the log, and the events of each.

Everything is read in portions, each a short transaction; nothing is counted beforehand but what is not sealed yet.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec
import psycopg

from auditlog.errors import Problem
from auditlog.export.files import Files
from auditlog.store.reader import digests_of_part, public_id

_EVENTS: Final = 2_000  # events of a portion, unless one part has more
_LEAVES: Final = 500

Row = tuple[Any, ...]
"""Of `event`: trace_key, event_id, bucket, batch_no, project_id, received_at, occurred_at, skeleton, vals, item, trace_id, span_id."""


class Withheld(msgspec.Struct, frozen=True):
    """What is left out of an export without having been erased: a field of an event, or the event (field None). `id` is public."""

    id: str
    field: int | None
    reason: str
    basis: str


class Wish(msgspec.Struct, frozen=True):
    """What somebody wants exported, and for whom. Kept with the progress: a restart must ask for the same.

    sessions: keys, for people; trace_keys: what they mean, None for the whole project. since, until: of receipt, until not included.
    """

    project_id: int
    project: str
    recipient: str
    purpose: str
    sessions: list[str] = []
    trace_keys: list[uuid.UUID] | None = None
    since: datetime | None = None
    until: datetime | None = None
    withheld: list[Withheld] = []
    formats: list[str] = []  # besides the evidence, which is always there: see auditlog/export/forms


class Leaf(NamedTuple):
    number: int  # its index in the log
    batch_no: int
    bucket: int
    entry: bytes
    events: int  # of the part when it was stored
    whole: bool  # none of them was disposed of since


_IN_SCOPE: Final = (
    "b.project_id = %(project)s AND p.count > 0 "
    "AND (%(since)s::timestamptz IS NULL OR b.received_at >= %(since)s) AND (%(until)s::timestamptz IS NULL OR b.received_at < %(until)s)"
)
_PARTS: Final = "part p JOIN batch b USING (batch_no)"
_FOUND: Final = (
    f"SELECT l.leaf_index, p.batch_no, p.bucket, p.count FROM {_PARTS} "
    f"LEFT JOIN leaf l ON l.batch_no = p.batch_no AND l.bucket = p.bucket WHERE {_IN_SCOPE}"
)
_SEALED: Final = f"{_FOUND} AND p.batch_no = ANY(%(batches)s)"
_NOT_SEALED: Final = f"{_FOUND} AND (l.leaf_index IS NULL OR l.leaf_index >= %(size)s)"
_LEAF: Final = (
    "SELECT l.leaf_index, l.batch_no, l.bucket, l.entry, p.count, "
    "k.state <> 'disposed' AND NOT EXISTS (SELECT FROM tombstone t WHERE t.bucket = l.bucket AND t.batch_no = l.batch_no) "
    "FROM leaf l JOIN part p USING (batch_no, bucket) JOIN bucket k ON k.bucket = p.bucket"
)
_COLUMNS: Final = (
    "trace_key, event_id, bucket, batch_no, project_id, received_at, occurred_at, skeleton, vals, item, trace_id, span_id"  # as Row says
)


class Choice:
    """The parts and events of a wish, as far as they were sealed when the export began."""

    def __init__(self, conn: psycopg.Connection[Any], files: Files, wish: Wish, size: int) -> None:
        self._conn, self._files, self.size = conn, files, size
        self._wish = wish
        self._asked: dict[str, Any] = {
            "project": wish.project_id, "since": wish.since, "until": wish.until, "traces": wish.trace_keys, "size": size,
        }  # fmt: skip
        self.left_out = {one.id for one in wish.withheld if one.field is None}

    def begin(self) -> int:
        """Writes down which parts some sessions lie in. Returns how many events of the scope are not sealed yet, and so left out."""
        unsealed = 0
        for narrow in [None] if self._wish.trace_keys is None else self._touched():
            asked = self._asked | {"batches": narrow and [batch for batch, _ in narrow]}
            for index, batch_no, bucket, events in self._conn.execute(_SEALED if narrow else _NOT_SEALED, asked):
                if narrow and (batch_no, bucket) not in narrow:
                    continue
                if index is None or index >= self.size:
                    unsealed += self._events_of(batch_no, bucket) if narrow else events
                else:
                    self._files.db.execute("INSERT OR IGNORE INTO chosen VALUES (?)", (index,))
        return unsealed

    def _touched(self) -> Iterator[set[tuple[int, int]]]:
        """Parts (batch, bucket) that events of the traces lie in, some at a time."""
        query = "SELECT DISTINCT batch_no, event.bucket FROM event WHERE trace_key = ANY(%(traces)s) AND project_id = %(project)s"
        pairs = sorted(self._conn.execute(query, self._asked).fetchall())
        for start in range(0, len(pairs), _LEAVES):
            yield set(pairs[start : start + _LEAVES])

    def _events_of(self, batch_no: int, bucket: int) -> int:
        """How many events of the traces a part has."""
        query = f"SELECT count(*) FROM event WHERE event.bucket = {int(bucket)} AND batch_no = %(batch)s AND trace_key = ANY(%(traces)s)"
        row = self._conn.execute(query, self._asked | {"batch": batch_no}).fetchone()
        return int(row[0]) if row else 0

    def last(self) -> int:
        """The last leaf of a part in the scope; -1: there is none."""
        if self._wish.trace_keys is not None:
            row = self._files.db.execute("SELECT max(leaf_index) FROM chosen").fetchone()
        else:
            row = self._conn.execute(f"SELECT max(leaf_index) FROM ({_FOUND}) f WHERE leaf_index < %(size)s", self._asked).fetchone()
        return -1 if row is None or row[0] is None else int(row[0])

    def leaves(self, first: int = 0) -> Iterator[list[Leaf]]:
        """Parts in the order of the log from a leaf on, in portions of so many events."""
        while page := self._page(first):
            portion: list[Leaf] = []
            events = 0
            for leaf in page:
                portion.append(leaf)
                events += leaf.events
                if events >= _EVENTS:
                    yield portion
                    portion, events = [], 0
            if portion:
                yield portion
            first = page[-1].number + 1

    def _page(self, first: int) -> list[Leaf]:
        asked = self._asked | {"first": first}
        if self._wish.trace_keys is not None:
            chosen = self._files.db.execute("SELECT leaf_index FROM chosen WHERE leaf_index >= ? ORDER BY 1 LIMIT ?", (first, _LEAVES))
            query = f"{_LEAF} WHERE l.leaf_index = ANY(%(chosen)s) ORDER BY 1"
            asked["chosen"] = [row[0] for row in chosen]
        else:
            query = (
                f"{_LEAF} JOIN batch b USING (batch_no) WHERE {_IN_SCOPE} "
                f"AND l.leaf_index >= %(first)s AND l.leaf_index < %(size)s ORDER BY 1 LIMIT {_LEAVES}"
            )
        return [Leaf(index, batch, bucket, bytes(entry), *more) for index, batch, bucket, entry, *more in self._conn.execute(query, asked)]

    def events(self, leaves: list[Leaf]) -> list[tuple[int, Row]]:
        """(leaf, row) of the events of these parts that are in the scope, in the order of the log, then of their IDs."""
        index = {(leaf.batch_no, leaf.bucket): leaf.number for leaf in leaves}
        found: list[tuple[int, Row]] = []
        narrow = "" if self._wish.trace_keys is None else " AND trace_key = ANY(%(traces)s)"
        for bucket in sorted({leaf.bucket for leaf in leaves}):
            batches = sorted({leaf.batch_no for leaf in leaves if leaf.bucket == bucket})
            rows = self._conn.execute(
                f"SELECT {_COLUMNS} FROM event WHERE bucket = {int(bucket)} AND batch_no BETWEEN %(low)s AND %(high)s "
                f"AND batch_no = ANY(%(batches)s) AND project_id = %(project)s{narrow}",
                self._asked | {"low": batches[0], "high": batches[-1], "batches": batches},
                binary=True,
            ).fetchall()
            found += [(index[row[3], bucket], row) for row in rows]
        if self.left_out:
            found = [one for one in found if public_id(one[1][0], one[1][1]) not in self.left_out]
        return sorted(found, key=lambda one: (one[0], one[1][0].int, one[1][1].int))

    def whole(self, leaf: Leaf) -> bool:
        """Whether a part is known to be in it with all of its events."""
        return self._wish.trace_keys is None and not self.left_out and leaf.whole

    def everything(self) -> bool:
        """Whether every event of a part in the scope belongs to it, so that one that is not there needs a reason."""
        return self._wish.trace_keys is None

    def chosen(self, leaf: Leaf) -> tuple[list[bytes], dict[str, int], list[str]]:
        """(digests of all events of a part in ascending order, place of each that is exported, what of the scope is withheld)."""
        rows = digests_of_part(self._conn, leaf.bucket, leaf.batch_no)
        traces = None if self._wish.trace_keys is None else set(self._wish.trace_keys)
        places = {
            public_id(trace_key, event_id): place
            for place, (trace_key, event_id, _) in enumerate(rows)
            if trace_key is not None and (traces is None or trace_key in traces)
        }
        exported = {name: place for name, place in places.items() if name not in self.left_out}
        return [digest for *_, digest in rows], exported, sorted(places.keys() - exported.keys())


def newest(conn: psycopg.Connection[Any]) -> tuple[int, bytes, str]:
    """(size, root, note) of the newest checkpoint. Raises Problem("not_found")."""
    row = conn.execute("SELECT size, root, note FROM checkpoint ORDER BY size DESC LIMIT 1").fetchone()
    if row is None:
        raise Problem("not_found", "Nothing is sealed yet, so nothing could be proven. Wait for the first checkpoint.")
    return int(row[0]), bytes(row[1]), str(row[2])
