"""Owns the Merkle tree of RFC 6962 (section 2.1): roots, inclusion proofs and their check. Pure mathematics.

Leaves of a batch are the digests of its events in ascending byte order, so that a root needs nothing but the digests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


def leaf_hash(leaf: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """MTH(leaves), 32 bytes. Level by level: an odd last node moves up unchanged, which equals RFC 6962's split at a power of two."""
    if not leaves:
        return EMPTY_ROOT
    sha256 = hashlib.sha256
    level = [sha256(b"\x00" + leaf).digest() for leaf in leaves]
    while len(level) > 1:
        above = [sha256(b"\x01" + level[i] + level[i + 1]).digest() for i in range(0, len(level) - 1, 2)]
        if len(level) % 2:
            above.append(level[-1])
        level = above
    return level[0]


def batch_root(digests: Iterable[bytes]) -> bytes:
    """Root over the digests of events, in ascending byte order."""
    return root(sorted(digests))


def inclusion(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """PATH(index, leaves): the hashes that lead from a leaf to the root. Raises IndexError."""
    return inclusions(leaves, (index,))[index]


def inclusions(leaves: Sequence[bytes], indexes: Iterable[int]) -> dict[int, list[bytes]]:
    """PATH of several leaves; the tree is computed once. Raises IndexError."""
    sha256 = hashlib.sha256
    levels = [[sha256(b"\x00" + leaf).digest() for leaf in leaves]]
    while len(levels[-1]) > 1:
        below = levels[-1]
        above = [sha256(b"\x01" + below[i] + below[i + 1]).digest() for i in range(0, len(below) - 1, 2)]
        levels.append(above + below[-1:] if len(below) % 2 else above)
    paths = {}
    for index in indexes:
        if not 0 <= index < len(leaves):
            raise IndexError(f"leaf {index} of {len(leaves)}")
        paths[index] = [level[(index >> n) ^ 1] for n, level in enumerate(levels) if (index >> n) ^ 1 < len(level)]
    return paths


def included(leaf: bytes, index: int, size: int, path: Sequence[bytes], expected_root: bytes) -> bool:
    """Whether `path` proves `leaf` at `index` of `size` under the root (RFC 9162, section 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    fn, sn, result = index, size - 1, leaf_hash(leaf)
    for step in path:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            result = node_hash(step, result)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            result = node_hash(result, step)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and result == expected_root
