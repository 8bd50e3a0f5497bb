"""Owns paths as they are read back: of a leaf in the sealed log, from tiles and the leaves of its edge, and of an event in its part."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any, Final

import psycopg

from auditlog.proof.merkle import leaf_hash, node_hash

WIDTH: Final = 256  # hashes of a tile
_TILES: Final = 256  # kept in memory, 16 KB each with what was computed of them

Levels = list[list[bytes]]


def levels(hashes: Iterable[bytes]) -> Levels:
    """The hashes, and above them those of complete pairs, up to where no pair is left."""
    found = [list(hashes)]
    while len(found[-1]) > 1:
        below = found[-1]
        found.append([node_hash(below[i], below[i + 1]) for i in range(0, len(below) - 1, 2)])
    return found


def paths_in_part(digests: Sequence[bytes], indexes: Iterable[int]) -> dict[int, list[bytes]]:
    """PATH(index, digests) of RFC 6962 for some of a part's events; its tree is computed once."""
    rows = [[leaf_hash(digest) for digest in digests]]
    while len(rows[-1]) > 1:
        below = rows[-1]
        above = [node_hash(below[i], below[i + 1]) for i in range(0, len(below) - 1, 2)]
        rows.append(above + below[-1:] if len(below) % 2 else above)
    return {index: [row[(index >> n) ^ 1] for n, row in enumerate(rows) if (index >> n) ^ 1 < len(row)] for index in indexes}


class SealedLog:
    """The first `size` leaves of the log. Reads by tile; leaves that are asked for in order cost a tile each 256."""

    def __init__(self, conn: psycopg.Connection[Any], size: int) -> None:
        self._conn = conn
        self.size = size
        self._kept: OrderedDict[tuple[int, int], Levels] = OrderedDict()
        self._edges: dict[int, bytes] = {}  # what is right of a place, up to `size`

    def root(self) -> bytes:
        return self._edge(0)

    def path(self, index: int) -> list[bytes]:
        """The hashes that lead from a leaf to the root (RFC 6962, section 2.1.1). Raises LookupError for a leaf that is not there."""
        if not 0 <= index < self.size:
            raise LookupError(f"leaf {index} of {self.size}")
        path: list[bytes] = []
        start, end = 0, self.size
        while end - start > 1:
            middle = start + _split(end - start)
            if index < middle:
                path.append(self._edge(middle) if end == self.size else self._subtree(middle, end))
                end = middle
            else:
                path.append(self._subtree(start, middle))
                start = middle
        return path[::-1]

    def _edge(self, start: int) -> bytes:
        """Root of what begins at `start` and ends with the log."""
        if start not in self._edges:
            width = self.size - start
            if width & (width - 1) == 0:
                self._edges[start] = self._subtree(start, self.size)
            else:
                middle = start + _split(width)
                self._edges[start] = node_hash(self._subtree(start, middle), self._edge(middle))
        return self._edges[start]

    def _subtree(self, start: int, end: int) -> bytes:
        """Root of a complete subtree: as wide as a power of two, and beginning at a multiple of its width."""
        level = (end - start).bit_length() - 1
        tile_level, within = divmod(level, 8)
        place = start >> (8 * tile_level)
        return self._tile(tile_level, place // WIDTH)[within][(place % WIDTH) >> within]

    def _tile(self, level: int, number: int) -> Levels:
        key = (level, number)
        if key in self._kept:
            self._kept.move_to_end(key)
        else:
            self._kept[key] = levels(self._hashes(level, number))
            if len(self._kept) > _TILES:
                self._kept.popitem(last=False)
        return self._kept[key]

    def _hashes(self, level: int, number: int) -> list[bytes]:
        row = self._conn.execute("SELECT hashes FROM tile WHERE level = %s AND tile_no = %s", (level, number)).fetchone()
        if row is not None:
            return [bytes(row[0][n : n + 32]) for n in range(0, 32 * WIDTH, 32)]
        count = min(WIDTH, (self.size >> (8 * level)) - WIDTH * number)
        first = WIDTH * number
        if level:
            return [self._tile(level - 1, first + n)[8][0] for n in range(count)]
        found = self._conn.execute(
            "SELECT entry FROM leaf WHERE leaf_index >= %s AND leaf_index < %s ORDER BY leaf_index", (first, first + count)
        ).fetchall()
        if len(found) != count:
            raise LookupError(f"of leaves {first} to {first + count - 1} of the log {count - len(found)} are not there")
        return [leaf_hash(bytes(entry)) for (entry,) in found]


def _split(width: int) -> int:
    """The largest power of two below `width`."""
    return 1 << ((width - 1).bit_length() - 1)
