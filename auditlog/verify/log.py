"""Owns the check of the sealed log: every leaf against the part it stands for, every checkpoint's root and signature, every tile, the keys.

One pass over the leaves, in portions: between two portions nothing is kept but the roots of complete subtrees (at most 63 hashes).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import psycopg

from auditlog.proof import tree
from auditlog.proof.merkle import leaf_hash, node_hash
from auditlog.proof.tree import WIDTH
from auditlog.verify import standalone
from auditlog.verify.batches import Fault
from auditlog.verify.standalone import Wrong

_LEAVES: Final = (
    "SELECT l.leaf_index, l.batch_no, l.bucket, l.entry, b.project_id, b.received_at, p.count, p.root, b.acknowledged, b.duplicates, "
    "b.receipt_root, p.class_version FROM leaf l LEFT JOIN batch b USING (batch_no) "
    "LEFT JOIN part p ON p.batch_no = l.batch_no AND p.bucket = l.bucket "
)
_ROWS: Final = ("batch", "bucket", "project", "received", "count", "root", "acknowledged", "duplicates", "receipt", "class")

Key = tuple[str, bytes, int]
"""(name, public key, size from which it signs)."""


class Pin(msgspec.Struct, frozen=True):
    """A root that the log had at a size, as somebody else knows it. said: who."""

    size: int
    root: bytes
    said: str


class Walk(msgspec.Struct):
    """How far a pass over the leaves is. peaks: roots of complete subtrees, the widest first."""

    next: int = 0
    peaks: list[bytes] = []
    broken: bool = False  # a leaf was missing: roots after it cannot be computed

    def push(self, entry: bytes) -> None:
        hashed, index = leaf_hash(entry), self.next
        while index & 1:
            hashed, index = node_hash(self.peaks.pop(), hashed), index >> 1
        self.peaks.append(hashed)
        self.next += 1

    def root(self) -> bytes:
        return tree.fold(self.peaks)


def entry_differs(row: tuple[Any, ...]) -> list[str]:
    """Names of the lines in which a leaf's entry is not what the rows of batch and part say now; row: as _LEAVES."""
    _, batch, bucket, entry, project, received, count, root, acknowledged, duplicates, receipt, version = row
    found = standalone.ENTRY.fullmatch(bytes(entry).decode(errors="replace"))
    if found is None:
        return ["entry"]
    if count is None or received is None:
        return ["batch or part, which is not there any more"]
    at = received.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    now = (batch, bucket, project, at, count, bytes(root).hex(), acknowledged, duplicates, bytes(receipt).hex(), version)
    return [name for name, value in zip(_ROWS, now, strict=True) if found[name] != str(value)]


def leaves_of(conn: psycopg.Connection[Any], numbers: Sequence[int]) -> tuple[int, list[Fault]]:
    """Of some batches alone: how many leaves they have, and which contradict the rows of today."""
    rows = conn.execute(f"{_LEAVES} WHERE l.batch_no = ANY(%s)", (list(numbers),)).fetchall()
    return len(rows), [fault for row in rows for fault in _leaf(row)]


def _leaf(row: tuple[Any, ...]) -> Iterable[Fault]:
    if differing := entry_differs(row):
        message = f"leaf {row[0]} was sealed with other values than batch {row[1]}, bucket {row[2]} has now: {', '.join(differing)}"
        yield Fault("leaf_differs", row[1], None, message)


def keys(conn: psycopg.Connection[Any]) -> list[Key]:
    rows = conn.execute("SELECT name, public_key, from_size FROM log_key ORDER BY from_size, key_no").fetchall()
    return [(name, bytes(public), size) for name, public, size in rows]


def walk(conn: psycopg.Connection[Any], state: Walk, limit: int, pins: Sequence[Pin]) -> tuple[bool, list[Fault]]:
    """The next leaves, at most `limit`, and the checkpoints among them. Returns whether any are left. limit: a multiple of 256."""
    faults: list[Fault] = []
    first = state.next
    rows = conn.execute(f"{_LEAVES} WHERE l.leaf_index >= %s ORDER BY l.leaf_index LIMIT %s", (first, limit)).fetchall()
    last = rows[-1][0] + 1 if rows else first
    known = keys(conn)
    checkpoints = {
        size: (bytes(root), note)
        for size, root, note in conn.execute("SELECT size, root, note FROM checkpoint WHERE size >= %s AND size <= %s", (first, last))
    }
    wanted = {pin.size: pin for pin in pins}

    def settle() -> None:
        if state.next in checkpoints and (state.next > first or not first):
            faults.extend(_checkpoint(state, *checkpoints[state.next], known))
        pin = wanted.get(state.next)
        if pin is not None and not state.broken and pin.root != state.root() and (state.next > first or not first):
            faults.append(Fault("log_rewritten", None, None, f"at {state.next} leaves the log has another root than {pin.said}"))

    settle()
    for row in rows:
        if row[0] != state.next:
            faults.append(Fault("leaf_missing", None, None, f"leaves {state.next} to {row[0] - 1} are not there"))
            state.next, state.broken, state.peaks = row[0], True, []
        if state.broken:
            state.next += 1
        else:
            state.push(bytes(row[3]))
        faults += _leaf(row)
        settle()
    faults += _bottom_tiles(conn, rows)
    return len(rows) == limit, faults


