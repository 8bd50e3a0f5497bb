"""Owns the digests of a part's events as they are kept for proofs: without them the proof of one event reads all events of its part.

They prove nothing by themselves: whoever reads them checks that they lead to the root that was sealed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, LiteralString

import psycopg

_SIZE: Final = 32  # bytes of a digest, also below

# What was read of a part and is not all of it (a disposition took the rest) leads to no root. What is there already was left by an edition
# of the same number, which a program that knew nothing of this table removed.
_KEEP: Final[LiteralString] = """
    INSERT INTO part_leaves (edition, batch_no, bucket, digests)
    SELECT %s, p.batch_no, p.bucket, k.digests
    FROM unnest(%s::bigint[], %s::int[], %s::bytea[]) AS k (batch_no, bucket, digests) JOIN part p USING (batch_no, bucket)
    WHERE octet_length(k.digests) = 32 * p.count
    ON CONFLICT (batch_no, bucket, edition) DO UPDATE SET digests = EXCLUDED.digests"""
_KEPT: Final[LiteralString] = "SELECT digests FROM part_leaves WHERE batch_no = %s AND bucket = %s AND edition = %s"


def keep(conn: psycopg.Connection[Any], edition: int, digests: Mapping[tuple[int, int], Sequence[bytes]]) -> None:
    """By batch and bucket. In the caller's transaction. Of a part of one event the root is that event's: nothing to keep."""
    several = sorted((*place, b"".join(sorted(found))) for place, found in digests.items() if len(found) > 1)
    if several:
        conn.execute(_KEEP, (edition, *map(list, zip(*several, strict=True))))


def kept(conn: psycopg.Connection[Any], edition: int, batch_no: int, bucket: int) -> list[bytes]:
    """Ascending, the order of the leaves; empty where none are kept: the pass has not come by yet, or some events are gone."""
    row = conn.execute(_KEPT, (batch_no, bucket, edition)).fetchone()
    whole = b"" if row is None else bytes(row[0])
    return [whole[start : start + _SIZE] for start in range(0, len(whole), _SIZE)]
