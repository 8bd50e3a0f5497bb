"""Owns reading the log's tables as a tree: its hashes wherever they lie, its right edge, proofs, and tiles as they are published.

Complete tiles are stored; what is not complete is computed from the leaves, or from the tiles below. The root of a complete tile and the
hash of a leaf never change, so that whoever reads often remembers them (`Memory`); `sealed` checks what comes
of it against the root that was signed, and whoever cannot (a tile) is given no memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import psycopg

from auditlog.proof import merkle, tiles, tree
from auditlog.seal import sql

READ: Final = 64  # complete tiles that one Log keeps as it read them, about 15 KB each: whoever asks for leaves in order asks for few
REMEMBERED: Final = 8_192  # roots of tiles, about 150 bytes each; a log of 4 billion leaves needs at most 765 at once


class Memory:
    """What was read of one log and never changes, for all threads of a process: without it a proof takes tens of milliseconds.

    Never changed in place but by adding: another thread may be reading it.

    roots: of complete tiles, by level and number. newest: hashes of the leaves of the tile that is being filled, by its number.
    """

    def __init__(self) -> None:
        self.roots: dict[tuple[int, int], bytes] = {}
        self.newest: dict[int, list[bytes]] = {}

    def clear(self) -> None:
        self.roots, self.newest = {}, {}


class Contradiction(Exception):
    """What is stored of the log does not agree with itself, or with what was signed."""


class Head(NamedTuple):
    """A checkpoint as it was signed."""

    size: int
    root: bytes
    note: str
    signed_at: datetime


class Sealed(NamedTuple):
    """Where a part stands in the log, and what leads from there to the newest checkpoint."""

    leaf_index: int
    entry: bytes
    path: list[bytes]
    head: Head


class Log:
    """The log over a connection that the caller owns."""

    def __init__(self, conn: psycopg.Connection[Any], memory: Memory | None = None) -> None:
        self._conn = conn
        self._memory = memory or Memory()
        self._read: dict[tuple[int, int], list[bytes]] = {}

    def head(self) -> Head | None:
        """The newest checkpoint; None: nothing was signed yet."""
        row = self._conn.execute(sql.HEAD).fetchone()
        return None if row is None else Head(int(row[0]), bytes(row[1]), str(row[2]), row[3])

    def cosigned(self, head: Head) -> str:
        """The checkpoint's note with the cosignatures of its witnesses."""
        return head.note + "".join(bytes(row[0]).decode() for row in self._conn.execute(sql.COSIGNATURES, (head.size,)))

    def leaf_hashes(self, start: int, end: int) -> list[bytes]:
        """Computed from the entries. Raises Contradiction where some are not there."""
        found = [merkle.leaf_hash(entry) for entry in self.entries(start, end)]
        if len(found) != max(0, end - start):
            raise Contradiction(f"of the leaves {start} to {end} there are {len(found)}")
        return found

    def entries(self, start: int, end: int) -> list[bytes]:
        return [bytes(row[0]) for row in self._conn.execute(sql.ENTRIES, (start, end))] if end > start else []

    def edge(self, size: int) -> tree.Edge:
        """The right edge of the tree of `size` leaves, computed from what is stored. Raises Contradiction."""
        rows = []
        for level, width in enumerate(tree.widths(size)):
            first = (size >> tree.HEIGHT * level) - width
            rows.append(self.leaf_hashes(first, size) if level == 0 else self._tile_roots(level - 1, first, first + width))
        return tree.Edge(size, rows)

    def nodes(self, size: int) -> tree.ReadNodes:
        """Reads nodes of the tree of `size` leaves, all with one or two questions. Raises Contradiction."""

        def read(wanted: Sequence[tree.Node]) -> list[bytes]:
            places = [_place(level, index) for level, index in wanted]
            rows = self._rows({(level, number) for level, number, _, _ in places}, size)
            return [tree.perfect(rows[level, number][start:end]) for level, number, start, end in places]

        return read

    def sealed(self, batch_no: int, bucket: int) -> Sealed | None:
        """None: this part is not in the log yet. Raises Contradiction where its path does not lead to the signed root."""
        # Read first: what is sealed meanwhile is covered by a head that is read later.
        row = self._conn.execute(sql.LEAF_OF, (batch_no, bucket)).fetchone()
        head = self.head()
        if row is None or head is None:
            return None
        index, entry = int(row[0]), bytes(row[1])
        for _ in range(2):
            path = tree.inclusion(index, head.size, self.nodes(head.size)) if index < head.size else []
            if merkle.included(entry, index, head.size, path, head.root):
                return Sealed(index, entry, path, head)
            self._memory.clear()  # of another database, which this one was restored over
            self._read.clear()
        raise Contradiction(f"leaf {index} does not lead to the root of checkpoint {head.size}")

    def tile(self, named: tiles.Named, size: int) -> bytes | None:
        """The bytes that an address names; None: the tree of `size` leaves has no such tile."""
        level = max(named.level, 0)
        first = named.number * tree.WIDTH
        if tree.HEIGHT * level > 63 or (first + named.width) << tree.HEIGHT * level > size:
            return None
        if named.level == tiles.ENTRIES:
            return tiles.bundle(self.entries(first, first + named.width))
        return b"".join(self.nodes(size)([(tree.HEIGHT * level, first + at) for at in range(named.width)]))

    def _rows(self, wanted: set[tuple[int, int]], size: int) -> dict[tuple[int, int], list[bytes]]:
        """The hashes of tiles by level and number, as far as the tree of `size` leaves has them."""
        complete = {(level, number) for level, number in wanted if (number + 1) << tree.HEIGHT * (level + 1) <= size}
        found = self._tiles(complete)
        for level, number in wanted - complete:
            first, end = number * tree.WIDTH, size >> tree.HEIGHT * level
            found[level, number] = self._newest(number, end) if level == 0 else self._tile_roots(level - 1, first, end)
        return found

    def _newest(self, number: int, end: int) -> list[bytes]:
        """The hashes of the leaves of an incomplete tile, those before `end`."""
        first = number * tree.WIDTH
        known = self._memory.newest.get(number, [])
        if first + len(known) < end:
            known = [*known, *self.leaf_hashes(first + len(known), end)]
            self._memory.newest = {number: known}
        return known[: end - first]

    def _tiles(self, wanted: set[tuple[int, int]]) -> dict[tuple[int, int], list[bytes]]:
        found = {key: self._read[key] for key in wanted if key in self._read}
        missing = wanted - found.keys()
        if missing:
            rows = self._conn.execute(sql.TILES, ([level for level, _ in missing], [number for _, number in missing])).fetchall()
            if len(rows) != len(missing):
                raise Contradiction(f"of {len(missing)} complete tiles {len(rows)} are there")
            new = {(int(level), int(number)): _split(bytes(hashes)) for level, number, hashes in rows}
            if len(self._read) + len(new) > READ:
                self._read.clear()
            self._read |= new if len(new) <= READ else {}
            found |= new
        return found

    def _tile_roots(self, level: int, start: int, end: int) -> list[bytes]:
        """The roots over complete tiles of one level."""
        keys = [(level, number) for number in range(start, end)]
        roots = self._memory.roots
        missing = {key for key in keys if key not in roots}
        new = {key: tree.perfect(hashes) for key, hashes in self._tiles(missing).items()}
        found = [new[key] if key in new else roots[key] for key in keys]
        if len(roots) + len(new) > REMEMBERED:
            self._memory.roots = new
        else:
            roots.update(new)
        return found


def _place(level: int, index: int) -> tuple[int, int, int, int]:
    """Where the hashes below a node stand: level and number of a tile, and from which to which of its hashes."""
    tile_level, above = divmod(level, tree.HEIGHT)
    number, start = divmod(index << above, tree.WIDTH)
    return tile_level, number, start, start + (1 << above)


def _split(hashes: bytes) -> list[bytes]:
    return [hashes[at : at + 32] for at in range(0, len(hashes), 32)]