def _checkpoint(state: Walk, root: bytes, note: str, known: list[Key]) -> Iterable[Fault]:
    size = state.next
    name = f"the checkpoint of {size} leaves"
    if not state.broken and state.root() != root:
        yield Fault("checkpoint_differs", None, None, f"{name} has another root than its leaves give")
    try:
        read = standalone.read_checkpoint(note)
    except Wrong as wrong:
        yield Fault("checkpoint_unreadable", None, None, f"{name}: {wrong.message}")
        return
    if (read.size, read.root) != (size, root):
        yield Fault("checkpoint_differs", None, None, f"{name} was signed with another size or root than its row has")
    in_force = [key for key in known if key[2] <= size][-1:]
    if not in_force or in_force[0][0] != read.origin:
        yield Fault("key_unknown", None, None, f"{name} is of an origin or a size that no key of log_key is for")
    elif not standalone.signed_by(read, in_force[0][0], in_force[0][1]):
        yield Fault("signature_wrong", None, None, f"{name} is not signed by the key of its size")
    place = known.index(in_force[0]) if in_force else 0
    if place and known[place][2] == size and not standalone.signed_by(read, known[place - 1][0], known[place - 1][1]):
        yield Fault("rotation_unvouched", None, None, f"{name} is the first of a new key and not signed by the key before")


def _bottom_tiles(conn: psycopg.Connection[Any], rows: list[tuple[Any, ...]]) -> Iterable[Fault]:
    """Tiles of leaves' hashes; what is not yet 256 wide, or signed, may have none."""
    signed = newest(conn)
    hashed: dict[int, list[bytes]] = {}
    for row in rows:
        hashed.setdefault(row[0] // WIDTH, []).append(leaf_hash(bytes(row[3])))
    complete = {number: b"".join(found) for number, found in hashed.items() if len(found) == WIDTH}
    tiles = {number: bytes(hashes) for number, hashes in conn.execute(
        "SELECT tile_no, hashes FROM tile WHERE level = 0 AND tile_no = ANY(%s)", (list(hashed),))}  # fmt: skip
    for number, hashes in complete.items():
        if number not in tiles and signed is not None and (number + 1) * WIDTH <= signed[0]:
            yield Fault("tile_missing", None, None, f"tile {number} of level 0, of leaves {number * WIDTH} to {number * WIDTH + 255}")
        elif tiles.get(number, hashes) != hashes:
            yield Fault("tile_differs", None, None, f"tile {number} of level 0 has other hashes than its leaves")


def upper_tiles(conn: psycopg.Connection[Any]) -> list[Fault]:
    """Each tile above level 0 from the 256 below it; and that none is missing or of leaves that are not there.

    What is signed is read before the tiles and the leaves after them: whatever is sealed meanwhile is no fault.
    """
    faults: list[Fault] = []
    signed = (newest(conn) or (0,))[0]
    counted = conn.execute("SELECT level, count(*), max(tile_no) FROM tile GROUP BY 1 ORDER BY 1").fetchall()
    row = conn.execute("SELECT coalesce(max(leaf_index) + 1, 0) FROM leaf").fetchone()
    leaves = int(row[0]) if row else 0
    for level, there, last in counted:
        width = WIDTH ** (level + 1)
        if last >= leaves // width:
            faults.append(Fault("tile_stray", None, None, f"tile {last} of level {level} is of leaves that are not there"))
        elif there < signed // width and level:
            faults.append(Fault("tile_missing", None, None, f"level {level} has {there} tiles, {signed // width} are complete"))
        numbers = conn.execute("SELECT tile_no FROM tile WHERE level = %s ORDER BY 1", (level,)).fetchall() if level else []
        faults += [
            Fault("tile_differs", None, None, f"tile {number} of level {level} has other hashes than the tiles below it")
            for (number,) in numbers
            if not _fits(conn, level, number)
        ]
    return faults


def _fits(conn: psycopg.Connection[Any], level: int, number: int) -> bool:
    """Whether the roots of 256 tiles are the hashes of the one above them."""
    row = conn.execute("SELECT hashes FROM tile WHERE level = %s AND tile_no = %s", (level, number)).fetchone()
    below = conn.execute(
        "SELECT hashes FROM tile WHERE level = %s AND tile_no BETWEEN %s AND %s ORDER BY tile_no",
        (level - 1, number * WIDTH, number * WIDTH + WIDTH - 1),
    )
    return row is not None and b"".join(_root(bytes(one[0])) for one in below) == bytes(row[0])


def _root(hashes: bytes) -> bytes:
    return tree.perfect([hashes[at : at + 32] for at in range(0, len(hashes), 32)])


def newest(conn: psycopg.Connection[Any], most: int = 2**62) -> tuple[int, bytes, datetime] | None:
    """(size, root, time) of the newest checkpoint of at most so many leaves; None: nothing is sealed."""
    row = conn.execute("SELECT size, root, signed_at FROM checkpoint WHERE size <= %s ORDER BY size DESC LIMIT 1", (most,)).fetchone()
    return None if row is None else (int(row[0]), bytes(row[1]), row[2])


def beyond(conn: psycopg.Connection[Any], state: Walk, pins: Sequence[Pin]) -> Iterable[Fault]:
    """After the last leaf: what was signed or is known to have been there, and is not."""
    found = conn.execute("SELECT max(size) FROM checkpoint").fetchone()
    sizes = [("the newest checkpoint", int(found[0]))] if found and found[0] is not None else []
    for said, size in sizes + [(pin.said, pin.size) for pin in pins]:
        if size > state.next:
            yield Fault("leaf_missing", None, None, f"leaves {state.next} to {size - 1} are not there: {said} has {size}")
