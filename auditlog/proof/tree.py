"""Owns the Merkle tree of a log that grows (RFC 6962): its right edge, its tiles, and proofs from whatever holds its hashes. Pure.

A *node* (level, index) is the hash over the 2**level leaves from index * 2**level on, all of which exist. A *tile* of the C2SP's
tlog-tiles holds 256 nodes of a level that is a multiple of 8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from auditlog.proof.merkle import EMPTY_ROOT, node_hash

HEIGHT: Final = 8
WIDTH: Final = 256

Node = tuple[int, int]
ReadNodes = Callable[[Sequence[Node]], Sequence[bytes]]
"""Reads many nodes at once, so that whoever keeps them in a database asks once for a proof."""


class Tile(NamedTuple):
    """A complete tile: 256 hashes of 32 bytes. level counts tiles: 1 holds the roots of the complete tiles of level 0."""

    level: int
    number: int
    hashes: bytes


class Edge:
    """The right edge of a tree: of each level of tiles the hashes of the one that is not complete yet, at most 255."""

    def __init__(self, size: int = 0, rows: Iterable[Sequence[bytes]] = ()) -> None:
        self.size = size
        self._rows = [list(row) for row in rows]
        if [len(row) for row in self._rows] != widths(size):
            raise ValueError(f"these are not the hashes of the right edge of a tree of {size} leaves")

    def with_leaves(self, hashes: Sequence[bytes]) -> Edge:
        """Another edge like this one, but for the hashes of the leaves that are in no complete tile. Raises ValueError."""
        return Edge(self.size, [hashes, *self._rows[1:]] if self._rows else [])

    def root(self) -> bytes:
        """The root over all leaves."""
        return fold([block for row in reversed(self._rows) for block in blocks(row)])

    def append(self, leaf_hashes: Iterable[bytes]) -> list[Tile]:
        """Takes further leaves. Returns the tiles that they complete, lower levels first."""
        made: list[Tile] = []
        for leaf in leaf_hashes:
            self.size += 1
            level, carried = 0, leaf
            while True:
                if level == len(self._rows):
                    self._rows.append([])
                row = self._rows[level]
                row.append(carried)
                if len(row) < WIDTH:
                    break
                made.append(Tile(level, (self.size >> HEIGHT * (level + 1)) - 1, b"".join(row)))
                carried = perfect(row)
                self._rows[level] = []
                level += 1
        return made


def widths(size: int) -> list[int]:
    """How many hashes the incomplete tile of each level has, from level 0 up to the highest that has any."""
    found = []
    while size:
        found.append(size % WIDTH)
        size >>= HEIGHT
    return found


def perfect(hashes: Sequence[bytes]) -> bytes:
    """The root over 2**n nodes of one level."""
    level = hashes
    while len(level) > 1:
        level = [node_hash(level[i], level[i + 1]) for i in range(0, len(level), 2)]
    return level[0]


def blocks(hashes: Sequence[bytes]) -> list[bytes]:
    """The roots over the largest complete subtrees of some nodes of one level, from left to right."""
    found, start = [], 0
    while start < len(hashes):
        width = 1 << (len(hashes) - start).bit_length() - 1
        found.append(perfect(hashes[start : start + width]))
        start += width
    return found


def fold(hashes: Sequence[bytes]) -> bytes:
    """The root over subtrees that get smaller from left to right."""
    if not hashes:
        return EMPTY_ROOT
    result = hashes[-1]
    for left in reversed(hashes[:-1]):
        result = node_hash(left, result)
    return result


def cover(start: int, end: int) -> list[Node]:
    """The complete subtrees that the leaves from start to end consist of; start is where a subtree as large as all of it may begin."""
    found = []
    while start < end:
        level = (end - start).bit_length() - 1
        found.append((level, start >> level))
        start += 1 << level
    return found


def root(size: int, read: ReadNodes) -> bytes:
    """The root over the first `size` leaves."""
    return _hashes([(0, size)], read)[0] if size else EMPTY_ROOT


def inclusion(index: int, size: int, read: ReadNodes) -> list[bytes]:
    """PATH(index, D[size]): what leads from a leaf to the root. Raises IndexError."""
    if not 0 <= index < size:
        raise IndexError(f"leaf {index} of {size}")
    spans, start, end = [], 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            spans.append((middle, end))
            end = middle
        else:
            spans.append((start, middle))
            start = middle
    return _hashes(spans[::-1], read)


def consistency(old: int, new: int, read: ReadNodes) -> list[bytes]:
    """PROOF(old, D[new]): what shows that the first `old` of `new` leaves are those of the older tree. Raises IndexError."""
    if not 0 < old <= new:
        raise IndexError(f"a tree of {old} leaves as the beginning of one of {new}")
    spans: list[tuple[int, int]] = []
    start, end = 0, new
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            spans.append((middle, end))
            end = middle
        else:
            spans.append((start, middle))
            start = middle
    if start:  # else the older tree is a subtree of the newer one, whose root the verifier has
        spans.append((start, end))
    return _hashes(spans[::-1], read)


def consistent(old: int, old_root: bytes, new: int, new_root: bytes, path: Sequence[bytes]) -> bool:
    """Whether `path` proves that the newer tree begins with the older one (RFC 9162, section 2.1.4.2)."""
    if old == new:
        return old_root == new_root and not path
    if not 0 < old < new or not path:
        return False
    steps = list(path) if old & (old - 1) else [old_root, *path]
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    first = second = steps[0]
    for step in steps[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            first, second = node_hash(step, first), node_hash(step, second)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            second = node_hash(second, step)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and first == old_root and second == new_root


def _split(count: int) -> int:
    """The largest power of two below the number of leaves."""
    return 1 << (count - 1).bit_length() - 1


def _hashes(spans: Sequence[tuple[int, int]], read: ReadNodes) -> list[bytes]:
    """The root over each span of leaves, with one question for all nodes that they need."""
    covers = [cover(start, end) for start, end in spans]
    known = iter(read([node for nodes in covers for node in nodes]))
    return [fold([next(known) for _ in nodes]) for nodes in covers]
